"""Trials that run in stretches: how far each goes, and what is kept of it until it goes on.

A kernel copies out what it has of a trial and copies it back, so a trial in stretches has the bits
of one that never paused. What is kept of one trial: its parameters and slots, in the dtype of the
arithmetic, its clock, counters and results.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np

from sweeps.engine.block import Block, lengthened
from sweeps.engine.plan import Plan
from sweeps.engine.records import Kept


class Checkpoint(NamedTuple):
    """Paused trials whose states have one shape, in the order of their numbers."""

    ids: np.ndarray
    curves: np.ndarray
    state: Kept

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return sum(array.nbytes for array in (self.ids, self.curves, *self.state))

    def rows(self, rows: np.ndarray) -> Checkpoint:
        """Return some of the trials."""
        state = Kept(*(array[rows] for array in self.state))
        return Checkpoint(self.ids[rows], self.curves[rows], state)

    @property
    def shape(self) -> tuple:
        """Shape of the state of one trial."""
        return tuple(array.shape[1:] for array in self.state)


def is_given(plan: Plan, name: str) -> bool:
    """Whether a sweep says something by a keyword or an axis of this name."""
    return name in plan.space.names or plan.options.defaults.get(name) is not None


def counts_epochs(plan: Plan) -> bool:
    """Whether the length of trials is given in epochs."""
    return is_given(plan, "epochs")


def steps_per_unit(plan: Plan, block: Block) -> np.ndarray:
    """Return the steps of one epoch of each trial, or 1 if the sweep counts in steps."""
    if not counts_epochs(plan):
        return np.ones(len(block.ids), np.int64)
    return -(-len(block.problem.X) // block.trials.settings["batch"])


class Stretch(NamedTuple):
    """How far trials go: until each has used ``resources`` epochs or steps, or to its end if None.

    Those of which ``paused`` has the state go on from there, the others from their start, which
    comes to the same bits.
    """

    resources: int | None
    paused: Paused

    def blocks(self, plan: Plan, ids: np.ndarray) -> list[Block]:
        """Lay trials out, those that go on apart from those that begin."""
        known = np.isin(ids, self.paused.ids)
        blocks = [b for some in (ids[known], ids[~known]) if some.size for b in plan.blocks(some)]
        return [self.paused.stretched(block, self._until(plan, block)) for block in blocks]

    def _until(self, plan: Plan, block: Block) -> np.ndarray:
        steps = block.trials.settings["steps"]
        if self.resources is None:
            return steps
        return np.minimum(steps, self.resources * steps_per_unit(plan, block))


class Paused:
    """What is kept of paused trials, by their number."""

    def __init__(self) -> None:
        self._kept: dict[tuple, list[Checkpoint]] = {}

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        parts = itertools.chain.from_iterable(self._kept.values())
        return sum(part.nbytes for part in parts)

    def stretched(self, block: Block, until: np.ndarray) -> Block:
        """Return ``block`` with trials that go on where they paused, and pause at ``until``.

        ``block``: laid out for whole runs. Its curves take over the points drawn so far. ``until``
        (n,) of int64: steps since the start of the trial, at most its length. On a landscape, the
        trials of a block that pause do so at the same step, and those that go on have paused at the
        same.
        """
        n, trials = len(block.ids), block.trials
        trials = trials._replace(until=np.ascontiguousarray(until, np.int64), kept=block.kept(n))
        known = self._table(Checkpoint(block.ids, trials.curves, trials.kept).shape)
        if known is not None:
            rows = np.minimum(np.searchsorted(known.ids, block.ids), len(known.ids) - 1)
            found = known.ids[rows] == block.ids
            rows, points = rows[found], min(known.curves.shape[1], trials.curves.shape[1])
            for target, source in zip(trials.kept, known.state):
                target[found] = source[rows]
            trials.curves[found, :points] = known.curves[rows, :points]
        done = trials.kept.counters["done"]
        share = (trials.until - done) / trials.settings["steps"]
        cost = np.maximum(1, block.cost * share).astype(np.int64)
        return dataclasses.replace(block, trials=trials, cost=cost)

    def keep(self, block: Block, rows: np.ndarray) -> None:
        """Take over the state of paused trials.

        ``block``: from :meth:`stretched`, after it has run; its trial numbers increase. ``rows`` of
        int: those to keep.
        """
        if len(rows):
            trials = block.trials
            kept = Checkpoint(block.ids, trials.curves, trials.kept).rows(rows)
            self._kept.setdefault(kept.shape, []).append(kept)

    @property
    def ids(self) -> np.ndarray:
        """Numbers of the trials, in no order."""
        parts = itertools.chain.from_iterable(self._kept.values())
        return np.concatenate([np.empty(0, np.int64), *(part.ids for part in parts)])

    def take_over(self, other: Paused) -> None:
        """Take over the states of other trials."""
        for key, parts in other._kept.items():
            self._kept.setdefault(key, []).extend(parts)

    def some(self, ids: np.ndarray) -> Paused:
        """Return what is kept of some trials, a copy."""
        found = Paused()
        for key in self._kept:
            table = self._table(key)
            rows = np.isin(table.ids, ids) if table else np.empty(0, bool)
            if table and rows.any():
                found._kept[key] = [table.rows(np.flatnonzero(rows))]
        return found

    def retain(self, ids: np.ndarray) -> None:
        """Forget every trial but these."""
        for key, parts in list(self._kept.items()):
            chosen = (part.rows(np.flatnonzero(np.isin(part.ids, ids))) for part in parts)
            self._kept[key] = [part for part in chosen if len(part.ids)]

    def _table(self, shape: tuple) -> Checkpoint | None:
        """Put what came from several launches together, once, when it is needed."""
        parts = self._kept.get(shape)
        if not parts:
            return None
        if len(parts) > 1:
            ids = np.concatenate([part.ids for part in parts])
            points = max(part.curves.shape[1] for part in parts)
            curves = np.concatenate([lengthened(part.curves, points) for part in parts])
            state = Kept(*map(np.concatenate, zip(*(part.state for part in parts))))
            whole = Checkpoint(ids, curves, state)
            self._kept[shape] = [whole.rows(np.argsort(ids, kind="stable"))]
        return self._kept[shape][0]
