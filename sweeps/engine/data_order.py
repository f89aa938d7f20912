"""Rows of data in the order in which a trial visits them, minibatch by minibatch."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from fastopt.compile import jitable
from fastopt.machine.calls import viewed
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


PAIRS = viewed(types.Array(types.int64, 1, "C"), types.Array(types.int64, 1, "C"))


# All rows in one function: a call for each took 0.8 us of a minibatch of 32, not 0.1, since Numba
# counts references to the arrays of a call.
@jitable
def copy_rows(target, source, order, low, high):
    """Copy rows ``order[low:high]`` of ``source`` to the front of ``target``, both raw."""
    if source.shape[1] == 2:  # labels, most of the time
        b, a = PAIRS((target, source))
        for i in range(low, high):
            b[i - low] = a[order[i]]
    else:
        for i in range(low, high):
            a_row, b_row = source[order[i]], target[i - low]
            for k in range(a_row.size):
                b_row[k] = a_row[k]


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
