"""Whole sweeps of the digits MLP: minibatch steps a second against the peers."""

from __future__ import annotations

import pytest

from bench.baselines import TRAINERS
from bench.machine import facts
from bench.paired import paired
from sweeps import logspace, problems, sweep

BATCHES = (8, 32, 128)
EPOCHS = {8: 2, 32: 5, 128: 15}
MIXED = {"lr": logspace(1e-4, 1e-1, 48), "batch_size": [8, 16, 32, 64, 128, 256, 512]}


def steps_of(problem, space, **options):
    """Run a sweep of Adam; return the number of minibatch steps."""
    result = sweep(problem, space, optimizer="adam", progress=False, **options)
    return int(result.to_frame()["steps"].sum())


@pytest.mark.parametrize("baseline", TRAINERS)
@pytest.mark.parametrize("batch", BATCHES)
def test_steps_per_second(benchmark, batch, baseline, quick):
    """One sweep on all cores against one process of the baseline, per minibatch step."""
    problem, epochs = problems.digits(hidden=(32,)), 1 if quick else EPOCHS[batch]
    space = {"lr": logspace(1e-4, 1e-2, 4 if quick else 64)}

    def ours():
        return steps_of(problem, space, batch_size=batch, epochs=epochs)

    def theirs():
        return TRAINERS[baseline](problem, batch, epochs)

    work = {"ours": ours(), baseline: theirs()}
    times = paired({"ours": ours, baseline: theirs}, rounds=2 if quick else 15)
    per_step = {name: times[name] / work[name] for name in work}
    benchmark.extra_info.update(
        facts(), table="sweep", case=f"batch {batch}", baseline=baseline,
        ours=per_step["ours"], theirs=per_step[baseline],
        ratio=per_step[baseline] / per_step["ours"],
    )  # fmt: skip
    benchmark.pedantic(ours, rounds=1 if quick else 3)


def test_parallel_efficiency(benchmark, quick):
    """Batch sizes 8 to 512 in one grid: seconds on one worker over seconds on two, halved."""
    problem, epochs = problems.digits(hidden=(32,)), 1 if quick else 10

    def on(workers):
        return lambda: steps_of(problem, MIXED, epochs=epochs, n_jobs=workers)

    on(1)()
    times = paired({"one": on(1), "two": on(2)}, rounds=2 if quick else 9)
    benchmark.extra_info.update(
        facts(), table="efficiency", case="batch sizes 8 to 512, 2 workers",
        efficiency=times["one"] / times["two"] / 2,
    )  # fmt: skip
    benchmark.pedantic(on(2), rounds=1 if quick else 3)
