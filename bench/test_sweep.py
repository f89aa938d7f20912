"""Whole sweeps of the digits MLP: minibatch steps a second against the peers."""

from __future__ import annotations

import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bench.baselines import TRAINERS, sklearn_mlp
from bench.machine import facts
from sweeps import geomspace, problems, sweep
from sweeps.cli.bench import time_alternating

BATCHES = (8, 32, 128)
EPOCHS = {8: 2, 32: 10, 128: 15}
MIXED = {"lr": geomspace(1e-4, 1e-1, 48), "batch_size": [8, 16, 32, 64, 128, 256, 512]}


def steps_of(problem, space, **options):
    """Run a sweep of Adam; return the number of minibatch steps."""
    result = sweep(problem, space, optimizer="adam", progress=False, **options)
    return int(result.to_frame()["steps"].sum())


def against(benchmark, case, name, ours, theirs, quick):
    """Time whole sweeps of ours against another side, per minibatch step; calls return steps."""
    work = {"ours": ours(), name: theirs()}
    times = time_alternating({"ours": ours, name: theirs}, rounds=2 if quick else 15)
    per_step = {side: times[side] / work[side] for side in work}
    benchmark.extra_info.update(
        facts(), table="sweep", case=case, baseline=name,
        ours=per_step["ours"], theirs=per_step[name], ratio=per_step[name] / per_step["ours"],
    )  # fmt: skip
    benchmark.pedantic(ours, rounds=1 if quick else 3)


def setting(hidden, batch, quick):
    """Return a problem, the number of epochs and a call of our sweep of 64 trials."""
    problem, epochs = problems.digits(hidden=hidden), 1 if quick else EPOCHS[batch]
    space = {"lr": geomspace(1e-4, 1e-2, 4 if quick else 64)}
    return problem, epochs, lambda: steps_of(problem, space, batch_size=batch, epochs=epochs)


@pytest.mark.parametrize("baseline", TRAINERS)
@pytest.mark.parametrize("batch", BATCHES)
def test_steps_per_second(benchmark, batch, baseline, quick):
    """One sweep on all cores against one process of the baseline, per minibatch step."""
    problem, epochs, ours = setting((32,), batch, quick)

    def theirs():
        return TRAINERS[baseline](problem, batch, epochs)

    against(benchmark, f"batch {batch}", baseline, ours, theirs, quick)


CASES = [((32,), batch, f"batch {batch}") for batch in BATCHES]
CASES.append(((), 32, "softmax regression, batch 32"))
every_case = pytest.mark.parametrize(("hidden", "batch", "case"), CASES, ids=[c for *_, c in CASES])


@every_case
def test_against_two_processes(benchmark, hidden, batch, case, quick):
    """One sweep on all cores against scikit-learn in two processes."""
    _, epochs, ours = setting(hidden, batch, quick)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, initializer=one_blas_thread) as pool:
        call = functools.partial(pool.submit, sklearn_on_digits, hidden, batch, epochs)

        def theirs():
            return sum(future.result() for future in [call(), call()])

        against(benchmark, case, "scikit-learn, 2 processes", ours, theirs, quick)


@every_case
def test_against_jax(benchmark, hidden, batch, case, jax, tmp_path, quick):
    """One sweep on all cores against ``vmap`` on all cores, as many trials of as many epochs."""
    problem, epochs, ours = setting(hidden, batch, quick)
    trials, data = 4 if quick else 64, tmp_path / "digits.npz"
    labels = problem.y.astype(np.int32), problem.y_test.astype(np.int32)
    rows = {"X": problem.X, "y": labels[0], "X_test": problem.X_test, "y_test": labels[1]}
    np.savez(data, **rows, sizes=problem.aux[0])
    run = jax("mlp", trials, epochs, batch, data)
    if run is None:
        pytest.skip("no JAX")

    def theirs():
        run()
        return trials * epochs * (len(problem.X) // batch)

    against(benchmark, case, "JAX vmap", ours, theirs, quick)


def one_blas_thread():
    """Set a worker up as the sweep's own: its processes share the cores."""
    threadpool_limits(1)


def sklearn_on_digits(hidden, batch, epochs):
    """Train once in a worker."""
    return sklearn_mlp(problems.digits(hidden=hidden), batch, epochs)


def test_parallel_efficiency(benchmark, quick):
    """Batch sizes 8 to 512 in one grid: seconds on one worker over seconds on two, halved."""
    problem, epochs = problems.digits(hidden=(32,)), 1 if quick else 10

    def on(workers):
        return lambda: steps_of(problem, MIXED, epochs=epochs, n_jobs=workers)

    on(1)()
    times = time_alternating({"one": on(1), "two": on(2)}, rounds=2 if quick else 9)
    benchmark.extra_info.update(
        facts(), table="efficiency", case="batch sizes 8 to 512, 2 workers",
        efficiency=times["one"] / times["two"] / 2,
    )  # fmt: skip
    benchmark.pedantic(on(2), rounds=1 if quick else 3)
