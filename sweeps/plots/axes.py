"""The values of a column as places along an axis of a picture: one code a trial."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeps.common.frames import pd

BINS = 64
"""Cells of an axis with too many values to give each its own."""

FINEST = 2048
"""Values of a regular grid that are drawn one by one; more of them could not be seen."""

EVEN = 1e-6  # relative to the whole: geomspace is even to a few ulp, rounded values are not
DECADE = 10.0


@dataclass(frozen=True, eq=False)
class Axis:
    """A column of a result as cells in a row; made by :func:`axis_of`.

    * ``codes`` (n,) of int64: the cell of every trial, -1 for a trial that has no such axis.
    * ``values`` (k,): what the cells stand for, in order: numbers, or whatever names the axis has.
    * ``edges`` (k + 1,) of float64: where the cells begin and end: in the units of the values if
      ``scale`` is ``"linear"`` or ``"log"``, else 0.5 to the left and right of 0, 1, 2, ...
    * ``scale`` (one of "linear", "log", "ordinal"): how the cells are spaced. Numbers that are not
      evenly spaced are ordinal, as names are: cells of one width, each with its own label.
    """

    name: str
    codes: np.ndarray
    values: np.ndarray
    edges: np.ndarray
    scale: str

    def __len__(self) -> int:
        return len(self.values)

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return self.values.dtype.kind in "if"

    @property
    def centers(self) -> np.ndarray:
        """Positions of the cells' values along the axis, ``(k,)``."""
        return np.arange(float(len(self))) if self.scale == "ordinal" else self.values

    @property
    def labels(self) -> list[str]:
        """The values as text; no two are alike."""
        short = [label_of(value) for value in self.values.tolist()]
        return short if len({*short}) == len(short) else [str(v) for v in self.values.tolist()]


def axis_of(name: str, column: np.ndarray, bins: int = BINS, finest: int = FINEST) -> Axis:
    """Lay the values of a column out along an axis.

    Every value has a cell of its own, in increasing order (names in the order in which they come),
    unless there are more than ``bins`` unevenly spaced numbers, as with random draws: these share
    ``bins`` even cells, on a log scale if :func:`is_log` says so.

    ``column`` (n,): numbers, booleans, names; NaN or None where a trial has no such axis.
    ``finest``: evenly spaced numbers share cells, too, if there are more of them than this.

    >>> axis = axis_of("lr", np.array([0.1, 10.0, 1.0, 0.1]))
    >>> axis.codes, axis.values, axis.scale, axis.edges.round(3)
    (array([0, 2, 1, 0]), array([ 0.1, 1. , 10. ]), 'log', array([ 0.032, 0.316, 3.162, 31.623]))
    >>> axis = axis_of("optimizer", np.array(["sgd", None, "adam"], object))
    >>> axis.codes, axis.labels, axis.scale
    (array([ 0, -1,  1]), ['sgd', 'adam'], 'ordinal')
    """
    codes, distinct = pd.factorize(np.asarray(column))
    codes, plain = codes.astype(np.int64), list(distinct)
    if not plain or not all(map(_is_number, plain)):
        return Axis(name, codes, np.array(plain, object), _steps(len(plain)), "ordinal")
    values = np.asarray(plain, np.float64)
    if all(isinstance(value, numbers.Integral) for value in plain):
        values = np.asarray(plain, np.int64)
    order = np.argsort(values, kind="stable")
    values = values[order]
    # One more place than values, for the code -1.
    places = np.append(np.argsort(order, kind="stable"), -1)
    codes = places[codes]
    scale = _spacing(values)
    if len(values) > (bins if scale == "ordinal" else finest):
        return _binned(name, codes, values, bins)
    return Axis(name, codes, values, _edges(values, scale), scale)


def is_log(values: Sequence[float] | np.ndarray) -> bool:
    """Tell whether numbers ask for a log scale: positive, over a decade and more, not evenly apart.

    >>> is_log([16, 64, 256]), is_log(np.linspace(1, 100, 12)), is_log([0.0, 1e-4, 1.0])
    (True, False, False)
    """
    values = np.unique(np.asarray(values, np.float64))
    if values.size < 2 or values[0] <= 0.0 or values[-1] / values[0] < DECADE:
        return False
    return values.size == 2 or not _even(values)


def label_of(value: Any) -> str:
    """Write one value next to an axis.

    >>> label_of(1e-4), label_of(0.30000000000000004), label_of(256), label_of("adam")
    ('0.0001', '0.3', '256', 'adam')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def _even(values: np.ndarray) -> bool:
    gaps = np.diff(values)
    return bool(np.ptp(gaps) <= EVEN * (values[-1] - values[0]))


def _spacing(values: np.ndarray) -> str:
    """Name the scale on which three increasing numbers or more are evenly spaced."""
    if len(values) < 3:
        return "ordinal"
    if _even(values):
        return "linear"
    return "log" if values[0] > 0 and _even(np.log(values)) else "ordinal"


def _steps(k: int) -> np.ndarray:
    return np.arange(k + 1) - 0.5


def _edges(values: np.ndarray, scale: str) -> np.ndarray:
    """Return the ends of even cells around these values."""
    if scale == "ordinal":
        return _steps(len(values))
    even = np.log(values) if scale == "log" else values.astype(np.float64)
    half = 0.5 * (even[-1] - even[0]) / (len(even) - 1)
    edges = np.linspace(even[0] - half, even[-1] + half, len(even) + 1)
    return np.exp(edges) if scale == "log" else edges


def _binned(name: str, codes: np.ndarray, values: np.ndarray, bins: int) -> Axis:
    log = is_log(values)
    even = np.log(values) if log else values.astype(np.float64)
    edges = np.linspace(even[0], even[-1], bins + 1)
    cell = np.clip(np.searchsorted(edges, even, side="right") - 1, 0, bins - 1)
    centers = 0.5 * (edges[:-1] + edges[1:])
    if log:
        edges, centers = np.exp(edges), np.exp(centers)
    return Axis(name, np.append(cell, -1)[codes], centers, edges, "log" if log else "linear")
