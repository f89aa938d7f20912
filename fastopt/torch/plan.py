"""What a step does, worked out once: which tensors, their addresses, state and hyperparameters.

Reading one attribute of one tensor from Python takes 60 ns, a step over 160 tensors of 1 000
elements 45 us in the kernel. So what cannot change behind our back is kept here, and the rest is
compared with what it was, in as few passes over the tensors as possible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain
from operator import is_
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from fastopt.recipes import Recipe
from fastopt.rules import Rule
from fastopt.torch.batch import Batch, Stale
from fastopt.torch.entry import Entry
from fastopt.torch.groups import Change, Row, name_of
from fastopt.torch.memory import Roster
from fastopt.torch.tensors import check_disjoint, check_tensor

__all__ = ["Clocks", "Manner", "Plan"]

Clocks = dict[torch.Tensor, tuple[Rule, np.ndarray]]
"""For each parameter with state, the rule that steps it and its clock, advanced by the kernel."""


class Manner(NamedTuple):
    """What distinguishes one optimizer class from another.

    Attributes
    ----------
    title : str
        Name of the class.
    recipe : callable
        See :mod:`fastopt.recipes`.
    options : list of str
        Options of a param group that the recipe reads.
    counts : bool
        Whether torch keeps ``step`` in the state.
    """

    title: str
    recipe: Recipe
    options: list[str]
    counts: bool

    def where(self, k: int) -> str:
        """Return how error messages call param group ``k``."""
        return f"{self.title}, param group {k}"

    def row(self, k: int, group: dict[str, Any]) -> Row:
        """Return the hyperparameters of param group ``k``, checked."""
        return Row(self.where(k), group, self.options, self.recipe)


def _values(entries: list[dict[str, Any]]) -> Iterable[Any]:
    return chain.from_iterable(map(dict.values, entries))


class Plan:
    """Everything that a step needs to know about the parameters of an optimizer.

    Parameters
    ----------
    manner : Manner
        Of the optimizer's class.
    groups : list of dict
        torch's ``param_groups``.
    params : list of Tensor
        Theirs, one behind the other.
    state : defaultdict
        torch's ``state``; entries are made when a parameter gets its first gradient.
    clocks : dict
        Clocks so far; afterwards those of ``params``.

    Raises
    ------
    ArrayTypeError, ArrayError, HyperparameterError, StateError
        A parameter, an option or a state is not what a kernel can use.
    """

    def __init__(
        self,
        manner: Manner,
        groups: list[dict[str, Any]],
        params: list[torch.Tensor],
        state: defaultdict[torch.Tensor, Any],
        clocks: Clocks,
    ) -> None:
        self.groups, self.params, self.state = list(groups), params, state
        self.clocks, self.counts = clocks, manner.counts
        self.rows = [manner.row(k, group) for k, group in enumerate(groups)]
        self.group_of = [k for k, group in enumerate(groups) for _ in group["params"]]
        self.names = names_of(manner, groups)
        for name, p in zip(self.names, params):
            check_tensor(name, p)
        self.check_disjoint()
        sorts: dict[tuple[Rule, torch.dtype], list[int]] = {}
        for k, p in enumerate(params):
            if not is_lazy(p):
                sorts.setdefault((self.rows[self.group_of[k]].rule, p.dtype), []).append(k)
        self._has_lazy = any(map(is_lazy, params))
        with torch.no_grad():
            self.batches = [Batch(rule, self, numbers) for (rule, _), numbers in sorts.items()]
        for p in set(clocks).difference(params):
            del clocks[p]
        self._hyper = {
            batch.rule: np.zeros((2 * len(self.rows), len(batch.rule.hyper)))
            for batch in self.batches
        }
        self._pack()
        self._look()

    def check_disjoint(self) -> None:
        """Refuse parameters that share memory."""
        check_disjoint(self.names, self.params)

    def is_current(self, groups: list, state: Any) -> bool:
        """Tell whether all dicts and tensors are still those that the plan was made for."""
        return (
            not self._watch[0]
            and not self._has_lazy
            and len(groups) == len(self.groups)
            and all(map(is_, groups, self.groups))
            and self._roster.is_current([group["params"] for group in groups], state)
            and (not self._foreign or [*map(id, _values(self._foreign))] == self._ids)
        )

    def _look(self) -> None:
        """Remember the state as it is, in order to notice what is replaced in it."""
        self._watch = [False]
        self._roster = Roster([group["params"] for group in self.groups], self.state)
        entries = list(self.state.values())
        for entry in entries:
            if isinstance(entry, Entry):
                entry.watch = self._watch
        # Dicts that someone else put there do not tell; their tensors are held, so ids stay theirs.
        self._foreign = [entry for entry in entries if not isinstance(entry, Entry)]
        self._held = list(_values(self._foreign))
        self._ids = list(map(id, self._held))

    def _pack(self) -> None:
        """Write the hyperparameters of all groups of a rule to one table, always the same."""
        for k, row in enumerate(self.rows):
            if row.rule in self._hyper:
                self._hyper[row.rule][2 * k : 2 * k + 2] = row.rule.rows(row.h)

    def step(self) -> None:
        """Update every parameter that has a gradient; all checks come before the first write.

        Raises
        ------
        Stale
            Plan again; nothing was changed.
        HyperparameterError, ArrayTypeError, ArrayError
            An option or a gradient is not allowed; nothing was changed.
        """
        pending = [row.pending() for row in self.rows]
        changes = {k: change for k, change in enumerate(pending) if change is not None}
        if any(rule is not self.rows[k].rule for k, (rule, _) in changes.items()):
            raise Stale
        try:
            self._run(changes)
        finally:
            for batch in self.batches:
                batch.pairs.release()

    def _run(self, changes: dict[int, Change]) -> None:
        work = [(batch, batch.match()) for batch in self.batches]
        if changes:
            self._adopt(changes)
        admitted = False
        for batch, found in work:
            if found is not None:
                admitted |= batch.admit(found.active)
                batch.run(found, self._hyper[batch.rule])
        if admitted:
            self._look()

    def _adopt(self, changes: dict[int, Change]) -> None:
        stale = [k for k, (_, h) in changes.items() if self.rows[k].adopt(h)]
        for batch in self.batches if stale else ():
            batch.rewind(stale)
        self._pack()


def names_of(manner: Manner, groups: list[dict[str, Any]]) -> list[str]:
    """Return how error messages call each parameter."""
    return [
        name_of(group, manner.where(k), i)
        for k, group in enumerate(groups)
        for i in range(len(group["params"]))
    ]


def planned(plan: Plan | None, make: Callable[[], Plan]) -> Plan:
    """Step by ``plan``, or by a new one if it does not fit; return the plan that did."""
    if plan is not None:
        try:
            plan.step()
            return plan
        except Stale:
            pass
    fresh = make()
    fresh.step()
    return fresh
