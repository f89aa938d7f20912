"""Loops over matrices that lie in the parameters and the scratch of a network."""

from __future__ import annotations

from fastopt.compile import inlinable, jitable

__all__ = ["add_bias", "copy_matrix", "matrix", "multiply", "scale", "sum_rows", "transpose"]


@inlinable
def matrix(a, offset, rows, columns):
    """View ``rows * columns`` numbers of the flat array ``a`` as a C-contiguous matrix."""
    return a[offset : offset + rows * columns].reshape(rows, columns)


@jitable
def add_bias(z, bias):
    """Add ``bias`` to every row of ``z``, in place."""
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            z[i, j] += bias[j]


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
    for i in range(1, a.shape[0]):
        for j in range(a.shape[1]):
            out[j] += a[i, j]


@jitable
def scale(z, factor):
    """Multiply every element of the matrix ``z`` by ``factor``, in place."""
    flat, c = z.reshape(z.size), z.dtype.type(factor)
    for k in range(flat.size):
        flat[k] *= c


@jitable
def copy_matrix(out, a):
    """Copy the matrix ``a`` to ``out``."""
    to, source = out.reshape(out.size), a.reshape(a.size)
    for k in range(to.size):
        to[k] = source[k]


@jitable
def multiply(a, factors):
    """Multiply the matrix ``a`` by ``factors``, element by element, in place."""
    flat, by = a.reshape(a.size), factors.reshape(factors.size)
    for k in range(flat.size):
        flat[k] *= by[k]
