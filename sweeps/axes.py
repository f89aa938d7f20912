"""The values of one axis: lists as they come, ranges and spaced points computed one at a time."""

from __future__ import annotations

import itertools
import math
import numbers
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastopt.errors import SpecError
from fastopt.schedules import Schedule

__all__ = [
    "Points",
    "as_axis",
    "common_kind",
    "ends",
    "kind_of",
    "linspace",
    "logspace",
    "repeated",
    "take",
    "values",
]

MAX_LENGTH = 2**63 - 1
"""Trial numbers are int64."""


@dataclass(frozen=True)
class Points(Sequence):
    """Evenly spaced points, computed one at a time; made by :func:`linspace`, :func:`logspace`."""

    low: float
    high: float
    n: int
    log: bool = False

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: Any) -> Any:
        """Return point ``i``; the first and the last are the ends to the last bit."""
        i = range(self.n)[i]
        if isinstance(i, range):
            return tuple(self[k] for k in i)
        if i in (0, self.n - 1):
            return self.high if i else self.low
        t = i / (self.n - 1)
        if not self.log:
            return self.low * (1.0 - t) + self.high * t
        # libm's pow, not NumPy's, whose last bit depends on the SIMD width of the machine.
        return math.pow(10.0, math.log10(self.low) * (1.0 - t) + math.log10(self.high) * t)

    def __repr__(self) -> str:
        return f"{'logspace' if self.log else 'linspace'}({self.low!r}, {self.high!r}, {self.n})"


