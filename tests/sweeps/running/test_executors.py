"""Chunks on other workers: the same frame wherever they run, and whatever dies meanwhile."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path

import dask
import distributed
import numpy as np
import pandas as pd
import pytest
from numba.np.ufunc import parallel as numba_parallel

from fastopt.errors import ExecutorError, SpecError, SweepWarning
from sweeps import logspace, problems, sweep
from sweeps.engine import chunks
from sweeps.running import dispatch
from sweeps.running.collect import Collector
from sweeps.running.dispatch import report_versions, run_trials, versions
from sweeps.running.executors import DEFAULT_CAPACITY, EXECUTORS, adapter_of
from tests.conftest import ROOT

SPACE = {"lr": logspace(1e-3, 1e-1, 60), "beta1": [0.8, 0.9], "seed": range(3)}
N = 360


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Sixty chunks of six trials."""
    monkeypatch.setattr(chunks, "MOST_TRIALS", 6)


def run(executor=None, space=SPACE, **options):
    options = {"steps": 30, "n_jobs": 2, "progress": False} | options
    return sweep(problems.ellipse(), space, executor=executor, **options)


@pytest.fixture(scope="module")
def expected():
    return run().to_frame()


@pytest.fixture(scope="module")
def cluster():
    """Two dask workers, which are processes of one thread each."""
    with (
        # Else a worker that takes 15 s to come back, on a busy machine, is given up for good.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "120s"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as workers,
        distributed.Client(workers, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def killer(monkeypatch):
    """Kill the worker that brings the first chunk; list the worker of each chunk."""
    seen, add = [], Collector.add

    def deadly(self, chunk, rows):
        add(self, chunk, rows)
        if not seen and rows.facts["pid"] != os.getpid():
            os.kill(rows.facts["pid"], signal.SIGKILL)
        seen.append(rows.facts["pid"])

    monkeypatch.setattr(Collector, "add", deadly)
    return seen


@pytest.mark.parametrize("name", [name for name in EXECUTORS if name != "dask"])
def test_a_worker_is_killed_and_the_frame_is_the_same(name, expected, killer):
    result = run(name)
    pd.testing.assert_frame_equal(result.to_frame(), expected, check_exact=True)
    assert len(killer) == 60
    here = os.getpid()
    assert set(killer) == {here} if name == "threads" else here not in killer


@contextlib.contextmanager
def killing(monkeypatch, every, most):
    """Kill a worker that has brought a chunk, every so many seconds, so many times at most."""
    brought, killed, ended, add = set(), [], threading.Event(), Collector.add

    def noted(self, chunk, rows):
        brought.add(rows.facts["pid"])
        return add(self, chunk, rows)

    def kill():
        while len(killed) < most and not ended.wait(every):
            for pid in brought - {os.getpid(), *killed}:
                killed.append(pid)
                with contextlib.suppress(ProcessLookupError):  # just when the sweep has ended
                    os.kill(pid, signal.SIGKILL)
                break

    monkeypatch.setattr(Collector, "add", noted)
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killed
    finally:
        ended.set()
        killer.join()


@pytest.mark.parametrize(
    ("name", "every", "most", "steps"),
    [
        ("dask", 0.1, 2, 20_000),
        pytest.param("dask", 1.0, 1000, 3_000_000, marks=pytest.mark.soak),
        pytest.param("processes", 1.0, 1000, 3_000_000, marks=pytest.mark.soak),
    ],
)
@pytest.mark.timeout(1200)
def test_a_worker_is_killed_again_and_again(name, every, most, steps, cluster, monkeypatch):
    """And those that take their places start no threads of Numba's."""
    expected = run(steps=steps).to_frame()
    with killing(monkeypatch, every, most) as killed, cluster.as_current():
        result = run(name, steps=steps)
    pd.testing.assert_frame_equal(result.to_frame(), expected, check_exact=True)
    assert len(killed) >= min(most, 5)
    if name == "dask":
        assert set(cluster.run(lambda: numba_parallel._is_initialized).values()) <= {False}


def test_dask_by_the_address_of_its_scheduler(cluster, expected):
    result = run(cluster.scheduler.address)
    pd.testing.assert_frame_equal(result.to_frame(), expected, check_exact=True)


def test_workers_run_the_serial_kernels(cluster):
    """Numba's own threads are started by the first parallel kernel: here by none."""
    iris = problems.iris(hidden=(8,), dtype="float64")
    space, options = {"seed": range(8)}, {"optimizer": "sgd", "batch_size": 16, "progress": False}
    result = sweep(iris, space, executor=cluster, epochs=3, **options)
    here = sweep(iris, space, epochs=3, **options)
    pd.testing.assert_frame_equal(result.to_frame(), here.to_frame(), check_exact=True)
    assert numba_parallel._is_initialized
    assert set(cluster.run(lambda: numba_parallel._is_initialized).values()) == {False}


class Lent(Executor):
    """Somebody's executor, which runs everything at once in this thread, unless it fails."""

    def __init__(self, guilty=(), error=None, refusals=0):
        self.guilty, self.error, self.refusals = set(guilty), error, refusals
        self.lots = []

    def submit(self, function, *args):
        if self.refusals > 0:
            self.refusals -= 1
            raise BrokenExecutor("not now")
        future = Future()
        if function is run_trials:
            self.lots.append(args[2].tolist())
            if self.guilty & set(self.lots[-1]):
                future.set_exception(self.error)
                return future
        future.set_result(function(*args))
        return future


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError("by\nzero"), "ZeroDivisionError: by"),
        (BrokenExecutor("pid 7 died"), "its worker was lost (BrokenExecutor)"),
        (distributed.scheduler.KilledWorker("t", None, 3), "its worker was lost (KilledWorker)"),
    ],
    ids=["raised", "pool", "dask"],
)
def test_only_the_guilty_trials_fail(expected, error, reason):
    guilty = [0, 77, 78, 359]
    lent = Lent(guilty, error)
    with pytest.warns(SweepWarning, match=r"4 of 360 trials FAILED.*column 'error'"):
        result = run(lent)
    frame = result.to_frame()
    failed = frame["state"] == "FAILED"
    assert frame.index[failed].tolist() == guilty
    assert set(frame["error"][failed]) == {reason}
    assert frame["error"][~failed].isna().all()
    kept = frame[~failed].drop(columns="error")
    pd.testing.assert_frame_equal(kept, expected[~failed], check_exact=True)
    alone = [lot[0] for lot in lent.lots if len(lot) == 1 and lot[0] in guilty]
    assert sorted(alone) == sorted(guilty * dispatch.FAULTS_TO_FAIL)
    assert len(lent.lots) < 60 + 100  # chunks, and some 4 log2(6) halves and repeats


