"""Pictures of cells over two axes: heatmaps and phase diagrams."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.analysis.stats import mode_of
from sweeps.analysis.table import Table
from sweeps.plots.axes import label_of
from sweeps.plots.style import (
    ABOVE,
    DIVERGED,
    NOTHING,
    Axes,
    cell_axes,
    colour_norm,
    matplotlib,
    new_axes,
    plain_numbers,
)
from sweeps.plots.tables import Cells, main_axes, table_of_axes, varying_axes

MOST_FACETS = 12
ROOM_FOR_TEXT = (10, 80)
"""Columns, and cells in all, up to which values are written into them."""

CONVERGED = "#0072B2"
MIXED = ("#F7F7F7",)


def heatmap(
    result: Table,
    x: str | None = None,
    y: str | None = None,
    *,
    metric: str | None = None,
    over: str = "best",
    facet: str | None = None,
    ax: Any = None,
) -> Axes | np.ndarray:
    """Colour the cells of two axes by a metric; diverged cells have a colour of their own.

    Good is bright, whether small or large values are. The best cell has a ring. Values that are
    evenly spaced on a log scale get one, and so do the colours if values span a decade. Colours
    end three times as far from the best cell as the median one; the colour bar then has an arrow.

    Parameters
    ----------
    x, y : str, optional
        Axes of the sweep; by default the two with the most numbers.
    metric : str, optional
        That of the sweep by default.
    over : {"best", "mean", "worst"}
        What a cell shows of the configurations that share it, each averaged over its seeds and
        folds first (unless these are ``x``, ``y`` or ``facet``); where some finished on all folds,
        others do not count.
    facet : str, optional
        An axis of at most 12 values: one picture for each, with common colours.
    ax : matplotlib Axes, or array of as many as there are facets, optional

    Returns
    -------
    Axes, or array of Axes with ``facet``

    Raises
    ------
    SpecError
        A name does not exist, or ``facet`` has too many values.
    ImportError
        matplotlib is not installed.

    Notes
    -----
    A cell is *diverged* if it has no value and one trial or more diverged in it, and *no value* if
    no trial in it finished (or none reached the target, for ``steps_to_target``). More than 64
    unevenly spaced numbers, as from random draws, share 64 even cells.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "lr": np.array([0.1, 0.1, 1.0, 1.0]),
    ...            "beta1": np.array([0.8, 0.9, 0.8, 0.9]), "state": np.array([0, 0, 0, 1]),
    ...            "loss": np.array([1.0, 3.0, 5.0, np.nan])}
    >>> result = SweepResult(columns, None, "loss", "min", {})
    >>> ax = result.plot.heatmap("lr", "beta1")
    >>> ax.get_xlabel(), ax.get_ylabel(), [t.get_text() for t in ax.get_legend().get_texts()]
    ('lr', 'beta1', ['diverged', 'best'])
    """
    x, y = _two_axes(result, x, y)
    metric = result.metric if metric is None else metric
    names = [y, x] if facet is None else [facet, y, x]
    found = table_of_axes(result, names, metric, over)
    panels = found.value[None] if facet is None else found.value
    places = _panels(found, facet, ax)
    mode = mode_of(result, metric)
    (norm, beyond), best = colour_norm(found.value, mode), found.best
    cmap = matplotlib().colormaps["viridis_r" if mode == "min" else "viridis"]
    mesh = None
    for k, (place, value) in enumerate(zip(places, panels)):
        lost = found.lost if facet is None else found.lost[k]
        mesh = _draw_cells(place, found, value, cmap, norm)
        _paint(place, found, lost, DIVERGED)
        _paint(place, found, np.isnan(value) & ~lost, NOTHING)
        if best is not None and best[:-2] in ((), (k,)):
            _mark_best(place, found, best[-2:])
        _write_values(place, found, value, cmap, norm)
        if facet is not None:
            place.set_title(f"{facet} = {found.axes[0].labels[k]}", fontsize="medium")
            place.label_outer()
    if best is not None:
        hidden = {*varying_axes(result)} - {*names}
        shown = f"{over} {metric}" if hidden else metric
        bar = places[0].figure.colorbar(mesh, ax=list(places), label=shown, extend=beyond)
        plain_numbers(bar.ax.yaxis)
    ring = "best of one fold" if "fold" in names else "best"
    _legend(places, found, None if best is None else ring)
    return places[0] if facet is None else np.asarray(places, object)


def phase(
    result: Table, x: str | None = None, y: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """Colour the cells of two axes by the share of trials that diverged.

    Parameters
    ----------
    x, y : str, optional
        Axes of the sweep; by default the two with the most numbers.
    ax : matplotlib Axes, optional

    Returns
    -------
    Axes
        Cells in which no trial diverged are blue, those in which all did vermilion; pruned and
        failed trials do not count. A legend takes the place of the colour bar if no cell is mixed.

    Raises
    ------
    SpecError, ImportError
        As for :func:`heatmap`.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "lr": np.array([0.1, 0.1, 1.0, 1.0]),
    ...            "beta1": np.array([0.8, 0.9, 0.8, 0.9]), "state": np.array([0, 0, 0, 1]),
    ...            "loss": np.array([1.0, 3.0, 5.0, np.nan])}
    >>> ax = SweepResult(columns, None, "loss", "min", {}).plot.phase("lr", "beta1")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['converged', 'diverged']
    """
    x, y = _two_axes(result, x, y)
    found = table_of_axes(result, [y, x])
    ax = new_axes(ax)
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    cmap = LinearSegmentedColormap.from_list("phase", [CONVERGED, *MIXED, DIVERGED])
    mesh = _draw_cells(ax, found, found.diverged, cmap, Normalize(0.0, 1.0))
    blank = np.isnan(found.diverged)
    _paint(ax, found, blank, NOTHING)
    share = found.diverged[~blank]
    present = [
        ("converged", CONVERGED, (share == 0.0).any()),
        ("diverged", DIVERGED, (share == 1.0).any()),
        ("no value", NOTHING, blank.any()),
    ]
    if np.isin(share, (0.0, 1.0)).all():
        _draw_legend(ax, [_patch(name, colour) for name, colour, there in present if there])
    else:
        ax.figure.colorbar(mesh, ax=ax, label="share of trials diverged")
    return ax


def _two_axes(result: Table, x: str | None, y: str | None) -> tuple[str, str]:
    """Fill in the axes that are not given with those most worth a picture."""
    if x is not None and y is not None:
        return x, y
    given = x if y is None else y
    free = [name for name in main_axes(result, 2) if name != given]
    if x is None and y is None:
        return free[0], free[1]
    return (x, free[0]) if x is not None else (free[0], str(y))


def _panels(found: Cells, facet: str | None, ax: Any) -> list[Any]:
    if facet is None:
        return [new_axes(ax)]
    count = len(found.axes[0])
    if count > MOST_FACETS:
        raise SpecError(
            f"facet {shortened(facet)} has {count} values; at most {MOST_FACETS} pictures fit. "
            "Take an axis "
            "of fewer values, or leave it out: a cell then shows the best of them"
        )
    if ax is not None:
        given = list(np.ravel(ax))
        if len(given) != count:
            raise SpecError(
                f"facet {shortened(facet)} has {count} values; got {len(given)} axes for them"
            )
        return given
    matplotlib()
    from matplotlib import pyplot

    columns = 2 if count in (2, 4) else min(count, 3)
    rows = math.ceil(count / columns)
    figure, places = pyplot.subplots(
        rows,
        columns,
        figsize=(1.2 + 3.2 * columns, 0.8 + 2.8 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for spare in places.ravel()[count:]:
        figure.delaxes(spare)
    return list(places.ravel()[:count])


def _draw_cells(ax: Any, found: Cells, value: np.ndarray, cmap: Any, norm: Any) -> Any:
    y, x = found.axes[-2:]
    shown = np.ma.masked_invalid(value)
    mesh = ax.pcolormesh(x.edges, y.edges, shown, cmap=cmap, norm=norm, rasterized=True)
    cell_axes(ax, x, y)
    # A grid of lines over cells, or a spine through the outer ones, hides data.
    ax.grid(visible=False)
    return mesh


def _paint(ax: Any, found: Cells, where: np.ndarray, colour: str) -> None:
    """Give the cells chosen one colour."""
    if not where.any():
        return
    from matplotlib.colors import ListedColormap

    y, x = found.axes[-2:]
    shown = np.ma.masked_where(~where, np.ones(where.shape))
    ax.pcolormesh(x.edges, y.edges, shown, cmap=ListedColormap([colour]), rasterized=True)


def _mark_best(ax: Any, found: Cells, best: tuple[int, ...]) -> None:
    y, x = found.axes[-2:]
    place = x.centers[best[1]], y.centers[best[0]]
    size = 26 if _has_room_for_text(found) else 9
    for colour, width in (("black", 3.0), ("white", 1.4)):
        ax.plot(*place, "o", ms=size, mfc="none", mec=colour, mew=width, label="_best")


def _has_room_for_text(found: Cells) -> bool:
    columns, cells = ROOM_FOR_TEXT
    return len(found.axes[-1]) <= columns and found.value.size <= cells


def _write_values(ax: Any, found: Cells, value: np.ndarray, cmap: Any, norm: Any) -> None:
    """Write values into cells, unless there are too many; black or white, whichever is legible."""
    if not _has_room_for_text(found):
        return
    y, x = found.axes[-2:]
    for i, j in zip(*np.nonzero(~np.isnan(value))):
        red, green, blue, _ = cmap(norm(value[i, j]))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        text = label_of(float(f"{value[i, j]:.3g}"))
        place = x.centers[j], y.centers[i]
        ink = "white" if dark else "black"
        ax.text(*place, text, ha="center", va="center", fontsize=7, color=ink)


def _patch(name: str, colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, label=name)


def _legend(places: list[Any], found: Cells, ring: str | None) -> None:
    from matplotlib.lines import Line2D

    blank = np.isnan(found.value) & ~found.lost
    entries = [_patch("diverged", DIVERGED)] if found.lost.any() else []
    entries += [_patch("no value", NOTHING)] if blank.any() else []
    if ring:
        mark: dict[str, Any] = {"marker": "o", "ls": "none", "mfc": "none", "mec": "black"}
        entries.append(Line2D([], [], label=ring, **mark))
    _draw_legend(places[0], entries, places[0].figure if len(places) > 1 else None)


def _draw_legend(ax: Any, entries: list[Any], figure: Any = None) -> None:
    """Put a legend above the picture, where it hides no cell."""
    if figure is not None:
        figure.legend(handles=entries, loc="outside upper right", ncols=3, frameon=False)
        return
    ax.legend(handles=entries, ncols=3, handlelength=1.2, **ABOVE)
