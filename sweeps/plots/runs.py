"""Pictures of single runs: paths over a landscape, internals over time, schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from fastopt.schedules import Schedule, pack
from sweeps.common.frames import pd
from sweeps.plots.ground import Traces, coordinates, draw_contours, mark_points, view_of
from sweeps.plots.style import MARKERS, NOTHING, Axes, colours_of, matplotlib, new_axes, value_scale
from sweeps.problems.landscapes import Landscape

MOST_POINTS = 2000
"""Points of a path that are drawn; more are one pixel."""


def paths(
    problem: Landscape,
    traces: Traces | pd.DataFrame,
    *,
    view: tuple[tuple[float, float], tuple[float, float]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the paths of optimizers over the contours of a function of two variables.

    Parameters
    ----------
    problem : Landscape
        With two coordinates.
    traces : dict of str to DataFrame, or DataFrame
        Label -> frame with the coordinates as columns, such as from :func:`sweeps.trace` or
        :meth:`SweepResult.replay`.
    view : ((x low, x high), (y low, y high)), optional
        By default what holds the paths and the optima; a path that flies off does not count
        further than ten times the distance from start to optimum.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        Contours are evenly spaced on a log scale above the smallest value in view. A disc marks
        the start, the marker of the line its end, stars the known optima.

    Raises
    ------
    SpecError
        The function has not two variables, or a frame not their columns.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sweeps import problems, trace
    >>> bowl = problems.ellipse()
    >>> ax = paths(bowl, {"adam": trace(bowl, "adam", lr=0.5, steps=20)})
    >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
    ('x', ['adam', 'optimum'])
    """
    lines = coordinates(problem, traces)
    ax = new_axes(ax, 6.0, 4.8)
    draw_contours(ax, problem, view or view_of(problem, lines))
    for k, (label, line) in enumerate(lines.items()):
        line = line[np.unique(np.linspace(0, len(line) - 1, MOST_POINTS).round().astype(int))]
        colour = colours_of(len(lines), ordered=False)[k]
        ax.plot(*line.T, "-", color="white", lw=3.0, label="_halo")
        ax.plot(*line.T, "-", color=colour, lw=1.6, label=label)
        ax.plot(*line[-1], MARKERS[k % len(MARKERS)], color=colour, mec="white", label="_end")
    mark_points(ax, problem, lines)
    return ax


def schedules(
    chosen: Sequence[str | Schedule] | Mapping[str, str | Schedule],
    steps: int = 1000,
    *,
    lr: float = 1.0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the learning rate over the steps of a run.

    Parameters
    ----------
    chosen : list or dict
        Names in :data:`fastopt.schedules.SCHEDULES` (with their defaults) or schedules; a dict
        labels them.
    steps : int
        Length of the run, and of schedules given by name.
    lr : float
        The base learning rate.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    HyperparameterError
        A schedule has no such name, or needs parameters that have no default.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from fastopt.schedules import step
    >>> ax = schedules(["cosine", step(step_size=30)], steps=100, lr=0.1)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['cosine', 'step(step_size=30, gamma=0.1)']
    >>> ax.get_lines()[0].get_ydata()[[0, 50]].round(3).tolist()
    [0.1, 0.05]
    """
    named = chosen if isinstance(chosen, Mapping) else {str(item): item for item in chosen}
    made = {
        label: Schedule(item, pack(item, {}, steps)[1]) if isinstance(item, str) else item
        for label, item in named.items()
    }
    ax = new_axes(ax)
    t = np.unique(np.linspace(0, steps, min(steps + 1, MOST_POINTS)).round())
    for colour, (label, schedule) in zip(colours_of(len(made), False), made.items()):
        ax.plot(t, [lr * schedule(step) for step in t.tolist()], color=colour, lw=1.6, label=label)
    ax.set_xlabel("step")
    ax.set_ylabel("learning rate" if lr != 1.0 else "learning rate / base learning rate")
    ax.grid(color=NOTHING, lw=0.5)
    ax.legend(frameon=False, fontsize="small")
    return ax


def internals(
    frame: pd.DataFrame, quantities: Sequence[str] | None = None, *, ax: Any = None
) -> np.ndarray:
    """Draw the internals of an optimizer over its steps, one picture a quantity.

    Parameters
    ----------
    frame : DataFrame
        From :func:`sweeps.trace` or :meth:`SweepResult.replay`.
    quantities : list of str, optional
        Columns, or what columns begin with (``"grad"`` for ``grad_x``, ``grad_y``, ...); by
        default the loss, gradients, slots, corrected slots, updates and effective learning rates.
    ax : array of matplotlib Axes, optional
        One for each quantity.

    Returns
    -------
    array of Axes

    Raises
    ------
    SpecError
        No column has such a name, or there are not as many axes as quantities.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> from sweeps import problems, trace
    >>> frame = trace(problems.ellipse(), "adam", lr=0.5, steps=20)
    >>> [ax.get_ylabel() for ax in internals(frame, ["loss", "grad", "v_hat"])]
    ['loss', 'grad', 'v_hat']
    """
    groups = _quantities(frame, quantities)
    places = _column(len(groups), ax)
    for place, (name, columns) in zip(places, groups.items()):
        for colour, column in zip(colours_of(len(columns), len(columns) > 7), columns):
            label = column.removeprefix(f"{name}_")
            place.plot(frame["step"], frame[column], color=colour, lw=1.4, label=label)
        value_scale(place, frame[columns].to_numpy(np.float64))
        place.set_ylabel(name)
        place.grid(color=NOTHING, lw=0.5)
        if 1 < len(columns) <= 7:
            place.legend(frameon=False, fontsize="small", ncols=2)
    places[-1].set_xlabel("step")
    return places


def _quantities(frame: pd.DataFrame, wanted: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the quantities to draw, each with its columns."""
    columns = [name for name in frame.columns if name not in ("step", "batch_size", "lr")]
    if wanted is None:
        # grad_x, grad_y and grad_norm are one quantity: what stands before the last underscore.
        stems = dict.fromkeys(name.rpartition("_")[0] or name for name in columns)
        wanted = [name for name in stems if name in columns or f"{name}_norm" in columns] + [
            name for name in stems if name not in columns and f"{name}_norm" not in columns
        ]
    groups = {}
    for name in wanted:
        own = [c for c in columns if c == name or c.rpartition("_")[0] == name]
        if not own:
            raise SpecError(f"no column of the frame is {shortened(name)} or begins with {name}_")
        groups[name] = own
    return groups


def _column(count: int, ax: Any) -> np.ndarray:
    if ax is not None:
        places = np.ravel(np.asarray(ax, object))
        if len(places) != count:
            raise SpecError(f"{count} quantities need as many axes; got {len(places)}")
        return places
    matplotlib()
    from matplotlib import pyplot

    height = 0.8 + 1.4 * count
    figure, places = pyplot.subplots(
        count, 1, figsize=(6.4, height), sharex=True, squeeze=False, layout="constrained"
    )
    figure.align_ylabels()
    return places.ravel()
