r"""Multi-layer perceptrons of any depth, and the linear models that are MLPs of depth zero.

Layer l maps :math:`A_{l-1}` of shape (rows, n_{l-1}) to :math:`A_l = \phi(A_{l-1} W_l + b_l)`; the
last layer is linear and its loss brings its own link. Parameters lie flat in ``theta`` as
``W_1, b_1, W_2, b_2, ...``, each ``W_l`` of shape ``(n_{l-1}, n_l)`` in C order.

``aux = (sizes, activation)``: layer widths from input to output, and the number of the hidden
activation in :data:`ACTIVATIONS`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np

from fastopt import maths
from fastopt.compile import inlinable, jitable
from fastopt.errors import SpecError, shortened
from fastopt.maths.bits import rectified
from sweeps.common.philox import fill_uniform
from sweeps.problems.small_matmul import product

__all__ = ["ACTIVATIONS", "LOSSES", "functions", "glorot_uniform", "n_parameters", "work_per_row"]

ACTIVATIONS = {"relu": 0, "tanh": 1}
RELU = ACTIVATIONS["relu"]
# Rows evaluated at a time: 256 rows of a 64-32-10 net stay in the second-level cache.
BLOCK = 256
# Parameters that no machine holds, and whose bytes an int64 still counts, scratch included.
MOST_PARAMETERS = 1 << 45
# Multiplications of a product up to which ours beat BLAS.
SMALL = 1 << 20


def n_parameters(sizes: tuple[int, ...]) -> int:
    """Count weights and biases of layers of these widths.

    Raises
    ------
    SpecError
        They are more than any machine holds.

    Examples
    --------
    >>> n_parameters((64, 32, 10))
    2410
    """
    count = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
    if count >= MOST_PARAMETERS:
        raise SpecError(
            f"hidden: layers of widths {shortened(sizes)} have more than {MOST_PARAMETERS:,} "
            "parameters, which no memory can hold; make them narrower"
        )
    return count


def work_per_row(sizes: tuple[int, ...]) -> int:
    """Scratch numbers a row needs: every layer's output, one error signal, transposed weights.

    The weights, those of the largest layer but the first, are a share of each of ``BLOCK`` rows.

    >>> work_per_row((64, 32, 10))
    76
    """
    turned = max((n * m for n, m in itertools.pairwise(sizes[1:])), default=0)
    return sum(sizes[1:]) + max(sizes[1:]) + -(-turned // BLOCK)


@inlinable
def matrix(a, offset, rows, columns):
    """View ``rows * columns`` numbers of the flat array ``a`` as a C-contiguous matrix."""
    return a[offset : offset + rows * columns].reshape(rows, columns)


@jitable
def glorot_uniform(theta, aux, seed):
    """Draw weights from U(-r, r), r = sqrt(6 / (fan_in + fan_out)); biases start at zero.

    References
    ----------
    X. Glorot and Y. Bengio, *Understanding the difficulty of training deep feedforward neural
    networks*, AISTATS 2010.
    """
    sizes = aux[0]
    offset = 0
    for j in range(theta.size):
        theta[j] = 0
    for layer in range(sizes.size - 1):
        n, m = sizes[layer], sizes[layer + 1]
        r = math.sqrt(6.0 / (n + m))
        fill_uniform(theta[offset : offset + n * m], -r, r, seed, offset)
        offset += (n + 1) * m


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
def activate(z, kind):
    """Apply the hidden activation to ``z`` in place; a NaN stays a NaN."""
    flat = z.reshape(z.size)
    if kind == RELU:
        for i in range(flat.size):
            flat[i] = rectified(flat[i])
    else:
        for i in range(flat.size):
            flat[i] = maths.tanh(flat[i])


@jitable
def backpropagate(a, error, kind):
    """Turn the activations ``a`` into ``error * activation'``, in place."""
    one, zero = a.dtype.type(1), a.dtype.type(0)
    flat, e = a.reshape(a.size), error.reshape(error.size)
    if kind == RELU:
        for i in range(flat.size):
            flat[i] = e[i] if flat[i] > zero else zero * e[i]
    else:
        for i in range(flat.size):
            flat[i] = e[i] * (one - flat[i] * flat[i])


@jitable
def forward(theta, X, aux, work):
    """Run all layers on the rows ``X``; outputs stay in ``work``, one layer after the other."""
    sizes, kind = aux[0], aux[1][0]
    rows = X.shape[0]
    weights, here = 0, 0
    inputs = X
    for layer in range(sizes.size - 1):
        n, m = sizes[layer], sizes[layer + 1]
        z = matrix(work, here, rows, m)
        w, bias = matrix(theta, weights, n, m), theta[weights + n * m : weights + (n + 1) * m]
        if rows * n * m <= SMALL:
            product(inputs, w, z, bias)
        else:
            np.dot(inputs, w, z)
            add_bias(z, bias)
        if layer < sizes.size - 2:
            activate(z, kind)
        inputs = z
        weights += (n + 1) * m
        here += rows * m


