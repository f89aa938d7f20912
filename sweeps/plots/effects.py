"""What axes do to a metric: shares of its variance, and all axes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError
from sweeps.analysis import importance as anova
from sweeps.analysis.stats import best_first, group_means, mode_of, scores
from sweeps.analysis.table import Table
from sweeps.common.names import check_choice
from sweeps.common.states import State
from sweeps.plots.axes import Axis, axis_of
from sweeps.plots.style import DIVERGED, MOST_TICKS, MUTED, OKABE_ITO, Axes, matplotlib, new_axes
from sweeps.plots.tables import varying_axes

LEVELS = 24
"""Bins of an axis of parallel coordinates, and of the metric."""

ORDERS = {1: ("one axis", OKABE_ITO[0]), 2: ("two together", OKABE_ITO[1]), 3: ("more", MUTED)}


def importance(
    result: Table,
    *,
    metric: str | None = None,
    diverged: str = "worst",
    n: int = 10,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of a metric's variance that each axis and each pair of axes explains.

    Parameters
    ----------
    metric, diverged
        As for :meth:`SweepResult.importance`, which computes the shares.
    n : int
        Bars at most, the largest first.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    SpecError
        As :meth:`SweepResult.importance`: the trials are not a full grid, ...
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "a": np.array([-1, -1, 1, 1]),
    ...            "b": np.array([-1, 1, -1, 1]), "state": np.zeros(4, int),
    ...            "loss": np.array([-3.0, 1.0, -1.0, 3.0])}
    >>> ax = SweepResult(columns, None, "loss", "min", {}).plot.importance(n=2)
    >>> [float(bar.get_width()) for bar in ax.patches], [t.get_text() for t in ax.get_yticklabels()]
    ([0.8, 0.2], ['b', 'a'])
    """
    frame = anova.importance(result, metric, diverged=diverged).head(n)
    ax = new_axes(ax, height=1.2 + 0.3 * len(frame))
    places = np.arange(len(frame))
    for order, (label, colour) in ORDERS.items():
        mine = (frame["order"] == order).to_numpy()
        if mine.any():
            ax.barh(places[mine], frame["share"][mine], color=colour, label=label)
    for place, share in zip(places.tolist(), frame["share"]):
        ax.text(share, place, f" {100 * share:.1f} %", va="center", fontsize="small")
    ax.set_yticks(places, frame["effect"])
    ax.invert_yaxis()
    ax.margins(x=0.15)
    ax.set_xlabel(f"share of the variance of {result.metric if metric is None else metric}")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower right")
    return ax


