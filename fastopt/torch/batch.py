"""Parameters that one kernel call steps: their state, their addresses, their gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from fastopt.clocks import new_clock, rewind, whole_step
from fastopt.errors import StateError
from fastopt.many import COUNTER, GRADIENT, PARAMETER, SLOTS, Many
from fastopt.rules import Rule
from fastopt.rules.base import PARAMETER as COPY_OF_P
from fastopt.rules.base import ZERO
from fastopt.torch.entry import Entry
from fastopt.torch.groups import Row
from fastopt.torch.memory import MISSING, Pairs, addresses
from fastopt.torch.tensors import (
    KINDS,
    check_gradient,
    empty_slot,
    linear,
    slot_dtype,
    spread,
)

if TYPE_CHECKING:
    from fastopt.torch.plan import Plan

__all__ = ["Batch", "Stale", "Work"]

Tensors = list[torch.Tensor]


class Stale(Exception):
    """Something about the parameters is not as it was when the plan was made."""


class Work(NamedTuple):
    """What :meth:`Batch.match` found, all of it checked.

    ``memory`` is what the kernel runs over: the parameters, or contiguous copies of some. Nobody
    reads ``grads``: it keeps copies of gradients alive.
    """

    active: np.ndarray
    params: Tensors
    memory: Tensors
    grads: Tensors | None = None


def _signature(p: torch.Tensor) -> tuple:
    return p.dtype, p.shape, p.stride(), p.device, p.is_neg()


@torch.no_grad()
def _copy_back(params: Tensors, memory: Tensors) -> None:
    for p, a in zip(params, memory):
        if a is not p:
            p.copy_(a)


@torch.no_grad()
def _started(rule: Rule, h: tuple[float, ...], p: torch.Tensor, name: str) -> torch.Tensor:
    """Return a slot as it is before the first step."""
    place = rule.slots.index(name)
    slot, source = empty_slot(p, place), rule.starts[1 + place]
    if source == COPY_OF_P:
        return slot.copy_(p)
    return slot.fill_(0.0 if source == ZERO else h[source])


class Batch:
    """Parameters of one rule and one dtype.

    Parameters
    ----------
    rule : Rule
        How they are updated.
    plan : Plan
        What they are part of.
    numbers : list of int
        Their positions in ``plan.params``.

    Raises
    ------
    StateError
        A parameter has state of another shape.
    """

    def __init__(self, rule: Rule, plan: Plan, numbers: list[int]) -> None:
        self.rule, self.plan, self.numbers = rule, plan, numbers
        self.params = [plan.params[k] for k in numbers]
        self.signatures = [_signature(p) for p in self.params]
        self.spreads = [spread(p) for p in self.params]
        p = self.params[0]
        sizes = [p.numel() for p in self.params]
        # Two rows a group: that of matrices, that of tensors of fewer dimensions.
        groups = [2 * plan.group_of[k] + (plan.params[k].ndim < 2) for k in numbers]
        self.many = Many(rule, KINDS[p.dtype], KINDS[slot_dtype(p)], sizes, groups)
        self.pairs = Pairs(self.params, self.many.table[GRADIENT : PARAMETER + 1])
        self._is_dense = "gappy" not in self.spreads
        self.waiting = np.ones(len(numbers), bool)
        # Views of the state: its memory lives on even if someone swaps it by `slot.data = ...`.
        self._kept: Tensors = []
        for k in range(len(numbers)):
            self._resume(k)
        self._are_waiting = bool(self.waiting.any())

    def row(self, k: int) -> Row:
        """Return the hyperparameters of parameter ``k``."""
        return self.plan.rows[self.many.groups[k] // 2]

    def name(self, k: int) -> str:
        """Return how error messages call parameter ``k``."""
        return self.plan.names[self.numbers[k]]

    def _resume(self, k: int) -> None:
        """Continue from the state that parameter ``k`` has, if it has any."""
        p, rule = self.params[k], self.rule
        entry = self.plan.state.get(p, {})
        kept = [name for name in rule.slots if isinstance(entry.get(name), torch.Tensor)]
        if rule.slots and not kept:
            return
        self.many.clocks[k] = self._clock(k, entry)
        for name in rule.slots:
            if name in kept:
                entry[name] = self._fitting(k, name, entry[name])
            else:
                entry[name] = _started(rule, self.row(k).h, p, name)
        self._install(k, entry)

    def _clock(self, k: int, entry: dict[str, Any]) -> np.ndarray:
        """Return the clock that goes with the state of parameter ``k``."""
        known, running = self.plan.clocks.get(self.params[k], (None, None))
        row = self.row(k)
        clock = row.clock(f"the state of {self.name(k)}", entry, running, known is row.rule)
        for name in ("clock", *row.rule.accumulates):
            entry.pop(name, None)
        return clock

    def _fitting(self, k: int, name: str, slot: torch.Tensor) -> torch.Tensor:
        """Return the slot in the dtype and layout that the kernel needs; as it is, as a rule."""
        p = self.params[k]
        if slot.shape != p.shape:
            raise StateError(
                f"{self.name(k)} has shape {tuple(p.shape)}, but its state {name!r} has shape "
                f"{tuple(slot.shape)}. After changing the shape of a parameter, delete its entry "
                "in the optimizer's state, or make a new optimizer."
            )
        is_linear = p.is_contiguous() or self.spreads[k] == "gappy"
        fits = slot.is_contiguous() if is_linear else slot.stride() == p.stride()
        if fits and slot.dtype == slot_dtype(p) and slot.device == p.device:
            return slot
        return empty_slot(p, self.rule.slots.index(name)).copy_(slot)

    def _install(self, k: int, entry: dict[str, Any]) -> None:
        """Write the addresses of the state of parameter ``k`` to the kernel's table."""
        self.waiting[k] = False
        table, clock = self.many.table, self.many.clocks[k]
        for place, name in enumerate(self.rule.slots, SLOTS):
            table[place, k] = entry[name].data_ptr()
            self._kept.append(entry[name].detach())
        if self.plan.counts:
            step = entry.get("step")
            if not isinstance(step, torch.Tensor) or step.dtype != torch.float32:
                step = entry["step"] = torch.tensor(clock[0], dtype=torch.float32)
            table[COUNTER, k] = step.data_ptr()
            self._kept.append(step.detach())
        self.plan.clocks[self.params[k]] = (self.rule, clock)

    def admit(self, active: np.ndarray) -> bool:
        """Make the state of parameters that get their first gradient; tell whether any did."""
        if not self._are_waiting:
            return False
        fresh = active[self.waiting[active]]
        for k in fresh:
            p, h = self.params[k], self.row(k).h
            self.many.clocks[k] = new_clock(self.rule, h)
            entry = self.plan.state[p] = Entry(self.plan.state.get(p, {}))
            entry.pop("clock", None)
            if self.plan.counts:  # first, as in torch
                entry["step"] = torch.zeros((), dtype=torch.float32)
            entry |= {name: _started(self.rule, h, p, name) for name in self.rule.slots}
            self._install(k, entry)
        self._are_waiting = bool(self.waiting.any())
        return bool(fresh.size)

    def match(self) -> Work | None:
        """Pair parameters with their gradients and check both; nothing is written.

        Raises
        ------
        Stale
            A parameter is not what it was: plan again.
        ArrayTypeError, ArrayError
            A gradient is sparse, or not of its parameter's dtype and shape.
        """
        count = self.pairs.read() if self._is_dense else -1
        if count < 0:
            return self._matched_one_by_one()
        if count == len(self.params):
            return Work(self.many.everything, self.params, self.params)
        active = np.flatnonzero(self.many.table[GRADIENT] != MISSING)
        params = [self.params[k] for k in active]
        return Work(active, params, params) if params else None

    def _matched_one_by_one(self) -> Work | None:
        """Find for each pair memory that one loop can run over: theirs, or copies."""
        given = [(k, p, p.grad) for k, p in enumerate(self.params)]
        active = [k for k, _, g in given if g is not None]
        if not active:
            return None
        params, pairs = [], []
        for k, p, g in given:
            if g is None:
                continue
            if _signature(p) != self.signatures[k]:
                raise Stale
            check_gradient(self.name(k), p, g)
            params.append(p)
            pairs.append(linear(p, g, self.spreads[k]))
        places = addresses(params)
        if not np.array_equal(places, self.pairs.places[active]):
            self.plan.check_disjoint()
            self.pairs.places[active] = places
        memory, grads = [a for a, _ in pairs], [g for _, g in pairs]
        table = self.many.table
        table[GRADIENT, active], table[PARAMETER, active] = addresses(grads), addresses(memory)
        return Work(np.array(active), params, memory, grads)

    def run(self, work: Work, hyper: np.ndarray) -> None:
        """Step what :meth:`match` found, in place."""
        # Without this, a backward pass through the old values would go wrong unnoticed. Just read,
        # the parameters are still in the caches.
        torch.autograd.graph.increment_version(work.params)
        active = work.active
        while (wrong := self.many.step(hyper, active)) >= 0:
            # Someone wrote to `step`, and what it says counts: the clock follows it.
            k = int(active[wrong])
            step, clock = self.plan.state[self.params[k]]["step"], self.many.clocks[k]
            clock[0] = whole_step(f"the state of {self.name(k)}: 'step'", step)
            rewind(self.rule, self.row(k).h, clock[None])
        if work.memory is not work.params:
            _copy_back(work.params, work.memory)

    def rewind(self, groups: Iterable[int]) -> None:
        """Make the powers in the clocks of these groups anew."""
        for group in groups:
            rows = np.flatnonzero(self.many.groups // 2 == group)
            clocks = self.many.clocks[rows]
            rewind(self.rule, self.plan.rows[group].h, clocks)
            self.many.clocks[rows] = clocks
