"""Axes in, trials out: a grid that is decoded from trial numbers and never materialised.

Trial ``i`` of a product of axes is the mixed-radix number ``i`` whose digits pick one value an
axis, the last axis varying fastest (the order of :func:`itertools.product`). A union of products
numbers its parts one after the other. So a grid of 2**40 trials has a length and costs nothing.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, SweepWarning, did_you_mean
from sweeps.axes import (
    MAX_LENGTH,
    Points,
    as_axis,
    common_kind,
    kind_of,
    linspace,
    logspace,
    repeated,
    take,
    values,
)

__all__ = ["Points", "Space", "as_axis", "check_names", "linspace", "logspace", "values"]

DTYPES: dict[str, type] = {"integer": np.int64, "real": np.float64, "boolean": np.bool_}
"""Sort of value -> dtype of its column; everything else is object."""


class Space:
    """A table of trials: the product of some axes, or a union of such products.

    Parameters
    ----------
    axes : dict, list of dict or Space
        Axis name -> its values: a list, tuple, range, 1-D array, :func:`linspace`,
        :func:`logspace`, or a single value. Values are real numbers, integers, booleans or names
        (strings, or objects of :mod:`fastopt.schedules`), one sort an axis; integers among reals
        become reals. A list of dicts is the union of their products, in order.

    Raises
    ------
    SpecError
        An axis is empty, or holds NaN, infinity, a value of another type or of two sorts.

    Warns
    -----
    SweepWarning
        An axis lists a value twice. Both are kept, so both are trained.

    Examples
    --------
    >>> space = Space({"optimizer": ["sgd", "adam"], "lr": logspace(1e-4, 1, 5)})
    >>> len(space), space.names
    (10, ('optimizer', 'lr'))
    >>> space[7]
    {'optimizer': 'adam', 'lr': 0.01}
    >>> space.columns([0, 1, 7])["lr"]
    array([0.0001, 0.001 , 0.01  ])
    >>> Space({f"x{i}": range(2) for i in range(40)}).size == 2**40
    True
    """

    def __init__(self, axes: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Space) -> None:
        self.parts: tuple[dict[str, Sequence], ...] = _checked_parts(axes)
        self.names: tuple[str, ...] = tuple(dict.fromkeys(itertools.chain(*self.parts)))
        sizes = [math.prod(map(len, part.values())) for part in self.parts]
        self.size: int = sum(sizes)
        if self.size > MAX_LENGTH:
            raise SpecError(f"a space may hold at most 2**63 - 1 trials; this one has {self.size}")
        if not isinstance(axes, Space):
            _warn_of_repeats(self.parts)
        self._starts = np.cumsum([0, *sizes], dtype=np.int64)
        self.kinds: dict[str, str] = {name: self._kind_of(name) for name in self.names}

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> dict[str, Any]:
        """Return trial ``i`` as a dict of plain Python values; absent axes are left out."""
        i = range(self.size)[i]
        columns, present = self.columns([i]), self.present([i])
        return {
            name: column[0] if column.dtype == object else column[0].item()
            for name, column in columns.items()
            if present[name][0]
        }

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[i] for i in range(self.size))

    def __repr__(self) -> str:
        parts = (
            " x ".join(f"{name} ({len(axis)})" for name, axis in part.items()) or "no axes"
            for part in self.parts
        )
        return f"Space({self.size} trials: {' + '.join(parts)})"

    def columns(self, ids: Any, fill: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
        """Decode a block of trial numbers, one array an axis.

        Parameters
        ----------
        ids : (n,) array of int
            Trial numbers in ``[0, size)``, in any order.
        fill : dict, optional
            Axis name -> the value for trials of a union that do not have this axis.

        Returns
        -------
        dict of str to (n,) array
            float64, int64, bool, or object for names. Where a trial does not have
            the axis and ``fill`` does not say what to put there, a real axis holds NaN; any other
            axis becomes an object array that holds None there.
        """
        ids, parts = self._located(ids)
        columns = {
            name: self._blank(name, ids.shape, (fill or {}).get(name)) for name in self.names
        }
        for k, part in enumerate(self.parts):
            here = np.flatnonzero(parts == k)
            rest = ids[here] - self._starts[k]
            for name, axis in reversed(part.items()):
                rest, digits = np.divmod(rest, len(axis))
                columns[name][here] = take(axis, digits)
        return columns

    def present(self, ids: Any) -> dict[str, np.ndarray]:
        """Tell which trials have which axis; only a union of unlike parts has gaps.

        Parameters
        ----------
        ids : (n,) array of int
            Trial numbers in ``[0, size)``, in any order.

        Returns
        -------
        dict of str to (n,) array of bool

        Examples
        --------
        >>> space = Space([{"lr": [0.1]}, {"lr": [0.1], "momentum": [0.9]}])
        >>> space.present([0, 1])["momentum"]
        array([False,  True])
        """
        _, parts = self._located(ids)
        return {name: np.array([name in part for part in self.parts])[parts] for name in self.names}

    def part_of(self, i: int) -> dict[str, Sequence]:
        """Return the axes of the product that trial ``i`` belongs to.

        Examples
        --------
        >>> Space([{"lr": [0.1, 0.2]}, {"lr": [1.0]}]).part_of(2)
        {'lr': (1.0,)}
        """
        _, (k,) = self._located([i])
        return self.parts[k]

    def values_of(self, name: str) -> Iterator[Any]:
        """Yield the values of an axis in the order of the parts, repeated ones included.

        Examples
        --------
        >>> list(Space([{"lr": [0.1, 0.01]}, {"lr": [0.1]}]).values_of("lr"))
        [0.1, 0.01, 0.1]
        """
        check_names([name], self.names)
        return itertools.chain.from_iterable(part[name] for part in self.parts if name in part)

    def _located(self, ids: Any) -> tuple[np.ndarray, np.ndarray]:
        """Check trial numbers and find the part of the union that each lies in."""
        array = np.asarray(ids)
        if array.size == 0:
            array = array.astype(np.int64)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise SpecError(f"trial numbers must be a 1-D array of integers; got {ids!r}")
        if array.size and not 0 <= array.min() <= array.max() < self.size:
            raise IndexError(f"trial numbers must lie in [0, {self.size}); got {ids!r}")
        array = array.astype(np.int64)
        return array, np.searchsorted(self._starts, array, side="right") - 1

    def _blank(self, name: str, shape: tuple[int, ...], gap: Any) -> np.ndarray:
        """Allocate a column whose dtype is the same for every block of the space."""
        kind = self.kinds[name]
        if gap is not None:
            kind = common_kind(f"axis {name!r}", {kind, kind_of(gap)})
        elif kind == "real":
            gap = math.nan
        elif any(name not in part for part in self.parts):
            kind = "name"
        dtype = DTYPES.get(kind, object)
        return np.full(shape, 0 if gap is None and dtype is not object else gap, dtype)

    def _kind_of(self, name: str) -> str:
        kinds = {kind_of(part[name][0]) for part in self.parts if name in part}
        return common_kind(f"axis {name!r}", kinds)


def check_names(names: Iterable[str], allowed: Iterable[str], what: str = "axis") -> None:
    """Refuse the first of ``names`` that is not allowed, and suggest the nearest one that is.

    Raises
    ------
    SpecError
        A name is not among ``allowed``.

    Examples
    --------
    >>> check_names(["lr", "bta1"], ["lr", "beta1", "beta2"])
    Traceback (most recent call last):
    fastopt.errors.SpecError: unknown axis 'bta1'; did you mean 'beta1'? Allowed: lr, beta1, beta2
    """
    allowed = list(allowed)
    for name in names:
        if name not in allowed:
            hint = did_you_mean(name, allowed) or "."
            raise SpecError(f"unknown {what} {name!r}{hint} Allowed: {', '.join(allowed)}")


def _checked_parts(axes: Any) -> tuple[dict[str, Sequence], ...]:
    if isinstance(axes, Space):
        return axes.parts
    parts = [axes] if isinstance(axes, Mapping) else axes
    if not isinstance(parts, list | tuple) or not parts:
        raise SpecError(
            f"a space is a dict of axes, or a list of one such dict or more; got {axes!r}"
        )
    for part in parts:
        if not isinstance(part, Mapping):
            raise SpecError(f"each part of a union must be a dict of axes; got {part!r}")
        for name in part:
            if not isinstance(name, str) or not name:
                raise SpecError(f"an axis is named by a non-empty string; got {name!r}")
    return tuple({name: as_axis(f"axis {name!r}", part[name]) for name in part} for part in parts)


def _warn_of_repeats(parts: Iterable[Mapping[str, Sequence]]) -> None:
    for name, axis in itertools.chain.from_iterable(part.items() for part in parts):
        again = repeated(axis)
        if again:
            shown = ", ".join(map(repr, again[:5]))
            warnings.warn(
                f"axis {name!r} lists {shown} more than once; each copy is trained",
                SweepWarning,
                stacklevel=3,
            )
