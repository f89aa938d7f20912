"""Group trials into the cells of a picture, in time linear in their number."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from fastopt.errors import SpecError
from sweeps.analysis.folds import in_words
from sweeps.analysis.stats import best_first, group_means, mode_of, scores
from sweeps.analysis.table import Table
from sweeps.common.frames import configurations
from sweeps.common.names import REPEATS, SEED, check_choice
from sweeps.common.states import State
from sweeps.plots.axes import BINS, Axis, axis_of

OVER = ("best", "mean", "worst")
"""What a cell shows of the configurations in it."""


@dataclass(frozen=True, eq=False)
class Pool:
    """One metric of every configuration, averaged over repeats; made by :func:`average_seeds`.

    ``rows`` (m,) of int64: the first trial of each configuration. ``score`` (m,) of float64: the
    mean metric over its seeds that finished, and its folds; NaN if none did, or, where others have
    finished on all folds, if it has not. ``mode`` (one of "min", "max"): whether a small or a
    large metric is good. ``whole`` (m,) of bool: whether all of its trials did, without which it
    is not the best, as where results are ranked; all, if none has.
    """

    rows: np.ndarray
    score: np.ndarray
    mode: str
    whole: np.ndarray


@dataclass(frozen=True, eq=False)
class Cells:
    """The values in the cells of a picture; made by :func:`table_of_axes`.

    ``value`` (len(axis) for each axis): the metric, NaN where no trial counts. ``diverged``: share
    of the trials that diverged, among those that ran to their end; NaN without any. ``best``: the
    cell of the best value; of equal ones, that of the earliest trial, as where results are ranked.
    """

    axes: tuple[Axis, ...]
    value: np.ndarray
    diverged: np.ndarray
    best: tuple[int, ...] | None

    @property
    def lost(self) -> np.ndarray:
        """Cells without a value, in which trials diverged."""
        return np.isnan(self.value) & (self.diverged > 0.0)


def average_seeds(result: Table, metric: str, kept: Collection[str] = ()) -> Pool:
    """Average a metric over seeds and folds, unless these are among the axes kept."""
    score, mode = scores(result, metric), mode_of(result, metric)
    names = single_axes(result, kept)
    if len(names) == len(result.axes):
        return Pool(np.arange(len(result)), score, mode, np.ones(len(result), bool))
    codes = configurations(result.columns, names)
    # Configurations are numbered in order of appearance: each new one is a new maximum.
    rows = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))
    if "fold" in result.axes and "fold" not in kept:
        score = np.where(_on_all_folds(result, score, codes)[codes], score, math.nan)
    mean = group_means(score, codes, len(rows))
    whole = np.bincount(codes[np.isnan(score)], minlength=len(rows)) == 0
    return Pool(rows, mean, mode, whole if whole.any() else ~whole)


def _on_all_folds(result: Table, score: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Tell which configurations have a score on every fold; if none has, all may be compared."""
    fold = axis_of("fold", result.columns["fold"])
    known = np.unique((codes * len(fold) + fold.codes)[~np.isnan(score) & (fold.codes >= 0)])
    whole = np.bincount(known // max(len(fold), 1), minlength=int(codes.max()) + 1) == len(fold)
    return whole if whole.any() else ~whole


def single_axes(result: Table, kept: Collection[str] = ()) -> list[str]:
    """Return the axes that tell configurations apart: all but seed and fold, or these if kept."""
    return [name for name in result.axes if name not in REPEATS or name in kept]


def mean_of(result: Table) -> str:
    """Return what a line is the mean of, for a legend."""
    return f"mean of {in_words([name for name in REPEATS if name in result.axes] or [SEED])}"


def table_of_axes(
    result: Table,
    names: Sequence[str],
    metric: str | None = None,
    over: str = "best",
    bins: int = BINS,
) -> Cells:
    """Group the trials of a result into cells, by a few of its axes.

    ``names``: different axes. ``over``: which of the configurations that share a cell it shows,
    each averaged over its seeds and folds first, unless they are among ``names``.

    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "lr": np.array([0.1, 0.1, 1.0, 1.0]),
    ...            "seed": np.array([0, 1, 0, 1]), "state": np.array([0, 0, 0, 1]),
    ...            "loss": np.array([1.0, 3.0, 5.0, np.nan])}
    >>> found = table_of_axes(SweepResult(columns, None, "loss", "min", {}), ["lr"])
    >>> found.value, found.diverged
    (array([2., 5.]), array([0. , 0.5]))
    """
    for name in names:
        check_choice("axis", name, result.axes)
    if not len(result):
        raise SpecError("there is nothing to draw: no trial has finished")
    if len({*names}) < len(names):
        raise SpecError(f"the axes of a picture must be different ones; got {', '.join(names)}")
    check_choice("over", over, OVER)
    metric = result.metric if metric is None else metric
    axes = tuple(axis_of(name, result.columns[name], bins) for name in names)
    return tabulate(result, axes, average_seeds(result, metric, names), over)


def tabulate(result: Table, axes: Sequence[Axis], pooled: Pool, over: str) -> Cells:
    """Do what :func:`table_of_axes` does, with axes and averages that are known already."""
    shape = tuple(len(axis) for axis in axes)
    size = math.prod(shape)
    where = _cell_of_trials(axes, shape)
    state = np.asarray(result.columns["state"])
    ended, diverged = (
        np.bincount(where[(where >= 0) & chosen], minlength=size)
        for chosen in (state <= State.DIVERGED, state == State.DIVERGED)
    )
    share = np.divide(diverged, ended, out=np.full(size, math.nan), where=ended > 0)
    counts = (where[pooled.rows] >= 0) & ~np.isnan(pooled.score)
    cells, score = where[pooled.rows][counts], pooled.score[counts]
    if over == "mean":
        value = group_means(score, cells, size)
    else:
        smallest = (over == "best") == (pooled.mode == "min")
        value = np.full(size, math.inf if smallest else -math.inf)
        (np.minimum if smallest else np.maximum).at(value, cells, score)
        value[np.isinf(value)] = math.nan
    if over == "best":
        order = best_first(np.where(pooled.whole[counts], score, math.nan), pooled.mode)
        best = int(cells[order[0]]) if len(order) else None
    else:
        best = _best_cell(value, cells, value[cells] if over == "mean" else score, pooled.mode)
    where_best = None if best is None else tuple(map(int, np.unravel_index(best, shape)))
    return Cells(tuple(axes), value.reshape(shape), share.reshape(shape), where_best)


def _best_cell(value: np.ndarray, cells: np.ndarray, score: np.ndarray, mode: str) -> int | None:
    """Return the first of ``cells`` whose value, and whose own score, is the best of all."""
    if np.isnan(value).all():
        return None
    top = np.nanmin(value) if mode == "min" else np.nanmax(value)
    return int(cells[np.argmax((value[cells] == top) & (score == top))])


def varying_axes(result: Table) -> list[str]:
    """Return the axes with two values or more."""
    return [name for name in result.axes if len(axis_of(name, result.columns[name])) > 1]


def main_axes(result: Table, count: int = 2) -> list[str]:
    """Return the axes most worth a picture: numbers before names, many values before few.

    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "optimizer": np.array(["sgd", "adam"] * 2, object),
    ...            "lr": np.array([0.1, 0.1, 1.0, 1.0]), "state": np.zeros(4, int),
    ...            "loss": np.zeros(4)}
    >>> main_axes(SweepResult(columns, None, "loss", "min", {}))
    ['lr', 'optimizer']
    """
    axes = [axis_of(name, result.columns[name]) for name in result.axes]
    varied = [axis for axis in axes if len(axis) > 1]
    varied.sort(key=lambda axis: (axis.name in REPEATS, not axis.numeric, -len(axis)))
    if len(varied) < count:
        raise SpecError(
            f"the picture needs {count} axes with two values or more; this result has "
            f"{', '.join(axis.name for axis in varied) or 'none'}"
        )
    return [axis.name for axis in varied[:count]]


def _cell_of_trials(axes: Sequence[Axis], shape: Sequence[int]) -> np.ndarray:
    """Return the flat cell of every trial, -1 where it lacks one of the axes."""
    where = np.zeros(len(axes[0].codes), np.int64)
    absent = np.zeros(len(where), bool)
    for axis, length in zip(axes, shape):
        where = where * length + axis.codes
        absent |= axis.codes < 0
    where[absent] = -1
    return where
