r"""Multi-layer perceptrons of any depth, and the linear models that are MLPs of depth zero.

Layer l maps :math:`A_{l-1}` of shape (rows, n_{l-1}) to :math:`A_l = \phi(A_{l-1} W_l + b_l)`; the
last layer is linear and its loss brings its own link. Parameters lie flat in ``theta`` as
``W_1, b_1, W_2, b_2, ...``, each ``W_l`` of shape ``(n_{l-1}, n_l)`` in C order.

``aux = (sizes, activation, constants)``: layer widths from input to output, the code of the hidden
activation in :data:`sweeps.problems.activations.ACTIVATIONS`, and the constants of the loss.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from fastopt.compile import inlinable, jitable
from fastopt.errors import SpecError, shortened
from sweeps.problems.activations import find_activation, layers_of
from sweeps.problems.losses import LINKS, LOSSES, find_loss
from sweeps.problems.metrics import measure_of, measuring
from sweeps.problems.rows import (
    but_last_column,
    labels_of,
    last_column,
    mass,
    no_weights,
    plain_targets,
)
from sweeps.problems.small_matmul import product

__all__ = ["BLOCK", "Functions", "aux_of", "functions", "n_parameters", "work_per_row"]

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


def work_per_row(sizes: tuple[int, ...], activation: str = "relu") -> int:
    """Scratch numbers a row needs: every layer's output, one error signal, transposed weights.

    The weights, those of the largest layer but the first, are a share of each of ``BLOCK`` rows.
    Activations whose slopes need their inputs keep those as well.

    >>> work_per_row((64, 32, 10)), work_per_row((64, 32, 10), "gelu")
    (76, 108)
    """
    turned = max((n * m for n, m in itertools.pairwise(sizes[1:])), default=0)
    keeps_inputs = find_activation(activation).keeps_inputs
    kept = sum(sizes[1:-1]) if keeps_inputs else 0
    return sum(sizes[1:]) + max(sizes[1:]) + kept + -(-turned // BLOCK)


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
def hidden_units(sizes):
    """Sum the widths of the hidden layers."""
    total = 0
    for layer in range(1, sizes.size - 1):
        total += sizes[layer]
    return total


@jitable
def outputs_and_error(sizes):
    """Sum the widths of all outputs, and of the error signal that lies behind them."""
    total, widest = 0, 0
    for layer in range(1, sizes.size):
        total += sizes[layer]
        widest = max(widest, sizes[layer])
    return total + widest


@jitable
def copy_matrix(out, a):
    """Copy the matrix ``a`` to ``out``."""
    to, source = out.reshape(out.size), a.reshape(a.size)
    for k in range(to.size):
        to[k] = source[k]


@functools.cache
def passes(activation: str) -> tuple[Callable, Callable]:
    """Return the two passes through networks of this activation."""
    activate, backpropagate, keeps_inputs = layers_of(activation)

    @jitable
    def forward(theta, X, aux, work):
        """Run all layers on the rows ``X``; outputs stay in ``work``, one layer after the other."""
        sizes = aux[0]
        rows = X.shape[0]
        weights, here, kept = 0, 0, 0
        if keeps_inputs:
            kept = rows * outputs_and_error(sizes)
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
                if keeps_inputs:
                    copy_matrix(matrix(work, kept, rows, m), z)
                    kept += rows * m
                activate(z)
            inputs = z
            weights += (n + 1) * m
            here += rows * m

    @jitable
    def backward(theta, X, aux, grad, work):
        """Write the gradient; the error of the outputs lies where :func:`forward` left those."""
        sizes = aux[0]
        rows, layers = X.shape[0], sizes.size - 1
        weights, here = theta.size, rows * (hidden_units(sizes) + sizes[layers])
        spare, kept = here, 0
        if keeps_inputs:
            kept = rows * (outputs_and_error(sizes) + hidden_units(sizes))
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
                if keeps_inputs:
                    kept -= rows * n
                    copy_matrix(inputs, matrix(work, kept, rows, n))
                backpropagate(inputs, error)

    return forward, backward


class Functions(NamedTuple):
    """What is compiled of a network: see :func:`functions`."""

    loss_and_grad: Callable
    evaluate: Callable
    score: Callable | None


def functions(
    loss: str,
    weighted: bool = False,
    metrics: Iterable[Any] = (),
    activation: str = "relu",
    constants: np.ndarray | None = None,
) -> Functions:
    """Return the functions of networks with this loss and activation, whatever their layers.

    Parameters
    ----------
    loss : str
        A row of :data:`sweeps.problems.losses.LOSSES`.
    weighted : bool
        Whether the last column of the targets holds the weights of the rows.
    metrics : iterable of str and callable
        Rows of :data:`sweeps.problems.metrics.METRICS`, and plain functions of the user's,
        ``f(outputs, y, weights) -> number``.
    activation : str
        A row of :data:`sweeps.problems.activations.ACTIVATIONS`.
    constants : ndarray, optional
        Those of the loss, if the functions need be right for no others: a loss whose constants are
        zero may be a simpler one.

    Returns
    -------
    Functions
        ``loss_and_grad(theta, X, y, aux, grad, work) -> loss`` and
        ``evaluate(theta, X, y, aux, grad, work) -> (loss, accuracy)``, both of them means over rows
        or their weights; ``score(theta, X, y, aux, work, outputs, out)`` writes a number a metric
        to ``out``, of float64, ``outputs`` being scratch of shape (rows, outputs); None without
        metrics.

    Raises
    ------
    SpecError
        A name is unknown, or a metric does not fit the loss.

    Examples
    --------
    >>> functions("logistic").score is None, functions("logistic") is functions("logistic")
    (True, True)
    """
    row = find_loss(loss)
    simpler = row.at_zero is not None and constants is not None and not np.any(constants)
    measures = tuple(measure_of(metric, loss) for metric in metrics)
    find_activation(activation)
    return _functions(loss, bool(simpler), bool(weighted), measures, activation)


@functools.lru_cache(maxsize=128)  # metrics may be functions of the user's
def _functions(
    loss: str, simpler: bool, weighted: bool, measures: tuple[Callable, ...], activation: str
) -> Functions:
    row = LOSSES[loss]
    output_loss: Any = row.at_zero if simpler else row.function
    right = row.hits
    forward, backward = passes(activation)
    weights_of = last_column if weighted else no_weights

    @jitable
    def loss_and_grad(theta, X, y, aux, grad, work):
        rows, outputs = X.shape[0], aux[0][-1]
        forward(theta, X, aux, work)
        z, weights = matrix(work, rows * hidden_units(aux[0]), rows, outputs), weights_of(y)
        total, n = output_loss(z, y, weights, aux[2]), mass(weights, rows)
        scale(z, 1.0 / n)
        backward(theta, X, aux, grad, work)
        return total / n

    @jitable
    def evaluate(theta, X, y, aux, grad, work):
        outputs, hidden = aux[0][-1], hidden_units(aux[0])
        total, hits = 0.0, 0
        for low in range(0, X.shape[0], BLOCK):
            high = min(low + BLOCK, X.shape[0])
            forward(theta, X[low:high], aux, work)
            z, weights = (
                matrix(work, (high - low) * hidden, high - low, outputs),
                weights_of(y[low:high]),
            )
            hits += right(z, y[low:high], weights)
            total += output_loss(z, y[low:high], weights, aux[2])
        n = mass(weights_of(y), X.shape[0])
        n = n if n > 0 else 1
        return total / n, (hits / n if hits >= 0 else np.nan)

    score = scoring(loss, weights_of, measures, forward) if measures else None
    return Functions(loss_and_grad, evaluate, score)


def scoring(
    loss: str, weights_of: Callable, measures: tuple[Callable, ...], forward: Callable
) -> Callable:
    """Return ``score`` of :func:`functions`."""
    link, measure = LINKS[LOSSES[loss].link], measuring(measures)
    numbers = plain_targets if weights_of is no_weights else but_last_column
    targets_of = labels_of if LOSSES[loss].task in ("classification", "binary") else numbers

    @jitable
    def score(theta, X, y, aux, work, outputs, out):
        hidden = hidden_units(aux[0])
        for low in range(0, X.shape[0], BLOCK):
            high = min(low + BLOCK, X.shape[0])
            forward(theta, X[low:high], aux, work)
            outputs[low:high] = matrix(work, (high - low) * hidden, high - low, outputs.shape[1])
        link(outputs)
        measure(outputs, targets_of(y), weights_of(y), aux[2], out)

    return score


def aux_of(sizes: tuple[int, ...], activation: str, constants: np.ndarray) -> tuple:
    """Return what the functions of a network take for its layers: see the module.

    Examples
    --------
    >>> aux_of((4, 8, 3), "tanh", np.zeros(1))
    (array([4, 8, 3]), array([1]), array([0.]))
    """
    code = find_activation(activation).code
    return np.array(sizes, np.int64), np.array([code], np.int64), np.array(constants, np.float64)
