"""Films of optimizers on their way over a landscape."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from fastopt.errors import SpecError
from sweeps.common.frames import pd
from sweeps.plots.ground import Traces, coordinates, draw_contours, mark_points, view_of
from sweeps.plots.style import MARKERS, Axes, colours_of, matplotlib, new_axes
from sweeps.problems.landscapes import Landscape


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
        Ending in ``.gif``, or in ``.mp4``, which needs ffmpeg: the program, or the package
        imageio-ffmpeg that brings it along.
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
    lines = coordinates(problem, traces)
    writer = _writer(path.suffix)
    from matplotlib import animation

    ax = new_axes(ax, 6.0, 4.8)
    draw_contours(ax, problem, view or view_of(problem, lines))
    drawn, heads = [], []
    for k, (label, line) in enumerate(lines.items()):
        colour = colours_of(len(lines), ordered=False)[k]
        drawn += ax.plot(*line[:1].T, "-", color=colour, lw=1.8, label=label)
        heads += ax.plot(*line[0], MARKERS[k % len(MARKERS)], color=colour, mec="white", ms=7)
    mark_points(ax, problem, lines)
    steps = max(map(len, lines.values()))
    frames = np.unique(np.linspace(1, steps, max(1, round(fps * seconds))).round().astype(int))
    clock = ax.set_title("", loc="left")

    def show(upto: int) -> list[Any]:
        for line, trail, head in zip(lines.values(), drawn, heads):
            trail.set_data(*line[:upto].T)
            head.set_data(*line[min(upto, len(line)) - 1, :, None])
        clock.set_text(f"step {upto - 1}")
        return [*drawn, *heads, clock]

    figure: Any = ax.get_figure(root=True)
    film = animation.FuncAnimation(figure, show, frames=frames.tolist(), init_func=lambda: [])
    with matplotlib().rc_context(_ffmpeg()):
        film.save(path, writer=writer(fps=fps), dpi=100)
    return ax


def _writer(suffix: str) -> Any:
    """Return the class that writes such films, if it can."""
    matplotlib()
    from matplotlib import animation

    if suffix not in WRITERS:
        raise SpecError(f"a film is written as {' or '.join(WRITERS)}; got {suffix or 'no suffix'}")
    writer = getattr(animation, WRITERS[suffix])
    with matplotlib().rc_context(_ffmpeg()):
        if not writer.isAvailable():
            raise SpecError(
                f"{suffix} needs ffmpeg: install the program or `pip install imageio-ffmpeg`, or "
                "write a .gif"
            )
    return writer


def _ffmpeg() -> dict[str, str]:
    """Return matplotlib's setting for the ffmpeg of the package imageio-ffmpeg, if that is used."""
    if shutil.which(matplotlib().rcParams["animation.ffmpeg_path"]):
        return {}
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return {"animation.ffmpeg_path": get_ffmpeg_exe()}
    except (ImportError, RuntimeError):  # the package is there, but not for this machine
        return {}


WRITERS = {".gif": "PillowWriter", ".mp4": "FFMpegWriter"}
"""Suffix of a film -> the class of matplotlib that writes it."""
