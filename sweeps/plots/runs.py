"""Pictures of single runs: paths over a landscape, internals over time, schedules."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastopt.errors import SpecError
from fastopt.schedules import Schedule
from sweeps.plots.style import (
    MARKERS,
    NOTHING,
    colours_of,
    matplotlib,
    new_axes,
    value_scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sweeps.problems.landscapes import Landscape

__all__ = ["animate_paths", "internals", "paths", "schedules"]

GRID = 120  # points a side of the contours' grid: 14 400 calls in plain Python, 0.1 s
LEVELS = 24
MOST_POINTS = 2000
"""Points of a path that are drawn; more are one pixel."""

Traces = Mapping[str, pd.DataFrame]


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
    lines = _coordinates(problem, traces)
    ax = new_axes(ax, 6.0, 4.8)
    _contours(ax, problem, view or _view(problem, lines))
    for k, (label, line) in enumerate(lines.items()):
        line = line[:: max(1, len(line) // MOST_POINTS)]
        colour = _path_colours(len(lines))[k]
        ax.plot(*line.T, "-", color="white", lw=3.0, label="_halo")
        ax.plot(*line.T, "-", color=colour, lw=1.6, label=label)
        ax.plot(*line[-1], MARKERS[k % len(MARKERS)], color=colour, mec="white", label="_end")
    _marks(ax, problem, lines)
    return ax


def animate_paths(
    problem: Landscape,
    traces: Traces | pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    fps: int = 20,
    seconds: float = 5.0,
    view: tuple[tuple[float, float], tuple[float, float]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Write a film of optimizers on their way over the contours of a function.

    Parameters
    ----------
    problem, traces, view, ax
        As for :func:`paths`.
    path : str or path-like
        Ending in ``.gif``, or in ``.mp4`` if the program ffmpeg is installed.
    fps : int
        Frames a second.
    seconds : float
        Length; steps are spread over it evenly, and a frame holds at least one.

    Returns
    -------
    Axes
        As drawn in the last frame.

    Raises
    ------
    SpecError
        The file has another suffix, there is no ffmpeg for it, or as for :func:`paths`.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from sweeps import problems, trace
    >>> bowl = problems.ellipse()
    >>> frame = trace(bowl, "adam", lr=0.5, steps=4)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ax = animate_paths(bowl, {"adam": frame}, Path(folder, "bowl.gif"), seconds=0.2)
    ...     Path(folder, "bowl.gif").read_bytes()[:6]
    b'GIF89a'
    """
    path = Path(path)
    lines = _coordinates(problem, traces)
    matplotlib()
    from matplotlib import animation

    if path.suffix not in WRITERS:
        raise SpecError(f"a film is written as {' or '.join(WRITERS)}; got {str(path)!r}")
    writer = getattr(animation, WRITERS[path.suffix])
    if not writer.isAvailable():
        raise SpecError(f"{path.suffix} needs the program ffmpeg; install it, or write a .gif")
    ax = new_axes(ax, 6.0, 4.8)
    _contours(ax, problem, view or _view(problem, lines))
    drawn, heads = [], []
    for k, (label, line) in enumerate(lines.items()):
        colour = _path_colours(len(lines))[k]
        drawn += ax.plot(*line[:1].T, "-", color=colour, lw=1.8, label=label)
        heads += ax.plot(*line[0], MARKERS[k % len(MARKERS)], color=colour, mec="white", ms=7)
    _marks(ax, problem, lines)
    steps = max(map(len, lines.values()))
    frames = np.unique(np.linspace(1, steps, max(1, round(fps * seconds))).round().astype(int))
    clock = ax.set_title("")

    def show(upto: int) -> list[Any]:
        for line, trail, head in zip(lines.values(), drawn, heads):
            trail.set_data(*line[:upto].T)
            head.set_data(*line[min(upto, len(line)) - 1, :, None])
        clock.set_text(f"step {upto - 1}")
        return [*drawn, *heads, clock]

    figure: Any = ax.get_figure(root=True)
    film = animation.FuncAnimation(figure, show, frames=frames.tolist(), init_func=lambda: [])
    film.save(path, writer=writer(fps=fps), dpi=100)
    return ax


