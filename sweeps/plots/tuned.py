"""The best configuration at every value of an axis, and how its seeds and folds spread."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.analysis.stats import best_first, mode_of, scores, summarize_groups
from sweeps.analysis.table import Table
from sweeps.common.frames import configurations
from sweeps.common.names import check_choice
from sweeps.common.states import State
from sweeps.plots.axes import Axis, axis_of
from sweeps.plots.tables import average_seeds, single_axes

BANDS = {"range": ("min", "max"), "std": ("below", "above"), "ci": ("ci_low", "ci_high")}
"""Name of a band -> its lower and its upper side."""

STEPS_TO_TARGET = "steps_to_target"
MOST_LINES = 12


@dataclass(frozen=True, eq=False)
class TunedLines:
    """The lines and bands that :func:`tune_lines` finds.

    ``groups``: a line for each of its values; a single one without. ``middle``, ``low``, ``high``
    (lines, len(axis)): mean over seeds and folds of the best configuration, and the sides of its
    band; NaN without one. ``lost`` (len(axis),) of bool: values at which trials diverged and none
    finished.
    """

    axis: Axis
    groups: Axis | None
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lost: np.ndarray


def tune_lines(
    result: Table,
    x: str,
    by: str | None,
    metric: str,
    band: str = "range",
    spread: dict[str, np.ndarray] | None = None,
) -> TunedLines:
    """Find the best configuration at each value of ``x``, for each value of ``by``.

    For ``steps_to_target`` a configuration counts only if all of its seeds, and folds, did. ``by``:
    an axis of at most 12 values. ``spread``: what :func:`seed_spread` returned, if that is known.
    """
    check_choice("axis", x, result.axes)
    check_choice("metric", metric, result.metrics)
    check_choice("band", band, tuple(BANDS))
    axis = axis_of(x, result.columns[x])
    groups = line_axis(result, by) if by else None
    if spread is None:
        spread = seed_spread(result, metric, (x, by or x))
    shape = (len(groups) if groups else 1, len(axis))
    at = axis.codes[spread["row"]]
    line = groups.codes[spread["row"]] if groups else np.zeros(len(at), np.int64)
    good = (at >= 0) & (line >= 0)
    if metric == STEPS_TO_TARGET and metric in result.step_columns:
        good &= spread["n"] == spread["n_trials"]
    chosen = best_first(np.where(good, spread["mean"], np.nan), mode_of(result, metric))
    # In the order of the metric, the first of each cell is its best.
    cells, first = np.unique(line[chosen] * shape[1] + at[chosen], return_index=True)
    sides = []
    for name in ("mean", *BANDS[band]):
        side = np.full(shape, np.nan)
        side.flat[cells] = spread[name][chosen[first]]
        sides.append(side)
    diverged = (np.asarray(result.columns["state"]) == State.DIVERGED) & (axis.codes >= 0)
    some = np.bincount(axis.codes[diverged], minlength=shape[1]) > 0
    middle, low, high = sides
    lost = some & np.isnan(middle).all(axis=0)
    return TunedLines(axis, groups, middle, low, high, lost)


def line_axis(result: Table, by: str) -> Axis:
    """Return the axis ``by``, if its values are few enough for a line each."""
    check_choice("axis", by, result.axes)
    groups = axis_of(by, result.columns[by])
    if len(groups) > MOST_LINES:
        raise SpecError(
            f"by={shortened(by)} has {len(groups)} values; at most {MOST_LINES} lines can be "
            "told apart"
        )
    return groups


def seed_spread(result: Table, metric: str, kept: Collection[str] = ()) -> dict[str, np.ndarray]:
    """Return the columns of :meth:`SweepResult.over_seeds` that bands need, over folds as well.

    ``kept``: axes not to summarise over, of ``seed`` and ``fold``. Returns ``row`` (the first trial
    of each configuration), ``n_trials``, ``n``, ``mean``, the sides of all bands and, of several
    trials, ``std``.
    """
    names = single_axes(result, kept)
    if len(names) == len(result.axes):
        score = scores(result, metric)
        ones = np.ones(len(score), np.int64)
        same = dict.fromkeys(("mean", *(side for band in BANDS.values() for side in band)), score)
        return {"row": np.arange(len(score)), "n_trials": ones, "n": ones, **same}
    codes = configurations(result.columns, names)
    rows = average_seeds(result, metric, kept).rows
    spread = summarize_groups(scores(result, metric), codes, len(rows))
    spread["below"] = spread["mean"] - spread["std"]
    spread["above"] = spread["mean"] + spread["std"]
    return {**spread, "row": rows, "n_trials": np.bincount(codes, minlength=len(rows))}
