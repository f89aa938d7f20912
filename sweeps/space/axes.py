"""The values of one axis: lists as they come, ranges and spaced points computed one at a time."""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from fastopt.schedules import Schedule
from sweeps.common.frames import as_python
from sweeps.common.limits import MAX_LENGTH, check_int64, check_range, check_writable, is_finite
from sweeps.space.categories import Category
from sweeps.space.points import Computed, Points


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


def geomspace(low: float, high: float, n: int) -> Points:
    """``n`` values from ``low`` to ``high``, both included, evenly spaced on a log scale.

    As :func:`numpy.geomspace`, it takes the ends themselves; :func:`logspace` is its old name.

    Raises
    ------
    SpecError
        An end is not a finite positive number or ``n`` is not a positive integer.

    Examples
    --------
    >>> list(geomspace(1e-4, 1, 5))
    [0.0001, 0.001, 0.01, 0.1, 1.0]
    """
    return _log_points("geomspace", low, high, n)


def logspace(low: float, high: float, n: int) -> Points:
    """Return :func:`geomspace` under its old name: the ends are values, not exponents.

    Examples
    --------
    >>> logspace(1e-4, 1, 5)
    geomspace(0.0001, 1.0, 5)
    """
    return _log_points("logspace", low, high, n)


def _log_points(helper: str, low: float, high: float, n: int) -> Points:
    points = _points(helper, low, high, n, log=True)
    if min(points.low, points.high) <= 0.0:
        raise SpecError(
            f"{helper}(low, high, n): the ends must be positive values (not exponents); "
            f"got {shortened(low)} and {shortened(high)}"
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


@dataclass(frozen=True)
class Tied(Sequence):
    """One column of axes that advance together; made by :func:`zipped` and by designs.

    ``group`` names all of its columns; those of one group that meet in a product of axes are one
    digit of the trial number.
    """

    axis: Sequence
    group: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.axis)

    def __getitem__(self, i: Any) -> Any:
        return self.axis[i]


def zipped(axes: Mapping[str, Any]) -> dict[str, Tied]:
    """Tie axes together: their values advance side by side, as in :func:`zip`.

    Parameters
    ----------
    axes : dict
        Axis name -> its values, as for :class:`sweeps.Space`; all of one length.

    Returns
    -------
    dict of str to Tied
        To be unpacked into a dict of axes with ``**``.

    Raises
    ------
    SpecError
        There are no axes, their lengths differ, or one is drawn at random: axes that are drawn
        from one seed would be copies of each other.

    Examples
    --------
    >>> from sweeps import Space
    >>> space = Space({"seed": [1, 2], **zipped({"lr": [0.1, 0.2], "batch_size": [16, 64]})})
    >>> [tuple(trial.values()) for trial in space]
    [(1, 0.1, 16), (1, 0.2, 64), (2, 0.1, 16), (2, 0.2, 64)]
    """
    if not isinstance(axes, Mapping) or not axes:
        raise SpecError(
            f"zipped(axes): axes must be a dict of one axis or more; got {shortened(axes)}"
        )
    columns = {name: as_axis(f"axis {shortened(name)}", given) for name, given in axes.items()}
    for name, column in columns.items():
        if not isinstance(column, tuple | range | Points):
            raise SpecError(
                f"zipped(axes): axis {shortened(name)} is {shortened(column)}; allowed are a "
                "list, tuple, range, 1-D "
                "array, linspace(...) and geomspace(...). To draw several axes together use "
                "draws(...), sobol(...) or latin_hypercube(...)"
            )
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise SpecError(f"zipped(axes): all axes must have one length; got {lengths}")
    return {name: Tied(column, tuple(columns)) for name, column in columns.items()}


def _points(helper: str, low: Any, high: Any, n: Any, log: bool = False) -> Points:
    for name, end in (("low", low), ("high", high)):
        if kind_of(end) not in ("integer", "real") or not is_finite(end):
            raise SpecError(
                f"{helper}(low, high, n): {name} must be a finite number; got {shortened(end)}"
            )
    if kind_of(n) != "integer" or not 1 <= n <= MAX_LENGTH:
        raise SpecError(f"{helper}(low, high, n): n must be a positive integer; got {shortened(n)}")
    return Points(float(low), float(high), int(n), log)


def as_axis(where: str, given: Any) -> Sequence:
    """Check the values of one axis and return them as a sequence of plain Python values.

    ``where``: what messages call the axis. A scalar is an axis of one value.

    >>> as_axis("axis 'lr'", np.array([1, 0.5], dtype=np.float32))
    (1.0, 0.5)
    >>> as_axis("axis 'lr'", 1)
    (1,)
    """
    if isinstance(given, range):
        check_range(where, given)
    ready = isinstance(given, Computed | Tied | range)
    axis: Sequence = given if ready else _as_tuple(where, given)
    if len(axis) == 0:
        raise SpecError(f"{where} is empty; give it one value or more, or leave it out")
    return axis


def _as_tuple(where: str, given: Any) -> tuple[Any, ...]:
    if hasattr(given, "__array__") and not isinstance(given, np.generic):  # Series and tensors, too
        given = np.asarray(given)
        if given.ndim > 1:
            raise SpecError(f"{where} must be one-dimensional; got an array of shape {given.shape}")
        given = given.tolist()
    items = _plain(given if isinstance(given, list | tuple) else [given])
    # Long axes are looked at by type, of which they have one or two.
    by_type: dict[type, list[Any]] = {kind: [] for kind in map(type, items)}
    for kind in by_type:
        by_type[kind] = items if len(by_type) == 1 else [i for i in items if type(i) is kind]
    kinds = {_checked_kind(where, alike) for alike in by_type.values()}
    if common_kind(where, kinds) == "real":
        exact, items = items, list(map(float, items))
        for item, known in zip(exact, items) if items != exact else ():
            if item != known:
                raise SpecError(f"{where} holds {item} among reals, which hold it as {known:.0f}")
    return tuple(items)