def linspace(low: float, high: float, n: int) -> Points:
    """``n`` evenly spaced values from ``low`` to ``high``, both included.

    Raises
    ------
    SpecError
        An end is not a finite number or ``n`` is not a positive integer.

    Examples
    --------
    >>> list(linspace(0, 1, 5))
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return _points("linspace", low, high, n)


def logspace(low: float, high: float, n: int) -> Points:
    """``n`` values from ``low`` to ``high``, both included, evenly spaced on a log scale.

    The ends are values, not exponents (as in :func:`numpy.geomspace`).

    Raises
    ------
    SpecError
        An end is not a finite positive number or ``n`` is not a positive integer.

    Examples
    --------
    >>> list(logspace(1e-4, 1, 5))
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    """
    points = _points("logspace", low, high, n, log=True)
    if min(points.low, points.high) <= 0.0:
        raise SpecError(
            f"logspace(low, high, n): the ends must be positive values (not exponents); "
            f"got {low!r} and {high!r}"
        )
    return points


def values(*items: Any) -> tuple[Any, ...]:
    """Spell out the values of an axis.

    Examples
    --------
    >>> values(0.8, 0.9, 0.95)
    (0.8, 0.9, 0.95)
    """
    return items


def _points(helper: str, low: Any, high: Any, n: Any, log: bool = False) -> Points:
    for name, end in (("low", low), ("high", high)):
        if kind_of(end) not in ("integer", "real") or not math.isfinite(end):
            raise SpecError(f"{helper}(low, high, n): {name} must be a finite number; got {end!r}")
    if kind_of(n) != "integer" or not 1 <= n <= MAX_LENGTH:
        raise SpecError(f"{helper}(low, high, n): n must be a positive integer; got {n!r}")
    return Points(float(low), float(high), int(n), log)


def as_axis(where: str, given: Any) -> Sequence:
    """Check the values of one axis and return them as a sequence of plain Python values.

    Parameters
    ----------
    where : str
        What to call the axis in error messages, e.g. ``"axis 'lr'"``.
    given : list, tuple, range, 1-D array, Points or scalar
        The values; a scalar is an axis of one value.

    Raises
    ------
    SpecError
        As for :class:`Space`.

    Examples
    --------
    >>> as_axis("axis 'lr'", np.array([1, 0.5], dtype=np.float32))
    (1.0, 0.5)
    >>> as_axis("axis 'lr'", 1)
    (1,)
    """
    if isinstance(given, range):
        _check_int64(where, given[:1], given[-1:])
    axis: Sequence = given if isinstance(given, Points | range) else _listed(where, given)
    if len(axis) == 0:
        raise SpecError(f"{where} is empty; give it one value or more, or leave it out")
    return axis


def _listed(where: str, given: Any) -> tuple[Any, ...]:
    if isinstance(given, np.ndarray):
        if given.ndim > 1:
            raise SpecError(f"{where} must be one-dimensional; got an array of shape {given.shape}")
        given = given.tolist()
    items = [_plain(item) for item in (given if isinstance(given, list | tuple) else [given])]
    kinds = set()
    for item in items:
        kind = kind_of(item)
        if kind is None:
            raise SpecError(
                f"{where} holds {item!r} of type {type(item).__name__}; allowed are a list, tuple, "
                "range, 1-D array, linspace(...), logspace(...) or one value, and as values "
                "numbers, booleans, names (strings) and schedules"
            )
        if kind == "real" and not math.isfinite(item):
            raise SpecError(f"{where} holds {item!r}; its values must be finite")
        if kind == "integer":
            _check_int64(where, [item])
        kinds.add(kind)
    if common_kind(where, kinds) == "real":
        items = [float(item) for item in items]
    return tuple(items)


def _check_int64(where: str, *runs: Sequence[int]) -> None:
    for item in itertools.chain(*runs):
        if not -(2**63) <= item < 2**63:
            raise SpecError(f"{where} holds {item!r}; integers must fit in 64 bits")


def _plain(item: Any) -> Any:
    return item.item() if isinstance(item, np.generic) else item


def kind_of(item: Any) -> str | None:
    """Name the sort of a value; None for what no axis can hold.

    >>> kind_of(3), kind_of(0.5), kind_of(True), kind_of("adam"), kind_of(None)
    ('integer', 'real', 'boolean', 'name', None)
    """
    if isinstance(item, bool | np.bool_):
        return "boolean"
    if isinstance(item, numbers.Integral):
        return "integer"
    if isinstance(item, numbers.Real):
        return "real"
    return "name" if isinstance(item, str | Schedule) else None


def common_kind(where: str, kinds: set) -> str:
    """Return the one sort that values of these sorts can share.

    >>> common_kind("axis 'lr'", {"integer", "real"})
    'real'
    """
    if kinds == {"integer", "real"}:
        return "real"
    if len(kinds) > 1:
        raise SpecError(
            f"{where} mixes values of different sorts ({', '.join(sorted(map(str, kinds)))}); "
            "give numbers only, booleans only, or names only"
        )
    return next(iter(kinds), "real")


def repeated(axis: Sequence) -> list[Any]:
    """Return the values that an axis lists again.

    >>> repeated((0.1, 0.2, 0.1))
    [0.1]
    """
    if isinstance(axis, range):
        return []
    if isinstance(axis, Points):
        return [axis.low] if axis.low == axis.high and axis.n > 1 else []
    return [item for item, count in Counter(axis).items() if count > 1]


def ends(axis: Sequence) -> tuple[Any, Any]:
    """Return the two values between which all the others lie.

    >>> ends((0.9, 0.8, 0.95))
    (0.8, 0.95)
    """
    if isinstance(axis, range | Points):  # monotone, and maybe too long to walk
        return axis[0], axis[-1]
    return min(axis), max(axis)


def take(axis: Sequence, digits: np.ndarray) -> np.ndarray:
    """Return ``axis[digit]`` for every digit; each distinct value is computed once.

    >>> take(("sgd", "adam"), np.array([1, 0, 1]))
    array(['adam', 'sgd', 'adam'], dtype=object)
    """
    if isinstance(axis, range):
        return axis.start + axis.step * digits
    distinct, where = np.unique(digits, return_inverse=True)
    return np.fromiter((axis[digit] for digit in distinct.tolist()), object, distinct.size)[where]
