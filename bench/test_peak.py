"""Training of networks against the machine's own matrix product: the share of what a core can do.

Counted are the operations of the matrix products of training: three a layer (forward, the gradient
of its weights, that of its inputs), two in the first. Timed are whole sweeps in one thread, with
updates, activations, shuffles and evaluations, against ``sgemm`` of 1024 x 1024 in one thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bench.machine import facts
from sweeps import problems, sweep
from sweeps.cli.bench import time_alternating

SIDE = 1024
CASES = [
    ((32,), 8, 10), ((32,), 32, 20), ((32,), 128, 30),
    ((256,), 128, 10), ((256, 256), 128, 5), ((512, 512), 256, 3),
]  # fmt: skip


def flops_of(sizes: tuple[int, ...]) -> int:
    """Count what the products of training take for a row: a multiplication and an addition each.

    >>> flops_of((64, 32, 10))  # 2 * (2 * 64 * 32 + 3 * 32 * 10)
    10112
    """
    first, *rest = (n * m for n, m in itertools.pairwise(sizes))
    return 2 * (2 * first + 3 * sum(rest))


def product() -> Callable[[], np.ndarray]:
    """Return a call of ``sgemm`` in one thread."""
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(SIDE, SIDE)).astype(np.float32) for _ in range(2))
    out = np.empty_like(a)

    def run():
        with threadpool_limits(1):
            return np.dot(a, b, out)

    return run


@pytest.mark.parametrize(("hidden", "batch", "epochs"), CASES, ids=str)
def test_share_of_the_peak(benchmark, hidden, batch, epochs, quick):
    """Whole sweeps of four trials on digits, by SGD and by Adam."""
    problem = problems.digits(hidden=hidden)
    epochs = 1 if quick else epochs
    told = {"batch_size": batch, "epochs": epochs, "n_jobs": 1, "progress": False}

    def by(optimizer):
        return lambda: sweep(problem, {"lr": [1e-4, 2e-4, 3e-4, 4e-4]}, optimizer=optimizer, **told)

    sides = {"sgemm": product(), "sgd": by("sgd"), "adam": by("adam")}
    times = time_alternating(sides, rounds=2 if quick else 15)
    sizes = len(problem.X[0]), *hidden, 10
    flops = 4 * epochs * len(problem.X) * flops_of(sizes)
    shares = {name: flops / times[name] for name in ("sgd", "adam")}
    benchmark.extra_info.update(
        facts(), table="peak", case=f"{'-'.join(map(str, sizes))}, batch {batch}",
        sgemm=2 * SIDE**3 / times["sgemm"], **shares,
    )  # fmt: skip
    benchmark.pedantic(sides["adam"], rounds=1 if quick else 3)