def test_a_victim_is_run_again(expected):
    """Errors that go away leave no trace."""

    class Once(Lent):
        def submit(self, function, *args):
            future = super().submit(function, *args)
            self.guilty -= set(self.lots[-1]) if self.lots else set()
            return future

    result = run(Once(range(0, N, 7), OSError("a bad moment")))
    pd.testing.assert_frame_equal(result.to_frame(), expected, check_exact=True)


def test_an_executor_that_refuses_for_a_while(expected):
    result = run(Lent(refusals=dispatch.TRIES - 1))
    pd.testing.assert_frame_equal(result.to_frame(), expected, check_exact=True)


def test_an_executor_that_is_broken():
    with pytest.raises(ExecutorError, match=r"takes no more work: its worker was lost"):
        run(Lent(refusals=10**6))


def test_an_executor_that_breaks_leaves_what_is_finished(expected):
    class Dying(Lent):
        def submit(self, function, *args):
            self.refusals = 10**6 if len(self.lots) == 20 else 0
            return super().submit(function, *args)

    with pytest.warns(SweepWarning, match="ended early: the executor takes no more work"):
        result = run(Dying())
    assert result.info["interrupted"]
    assert 0 < len(result) < N
    part = expected.iloc[: len(result)]
    pd.testing.assert_frame_equal(result.to_frame(), part, check_exact=True)


