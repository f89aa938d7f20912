r"""Multi-layer perceptrons of any depth, and the linear models that are MLPs of depth zero.

Layer l maps :math:`A_{l-1}` of shape (rows, n_{l-1}) to :math:`A_l = \phi(A_{l-1} W_l + b_l)`; the
last layer is linear and its loss brings its own link. Parameters lie flat in ``theta`` as
``W_1, b_1, W_2, b_2, ...``, each ``W_l`` of shape ``(n_{l-1}, n_l)`` in C order. With layer norm
:math:`\phi` is of the norm of that (:mod:`sweeps.problems.layer_norm`), and gain and shift of each
hidden layer, ``g_1, s_1, g_2, ...``, lie behind all ``b_l``. A residual layer of the width of the
hidden layer before it adds :math:`A_{l-1}`.

``aux = (sizes, activation, constants)``: layer widths from input to output, the code of the hidden
activation in :data:`sweeps.problems.activations.ACTIVATIONS`, and the constants of the loss. Behind
these stand means and scales of targets that are standardized (:mod:`sweeps.problems.target_units`),
and dropout and noise of inputs of networks that draw (:mod:`sweeps.problems.noise`). Where
categories are embedded, ``blocks`` follow, the widths begin with that of embedded rows, and tables
lie behind all else: see :mod:`sweeps.problems.embeddings`.

Scratch ``work`` of a minibatch holds the outputs of all layers, an error signal, what is kept of
the hidden layers for their slopes, what is kept of norms, the error that passes residual layers,
the masks of dropout, the noisy inputs, each of them for all rows and where there is such a thing;
at its end lie transposed weights.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from fastopt.compile import jitable
from fastopt.errors import SpecError, shortened
from sweeps.problems.activations import find_activation
from sweeps.problems.losses import LINKS, LOSSES, find_loss
from sweeps.problems.matrices import matrix, scale
from sweeps.problems.metrics import score_function, scores_writer
from sweeps.problems.noise import add_noise, draw_masks, whole_blocks
from sweeps.problems.passes import PLAIN, Design, hidden_units, passes, places_of
from sweeps.problems.rows import (
    but_last_column,
    labels_of,
    last_column,
    mass,
    no_weights,
    plain_targets,
)
from sweeps.problems.target_units import given_targets, outputs_as_given

# Rows evaluated at a time: 256 rows of a 64-32-10 net stay in the second-level cache.
BLOCK = 256
# Parameters that no machine holds, and whose bytes an int64 still counts, scratch included.
MOST_PARAMETERS = 1 << 45


def n_parameters(
    sizes: tuple[int, ...], design: Design = PLAIN, blocks: tuple[int, ...] = ()
) -> int:
    """Count weights and biases of layers of these widths, and what else the design learns.

    >>> n_parameters((64, 32, 10)), n_parameters((64, 32, 10), Design(layer_norm=True))
    (2410, 2474)
    """
    count = sum((n + 1) * m for n, m in itertools.pairwise(sizes))
    count += 2 * sum(sizes[1:-1]) * design.layer_norm
    count += sum(n * dim for n, dim in zip(blocks[1::3], blocks[2::3]))
    if count >= MOST_PARAMETERS:
        raise SpecError(
            f"hidden: layers of widths {shortened(sizes)} have more than {MOST_PARAMETERS:,} "
            "parameters, which no memory can hold; make them narrower"
        )
    return count


def work_per_row(sizes: tuple[int, ...], design: Design = PLAIN, noisy: bool = False) -> int:
    """Scratch numbers a row needs: every layer's output, one error signal, transposed weights.

    The weights, those of the largest layer but the first, are a share of each of ``BLOCK`` rows.
    Activations whose slopes need their inputs keep those as well; dropout keeps outputs and masks.

    >>> work_per_row((64, 32, 10)), work_per_row((64, 32, 10), Design("gelu"))
    (76, 108)
    """
    turned = max((n * m for n, m in itertools.pairwise(sizes[1:])), default=0)
    masks = whole_blocks(sum(sizes[1:-1])) if design.drops else 0
    kept = design.per_row(sizes) + masks + (whole_blocks(sizes[0]) if noisy else 0)
    kept += sizes[0] if design.embeds else 0
    return sum(sizes[1:]) + max(sizes[1:]) + kept + -(-turned // BLOCK)


class Functions(NamedTuple):
    """What is compiled of a network: see :func:`functions`."""

    loss_and_grad: Callable
    evaluate: Callable
    score: Callable | None
    draws: bool


def functions(
    loss: str,
    weighted: bool = False,
    metrics: Iterable[Any] = (),
    design: Design = PLAIN,
    constants: np.ndarray | None = None,
    noisy: bool = False,
    in_units: bool = False,
) -> Functions:
    """Return the functions of networks with this loss and design, whatever their widths.

    Returns ``loss_and_grad(theta, X, y, aux, grad, work) -> loss`` and ``evaluate(theta, X, y, aux,
    grad, work) -> (loss, accuracy)``, both of them means over rows or their weights;
    ``score(theta, X, y, aux, work, outputs, out)`` writes a number a metric to ``out``, of float64,
    ``outputs`` being scratch of shape (rows, outputs); None without metrics. With dropout or noise
    ``draws`` is true: ``loss_and_grad`` takes the seed of a trial and the number of a step as well.
    Nothing else draws.

    * ``loss``: a row of :data:`sweeps.problems.losses.LOSSES`.
    * ``weighted``: whether the last column of the targets holds the weights of the rows.
    * ``metrics``: rows of :data:`sweeps.problems.metrics.METRICS`, and plain functions of the
      user's, ``f(outputs, y, weights) -> number``.
    * ``design``: what the passes do: see :class:`sweeps.problems.passes.Design`.
    * ``constants``: those of the loss, if the functions need be right for no others: a loss whose
      constants are zero may be a simpler one.
    * ``noisy``: whether there is noise of inputs; its size, and that of dropout, stand in ``aux``.
    * ``in_units``: whether targets are standardized: see :mod:`sweeps.problems.target_units`.

    Raises SpecError if a name is unknown, or a metric does not fit the loss.

    >>> functions("logistic").score is None, functions("logistic") is functions("logistic")
    (True, True)
    """
    row = find_loss(loss)
    simpler = row.at_zero is not None and constants is not None and not np.any(constants)
    score_functions = tuple(score_function(metric, loss) for metric in metrics)
    find_activation(design.activation)
    kind = loss, bool(simpler), bool(weighted)
    in_units = in_units and bool(score_functions)  # the others have no use for units
    plain = _functions(*kind, score_functions, design._replace(drops=False), in_units)
    if not design.drops and not noisy:
        return plain
    drawn = drawing(*kind, design, bool(noisy))
    return plain._replace(loss_and_grad=drawn, draws=True)


@functools.cache
def descending(
    loss: str, simpler: bool, weighted: bool, forward: Callable, backward: Callable
) -> Callable:
    """Return ``loss_and_grad`` of :func:`functions` for these passes."""
    output_loss: Any = loss_function(loss, simpler)
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

    return loss_and_grad


def loss_function(loss: str, simpler: bool) -> Any:
    """Return the function of a loss, or the simpler one that it is if its constants are zero."""
    return LOSSES[loss].at_zero if simpler else LOSSES[loss].function


@functools.lru_cache(maxsize=128)  # metrics may be functions of the user's
def _functions(
    loss: str,
    simpler: bool,
    weighted: bool,
    score_functions: tuple[Callable, ...],
    design: Design,
    in_units: bool,
) -> Functions:
    output_loss, right = loss_function(loss, simpler), LOSSES[loss].hits
    forward, backward = passes(design)
    loss_and_grad = descending(loss, simpler, weighted, forward, backward)
    weights_of = last_column if weighted else no_weights

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
        n = mass(weights_of(y), X.shape[0])  # 0 of rows that do not count: NaN, as by metrics
        return total / n, (hits / n if hits >= 0 else np.nan)

    score = None
    if score_functions:
        score = scoring(loss, weights_of, score_functions, forward, in_units)
    return Functions(loss_and_grad, evaluate, score, False)


@functools.cache
def drawing(loss: str, simpler: bool, weighted: bool, design: Design, noisy: bool) -> Callable:
    """Return a ``loss_and_grad`` that draws masks and noise before it does what others do."""
    loss_and_grad = descending(loss, simpler, weighted, *passes(design))
    places, drops = places_of(design), design.drops

    @jitable
    def drawn(theta, X, y, aux, grad, work, seed, step):
        sizes, inputs = aux[0], X
        rows, n = X.shape
        low = places(sizes, rows).masks
        if drops:
            high = low + whole_blocks(rows * hidden_units(sizes))
            draw_masks(work[low:high], aux[2][-2], seed, step)
            low = high
        if noisy:
            add_noise(work[low : low + whole_blocks(rows * n)], X, aux[2][-1], seed, step)
            inputs = matrix(work, low, rows, n)
        return loss_and_grad(theta, inputs, y, aux, grad, work)

    return drawn


def scoring(
    loss: str,
    weights_of: Callable,
    score_functions: tuple[Callable, ...],
    forward: Callable,
    in_units: bool,
) -> Callable:
    """Return ``score`` of :func:`functions`."""
    link, write_scores = LINKS[LOSSES[loss].link], scores_writer(score_functions)
    numbers = plain_targets if weights_of is no_weights else but_last_column
    targets_of = labels_of if LOSSES[loss].task in ("classification", "binary") else numbers

    units = len(LOSSES[loss].constants)

    @jitable
    def as_they_are(outputs, y, aux):
        return targets_of(y)

    @jitable
    def as_given(outputs, y, aux):
        outputs_as_given(outputs, aux[2][units:])
        return given_targets(y, outputs.shape[1])

    targets = as_given if in_units else as_they_are

    @jitable
    def score(theta, X, y, aux, work, outputs, out):
        hidden = hidden_units(aux[0])
        for low in range(0, X.shape[0], BLOCK):
            high = min(low + BLOCK, X.shape[0])
            forward(theta, X[low:high], aux, work)
            outputs[low:high] = matrix(work, (high - low) * hidden, high - low, outputs.shape[1])
        link(outputs)
        write_scores(outputs, targets(outputs, y, aux), weights_of(y), aux[2], out)

    return score


def aux_of(
    sizes: tuple[int, ...], activation: str, constants: np.ndarray, blocks: tuple[int, ...] = ()
) -> tuple:
    """Return what the functions of a network take for its layers: see the module.

    >>> aux_of((4, 8, 3), "tanh", np.zeros(1))
    (array([4, 8, 3]), array([1]), array([0.]))
    """
    code = np.array([find_activation(activation).code], np.int64)
    embedded = (np.array(blocks, np.int64),) if blocks else ()
    return np.array(sizes, np.int64), code, np.array(constants, np.float64), *embedded
