"""Learning curves: those of the best trials, in front of bands of all trials."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt.errors import SpecError
from sweeps.analysis.stats import best_first, mode_of, scores
from sweeps.analysis.table import NO_CURVES, Table
from sweeps.common.names import check_choice
from sweeps.plots.axes import label_of
from sweeps.plots.style import MUTED, NOTHING, Axes, colours_of, new_axes, value_scale
from sweeps.plots.tables import varying_axes
from sweeps.plots.tuned import line_axis

POINTS = 200
"""Steps at which bands are computed."""

SAMPLE = 10_000
"""Trials from which bands are computed, evenly spaced: the 10 % quantile is known to 0.3 %."""

QUANTILES = (0.1, 0.5, 0.9)

ABOVE = 10.0
"""How far a log scale goes above where the median line begins."""


def curves(
    result: Table,
    *,
    metric: str | None = None,
    by: str | None = None,
    n: int = 5,
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric during training: the best trials as lines, all trials as a band.

    Parameters
    ----------
    metric : str, optional
        A recorded quantity; that of the sweep by default, or the first if it was not recorded.
    by : str, optional
        An axis of at most 12 values: median and band for each value, instead of single trials.
    n : int
        How many of the best trials to draw.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        Bands go from the 10 % to the 90 % quantile of the trials that are still running at a step
        (of 10 000 evenly spaced ones, if there are more).

    Raises
    ------
    SpecError
        The sweep did not record curves, a name does not exist, or ``by`` has too many values.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.ellipse(), {"lr": [0.1, 0.01]}, optimizer="adam", steps=2,
    ...                curves=True)
    >>> ax = result.plot.curves(n=1)
    >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
    ('step', ['0.1', 'median of 2 trials', '10 % to 90 %'])
    """
    names = recorded_metrics(result)
    if metric is None:
        metric = result.metric if result.metric in names else names[0]
    check_choice("metric", metric, names)
    ax = new_axes(ax)
    if by is None:
        lines = best_curves(result, metric, n)
        for colour, (label, step, value) in zip(colours_of(len(lines), False), lines):
            ax.plot(step, value, color=colour, lw=1.6, label=label)
        groups, labels = np.zeros(len(result), np.int64), [f"median of {len(result):,} trials"]
        colours = [MUTED]
    else:
        axis = line_axis(result, by)
        groups, labels, colours = axis.codes, axis.labels, colours_of(len(axis), axis.numeric)
    for k, (step, low, middle, high) in enumerate(bands(result, metric, groups, len(labels))):
        style: dict[str, Any] = {"color": colours[k], "zorder": 1.5}
        ax.plot(step, middle, lw=1.6, ls="--" if by is None else "-", label=labels[k], **style)
        band = "10 % to 90 %" if by is None else None
        ax.fill_between(step, low, high, alpha=0.2, lw=0, label=band, **style)
    drawn = [y for y in (np.asarray(line.get_ydata()) for line in ax.get_lines()) if y.size]
    value_scale(ax, np.concatenate(drawn or [np.ones(1)]))
    if drawn and ax.get_yscale() == "log":
        # Losses on their way to infinity would press all others into one line.
        ax.set_ylim(top=min(ax.get_ylim()[1], ABOVE * float(np.median([y[0] for y in drawn]))))
    ax.set_xlabel("step")
    ax.set_ylabel(metric)
    ax.grid(color=NOTHING, lw=0.5)
    title = by if by else ", ".join(varying_axes(result))
    ax.legend(title=title, frameon=False, fontsize="small", title_fontsize="small")
    return ax


def recorded_metrics(result: Table) -> list[str]:
    """Return the names of the quantities that curves recorded."""
    if result._curves is None:
        raise SpecError(NO_CURVES)
    return [name for name in result._curves if name not in ("trial_id", "step")]


def best_curves(result: Table, metric: str, n: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return label, steps and values of the ``n`` best trials with recorded curves."""
    held = {} if result._curves is None else result._curves
    row_of = {int(i): k for k, i in enumerate(np.asarray(held["trial_id"]).tolist())}
    mode = mode_of(result, metric)
    # Ranked by what is drawn if trials have it at their end, else by the metric of the sweep.
    score = scores(result, metric if metric in result.metrics else result.metric)
    lines = []
    varied = varying_axes(result)
    for k in best_first(score, mode)[:n].tolist():
        row = row_of[int(result.columns["trial_id"][k])]
        step, value = np.asarray(held["step"])[row], np.asarray(held[metric])[row]
        kept = (step >= 0) & np.isfinite(value)
        label = ", ".join(label_of(result.columns[name][k]) for name in varied)
        lines.append((label or "the trial", step[kept], value[kept]))
    return lines


def bands(
    result: Table, metric: str, groups: np.ndarray, count: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Return steps and the 10 %, 50 % and 90 % quantiles of each group of trials.

    ``groups`` (n,): of every trial of the result, -1 for none.
    """
    held = {} if result._curves is None else result._curves
    every = np.unique(np.linspace(0, len(held["trial_id"]) - 1, SAMPLE).round().astype(int))
    place = np.searchsorted(result.columns["trial_id"], np.asarray(held["trial_id"])[every])
    group = groups[np.minimum(place, len(groups) - 1)]
    step, value = (np.asarray(held[name], np.float64)[every] for name in ("step", metric))
    step = np.where((step >= 0) & np.isfinite(value), step, np.nan)
    found = []
    for k in range(count):
        mine = group == k
        grid = _steps(step[mine])
        if not grid.size:
            found.append((grid,) * 4)
            continue
        held_values = _values_at(step[mine], value[mine], grid)
        found.append((grid, *np.nanquantile(held_values, QUANTILES, axis=0)))
    return found


def _steps(step: np.ndarray) -> np.ndarray:
    """Return the steps that were recorded, or evenly spaced ones if there are too many."""
    recorded = np.unique(step[~np.isnan(step)])
    if len(recorded) <= POINTS:
        return recorded
    return np.unique(np.linspace(recorded[0], recorded[-1], POINTS).round())


def _values_at(step: np.ndarray, value: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return the last value of each trial at or before each step of the grid, NaN past its end."""
    known = ~np.isnan(step)
    trial = np.nonzero(known)[0]
    span = grid[-1] + 2.0
    # One sorted line of all points: trial after trial, each with its steps in order.
    line = np.append(-1.0, trial * span + step[known])
    values = np.append(np.nan, value[known])
    asked = np.arange(len(step))[:, None] * span + grid
    point = np.searchsorted(line, asked, side="right") - 1
    last = np.where(known, step, -1.0).max(axis=1, initial=-1.0)
    inside = (line[point] >= np.arange(len(step))[:, None] * span) & (grid <= last[:, None])
    return np.where(inside, values[point], np.nan)