def _plain(given: Sequence[Any]) -> list[Any]:
    """Return Python's values for NumPy's, all at once where they are of one type: 0.2 ms of 512."""
    kinds = {*map(type, given)}
    if len(kinds) == 1 and issubclass(kinds.pop(), np.number):
        return np.array(given).tolist()
    return list(map(as_python, given))


def _checked_kind(where: str, items: list[Any]) -> str:
    """Check values of one type, and return their kind."""
    kind = kind_of(items[0])
    if kind is None:
        say = ""
        if hasattr(items[0], "ends"):  # a distribution
            say = f". Say how many are drawn, {shortened(items[0])[:-1]}, 20), or see draws()"
        raise SpecError(
            f"{where} holds {shortened(items[0])} of type {type(items[0]).__name__}; allowed are "
            "a list, tuple, range, 1-D array, linspace(...), geomspace(...), draws such as "
            "uniform(low, high, n), or one value, and as values numbers, booleans, names "
            f"(strings) and schedules{say}"
        )
    if kind == "real" and not all(map(math.isfinite, items)):
        wrong = next(item for item in items if not math.isfinite(item))
        raise SpecError(f"{where} holds {shortened(wrong)}; its values must be finite")
    if kind == "integer":
        check_int64(where, items)
    if isinstance(items[0], str):
        for item in items:
            check_writable(where, item)
    return kind


def kind_of(item: Any) -> str | None:
    """Return the kind of a value: ``"integer"``, ...; None for what no axis can hold.

    >>> kind_of(3), kind_of(0.5), kind_of(True), kind_of("adam"), kind_of(None)
    ('integer', 'real', 'boolean', 'name', None)
    """
    if isinstance(item, bool | np.bool_):
        return "boolean"
    if isinstance(item, numbers.Integral):
        return "integer"
    if isinstance(item, numbers.Real):
        return "real"
    return "name" if isinstance(item, str | Schedule | Category) else None


def common_kind(where: str, kinds: set) -> str:
    """Return the one kind that values of these kinds can share.

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


def untie(axis: Sequence) -> Sequence:
    """Return the axis itself, whether or not it is tied to others.

    >>> untie(zipped({"lr": [0.1, 0.2]})["lr"])
    (0.1, 0.2)
    """
    return axis.axis if isinstance(axis, Tied) else axis


def support(axis: Sequence) -> Sequence:
    """Return the values that an axis can take: of draws from options, the options.

    >>> support(("sgd", "adam"))
    ('sgd', 'adam')
    """
    axis = untie(axis)
    return axis.support if isinstance(axis, Computed) else axis


def repeated_values(axis: Sequence) -> list[Any]:
    """Return the values that an axis lists again by mistake.

    Draws may repeat, and so may a column whose neighbours differ.

    >>> repeated_values((0.1, 0.2, 0.1))
    [0.1]
    """
    if isinstance(axis, Points):
        return [axis.low] if axis.low == axis.high and axis.n > 1 else []
    if isinstance(axis, range | Computed | Tied):
        return []
    return [item for item, count in Counter(axis).items() if count > 1]


def ends(axis: Sequence) -> tuple[Any, Any]:
    """Return the smallest and the largest value of an axis, or bounds of them, in any order.

    >>> ends((0.9, 0.8, 0.95))
    (0.8, 0.95)
    """
    axis = untie(axis)
    if isinstance(axis, Computed):
        return axis.ends
    if isinstance(axis, range):  # monotone, and maybe too long to walk
        return axis[0], axis[-1]
    return min(axis), max(axis)


def representatives(axis: Sequence) -> np.ndarray:
    """Return positions whose values represent all of them when a range is checked.

    A list is represented by every position, a range or spaced points by their two ends: what is
    allowed is an interval.

    >>> representatives(("sgd", "adam", "lion")), representatives(range(2**40)).tolist()
    (array([0, 1, 2]), [0, 1099511627775])
    """
    axis = untie(axis)
    if isinstance(axis, Computed):
        return axis.representatives()
    return np.unique([0, len(axis) - 1]) if isinstance(axis, range) else np.arange(len(axis))


def take(axis: Sequence, digits: np.ndarray) -> np.ndarray:
    """Return ``axis[digit]`` for every digit.

    Of short axes each value is computed once, and so it is of long ones that are slow to compute.

    >>> take(("sgd", "adam"), np.array([1, 0, 1]))
    array(['adam', 'sgd', 'adam'], dtype=object)
    """
    axis = untie(axis)
    if isinstance(axis, range):
        return axis.start + axis.step * digits
    if isinstance(axis, Points) and len(axis) > digits.size:
        return axis.at(digits)
    if len(axis) <= digits.size:
        distinct, where = np.arange(len(axis)), digits
    else:
        distinct, where = np.unique(digits, return_inverse=True)
    if isinstance(axis, Computed):
        return axis.at(distinct)[where]
    found = np.fromiter(map(axis.__getitem__, distinct.tolist()), object, distinct.size)
    return (found.astype(float) if {*map(type, found)} == {float} else found)[where]
