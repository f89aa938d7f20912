"""Pictures of a metric along one axis: sensitivity, and steps to a target by batch size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastopt.errors import SpecError
from sweeps.analysis.table import Table
from sweeps.plots.axes import Axis
from sweeps.plots.style import (
    DIVERGED,
    MARKERS,
    MUTED,
    NOTHING,
    Axes,
    colours_of,
    line_scale,
    new_axes,
    plain_numbers,
    value_scale,
)
from sweeps.plots.tables import main_axes, mean_of
from sweeps.plots.tuned import STEPS_TO_TARGET, TunedLines, tune_lines

BATCHES = "batch_size"


def sensitivity(
    result: Table,
    x: str | None = None,
    *,
    by: str | None = None,
    metric: str | None = None,
    band: str = "range",
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the best metric at every value of an axis, with the spread over seeds as a band.

    Parameters
    ----------
    x : str, optional
        An axis of the sweep; by default the one with the most numbers.
    by : str, optional
        An axis of at most 12 values with a line for each, such as ``"optimizer"``.
    metric : str, optional
        That of the sweep by default.
    band : {"range", "std", "ci"}
        From the smallest to the largest over seeds and folds, one standard deviation to either
        side of the mean, or its 95 % interval (Student's).
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        The line is the mean over seeds and folds of the configuration that is best at that value,
        all other axes tuned. A cross at the upper rim marks values at which all trials diverged.

    Raises
    ------
    SpecError
        A name does not exist, or ``by`` has too many values.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "lr": np.array([0.1, 0.1, 1.0, 1.0]),
    ...            "seed": np.array([0, 1, 0, 1]), "state": np.zeros(4, int),
    ...            "loss": np.array([1.0, 3.0, 5.0, 6.0])}
    >>> ax = SweepResult(columns, None, "loss", "min", {}).plot.sensitivity("lr")
    >>> ax.get_lines()[0].get_ydata(), ax.get_ylabel()
    (array([2. , 5.5]), 'loss')
    """
    x = main_axes(result, 1)[0] if x is None else x
    metric = result.metric if metric is None else metric
    best = tune_lines(result, x, by, metric, band)
    ax = new_axes(ax)
    places = line_scale(ax, best.axis)
    for style, row in _series(best.groups, mean_of(result)):
        _line(ax, places, best, row, style)
    value_scale(ax, best.middle)
    ax.set_ylabel(metric)
    _crosses(ax, places[best.lost], "all diverged")
    _frame(ax, by)
    return ax


def steps_to_target(
    result: Table, x: str = BATCHES, *, by: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the fewest steps to the target at every batch size, both on log scales.

    Parameters
    ----------
    x : str
        Another axis of numbers.
    by : str, optional
        An axis of at most 12 values with a line for each.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        Each point is the mean over seeds of the best configuration of which every seed reached
        the target, the band goes from its fastest to its slowest seed. The dashed line of slope
        -1 is perfect scaling: twice the batch, half the steps. A cross at the upper rim marks
        values at which nothing reached the target with all seeds.

    Raises
    ------
    SpecError
        The sweep had no target, or none of its trials reached it; or a name does not exist.
    ImportError
        matplotlib is not installed.

    References
    ----------
    C. Shallue et al., *Measuring the effects of data parallelism on neural network training*,
    JMLR 2019.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(3), "batch_size": np.array([16, 32, 64]),
    ...            "state": np.zeros(3, int), "loss": np.ones(3),
    ...            "steps_to_target": np.array([800, 400, 300])}
    >>> ax = SweepResult(columns, None, "loss", "min", {}).plot.steps_to_target()
    >>> [line.get_ydata().tolist() for line in ax.get_lines()]
    [[800.0, 400.0, 300.0], [800.0, 200.0]]
    """
    if STEPS_TO_TARGET not in result.metrics or not result.counting(STEPS_TO_TARGET).any():
        raise SpecError(
            "no trial reached a target; run sweep(..., target=...) with one that is easier to reach"
        )
    best = tune_lines(result, x, by, STEPS_TO_TARGET)
    axis = best.axis
    if not axis.numeric or axis.values[0] <= 0:
        raise SpecError(f"x must be an axis of positive numbers; {x} has {', '.join(axis.labels)}")
    ax = new_axes(ax)
    places = line_scale(ax, axis)
    ax.set_xscale("log")
    ax.set_yscale("log")
    line_scale(ax, axis)  # a new scale forgets its ticks
    for style, row in _series(best.groups, mean_of(result)):
        _line(ax, places, best, row, style)
    start = np.flatnonzero(~np.isnan(best.middle).all(axis=0))[0]
    top = np.nanmin(best.middle[:, start])
    ends = np.array([places[start], places[-1]])
    ax.plot(ends, top * ends[0] / ends, "--", color=MUTED, lw=1.2, zorder=1, label="slope -1")
    plain_numbers(ax.yaxis)
    ax.set_ylabel("steps to target")
    _crosses(ax, places[np.isnan(best.middle).all(axis=0)], "not reached")
    _frame(ax, by)
    return ax


def _series(groups: Axis | None, single: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield the style and the row of every line."""
    count = len(groups) if groups else 1
    colours = colours_of(count, ordered=groups is not None and groups.numeric)
    for k in range(count):
        marker = MARKERS[k % len(MARKERS)]
        label = groups.labels[k] if groups else single
        yield {"color": colours[k], "marker": marker, "label": label}, k


def _line(ax: Axes, places: np.ndarray, best: TunedLines, row: int, style: dict[str, Any]) -> None:
    known = ~np.isnan(best.middle[row])
    at, size = places[known], 4 if known.sum() <= 30 else 0
    ax.plot(at, best.middle[row, known], ms=size, lw=1.6, **style)
    low, high = best.low[row, known], best.high[row, known]
    if (high > low).any():
        ax.fill_between(at, low, high, color=style["color"], alpha=0.2, lw=0)


def _crosses(ax: Axes, places: np.ndarray, label: str) -> None:
    if places.size:
        rim = ax.get_xaxis_transform()
        style: dict[str, Any] = {"color": DIVERGED, "ls": "none", "marker": "x", "clip_on": False}
        ax.plot(places, np.full(places.size, 0.98), transform=rim, label=label, **style)


def _frame(ax: Axes, by: str | None) -> None:
    ax.grid(color=NOTHING, lw=0.5)
    ax.set_axisbelow(True)
    _, labels = ax.get_legend_handles_labels()
    if by or len(labels) > 1:
        ax.legend(title=by, frameon=False, fontsize="small")
