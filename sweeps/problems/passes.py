"""The two passes through a network: from inputs to outputs, and from their error to the gradient.

Where everything lies in the parameters and in the scratch says :mod:`sweeps.problems.mlp`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from fastopt.compile import jitable
from sweeps.problems.activations import layers_of
from sweeps.problems.matrices import (
    add_bias,
    copy_matrix,
    matrix,
    multiply,
    sum_rows,
    transpose,
)
from sweeps.problems.small_matmul import product

__all__ = ["hidden_units", "outputs_and_error", "passes"]

# Multiplications of a product up to which ours beat BLAS.
SMALL = 1 << 20


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


@functools.cache
def passes(activation: str, drops: bool = False) -> tuple[Callable, Callable]:
    """Return the two passes through networks of this activation; with dropout if it ``drops``.

    Its masks, of all hidden layers, lie behind what is kept of those.
    """
    return forwards(activation, drops), backwards(activation, drops)


def forwards(activation: str, drops: bool) -> Callable:
    """Return the pass from inputs to outputs."""
    activate, _, keeps_inputs = layers_of(activation)
    keeps = keeps_inputs or drops

    @jitable
    def forward(theta, X, aux, work):
        """Run all layers on the rows ``X``; outputs stay in ``work``, one layer after the other."""
        sizes = aux[0]
        rows = X.shape[0]
        weights, here, kept = 0, 0, 0
        if keeps:
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
                activate(z)
                if drops:
                    if not keeps_inputs:
                        copy_matrix(matrix(work, kept, rows, m), z)
                    multiply(z, matrix(work, kept + rows * hidden_units(sizes), rows, m))
                if keeps:
                    kept += rows * m
            inputs = z
            weights += (n + 1) * m
            here += rows * m

    return forward


def backwards(activation: str, drops: bool) -> Callable:
    """Return the pass from the error of the outputs to the gradient."""
    _, backpropagate, keeps_inputs = layers_of(activation)
    keeps = keeps_inputs or drops

    @jitable
    def backward(theta, X, aux, grad, work):
        """Write the gradient; the error of the outputs lies where ``forward`` left those."""
        sizes = aux[0]
        rows, layers = X.shape[0], sizes.size - 1
        weights, here = theta.size, rows * (hidden_units(sizes) + sizes[layers])
        spare, kept = here, 0
        if keeps:
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
                if keeps:
                    kept -= rows * n
                    copy_matrix(inputs, matrix(work, kept, rows, n))
                if drops:
                    multiply(error, matrix(work, kept + rows * hidden_units(sizes), rows, n))
                backpropagate(inputs, error)

    return backward
