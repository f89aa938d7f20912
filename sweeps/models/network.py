"""A trained network: layers, parameters and the compiled pass that gave its figures in training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fastopt.compile import kernel
from sweeps.engine.run_blocks import ONE_BLAS_THREAD
from sweeps.models.links import PROBABILITIES, linked
from sweeps.problems.losses import constants_of, find_loss
from sweeps.problems.matrices import matrix
from sweeps.problems.mlp import BLOCK, aux_of, work_per_row
from sweeps.problems.passes import Design, hidden_units, passes, shapes_of


class Layer(NamedTuple):
    """Weights ``(inputs, outputs)`` and biases ``(outputs,)`` of a layer: ``X @ weight + bias``."""

    weight: np.ndarray
    bias: np.ndarray


class Norm(NamedTuple):
    """Gain and shift of the layer norm of a hidden layer, ``(outputs,)`` each."""

    weight: np.ndarray
    bias: np.ndarray


def passing(forward):
    """Template of the pass of all rows, in the same blocks in which a trial evaluates them."""

    def outputs(theta, X, aux, work, out):
        hidden, m = hidden_units(aux[0]), aux[0][-1]
        for low in range(0, X.shape[0], BLOCK):
            rows = min(BLOCK, X.shape[0] - low)
            forward(theta, X[low : low + rows], aux, work)
            z = matrix(work, rows * hidden, rows, m)
            for i in range(rows):
                for j in range(m):
                    out[low + i, j] = z[i, j]

    return outputs


@dataclass(frozen=True, eq=False)
class Network:
    """What a network computes: a function of rows of numbers.

    Parameters
    ----------
    theta : ndarray, shape (n_params,)
        Flat ``W_1, b_1, W_2, ...``, in the dtype of the arithmetic, and behind them gain and shift
        of each norm.
    sizes : tuple of int
        Widths of the layers, from inputs to outputs.
    activation : str
        Of the hidden layers.
    loss : str
        What it was trained with, which says what its outputs mean.
    constants : dict of str to float
        Those of the loss.
    layer_norm : bool
        Whether hidden layers are normed before their activation.
    residual : bool
        Whether hidden layers that follow one of their width add its outputs to their own.
    blocks : tuple of int
        Of categories that are embedded: see :mod:`sweeps.problems.embeddings`. ``sizes`` begin with
        the width of embedded rows then.

    Examples
    --------
    >>> network = Network(np.array([2.0, 3.0, 1.0]), (2, 1), "relu", "squared_error")
    >>> network.outputs(np.array([[1.0, 10.0]]))
    array([[33.]])
    """

    theta: np.ndarray
    sizes: tuple[int, ...]
    activation: str
    loss: str
    constants: Mapping[str, float] = field(default_factory=dict)
    layer_norm: bool = False
    residual: bool = False
    blocks: tuple[int, ...] = ()

    @property
    def task(self) -> str:
        """What it is for: "classification", "binary", "multilabel" or "regression"."""
        return find_loss(self.loss).task

    @property
    def link(self) -> str:
        """How its outputs become predictions: "softmax", "sigmoid", "sign", "identity", "exp"."""
        return find_loss(self.loss).link

    @property
    def has_probabilities(self) -> bool:
        """Whether that makes probabilities of them."""
        return self.link in PROBABILITIES

    def linked(self, X: np.ndarray) -> np.ndarray:
        """Return what the link makes of :meth:`outputs`."""
        return linked(self.link, self.outputs(X))

    @property
    def design(self) -> Design:
        """What its passes do."""
        design = Design(self.activation, self.layer_norm, self.residual)
        return design._replace(embeds=bool(self.blocks))

    def adds(self, k: int) -> bool:
        """Tell whether layer ``k`` adds its inputs to its outputs."""
        hidden = 0 < k < len(self.sizes) - 2
        return self.residual and hidden and self.sizes[k] == self.sizes[k + 1]

    @property
    def has(self) -> list[str]:
        """What it has beside layers and activations."""
        kinds = {"layer norm": self.layer_norm, "residual layers": self.residual}
        kinds["embeddings"] = bool(self.blocks)
        return [kind for kind, there in kinds.items() if there]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names of the parameters and their shapes, in the order in which they lie in ``theta``."""
        return shapes_of(self.sizes, self.design, self.blocks)

    @property
    def n_features(self) -> int:
        """How many numbers it takes of a row."""
        return self.sizes[0] - sum(self.blocks[2::3]) + sum(self.blocks[1::3])

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The parameters by name: read-only views."""
        theta, low, named = self.theta.view(), 0, {}
        theta.flags.writeable = False
        for name, shape in self.shapes.items():
            high = low + math.prod(shape)
            named[name] = theta[low:high].reshape(shape)
            low = high
        return named

    @property
    def layers(self) -> list[Layer]:
        """The layers, from inputs to outputs: read-only views of the parameters."""
        return [Layer(*pair) for pair in self._pairs("layers")]

    @property
    def norms(self) -> list[Norm]:
        """The norms of the hidden layers, if they have any: read-only views of the parameters."""
        return [Norm(*pair) for pair in self._pairs("norms")]

    def _pairs(self, what: str) -> Iterable[tuple[np.ndarray, ...]]:
        found = [a for name, a in self.weights.items() if name.startswith(f"{what}.")]
        return zip(found[::2], found[1::2])

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """Return the last layer's outputs ``(n, k)`` of rows ``(n, inputs)`` in the same dtype."""
        out = np.empty((len(X), self.sizes[-1]), self.theta.dtype)
        work = np.empty(work_per_row(self.sizes, self.design) * BLOCK, self.theta.dtype)
        constants = constants_of(self.loss, self.constants)
        aux = aux_of(self.sizes, self.activation, constants, self.blocks)
        forward, _ = passes(self.design)
        with ONE_BLAS_THREAD:
            kernel(passing, forward)(self.theta, X, aux, work, out)
        return out
