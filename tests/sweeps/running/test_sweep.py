"""``sweep()`` from outside: refusals, estimates, Ctrl-C, caches, threads and forks.

What is at stake in the second half is the process itself, so each scenario has one of its own.
"""

import inspect
import math
import textwrap
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from fastopt.errors import FastoptError, HyperparameterError, SpecError
from sweeps import estimate, linspace, logspace, problems, sweep
from sweeps.engine import chunks as chunks_module
from sweeps.engine.run_blocks import BlasLimit
from sweeps.running import jobs
from sweeps.running.check import SETTINGS
from tests.helpers.needs import needs_fork


@pytest.fixture(scope="module")
def iris():
    return problems.iris(hidden=(8,), dtype="float64")


@pytest.fixture
def nothing_runs(monkeypatch):
    """Fail if a sweep compiles or trains anything."""

    def fail(*args):
        raise AssertionError("a sweep with a mistake in it was started")

    for name in ("compile_block", "run_together"):
        monkeypatch.setattr(chunks_module, name, fail)


EPOCH = {"epochs": 1}

WRONG = {
    "axis": ({"batch_siez": [8]}, EPOCH, SpecError, "'batch_siez' [(]did you mean 'batch_size'"),
    "keyword": ({}, {**EPOCH, "bta1": 0.9}, SpecError, "'bta1' [(]did you mean 'beta1'"),
    "optimizer": ({}, {**EPOCH, "optimizer": "adm"}, SpecError, "'adm' [(]did you mean 'adam'"),
    "optimizers": ({"optimizer": ["sgd", "momentun"]}, EPOCH, SpecError, "mean 'momentum'"),
    "schedule": ({"schedule": ["cosin"]}, EPOCH, SpecError, "did you mean 'cosine'"),
    "schedule number": ({}, {**EPOCH, "schedule": 3}, SpecError, "schedule must be one of .*got 3"),
    "schedule needs": ({"schedule": ["exponential"]}, EPOCH, HyperparameterError, "needs gamma"),
    "metric": ({}, {**EPOCH, "metric": "test_acuracy"}, SpecError, "mean 'test_accuracy'"),
    "mode": ({}, {**EPOCH, "mode": "maximum"}, SpecError, "mode must be one of min, max"),
    "shuffle": ({"shuffle": ["epochs"]}, EPOCH, SpecError, "did you mean 'epoch'"),
    "empty axis": ({"lr": []}, EPOCH, SpecError, "axis 'lr' is empty"),
    "empty union": ([], EPOCH, SpecError, "one such dict or more"),
    "not axes": ("lr", EPOCH, SpecError, "a space is a dict of axes"),
    "NaN axis": ({"lr": [0.1, math.nan]}, EPOCH, SpecError, "'lr' holds nan"),
    "idle axis": (
        {"optimizer": ["sgd", "adam"], "beta1": [0.8, 0.9]},
        EPOCH,
        SpecError,
        "'beta1' means nothing to optimizer sgd",
    ),
    "idle keyword": (
        {"optimizer": ["sgd", "momentum"]},
        {**EPOCH, "beta2": 0.9},
        SpecError,
        "beta2=... means nothing to optimizer sgd, momentum",
    ),
    "no length": ({}, {}, SpecError, "how long is a trial"),
    "two lengths": ({}, {"epochs": 1, "steps": 1}, SpecError, "one, not both"),
    "two lengths, axes": ({"epochs": [1], "steps": [1]}, {}, SpecError, "one, not both"),
    "epochs 0": ({}, {"epochs": 0}, SpecError, "epochs must be an integer >= 1; got 0"),
    "steps 1.5": ({"steps": [1.5]}, {}, SpecError, "steps must be an integer >= 1; got 1.5"),
    "batch 0": ({}, {**EPOCH, "batch_size": 0}, SpecError, ">= 1; got 0"),
    "batch 1.5": ({"batch_size": [1.5]}, EPOCH, SpecError, "batch_size must .*; got 1.5"),
    "batch NaN": ({}, {**EPOCH, "batch_size": math.nan}, SpecError, "batch_size .*; got nan"),
    "batch inf": ({}, {**EPOCH, "batch_size": math.inf}, SpecError, "batch_size .*; got inf"),
    "batch True": ({}, {**EPOCH, "batch_size": True}, SpecError, "batch_size .*; got True"),
    "batch name": ({"batch_size": ["all"]}, EPOCH, SpecError, "batch_size .*; got 'all'"),
    "seed": ({"seed": [-1]}, EPOCH, SpecError, "seed must be an integer >= 0; got -1"),
    "seed NaN": ({}, {**EPOCH, "seed": math.nan}, SpecError, "seed .*; got nan"),
    "eval_every": ({}, {**EPOCH, "eval_every": 0}, SpecError, "eval_every .*; got 0"),
    "target NaN": ({}, {**EPOCH, "target": math.nan}, SpecError, "target must be a finite"),
    "target name": ({}, {**EPOCH, "target": "0.9"}, SpecError, "target .*; got '0.9'"),
    "limit": ({}, {**EPOCH, "diverge_above": 0.0}, SpecError, "diverge_above .*; got 0.0"),
    "limit NaN": ({}, {**EPOCH, "diverge_above": math.nan}, SpecError, "got nan"),
    "no target": ({}, {**EPOCH, "stop_at_target": True}, SpecError, "needs a target to stop at"),
    "eval_every name": ({}, {**EPOCH, "eval_every": "lgo"}, SpecError, "did you mean 'log'"),
    "seed_mode": ({}, {**EPOCH, "seed_mode": "comon"}, SpecError, "did you mean 'common'"),
    "values": ({}, {**EPOCH, "lr": [0.1]}, SpecError, r"one value for all trials; got \[0.1\]"),
    "array": ({}, {**EPOCH, "lr": np.ones(2)}, SpecError, "one value for all trials"),
    "measure": ({}, {**EPOCH, "measure": "loss"}, SpecError, "measure must be .* got 'loss'"),
    "measured": ({}, {**EPOCH, "measure": ["grad_norm"] * 2}, SpecError, "'grad_norm' twice"),
    "lr NaN": ({}, {**EPOCH, "lr": math.nan}, HyperparameterError, "lr must be finite.*got nan"),
    "lr negative": ({"lr": [0.1, -0.1]}, EPOCH, HyperparameterError, "adam: lr .*; got -0.1"),
    "lr name": ({"lr": ["big"]}, EPOCH, HyperparameterError, "a real number .*; got 'big'"),
    "beta1": ({"beta1": [0.9, 1.0]}, EPOCH, HyperparameterError, r"\[0.0, 1.0\); got 1.0"),
    "flag": ({"maximize": [1]}, EPOCH, HyperparameterError, "True or False; got 1"),
    "jobs 0": ({}, {**EPOCH, "n_jobs": 0}, SpecError, "n_jobs .*; got 0"),
    "jobs True": ({}, {**EPOCH, "n_jobs": True}, SpecError, "n_jobs .*; got True"),
    "jobs 1.0": ({}, {**EPOCH, "n_jobs": 1.0}, SpecError, "n_jobs .*; got 1.0"),
}


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("call", [sweep, estimate])
@pytest.mark.parametrize("name", WRONG)
def test_mistakes_are_refused_before_anything_runs(iris, name, call):
    space, options, kind, message = WRONG[name]
    with pytest.raises(kind, match=message) as caught:
        call(iris, space, **options)
    assert isinstance(caught.value, FastoptError)


