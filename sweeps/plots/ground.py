"""The background of paths: contours of a function of two variables, its start and optima."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.common.frames import pd
from sweeps.plots.style import ABOVE
from sweeps.problems.landscapes import Landscape

GRID = 120  # points a side of the contours' grid: 14 400 calls in plain Python, 0.1 s
LEVELS = 24

Traces = Mapping[str, "pd.DataFrame"]


def coordinates(problem: Landscape, traces: Traces | pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the finite points of every path, ``(points, 2)`` by label."""
    if getattr(problem, "dim", None) != 2:
        raise SpecError(f"paths need a landscape of two coordinates; got {shortened(problem)}")
    labelled = {"path": traces} if isinstance(traces, pd.DataFrame) else dict(traces)
    lines = {}
    for label, frame in labelled.items():
        missing = [name for name in problem.names if name not in frame]
        if missing:
            raise SpecError(
                f"trace {shortened(label)} has no column {shortened(missing[0])}; it has "
                f"{', '.join(frame.columns)}"
            )
        line = frame[list(problem.names)].to_numpy(np.float64)
        lines[label] = line[np.isfinite(line).all(axis=1)]
    if not lines or not all(map(len, lines.values())):
        raise SpecError("paths need one trace or more, each with one finite point or more")
    return lines


def view_of(problem: Landscape, lines: dict[str, np.ndarray]) -> list[tuple[float, float]]:
    """Return the limits of the picture: all paths, but of a diverging one only the beginning."""
    fixed = np.concatenate([*(line[:1] for line in lines.values()), problem.optima])
    low, high = fixed.min(axis=0), fixed.max(axis=0)
    far = 10.0 * max(float(np.max(high - low)), 1e-3)
    points = np.clip(np.concatenate([fixed, *lines.values()]), low - far, high + far)
    low, high = points.min(axis=0), points.max(axis=0)
    # A path along one axis still needs a plane to lie in.
    margin = np.maximum(0.12 * (high - low), 0.06 * float(np.max(high - low)) + 1e-9)
    return [(float(a), float(b)) for a, b in zip(low - margin, high + margin)]


def draw_contours(ax: Any, problem: Landscape, view: Sequence[tuple[float, float]]) -> None:
    """Draw the function in shades of grey, on a log scale above its smallest value."""
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


def mark_points(ax: Any, problem: Landscape, lines: dict[str, np.ndarray]) -> None:
    """Mark the start and the known optima, and add a legend."""
    start = next(iter(lines.values()))[0]
    ax.plot(*start, "o", color="white", mec="black", ms=7, zorder=4, label="_start")
    if len(problem.optima):
        style = {"ls": "none", "marker": "*", "ms": 12, "color": "white", "mec": "black"}
        ax.plot(*problem.optima.T, zorder=4, label="optimum", **style)
    ax.legend(ncols=5, fontsize="small", handlelength=1.4, **ABOVE)
