"""Sweeps on workers that are processes, against the threads of this one."""

from __future__ import annotations

import contextlib
import time

import dask
import distributed
import pytest

from bench.machine import facts
from sweeps import geomspace, problems, sweep
from sweeps.cli.bench import time_alternating
from sweeps.engine import chunks
from sweeps.engine.lane_records import WIDTH
from sweeps.running.processes import Processes

STEPS = 100_000
MODEL = 4 * STEPS  # ns a trial: the unit in which chunks are cut

# dask's scheduler and monitors share the cores with the workers: an idle cluster of two takes 16 %
# of one core, 1.7 % with the settings that docs/cluster.md recommends.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.memory.monitor-interval": "5s",
}


def trials(n, executor=None, workers=2):
    """Go down the ellipse ``n`` times."""
    space, options = {"lr": geomspace(1e-3, 1e-1, n)}, {"n_jobs": workers, "progress": False}
    assert len(sweep(problems.ellipse(), space, steps=STEPS, executor=executor, **options)) == n


@pytest.fixture(scope="module")
def elsewhere():
    """Return ``elsewhere(name)``, which begins two workers of one thread each."""
    with contextlib.ExitStack() as running:

        def begin(name):
            if name == "processes":
                pool = Processes(2)
                running.callback(pool.shutdown)
                return pool
            running.enter_context(dask.config.set(QUIET))
            options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
            cluster = running.enter_context(distributed.LocalCluster(**options, silence_logs=50))
            return running.enter_context(distributed.Client(cluster, set_as_default=False))

        yield begin


@pytest.mark.parametrize("name", ["processes", "dask"])
def test_share_of_the_local_throughput(benchmark, monkeypatch, name, elsewhere, quick):
    """Trials a second on two workers, in chunks of half a second, over those of two threads here.

    Workers are warm; ``share_with_start`` counts the start of the first as well.
    """
    few = 4 if quick else 400
    trials(few, workers=1)
    began = time.perf_counter()
    trials(few, workers=1)
    half = (0.005 if quick else 0.5) * few / (time.perf_counter() - began)
    half = max(1, round(half / WIDTH)) * WIDTH
    for bound in ("LEAST", "MOST"):
        monkeypatch.setattr(chunks, bound, half * MODEL)
    n = half * (4 if quick else 60)
    began = time.perf_counter()
    workers = elsewhere(name)
    trials(n, workers)
    first = time.perf_counter() - began
    sides = {"here": lambda: trials(n), name: lambda: trials(n, workers)}
    times = time_alternating(sides, rounds=2 if quick else 3)
    benchmark.extra_info.update(
        facts(), table="executors", case=f"{n // half} chunks of {half} trials", baseline=name,
        seconds=times, share=times["here"] / times[name], share_with_start=times["here"] / first,
    )  # fmt: skip
    print(f"{name}: {benchmark.extra_info['share']:.1%} of the local throughput, "
          f"{benchmark.extra_info['share_with_start']:.1%} with the start")  # fmt: skip
    benchmark.pedantic(sides[name], rounds=1)
