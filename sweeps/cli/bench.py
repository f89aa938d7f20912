"""How fast this machine takes a step and runs a sweep: what ``fastopt bench`` prints.

Ratios survive a drifting machine: all sides alternate, and medians are compared.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np

import fastopt
from sweeps import problems
from sweeps.common.frames import pd
from sweeps.run import sweep
from sweeps.space.axes import geomspace

SIZES = (1_000, 100_000, 10_000_000)
BYTES = 28  # AdamW in float32: reads the gradient, reads and writes the parameter and two moments


def time_alternating(
    sides: Mapping[str, Callable[[], object]], rounds: int = 15, least: float = 2e-3
) -> dict[str, float]:
    """Return the median seconds of one call of each side.

    Sides are called in turn, A B A B ..., and leave things ready for the next call; the first turn
    is not counted. ``least``: seconds a turn lasts: short calls are repeated within it, so that the
    clock and the switch between sides do not count.

    >>> sides = {"a": lambda: sum(range(10)), "b": lambda: sum(range(100))}
    >>> times = time_alternating(sides, rounds=3)
    >>> list(times)
    ['a', 'b']
    """
    repeats = {}
    for name, call in sides.items():
        call()
        # The first calls may still set something up: the fastest of some counts.
        times: list[float] = []
        while len(times) < 3 or sum(times) < least:
            start = time.perf_counter()
            call()
            times.append(max(time.perf_counter() - start, 1e-7))
        repeats[name] = max(1, round(least / min(times)))
    turns: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, call in sides.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            seconds = (time.perf_counter() - start) / repeats[name]
            if turn:
                turns[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in turns.items()}


def numpy_adam(
    p: np.ndarray, g: np.ndarray, decay: float = 1e-2, lr: float = 1e-6
) -> Callable[[], object]:
    """Return a call that makes one step of AdamW as a careful NumPy user writes it: in place.

    >>> p = np.array([1.0])
    >>> numpy_adam(p, np.array([3.0]), decay=0.0, lr=0.25)()
    >>> p.round(6)
    array([0.75])
    """
    m, v = np.zeros_like(p), np.zeros_like(p)
    a, b = np.empty_like(p), np.empty_like(p)
    taken = [0]

    def step() -> None:
        taken[0] += 1
        t = taken[0]
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


def _torch_fused(p: np.ndarray, g: np.ndarray) -> Callable[[], object]:
    import torch

    parameter = torch.from_numpy(p)
    parameter.grad = torch.from_numpy(g)
    return torch.optim.AdamW([parameter], lr=1e-6, fused=True).step


def time_steps(sizes: tuple[int, ...] = SIZES, rounds: int = 7) -> pd.DataFrame:
    """Time a step of AdamW in float32 against NumPy in place and, where it is, torch's fused one.

    Returns ``elements``, ``seconds`` (ours), ``GB/s``, and how many times as long others took.

    >>> time_steps((100,), rounds=1)["elements"].tolist()
    [100]
    """
    rows = []
    for n in sizes:
        rng = np.random.default_rng(0)
        p, g = (rng.normal(size=n).astype(np.float32) for _ in range(2))
        buffer = fastopt.flatten([p])
        buffer.flat_grad[:n] = g
        sides = {"ours": fastopt.AdamW(buffer, lr=1e-6).step, "NumPy": numpy_adam(p.copy(), g)}
        if importlib.util.find_spec("torch") is not None:
            sides["torch fused"] = _torch_fused(p.copy(), g)
        times = time_alternating(sides, rounds)
        ours = times.pop("ours")
        ratios = {f"{name} / ours": seconds / ours for name, seconds in times.items()}
        rows.append({"elements": n, "seconds": ours, "GB/s": BYTES * n / ours / 1e9, **ratios})
    return pd.DataFrame(rows)


def trials_per_second(n: int = 256) -> float:
    """Return trainings a second of a sweep of digits: 64-32-10, five epochs of minibatches of 32.

    >>> trials_per_second(2) > 0
    True
    """

    def run() -> float:
        result = sweep(
            problems.digits(hidden=(32,)),
            {"lr": geomspace(1e-4, 1e-2, n)},
            optimizer="adam",
            epochs=5,
            progress=False,
        )
        return float(result.info["trials_per_second"])

    run()
    return run()