@jitable
def backward(theta, X, aux, grad, work):
    """Write the gradient, the output layer's error being where :func:`forward` left its output."""
    sizes, kind = aux[0], aux[1][0]
    rows, layers = X.shape[0], sizes.size - 1
    weights, here = theta.size, rows * (hidden_units(sizes) + sizes[layers])
    spare = here
    for layer in range(layers - 1, -1, -1):
        n, m = sizes[layer], sizes[layer + 1]
        weights -= (n + 1) * m
        here -= rows * m
        delta = matrix(work, here, rows, m)
        inputs = X if layer == 0 else matrix(work, here - rows * n, rows, n)
        w, slope = matrix(theta, weights, n, m), matrix(grad, weights, n, m)
        if rows * n * m <= SMALL:
            product(inputs.T, delta, slope, work[:0])
        else:
            np.dot(inputs.T, delta, slope)
        sum_rows(delta, grad[weights + n * m : weights + (n + 1) * m])
        if layer > 0:
            error = matrix(work, spare, rows, n)
            if rows * n * m <= SMALL:
                turned = matrix(work, work.size - n * m, m, n)
                transpose(w, turned)
                product(delta, turned, error, work[:0])
            else:
                np.dot(delta, w.T, error)
            backpropagate(inputs, error, kind)


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
def hidden_units(sizes):
    """Sum the widths of the hidden layers."""
    total = 0
    for layer in range(1, sizes.size - 1):
        total += sizes[layer]
    return total


@jitable
def softmax_cross_entropy(z, y):
    r"""Loss :math:`-\sum_i \log \mathrm{softmax}(z_i)_{y_i}`; ``z`` becomes its gradient.

    The error signal is that of the *sum*; callers divide by the number of rows.
    """
    rows, classes = z.shape
    loss, odds = 0.0, 1.0
    for i in range(rows):
        top = z[i, 0]
        for j in range(1, classes):
            top = z[i, j] if z[i, j] > top else top
        loss -= z[i, y[i]] - top
        for j in range(classes):
            z[i, j] -= top
    flat = z.reshape(z.size)
    for k in range(flat.size):
        flat[k] = maths.exp(flat[k])
    for i in range(rows):
        total = z[i, 0]
        for j in range(1, classes):
            total += z[i, j]
        # One logarithm for all rows, whose totals lie between 1 and the number of classes: 32 of
        # them took half of the time of this function.
        odds *= total
        if odds > 1e200:
            loss, odds = loss + math.log(odds), 1.0
        share = z.dtype.type(1) / total
        for j in range(classes):
            z[i, j] *= share
        z[i, y[i]] -= z.dtype.type(1)
    return loss + math.log(odds)


@jitable
def largest_score(z, y):
    """Count the rows whose largest score, the first of them, is that of their class."""
    hits = 0
    for i in range(z.shape[0]):
        best = 0
        for j in range(1, z.shape[1]):
            best = j if z[i, j] > z[i, best] else best
        hits += best == y[i]
    return hits


@jitable
def logistic_loss(z, y):
    r"""Binary cross-entropy, :math:`\log(1 + e^z) - y z`; ``z`` becomes its gradient."""
    one, zero = z.dtype.type(1), z.dtype.type(0)
    loss = 0.0
    for i in range(z.shape[0]):
        score = z[i, 0]
        tail = math.exp(-abs(score))
        loss += max(score, zero) - y[i] * score + math.log1p(tail)
        right = one / (one + tail)
        z[i, 0] = (right if score > zero else one - right) - y[i]
    return loss


@jitable
def positive_score(z, y):
    """Count the rows whose score is above zero just when their class is one."""
    hits = 0
    for i in range(z.shape[0]):
        hits += (z[i, 0] > 0) == (y[i] == 1)
    return hits


@jitable
def squared_error(z, y):
    r"""Squared error, the mean over outputs (torch's ``MSELoss``); ``z`` becomes its gradient."""
    outputs = z.shape[1]
    twice = z.dtype.type(2.0 / outputs)
    loss = 0.0
    for i in range(z.shape[0]):
        for j in range(outputs):
            z[i, j] -= y[i, j]
            loss += z[i, j] * z[i, j]
            z[i, j] *= twice
    return loss / outputs


@jitable
def none(z, y):
    """Stand for the hits of a regression, which has none."""
    return -1


@functools.cache
def functions(loss: str) -> tuple[Callable, Callable]:
    """Return ``loss_and_grad`` and ``evaluate`` of an MLP with this loss (see :data:`LOSSES`)."""
    output_loss, right = LOSSES[loss]

    @jitable
    def loss_and_grad(theta, X, y, aux, grad, work):
        rows, outputs = X.shape[0], aux[0][-1]
        forward(theta, X, aux, work)
        z = matrix(work, rows * hidden_units(aux[0]), rows, outputs)
        total = output_loss(z, y)
        scale(z, 1.0 / rows)
        backward(theta, X, aux, grad, work)
        return total / rows

    @jitable
    def evaluate(theta, X, y, aux, grad, work):
        outputs, hidden = aux[0][-1], hidden_units(aux[0])
        total, hits = 0.0, 0
        for low in range(0, X.shape[0], BLOCK):
            high = min(low + BLOCK, X.shape[0])
            forward(theta, X[low:high], aux, work)
            z = matrix(work, (high - low) * hidden, high - low, outputs)
            hits += right(z, y[low:high])
            total += output_loss(z, y[low:high])
        n = max(X.shape[0], 1)
        return total / n, (hits / n if hits >= 0 else np.nan)

    return loss_and_grad, evaluate


LOSSES: dict[str, tuple[Callable, Callable]] = {
    "softmax_cross_entropy": (softmax_cross_entropy, largest_score),
    "logistic": (logistic_loss, positive_score),
    "squared_error": (squared_error, none),
}
"""Name -> the loss of the outputs of some rows, which become its gradient, and their hits."""
