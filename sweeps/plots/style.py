"""Colours and scales that all pictures share, and where matplotlib is imported."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeps.plots.axes import Axis, is_log

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    Axes = Any  # who draws nothing does not wait for matplotlib

# M. Okabe and K. Ito, Color universal design, 2008: black, then the colours that are told apart
# by people of every kind of colour vision. Vermilion is kept for what diverged.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
DIVERGED = "#D55E00"
NOTHING = "#D9D9D9"
MUTED = "#767676"
MARKERS = "osD^vPX"

ABOVE: dict[str, Any] = {
    "loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "frameon": False, "borderaxespad": 0.2,
    "columnspacing": 1.2,
}  # fmt: skip
"""Where a legend hides nothing: above the picture."""

MOST_TICKS = 12
"""Values that are each written next to an axis; of more, every second, third, ... is."""

WIDE = 10.0  # from here on a linear scale shows only the largest values

MEDIANS_SHOWN = 3.0
"""Colours reach from the best value to this many times as far as the median cell.

Half of the cells so share a third of the colours or more. Without an end, a few learning rates
that do not train leave one yellow to all that do: of the accuracies of the digits sweep, 0.08 to
0.978, half lie above 0.945.
"""


def matplotlib() -> Any:
    """Import matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError('plots need matplotlib: pip install "fastopt[plot]"') from error
    return matplotlib


def new_axes(ax: Axes | None, width: float = 6.4, height: float = 4.4) -> Axes:
    """Return ``ax``, or axes in a figure of their own."""
    if ax is not None:
        return ax
    matplotlib()
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(width, height), layout="constrained")[1]


def log_range(values: np.ndarray) -> bool:
    """Tell whether positive values span a factor of ten or more; what is not finite does not count.

    >>> log_range(np.array([1.0, 50.0, np.nan])), log_range(np.array([0.0, 50.0]))
    (True, False)
    """
    known = values[np.isfinite(values)]
    return bool(known.size and known.min() > 0.0 and known.max() >= WIDE * known.min())


def colour_norm(values: np.ndarray, mode: str) -> tuple[Any, str]:
    """Return the norm for colours over the finite values, and where it ends short of them.

    It is logarithmic if values span a decade, and ends :data:`MEDIANS_SHOWN` from the best one.

    >>> norm, beyond = colour_norm(np.array([0.1, 0.96, 0.97, 0.98]), "max")
    >>> round(norm.vmin, 3), norm.vmax, beyond
    (0.935, 0.98, 'min')
    >>> norm, beyond = colour_norm(np.array([1.0, 2.0, 4.0]), "min")
    >>> norm.vmin, norm.vmax, beyond
    (1.0, 4.0, 'neither')
    """
    matplotlib()
    from matplotlib.colors import LogNorm, Normalize

    known = values[np.isfinite(values)]
    if not known.size:
        return Normalize(0.0, 1.0), "neither"
    log = log_range(known)
    scaled = np.log(known) if log else known
    low, high = float(scaled.min()), float(scaled.max())
    reach = MEDIANS_SHOWN * (
        high - float(np.median(scaled)) if mode == "max" else np.median(scaled) - low
    )
    beyond = "neither"
    if 0.0 < reach < high - low:
        low, high = (high - reach, high) if mode == "max" else (low, low + reach)
        beyond = "min" if mode == "max" else "max"
    if log:
        return LogNorm(math.exp(low), math.exp(high)), beyond
    return Normalize(low, high), beyond


def colours_of(count: int, ordered: bool) -> list[Any]:
    """Return a colour per line: from an ordered scale, or as different as possible."""
    if not ordered and count <= len(OKABE_ITO):
        return list(OKABE_ITO[:count])
    # The yellow end of viridis cannot be seen on white.
    shades: list[Any] = list(matplotlib().colormaps["viridis"](np.linspace(0.0, 0.88, count)))
    return shades


def cell_axes(ax: Axes, x: Axis, y: Axis) -> None:
    """Set the scale, ticks and labels of both axes of a picture of cells."""
    for axis, side in ((x, ax.xaxis), (y, ax.yaxis)):
        if axis.scale == "log":
            (ax.set_xscale if axis is x else ax.set_yscale)("log")
        if axis.scale == "ordinal" or len(axis) <= MOST_TICKS:
            tick_at(side, axis.centers, axis.labels)
        side.set_label_text(axis.name)


def tick_at(side: Any, places: np.ndarray, labels: list[str]) -> None:
    """Set ticks and their labels; if there are too many, only every n-th."""
    every = math.ceil(len(places) / MOST_TICKS)
    side.set_ticks(places[::every], labels[::every])
    side.set_ticks([], minor=True)
    if side.axis_name == "x" and sum(map(len, labels[::every])) > 40:
        side.set_tick_params(rotation=40)
        for label in side.get_ticklabels():
            label.set(ha="right", rotation_mode="anchor")


def plain_numbers(side: Any) -> None:
    """Write 0.05 next to a log scale, not 5 x 10^-2, while it spans few decades."""
    low, high = sorted(side.get_view_interval())
    if side.get_scale() != "log" or high > 1e3 * low:
        return
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    side.set_major_locator(LogLocator(subs=(1.0, 3.0) if high > 30.0 * low else (1.0, 2.0, 5.0)))
    side.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    side.set_minor_formatter(NullFormatter())


def line_scale(ax: Axes, axis: Axis) -> np.ndarray:
    """Set scale and label of the x axis for lines over an axis; return its values' positions."""
    ax.set_xlabel(axis.name)
    if not axis.numeric:
        tick_at(ax.xaxis, axis.centers, axis.labels)
        return axis.centers
    if is_log(axis.values):
        ax.set_xscale("log")
    if len(axis) <= MOST_TICKS:
        tick_at(ax.xaxis, axis.values, axis.labels)
    return axis.values.astype(np.float64)


def value_scale(ax: Axes, values: np.ndarray) -> None:
    """Make the y axis logarithmic if positive values span a decade and more."""
    if log_range(values):
        ax.set_yscale("log")
        plain_numbers(ax.yaxis)