def parallel_coordinates(
    result: Table,
    axes: Sequence[str] | None = None,
    *,
    metric: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw all axes side by side, and how many trials of which quality run from value to value.

    Parameters
    ----------
    axes : sequence of str, optional
        Axes of the sweep, from left to right; by default all that vary, but ``seed``.
    metric : str, optional
        The last axis; that of the sweep by default.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        Between two neighbouring axes there is one line for each pair of values, whatever the
        number of trials: the more trials, the wider; the better they rank on average, the
        brighter, and the further in front. The last axis is the quantile of the metric, the best
        on top, with diverged trials below it. The best trial is the black line.

    Raises
    ------
    SpecError
        A name does not exist, or there is nothing to draw.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "a": np.array([1, 1, 2, 2]),
    ...            "b": np.array([1, 2, 1, 2]), "state": np.zeros(4, int),
    ...            "loss": np.array([-3.0, 1.0, -1.0, 3.0])}
    >>> ax = SweepResult(columns, None, "loss", "min", {}).plot.parallel_coordinates()
    >>> [text.get_text() for text in ax.get_xticklabels()]
    ['a', 'b', 'rank of\nloss']
    """
    metric = result.metric if metric is None else metric
    sides = [axis_of(name, result.columns[name], LEVELS) for name in _names(result, axes)]
    score = scores(result, metric)
    rank = _rank(score, mode_of(result, metric))
    diverged = np.asarray(result.columns["state"]) == State.DIVERGED
    heights = [_heights(side) for side in sides]
    # The last axis: LEVELS bins of the rank, and one more below them for what diverged.
    last = np.where(np.isnan(rank), np.where(diverged, 0, -1), 1 + np.nan_to_num(rank) * LEVELS)
    last = np.minimum(last.astype(np.int64), LEVELS)
    codes = [*(side.codes for side in sides), last]
    heights.append(np.append(-0.08, (np.arange(LEVELS) + 0.5) / LEVELS))
    ax = new_axes(ax, width=max(6.4, 1.5 * len(codes)))
    cmap = matplotlib().colormaps["viridis"]
    for k in range(len(sides)):
        _draw_between(ax, k, codes[k : k + 2], heights[k : k + 2], rank, cmap)
    if not np.isnan(rank).all():
        best = int(np.nanargmax(rank))
        path = [height[code[best]] for code, height in zip(codes, heights)]
        ax.plot(range(len(path)), path, "k-", lw=1.8, marker="o", ms=4, label="best trial")
    _draw_sides(ax, sides, metric, bool((last == 0).any()))
    shades = matplotlib().cm.ScalarMappable(cmap=cmap)
    ax.figure.colorbar(shades, ax=ax, label="mean rank, 1 is best", fraction=0.04, pad=0.01)
    return ax


def _names(result: Table, axes: Sequence[str] | None) -> list[str]:
    for name in axes or ():
        check_choice("axis", name, result.axes)
    chosen = list(axes or (name for name in varying_axes(result) if name != "seed"))
    if not chosen:
        raise SpecError("parallel coordinates need an axis with two values or more")
    return chosen


def _rank(score: np.ndarray, mode: str) -> np.ndarray:
    """Return how good each trial is, from 0 for the worst to 1 for the best; NaN where unknown."""
    rank = np.full(len(score), np.nan)
    order = best_first(score, mode)
    rank[order] = np.linspace(1.0, 0.0, len(order))
    return rank


def _heights(side: Axis) -> np.ndarray:
    """Return where the values lie on an upright axis from 0 to 1."""
    places = np.log(side.centers) if side.scale == "log" else side.centers.astype(np.float64)
    low, high = places.min(), places.max()
    return (places - low) / (high - low) if high > low else np.full(len(places), 0.5)


def _draw_between(
    ax: Any, k: int, codes: list[np.ndarray], heights: list[np.ndarray], rank: np.ndarray, cmap: Any
) -> None:
    """Draw one line for each pair of values of two neighbouring axes."""
    from matplotlib.collections import LineCollection

    left, right = codes
    shape = len(heights[0]), len(heights[1])
    both = (left >= 0) & (right >= 0)
    pair = left[both] * shape[1] + right[both]
    count = np.bincount(pair, minlength=shape[0] * shape[1])
    top = group_means(rank[both], pair, count.size)
    top[np.isnan(top)] = -1.0  # below every rank: none of them finished
    drawn = np.flatnonzero(count)
    drawn = drawn[np.argsort(top[drawn], kind="stable")]
    i, j = np.divmod(drawn, shape[1])
    ends = [np.column_stack([np.full(len(i), k + d), heights[d][(i, j)[d]]]) for d in (0, 1)]
    colours = cmap(np.clip(top[drawn], 0.0, 1.0))
    colours[top[drawn] < 0.0] = matplotlib().colors.to_rgba(DIVERGED)
    colours[:, 3] = 0.55
    widths = 0.4 + 4.6 * np.sqrt(count[drawn] / count.max()) if drawn.size else []
    ax.add_collection(LineCollection(list(np.stack(ends, 1)), colors=colours, linewidths=widths))


def _draw_sides(ax: Any, sides: list[Axis], metric: str, diverged: bool) -> None:
    """Draw the upright axes with their values."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
    style = {"fontsize": 7, "ha": "left", "va": "center", "zorder": 4, "bbox": box}
    for k, side in enumerate(sides):
        every = max(1, -(-len(side) // MOST_TICKS))
        for label, height in list(zip(side.labels, _heights(side)))[::every]:
            ax.text(k + 0.02, height, label, **style)
    last = len(sides)
    for height, text in ((1.0, "best"), (0.5, "median"), (0.0, "worst")):
        ax.text(last + 0.02, height, text, **style)
    if diverged:
        ax.text(last + 0.02, -0.08, "diverged", color=DIVERGED, **style)
    ax.vlines(range(last + 1), 0.0, 1.0, color="black", lw=1.0, zorder=3)
    ax.set_xticks(range(last + 1), [*(side.name for side in sides), f"rank of\n{metric}"])
    ax.set_yticks([])
    ax.set_xlim(-0.1, last + 0.35)
    ax.set_ylim(-0.13, 1.05)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    if ax.get_lines():
        ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize="small")
