"""For sweeps too large to keep: each chunk is reduced to a small summary as soon as it has run.

A reducer is any object with the three methods of :class:`Reducer`. Summaries are merged in the
order of the trials, whatever order chunks finish in. Those of :class:`KeepBest` and
:func:`histogram` do not depend on where chunks begin and end either.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps.common.frames import pd
from sweeps.common.states import STATES, State
from sweeps.engine.chunks import Chunk, Rows
from sweeps.engine.plan import Plan
from sweeps.engine.tables import Parts, joined, parts_of
from sweeps.running.collect import Collector

Answer = TypeVar("Answer", covariant=True)
"""What a reduced sweep returns."""


class Reducer(Protocol[Answer]):
    """The methods that an object for ``sweep(..., reduce=...)`` must have.

    With a store it needs two more: ``pack(summary)``, a dict of arrays of numbers by name, and
    ``unpack(arrays)``, the summary that they were.
    """

    def check(self, plan: Plan) -> None:
        """Raise :class:`~fastopt.errors.SpecError` if this makes no sense for the sweep."""

    def fold(self, plan: Plan, rows: Rows) -> Any:
        """Return a small summary of these trials."""

    def merge(self, plan: Plan, before: Any, after: Any) -> Any:
        """Return the summary of two runs of trials, ``before`` those with smaller numbers."""

    def result(self, plan: Plan, summary: Any, info: Mapping[str, Any]) -> Answer:
        """Return what the sweep returns; ``summary`` is None if no trial has finished.

        Of :class:`sweeps.engine.tables.Parts` the sweep makes a :class:`sweeps.SweepResult`.
        """


class ReducingCollector(Collector):
    """Collects the summaries of a reduced sweep, where :class:`Collector` keeps all rows."""

    def __init__(self, plan: Plan, reducer: Reducer[Any], chunk_size: int | None = None) -> None:
        super().__init__(plan, chunk_size)
        missing = [name for name in METHODS if not callable(getattr(reducer, name, None))]
        if missing:
            raise SpecError(
                f"reduce must be sweeps.KeepBest(k), sweeps.histogram(column, edges) or an object "
                f"with the methods {', '.join(METHODS)}; got {shortened(reducer)} without "
                f"{', '.join(missing)}"
            )
        reducer.check(plan)
        self.reducer = reducer
        self._summary: Any = None
        self._next, self._early = 0, dict[int, Any]()

    def add(self, chunk: Chunk, rows: Rows) -> Future | None:
        """Fold the rows of a chunk, and merge them once all before them have come in."""
        self.take(chunk.number, rows)
        self.merge_ready()
        return None

    def take(self, number: int, rows: Rows) -> Any:
        """Fold the rows of a chunk, and return their summary, which waits to be merged."""
        self.count(rows)
        summary = self._early[number] = self.reducer.fold(self.plan, rows)
        return summary

    def result(self, seconds: float, interrupted: bool) -> Any:
        """Return what the reducer makes of all chunks."""
        self.merge_ready(gaps=True)
        info = self.info(seconds, interrupted) | {"finished": self.finished}
        return self.reducer.result(self.plan, self._summary, info)

    def merge_ready(self, gaps: bool = False) -> None:
        """Merge summaries in the order of their chunks, up to the first that is missing.

        An interruption leaves ``gaps``, which are passed over at the end.
        """
        while self._next in self._early:
            self.merge(self._early.pop(self._next))
            self._next += 1
        for number in sorted(self._early) if gaps else ():
            self.merge(self._early.pop(number))

    def merge(self, after: Any) -> None:
        """Merge the summary of the trials that follow."""
        before = self._summary
        self._summary = after if before is None else self.reducer.merge(self.plan, before, after)


METHODS = ("check", "fold", "merge", "result")
PACKED = ("ids", "state", "out", "curves")


@dataclass(frozen=True)
class KeepBest:
    """Keep the ``k`` best trials of a sweep, and forget the others as they finish.

    For ``sweep(..., reduce=KeepBest(k))``, which then returns a :class:`sweeps.SweepResult` of
    these trials, with the numbers that they have in the whole sweep; ``info["finished"]`` counts
    all that ran.

    Parameters
    ----------
    k : int
        Trials to keep, by the metric and mode of the sweep; of equal ones those with the smaller
        numbers. Trials that are not COMPLETE or have no finite metric do not count.

    Raises
    ------
    SpecError
        ``k`` is not a positive integer.

    Examples
    --------
    >>> from sweeps import KeepBest, linspace, problems, sweep
    >>> space = {"lr": linspace(0.001, 0.2, 1000)}
    >>> top = sweep(problems.ellipse(), space, optimizer="sgd", steps=20, reduce=KeepBest(3))
    >>> top.to_frame().trial_id.tolist(), top.info["finished"]
    ([907, 908, 909], 1000)
    """

    k: int

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise SpecError(f"KeepBest(k): k must be an integer >= 1; got {shortened(self.k)}")

    def check(self, plan: Plan) -> None:
        """Every sweep has a metric."""

    def fold(self, plan: Plan, rows: Rows) -> Rows:
        """Return the best of these trials, in the order of their numbers."""
        score = rows.out[:, plan.results.index(plan.options.metric)]
        score = -score if plan.options.mode == "max" else score
        fit = np.flatnonzero((rows.state == State.COMPLETE) & np.isfinite(score))
        if len(fit) > self.k:
            score = score[fit]
            # Sorting 65 536 trials takes as long as running them; few are as good as the k-th.
            last = np.partition(score, self.k - 1)[self.k - 1]
            near = np.flatnonzero(score <= last)
            fit = fit[near[np.argsort(score[near], kind="stable")[: self.k]]]
        return rows.some(np.sort(fit))

    def merge(self, plan: Plan, before: Rows, after: Rows) -> Rows:
        """Return the best of both."""
        return self.fold(plan, joined(plan, [before, after]))

    def pack(self, summary: Rows) -> dict[str, np.ndarray]:
        """Return the arrays of a summary: these trials are COMPLETE, so nobody has an error."""
        return {name: getattr(summary, name) for name in PACKED}

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> Rows:
        """Return the summary that arrays are of."""
        ids, state, out, curves = (arrays[name] for name in PACKED)
        return Rows(ids, state, out, curves, 0)

    def result(self, plan: Plan, summary: Rows | None, info: Mapping[str, Any]) -> Parts:
        """Return the parts of a result of these trials alone."""
        return parts_of(plan, joined(plan, [] if summary is None else [summary]), info)


@dataclass(frozen=True)
class Histogram:
    """Counts trials by a column; made by :func:`histogram`."""

    column: str
    edges: tuple[float, ...]

    def check(self, plan: Plan) -> None:
        """Raise unless the column exists and holds numbers."""
        numeric = [name for name in plan.space.names if plan.space.kinds[name] != "name"]
        known = [*numeric, *plan.result_columns]
        if self.column not in known:
            hint = did_you_mean(self.column, known)
            raise SpecError(
                f"histogram: no column of numbers {shortened(self.column)}{hint}. There are: "
                f"{', '.join(known)}"
            )

    def fold(self, plan: Plan, rows: Rows) -> np.ndarray:
        """Count trials: one row a bin and a last one for those without a number, by state."""
        if self.column in plan.result_columns:
            cells = rows.out[:, plan.result_columns.index(self.column)]
        else:
            cells = plan.space.columns(rows.ids)[self.column].astype(np.float64)
        bins = len(self.edges) + 1
        place = np.searchsorted(np.array(self.edges), cells, side="right")
        place = np.where(np.isnan(cells), bins, place)
        counts = np.bincount(place * len(STATES) + rows.state, minlength=(bins + 1) * len(STATES))
        return counts.reshape(bins + 1, len(STATES))

    def merge(self, plan: Plan, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Add the counts."""
        return before + after

    def pack(self, summary: np.ndarray) -> dict[str, np.ndarray]:
        """Return the counts, by name."""
        return {"counts": summary}

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the counts."""
        return arrays["counts"]

    def result(
        self, plan: Plan, summary: np.ndarray | None, info: Mapping[str, Any]
    ) -> pd.DataFrame:
        """Return the table of :func:`histogram`."""
        bins = len(self.edges) + 1
        counts = np.zeros((bins + 1, len(STATES)), np.int64) if summary is None else summary
        ends = [-math.inf, *self.edges, math.inf]
        table = pd.DataFrame({"low": ends[:-1], "high": ends[1:]})
        for state, column in zip(STATES, counts[:bins].T):
            table[state] = column
        missing = dict(zip(STATES, counts[bins].tolist()))
        table.attrs.update(info)
        table.attrs |= {"column": self.column, "missing": missing}
        return table


def histogram(column: str, edges: Any) -> Histogram:
    """Count the trials of a sweep by a column, and keep nothing else.

    Parameters
    ----------
    column : str
        Something measured, such as ``"train_loss"``, or an axis of numbers.
    edges : array_like, shape (m,)
        Edges of the bins, increasing, such as ``np.geomspace(1e-6, 10, 50)``. A bin holds
        ``low <= x < high``; one below and one above the edges hold the rest.

    Returns
    -------
    Reducer
        For ``sweep(..., reduce=histogram(...))``, which then returns a DataFrame of m + 1 rows:
        ``low``, ``high``, and the number of trials in each of the states
        :data:`sweeps.results.STATES`. ``.attrs["missing"]`` counts those whose number is missing,
        by state; the other attributes are those of ``SweepResult.info``.

    Raises
    ------
    SpecError
        The edges are not numbers in increasing order.

    Examples
    --------
    >>> from sweeps import linspace, problems, sweep
    >>> space = {"lr": linspace(0.001, 0.3, 1000)}
    >>> counts = histogram("train_loss", [1e-3, 1.0])
    >>> sweep(problems.ellipse(), space, optimizer="sgd", steps=90, reduce=counts).iloc[:, :4]
         low   high  COMPLETE  DIVERGED
    0   -inf  0.001       458         0
    1  0.001  1.000       135         0
    2  1.000    inf       407         0
    """
    try:
        given = np.asarray(edges, np.float64)
    except (TypeError, ValueError):
        raise SpecError(f"histogram: edges must be numbers; got {shortened(edges)}") from None
    ordered = given.ndim == 1 and given.size and all(a < b for a, b in itertools.pairwise(given))
    if not ordered or np.isnan(given).any():
        raise SpecError(
            f"histogram: edges must be numbers in increasing order; got {shortened(edges)}"
        )
    return Histogram(column, tuple(given.tolist()))
