"""Optimizers to test and what to feed them, shared by the tests of the classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastopt import SGD, Adam, AdamW

SHAPES = {"w": (5, 7), "b": (), "e": (0, 3), "c": (33,)}

# One row a class x what changes its rule or its options' names.
MAKERS = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    (Adam, {"lr": 0.01, "weight_decay": 0.1}),
    (Adam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (Adam, {"amsgrad": True, "betas": (0.5, 0.9), "eps": 1e-3}),
    (AdamW, {}),
    (AdamW, {"lr": 0.01, "amsgrad": True, "maximize": True}),
]
IDS = [f"{cls.__name__}-{'-'.join(options)}" for cls, options in MAKERS]
every_maker = pytest.mark.parametrize(("cls", "options"), MAKERS, ids=IDS)


def arrays(seed=0, dtype=np.float64, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=s), dtype) for name, s in shapes.items()}


def gradients(steps, dtype=np.float64):
    return [arrays(seed=100 + t, dtype=dtype) for t in range(steps)]


def torchs(cls, params, **options):
    """Return torch's optimizer of the same name over copies of the arrays ``params``."""
    twins = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in params]
    return getattr(torch.optim, cls.__name__)(twins, **options), twins


def torch_step(opt, twins, grads):
    for p, g in zip(twins, grads):
        p.grad = None if g is None else torch.from_numpy(g.copy())
    opt.step()


def assert_near(actual, expected, steps):
    """Two ulps a step, of the largest number a parameter has met (here below 8)."""
    atol = 2 * steps * np.spacing(np.asarray(8.0, actual.dtype))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def everything(opt):
    """Return all bytes that a step may change."""
    segments = [segment for group in opt._groups for segment in group.segments]
    return [a.tobytes() for s in segments for a in (s.clock, s.array, *s.slots.values())]
