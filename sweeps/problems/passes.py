"""The two passes through a network: from inputs to outputs, and from their error to the gradient.

Where everything lies in the parameters and in the scratch says :mod:`sweeps.problems.mlp`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fastopt.code.target import mode
from fastopt.compile import jitable
from sweeps.problems.activations import find_activation, layers_of
from sweeps.problems.embeddings import embedded_passes
from sweeps.problems.layer_norm import backpropagate_norm, normalise
from sweeps.problems.matrices import (
    add,
    add_bias,
    copy_matrix,
    matrix,
    multiply,
    sum_rows,
    transpose,
)
from sweeps.problems.small_matmul import product

# Multiplications of a product up to which ours beat BLAS. Its sums depend on the CPU, so code for
# several has none of it.
SMALL = 1 << 20 if mode() == "native" else 1 << 62


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


class Design(NamedTuple):
    """What passes are compiled for.

    * ``activation``: of the hidden layers: a name in
      :data:`sweeps.problems.activations.ACTIVATIONS`.
    * ``layer_norm``: whether hidden layers are normed before their activation.
    * ``residual``: whether hidden layers that follow one of their width add its outputs to their
      own.
    * ``drops``: whether masks of dropout lie in the scratch.
    * ``embeds``: whether inputs are embedded first: see :mod:`sweeps.problems.embeddings`.
    """

    activation: str = "relu"
    layer_norm: bool = False
    residual: bool = False
    drops: bool = False
    embeds: bool = False

    @property
    def keeps(self) -> bool:
        """Whether a copy of each hidden layer is kept for its slope, beside its output."""
        return find_activation(self.activation).keeps_inputs or self.drops or self.residual

    @property
    def is_plain(self) -> bool:
        """Whether outputs are all that is kept of hidden layers."""
        return not (self.keeps or self.layer_norm)

    def per_row(self, sizes: Sequence[int]) -> int:
        """Count the scratch numbers that a row needs beside outputs and errors, but for masks."""
        hidden = sizes[1:-1]
        kept = (self.keeps + self.layer_norm) * sum(hidden) + self.layer_norm * len(hidden)
        return kept + self.residual * max(sizes[1:])


PLAIN = Design()
"""Hidden layers of ReLUs, and nothing else."""


class Places(NamedTuple):
    """Where that begins in the scratch which is kept of hidden layers, one after the other."""

    kept: int  # inputs or outputs of the activations
    normal: int  # rows that are normed, without gain and shift
    inverse: int  # 1 / their deviations
    passed: int  # the error of a layer's outputs, which goes to the layer that it adds as well
    masks: int


def shapes_of(
    sizes: Sequence[int], design: Design, blocks: Sequence[int] = ()
) -> dict[str, tuple[int, ...]]:
    """Return the names of parameters and their shapes, in the order in which they lie in ``theta``.

    >>> list(shapes_of((4, 8, 3), PLAIN).items())[:2]
    [('layers.0.weight', (4, 8)), ('layers.0.bias', (8,))]
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for k, (n, m) in enumerate(itertools.pairwise(sizes)):
        shapes |= {f"layers.{k}.weight": (n, m), f"layers.{k}.bias": (m,)}
    for k, m in enumerate(sizes[1:-1] if design.layer_norm else ()):
        shapes |= {f"norms.{k}.weight": (m,), f"norms.{k}.bias": (m,)}
    for k, shape in enumerate(zip(blocks[1::3], blocks[2::3])):
        shapes[f"embeddings.{k}.weight"] = shape
    return shapes


@functools.cache
def places_of(design: Design) -> Callable:
    """Return ``places(sizes, rows)`` of a network that is not plain."""
    keeps, norms, residual = int(design.keeps), int(design.layer_norm), int(design.residual)

    @jitable
    def places(sizes, rows):
        hidden = rows * hidden_units(sizes)
        kept = rows * outputs_and_error(sizes)
        normal = kept + keeps * hidden
        inverse = normal + norms * hidden
        passed = inverse + norms * rows * (sizes.size - 2)
        widest = outputs_and_error(sizes) - hidden_units(sizes) - sizes[-1]
        return Places(kept, normal, inverse, passed, passed + residual * rows * widest)

    return places