def test_what_is_not_given_is_that_of_the_signature(iris):
    signature = inspect.signature(sweep).parameters
    assert {name: signature[name].default for name in SETTINGS} == SETTINGS
    assert estimate(iris, {}, epochs=1, diverge_above=0.5).n_trials == 1


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("call", [sweep, estimate])
@pytest.mark.parametrize(
    "problem", [None, "digits", problems.iris, np.ones(3)], ids=["None", "str", "function", "array"]
)
def test_a_problem_must_be_one(problem, call):
    with pytest.raises(SpecError, match="problem must be one of"):
        call(problem, {}, epochs=1)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(("metric", "rows"), [("test_loss", "test"), ("val_f1", "validation")])
def test_a_metric_of_rows_needs_them(metric, rows):
    with pytest.raises(SpecError, match=f"needs {rows} rows, and iris has none; .* {rows}=0.2"):
        sweep(problems.iris(test_size=0), {}, epochs=1, metric=metric)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    "hidden",
    [
        {"beta1": [*np.linspace(0, 0.9, 63).tolist(), 1.0]},
        {"weight_decay": linspace(1.0, -1.0, 64)},
        {"beta2": logspace(1e-3, 2.0, 64)},
        {"seed": range(62, -2, -1)},
        {"batch_size": [*range(1, 64), 0]},
    ],
    ids=lambda part: next(iter(part)),
)
def test_one_bad_value_in_a_grid_too_large_to_look_at(iris, hidden):
    """Every value of every axis is looked at, whatever the period at which trials have it."""
    others = {"lr": linspace(0.0, 1.0, 2**20), "eps": linspace(0.0, 1.0, 2**10)}
    for space in ({**others, **hidden}, {**hidden, **others}, [others, {**others, **hidden}]):
        with pytest.raises(FastoptError, match=next(iter(hidden))):
            sweep(iris, space, epochs=1)


