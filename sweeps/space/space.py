"""Axes in, trials out: a grid that is decoded from trial numbers and never materialised.

Trial ``i`` of a product of axes is the number ``i`` in mixed radix: each digit picks the value of
one axis, and the last axis varies fastest (the order of :func:`itertools.product`). A union of
products numbers its parts one after the other. Axes that are tied together (:func:`zipped`,
designs) share one digit. So a grid of 2**40 trials costs nothing, and neither does a slice of it.
"""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np

from fastopt.errors import SpecError, SweepWarning, did_you_mean, shortened
from sweeps.common.limits import MAX_LENGTH, check_name, spaced_ids
from sweeps.space.axes import (
    Tied,
    as_axis,
    common_kind,
    kind_of,
    repeated_values,
    representatives,
    support,
    take,
)
from sweeps.space.conditions import When, expand_conditions
from sweeps.space.designs import random_order

DTYPES: dict[str, type] = {"integer": np.int64, "real": np.float64, "boolean": np.bool_}
"""Sort of value -> dtype of its column; everything else is object."""

MOST_SAMPLED = 2**12
"""Trials, or positions of an axis, that are sampled where there are too many to look at all."""


class Space:
    """A table of trials: the product of some axes, or a union of such products.

    Parameters
    ----------
    axes : dict, list of dict or Space
        Axis name -> its values: a list, tuple, range, 1-D array, :func:`linspace`,
        :func:`geomspace`, draws (:func:`uniform`, ...), or a single value. Values are real numbers,
        integers, booleans or names (strings, or objects of :mod:`fastopt.schedules`), one sort an
        axis; integers among reals become reals. Axes that advance together come from
        :func:`zipped`, :func:`draws`, :func:`sobol` or :func:`latin_hypercube`; an axis that only
        some trials have from :func:`when`. A list of dicts is the union of their products, in
        order.

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
    >>> from sweeps import geomspace
    >>> space = Space({"optimizer": ["sgd", "adam"], "lr": geomspace(1e-4, 1, 5)})
    >>> len(space), space.names
    (10, ('optimizer', 'lr'))
    >>> space[7]
    {'optimizer': 'adam', 'lr': 0.01}
    >>> space.columns([0, 1, 7])["lr"]
    array([0.0001, 0.001 , 0.01  ])
    >>> space[2:4]
    Space(2 of 10 trials: optimizer (2) x lr (5))
    >>> Space({f"x{i}": range(2) for i in range(40)}).size == 2**40
    True
    """

    def __init__(self, axes: Mapping[str, Any] | Sequence[Mapping[str, Any]] | Space) -> None:
        declared = _check_parts(axes)
        self.parts: tuple[dict[str, Sequence], ...] = tuple(
            itertools.chain.from_iterable(map(expand_conditions, declared))
        )
        self.names: tuple[str, ...] = tuple(dict.fromkeys(itertools.chain(*declared)))
        self._radices = [_radices(part) for part in self.parts]
        sizes = [math.prod(radices.values()) for radices in self._radices]
        if sum(sizes) > MAX_LENGTH:
            raise SpecError(f"a space may hold at most 2**63 - 1 trials; this one has {sum(sizes)}")
        self._starts = np.cumsum([0, *sizes], dtype=np.int64)
        self._rows: range | np.ndarray = range(sum(sizes))
        if isinstance(axes, Space):
            self.names, self._rows = axes.names, axes._rows
        else:
            _warn_of_repeats(declared)
        self.kinds: dict[str, str] = {name: self._kind_of(name) for name in self.names}

    @property
    def size(self) -> int:
        """Number of trials."""
        return len(self._rows)

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, i: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, i: slice) -> Space: ...
    def __getitem__(self, i: int | slice) -> dict[str, Any] | Space:
        """Return trial ``i`` as a dict of plain values without absent axes, or a slice as a Space.

        Trials of a slice are numbered from 0 again.
        """
        if isinstance(i, slice):
            return self._select(self._rows[i])
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
            " x ".join(f"{'&'.join(names)} ({n})" for names, n in radices.items()) or "no axes"
            for radices in self._radices
        )
        total = self._starts[-1]
        trials = f"{self.size} trials" if self.size == total else f"{self.size} of {total} trials"
        return f"Space({trials}: {' + '.join(parts)})"

    def sample(self, n: int, seed: int = 0) -> Space:
        """Return ``n`` different trials in random order, as a space of their own.

        Parameters
        ----------
        n : int
            At most ``len(self)``.
        seed : int
            Decides the order. The sample of a smaller ``n`` is its beginning while the space holds
            more than ``2 n`` trials.

        Returns
        -------
        Space

        Raises
        ------
        SpecError
            ``n`` or ``seed`` is not an integer in its range.

        Examples
        --------
        >>> from sweeps import geomspace
        >>> space = Space({"lr": geomspace(1e-6, 1, 2**30), "seed": range(1024)})
        >>> space.size == 2**40, space.sample(100, seed=1).size
        (True, 100)
        """
        picked = random_order(n, self.size, seed)
        return self._select(self._trials(picked))

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
        ids, parts = self._locate(ids)
        columns = {
            name: self._empty_column(name, ids.shape, (fill or {}).get(name)) for name in self.names
        }
        for k, part in enumerate(self.parts):
            here = slice(None) if len(self.parts) == 1 else np.flatnonzero(parts == k)
            rest = ids[here] - self._starts[k]
            for names, length in reversed(self._radices[k].items()):
                rest, digits = np.divmod(rest, length)
                for name in names:
                    columns[name][here] = take(part[name], digits)
        return columns

    def present(self, ids: Any) -> dict[str, np.ndarray]:
        """Tell which trials have which axis: all of them, unless the parts of a union differ.

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
        _, parts = self._locate(ids)
        return {name: np.array([name in part for part in self.parts])[parts] for name in self.names}

    def part_of(self, i: int) -> dict[str, Sequence]:
        """Return the axes of the product that trial ``i`` belongs to.

        Examples
        --------
        >>> Space([{"lr": [0.1, 0.2]}, {"lr": [1.0]}]).part_of(2)
        {'lr': (1.0,)}
        """
        _, (k,) = self._locate([i])
        return self.parts[k]

    def values_of(self, name: str) -> Iterator[Any]:
        """Yield the values an axis can take, in the order of the parts, repeated ones included.

        Examples
        --------
        >>> list(Space([{"lr": [0.1, 0.01]}, {"lr": [0.1]}]).values_of("lr"))
        [0.1, 0.01, 0.1]
        """
        check_names([name], self.names)
        return itertools.chain.from_iterable(
            support(part[name]) for part in self.parts if name in part
        )

    def every_value(self, crossed: Iterable[str] = ()) -> np.ndarray:
        """Return numbers of trials that have every value of every axis, one axis at a time.

        An axis that is computed, such as a range, is represented by its extremes. Tied axes that
        are crossed, and a slice or sample, are represented by a few thousand trials.

        Parameters
        ----------
        crossed : names
            Axes whose values are combined with those of all other axes.

        Returns
        -------
        (n,) array of int64
            Distinct, in increasing order.

        Examples
        --------
        >>> space = Space({"optimizer": ["sgd", "adam"], "lr": [0.1, 0.2, 0.3], "seed": range(9)})
        >>> [tuple(space[i].values()) for i in space.every_value()]
        [('sgd', 0.1, 0), ('sgd', 0.1, 8), ('sgd', 0.2, 0), ('sgd', 0.3, 0), ('adam', 0.1, 0)]
        >>> len(space.every_value(crossed=["optimizer"]))
        8
        """
        if not isinstance(self._rows, range) or self._rows != range(self._starts[-1]):
            return spaced_ids(self.size, MOST_SAMPLED)
        ids, crossed = [], set(crossed)
        for part, radices, start in zip(self.parts, self._radices, self._starts.tolist()):
            deciding, others = np.array([start]), [np.zeros(1, np.int64)]
            stride = math.prod(radices.values())
            for names, length in radices.items():
                stride //= length
                offsets = stride * _representatives(part, names, crossed)
                if crossed.isdisjoint(names):
                    others.append(offsets)
                else:
                    deciding = np.add.outer(deciding, offsets).ravel()
            ids += [np.add.outer(deciding, offsets).ravel() for offsets in others]
        return np.unique(np.concatenate(ids))

    def _locate(self, ids: Any) -> tuple[np.ndarray, np.ndarray]:
        """Check trial numbers; return them in the whole union and the part that each lies in."""
        array = np.asarray(ids)
        if array.size == 0:
            array = array.astype(np.int64)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise SpecError(f"trial numbers must be a 1-D array of integers; got {shortened(ids)}")
        if array.size and not 0 <= array.min() <= array.max() < self.size:
            raise IndexError(f"trial numbers must lie in [0, {self.size}); got {shortened(ids)}")
        array = self._trials(array.astype(np.int64))
        if len(self.parts) == 1:
            return array, np.zeros(array.size, np.int64)
        return array, np.searchsorted(self._starts, array, side="right") - 1

    def _trials(self, ids: np.ndarray) -> np.ndarray:
        """Return the numbers in the whole union of these trials of the selection."""
        rows = self._rows
        return rows.start + rows.step * ids if isinstance(rows, range) else rows[ids]

    def _select(self, rows: range | np.ndarray) -> Space:
        chosen = copy.copy(self)
        chosen._rows = rows
        return chosen

    def _empty_column(self, name: str, shape: tuple[int, ...], gap: Any) -> np.ndarray:
        """Allocate a column whose dtype is the same for every block of the space."""
        kind = self.kinds[name]
        if gap is not None:
            kind = common_kind(f"axis {shortened(name)}", {kind, kind_of(gap)})
        elif kind == "real":
            gap = math.nan
        elif any(name not in part for part in self.parts):
            kind = "name"
        dtype = DTYPES.get(kind, object)
        return np.full(shape, 0 if gap is None and dtype is not object else gap, dtype)

    def _kind_of(self, name: str) -> str:
        kinds = {kind_of(part[name][0]) for part in self.parts if name in part}
        return common_kind(f"axis {shortened(name)}", kinds)


def check_names(names: Iterable[str], allowed: Iterable[str], what: str = "axis") -> None:
    """Refuse the first of ``names`` that is not allowed, and suggest the nearest one that is.

    >>> check_names(["lr", "bta1"], ["lr", "beta1", "beta2"])
    Traceback (most recent call last):
    fastopt.errors.SpecError: unknown axis 'bta1' (did you mean 'beta1'?). Allowed: lr, beta1, ...
    """
    allowed = list(allowed)
    for name in names:
        if name not in allowed:
            hint = did_you_mean(name, allowed)
            raise SpecError(
                f"unknown {what} {shortened(name)}{hint}. Allowed: {', '.join(allowed)}"
            )


def _radices(part: Mapping[str, Sequence]) -> dict[tuple[str, ...], int]:
    """Return the radix of each digit of a product's trial numbers: axes of one digit -> length."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, axis in part.items():
        groups.setdefault(axis.group if isinstance(axis, Tied) else (name,), []).append(name)
    for names in groups.values():
        lengths = {name: len(part[name]) for name in names}
        if len(set(lengths.values())) > 1:
            raise SpecError(f"axes that are tied together must have one length; got {lengths}")
    return {tuple(names): len(part[names[0]]) for names in groups.values()}


