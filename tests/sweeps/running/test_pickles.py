"""What users keep or send: pickled, copied and read in another process, it is what it was."""

import copy
import io
import operator
import pickle
import threading

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest

from fastopt.compile import fingerprint
from fastopt.errors import ExecutorError
from fastopt.schedules import cosine
from sweeps import (
    KeepBest,
    Space,
    Study,
    SweepResult,
    estimate,
    latin_hypercube,
    logspace,
    loguniform,
    problems,
    sweep,
    sweep_callable,
    uniform,
    when,
    zipped,
)
from sweeps.problems import PROBLEMS
from sweeps.pruning import PRUNERS
from sweeps.running.processes import Processes

GRID = {"lr": logspace(1e-2, 1e-1, 3), "beta1": [0.8, 0.9], "seed": range(2)}


def by_joblib(thing):
    file = io.BytesIO()
    joblib.dump(thing, file)
    file.seek(0)
    return joblib.load(file)


def by_pickle(protocol):
    return lambda thing: pickle.loads(pickle.dumps(thing, protocol))


WAYS = {
    "oldest": by_pickle(2),
    "newest": by_pickle(pickle.HIGHEST_PROTOCOL),
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
    "joblib": by_joblib,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def stored(folder):
    sweep(problems.ellipse(), GRID, steps=5, curves=True, store=folder, progress=False)
    return SweepResult.open(folder)


def filed(folder):
    path = stored(folder / "store").save(folder / "trials.parquet")
    return SweepResult.open(path)


def study_of(folder):
    study = Study({"a": [1, 2, 3]}, metric="loss")
    study.ask(2)
    study.tell(0, {"loss": 0.5, "hours": 2.0})
    return study


RESULTS = {
    "landscape": lambda folder: sweep(
        problems.ellipse(), GRID, steps=5, curves=True, progress=False
    ),
    "data": lambda folder: sweep(
        problems.iris(hidden=(8,)), GRID, epochs=2, curves=True, progress=False
    ),
    "own": lambda folder: sweep(
        problems.landscape(lambda x: (x * x, (2.0 * x,)), start=(1.0,), name="mine"),
        {"lr": [0.1, 0.2], "schedule": [cosine(5), "constant"]}, optimizer="sgd", steps=5,
        progress=False,
    ),
    "pruned": lambda folder: sweep(
        problems.ellipse(), GRID, steps=40, curves=True, pruner="successive_halving",
        progress=False,
    ),
    "reduced": lambda folder: sweep(
        problems.ellipse(), GRID, steps=5, reduce=KeepBest(3), progress=False
    ),
    "resumable": lambda folder: sweep(
        problems.ellipse(), GRID, steps=5, store=folder, progress=False
    ),
    "stored": stored,
    "filed": filed,
    "callable": lambda folder: sweep_callable(
        lambda config: config["lr"], GRID, progress=False
    ),
    "study": lambda folder: study_of(folder).result(),
}  # fmt: skip


@pytest.fixture(scope="module", params=RESULTS)
def result(request, tmp_path_factory):
    return RESULTS[request.param](tmp_path_factory.mktemp("results"))


def assert_same(one, other):
    assert type(one) is type(other)
    assert repr(one) == repr(other)
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame(), check_exact=True)
    assert (one.metric, one.mode, one.metrics, one.axes) == (
        other.metric, other.mode, other.metrics, other.axes,
    )  # fmt: skip
    assert str(one.info) == str(other.info)
    if one._curves is not None:
        pd.testing.assert_frame_equal(one.curves(), other.curves(), check_exact=True)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_results_are_what_they_were(result, way):
    assert_same(way(result), result)


def test_results_that_come_back_go_on(result):
    """What can be asked of the one can be asked of the other, with the same bits."""
    again = pickle.loads(pickle.dumps(result))
    assert again.best_params_ == result.best_params_
    pd.testing.assert_frame_equal(again.best(3), result.best(3), check_exact=True)
    if {"lr", "beta1"} <= set(result.axes):
        assert again.plot.heatmap("lr", "beta1") is not None
    if hasattr(result, "rungs"):
        pd.testing.assert_frame_equal(again.rungs(), result.rungs(), check_exact=True)
    elif result.plan is not None and "seed" in result.axes and not result.info.get("store"):
        i = int(result.columns["trial_id"][0])
        pd.testing.assert_frame_equal(again.replay(i), result.replay(i), check_exact=True)
    if type(result) is SweepResult and result.plan is not None and len(result) == 12:
        more = [r.extend({"seed": [7]}, progress=False) for r in (again, result)]
        assert_same_frames(*more)


