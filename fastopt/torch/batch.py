"""Parameters that one kernel call steps: their state, their gradients, and copies of odd ones."""

from __future__ import annotations

from collections.abc import Iterator
from operator import is_, itemgetter
from typing import Any

import numpy as np
import torch

from fastopt.errors import StateError
from fastopt.machine.lookup import COUNTER, GRADIENT, PARAMETER, SLOTS
from fastopt.machine.many import Many
from fastopt.rules import Rule
from fastopt.rules.base import PARAMETER as COPY_OF_P
from fastopt.rules.base import ZERO
from fastopt.rules.clocks import new_clock, rewind, whole_step
from fastopt.torch.groups import Row
from fastopt.torch.memory import TENSORS
from fastopt.torch.scalars import Scalars, is_scalar
from fastopt.torch.tensors import (
    KINDS,
    check_gradient,
    check_state,
    check_whole,
    empty_slot,
    is_copied,
    layout_of,
    linear,
    plain,
    scalar_dtype,
    slot_dtype,
)

Clocks = dict[torch.Tensor, tuple[Rule, np.ndarray]]
"""For each parameter with state, the rule that steps it and its clock, advanced by the kernel."""

_is_neg: Any = torch.Tensor.is_neg


class Stale(Exception):
    """A parameter is not of the dtype, shape or strides it had when the plan was made."""


def _signature(p: torch.Tensor) -> tuple:
    return type(p), p.dtype, p.shape, p.stride(), p.device, p.is_neg()


def initial_slot(rule: Rule, h: tuple[float, ...], p: torch.Tensor, name: str) -> torch.Tensor:
    """Return a slot as it is before the first step."""
    place = rule.slots.index(name)
    slot, source = empty_slot(p, place), rule.starts[1 + place]
    if source == COPY_OF_P:
        slot.copy_(p)
    else:
        slot.fill_(0.0 if source == ZERO else h[source])
    return slot


