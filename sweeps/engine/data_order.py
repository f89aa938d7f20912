"""Rows of data in the order in which a trial visits them, minibatch by minibatch."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from fastopt.compile import jitable
from fastopt.machine.calls import viewed
from sweeps.common.philox import DRAW, permute, uniforms

SHUFFLES = {"epoch": 0, "once": 1, "none": 2, "replacement": 3}
ONCE, NONE, REPLACEMENT = SHUFFLES["once"], SHUFFLES["none"], SHUFFLES["replacement"]


@intrinsic
def rows_of(typingctx, table, like, n):
    """Split a matrix into a tuple of its first ``len(like)`` rows, each cut to ``n`` elements.

    They count no references: the matrix has to stay alive. Slices took 60 ms to compile for each
    number of rows.
    """
    row = types.Array(table.dtype, 1, "C")

    def codegen(context, builder, signature, args):
        matrix = make_array(table)(context, builder, args[0])
        size = context.cast(builder, args[2], signature.args[2], types.intp)
        rows = [make_array(row)(context, builder) for _ in like]
        for k, made in enumerate(rows):
            where = [size.type(k), size.type(0)]
            populate_array(
                made,
                data=cgutils.get_item_pointer(
                    context, builder, table, matrix, where, wraparound=False
                ),
                shape=[size],
                strides=[matrix.itemsize],
                itemsize=matrix.itemsize,
                meminfo=None,
            )
        return context.make_tuple(
            builder, signature.return_type, [made._getvalue() for made in rows]
        )

    return types.UniTuple(row, len(like))(table, like, n), codegen


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
