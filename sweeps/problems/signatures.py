"""One signature for all landscapes: functions of scalars or arrays, with or without a gradient."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastopt.compile import adopted, inlinable


@dataclass(frozen=True)
class Extras:
    """Which arguments a function takes after its coordinates."""

    timed: bool
    seeded: bool
    auxed: bool

    def __len__(self) -> int:
        return self.timed + self.seeded + self.auxed

    def first(self, aux: tuple) -> tuple:
        """Return those arguments as they are at the first step, for a call in Python."""
        given = ((self.timed, 0.0), (self.seeded, np.uint64(0)), (self.auxed, aux))
        return tuple(value for wanted, value in given if wanted)


@inlinable
def _with(value):
    """Hand an argument on."""
    return (value,)


@inlinable
def _without(value):
    """Leave an argument out."""
    return ()


@functools.lru_cache(maxsize=32)  # it holds functions of the user
def uniform(
    function: Callable, dim: int, vector: bool, extras: Extras, with_grad: bool, step: float
) -> Callable:
    """Return ``function`` behind the signature of :class:`Landscape`, the same object each time.

    It reads what ``function`` is at each call; a sweep freezes it.
    """
    function = adopted(function, inlinable)
    times, seeds, arrays = (
        _with if wanted else _without for wanted in (extras.timed, extras.seeded, extras.auxed)
    )

    @inlinable
    def of_scalars(x, t, seed, aux):
        return function(*(x + times(t) + seeds(seed) + arrays(aux)))

    @inlinable
    def of_array(x, grad, t, seed, aux):
        return function(*((x, grad) + times(t) + seeds(seed) + arrays(aux)))  # noqa: RUF005

    @inlinable
    def of_array_alone(x, t, seed, aux):
        return function(*((x,) + times(t) + seeds(seed) + arrays(aux)))  # noqa: RUF005

    if vector:
        return of_array if with_grad else _array_differences(of_array_alone, step)
    return of_scalars if with_grad else _scalar_differences(of_scalars, dim, step)


def _array_differences(value: Callable, step: float) -> Callable:
    """Add a gradient by central differences to a function of an array."""

    @inlinable
    def value_and_grad(x, grad, t, seed, aux):
        for d in range(x.size):
            middle = x[d]
            x[d] = middle + step
            above = value(x, t, seed, aux)
            x[d] = middle - step
            grad[d] = (above - value(x, t, seed, aux)) / (2.0 * step)
            x[d] = middle
        return value(x, t, seed, aux)

    return value_and_grad


def _scalar_differences(value: Callable, dim: int, step: float) -> Callable:
    """Add a gradient by central differences to a function of scalars."""
    slopes = _slopes(value, dim, step)

    @inlinable
    def value_and_grad(x, t, seed, aux):
        return value(x, t, seed, aux), slopes(x, t, seed, aux)

    return value_and_grad


def _slopes(value: Callable, count: int, step: float) -> Callable:
    """Close over the differences by the first ``count`` coordinates: a tuple needs unrolling."""
    move = _moved(count - 1)

    @inlinable
    def last(x, t, seed, aux):
        above, below = value(move(x, step), t, seed, aux), value(move(x, -step), t, seed, aux)
        return ((above - below) / (2.0 * step),)

    if count == 1:
        return last
    before = _slopes(value, count - 1, step)

    @inlinable
    def all_of_them(x, t, seed, aux):
        return before(x, t, seed, aux) + last(x, t, seed, aux)

    return all_of_them


@functools.cache
def _moved(d: int) -> Callable:
    """Return ``move(x, by)``, the tuple ``x`` with element ``d`` moved."""
    if d == 0:
        return inlinable(lambda x, by: (x[0] + by,) + x[1:])  # noqa: RUF005
    rest = _moved(d - 1)
    return inlinable(lambda x, by: (x[0],) + rest(x[1:], by))  # noqa: RUF005
