"""The hyperparameters of torch's param groups: read at each step, packed when they changed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import numpy as np
import torch

from fastopt.errors import HyperparameterError
from fastopt.rules import Rule
from fastopt.rules.clocks import HAIR, read_clock, read_sum, resume_clock, whole_step
from fastopt.rules.recipes import Recipe
from fastopt.stepping.fixed import SIMPLE, Seen, exact

Change = tuple[Rule, tuple[float, ...]]

OF_TORCH = ("foreach", "fused", "capturable", "differentiable")
"""torch's options that choose one of its implementations or ask for a graph; no rule knows them."""

_REFUSED = {
    "capturable": "steps run on the CPU and cannot be captured in a CUDA graph",
    "differentiable": "steps write to memory directly and cannot be differentiated",
}

_NARROW = torch.float32, torch.bfloat16


def name_of(group: dict[str, Any], where: str, k: int) -> str:
    """Return how error messages call parameter ``k`` of a group.

    >>> name_of({"param_names": ["bias"]}, "Adam, param group 1", 0)
    "Adam, param group 1: parameter 0 ('bias')"
    """
    names = group.get("param_names")
    return f"{where}: parameter {k}" + (f" ({names[k]!r})" if names else "")


def refuse(where: str, options: Mapping[str, Any]) -> None:
    """Refuse what torch's implementations can do and a kernel cannot."""
    values = {name: options.get(name) for name in OF_TORCH}
    # A tensor is taken for True: of several elements, or on no device, it has no truth.
    on = {name for name, v in values.items() if isinstance(v, torch.Tensor) or v}
    for name, why in _REFUSED.items():
        if name in on:
            raise HyperparameterError(f"{where}: {name}=True is not supported: {why}")
    if {"foreach", "fused"} <= on:
        raise HyperparameterError(f"{where}: fused and foreach cannot be True together")


def _plain(value: Any) -> Any:
    """Return a hyperparameter without tensors, but for those that no number can be read from."""
    if type(value) in SIMPLE:  # asking for a tensor takes 0.2 us
        return value
    if isinstance(value, torch.Tensor):
        with contextlib.suppress(RuntimeError, ValueError):  # it is on no device, or not one number
            return value.item()
    return tuple(map(_plain, value)) if isinstance(value, tuple | list) else value


def _value_of(option: Any) -> Any:
    """Return an option to compare with: a tensor by its number, which may change in place."""
    return exact(_plain(option))


def _agrees(number: float, value: Any) -> bool:
    """Tell whether a value in the state is a clock's number, rounded to the dtype of the value."""
    if not number >= -HAIR:  # which is refused, and not to be hidden
        return True
    if isinstance(value, torch.Tensor) and value.numel() == 1 and value.is_floating_point():
        return torch.tensor(number, dtype=value.dtype).item() == value.item()
    return isinstance(value, float) and value in (number, float(np.float32(number)))


class Row:
    """The hyperparameters of one param group, as a row of the kernel's table.

    ``group``: the row of ``param_groups``; only read. ``names``: which of its options to read.
    """

    def __init__(self, where: str, group: dict[str, Any], names: list[str], recipe: Recipe) -> None:
        self.where, self.group, self.names, self.recipe = where, group, names, recipe
        self._keys: list[str] = []
        self._look()
        self.rule, self.h = self._read()

    def _look(self) -> None:
        if [*self.group] != self._keys:
            self._keys = [*self.group]
            watched = [name for name in (*self.names, *_REFUSED) if name in self.group]
            # One is there twice, since of one name alone there would be no tuple.
            self._find = itemgetter(watched[0], *watched)
        self._seen = Seen(self._find(self.group), _value_of)

    def _read(self) -> Change:
        refuse(self.where, self.group)
        try:
            options = {name: _plain(self.group[name]) for name in self.names}
        except KeyError as error:
            raise HyperparameterError(f"{self.where} has lost its {error}; set it again") from None
        lr: Any = options.get("lr")
        is_hair = isinstance(lr, float) and -HAIR <= lr < 0.0
        rule, values = self.recipe(self.where, {**options, "lr": 0.0} if is_hair else options)
        h = rule.pack(values, self.where)
        if is_hair:  # as it is, as in torch
            h = tuple(lr if name == "lr" else number for name, number in zip(rule.hyper, h))
        if any(getattr(p, "dtype", None) in _NARROW for p in self.group.get("params", ())):
            rule.check_width(h, self.where)
        return rule, h

    def pending(self) -> Change | None:
        """Return the rule and numbers if an option changed; None is the usual answer."""
        try:
            if len(self.group) == len(self._keys) and self._seen.agree(self._find(self.group)):
                return None
        # One is lost; or several elements have no truth, and packing refuses them.
        except (KeyError, RuntimeError, ValueError):
            pass
        return self._read()

    def adopt(self, h: tuple[float, ...]) -> bool:
        """Use new numbers from now on; tell whether powers in clocks must be made anew."""
        changed = {name for name, a, b in zip(self.rule.hyper, self.h, h) if a != b}
        self.h = h
        self._look()
        return not changed.isdisjoint(self.rule.powers)

    def clock(
        self,
        where: str,
        entry: Mapping[str, Any],
        running: np.ndarray | None = None,
        is_own: bool = False,
    ) -> np.ndarray:
        """Return the clock that goes with the state of a parameter, loaded or changed by hand.

        ``entry``: ``step``, ``clock`` if it comes from us, and what torch keeps beside.
        ``running``: its clock so far; ``is_own``: whether that is one of the present rule. Raises
        StateError if something is missing that ``step`` does not tell.
        """
        rule = self.rule
        saved: Any = running if is_own else None
        if entry.get("clock") is not None:
            saved = read_clock(where, entry["clock"])
        # torch's SGD keeps no step count; all its rule asks is whether there was a step.
        uncounted = float(bool(rule.slots)) if running is None else running[0]
        step = entry.get("step", uncounted if saved is None else saved[0])
        t: float = whole_step(f"{where}: 'step'", step)
        if saved is not None and np.float32(saved[0]) == np.float32(t):
            t = saved[0]  # float32 counts to 2**24
        elif saved is not None:  # someone wrote to `step`, and what it says counts
            saved = [t, *saved[1:]]
        for name, place in rule.accumulates.items() if saved is not None else ():
            if name in entry and place < len(saved) and not _agrees(saved[place], entry[name]):
                saved = [*saved[:place], read_sum(where, rule, name, entry), *saved[place + 1 :]]
        return resume_clock(where, rule, self.h, t, saved, entry)
