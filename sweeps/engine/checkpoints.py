"""Trials that run in stretches: how far each goes, and what is kept of it until it goes on.

A kernel copies out what it has of a trial and copies it back, so a trial in stretches has the bits
of one that never paused. What is kept of one trial: its parameters and slots, in the dtype of the
arithmetic, and a few words (clock, counters, results, last loss).
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np

from sweeps.engine.chunks import lengthened
from sweeps.engine.plan import Block
from sweeps.engine.trial import STEPS

__all__ = ["Paused"]


class Kept(NamedTuple):
    """Paused trials whose states have one size, in the order of their numbers."""

    ids: np.ndarray
    words: np.ndarray
    memory: np.ndarray
    curves: np.ndarray


class Paused:
    """What is kept of paused trials, by their number."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], list[Kept]] = {}

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        parts = itertools.chain.from_iterable(self._kept.values())
        return sum(array.nbytes for kept in parts for array in kept)

    def stretched(self, block: Block, until: np.ndarray) -> Block:
        """Return ``block`` with trials that go on where they paused, and pause at ``until``.

        Parameters
        ----------
        block : Block
            Laid out for whole runs. Its curves take over the points drawn so far.
        until : (n,) array of int64
            Steps since the start of the trial, at most its length. On a landscape, the trials of a
            block that pause do so at the same step, and those that go on have paused at the same.
        """
        words, numbers = block.state_size
        n, trials = len(block.ids), block.trials
        trials = trials._replace(
            until=np.ascontiguousarray(until, np.int64),
            words=np.zeros((n, words)),
            memory=np.empty((n, numbers), trials.memory.dtype),
        )
        kept = self._table(block.state_size)
        if kept is not None:
            rows = np.minimum(np.searchsorted(kept.ids, block.ids), len(kept.ids) - 1)
            known = kept.ids[rows] == block.ids
            rows, points = rows[known], min(kept.curves.shape[1], trials.curves.shape[1])
            trials.words[known], trials.memory[known] = kept.words[rows], kept.memory[rows]
            trials.curves[known, :points] = kept.curves[rows, :points]
        share = (trials.until - trials.words[:, block.done]) / trials.plan[:, STEPS]
        cost = np.maximum(1, block.cost * share).astype(np.int64)
        return dataclasses.replace(block, trials=trials, cost=cost)

    def keep(self, block: Block, rows: np.ndarray) -> None:
        """Take over the state of paused trials.

        Parameters
        ----------
        block : Block
            From :meth:`stretched`, after it has run; its trial numbers increase.
        rows : array of int
            Those to keep.
        """
        trials = block.trials
        new = Kept(block.ids, trials.words, trials.memory, trials.curves)
        if len(rows):
            parts = self._kept.setdefault(block.state_size, [])
            parts.append(Kept(*(array[rows] for array in new)))

    def retain(self, ids: np.ndarray) -> None:
        """Forget every trial but these."""
        for key, parts in list(self._kept.items()):
            left = []
            for kept in parts:
                rows = np.flatnonzero(np.isin(kept.ids, ids))
                if len(rows):
                    left.append(Kept(*(array[rows] for array in kept)))
            self._kept[key] = left

    def _table(self, size: tuple[int, int]) -> Kept | None:
        """Put what came from several launches together, once, when it is needed."""
        parts = self._kept.get(size)
        if not parts:
            return None
        if len(parts) > 1:
            points = max(kept.curves.shape[1] for kept in parts)
            even = [kept._replace(curves=lengthened(kept.curves, points)) for kept in parts]
            whole = Kept(*(np.concatenate(arrays) for arrays in zip(*even)))
            order = np.argsort(whole.ids, kind="stable")
            self._kept[size] = [Kept(*(array[order] for array in whole))]
        return self._kept[size][0]
