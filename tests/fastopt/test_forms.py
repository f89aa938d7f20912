"""Two forms of one optimizer: the paper's and timm's, from timm's description of its options."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import fastopt
import fastopt.torch

SHAPES = ((3, 4), (5,), (2, 2, 2), ())


def timm_mars(steps, starts, lr, wd, beta1, beta2, eps, gamma):
    """Matrices by MARS, without correction of the first gradient; others by AdamW."""
    p, m, v, last = starts.copy(), 0.0, 0.0, 0.0
    for t, g in enumerate(steps, start=1):
        c = g
        if g.ndim >= 2 and t > 1:
            c = g + gamma * beta1 / (1 - beta1) * (g - last)
            c = c / max(1.0, math.sqrt((c * c).sum()))
        m, v, last = beta1 * m + (1 - beta1) * c, beta2 * v + (1 - beta2) * c * c, g
        u = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps)
        p = p - lr * (u + wd * p)
    return p


def timm_adopt(steps, starts, lr, wd, beta1, beta2, eps, power):
    """The clip grows with this power of the steps before; coupled decay."""
    p, m, v = starts.copy(), 0.0, 0.0
    for t, g in enumerate(steps):
        g = g + wd * p
        if t:
            n = np.clip(g / np.maximum(np.sqrt(v), eps), -(t**power), t**power)
            m = beta1 * m + (1 - beta1) * n
            p = p - lr * m
        v = beta2 * v + (1 - beta2) * g * g if t else g * g
    return p


FORMS = {
    "MARS": (
        {"betas": (0.9, 0.99), "gamma": 0.1, "optimize_1d": False, "plain_start": True},
        lambda steps, p: timm_mars(steps, p, 0.05, 0.1, 0.9, 0.99, 1e-8, 0.1),
    ),
    "ADOPT": (
        {"clip_exp": 0.333},
        lambda steps, p: timm_adopt(steps, p, 0.05, 0.1, 0.9, 0.9999, 1e-6, 0.333),
    ),
}


@pytest.mark.parametrize("ema", [None, 0.5], ids=["plain", "ema"])
@pytest.mark.parametrize("name", FORMS)
def test_timms_form(name, ema):
    """In arrays, an arena and tensors, with what a step does besides, too."""
    options, reference = FORMS[name]
    options = {"lr": 0.05, "weight_decay": 0.1, **options}
    rng = np.random.default_rng(0)
    starts = [np.asarray(rng.normal(size=shape)) for shape in SHAPES]
    steps = [[np.asarray(rng.normal(size=shape)) for shape in SHAPES] for _ in range(8)]
    arrays = [p.copy() for p in starts]
    scaled = [p.copy() for p in starts]
    tensors = [torch.nn.Parameter(torch.tensor(p)) for p in starts]
    buffer = fastopt.flatten([p.copy() for p in starts])
    opt, other, arena = (
        getattr(fastopt, name)(params, ema=ema, **options) for params in (arrays, scaled, buffer)
    )
    theirs = getattr(fastopt.torch, name)(tensors, **options)
    for grads in steps:
        opt.step(grads)
        other.step([np.asarray(4.0 * g) for g in grads], grad_scale=4.0)
        for view, g, p in zip(buffer.grads, grads, tensors):
            view[...], p.grad = g, torch.tensor(g)
        arena.step()
        theirs.step()
    for k, start in enumerate(starts):
        expected = reference([grads[k] for grads in steps], start)
        for got in (arrays[k], buffer.params[k], tensors[k].detach().numpy(), scaled[k]):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


def test_by_default_vectors_are_corrected_as_matrices_are():
    """The paper knows one kind of tensors."""
    g = np.random.default_rng(1).normal(size=(6, 4))
    vector, matrix = np.ones(4), np.ones((2, 2))
    opt = fastopt.MARS([vector, matrix], lr=0.1)
    apart = fastopt.MARS([other := np.ones(4)], lr=0.1, optimize_1d=False)
    for row in g:
        opt.step([row, row.reshape(2, 2)])
        apart.step([row])
    np.testing.assert_array_equal(vector, matrix.reshape(-1))
    assert (vector != other).any()
