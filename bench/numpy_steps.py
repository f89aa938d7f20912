"""Optimizer steps as a careful NumPy user writes them: in place, with few temporaries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastopt.rules import Rule
from sweeps.cli.bench import numpy_adam
from tests.helpers.cases import PLAIN


def slots_of(rule: Rule, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return slots as in the middle of a run; mean squares come first, and are above squared means.

    Otherwise the variance of a centred rule is negative, and its root no number.
    """
    return [(rng.random(n) + (k == 0)).astype(np.float32) for k in range(len(rule.slots))]


def in_place(name: str, n: int) -> Callable[[], object]:
    """Return a call that makes one step of the rule over ``n`` float32 elements with NumPy."""
    rng = np.random.default_rng(0)
    p, g = (rng.normal(size=n).astype(np.float32) for _ in range(2))
    if name in ADAMS:
        return numpy_adam(p, g, decay=ADAMS[name])
    return as_written(name, n)


def as_written(name: str, n: int) -> Callable[[], object]:
    """Return a call that makes one step with the paper's formulas on whole arrays."""
    rng = np.random.default_rng(0)
    p, g = (rng.normal(size=n).astype(np.float32) for _ in range(2))
    case = next(case for case in PLAIN if case.rule_name == name)
    h = case.h | {"lr": 1e-6}
    slots = slots_of(case.rule, n, rng)

    def step() -> None:
        p[:], *new = case.reference(h, 10, p, g, *slots)
        for slot, values in zip(slots, new):
            slot[:] = values

    return step


ADAMS = {"adam": 0.0, "adamw": 1e-2}
