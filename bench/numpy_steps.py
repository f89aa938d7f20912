"""Optimizer steps as a careful NumPy user writes them: in place, with few temporaries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cases import PLAIN


def in_place(name: str, n: int) -> Callable[[], object]:
    """Return a call that makes one step of the rule over ``n`` float32 elements with NumPy."""
    rng = np.random.default_rng(0)
    p, g = (rng.normal(size=n).astype(np.float32) for _ in range(2))
    if name in ADAMS:
        return _adam(p, g, decay=ADAMS[name])
    return as_written(name, n)


def as_written(name: str, n: int) -> Callable[[], object]:
    """Return a call that makes one step with the paper's formulas on whole arrays."""
    rng = np.random.default_rng(0)
    p, g = (rng.normal(size=n).astype(np.float32) for _ in range(2))
    case = next(case for case in PLAIN if case.rule_name == name)
    h = case.h | {"lr": 1e-6}
    slots = [rng.random(n).astype(np.float32) for _ in case.rule.slots]

    def step() -> None:
        p[:], *new = case.reference(h, 10, p, g, *slots)
        for slot, values in zip(slots, new):
            slot[:] = values

    return step


ADAMS = {"adam": 0.0, "adamw": 1e-2}


def _adam(p: np.ndarray, g: np.ndarray, decay: float, lr: float = 1e-6) -> Callable[[], object]:
    m, v = np.zeros_like(p), np.zeros_like(p)
    a, b = np.empty_like(p), np.empty_like(p)
    steps = [0]

    def step() -> None:
        steps[0] += 1
        t = steps[0]
        if decay:
            np.multiply(p, 1 - lr * decay, out=p)
        np.multiply(m, 0.9, out=m)
        np.multiply(g, 0.1, out=a)
        np.add(m, a, out=m)
        np.multiply(v, 0.999, out=v)
        np.multiply(g, g, out=a)
        np.multiply(a, 0.001, out=a)
        np.add(v, a, out=v)
        np.sqrt(v, out=a)
        np.divide(a, np.sqrt(1 - 0.999**t), out=a)
        np.add(a, 1e-8, out=a)
        np.divide(m, a, out=b)
        np.multiply(b, lr / (1 - 0.9**t), out=b)
        np.subtract(p, b, out=p)

    return step
