"""The drop-in optimizers for PyTorch: one row a class x flags, shared by their tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

import fastopt.torch
from fastopt.torch import modern

SHAPES = ((3, 5), (0,), (33,), (70, 300), (1,), (), (4, 0, 2))
"""Below and above SIMD blocks, zero-size in the middle and last, and a 0-d tensor."""


@dataclass(frozen=True)
class Case:
    """One class with some options. ``has_twin``: torch has the same class."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    has_twin: bool = True

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.options.items())])

    @property
    def ours(self) -> Callable:
        return getattr(fastopt.torch, self.name)

    @property
    def torchs(self) -> Callable:
        return getattr(torch.optim, self.name)

    def make(self, params: Any, **more: Any) -> Any:
        return self.ours(params, **{**self.options, **more})

    def make_twin(self, params: Any, **more: Any) -> Any:
        return self.torchs(params, **{**self.options, **more}, foreach=False)


CASES = [
    Case("SGD"),
    Case("SGD", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    Case("SGD", {"momentum": 0.9}),
    Case("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    Case("SGD", {"momentum": 0.9, "nesterov": True, "maximize": True}),
    Case("Adam"),
    Case("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    Case("Adam", {"amsgrad": True, "maximize": True}),
    Case("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    Case("AdamW"),
    Case("AdamW", {"amsgrad": True, "weight_decay": 0.1}),
    Case("NAdam"),
    Case("NAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    Case("RAdam"),
    Case("RAdam", {"betas": (0.5, 0.9), "weight_decay": 0.1, "maximize": True}),
    Case("Adamax"),
    Case("Adagrad"),
    Case("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1}),
    Case("RMSprop"),
    Case("RMSprop", {"momentum": 0.9}),
    Case("RMSprop", {"centered": True}),
    Case("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    Case("Adadelta"),
    Case("ASGD"),
    Case("ASGD", {"t0": 2.0, "lambd": 0.1}),
    Case("Rprop"),
    Case("Rprop", {"etas": (0.4, 1.3), "step_sizes": (1e-3, 0.1), "maximize": True}),
    *(Case(name, has_twin=False) for name in modern.__all__),
]

CLASSES = [case for k, case in enumerate(CASES) if case.name not in {c.name for c in CASES[:k]}]
"""One case a class, at its defaults (``SGD`` without momentum)."""

TWINS = [case for case in CASES if case.has_twin]

FEW = [
    Case("SGD", {"momentum": 0.9}),
    Case("Adam", {"amsgrad": True}),
    Case("AdamW"),
]
"""For what has nothing to do with the formula."""


def parameters(dtype: torch.dtype = torch.float32, shapes: Any = SHAPES, seed: int = 0) -> list:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype))
        for shape in shapes
    ]


def twins_of(params: list) -> list:
    return [torch.nn.Parameter(p.detach().clone()) for p in params]


def give_gradients(seed: int, *lists: list, skip: Any = ()) -> None:
    """Give parameter ``k`` of each list the same random gradient, or None for ``k`` in ``skip``."""
    generator = torch.Generator().manual_seed(1000 + seed)
    for k, alike in enumerate(zip(*lists)):
        g = torch.randn(alike[0].shape, generator=generator, dtype=torch.float64)
        for p in alike:
            p.grad = None if k in skip else g.to(p.dtype)


def state_of(optimizer: Any) -> list[dict[str, Any]]:
    """Return copies of the state of each parameter, without our clocks."""
    dicts = optimizer.state_dict()["state"]
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    return [
        {
            name: torch.as_tensor(v).clone()
            for name, v in dicts.get(k, {}).items()
            if name != "clock"
        }
        for k in range(count)
    ]
