"""Models as torch modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from fastopt.errors import SpecError
from sweeps.models.columns import Columns
from sweeps.models.network import Layer, Network, Norm
from sweeps.models.transformers import numeric_of
from sweeps.problems.layer_norm import EPSILON

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
"""Activation -> module."""


class Preprocess(nn.Module):
    """Numbers of columns filled in, shifted and scaled, in float64, then cast.

    ``columns``: all of whose features are numbers. ``dtype``: of what it returns.

    >>> from sweeps.models.columns import Columns, Number
    >>> layer = Preprocess(Columns(1, [Number(0, 1.0, 2.0, fill=3.0)]), torch.float32)
    >>> layer(torch.tensor([[5.0], [float("nan")]]))
    tensor([[2.],
            [1.]])
    """

    columns: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor
    fill: torch.Tensor

    def __init__(self, columns: Columns, dtype: torch.dtype) -> None:
        super().__init__()
        mean, scale, fill = (
            np.array([getattr(entry, name) for entry in columns.entries], np.float64)
            for name in ("mean", "scale", "fill")
        )
        places = torch.tensor([entry.column for entry in columns.entries], dtype=torch.int64)
        self.dtype, self.n_columns = dtype, columns.n_columns
        self.register_buffer("columns", places)
        for name, numbers in (("mean", mean), ("scale", scale), ("fill", fill)):
            self.register_buffer(name, torch.from_numpy(numbers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features of rows ``(n, n_columns)``."""
        x = x[:, self.columns].double()
        x = torch.where(torch.isnan(x), self.fill, x)
        return ((x - self.mean) / self.scale).to(self.dtype)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of its ``repr``."""
        return f"{self.n_columns} columns"


class Embeddings(nn.Module):
    """Zeros and ones of categories times their tables, behind the other features.

    ``network``: with blocks of features that are embedded.
    """

    others: torch.Tensor

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        super().__init__()
        starts, counts = network.blocks[::3], network.blocks[1::3]
        self.blocks = [(low, low + count) for low, count in zip(starts, counts)]
        own = {k for low, high in self.blocks for k in range(low, high)}
        others = [k for k in range(network.n_features) if k not in own]
        self.register_buffer("others", torch.tensor(others, dtype=torch.int64))
        tables = [a for name, a in network.weights.items() if name.startswith("embeddings.")]
        self.tables = nn.ParameterList([torch.tensor(table, dtype=dtype) for table in tables])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return embedded rows of features ``(n, n_features)``."""
        made = [x[:, low:high] @ table for (low, high), table in zip(self.blocks, self.tables)]
        return torch.cat([x[:, self.others], *made], 1)


class Residual(nn.Sequential):
    """Modules whose input is added to their output.

    >>> Residual(nn.ReLU())(torch.tensor([-1.0, 2.0]))
    tensor([-1.,  4.])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input and what the modules make of it, added."""
        return super().forward(x) + x


def sequential(model: Any) -> nn.Sequential:
    """Return what :meth:`sweeps.models.model.Model.to_torch` does."""
    network = model.network
    steps: list[nn.Module] = []
    dtype = torch.from_numpy(network.theta[:0].copy()).dtype
    if model.preprocess is not None:
        steps.append(Preprocess(numeric_of(model.preprocess, "to_torch"), dtype))
    if network.activation not in ACTIVATIONS:
        raise SpecError(
            f"to_torch: there is no module of activation {network.activation!r}; use the model "
            "itself, or train with another activation"
        )
    if network.blocks:
        steps.append(Embeddings(network, dtype))
    *hidden, last = network.layers
    for k, layer in enumerate(hidden):
        block = [_linear(layer, dtype)]
        if network.layer_norm:
            block.append(_norm(network.norms[k], dtype))
        block.append(ACTIVATIONS[network.activation]())
        steps += [Residual(*block)] if network.adds(k) else block
    return nn.Sequential(*steps, _linear(last, dtype))


def _linear(layer: Layer, dtype: torch.dtype) -> nn.Module:
    made = nn.utils.skip_init(nn.Linear, *layer.weight.shape, dtype=dtype)  # draws nothing
    return _fill_weights(made, layer.weight.T, layer.bias)


def _norm(norm: Norm, dtype: torch.dtype) -> nn.Module:
    return _fill_weights(nn.LayerNorm(norm.weight.size, EPSILON, dtype=dtype), *norm)


def _fill_weights(module: Any, weight: np.ndarray, bias: np.ndarray) -> nn.Module:
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(weight.copy()))
        module.bias.copy_(torch.from_numpy(bias.copy()))
    return module
