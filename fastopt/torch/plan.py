"""What a step does, worked out once: which parameters go together, by which rule and options."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from operator import is_
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from fastopt.errors import ArrayError
from fastopt.machine.many import Launch
from fastopt.rules import Rule
from fastopt.rules.recipes import Recipe
from fastopt.torch.batch import Batch, Clocks, Stale
from fastopt.torch.groups import Change, Row, name_of
from fastopt.torch.memory import Ranges, bounds_of
from fastopt.torch.shards import ShardBatch, check_shard, is_sharded, local_of
from fastopt.torch.tensors import check_tensor

# How often a step looks again where its tensors are, if each time they are elsewhere than before.
TRIES = 3


class Traits(NamedTuple):
    """What distinguishes one optimizer class from another.

    ``options``: those of a param group that the recipe reads. ``counts``: whether torch keeps
    ``step`` in the state.
    """

    title: str
    recipe: Recipe
    options: list[str]
    counts: bool

    def where(self, k: int) -> str:
        """Return how error messages call param group ``k``."""
        return f"{self.title}, param group {k}"

    def row(self, k: int, group: dict[str, Any], known: Row | None = None) -> Row:
        """Return the checked hyperparameters of param group ``k``: ``known`` if they still hold."""
        if known is not None and known.where == self.where(k) and known.pending() is None:
            return known
        return Row(self.where(k), group, self.options, self.recipe)


def params_of(groups: list[dict[str, Any]]) -> list[torch.Tensor]:
    """Return the parameters of all groups, one behind the other."""
    return list(chain.from_iterable(group["params"] for group in groups))


class Plan:
    """Everything that a step needs to know about the parameters of an optimizer.

    ``clocks``: clocks so far; those of other parameters are dropped. ``rows``: of groups that were
    checked before; taken over where nothing has changed.
    """

    def __init__(
        self, traits: Traits, groups: list[dict[str, Any]], clocks: Clocks, rows: list[Row]
    ) -> None:
        self._title, self._groups, self._params = traits.title, list(groups), params_of(groups)
        self._counts = [len(group["params"]) for group in groups]
        known = {id(row.group): row for row in rows}
        self._rows = [traits.row(k, group, known.get(id(group))) for k, group in enumerate(groups)]
        self._names = names_of(traits, groups)
        for name, p in zip(self._names, self._params):
            check_tensor(name, local_of(p))
        for p in set(clocks).difference(self._params):
            del clocks[p]
        self._has_lazy = any(map(is_lazy, self._params))
        self._launch: Launch | None = None
        self._count, self._finished = np.zeros(1, np.int64), 0
        self._batches = self._make_batches(clocks, traits.counts)
        self._pack()

    def _make_batches(self, clocks: Clocks, counts: bool) -> list[Batch]:
        group_of = [k for k, count in enumerate(self._counts) for _ in range(count)]
        sorts: dict[tuple[Rule, torch.dtype, bool], list[int]] = {}
        for k, p in enumerate(self._params):
            if not is_lazy(p):
                rule = self._rows[group_of[k]].rule
                check_shard(self._names[k], p, rule)
                sorts.setdefault((rule, p.dtype, is_sharded(p)), []).append(k)
        # Two rows a group: that of matrices, that of tensors of fewer dimensions.
        self._hyper = {rule: np.zeros((2 * len(self._rows), len(rule.hyper))) for rule, *_ in sorts}
        return [
            (ShardBatch if sharded else Batch)(
                rule,
                [self._params[k] for k in numbers],
                [self._names[k] for k in numbers],
                [self._rows[group_of[k]] for k in numbers],
                self._hyper[rule],
                [2 * group_of[k] + (self._params[k].ndim < 2) for k in numbers],
                clocks,
                counts,
            )
            for (rule, _, sharded), numbers in sorts.items()
        ]

    def is_current(self, groups: list[dict[str, Any]]) -> bool:
        """Tell whether these are the groups and parameters that the plan was made for."""
        params = [group["params"] for group in groups]
        return (
            not self._has_lazy
            and len(groups) == len(self._groups)
            and all(map(is_, groups, self._groups))
            and list(map(len, params)) == self._counts
            and all(map(is_, chain.from_iterable(params), self._params))
        )

    def _pack(self) -> None:
        """Write the hyperparameters of all groups of a rule to one table, always the same."""
        for k, row in enumerate(self._rows):
            if row.rule in self._hyper:
                self._hyper[row.rule][2 * k : 2 * k + 2] = row.rule.rows(row.h)

    def step(self, state: defaultdict[torch.Tensor, Any]) -> None:
        """Update every parameter that has a gradient; all checks come before the first write.

        ``state``: torch's; entries are made when a parameter gets its first gradient. Raises Stale:
        plan again. Whatever it raises, nothing was changed.
        """
        pending = [row.pending() for row in self._rows]
        changes = {k: change for k, change in enumerate(pending) if change is not None}
        if changes:
            self._adopt(changes)
        try:
            # A list: all of them take what there is now, even if one is known to need checks.
            gathered = [batch.gather(state) for batch in self._batches]
            is_done = all(gathered) and self._launched()
            if not is_done and not self._step_others(state):
                self._step_checked(state)
        finally:
            try:
                self._finish()
            except BaseException:  # of a signal (Ctrl-C), which comes once
                self._finish()
                raise

    def _finish(self) -> None:
        """Have all tensors say what the kernel did, if it did, however often it is begun."""
        count = self._count.item()
        if count > self._finished:
            for batch in self._batches:
                batch.finish()
            self._finished = count

    def _step_others(self, state: defaultdict[torch.Tensor, Any]) -> bool:
        """Step other parameters than before, if nothing else is new; tell whether that was done.

        Where some have no gradient every other time (experts, branches), checking all 160 tensors
        anew took 12 ms, a step 0.4.
        """
        active = [batch.present() for batch in self._batches]
        # None while batches are changed: after a signal's exception in between it would run again.
        launch, self._launch = self._launch, None
        if launch is None or active == [batch.active for batch in self._batches]:
            return False
        if not all(batch.choose(own) for batch, own in zip(self._batches, active)):
            return False
        self._aim()
        return all(batch.gather(state) for batch in self._batches) and self._launched()

    def _aim(self) -> None:
        for batch in self._batches:
            batch.aim(self._bounds)
        self._launch = Launch((batch.many for batch in self._batches), self._count)

    def _launched(self) -> bool:
        return self._launch is not None and self._launch.run() is None

    def _step_checked(self, state: defaultdict[torch.Tensor, Any]) -> None:
        """Check everything, take it as it is from now on, and step."""
        for _ in range(TRIES):
            self._launch, ranges = None, Ranges()
            items = [item for batch in self._batches for item in batch.check(state)]
            for name, t, _ in items:
                ranges.add(name, t)
            ranges.check()
            for name, _, g in items:
                if g is not None:
                    ranges.check_apart(f"the gradient of {name}", g)
            # What is made in inference mode could not be written to when it is over.
            with torch.inference_mode(False), torch.no_grad():
                for batch in self._batches:
                    batch.settle(state)
            self._bounds = bounds_of(t for batch in self._batches for t in batch.written())
            self._aim()
            if self._launched():
                return
        raise ArrayError(
            f"{self._title}: parameters, gradients or state changed {TRIES} times while they were "
            "being checked. Do not replace or resize them while another thread steps."
        )

    def _adopt(self, changes: dict[int, Change]) -> None:
        if any(rule is not self._rows[k].rule for k, (rule, _) in changes.items()):
            raise Stale
        for k, (rule, h) in changes.items():
            has_other_powers = self._rows[k].adopt(h)
            for batch in self._batches if has_other_powers else ():
                if batch.rule is rule:
                    batch.rewind(k, h)
        self._pack()


def names_of(traits: Traits, groups: list[dict[str, Any]]) -> list[str]:
    """Return how error messages call each parameter."""
    return [
        name_of(group, traits.where(k), i)
        for k, group in enumerate(groups)
        for i in range(len(group["params"]))
    ]
