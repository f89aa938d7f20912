"""Optimizers to test and what to feed them, shared by the tests of the classes."""

from __future__ import annotations

import re

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


# Of the first tensor of a trained Adam; each raised something that named neither place nor remedy.
MALFORMED = {
    "no state": (lambda saved: saved.update(state=None), "'state' must be a dict"),
    "a list as state": (lambda saved: saved.update(state=[]), "'state' must be a dict"),
    "no entry": (lambda saved: saved["state"].update({0: None}), r"state\[0\] must be a dict"),
    "an array as entry": (
        lambda saved: saved["state"].update({0: np.ones(3)}),
        r"state\[0\] must be a dict",
    ),
    "no groups": (lambda saved: saved.update(param_groups=None), "'param_groups' must be a list"),
    "no group": (
        lambda saved: saved.update(param_groups=[None]),
        r"param_groups\[0\] must be a dict; got None",
    ),
    "no numbers": (
        lambda saved: saved["param_groups"][0].update(params=None),
        "'params'.*must be a list of numbers; got None",
    ),
    "nested numbers": (
        lambda saved: saved["param_groups"][0].update(params=[[0], [1]]),
        r"'params'.*must be a list of numbers; got \[0\]",
    ),
    "a number as names": (
        lambda saved: saved["param_groups"][0].update(param_names=5),
        "'param_names'.*must be a list of names; got 5",
    ),
    **{
        f"{key!r} as key": (
            lambda saved, key=key: saved["state"].update({key: saved["state"].pop(0)}),
            re.escape(f"state[{key!r}] belongs to no parameter"),
        )
        for key in ("w", "0.0", "-0", -1, 7, 0.5, "true", b"0")
    },
    "a number and a text as key": (
        lambda saved: saved["state"].update({"0": saved["state"][0]}),
        r"state\[0\] is there twice",
    ),
    "a number for two": (
        lambda saved: saved["param_groups"][0]["params"].__setitem__(1, 0),
        "two parameters have one number",
    ),
    **{
        f"{clock!r:.20} as clock": (
            lambda saved, clock=clock: saved["state"][0].update(clock=clock),
            r"state\[0\].*'clock' must be a list of numbers",
        )
        for clock in ("12345", 5, [], [1.0, None], [10**400], ["1"] * 5, [True] * 5, [1j] * 5)
    },
}
every_malformed_state = pytest.mark.parametrize(
    ("spoil", "text"), MALFORMED.values(), ids=list(MALFORMED)
)
