"""Rows of data in the order in which a trial visits them, minibatch by minibatch."""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from fastopt.compile import jitable
from sweeps.common.philox import DRAW, permute, uniforms

SHUFFLES = {"epoch": 0, "once": 1, "none": 2, "replacement": 3}
ONCE, NONE, REPLACEMENT = SHUFFLES["once"], SHUFFLES["none"], SHUFFLES["replacement"]


def rows_of(table, like, n):
    """Split a matrix into a tuple of its first ``len(like)`` rows, each cut to ``n`` elements."""
    return tuple(table[k, :n] for k in range(len(like)))


@overload(rows_of)
def _rows_of(table, like, n):
    if len(like) == 1:
        return lambda table, like, n: (table[0][:n],)
    return lambda table, like, n: (table[0][:n],) + rows_of(table[1:], like[1:], n)  # noqa: RUF005


def rows_like(n, a):
    """Allocate ``n`` rows shaped like those of ``a``."""
    return np.empty((n, *a.shape[1:]), a.dtype)


@overload(rows_like)
def _rows_like(n, a):
    if a.ndim == 1:
        return lambda n, a: np.empty(n, a.dtype)
    return lambda n, a: np.empty((n, a.shape[1]), a.dtype)


def copy_rows(target, source, order, low, high):
    """Copy rows ``order[low:high]`` of ``source`` to the front of ``target``."""
    target[: high - low] = source[order[low:high]]


@overload(copy_rows)
def _copy_rows(target, source, order, low, high):
    # All rows in one function: a call for each took 0.8 us of a minibatch of 32, not 0.1, since
    # Numba counts references to the arrays of a call.
    if target.ndim == 1:

        def copy_elements(target, source, order, low, high):
            for i in range(low, high):
                target[i - low] = source[order[i]]

        return copy_elements

    def copy(target, source, order, low, high):
        for i in range(low, high):
            a, b = source[order[i]], target[i - low]
            for k in range(a.size):
                b[k] = a[k]

    return copy


@jitable
def reorder(order, kind, seed, epoch):
    """Write the order in which the rows are visited in this epoch."""
    n = order.size
    if kind == REPLACEMENT:
        for i in range(n):
            u = uniforms(np.uint64(seed), DRAW, np.uint64(epoch), np.uint64(i))[0]
            order[i] = int(u * n)
    elif kind == NONE:
        for i in range(n):
            order[i] = i
    elif kind != ONCE or epoch == 0:
        permute(order, np.uint64(seed), np.uint64(epoch))
