"""``fastopt.torch`` against torch's own fused AdamW, on the shapes people train."""

from __future__ import annotations

import numpy as np
import pytest

import fastopt
from bench.shapes import MODELS
from bench.test_step import compare, store

FEW = [(8,), (3, 5)]


def tensors(shapes):
    """Return float32 parameters with gradients."""
    import torch

    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape) * 0.02) for shape in shapes]
    for p in params:
        p.grad = torch.randn_like(p)
    return params


def sides(shapes):
    """Return steps of the same AdamW by the adapter and by torch's fused and default kernels."""
    import torch

    from fastopt.torch import AdamW

    return {
        "ours": AdamW(tensors(shapes), lr=1e-6).step,
        "torch fused": torch.optim.AdamW(tensors(shapes), lr=1e-6, fused=True).step,
        "torch default": torch.optim.AdamW(tensors(shapes), lr=1e-6).step,
    }


@pytest.mark.parametrize("model", MODELS)
def test_model(benchmark, model, quick):
    """All tensors of a model in one step."""
    steps = sides(FEW if quick else MODELS[model]())
    store(benchmark, "shapes", model, compare(steps, quick))
    benchmark.pedantic(steps["ours"], rounds=3, iterations=1, warmup_rounds=1)


@pytest.mark.parametrize("count", [160, 1000])
def test_small_tensors(benchmark, count, quick):
    """Many tensors of 1 000, no arena: found by address, one parallel region."""
    steps = sides([(1000,)] * (2 if quick else count))
    store(benchmark, "many", f"{count:,} tensors of 1 000, `fastopt.torch`", compare(steps, quick))
    benchmark.pedantic(steps["ours"], rounds=3, iterations=10, warmup_rounds=1)


def test_one_large_tensor(benchmark, quick):
    """One tensor of 10 million, where memory is the limit for both."""
    steps = sides([(1000 if quick else 10_000_000,)])
    store(benchmark, "shapes", "one tensor of 10 million", compare(steps, quick))
    benchmark.pedantic(steps["ours"], rounds=3, iterations=1, warmup_rounds=1)


def with_extras(n):
    """One pass of ours against torch's fused step and its separate passes, all on flat tensors."""
    import torch

    buffer = fastopt.flatten([np.full(n, 0.02, np.float32)])
    buffer.flat_grad[:] = 1e-3
    optimizer = fastopt.AdamW(buffer, lr=1e-6, nonfinite="skip", ema=0.999)

    def ours():
        optimizer.step(grad_scale=2.0, max_norm=1.0, zero_grad=True)

    p = torch.full((n,), 0.02)
    p.grad = torch.full((n,), 1e-3)
    average = p.detach().clone()
    fused = torch.optim.AdamW([p], lr=1e-6, fused=True)

    def theirs():
        p.grad.mul_(0.5)
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_([p], 1.0)):
            return
        fused.step()
        fused.zero_grad(set_to_none=False)
        average.lerp_(p.detach(), 0.001)

    return {"ours": ours, "torch fused + passes": theirs}


def test_unscale_clip_check_step_zero_average(benchmark, quick):
    """Unscale, clip by norm, check for NaN, AdamW, zero the gradient, average the weights."""
    steps = with_extras(1000 if quick else 10_000_000)
    case = "unscale + clip + check + AdamW + zero + EMA"
    store(benchmark, "fused", case, compare(steps, quick))
    benchmark.pedantic(steps["ours"], rounds=3, iterations=1, warmup_rounds=1)


@pytest.mark.parametrize("n", [10_000, 1_000_000])
def test_subnormal_moments(benchmark, n, quick):
    """AdamW whose moments have decayed to subnormal numbers, against normal ones."""
    n = 1000 if quick else n

    def stepping(size):
        p, g = np.ones(n, np.float32), np.zeros(n, np.float32)
        optimizer = fastopt.AdamW(p, lr=1e-6, betas=(0.999999, 0.999999))
        optimizer.step(g)
        for segment in optimizer._groups[0].segments:
            for slot in segment.slots.values():
                slot[:] = size
        return lambda: optimizer.step(g)

    steps = {"ours": stepping(1e-3), "subnormal": stepping(1e-40)}
    store(benchmark, "subnormal", f"{n:,} elements", compare(steps, quick))
    benchmark.pedantic(steps["subnormal"], rounds=3, iterations=1, warmup_rounds=1)