class Batch:
    """Parameters of one rule and one dtype.

    * ``rule``: how they are updated.
    * ``params``: of any groups.
    * ``names``: how error messages call them.
    * ``rows``: the hyperparameters of each.
    * ``hyper`` (2 * groups, hyperparameters): read at each step.
    * ``groups``: which row of it each parameter takes.
    * ``clocks``: clocks so far; the batch adds, and replaces, those of its parameters.
    * ``counts``: whether torch keeps ``step`` in the state.
    """

    def __init__(
        self,
        rule: Rule,
        params: list[torch.Tensor],
        names: list[str],
        rows: list[Row],
        hyper: np.ndarray,
        groups: list[int],
        clocks: Clocks,
        counts: bool,
    ) -> None:
        self.rule, self.params, self.names, self.rows = rule, params, names, rows
        self._clocks, self._counts = clocks, counts
        self._signatures = [_signature(p) for p in params]
        self._is_copied = [is_copied(p) for p in params]
        kinds = KINDS[params[0].dtype], KINDS[slot_dtype(params[0])]
        shapes = [layout_of(p) for p in params]
        self.many = Many(rule, *kinds, shapes, hyper, groups, TENSORS, counts=counts)
        keys = [*enumerate(rule.slots, SLOTS), *([(COUNTER, "step")] if counts else [])]
        self._getters: list[tuple[int, Any]] = [(row, itemgetter(name)) for row, name in keys]
        self._scalars = Scalars(rule) if rule.accumulates else None
        self._active: list[int] | None = []
        self._copied: list[int] = []
        self._known: tuple[list, list, list] | None = None
        self._needs_checks = True
        # Which parameters were checked with a gradient, and have the state that they had then.
        self._settled: list[int] = []

    def gather(self, state: dict) -> bool:
        """Take gradients and state as they are for the next step; tell whether they may be right.

        What they are is looked up by the step itself; this is only what it cannot see: whether
        numbers are their memory's negatives, and which objects there are.
        """
        if self._needs_checks:
            return False
        objects, params, active = self.many.objects, self.params, self._active
        grads = [p.grad for p in params]
        objects[GRADIENT] = np.fromiter(grads, object, len(grads))
        if active is not None:
            grads, params = [grads[k] for k in active], [params[k] for k in active]
        try:
            if any(map(_is_neg, grads)):
                return False
            entries = self._entries(state, params)
            if self._scalars is not None and not self._scalars.are_untouched(entries):
                return False
            for row, getter in self._getters:
                column = np.fromiter(map(getter, entries), object, len(entries))
                if active is None:
                    objects[row] = column
                else:
                    objects[row, active] = column
        except (TypeError, KeyError):  # something is missing
            return False
        return True

    def _entries(self, state: dict, params: list[torch.Tensor]) -> list[Any]:
        """Return the state of these parameters, those of the last check.

        Looking them up takes 140 ns each, since tensors are hashed in Python; noticing that the
        dict has the same keys and values as the last time takes 60.
        """
        known = self._known
        if known is not None:
            keys, values, entries = known
            is_same = len(state) == len(keys) and all(map(is_, state, keys))
            if is_same and all(map(is_, state.values(), values)):
                return entries
        entries = list(map(state.get, params))
        self._known = list(state), list(state.values()), entries
        return entries

    def check(self, state: dict) -> Iterator[tuple[str, torch.Tensor, torch.Tensor | None]]:
        """Check parameters, gradients and state as they are now; nothing is written.

        Yields each tensor that a step writes to, and for parameters also their gradient. Raises
        Stale if a parameter is not what it was: plan again.
        """
        for k, (name, p) in enumerate(zip(self.names, self.params)):
            if _signature(p) != self._signatures[k]:
                raise Stale
            g = p.grad
            if g is not None:
                check_gradient(name, p, g)
                check_whole(name, p)
            yield name, p, g
            for slot, a in self._slots(k, state.get(p)):
                where = f"the state {slot!r} of {name}"
                if g is not None and slot in self.rule.slots:
                    check_whole(where, a)
                yield where, a, None

    def _slots(self, k: int, entry: Any) -> Iterator[tuple[str, torch.Tensor]]:
        """Check the state of parameter ``k``; yield what is there that a step writes to."""
        if not isinstance(entry, dict):
            return
        p, name = self.params[k], self.names[k]
        for slot in self.rule.slots:
            a = entry.get(slot)
            if a is not None:
                check_state(f"the state {slot!r} of {name}", a, p.shape)
                yield slot, a
        self._check_numbers(k, entry)
        for number, (_, dtype) in self._kinds().items():
            if is_scalar(entry.get(number), dtype):
                yield number, entry[number]

    def _check_numbers(self, k: int, entry: dict[str, Any]) -> None:
        where, is_known = f"the state of {self.names[k]}", self.params[k] in self._clocks
        for name in ("step", *self.rule.accumulates):
            check_whole(where, entry.get(name))
        if self._counts:
            whole_step(f"{where}: 'step'", entry.get("step", 0))
        kept = self._kept(entry)
        if kept and self._counts and "step" not in entry and not is_known:
            raise StateError(
                f"{where} has {', '.join(kept)}, but no 'step', without which they cannot be "
                "continued. Put in how many steps were taken, or delete the entry to start anew."
            )
        if kept and self._scalars is not None:
            self._clock(k, entry)

    def _kept(self, entry: dict[str, Any]) -> list[str]:
        return [name for name in self.rule.slots if entry.get(name) is not None]

    def settle(self, state: dict) -> None:
        """Make what is missing in the state, and copies of what no loop can run over, for a step.

        What :meth:`check` passed is from now on what a step expects.
        """
        self._known = None
        active = [k for k, p in enumerate(self.params) if p.grad is not None]
        many, self._copied = self.many, []
        odd, before = False, set(self._settled)
        for k, p in enumerate(self.params):
            many.objects[GRADIENT, k] = None
            entry = state.get(p)
            if p.grad is None:
                if not self._has_state(k, entry):
                    before.discard(k)
                continue
            if not isinstance(entry, dict):
                entry = {}
                if self._getters:  # torch's SGD makes none when there is nothing to keep
                    state[p] = entry
            self._complete(k, entry)
            memory, g = linear(p, p.grad, self._is_copied[k])
            for row, a in [(PARAMETER, memory), *((r, get(entry)) for r, get in self._getters)]:
                many.hold(row, k, a)
            many.objects[GRADIENT, k] = g
            odd |= memory is not p or g is not p.grad
            if self._is_copied[k]:
                self._copied.append(k)
        self._choose(active)
        self._needs_checks = odd
        self._settled = [] if odd else sorted(before.union(active))
        if self._scalars is not None:
            entries = [state[self.params[k]] for k in active]
            self._scalars.take(entries, many.clocks[self._indices])

    def _has_state(self, k: int, entry: Any) -> bool:
        """Tell whether the state of parameter ``k`` is what was checked when it had a gradient."""
        try:
            return all(find(entry) is self.many.checked[row, k] for row, find in self._getters)
        except (TypeError, KeyError):  # something is missing
            return False

    def _choose(self, active: list[int]) -> None:
        self._active = None if len(active) == len(self.params) else active
        self._indices = np.array(active, np.int64)

    @property
    def active(self) -> list[int]:
        """Which parameters have a gradient, as a step expects it."""
        return self._indices.tolist()

    def present(self) -> list[int]:
        """Return which parameters have a gradient now."""
        return [k for k, p in enumerate(self.params) if p.grad is not None]

    def choose(self, active: list[int]) -> bool:
        """Step these parameters from now on if all of them were checked; tell whether they were.

        A step finds out whether they still are what they were; :meth:`aim` has to follow.
        """
        # Numbers that accumulate could have been set in the meantime.
        is_known = self._scalars is None and set(self._settled).issuperset(active)
        if is_known:
            self._choose(active)
            self._known = None
        return is_known

    def aim(self, bounds: np.ndarray) -> None:
        """Step what was settled, none of whose gradients may lie within ``bounds``."""
        self.many.aim(self._indices, bounds)

    def written(self) -> list[torch.Tensor]:
        """Return the memory that a step may write to, of any parameters that were checked."""
        # Where there are copies of odd ones, none stay: each step makes them anew.
        rows = np.delete(self.many.checked, GRADIENT, axis=0)[:, self._settled or self.active]
        numbers = self._scalars.tensors if self._scalars else []
        return [a for a in rows.ravel() if a is not None] + numbers

    def finish(self) -> None:
        """Say that the parameters have changed, and copy back those that were copied."""
        active, objects = self._active, self.many.objects
        params = self.params if active is None else [self.params[k] for k in active]
        # Without this, a backward pass through the old values would go wrong unnoticed.
        torch.autograd.graph.increment_version(params)
        if self._scalars is not None:
            self._scalars.write(self.many.clocks[self._indices])
        if self._copied:
            with torch.inference_mode():  # where those that were made in it may be written to, too
                for k in self._copied:
                    self.params[k].copy_(objects[PARAMETER, k])
        # Who drops a gradient wants its memory back.
        objects[GRADIENT] = None

    def _complete(self, k: int, entry: dict[str, Any]) -> None:
        """Give parameter ``k`` the state and the clock that its rule needs."""
        rule, p, h = self.rule, self.params[k], self.rows[k].h
        kept = self._kept(entry)
        is_new = not kept if rule.slots else not (self._counts and "step" in entry)
        if is_new and (rule.slots or p not in self._clocks):
            # Its first step, also if somebody took the state away.
            for key in ("step", "clock", *rule.accumulates):
                entry.pop(key, None)
            clock = new_clock(rule, h)
        else:
            clock = self._clock(k, entry)
            entry.pop("clock", None)
        self._put_scalars(entry, clock)
        for name in rule.slots:
            if name in kept:
                fitting = self._fitting(k, name, entry[name])
            else:
                fitting = initial_slot(rule, h, p, name)
            if fitting is not entry.get(name):
                entry[name] = fitting
        self.many.clocks[k] = clock
        self._clocks[p] = (rule, self.many.clocks[k])

    def _kinds(self) -> dict[str, tuple[int, torch.dtype]]:
        """Return the numbers in the state: their places in the clock and their dtypes."""
        numbers = {"step": (0, torch.float32)} if self._counts else {}
        wide = scalar_dtype()
        return numbers | {name: (place, wide) for name, place in self.rule.accumulates.items()}

    def _put_scalars(self, entry: dict[str, Any], clock: np.ndarray) -> None:
        """Have a step count and other numbers that a step can write, first as in torch."""
        kinds = self._kinds()
        if all(is_scalar(entry.get(name), dtype) for name, (_, dtype) in kinds.items()):
            return
        rest = dict(entry)
        entry.clear()
        for name, (place, dtype) in kinds.items():
            value = rest.pop(name, None)
            fits = is_scalar(value, dtype)
            entry[name] = value if fits else torch.tensor(float(clock[place]), dtype=dtype)
        entry |= rest

    def _clock(self, k: int, entry: dict[str, Any]) -> np.ndarray:
        """Return the clock that goes with the state of parameter ``k``."""
        row = self.rows[k]
        known, running = self._clocks.get(self.params[k], (None, None))
        return row.clock(f"the state of {self.names[k]}", entry, running, known is row.rule)

    def _fitting(self, k: int, name: str, slot: torch.Tensor) -> torch.Tensor:
        """Return the slot in the dtype and layout that the kernel needs; as it is, as a rule."""
        p = self.params[k]
        is_linear = p.is_contiguous() or self._is_copied[k]
        fits = slot.is_contiguous() if is_linear else slot.stride() == p.stride()
        if fits and plain(slot) is slot and slot.dtype == slot_dtype(p) and slot.device == p.device:
            return slot
        fitting = empty_slot(p, self.rule.slots.index(name))
        fitting.copy_(slot)  # which returns one of the class of `slot`
        return fitting

    def rewind(self, group: int, h: tuple[float, ...]) -> None:
        """Make the powers in the clocks of a group anew, of its present options."""
        rows = np.flatnonzero(self.many.groups // 2 == group)
        clocks = self.many.clocks[rows]
        rewind(self.rule, h, clocks)
        self.many.clocks[rows] = clocks
