"""Where the rows of a sweep go: into memory, and in the order of their numbers into a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sweeps.engine.chunks import Chunk, Rows, best_of, better, lengthened
from sweeps.engine.plan import Plan
from sweeps.engine.trial import COUNTS
from sweeps.results import SweepResult

__all__ = ["Collected", "columns_of", "curves_of"]


class Collected:
    """Rows of a sweep that have come in, from whichever place and in any order.

    Parameters
    ----------
    plan : Plan

    Attributes
    ----------
    cost, finished : int
        Cost and number of the trials so far.
    compiling : float
        Seconds spent on compiling.
    best : float or None
        The best metric so far.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.cost = self.finished = 0
        self.compiling = 0.0
        self.best: float | None = None
        self._rows: list[Rows] = []

    def add(self, chunk: Chunk, rows: Rows) -> None:
        """Keep the rows that chunk ``chunk`` came to; they may be fewer than it has trials."""
        self._rows.append(rows)
        self.cost += rows.cost
        self.finished += len(rows)
        self.compiling += rows.facts.get("compile_seconds", 0.0)
        self.best = better(self.plan, self.best, best_of(self.plan, rows.state, rows.out))

    def result(self, seconds: float, interrupted: bool) -> SweepResult:
        """Return all rows in the order of the trial numbers."""
        plan, rows = self.plan, joined(self.plan, self._rows)
        info = {
            "seconds": seconds,
            "compile_seconds": self.compiling,
            "n_trials": plan.size,
            "interrupted": interrupted,
            "trials_per_second": len(rows) / max(seconds - self.compiling, 1e-9),
            "problem": plan.problem.name,
        }
        options = plan.options
        curves = curves_of(plan, rows) if options.curves else None
        columns = columns_of(plan, rows)
        return SweepResult(columns, curves, options.metric, options.mode, info, plan.space, plan)


def joined(plan: Plan, parts: list[Rows]) -> Rows:
    """Put rows from several chunks in the order of their trial numbers."""
    points = max((part.curves.shape[1] for part in parts), default=0)
    nothing = Rows(
        np.empty(0, np.int64),
        np.empty(0, np.int8),
        np.empty((0, len(plan.results))),
        np.empty((0, points, len(plan.curve))),
        0,
    )
    every = [nothing, *parts]
    ids = np.concatenate([part.ids for part in every])
    order = np.argsort(ids, kind="stable")
    return Rows(
        ids[order],
        np.concatenate([part.state for part in every])[order],
        np.concatenate([part.out for part in every])[order],
        np.concatenate([lengthened(part.curves, points) for part in every])[order],
        sum(part.cost for part in every),
        {i: reason for part in every for i, reason in part.errors.items()},
    )


def columns_of(plan: Plan, rows: Rows) -> dict[str, np.ndarray]:
    """Return the columns of a result: numbers, axes, state, what was measured, and errors if any.

    Counts are whole numbers, -1 where there is none; a best loss that was never finite is NaN.
    """
    columns: dict[str, np.ndarray] = {"trial_id": rows.ids, **plan.space.columns(rows.ids)}
    columns["state"] = rows.state
    for k, name in enumerate(plan.results):
        cells = rows.out[:, k]
        if name in COUNTS:
            cells = np.nan_to_num(cells, nan=-1).astype(np.int64)
        columns[name] = np.where(np.isinf(cells), np.nan, cells) if name == "best_loss" else cells
    if rows.errors:
        reasons = [rows.errors.get(i) for i in rows.ids.tolist()]
        columns["error"] = np.array(reasons, object)
    return columns


def curves_of(plan: Plan, rows: Rows) -> Mapping[str, Any]:
    """Return the curves of a result: trial numbers, and one ``(n, points)`` table a quantity."""
    tables = {name: rows.curves[:, :, k] for k, name in enumerate(plan.curve)}
    return {"trial_id": rows.ids, **tables}
