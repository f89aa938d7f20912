"""Rows of data in the order in which a trial visits them, minibatch by minibatch."""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from fastopt.compile import jitable
from sweeps.philox import DRAW, permute, uniforms

__all__ = ["ONCE", "SHUFFLES", "copy_row", "gather", "reorder", "rows_like", "rows_of"]

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


def copy_row(target, i, source, j):
    """Copy row ``j`` of ``source`` to row ``i`` of ``target`` (or one element, in 1-D)."""
    target[i] = source[j]


@overload(copy_row)
def _copy_row(target, i, source, j):
    if target.ndim == 1:

        def copy_element(target, i, source, j):
            target[i] = source[j]

        return copy_element

    def copy_columns(target, i, source, j):
        for k in range(source.shape[1]):
            target[i, k] = source[j, k]

    return copy_columns


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


@jitable
def gather(s, X, y, low, high):
    """Copy rows ``order[low:high]`` to the front of the minibatch buffers."""
    for i in range(low, high):
        copy_row(s.X, i - low, X, s.order[i])
        copy_row(s.y, i - low, y, s.order[i])