def test_plan_counts_exactly(iris):
    space = [
        {"optimizer": ["sgd", "adam"], "batch_size": [16, 25, 112, 500], "epochs": [2, 5]},
        {"steps": [7, 11], "seed": range(3)},
    ]
    found = estimate(iris, space, n_jobs=1)
    per_epoch = [7, 5, 1, 1]
    assert found.n_trials == 22
    assert found.n_steps == 2 * 7 * sum(per_epoch) + 3 * (7 + 11)
    assert found.seconds > 0
    assert found.bytes >= 22 * 8 * 8  # eight results a trial, eight bytes each
    assert estimate(iris, space, n_jobs=2).seconds == pytest.approx(found.seconds / 2)
    assert estimate(iris, space, curves=True).bytes > found.bytes


@pytest.mark.usefixtures("nothing_runs")
def test_plan_of_what_no_machine_could_run(iris):
    """Planning 2^40 trials with curves of a million points allocates none of them."""
    space = {"lr": linspace(0.0, 1.0, 2**20), "beta1": linspace(0.0, 0.9, 2**20)}
    found = estimate(iris, space, steps=10**6, eval_every=1, curves=True)
    assert found.n_trials == 2**40
    assert found.n_steps == 2**40 * 10**6
    assert found.bytes > 2**40 * 10**6 * 8


def test_options_of_plan_are_those_of_sweep(iris):
    found = estimate(
        iris, {"lr": [0.1]}, epochs=3, batch_size=16, optimizer="momentum", momentum=0.5
    )
    assert found.n_steps == 21


def test_a_result_has_the_axes_and_says_how_it_went(iris):
    result = sweep(iris, {"optimizer": ["sgd"], "lr": [0.1, 0.2]}, epochs=2, progress=False)
    assert len(result) == 2
    assert result.axes == ("optimizer", "lr")
    assert result.columns["trial_id"].tolist() == [0, 1]
    info = result.info
    assert (info["n_trials"], info["interrupted"], info["problem"]) == (2, False, "iris")
    assert 0 <= info["compile_seconds"] <= info["seconds"]
    assert info["trials_per_second"] > 0


def blas_threads():
    return {
        info["filepath"]: info["num_threads"]
        for info in threadpool_info()
        if info["user_api"] == "blas"
    }


def test_blas_threads_are_one_during_a_sweep_and_as_before_after_it(iris, monkeypatch):
    before, during = blas_threads(), []
    original = chunks_module.run_together

    def watched(block, workers, watch, stop):
        def look(*progress):
            during.append(set(blas_threads().values()))
            watch(*progress)

        return original(block, workers, look, stop)

    monkeypatch.setattr(chunks_module, "run_together", watched)
    # Some 0.2 s: a sweep that ends before the first look would show nothing.
    sweep(iris, {"seed": range(200)}, optimizer="sgd", epochs=100, progress=False)
    assert during
    assert all(threads == {1} for threads in during)
    after = blas_threads()
    assert {file: after[file] for file in before} == before


def test_sweeps_that_overlap_share_one_limit():
    """The first to end is not the first to begin: neither may leave its own limit behind."""
    before, limit = blas_threads(), BlasLimit()
    assert before
    for _ in range(2):
        limit.__enter__()
        limit.__enter__()
        assert set(blas_threads().values()) == {1}
        limit.__exit__()
        assert set(blas_threads().values()) == {1}
        limit.__exit__()
        assert blas_threads() == before


# Softmax in float64 with sgd: a kernel that this file's tests above have compiled already.
COMMON = """
    import os, signal, sys, threading, time
    import numpy as np
    from sweeps import problems, sweep
    from sweeps.running import runner

    iris = problems.iris(hidden=(8,), dtype="float64")
    options = {"optimizer": "sgd", "lr": 0.05, "batch_size": 16, "progress": False}

    def measured(seeds, epochs=3):
        result = sweep(iris, {"seed": seeds}, epochs=epochs, **options)
        assert not result.info["interrupted"]
        return {name: result.columns[name] for name in ("trial_id", "state", *result.metrics)}

    def assert_same_bits(actual, expected):
        for name, column in expected.items():
            np.testing.assert_array_equal(actual[name], column)
"""

NOTHING_TO_COMPILE = """
    import numba
    from numba.core import event

    recorder = event.RecordingListener()
    event.register("numba:compile", recorder)
    rows = measured(range(4))
    assert (rows["state"] == 0).all()
    print("compiled", len(recorder.buffer))
    numba.njit(lambda x: x + 1)(1)  # so that the zero above means something
    assert len(recorder.buffer) > 0
"""

