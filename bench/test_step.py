"""One optimizer step: our kernels against NumPy, torch and the bare memory traffic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastopt
from bench.machine import facts
from bench.numpy_steps import as_written, in_place, slots_of
from fastopt.compile import inlinable
from fastopt.rules import Rule
from fastopt.rules.sgd import counted
from sweeps.cli.bench import time_alternating
from tests.helpers.cases import PLAIN, Case

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
FLAVOURS = {"torch fused": {"fused": True}, "torch foreach": {"foreach": True}, "torch default": {}}
CASES = {case.rule_name: case for case in PLAIN}


@inlinable
def touch_tick(h, clock):
    """Coefficient of :func:`touch`."""
    return (clock[0] + 1.0,), (h[0],)


@inlinable
def touch1(c, g, x):
    """Read and write the stream of a rule without slots."""
    return (x[0] + c[0] * g,)


@inlinable
def touch2(c, g, x):
    """Read and write the streams of a rule with one slot."""
    return x[0] + c[0] * g, x[1] + c[0] * g


@inlinable
def touch3(c, g, x):
    """Read and write the streams of a rule with two slots."""
    return x[0] + c[0] * g, x[1] + c[0] * g, x[2] + c[0] * g


TOUCHES = {len(names): touch for names, touch in (("", touch1), ("m", touch2), ("mv", touch3))}


def touching(rule: Rule) -> Rule | None:
    """Return a rule that moves the same bytes as ``rule`` and computes next to nothing."""
    touch = TOUCHES.get(len(rule.slots))
    if touch is None:
        return None
    return replace(
        rule, name=f"touch{len(rule.slots)}", clock0=counted, tick=touch_tick, update=touch,
        powers={}, corrected={},
    )  # fmt: skip


class Stepping(fastopt.Optimizer):
    """The optimizer of any rule, also of one that has no class: ``step`` is that of all classes."""

    def __init__(self, params: Any, rule: Rule, **options: Any) -> None:
        defaults = {name: kind.default for name, kind in rule.hyper.items()} | options
        super().__init__(
            params, lambda where, given: (rule, {n: given[n] for n in defaults}), defaults
        )


def step_of(rule: Rule, n: int) -> Callable[[], object]:
    """Return ``lambda: optimizer.step(g)`` over ``n`` float32 elements, as users call it."""
    rng = np.random.default_rng(0)
    p, g = (rng.normal(size=n).astype(np.float32) for _ in range(2))
    optimizer = Stepping(p, rule, lr=1e-6)
    optimizer.step(g)  # there is no state before
    held = optimizer.state_dict()
    held["state"][0] |= dict(zip(rule.slots, slots_of(rule, n, rng)))
    optimizer.load_state_dict(held)
    return lambda: optimizer.step(g)


def torch_step_of(
    case: Case, sizes: list[int], how: dict[str, bool]
) -> Callable[[], object] | None:
    """Return a call that makes one step of torch's twin, None where torch has no such kernel."""
    import torch

    if case.twin is None:
        return None
    torch.manual_seed(0)
    params = [torch.randn(n) for n in sizes]
    for p in params:
        p.grad = torch.randn_like(p)
    try:
        return case.twin(params, case.h | {"lr": 1e-6}, **how).step
    except (RuntimeError, TypeError, ValueError):  # this optimizer has no fused CPU kernel
        return None


def store(benchmark: Any, table: str, case: str, times: dict[str, float], **more: Any) -> None:
    """Keep medians and what they mean where bench/report.py finds them."""
    benchmark.extra_info.update(facts(), table=table, case=case, seconds=times, **more)


def compare(
    sides: dict[str, Callable[[], object] | None], quick: bool, rounds: int = 21
) -> dict[str, float]:
    """Time all sides that exist, alternating."""
    rounds = 2 if quick else rounds
    return time_alternating({k: v for k, v in sides.items() if v is not None}, rounds=rounds)


@pytest.mark.parametrize("n", SIZES)
def test_adamw(benchmark, n, quick):
    """Fused AdamW against everyone, over sizes."""
    n, case = min(n, 4096) if quick else n, CASES["adamw"]
    ours = step_of(case.rule, n)
    others = {name: torch_step_of(case, [n], how) for name, how in FLAVOURS.items()}
    numpy_step = in_place("adamw", n)
    touch = touching(case.rule)
    sides = {"ours": ours, "touch": touch and step_of(touch, n), "NumPy in place": numpy_step}
    sides |= {"NumPy": as_written("adamw", n), **others}
    store(benchmark, "adamw", f"{n:,}", compare(sides, quick), elements=n)
    benchmark.pedantic(ours, rounds=5, iterations=10, warmup_rounds=1)


@pytest.mark.parametrize("name", CASES)
def test_rule(benchmark, name, quick):
    """Every rule at 10 million elements."""
    n, case = 4096 if quick else SIZES[-1], CASES[name]
    ours = step_of(case.rule, n)
    others = {flavour: torch_step_of(case, [n], how) for flavour, how in FLAVOURS.items()}
    sides = {"ours": ours, "NumPy": in_place(name, n), **others}
    store(benchmark, "rules", name, compare(sides, quick, rounds=9), elements=n)
    benchmark.pedantic(ours, rounds=5, iterations=1, warmup_rounds=1)


def test_one_small_array(benchmark, quick):
    """``opt.step(g)`` from Python on one array of 1 000, all checks included."""
    p, g = np.ones(1000, np.float32), np.ones(1000, np.float32)
    optimizer = fastopt.AdamW(p, lr=1e-6)
    sides = {
        "ours": lambda: optimizer.step(g),
        "torch fused": torch_step_of(CASES["adamw"], [1000], FLAVOURS["torch fused"]),
    }
    store(benchmark, "many", "1 tensor of 1 000, `opt.step(g)`", compare(sides, quick))
    benchmark.pedantic(sides["ours"], rounds=5, iterations=100, warmup_rounds=1)


@pytest.mark.parametrize("tensors", [160, 1000])
def test_arena(benchmark, tensors, quick):
    """Many small tensors in an arena against torch's one team of threads a tensor."""
    buffer = fastopt.flatten([np.ones(1000, np.float32) for _ in range(tensors)])
    buffer.flat_grad[:] = 1.0
    optimizer = fastopt.AdamW(buffer, lr=1e-6)
    fused = torch_step_of(CASES["adamw"], [1000] * tensors, FLAVOURS["torch fused"])
    sides = {"ours": optimizer.step, "torch fused": fused}
    store(benchmark, "many", f"{tensors:,} tensors of 1 000, arena", compare(sides, quick))
    benchmark.pedantic(optimizer.step, rounds=5, iterations=10, warmup_rounds=1)


@pytest.mark.parametrize("tensors", [160, 1000])
def test_list(benchmark, tensors, quick):
    """The same without an arena: a list of arrays, and one of gradients."""
    arrays, grads = ([np.ones(1000, np.float32) for _ in range(tensors)] for _ in range(2))
    optimizer = fastopt.AdamW(arrays, lr=1e-6)
    fused = torch_step_of(CASES["adamw"], [1000] * tensors, FLAVOURS["torch fused"])
    sides = {"ours": lambda: optimizer.step(grads), "torch fused": fused}
    store(benchmark, "many", f"{tensors:,} tensors of 1 000, list", compare(sides, quick))
    benchmark.pedantic(sides["ours"], rounds=5, iterations=10, warmup_rounds=1)