def _representatives(
    part: Mapping[str, Sequence], names: tuple[str, ...], crossed: set[str]
) -> np.ndarray:
    """Return positions of the axes of one digit at which each has its representative values."""
    if len(names) > 1 and not crossed.isdisjoint(names):
        return np.arange(min(len(part[names[0]]), MOST_SAMPLED))
    return np.unique(np.concatenate([representatives(part[name]) for name in names]))


def _check_parts(axes: Any) -> tuple[dict[str, Any], ...]:
    if isinstance(axes, Space):
        return axes.parts
    parts = [axes] if isinstance(axes, Mapping) else axes
    if not isinstance(parts, list | tuple) or not parts:
        raise SpecError(
            f"a space is a dict of axes, or a list of one such dict or more; got {shortened(axes)}"
        )
    for part in parts:
        if not isinstance(part, Mapping):
            raise SpecError(f"each part of a union must be a dict of axes; got {shortened(part)}")
        for name in part:
            check_name(name)
    return tuple({name: _check_axis(name, part[name]) for name in part} for part in parts)


def _check_axis(name: str, given: Any) -> Any:
    return given if isinstance(given, When) else as_axis(f"axis {shortened(name)}", given)


def _warn_of_repeats(parts: Iterable[Mapping[str, Any]]) -> None:
    for name, given in itertools.chain.from_iterable(part.items() for part in parts):
        again = repeated_values(given.axis if isinstance(given, When) else given)
        if again:
            shown = ", ".join(map(repr, again[:5]))
            warnings.warn(
                f"axis {shortened(name)} lists {shown} more than once; each copy is trained",
                SweepWarning,
                stacklevel=3,
            )