WRITERS = {".gif": "PillowWriter", ".mp4": "FFMpegWriter"}
"""Suffix of a film -> the class of matplotlib that writes it."""


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
    from fastopt.schedules import pack

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


def _coordinates(problem: Landscape, traces: Traces | pd.DataFrame) -> dict[str, np.ndarray]:
    if getattr(problem, "dim", None) != 2:
        raise SpecError(f"paths need a landscape of two coordinates; got {problem!r}")
    labelled = {"path": traces} if isinstance(traces, pd.DataFrame) else dict(traces)
    lines = {}
    for label, frame in labelled.items():
        missing = [name for name in problem.names if name not in frame]
        if missing:
            raise SpecError(
                f"trace {label!r} has no column {missing[0]!r}; it has {', '.join(frame.columns)}"
            )
        line = frame[list(problem.names)].to_numpy(np.float64)
        lines[label] = line[np.isfinite(line).all(axis=1)]
    if not lines or not all(map(len, lines.values())):
        raise SpecError("paths need one trace or more, each with one finite point or more")
    return lines


def _view(problem: Landscape, lines: dict[str, np.ndarray]) -> list[tuple[float, float]]:
    """Return the box to look at: all paths, but not how far a diverging one flies."""
    fixed = np.concatenate([*(line[:1] for line in lines.values()), problem.optima])
    low, high = fixed.min(axis=0), fixed.max(axis=0)
    far = 10.0 * max(float(np.max(high - low)), 1e-3)
    points = np.clip(np.concatenate([fixed, *lines.values()]), low - far, high + far)
    low, high = points.min(axis=0), points.max(axis=0)
    # A path along one axis still needs a plane to lie in.
    margin = np.maximum(0.12 * (high - low), 0.06 * float(np.max(high - low)) + 1e-9)
    return [(float(a), float(b)) for a, b in zip(low - margin, high + margin)]


def _contours(ax: Any, problem: Landscape, view: Sequence[tuple[float, float]]) -> None:
    x, y = (np.linspace(*side, GRID) for side in view)
    z = np.array([[problem(a, b)[0] for a in x.tolist()] for b in y.tolist()])
    above = np.ma.masked_invalid(z - np.nanmin(z[np.isfinite(z)]))
    top = float(above.max())
    least = max(float(np.quantile(above.compressed(), 0.01)), 1e-12 * top)
    if top <= 0.0 or least >= top:
        least, top = 1e-12, 1.0
    levels = np.geomspace(least, top, LEVELS)
    from matplotlib.colors import LogNorm

    filled = ax.contourf(
        x, y, np.ma.clip(above, least, top), levels, norm=LogNorm(least, top), cmap="Greys"
    )
    filled.set_alpha(0.75)
    ax.contour(x, y, above, levels[::2], colors="black", linewidths=0.3, alpha=0.5)
    ax.set_xlim(view[0])
    ax.set_ylim(view[1])
    ax.set_xlabel(problem.names[0])
    ax.set_ylabel(problem.names[1])


def _path_colours(count: int) -> list[Any]:
    return colours_of(count, ordered=False)


def _marks(ax: Any, problem: Landscape, lines: dict[str, np.ndarray]) -> None:
    start = next(iter(lines.values()))[0]
    ax.plot(*start, "o", color="white", mec="black", ms=7, zorder=4, label="_start")
    if len(problem.optima):
        style = {"ls": "none", "marker": "*", "ms": 12, "color": "white", "mec": "black"}
        ax.plot(*problem.optima.T, zorder=4, label="optimum", **style)
    ax.legend(loc="best", fontsize="small", framealpha=0.9)


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
            raise SpecError(f"no column of the frame is {name!r} or begins with {name}_")
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
    _, places = pyplot.subplots(
        count, 1, figsize=(6.4, height), sharex=True, squeeze=False, layout="constrained"
    )
    return places.ravel()