def test_trials_that_all_fail_are_not_the_trials_fault():
    with pytest.raises(ExecutorError, match="64 trials failed and none finished: OSError: no disk"):
        run(Lent(range(N), OSError("no disk")))


def test_workers_of_another_version_are_refused(monkeypatch):
    class Old(Lent):
        def submit(self, function, *args):
            future = super().submit(function, *args)
            if function is report_versions:
                future = Future()
                future.set_result((versions() | {"numba": "0.1"}, False))
            return future

    with pytest.raises(ExecutorError, match=r"'numba': '0.1'.*Install the same versions"):
        run(Old())


def test_chunks_in_flight_are_few(expected):
    class Counting(ThreadPoolExecutor):
        most = now = 0
        lock = threading.Lock()

        def submit(self, function, *args):
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            future = super().submit(function, *args)
            future.add_done_callback(self.count)
            return future

        def count(self, future):
            with self.lock:
                self.now -= 1

    with Counting(3) as pool:
        result = run(pool)
    pd.testing.assert_frame_equal(result.to_frame(), expected, check_exact=True)
    assert 3 <= pool.most <= 6
    assert adapter_of(Lent(), 8).capacity() == DEFAULT_CAPACITY


def test_curves_and_mixed_kernels_come_back_whole():
    space = {"optimizer": ["sgd", "adam"], "lr": logspace(1e-3, 1e-1, 5), "steps": [3, 17]}
    here, there = (run(executor, space, steps=None, curves=True) for executor in (None, "threads"))
    pd.testing.assert_frame_equal(there.to_frame(), here.to_frame(), check_exact=True)
    pd.testing.assert_frame_equal(there.curves(), here.curves(), check_exact=True)


@pytest.mark.parametrize(
    ("executor", "message"),
    [
        ("proceses", "executor must be one of .* [(]did you mean 'processes'"),
        (3, "got 3"),
        (ThreadPoolExecutor, "an object with submit"),
        ("dask", r"the current dask client, and there is none.*distributed\.Client"),
        ("tcp://127.0.0.1:1", "there is no dask scheduler at 'tcp://127.0.0.1:1'"),
    ],
    ids=str,
)
def test_what_is_no_executor(executor, message):
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(SpecError, match=message),
    ):
        adapter_of(executor, 2)


@pytest.mark.parametrize(("name", "extra"), [("loky", "loky"), ("dask", "dask")])
def test_a_missing_library_is_named(name, extra, monkeypatch):
    module = {"dask": "distributed"}.get(name, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'pip install "fastopt\[{extra}\]"'):
        adapter_of(name, 2)


def test_nothing_is_left_behind():
    """Workers end with the sweep; what it shared with its threads is forgotten."""
    assert not dispatch._HERE
    with contextlib.suppress(ExecutorError):
        run(Lent(range(N), OSError("no disk")))
    assert not dispatch._HERE
    np.testing.assert_array_equal(run("threads").columns["trial_id"], np.arange(N))
    assert not dispatch._HERE


MPI = """
    import os
    from mpi4py.futures import MPIPoolExecutor
    from sweeps.running.collect import Collector
    from tests.sweeps.running import test_executors
    from sweeps.engine import chunks

    if __name__ == "__main__":
        chunks.MOST_TRIALS = 6
        pids, add = set(), Collector.add

        def noted(self, chunk, rows):
            pids.add(rows.facts["pid"])
            return add(self, chunk, rows)

        Collector.add = noted
        with MPIPoolExecutor(2) as pool:
            there = test_executors.run(pool)
        assert pids and os.getpid() not in pids
        here = test_executors.run()
        print(there.to_frame().equals(here.to_frame()))
"""


@pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed")
def test_the_pool_of_mpi(tmp_path):
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    script = tmp_path / "mpi_run.py"
    script.write_text(textwrap.dedent(MPI))
    done = subprocess.run(
        [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
