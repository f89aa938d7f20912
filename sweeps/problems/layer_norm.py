r"""Layer norm: the numbers of a row in a layer, brought to mean 0 and variance 1.

:math:`y = g\, \hat z + s` with :math:`\hat z = (z - \bar z) / \sqrt{v + 10^{-5}}`, mean and
variance (divided by the width) being those of the row; gain g and shift s are learned, a number for
each unit. As torch's ``nn.LayerNorm``.

References
----------
J. L. Ba, J. R. Kiros and G. E. Hinton, *Layer normalization*, arXiv:1607.06450.
"""

from __future__ import annotations

import math

from fastopt.compile import inlinable, jitable

EPSILON = 1e-5
"""Added to variances: torch's default."""


# Four sums at a time: one alone waits four cycles for each addition.
@inlinable
def mean_of(a):
    """Return the mean of a flat array."""
    zero = a.dtype.type(0)
    s0, s1, s2, s3 = zero, zero, zero, zero
    whole = a.size // 4 * 4
    for j in range(0, whole, 4):
        s0, s1, s2, s3 = s0 + a[j], s1 + a[j + 1], s2 + a[j + 2], s3 + a[j + 3]
    for j in range(whole, a.size):
        s0 += a[j]
    return ((s0 + s1) + (s2 + s3)) / a.dtype.type(a.size)


@inlinable
def mean_product(a, b):
    """Return the mean of the products of two flat arrays."""
    zero = a.dtype.type(0)
    s0, s1, s2, s3 = zero, zero, zero, zero
    whole = a.size // 4 * 4
    for j in range(0, whole, 4):
        s0, s1 = s0 + a[j] * b[j], s1 + a[j + 1] * b[j + 1]
        s2, s3 = s2 + a[j + 2] * b[j + 2], s3 + a[j + 3] * b[j + 3]
    for j in range(whole, a.size):
        s0 += a[j] * b[j]
    return ((s0 + s1) + (s2 + s3)) / a.dtype.type(a.size)


@jitable
def normalise(z, normal, inverse, gain, shift):
    """Turn ``z`` into its norm; keep its rows without gain and shift, and their 1 / deviation."""
    for i in range(z.shape[0]):
        row, kept = z[i], normal[i]
        mean = mean_of(row)
        for j in range(row.size):
            kept[j] = row[j] - mean
        deviation = math.sqrt(mean_product(kept, kept) + z.dtype.type(EPSILON))
        inverse[i] = z.dtype.type(1) / z.dtype.type(deviation)
        for j in range(row.size):
            kept[j] *= inverse[i]
            row[j] = gain[j] * kept[j] + shift[j]


@jitable
def backpropagate_norm(error, normal, inverse, gain, gain_slope, shift_slope):
    r"""Turn the error of a norm into that of its inputs; write the slopes of gain and shift.

    Of :math:`e_j = g_j \, \partial L / \partial y_j` the error of the inputs is
    :math:`(e - \bar e - \hat z \, \overline{e \hat z})` over the deviation.
    """
    for j in range(gain.size):
        gain_slope[j] = shift_slope[j] = 0
    for i in range(error.shape[0]):
        row, kept = error[i], normal[i]
        for j in range(row.size):
            gain_slope[j] += row[j] * kept[j]
            shift_slope[j] += row[j]
            row[j] *= gain[j]
        mean, along = mean_of(row), mean_product(row, kept)
        for j in range(row.size):
            row[j] = inverse[i] * (row[j] - mean - along * kept[j])
