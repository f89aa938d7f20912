"""Trials that run in stretches: how far each goes, and what is kept of it until it goes on.

A kernel copies out what it has of a trial and copies it back, so a trial in stretches has the bits
of one that never paused. What is kept of one trial: its parameters and slots, in the dtype of the
arithmetic, and a few words (clock, counters, results, last loss).
"""

from __future__ import annotations

import dataclasses
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
        self._kept: dict[tuple[int, int], Kept] = {}

    @property
    def nbytes(self) -> int:
        """Memory in use."""
        return sum(array.nbytes for kept in self._kept.values() for array in kept)

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
        kept = self._kept.get(block.state_size)
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
            From :meth:`stretched`, after it has run.
        rows : array of int
            Those to keep.
        """
        trials = block.trials
        new = Kept(block.ids, trials.words, trials.memory, trials.curves)
        self._merge(block.state_size, Kept(*(array[rows] for array in new)))

    def retain(self, ids: np.ndarray) -> None:
        """Forget every trial but these."""
        for key, kept in list(self._kept.items()):
            rows = np.isin(kept.ids, ids)
            self._kept[key] = Kept(*(array[rows] for array in kept))
            if not rows.any():
                del self._kept[key]

    def _merge(self, key: tuple[int, int], new: Kept) -> None:
        old = self._kept.get(key)
        if not len(new.ids):
            return
        if old is not None:
            points = max(old.curves.shape[1], new.curves.shape[1])
            both = [kept._replace(curves=lengthened(kept.curves, points)) for kept in (old, new)]
            new = Kept(*(np.concatenate(pair) for pair in zip(*both)))
        order = np.argsort(new.ids, kind="stable")
        self._kept[key] = Kept(*(array[order] for array in new))
