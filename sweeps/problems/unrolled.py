"""Functions of tuples, unrolled: what lets a formula for any number of scalars become SIMD code.

A loop over a tuple's positions would read it through a switch. These close a function of ``n``
scalars over that of ``n - 1``; LLVM inlines the chain into straight code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from fastopt.compile import inlinable


@functools.cache
def each(function: Callable, n: int) -> Callable:
    """Return ``apply(x) -> (function(x[0]), ..., function(x[n - 1]))``, unrolled for kernels.

    >>> each(abs, 3)((-1, 2, -3))
    (1, 2, 3)
    """
    if n == 1:
        return inlinable(lambda x: (function(x[0]),))
    rest = each(function, n - 1)
    return inlinable(lambda x: (function(x[0]),) + rest(x[1:]))  # noqa: RUF005


@functools.cache
def total(n: int) -> Callable:
    """Return ``add(x) -> x[0] + ... + x[n - 1]``, unrolled for kernels.

    >>> total(3)((1, 2, 3))
    6
    """
    if n == 1:
        return inlinable(lambda x: x[0])
    rest = total(n - 1)
    return inlinable(lambda x: x[0] + rest(x[1:]))


@functools.cache
def scaled(n: int) -> Callable:
    """Return ``scale(a, x) -> (a * x[0], ..., a * x[n - 1])``, unrolled for kernels.

    >>> scaled(2)(3, (1, 2))
    (3, 6)
    """
    if n == 1:
        return inlinable(lambda a, x: (a * x[0],))
    rest = scaled(n - 1)
    return inlinable(lambda a, x: (a * x[0],) + rest(a, x[1:]))  # noqa: RUF005


@functools.cache
def separable(value: Callable, slope: Callable, dim: int) -> Callable:
    """Return ``f(*x)`` with the sum of ``value`` over the coordinates, and its gradient."""
    values, slopes, add = each(value, dim), each(slope, dim), total(dim)

    def f(*x):
        return add(values(x)), slopes(x)

    return f


@functools.cache
def added(n: int) -> Callable:
    """Return ``add(x, y) -> (x[0] + y[0], ..., x[n - 1] + y[n - 1])``, unrolled for kernels.

    >>> added(2)((1, 2), (3, 4))
    (4, 6)
    """
    if n == 1:
        return inlinable(lambda x, y: (x[0] + y[0],))
    rest = added(n - 1)
    return inlinable(lambda x, y: (x[0] + y[0],) + rest(x[1:], y[1:]))  # noqa: RUF005
