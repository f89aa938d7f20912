"""The table of cases: one row a rule x flags, shared by the tests and the benchmarks.

To add an optimizer, add its rows to :data:`CASES`; its reference goes to ``tests/reference.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastopt.rules import RULES, Rule
from tests import reference


@dataclass(frozen=True)
class Case:
    """One optimizer with one set of hyperparameters, and who else knows it.

    ``twin(params, h, **how)`` constructs torch's optimizer of the same name; ``how`` picks the
    implementation (``foreach=``, ``fused=``). None: torch has no such form.
    """

    rule_name: str
    reference: Callable
    twin: Callable | None
    hyper: Mapping[str, Any] = field(default_factory=dict)
    light: int | None = None  # ulp of a step larger than its parameter; None: by number of slots

    def __str__(self) -> str:
        flags = [f"{name}={value}" for name, value in self.hyper.items()]
        return "-".join([self.rule_name, *flags])

    @property
    def rule(self) -> Rule:
        return RULES[self.rule_name]

    @property
    def h(self) -> dict[str, Any]:
        """All hyperparameters by name, the rule's defaults filled in."""
        return {name: kind.default for name, kind in self.rule.hyper.items()} | dict(self.hyper)

    @property
    def packed(self) -> tuple[float, ...]:
        return self.rule.pack(self.hyper)


def torch_sgd(params, h, **how):
    """``torch.optim.SGD`` for plain SGD and heavy-ball momentum."""
    import torch

    names = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")
    return torch.optim.SGD(params, **{name: h[name] for name in names if name in h}, **how)


def _torch_adam(class_name, amsgrad):
    def construct(params, h, **how):
        import torch

        names = ("lr", "eps", "weight_decay", "maximize")
        if class_name == "Adam":
            how["decoupled_weight_decay"] = h["decoupled"]
        return getattr(torch.optim, class_name)(
            params,
            betas=(h["beta1"], h["beta2"]),
            amsgrad=amsgrad,
            **{name: h[name] for name in names},
            **how,
        )

    return construct


torch_adam, torch_amsgrad = _torch_adam("Adam", False), _torch_adam("Adam", True)
torch_adamw, torch_amsgradw = _torch_adam("AdamW", False), _torch_adam("AdamW", True)

_HOT = {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3}

CASES = [
    Case("sgd", reference.sgd, torch_sgd),
    Case("sgd", reference.sgd, torch_sgd, {"lr": 0.1, "weight_decay": 0.1}),
    Case("sgd", reference.sgd, torch_sgd, {"lr": 0.1, "maximize": True, "weight_decay": 0.1}),
    Case("sgd", reference.sgd, None, {"lr": 0.1, "weight_decay": 0.1, "decoupled": True}),
    Case("momentum", reference.momentum, torch_sgd),
    Case("momentum", reference.momentum, torch_sgd, {"momentum": 0.0}),
    Case("momentum", reference.momentum, torch_sgd, {"lr": 0.1, "dampening": 0.3}),
    Case("momentum", reference.momentum, torch_sgd, {"lr": 0.1, "weight_decay": 0.1}),
    Case("momentum", reference.momentum, torch_sgd, {"maximize": True, "weight_decay": 0.1}),
    Case("momentum", reference.momentum, None, {"weight_decay": 0.1, "decoupled": True}),
    Case("momentum", reference.momentum, None, {"form": "ema"}),
    Case("momentum", reference.momentum, None, {"form": "ema", "nesterov": True}),
    Case("momentum", reference.momentum, None, {"form": "velocity"}),
    Case("momentum", reference.momentum, None, {"form": "velocity", "nesterov": True}),
    Case("nesterov", reference.momentum, torch_sgd),
    Case("nesterov", reference.momentum, torch_sgd, {"lr": 0.1, "weight_decay": 0.1}),
    Case("adam", reference.adam, torch_adam),
    Case("adam", reference.adam, torch_adam, _HOT),
    Case("adam", reference.adam, torch_adam, {"beta1": 0.0}),
    Case("adam", reference.adam, torch_adam, {"lr": 0.1, "weight_decay": 0.1}),
    Case("adam", reference.adam, torch_adam, {"maximize": True, "weight_decay": 0.1}),
    Case("adam", reference.adam, torch_adam, {"weight_decay": 0.1, "decoupled": True}),
    Case("adamw", reference.adam, torch_adamw),
    Case("adamw", reference.adam, torch_adamw, {**_HOT, "weight_decay": 0.1}),
    Case("adamw", reference.adam, torch_adamw, {"maximize": True}),
    Case("amsgrad", reference.amsgrad, torch_amsgrad),
    Case("amsgrad", reference.amsgrad, torch_amsgrad, _HOT),
    Case("amsgrad", reference.amsgrad, torch_amsgrad, {"lr": 0.1, "weight_decay": 0.1}),
    Case("amsgrad", reference.amsgrad, torch_amsgrad, {"maximize": True}),
    Case("amsgradw", reference.amsgrad, torch_amsgradw),
    Case("amsgradw", reference.amsgrad, torch_amsgradw, {"lr": 0.1, "maximize": True}),
]

PLAIN = [case for case in CASES if not case.hyper]
"""One case a rule, at its defaults."""

# Below, at and above the widths of SIMD blocks (4-16), of unrolled blocks (32-128) and of pages.
EDGES = (
    *(0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129),
    *(1023, 1025, 4095, 4096, 4097, 65537),
)


def signed(rng: np.random.Generator, n: int, dtype: Any, scale: float = 1.0) -> np.ndarray:
    """Draw ``n`` numbers of random sign with magnitudes over four decades below ``3 * scale``.

    No zeros: a loop that skips an element, or reads a neighbour's, must show.
    """
    size = scale * 10.0 ** rng.uniform(-3.5, 0.5, n)
    return np.where(rng.random(n) < 0.5, -size, size).astype(dtype)


@dataclass
class State:
    """What one kernel call works on."""

    h: tuple[float, ...]
    clock: np.ndarray
    p: np.ndarray
    slots: tuple[np.ndarray, ...]

    @property
    def x(self) -> tuple[np.ndarray, ...]:
        return (self.p, *self.slots)

    def copy(self) -> State:
        slots = tuple(slot.copy() for slot in self.slots)
        return State(self.h, self.clock.copy(), self.p.copy(), slots)

    def wind(self, case: Case, steps: int) -> None:
        """Advance the clock by ``steps`` steps without touching the parameters."""
        for _ in range(steps):
            self.clock[:] = case.rule.tick(self.h, tuple(self.clock))[0]


def fresh(case: Case, n: int, dtype: Any, seed: int = 0) -> State:
    """Return the state before the first step: random parameters, zero slots."""
    p = signed(np.random.default_rng(seed), n, dtype)
    clock = np.array(case.rule.clock0(case.packed))
    return State(case.packed, clock, p, tuple(np.zeros_like(p) for _ in case.rule.slots))