INTERRUPTED = """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may ignore it

    class Impatient(runner.Progress):
        '''Presses Ctrl-C as soon as `wanted` trials are done.'''

        def update(self, cost, done, best=None):
            if done >= wanted and not pressed:
                pressed.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGINT)

    runner.Progress = Impatient
    many = 10**7  # at 0.1 ms each: a quarter of an hour

    def interrupted(space, **length):
        pressed.clear()
        result = sweep(iris, space, **length, **options)
        assert pressed and time.monotonic() - pressed[0] < 3, "slow to stop"
        assert result.info["interrupted"]
        assert result.info["n_trials"] == many
        return result

    wanted, pressed = 20, []
    result = interrupted({"seed": range(many)}, epochs=3)
    rows = result.columns
    ids = rows["trial_id"]
    assert 20 <= len(ids) < many
    assert (rows["state"] == 0).all() and len(result.to_frame()) == len(ids)

    few = min(len(ids), 500)
    wanted = many  # never
    expected = measured(range(int(ids[:few].max()) + 1))
    for name, column in expected.items():
        np.testing.assert_array_equal(rows[name][:few], column[ids[:few]])

    wanted = 0  # trials of hours, none of which is done
    result = interrupted({"seed": range(many)}, steps=10**10)
    assert len(result) == len(result.to_frame()) == 0
    assert_same_bits(measured(range(3)), {n: c[:3] for n, c in expected.items()})  # and again
    print("interrupted and right")
"""

TWO_THREADS = """
    import numba
    from threadpoolctl import threadpool_info

    def blas():
        return [i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"]

    expected = {k: measured(range(k, k + 200), epochs=30) for k in (0, 200)}
    assert numba.threading_layer() == os.environ["NUMBA_THREADING_LAYER"]
    before, results, barrier = blas(), {}, threading.Barrier(2)

    def work(k):
        barrier.wait()
        results[k] = measured(range(k, k + 200), epochs=30)

    workers = [threading.Thread(target=work, args=(k,)) for k in expected]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for k in expected:
        assert_same_bits(results[k], expected[k])
    assert blas() == before
    print("both right")
"""

FORKED = """
    import warnings

    warnings.simplefilter("ignore", DeprecationWarning)  # fork of a process with threads: the test
    expected = measured(range(40))
    child = os.fork()
    if child == 0:
        assert_same_bits(measured(range(40)), expected)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert_same_bits(measured(range(40)), expected)
    print("both right")
"""


@pytest.fixture
def scenario(iris, python):
    """Run a scenario in a process of its own, the kernel being in the cache; return its output."""
    sweep(iris, {}, optimizer="sgd", epochs=1, progress=False)

    def run(code, **environment):
        environment = {"NUMBA_NUM_THREADS": "2", **environment}
        return python(textwrap.dedent(COMMON) + textwrap.dedent(code), **environment).stdout

    return run


def test_a_second_process_compiles_nothing(scenario):
    assert scenario(NOTHING_TO_COMPILE) == "compiled 0\n"


def test_ctrl_c_returns_what_is_finished(scenario):
    assert scenario(INTERRUPTED) == "interrupted and right\n"


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_two_threads_sweep_at_once(scenario, layer):
    assert scenario(TWO_THREADS, NUMBA_THREADING_LAYER=layer) == "both right\n"


def test_threads_outlive_the_sweep(iris):
    """A thread that ends just before a fork can leave a lock of libgcc held in the child."""

    def workers():
        return {t.ident for t in threading.enumerate() if t.name.startswith("fastopt-sweep")}

    sweep(iris, {}, optimizer="sgd", epochs=1, progress=False)
    before = workers()
    sweep(iris, {}, optimizer="sgd", epochs=1, progress=False)
    assert before
    assert workers() == before


@needs_fork
@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_a_forked_child_sweeps(scenario, layer):
    assert scenario(FORKED, NUMBA_THREADING_LAYER=layer) == "both right\n"


def test_the_rate_counts_the_time_in_which_trials_run_while_others_compile(iris, monkeypatch):
    slow = chunks_module.compile_block

    def compile_slowly(block):
        time.sleep(0.2)
        return slow(block)

    monkeypatch.setattr(chunks_module, "compile_block", compile_slowly)
    how = {"lr": 0.1, "epochs": 1, "progress": False}
    info = sweep(iris, {"optimizer": ["sgd", "adam", "momentum"]}, **how).info
    assert 0.6 <= info["compile_seconds"] <= info["seconds"]
    assert info["trials_per_second"] < 3 / 0.4


def test_what_an_executor_compiles_is_counted(iris, tmp_path, monkeypatch):
    """It is compiled before the chunks are sent, which find nothing left to compile."""
    slow = jobs.TrainingJob.prepare

    def prepare(job, workers):
        time.sleep(0.2)
        return slow(job, workers)

    monkeypatch.setattr(jobs.TrainingJob, "prepare", prepare)
    how = {"optimizer": "sgd", "epochs": 1, "progress": False}
    info = sweep(iris, {"lr": [0.1]}, store=tmp_path / "store", **how).info
    assert 0.2 <= info["compile_seconds"] <= info["seconds"]
