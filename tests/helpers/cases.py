"""The table of cases: one row a rule x flags, shared by the tests and the benchmarks.

To add an optimizer, add its rows to :data:`CASES`; its reference goes to
``tests/helpers/reference.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastopt.rules import RULES, Rule
from fastopt.rules.base import begin
from tests.helpers import reference
from tests.helpers.references import modern, norms, torchs


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
    # ulp of a step larger than its parameter; None: by number of slots. More for schedule-free:
    # late, c and 1 - c round, and c (z - y) is not small where y is; and for LaProp,
    # which averages quotients and then multiplies once more; and for cautious AdamW, whose step is
    # stretched by one quotient more.
    light: int | None = None
    # ulp of a slot: coefficient, product, sum; more where a slot averages quotients, each of a
    # root, a sum and a division.
    slot: int = 3

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


def _torch(class_name, *names, **fixed):
    """Return a constructor of a torch class that takes its options from ``h`` by name."""

    def construct(params, h, **how):
        import torch

        options = {name: h[name] for name in names if name in h}
        if "beta1" in h:
            options["betas"] = h["beta1"], h["beta2"]
        if "decoupled_weight_decay" in fixed:
            how["decoupled_weight_decay"] = h["decoupled"]
        how |= {name: value for name, value in fixed.items() if name != "decoupled_weight_decay"}
        return _exact(getattr(torch.optim, class_name))(params, **options, **how)

    return construct


def _exact(optimizer_class):
    """Let torch keep its step-dependent scalars (mu_product, eta, mu) in float64, as we do."""
    import torch

    def step(self, closure=None):
        default = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            return optimizer_class.step(self, closure)
        finally:
            torch.set_default_dtype(default)

    return type(optimizer_class.__name__, (optimizer_class,), {"step": step})


def torch_rprop(params, h, **how):
    """``torch.optim.Rprop``, whose pairs we keep as single numbers."""
    import torch

    etas, sizes = (h["etaminus"], h["etaplus"]), (h["step_size_min"], h["step_size_max"])
    how["maximize"] = h["maximize"]
    return torch.optim.Rprop(params, lr=h["lr"], etas=etas, step_sizes=sizes, **how)


_COMMON = ("lr", "eps", "weight_decay", "maximize")
torch_nadam = _torch("NAdam", *_COMMON, "momentum_decay", decoupled_weight_decay=None)
torch_radam = _torch("RAdam", *_COMMON, decoupled_weight_decay=None)
torch_adamax = _torch("Adamax", *_COMMON)
torch_adagrad = _torch("Adagrad", *_COMMON, "lr_decay", "initial_accumulator_value")
torch_rmsprop = _torch("RMSprop", *_COMMON, "alpha", "momentum")
torch_rmsprop_centered = _torch("RMSprop", *_COMMON, "alpha", "momentum", centered=True)
torch_adadelta = _torch("Adadelta", *_COMMON, "rho")
torch_asgd = _torch("ASGD", "lr", "lambd", "alpha", "t0", "weight_decay", "maximize")

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

_DECAY = {"weight_decay": 0.1}
_UP = {"weight_decay": 0.1, "maximize": True}
_APART = {"weight_decay": 0.1, "decoupled": True}

CASES += [
    Case("nadam", torchs.nadam, torch_nadam),
    Case("nadam", torchs.nadam, torch_nadam, {**_HOT, "momentum_decay": 0.1}),
    Case("nadam", torchs.nadam, torch_nadam, _UP),
    Case("nadam", torchs.nadam, torch_nadam, _APART),
    Case("radam", torchs.radam, torch_radam),
    Case("radam", torchs.radam, torch_radam, _HOT),
    Case("radam", torchs.radam, torch_radam, _UP),
    Case("radam", torchs.radam, torch_radam, _APART),
    Case("adamax", torchs.adamax, torch_adamax),
    Case("adamax", torchs.adamax, torch_adamax, _HOT),
    Case("adamax", torchs.adamax, torch_adamax, _UP),
    Case("adamax", torchs.adamax, None, _APART),
    Case("adagrad", torchs.adagrad, torch_adagrad),
    Case("adagrad", torchs.adagrad, torch_adagrad, {"lr": 0.1, "lr_decay": 0.1, "eps": 1e-3}),
    Case("adagrad", torchs.adagrad, torch_adagrad, {**_UP, "initial_accumulator_value": 0.1}),
    Case("adagrad", torchs.adagrad, None, _APART),
    Case("rmsprop", torchs.rmsprop, torch_rmsprop),
    Case("rmsprop", torchs.rmsprop, torch_rmsprop, {"lr": 1e-3, "alpha": 0.5, "eps": 1e-3}),
    Case("rmsprop", torchs.rmsprop, torch_rmsprop, _UP),
    Case("rmsprop", torchs.rmsprop, None, _APART),
    Case("rmsprop_momentum", torchs.rmsprop_momentum, torch_rmsprop, slot=5),
    Case(
        "rmsprop_momentum",
        torchs.rmsprop_momentum,
        torch_rmsprop,
        {**_UP, "momentum": 0.5, "alpha": 0.9, "eps": 1e-3},
        slot=5,
    ),
    Case("rmsprop_centered", torchs.rmsprop_centered, torch_rmsprop_centered),
    Case("rmsprop_centered", torchs.rmsprop_centered, torch_rmsprop_centered, _UP),
    Case(
        "rmsprop_centered_momentum",
        torchs.rmsprop_centered_momentum,
        torch_rmsprop_centered,
        slot=5,
    ),
    Case(
        "rmsprop_centered_momentum",
        torchs.rmsprop_centered_momentum,
        torch_rmsprop_centered,
        {**_UP, "momentum": 0.5},
        slot=5,
    ),
    Case("rmsprop_momentum", torchs.rmsprop_momentum, None, _APART, slot=5),
    Case("adadelta", torchs.adadelta, torch_adadelta, slot=7),
    Case("adadelta", torchs.adadelta, torch_adadelta, {**_UP, "lr": 0.1, "rho": 0.5}, slot=7),
    Case("adadelta", torchs.adadelta, None, _APART, slot=7),
    Case("asgd", torchs.asgd, torch_asgd),
    Case("asgd", torchs.asgd, torch_asgd, {"lr": 0.1, "lambd": 0.1, "t0": 3.0}),
    Case("asgd", torchs.asgd, torch_asgd, {**_UP, "t0": 0.0, "alpha": 0.5}),
    Case("asgd", torchs.asgd, None, _APART),
    Case("rprop", torchs.rprop, torch_rprop),
    Case(
        "rprop",
        torchs.rprop,
        torch_rprop,
        {"maximize": True, "step_size_min": 0.009, "step_size_max": 0.011},
    ),
    Case("rprop", torchs.rprop, torch_rprop, {"lr": 0.1, "etaminus": 0.25, "etaplus": 2.0}),
    Case("lion", modern.lion, None),
    Case("lion", modern.lion, None, {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, **_UP}),
    Case("lion", modern.lion, None, {"weight_decay": 0.1, "decoupled": False}),
    Case("signum", modern.signum, None),
    Case("signum", modern.signum, None, {"lr": 0.1, "momentum": 0.0, **_UP}),
    Case("signum", modern.signum, None, _APART),
    Case("ademamix", modern.ademamix, None),
    Case("ademamix", modern.ademamix, None, {**_UP, "alpha_warmup": 5.0, "beta3_warmup": 1e4}),
    Case(
        "ademamix",
        modern.ademamix,
        None,
        {
            "beta1": 0.8,
            "beta2": 0.9,
            "beta3": 0.5,
            "beta3_warmup": 4.0,
            "alpha": 5.0,
            "eps": 1e-3,
            "decoupled": False,
        },
    ),
    Case("adopt", modern.adopt, None),
    Case("adopt", modern.adopt, None, {"clip": False, "eps": 1e-2, **_APART}),
    Case("adopt", modern.adopt, None, {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, **_UP}),
    Case("adopt", modern.adopt, None, {"clip_exp": 0.333, "beta2": 0.9}),
    Case("adan", modern.adan, None),
    Case("adan", modern.adan, None, {**_HOT, "beta3": 0.7, **_UP}),
    Case("adan", modern.adan, None, {**_DECAY, "no_prox": True}),
    Case("laprop", modern.laprop, None, slot=10, light=7),
    Case("laprop", modern.laprop, None, {**_HOT, **_UP}, slot=10, light=7),
    Case(
        "laprop", modern.laprop, None, {"weight_decay": 0.1, "decoupled": False}, slot=10, light=7
    ),
    Case("adabelief", modern.adabelief, None),
    Case("adabelief", modern.adabelief, None, {**_HOT, **_UP}),
    Case("adabelief", modern.adabelief, None, {"weight_decay": 0.1, "decoupled": False}),
    Case("yogi", modern.yogi, None),
    Case("yogi", modern.yogi, None, {**_HOT, "initial_accumulator_value": 0.1, **_UP}),
    Case("yogi", modern.yogi, None, _APART),
    Case("mars_adamw", norms.mars, None, slot=9),
    Case("mars_adamw", norms.mars, None, {**_HOT, "gamma": 0.1, **_UP}, slot=9),
    Case("mars_adamw", norms.mars, None, {"weight_decay": 0.1, "decoupled": False}, slot=9),
    Case("mars_adamw", norms.mars, None, {**_HOT, "clip": False, "plain_start": True}, slot=9),
    Case("cautious_adamw", norms.cautious_adamw, None, light=6),
    Case("cautious_adamw", norms.cautious_adamw, None, {**_HOT, **_UP}, light=6),
    Case("cautious_adamw", norms.cautious_adamw, None, {"decoupled": False}, light=6),
    Case("cautious_lion", norms.cautious_lion, None),
    Case(
        "cautious_lion", norms.cautious_lion, None, {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, **_UP}
    ),
    Case("cautious_lion", norms.cautious_lion, None, {**_DECAY, "decoupled": False}),
    Case("lamb", norms.lamb, None),
    Case("lamb", norms.lamb, None, {**_HOT, **_UP}),
    Case("lars", norms.lars, None, slot=5, light=5),
    Case(
        "lars",
        norms.lars,
        None,
        {"momentum": 0.0, "eps": 0.1, "trust_coefficient": 0.01, **_UP},
        slot=5,
        light=5,
    ),
    Case("stable_adamw", norms.stable_adamw, None),
    Case("stable_adamw", norms.stable_adamw, None, {**_HOT, **_UP}),
    Case("schedule_free_sgd", modern.schedule_free_sgd, None, light=8),
    Case("schedule_free_sgd", modern.schedule_free_sgd, None, {"r": 1.0, **_UP}, light=8),
    Case(
        "schedule_free_sgd",
        modern.schedule_free_sgd,
        None,
        {"lr": 0.1, "momentum": 0.5, "warmup_steps": 5.0, "weight_lr_power": 1.0},
        light=8,
    ),
    Case("schedule_free_adamw", modern.schedule_free_adamw, None, slot=6, light=8),
    Case("schedule_free_adamw", modern.schedule_free_adamw, None, {**_HOT, **_UP}, slot=6, light=8),
    Case(
        "schedule_free_adamw",
        modern.schedule_free_adamw,
        None,
        {"warmup_steps": 5.0, "r": 1.0, "weight_lr_power": 1.0},
        slot=6,
        light=8,
    ),
]

PLAIN = [case for case in CASES if not case.hyper]
"""One case a rule, at its defaults."""

ELEMENTWISE = [case for case in PLAIN if case.rule.measure is None]
"""Those of which every element goes its own way: no norm of the tensor enters."""

# One rule of each shape of kernel, by number of slots and with sums over the tensor or without.
ONE_OF_A_SHAPE = {(len(r.slots), r.measure is None): r.name for r in RULES.values()}.values()

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


def fresh(case: Case, n: int, dtype: Any, seed: int = 0) -> State:
    """Return the state before the first step: random parameters, slots as the rule starts them."""
    p = signed(np.random.default_rng(seed), n, dtype)
    clock = np.array(case.rule.clock0(case.packed))
    slots = tuple(np.zeros_like(p) for _ in case.rule.slots)
    for source, slot in zip(case.rule.starts[1:], slots):
        begin(source, case.packed, p, slot)
    return State(case.packed, clock, p, slots)
