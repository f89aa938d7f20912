"""From rows of trials to the columns of a result, whether they stay in memory or go to a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sweeps.common.names import STEP_COUNTS
from sweeps.engine.block import lengthened
from sweeps.engine.chunks import Rows
from sweeps.engine.plan import Plan
from sweeps.space.space import Space


class Parts(NamedTuple):
    """What a result is made of, in the order in which :class:`sweeps.SweepResult` takes it."""

    columns: Mapping[str, np.ndarray]
    curves: Mapping[str, np.ndarray] | None
    metric: str
    mode: str
    info: dict[str, Any]
    space: Space | None = None
    plan: Plan | None = None
    counts: Sequence[str] = STEP_COUNTS


def parts_of(plan: Plan, rows: Rows, info: Mapping[str, Any]) -> Parts:
    """Return what a result of these trials is made of; ``info`` are the facts of the run."""
    options = plan.options
    curves = curves_of(plan, rows) if options.curves else None
    columns = columns_of(plan, rows)
    return Parts(columns, curves, options.metric, options.mode, dict(info), plan.space, plan)


def no_rows(plan: Plan, points: int = 0) -> Rows:
    """Return the rows of no trial."""
    return Rows(
        np.empty(0, np.int64),
        np.empty(0, np.int8),
        np.empty((0, len(plan.results))),
        np.empty((0, points, len(plan.curve))),
        0,
    )


def joined(plan: Plan, parts: list[Rows]) -> Rows:
    """Put rows from several chunks in the order of their trial numbers."""
    points = max((part.curves.shape[1] for part in parts), default=0)
    # Chunks are runs of trials, so in the order of their first trials nearly all rows are in order.
    apart = sorted((part for part in parts if len(part)), key=lambda part: int(part.ids[0]))
    every = [no_rows(plan, points), *apart]
    whole = Rows(
        np.concatenate([part.ids for part in every]),
        np.concatenate([part.state for part in every]),
        np.concatenate([part.out for part in every]),
        np.concatenate([lengthened(part.curves, points) for part in every]),
        sum(part.cost for part in parts),
        {i: reason for part in parts for i, reason in part.errors.items()},
    )
    if (whole.ids[1:] > whole.ids[:-1]).all():
        return whole
    order = np.argsort(whole.ids, kind="stable")
    rows = {name: getattr(whole, name)[order] for name in ("ids", "state", "out", "curves")}
    return dataclasses.replace(whole, **rows)


def columns_of(plan: Plan, rows: Rows) -> dict[str, np.ndarray]:
    """Return the columns of a result: numbers, axes, state, what was measured, and errors if any.

    Counts are whole numbers, -1 where there is none; a best loss that was never finite is NaN.
    """
    columns: dict[str, np.ndarray] = {"trial_id": rows.ids, **plan.space.columns(rows.ids)}
    columns["state"] = rows.state
    for k, name in enumerate(plan.result_columns):
        cells = rows.out[:, k]
        if name in STEP_COUNTS:
            cells = np.where(np.isnan(cells), -1.0, cells).astype(np.int64)
        columns[name] = np.where(np.isinf(cells), np.nan, cells) if name == "best_loss" else cells
    if rows.errors:
        reasons = [rows.errors.get(i) for i in rows.ids.tolist()]
        columns["error"] = np.array(reasons, object)
    return columns


def curves_of(plan: Plan, rows: Rows) -> Mapping[str, Any]:
    """Return the curves of a result: trial numbers, and one ``(n, points)`` table a quantity."""
    tables = {name: rows.curves[:, :, k] for k, name in enumerate(plan.curve)}
    return {"trial_id": rows.ids, **tables}