def assert_same_frames(one, other):
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame(), check_exact=True)
    assert one.info["reused"] >= 12


def test_a_stored_result_is_found_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = sweep(problems.ellipse(), GRID, steps=5, store="runs", progress=False)
    opened = SweepResult.open("runs")
    kept = pickle.dumps((result, opened))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for stored in (result, opened, *pickle.loads(kept)):
        assert len(stored.to_frame()) == 12


def test_another_process_reads_them():
    """By pickle of the standard library, as multiprocessing and joblib send."""
    result, problem = RESULTS["landscape"](None), problems.landscape(lambda x: x * x, start=(3.0,))
    with Processes(1) as pool:
        frame = pool.submit(operator.methodcaller("to_frame"), result).result()
        value = pool.submit(operator.methodcaller("__call__", 2.0), problem).result()
    pd.testing.assert_frame_equal(frame, result.to_frame(), check_exact=True)
    assert value == problem(2.0)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("make", PROBLEMS.values(), ids=PROBLEMS)
def test_problems_are_what_they_were(make, way):
    problem = make()
    again = way(problem)
    assert repr(again) == repr(problem)
    for name, value in vars(problem).items():
        other = vars(again)[name]
        if callable(value):
            assert fingerprint(other) == fingerprint(value)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(other, value)
            assert other.dtype == value.dtype
        elif name != "aux":
            assert str(other) == str(value)
    for before, after in zip(problem.aux, again.aux, strict=True):
        np.testing.assert_array_equal(before, after)


def test_copies_keep_the_functions_and_so_the_kernels():
    problem = problems.iris(hidden=(8,))
    again = copy.deepcopy(problem)
    assert again.loss_and_grad is problem.loss_and_grad
    assert again.X is not problem.X
    assert copy.copy(problem).X is problem.X
    with pytest.raises(AttributeError):
        again.name = "other"


@pytest.mark.filterwarnings("ignore:locked uses an object:fastopt.errors.CodeWarning")
def test_what_cannot_be_pickled_is_named():
    lock = threading.Lock()

    def locked(x):
        return (x * x, (2.0 * x,)) if lock else None

    problem = problems.landscape(locked, start=(1.0,))
    with pytest.raises(ExecutorError, match=r"cannot be sent to other processes: .*lock"):
        pickle.dumps(problem)
    assert copy.deepcopy(problem)(2.0) == problem(2.0)


def estimated():
    return estimate(problems.ellipse(), {"lr": [0.1]}, steps=3)


OTHERS = {
    "grid": lambda: Space(GRID),
    "union": lambda: Space(
        {"optimizer": ["sgd", "adam"], "beta1": when([0.8, 0.9], optimizer="adam")}
    ),
    "tied": lambda: Space(zipped({"lr": [0.1, 0.2], "seed": [1, 2]})),
    "drawn": lambda: Space({"lr": loguniform(1e-3, 1.0, 5, seed=1)}),
    "designed": lambda: Space(latin_hypercube({"lr": uniform(0.0, 1.0)}, 4, seed=1)),
    "sample": lambda: Space(GRID).sample(4, seed=1),
    "estimate": estimated,
    "reducer": lambda: KeepBest(3),
    **PRUNERS,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_spaces_and_what_belongs_to_sweeps(make, way):
    thing = make()
    again = way(thing)
    assert type(again) is type(thing)
    if isinstance(thing, Space):
        assert list(again) == list(thing)
    elif type(thing).__repr__ is not object.__repr__:
        assert repr(again) == repr(thing)


@pytest.mark.parametrize("way", [w for name, w in WAYS.items() if name != "copy"])
def test_a_study_goes_on_after_it_was_kept(way):
    study = study_of(None)
    again = way(study)
    assert again.pending == study.pending == (1,)
    for each in (again, study):
        each.tell(1, 0.25)
        each.optimize(lambda config: config["a"], progress=False)
    pd.testing.assert_frame_equal(again.result().to_frame(), study.result().to_frame())
    assert again.best_value == 0.25
