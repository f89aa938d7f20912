"""What the charts of a report show, counted in advance: a few hundred kB for any number of trials.

Every function returns plain lists and dicts for JSON; numbers have four significant digits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection
from typing import Any

import numpy as np

from fastopt.errors import SpecError
from sweeps.analysis import importance as anova
from sweeps.analysis.stats import best_first, mode_of, scores
from sweeps.analysis.table import Table
from sweeps.common.limits import spaced_ids
from sweeps.common.names import REPEATS, SEED
from sweeps.common.states import State
from sweeps.plots.axes import Axis, axis_of, label_of
from sweeps.plots.curves import bands, best_curves, recorded_metrics
from sweeps.plots.style import log_range
from sweeps.plots.tables import average_seeds, main_axes, mean_of, tabulate, varying_axes
from sweeps.plots.tuned import MOST_LINES, seed_spread, tune_lines

MOST_AXES = 8
MOST_METRICS = 5
MOST_NUMBERS = 500_000
"""Numbers in all heatmaps together: 2 MB before compression."""

FINEST = 48
"""Cells of one axis."""

METRICS_SHOWN = (
    "train_loss",
    "test_loss",
    "test_accuracy",
    "steps_to_target",
    "distance",
    "best_loss",
)
OVER = ("best", "mean")
SHARE = "share of trials diverged"

LINES = 400
"""Trials drawn in parallel coordinates: the 100 best, and evenly spaced ones of the others."""


def data(result: Table) -> dict[str, Any]:
    """Return all charts of a result by name; None in place of one that it has no data for."""
    return {
        "metric": result.metric,
        "heatmaps": heatmaps(result),
        "sensitivity": sensitivity(result),
        "parallel": parallel(result),
        "learning": learning(result),
        "importance": importance(result),
    }


def heatmaps(result: Table) -> dict[str, Any] | None:
    """Return every pair of axes as a table of every metric; the reader chooses among them."""
    names = main_axes(result, min(MOST_AXES, len(varying_axes(result))))
    if len(names) < 2:
        return None
    metrics = _metrics(result)
    axes = _axes(result, names, 2 * len(metrics) + 1)
    pools = {
        (metric, kept): average_seeds(result, metric, kept)
        for metric in metrics
        for kept in {_repeats(pair) for pair in itertools.combinations(names, 2)}
    }
    tables: dict[str, Any] = {}
    best = {}
    for (i, x), (j, y) in itertools.combinations(enumerate(axes), 2):
        for metric, over in itertools.product(metrics, OVER):
            found = tabulate(result, (y, x), pools[metric, _repeats((x.name, y.name))], over)
            tables[f"{i},{j},{metric},{over}"] = rounded(found.value)
            one_fold = "fold" in (x.name, y.name)  # the best cell has the easiest fold
            best[f"{i},{j},{metric},{over}"] = None if one_fold else found.best
        share = rounded(found.diverged)
        tables |= {f"{i},{j},{SHARE},{over}": share for over in OVER[:1]}
    return {
        "axes": [{"name": axis.name, "labels": axis.labels} for axis in axes],
        "metrics": [{"name": name, "mode": mode_of(result, name)} for name in metrics],
        "over": list(OVER),
        "share": SHARE,
        "tables": tables,
        "best": best,
    }


def _repeats(names: Collection[str]) -> tuple[str, ...]:
    """Return the axes that are averaged over, of these."""
    return tuple(name for name in REPEATS if name in names)


def sensitivity(result: Table) -> dict[str, Any] | None:
    """Return the best value of the metric along every axis, with the range over its repeats."""
    names = [name for name in varying_axes(result) if name not in REPEATS]
    if not names:
        return None
    groups = "optimizer" if "optimizer" in names else None
    if groups and len(axis_of(groups, result.columns[groups])) > MOST_LINES:
        groups = None
    spread = seed_spread(result, result.metric)
    axes = {}
    for name in names:
        by = None if name == groups else groups
        found = tune_lines(result, name, by, result.metric, spread=spread)
        axes[name] = {
            "x": rounded(found.axis.values) if found.axis.numeric else found.axis.labels,
            "log": found.axis.numeric and log_range(found.axis.values),
            "numeric": found.axis.numeric,
            "wide": log_range(found.middle),
            "by": by,
            "lines": [
                {
                    "name": found.groups.labels[k] if found.groups else mean_of(result),
                    "middle": rounded(found.middle[k]),
                    "low": rounded(found.low[k]),
                    "high": rounded(found.high[k]),
                }
                for k in range(len(found.middle))
            ],
            "lost": np.flatnonzero(found.lost).tolist(),
        }
    return {"axes": axes}


def parallel(result: Table) -> dict[str, Any] | None:
    """Return a few hundred trials as heights on upright axes, and their rank."""
    names = [name for name in varying_axes(result) if name != SEED][:MOST_AXES]
    if not names:
        return None
    score, mode = scores(result, result.metric), mode_of(result, result.metric)
    order = best_first(score, mode)
    rest = order[100:]
    some = spaced_ids(len(rest), LINES - 100)
    lost = np.flatnonzero(np.asarray(result.columns["state"]) == State.DIVERGED)
    lost = lost[spaced_ids(len(lost), 60)]
    rows = np.concatenate([order[:100], rest[some], lost])
    place = np.full(len(score), -1)
    place[order] = np.arange(len(order))
    axes = []
    for name in names:
        axis = axis_of(name, result.columns[name])
        axes.append({"name": name, "labels": axis.labels, "codes": axis.codes[rows].tolist()})
    return {
        "axes": axes,
        "rank": place[rows].tolist(),
        "score": rounded(score[rows]),
        "ranked": len(order),
    }


def learning(result: Table) -> dict[str, Any] | None:
    """Return the curves of the five best trials, and quantiles of all, of every recorded metric."""
    if result._curves is None or not len(result):
        return None
    every = np.zeros(len(result), np.int64)
    charts = {}
    recorded = sorted(recorded_metrics(result), key=lambda name: name != result.metric)
    for metric in recorded[:MOST_METRICS]:
        lines = [
            {"name": label, "step": _thin(step).tolist(), "value": rounded(_thin(value))}
            for label, step, value in best_curves(result, metric, 5)
        ]
        ((step, *quantiles),) = bands(result, metric, every, 1)
        band = dict(zip(("low", "middle", "high"), map(rounded, quantiles)))
        shown = [np.array(line["value"], float) for line in lines] + [quantiles[1]]
        charts[metric] = {
            "lines": lines,
            "band": {"step": step.tolist(), **band},
            "log": log_range(np.concatenate(shown)),
        }
    return {"axes": ", ".join(varying_axes(result)), "charts": charts}


def importance(result: Table) -> dict[str, Any] | None:
    """Return the shares of the variance that axes explain, or why they are not known."""
    try:
        frame = anova.importance(result).head(12)
    except SpecError as error:
        return {"why": str(error)}
    return {
        "effect": frame["effect"].tolist(),
        "order": frame["order"].tolist(),
        "share": rounded(frame["share"].to_numpy()),
    }


def _metrics(result: Table) -> list[str]:
    """Return the metrics to choose among: that of the sweep, then others that have values."""
    others = [name for name in METRICS_SHOWN if name in result.metrics and name != result.metric]
    have = [name for name in others if result.counting(name).any()]
    return [result.metric, *have][:MOST_METRICS]


def _axes(result: Table, names: list[str], tables: int) -> list[Axis]:
    """Lay axes out with as many cells as the report has room for."""
    finest = FINEST
    while True:
        axes = [axis_of(name, result.columns[name], finest, finest) for name in names]
        pairs = itertools.combinations(map(len, axes), 2)
        if tables * sum(i * j for i, j in pairs) <= MOST_NUMBERS or finest < 8:
            return axes
        finest //= 2


def _thin(a: np.ndarray, most: int = 300) -> np.ndarray:
    return a if len(a) <= most else a[np.linspace(0, len(a) - 1, most).round().astype(int)]


def rounded(a: np.ndarray) -> Any:
    """Return nested lists of numbers as short as four digits make them, None for NaN."""
    if a.ndim > 1:
        return [rounded(row) for row in a]
    return [float(label_of(float(v))) if math.isfinite(v) else None for v in a.tolist()]
