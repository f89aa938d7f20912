"""Trials that run in stretches: how far each goes, and what is kept of it until it goes on.

A kernel copies out what it has of a trial and copies it back, so a trial in stretches has the bits
of one that never paused. What is kept of one trial: its parameters and slots, in the dtype of the
arithmetic, and a few words (clock, counters, results, last loss).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from sweeps.engine.plan import Block

__all__ = ["Paused", "unpaused"]


def unpaused(dtype: np.dtype) -> dict[str, np.ndarray]:
    """Return the columns of trials that run to their end: without rows, so that they cost nothing.

    >>> {name: a.shape for name, a in unpaused(np.dtype(float)).items()}
    {'until': (0,), 'words': (0, 0), 'memory': (0, 0)}
    """
    return {
        "until": np.empty(0, np.int64),
        "words": np.empty((0, 0)),
        "memory": np.empty((0, 0), dtype),
    }


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
        return dataclasses.replace(block, trials=trials)

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
            curves = [_padded(old.curves, points), _padded(new.curves, points)]
            joined = [np.concatenate(pair) for pair in zip(old[:3], new[:3])]
            new = Kept(*joined, np.concatenate(curves))
        order = np.argsort(new.ids, kind="stable")
        self._kept[key] = Kept(*(array[order] for array in new))


def _padded(curves: np.ndarray, points: int) -> np.ndarray:
    more = points - curves.shape[1]
    return np.pad(curves, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)
