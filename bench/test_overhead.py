"""What the engine costs beside the training: trials of one step, their frame, and their memory."""

from __future__ import annotations

import functools
import resource

import numpy as np
import pytest

from bench.machine import facts
from sweeps import histogram, linspace, problems, sweep
from sweeps.cli.bench import time_alternating

SIZES = (10_000, 1_000_000, 10_000_000)


def trials(n, **options):
    """Run ``n`` trials of a single step of SGD: next to nothing but the engine's own work."""
    side = round(n**0.5)
    space = {"lr": linspace(0.001, 0.19, n // side), "start_x": linspace(-9.0, 9.0, side)}
    return sweep(bowl(), space, optimizer="sgd", steps=1, progress=False, **options)


@functools.cache
def bowl():
    """Return the problem: to make one, with its gradient checked, takes as long as 1 000 trials."""
    return problems.ellipse()


@pytest.mark.parametrize("n", SIZES)
def test_overhead_of_a_trial(benchmark, n, quick):
    """Seconds of a whole sweep, result included, over its trials."""
    n = 1_000 if quick else n
    times = time_alternating(
        {"ours": lambda: trials(n)}, rounds=2 if quick else 15 if n < 10**6 else 5
    )
    size = len(trials(n))
    benchmark.extra_info.update(
        facts(), table="overhead", case=f"{n:,}", seconds={"ours": times["ours"] / size}
    )
    benchmark.pedantic(trials, (n,), rounds=1)


def test_a_frame_of_a_million_rows(benchmark, quick):
    """A result of 20 columns to a DataFrame."""
    n = 1_000 if quick else 1_000_000
    space = {"lr": linspace(1e-4, 1e-2, n // 100), "start_x1": linspace(-1.0, 1.0, 100)}
    result = sweep(problems.random_quadratic(9), space, optimizer="sgd", steps=1, progress=False)
    rows, columns = result.to_frame().shape
    times = time_alternating({"ours": result.to_frame}, rounds=2 if quick else 9)
    benchmark.extra_info.update(
        facts(), table="frame", case=f"{rows:,} rows of {columns} columns", seconds=times["ours"]
    )
    benchmark.pedantic(result.to_frame, rounds=1)


def test_memory_of_a_reduced_sweep(benchmark, quick):
    """Growth of the process over 10^8 trials of which a histogram is kept."""
    n = 10_000 if quick else 100_000_000
    counts = histogram("train_loss", np.geomspace(1e-3, 100.0, 50))
    trials(1 << 17, reduce=counts)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    table = benchmark.pedantic(trials, (n,), {"reduce": counts}, rounds=1)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    benchmark.extra_info.update(
        facts(), table="memory", case=f"{int(table.COMPLETE.sum()):,} trials", bytes=1024 * grown
    )