@functools.cache
def passes(design: Design) -> tuple[Callable, Callable]:
    """Return the two passes through networks of this design, forwards and backwards."""
    if design.embeds:
        return embedded_passes(*passes(design._replace(embeds=False)))
    return forwards(design), backwards(design)


@functools.cache
def hidden_passes(design: Design) -> tuple[Callable, Callable]:
    """Return what is done to the products of a hidden layer, and what undoes it to errors.

    Both take the number of the layer among the hidden ones, and of the units before it; and one
    whether this layer adds its inputs, the other whether the next one does.
    """
    activate, backpropagate, keeps_inputs = layers_of(design.activation)
    layer_norm, keeps, drops = design.layer_norm, design.keeps, design.drops
    residual = design.residual

    @jitable
    def finish(z, inputs, adds, theta, norms, k, before, places, work):
        rows, m = z.shape
        if layer_norm:
            gain = norms + 2 * before
            normal = matrix(work, places.normal + rows * before, rows, m)
            inverse = work[places.inverse + rows * k : places.inverse + rows * (k + 1)]
            normalise(z, normal, inverse, theta[gain : gain + m], theta[gain + m : gain + 2 * m])
        if keeps_inputs:
            copy_matrix(matrix(work, places.kept + rows * before, rows, m), z)
        activate(z)
        if keeps and not keeps_inputs:
            copy_matrix(matrix(work, places.kept + rows * before, rows, m), z)
        if drops:
            multiply(z, matrix(work, places.masks + rows * before, rows, m))
        if residual and adds:
            add(z, inputs)

    @jitable
    def undo(outputs, error, added, theta, grad, norms, k, before, places, work):
        """Turn ``outputs`` into the error of the products, of that of the outputs."""
        rows, m = outputs.shape
        if residual:
            passed = matrix(work, places.passed, rows, m)
            if added:
                add(error, passed)
            copy_matrix(passed, error)
        if keeps:
            copy_matrix(outputs, matrix(work, places.kept + rows * before, rows, m))
        if drops:
            multiply(error, matrix(work, places.masks + rows * before, rows, m))
        backpropagate(outputs, error)
        if layer_norm:
            low, high = norms + 2 * before, norms + 2 * (before + m)
            normal = matrix(work, places.normal + rows * before, rows, m)
            inverse = work[places.inverse + rows * k : places.inverse + rows * (k + 1)]
            gain, slopes = theta[low : low + m], grad[low:high]
            backpropagate_norm(outputs, normal, inverse, gain, slopes[:m], slopes[m:])

    return finish, undo


def forwards(design: Design) -> Callable:
    """Return the pass from inputs to outputs."""
    activate, plain = layers_of(design.activation)[0], design.is_plain
    finish, places, layer_norm = hidden_passes(design)[0], places_of(design), design.layer_norm

    @jitable
    def forward(theta, X, aux, work):
        """Run all layers on the rows ``X``; outputs stay in ``work``, one layer after the other."""
        sizes = aux[0]
        rows = X.shape[0]
        weights, here = 0, 0
        norms = theta.size - 2 * hidden_units(sizes) if layer_norm else theta.size
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
                if plain:
                    activate(z)
                else:
                    before = here // rows
                    at, adds = places(sizes, rows), layer > 0 and n == m
                    finish(z, inputs, adds, theta, norms, layer, before, at, work)
            inputs = z
            weights += (n + 1) * m
            here += rows * m

    return forward


def backwards(design: Design) -> Callable:
    """Return the pass from the error of the outputs to the gradient."""
    backpropagate, plain = layers_of(design.activation)[1], design.is_plain
    undo, places = hidden_passes(design)[1], places_of(design)
    layer_norm = design.layer_norm

    @jitable
    def backward(theta, X, aux, grad, work):
        """Write the gradient; the error of the outputs lies where ``forward`` left those."""
        sizes = aux[0]
        rows, layers = X.shape[0], sizes.size - 1
        weights, here = theta.size, rows * (hidden_units(sizes) + sizes[layers])
        spare = here
        if layer_norm:
            weights -= 2 * hidden_units(sizes)
        norms = weights
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
                if plain:
                    backpropagate(inputs, error)
                else:
                    before, at = here // rows - n, places(sizes, rows)
                    added = layer < layers - 1 and n == m
                    undo(inputs, error, added, theta, grad, norms, layer - 1, before, at, work)

    return backward
