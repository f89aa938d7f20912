"""Loops over matrices that lie in the parameters and the scratch of a network."""

from __future__ import annotations

import functools
from collections.abc import Callable

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array, populate_array

from fastopt.compile import jitable


@intrinsic
def view(typingctx, a, offset, shape):
    """View numbers of the C-contiguous array ``a``, which must outlive the view, in this shape.

    ``reshape`` calls a function of Numba's that tells whether an array is contiguous: 4 % of a step
    of 64-32-10 on 32 rows, which takes fifteen such views.
    """
    kind = types.Array(a.dtype, len(shape), "C")

    def codegen(context, builder, signature, args):
        source = make_array(signature.args[0])(context, builder, args[0])
        sizes = cgutils.unpack_tuple(builder, args[2])
        strides = [source.itemsize]
        for size in sizes[:0:-1]:
            strides.insert(0, builder.mul(strides[0], size))
        result = make_array(kind)(context, builder)
        populate_array(
            result,
            data=builder.gep(source.data, [args[1]]),
            shape=sizes,
            strides=strides,
            itemsize=source.itemsize,
            meminfo=None,
        )
        return result._getvalue()

    return kind(a, types.intp, types.UniTuple(types.intp, len(shape))), codegen


def matrix(a, offset, rows, columns):
    """View ``rows * columns`` numbers of the flat array ``a`` as a C-contiguous matrix."""
    return a[offset : offset + rows * columns].reshape(rows, columns)


@overload(matrix, inline="always")
def _matrix(a, offset, rows, columns):
    return lambda a, offset, rows, columns: view(a, offset, (rows, columns))


def flat(a):
    """View all numbers of a C-contiguous matrix as a flat array."""
    return a.reshape(a.size)


@overload(flat, inline="always")
def _flat(a):
    return (lambda a: view(a, 0, (a.size,))) if a.layout == "C" else None


@functools.cache
def elementwise(value: Callable) -> Callable:
    """Make a function that puts ``value(number)`` in the place of each number of a matrix."""

    @jitable
    def apply(z):
        numbers = flat(z)
        for k in range(numbers.size):
            numbers[k] = value(numbers[k])

    return apply


@jitable
def add_bias(z, bias):
    """Add ``bias`` to every row of ``z``, in place."""
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            z[i, j] += bias[j]


@jitable
def add(a, b):
    """Add the matrix ``b`` to ``a``, in place."""
    numbers, more = flat(a), flat(b)
    for k in range(numbers.size):
        numbers[k] += more[k]


@jitable
def transpose(a, out):
    """Write the transposed matrix ``a`` to ``out``."""
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[j, i] = a[i, j]


@jitable
def sum_rows(a, out):
    """Write the column sums of ``a`` to ``out``."""
    for j in range(a.shape[1]):
        out[j] = a[0, j]
    # By four: each sum that goes through memory waits for the one before.
    whole = 1 + (a.shape[0] - 1) // 4 * 4
    for i in range(1, whole, 4):
        for j in range(a.shape[1]):
            out[j] = (((out[j] + a[i, j]) + a[i + 1, j]) + a[i + 2, j]) + a[i + 3, j]
    for i in range(whole, a.shape[0]):
        for j in range(a.shape[1]):
            out[j] += a[i, j]


@jitable
def scale(z, factor):
    """Multiply every element of the matrix ``z`` by ``factor``, in place."""
    numbers, c = flat(z), z.dtype.type(factor)
    for k in range(numbers.size):
        numbers[k] *= c


@jitable
def copy_matrix(out, a):
    """Copy the matrix ``a`` to ``out``."""
    to, source = flat(out), flat(a)
    for k in range(to.size):
        to[k] = source[k]


@jitable
def multiply(a, factors):
    """Multiply the matrix ``a`` by ``factors``, element by element, in place."""
    numbers, by = flat(a), flat(factors)
    for k in range(numbers.size):
        numbers[k] *= by[k]
