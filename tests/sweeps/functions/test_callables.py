"""Python functions as objectives, ask and tell, and Optuna there and back."""

import functools
import math
import sys
import textwrap
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastopt.errors import SpecError, SweepWarning
from fastopt.schedules import cosine
from sweeps import (
    Space,
    Study,
    SweepResult,
    logspace,
    loguniform,
    problems,
    randint,
    sobol,
    sweep,
    sweep_callable,
    uniform,
    when,
)
from sweeps.functions.optuna import from_optuna, to_optuna
from sweeps.functions.study import judge
from sweeps.running.dispatch import run_trials

SPACE = Space(
    {
        "optimizer": ["sgd", "momentum"],
        "momentum": when([0.8, 0.9], optimizer="momentum"),
        "lr": [0.1, 0.2, 0.3],
        "layers": range(1, 3),
    }
)


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def paraboloid(config):
    """A function of the trial alone; at module level, so that processes find it."""
    return {
        "loss": (config["lr"] - 0.2) ** 2 + config.get("momentum", 1.0) / config["layers"],
        "size": config["layers"],
    }


def expected_frame():
    rows = [
        {"trial_id": i, **config, "state": "COMPLETE", **paraboloid(config)}
        for i, config in enumerate(SPACE)
    ]
    return pd.DataFrame(rows)


# --- sweep_callable ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 3, -1])
def test_every_point_is_evaluated_once_in_order(n_jobs):
    seen = []

    def objective(config):
        seen.append(tuple(config.items()))
        return paraboloid(config)

    result = sweep_callable(objective, SPACE, metric="loss", n_jobs=n_jobs)
    assert sorted(seen, key=str) == sorted((tuple(c.items()) for c in SPACE), key=str)
    frame, expected = result.to_frame(), expected_frame()
    names = ["trial_id", "optimizer", "momentum", "lr", "layers", "state", "loss", "size", "error"]
    assert frame.columns.tolist() == names
    for name in names[:-1]:
        assert (
            frame[name].fillna(-1.0).tolist() == expected[name].fillna(-1.0).tolist()
            if (frame[name].dtype != "category")
            else frame[name].tolist() == expected[name].tolist()
        )
    assert frame["error"].isna().all()
    assert frame["error"].dtype == "str"
    assert result.best_params_ == {"optimizer": "momentum", "momentum": 0.8, "lr": 0.2, "layers": 2}
    assert result.info["interrupted"] is False
    assert result.info["n_trials"] == len(SPACE)


def test_rows_do_not_depend_on_who_finishes_first():
    def slow_first(config):
        time.sleep(0.02 if config["x"] < 2 else 0.0)
        return float(config["x"])

    result = sweep_callable(slow_first, {"x": range(8)}, n_jobs=4)
    assert result.columns["value"].tolist() == list(map(float, range(8)))


def test_any_executor_will_do_and_is_left_open():
    class Counting(ThreadPoolExecutor):
        submitted = 0

        def submit(self, function, *args):
            self.submitted += function is run_trials
            return super().submit(function, *args)

    with Counting(2) as executor:
        result = sweep_callable(paraboloid, SPACE, metric="loss", executor=executor)
        assert executor.submitted == len(SPACE)
        assert executor.submit(int, "3").result() == 3
    assert result.to_frame()["loss"].tolist() == expected_frame()["loss"].tolist()


def test_processes_run_trials(python, tmp_path):
    (tmp_path / "objective.py").write_text("def square(config):\n    return config['x'] ** 2\n")
    code = textwrap.dedent(
        """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        from sweeps import sweep_callable
        import objective
        if __name__ == "__main__":
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawn) as executor:
                result = sweep_callable(objective.square, {"x": range(4)}, executor=executor)
            print(result.columns["value"].tolist())
        """
    )
    assert python(code, path=(tmp_path,)).stdout.strip() == "[0.0, 1.0, 4.0, 9.0]"


def test_failures_and_divergence_are_rows():
    def objective(config):
        x = config["x"]
        if x == 1:
            raise ValueError("no solution")
        if x == 2:
            sys.exit(3)
        return {3: math.nan, 4: {"value": math.inf, "steps": 7}, 5: "text", 6: {"loss": 1.0}}.get(
            x, {"value": -1.0, "steps": 9}
        )

    with pytest.warns(
        SweepWarning, match="4 of 8 trials FAILED, the first with ValueError: no sol"
    ):
        result = sweep_callable(objective, {"x": range(8)})
    frame = result.to_frame()
    assert frame["state"].tolist() == [
        "COMPLETE", "FAILED", "FAILED", "DIVERGED", "DIVERGED", "FAILED", "FAILED", "COMPLETE",
    ]  # fmt: skip
    assert frame["error"].fillna("").tolist() == [
        "",
        "ValueError: no solution",
        "SystemExit: 3",
        "",
        "",
        "the objective must return a number or a dict of numbers; value is 'text' of type str",
        "no 'value' among the metrics ['loss']",
        "",
    ]
    nan = math.nan
    np.testing.assert_array_equal(frame["value"], [-1, nan, nan, nan, math.inf, nan, nan, -1])
    np.testing.assert_array_equal(frame["steps"], [9, nan, nan, nan, 7, nan, nan, 9])
    assert result.counts == {"COMPLETE": 2, "DIVERGED": 2, "PRUNED": 0, "FAILED": 4}
    assert result.metrics == ("value", "steps")
    assert result.best()["trial_id"].tolist() == [0]


def test_statistics_work_on_the_result():
    result = sweep_callable(
        lambda c: c["a"] + 10.0 * c["b"] + 0.1 * c["seed"],
        {"a": [0, 1], "b": [0, 1], "seed": range(2)},
    )
    assert result.importance()["effect"].tolist()[:3] == ["b", "a", "seed"]
    assert result.over_seeds()["mean_value"].tolist() == pytest.approx([0.05, 10.05, 1.05, 11.05])
    assert result.compare("a", 0, 1).better == 0


class CutShort(Executor):
    """Runs trials at once, in this thread, until one of them ends the executor."""

    def __init__(self, error, after):
        self.error, self.left = error, after

    def submit(self, function, /, *args, **options):
        if self.left == 0:
            raise self.error
        self.left -= function is run_trials
        future = Future()
        future.set_result(function(*args, **options))
        return future


def test_ctrl_c_returns_what_is_finished():
    result = sweep_callable(
        lambda c: c["x"], {"x": range(10)}, executor=CutShort(KeyboardInterrupt(), 4)
    )
    assert result.columns["value"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert result.info["interrupted"] is True
    assert "interrupted" in repr(result)


def test_a_broken_executor_returns_what_is_finished():
    with pytest.warns(SweepWarning, match=r"ended early.*takes no more work: its worker was"):
        result = sweep_callable(
            lambda c: c["x"],
            {"x": range(10)},
            executor=CutShort(BrokenExecutor("a worker died"), 4),
        )
    assert len(result) == 4
    assert result.info["interrupted"] is True


def test_ctrl_c_does_not_wait_for_the_trial_that_runs(python):
    """The first trial sleeps for a minute; a SIGINT from the second one ends the sweep."""
    code = textwrap.dedent(
        """
        import os, signal, time
        from sweeps import sweep_callable

        def objective(config):
            if config["x"] == 0:
                time.sleep(60)
            if config["x"] == 3:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(60)
            return config["x"]

        result = sweep_callable(objective, {"x": range(100)}, n_jobs=2)
        print(result.columns["value"].tolist(), result.info["interrupted"], flush=True)
        os._exit(0)  # Python itself would join the sleeping threads
        """
    )
    assert python(code).stdout.strip() == "[1.0, 2.0] True"


def test_a_lazy_space_is_not_walked():
    """Of 2**40 trials only those in flight are decoded when the first one ends the sweep."""
    space = {"x": range(2**40)}
    result = sweep_callable(lambda c: c["x"], space, executor=CutShort(KeyboardInterrupt(), 5))
    assert len(result) == 5
    assert result.info["n_trials"] == 2**40


def test_not_more_than_n_jobs_at_once():
    lock, now, most = threading.Lock(), 0, 0

    def objective(config):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        return 0.0

    sweep_callable(objective, {"x": range(12)}, n_jobs=3)
    assert most <= 3


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, {"x": [1]}), {}, "the objective must be a function of one dict; got 3"),
        ((abs, {"x": []}), {}, "axis 'x' is empty"),
        ((abs, {"x": [1]}), {"mode": "best"}, "mode must be 'min' or 'max'; got 'best'"),
        ((abs, {"x": [1]}), {"metric": "x"}, "metric cannot be called 'x'"),
        ((abs, {"x": [1]}), {"metric": "error"}, "metric cannot be called 'error'"),
        ((abs, {"x": [1]}), {"n_jobs": 0}, "n_jobs must be an integer >= 1, or -1"),
    ],
)
def test_wrong_arguments_are_refused(arguments, options, message):
    with pytest.raises(SpecError, match=message):
        sweep_callable(*arguments, **options)


@pytest.mark.parametrize(
    ("returned", "state", "metrics"),
    [
        (1, 0, {"loss": 1.0}),
        (np.float32(0.5), 0, {"loss": 0.5}),
        (np.array(2.0), 0, {"loss": 2.0}),
        (True, 0, {"loss": 1.0}),
        ({"loss": 1, "other": math.nan}, 0, {"loss": 1.0, "other": math.nan}),
        (-math.inf, 1, {"loss": -math.inf}),
        (None, 3, {}),
        ([1.0, 2.0], 3, {}),
        (1j, 3, {}),
        (10**400, 3, {}),
        ({"loss": 1.0, "state": 2.0}, 3, {}),
        ({"loss": 1.0, "lr": 2.0}, 3, {}),
        ({"loss": 1.0, 3: 2.0}, 3, {}),
        ({}, 3, {}),
        (KeyError("lr"), 3, {}),
    ],
)
def test_what_an_answer_means(returned, state, metrics):
    outcome = judge(returned, "loss", ["lr"])
    assert outcome.state == state
    assert str(outcome.metrics) == str(metrics)  # nan is not equal to itself
    assert (outcome.error is not None) == (state == 3)


def test_an_error_without_words_is_named():
    assert judge(ValueError(), "loss").error == "ValueError"
    assert "did you mean 'los'" in judge({"los": 1.0, "n": 2.0}, "loss").error


# --- ask and tell --------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.randoms())
def test_ask_and_tell_in_any_order_is_the_sweep(batches, random):
    study, open_trials = Study(SPACE, metric="loss"), []
    for n in [*batches, len(SPACE)]:
        open_trials += zip(*study.ask(n))
        random.shuffle(open_trials)
        told, open_trials = open_trials[: n - 1], open_trials[n - 1 :]
        study.tell([i for i, _ in told], [paraboloid(config) for _, config in told])
        assert study.pending == tuple(sorted(i for i, _ in open_trials))
    ids, configs = zip(*open_trials) if open_trials else ((), ())
    study.tell(ids, list(map(paraboloid, configs)))
    swept = sweep_callable(paraboloid, SPACE, metric="loss")
    assert (len(study), study.best_value) == (len(SPACE), swept.best_score_)
    pd.testing.assert_frame_equal(study.result().to_frame(), swept.to_frame())
    ids, configs = study.ask(3)
    assert (len(ids), configs) == (0, [])


def test_ask_gives_plain_configs_of_the_next_trials():
    study = Study(SPACE.sample(4, seed=1))
    ids, configs = study.ask(3)
    assert ids.tolist() == [0, 1, 2]
    assert configs == [SPACE.sample(4, seed=1)[i] for i in range(3)]
    assert study.ask()[0].tolist() == [3]
    assert study.pending == (0, 1, 2, 3)


def test_a_study_that_knows_nothing_has_an_empty_frame():
    result = Study(SPACE).result()
    assert len(result) == 0
    assert result.to_frame().columns.tolist()[-2:] == ["value", "error"]


@pytest.mark.parametrize(
    ("ids", "values", "message"),
    [
        ([2], [1.0], r"trial 2 was not asked for; pending are \[1\]"),
        ([0], [1.0], "trial 0 was told about before"),
        ([1, 1], [1.0, 2.0], "trial 1 was told about before"),
        ([1], [1.0, 2.0], "as many values as ids"),
        (1, [1.0, 2.0], "as many values as ids; got 1 and 2 values"),
        ([1, 9], [1.0, 2.0], "trial 9 was not asked for"),
        (["a"], [1.0], "trial 'a' was not asked for"),
    ],
)
def test_what_cannot_be_told_is_refused_and_nothing_recorded(ids, values, message):
    study = Study({"x": range(5)})
    study.ask(2)
    study.tell([0], [5.0])
    with pytest.raises(SpecError, match=message):
        study.tell(ids, values)
    assert study.pending == (1,)
    assert study.result().columns["value"].tolist() == [5.0]


@pytest.mark.parametrize(
    ("ids", "values", "states"),
    [
        (0, 1.0, ["COMPLETE"]),
        (np.int64(0), np.float32(1.0), ["COMPLETE"]),
        ([0], 1.0, ["COMPLETE"]),
        (np.array([0]), np.array(1.0), ["COMPLETE"]),
        (0, {"value": 1.0, "hours": 2.0}, ["COMPLETE"]),
        (0, [1.0], ["COMPLETE"]),
        (0, np.array([1.0]), ["COMPLETE"]),
        (0, math.inf, ["DIVERGED"]),
        (0, ValueError("no"), ["FAILED"]),
        (0, True, ["COMPLETE"]),
        (0, "text", ["FAILED"]),
        ((0, 1), (1.0, 2.0), ["COMPLETE", "COMPLETE"]),
        (pd.Index([0, 1]), pd.Series([1.0, 2.0]), ["COMPLETE", "COMPLETE"]),
        (range(2), (v for v in (1.0, 2.0)), ["COMPLETE", "COMPLETE"]),
        ([1, 0], [{"value": 2.0}, ValueError("no")], ["FAILED", "COMPLETE"]),
    ],
)
def test_what_was_measured_is_told_as_it_comes(ids, values, states):
    study = Study({"x": range(3)})
    study.ask(2)
    study.tell(ids, values)
    frame = study.result().to_frame()
    assert frame["state"].tolist() == states
    good = frame[frame["state"] == "COMPLETE"]
    assert good["value"].tolist() == [float(1 + i) for i in good["trial_id"]]


@pytest.mark.parametrize("state", ["FAILED", "failed", "fail", optuna.trial.TrialState.FAIL])
def test_a_state_is_told_without_values(state):
    study = Study({"x": range(3)})
    ids, _ = study.ask(3)
    study.tell(ids, state=state)
    assert study.result().counts["FAILED"] == 3
    assert study.result().columns["error"].tolist() == ["told so"] * 3


@pytest.mark.parametrize(
    ("state", "value", "kept", "error"),
    [
        ("pruned", 0.5, 0.5, None),
        ("pruned", None, math.nan, None),
        ("diverged", 0.5, 0.5, None),
        ("complete", 0.5, 0.5, None),
        ("failed", 0.5, 0.5, "told so"),
        ("failed", OSError("no disk"), math.nan, "OSError: no disk"),
        (optuna.trial.TrialState.PRUNED, {"value": 0.5}, 0.5, None),
    ],
)
def test_a_state_is_told_with_values(state, value, kept, error):
    study = Study({"x": range(3)})
    study.ask(3)
    study.tell(1, value, state=state)
    result = study.result()
    name = str(getattr(state, "name", state)).upper()
    assert result.to_frame()["state"].tolist() == [name]
    np.testing.assert_array_equal(result.columns["value"], [kept])
    assert result.columns["error"].tolist() == [error]
    assert study.best_value == (0.5 if name == "COMPLETE" else None)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, r"give values, or how the trials ended in state="),
        ((0,), {"state": "faild"}, r"state must be one of .*got 'faild' [(]did you mean 'failed'"),
        ((0, 1.0), {"state": 3}, "state must be one of"),
        ((0,), {"state": "complete"}, "needs a finite metric of each trial"),
        ((0, math.nan), {"state": "complete"}, "needs a finite metric of each trial"),
        ((0, "text"), {"state": "pruned"}, "must return a number or a dict of numbers"),
        ((0, {"loss": 1.0}), {"state": "complete"}, "no 'value' among the metrics"),
        ((0.0, 1.0), {}, "trial '0.0' was not asked for"),
        ((False, 1.0), {}, "trial 'False' was not asked for"),
        ((7, 1.0), {}, r"trial 7 was not asked for; pending are \[0, 1\]"),
        (([0, 1], 1.0), {}, r"as many values as ids; got \[0, 1\] and 1 values"),
    ],
)
def test_what_makes_no_sense_is_not_told(arguments, options, message):
    study = Study({"x": range(5)})
    study.ask(2)
    with pytest.raises(SpecError, match=message):
        study.tell(*arguments, **options)
    assert study.pending == (0, 1)
    assert len(study) == 0


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_ask_needs_a_number(n):
    with pytest.raises(SpecError, match="n must be an integer >= 1"):
        Study({"x": [1]}).ask(n)


# --- Optuna --------------------------------------------------------------------------------------


def sweep_with_every_state(mode="min"):
    def objective(config):
        if config["lr"] == 0.3:
            raise ArithmeticError("singular")
        if config["lr"] == 0.2 and config["optimizer"] == "sgd":
            return {"loss": math.nan, "size": 1}
        return paraboloid(config)

    with pytest.warns(SweepWarning, match="FAILED"):
        return sweep_callable(objective, SPACE, metric="loss", mode=mode, n_jobs=1)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_optuna_there_and_back(mode):
    result = sweep_with_every_state(mode)
    study = to_optuna(result)
    assert study.direction.name == {"min": "MINIMIZE", "max": "MAXIMIZE"}[mode]
    assert study.best_value == result.best_score_
    assert study.best_params == result.best_params_
    back = from_optuna(study, metric="loss")
    assert back.best_params_ == result.best_params_
    assert back.counts == result.counts
    assert (back.mode, back.metrics) == (mode, result.metrics)
    pd.testing.assert_frame_equal(back.to_frame(), result.to_frame(), check_like=True)


def test_states_and_attributes_in_optuna():
    result = sweep_with_every_state()
    study = to_optuna(result)
    states = {"COMPLETE": "COMPLETE", "DIVERGED": "PRUNED", "FAILED": "FAIL"}
    frame = result.to_frame()
    for trial, config, state in zip(study.trials, SPACE, frame["state"]):
        assert trial.params == config
        assert trial.state.name == states[state]
        assert trial.user_attrs["state"] == state
        assert trial.user_attrs["trial_id"] == trial.number
        assert trial.value == (paraboloid(config)["loss"] if state == "COMPLETE" else None)
        failed = "ArithmeticError: singular" if state == "FAILED" else None
        assert trial.user_attrs["error"] == failed


def test_distributions_hold_the_whole_space():
    space = Space(
        [
            {"lr": logspace(1e-4, 1.0, 5), "wd": [0.5, 0.1], "n": range(3, 9, 2), "b": [True]},
            {"name": ["b", "a"], "schedule": [cosine(9)], "lr": logspace(1e-5, 0.1, 3)},
            sobol({"u": uniform(0, 2), "l": loguniform(0.1, 1), "k": randint(2, 5)}, 4),
        ]
    )
    study = to_optuna(sweep_callable(lambda c: 1.0, space))
    found = {name: d for trial in study.trials for name, d in trial.distributions.items()}
    d = optuna.distributions
    assert found == {
        "lr": d.FloatDistribution(1e-5, 1.0, log=True),
        "wd": d.FloatDistribution(0.1, 0.5),
        "n": d.IntDistribution(3, 7),
        "b": d.CategoricalDistribution((True,)),
        "name": d.CategoricalDistribution(("b", "a")),
        "schedule": d.CategoricalDistribution((str(cosine(9)),)),
        "u": d.FloatDistribution(0.0, 2.0),
        "l": d.FloatDistribution(0.1, 1.0, log=True),
        "k": d.IntDistribution(2, 4),
    }


def test_a_sampler_goes_on_from_our_trials():
    result = sweep_callable(
        lambda c: (math.log10(c["lr"]) + 2.0) ** 2, {"lr": logspace(1e-6, 1.0, 30)}
    )
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    assert to_optuna(result, study) is study
    study.optimize(lambda trial: abs(trial.suggest_float("lr", 1e-6, 1.0, log=True)), n_trials=5)
    assert len(study.trials) == 35
    # Drawn blindly, one in three of the new trials would lie in these two decades.
    near = [trial.params["lr"] for trial in study.trials[30:] if 1e-3 < trial.params["lr"] < 0.1]
    assert len(near) >= 3


def test_a_foreign_study_becomes_a_result():
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial):
        x = trial.suggest_float("x", 0.0, 1.0)
        kind = trial.suggest_categorical("kind", ["a", "b"])
        trial.set_user_attr("seconds", 1.5)
        trial.set_user_attr("host", "here")
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 2:
            raise ValueError
        return x + trial.suggest_int("n", 1, 3) * (kind == "a")

    study.optimize(objective, n_trials=6, catch=ValueError)
    study.ask()  # a trial that still runs
    result = from_optuna(study, metric="score")
    frame = result.to_frame()
    assert frame["trial_id"].tolist() == list(range(6))
    assert frame["state"].tolist() == ["COMPLETE", "PRUNED", "FAILED"] + ["COMPLETE"] * 3
    assert frame["n"].isna().tolist() == [False, True, True] + [False] * 3
    assert frame["seconds"].tolist() == [1.5] * 6
    assert "host" not in frame
    assert result.best_params_ == study.best_params
    assert result.best_score_ == study.best_value


def test_a_result_without_a_space_can_be_exported():
    known = sweep_with_every_state()
    loaded = SweepResult(known.columns, None, "loss", "min", {})
    params = [trial.params for trial in to_optuna(loaded).trials]
    assert params == [trial.params for trial in to_optuna(known).trials]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda r: to_optuna(r, optuna.create_study(direction="maximize")),
            "wants a study that minimizes; this one says maximize",
        ),
        (
            lambda r: to_optuna(r, optuna.create_study(directions=["minimize"] * 2)),
            "this one says minimize, minimize",
        ),
        (
            lambda r: from_optuna(optuna.create_study(directions=["minimize"] * 2)),
            r"study 'no-name-.*' has 2 objectives \(minimize, minimize\)",
        ),
        (
            lambda r: from_optuna(to_optuna(r), metric="lr"),
            "parameter 'lr' is called like a column",
        ),
    ],
)
def test_studies_that_do_not_fit_are_refused(call, message):
    with pytest.raises(SpecError, match=message):
        call(sweep_with_every_state())


def test_a_missing_optuna_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r'pip install "fastopt\[optuna\]"'):
        to_optuna(Study(SPACE).result())


MIXED = [None, True, 1, 0.5, "relu", "1"]


def study_of_mixed():
    """Every category once, conditions, and a trial that is pruned after two reports."""
    sampler = optuna.samplers.GridSampler({"kind": range(len(MIXED))})
    study = optuna.create_study(sampler=sampler)

    def objective(trial):
        k = trial.suggest_int("kind", 0, len(MIXED) - 1)
        if k == 3:
            trial.suggest_float("momentum", 0.5, 0.5)
            trial.suggest_categorical("nesterov", [True])
        trial.set_user_attr("note", 3 if k else "text")
        trial.report(10.0 - k, 0)
        trial.report(5.0 - k, 4)
        if k == 1:
            raise optuna.TrialPruned
        return float(k)

    study.optimize(objective, n_trials=len(MIXED))
    # Under another name, as a grid of Optuna's takes no None.
    mixed = optuna.distributions.CategoricalDistribution(MIXED)
    other = optuna.create_study()
    for trial in study.trials:
        k = trial.params.pop("kind")
        trial.distributions.pop("kind")
        made = optuna.trial.create_trial(
            state=trial.state,
            value=trial.value if trial.state.name == "COMPLETE" else None,
            params={"activation": MIXED[k], **trial.params},
            distributions={"activation": mixed, **trial.distributions},
            user_attrs=trial.user_attrs,
            intermediate_values=trial.intermediate_values,
        )
        other.add_trial(made)
    return other


def test_categories_of_mixed_sorts_are_names_that_stay_apart():
    study = study_of_mixed()
    result = from_optuna(study)
    frame = result.to_frame()
    held = [t.params["activation"] for t in study.trials]
    names = dict(zip(map(repr, MIXED), ["None", "True", "1", "0.5", "relu", "'1'"]))
    assert frame["activation"].tolist() == [names[repr(value)] for value in held]
    assert frame["activation"].dtype == "category"
    assert result.best_params_ == study.best_params == {"activation": None}
    assert frame["momentum"].notna().sum() == frame["nesterov"].notna().sum() == 1
    # An attribute that is a number in some trials is none in the others.
    assert frame["note"].isna().sum() == 1


def test_what_pruned_trials_reported_is_kept():
    study = study_of_mixed()
    result = from_optuna(study)
    row = result.to_frame()[result.to_frame()["state"] == "PRUNED"]
    assert row["value"].tolist() == [4.0]
    curves = result.curves()
    assert curves.columns.tolist() == ["trial_id", "step", "value"]
    for trial in study.trials:
        own = curves[curves["trial_id"] == trial.number]
        assert dict(zip(own["step"], own["value"])) == trial.intermediate_values


def test_mixed_categories_there_and_back():
    result = from_optuna(study_of_mixed())
    again = from_optuna(to_optuna(result))
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame(), check_like=True)
    pd.testing.assert_frame_equal(again.curves(), result.curves())
    assert again.best_params_ == result.best_params_


def test_curves_are_intermediate_values_and_back():
    space = {"lr": [0.1, 0.2, 1.5]}
    options = {"optimizer": "sgd", "steps": 40, "curves": True, "progress": False}
    result = sweep(problems.ellipse(), space, diverge_above=1e3, **options)
    study = to_optuna(result)
    curves = result.curves()
    for trial in study.trials:
        own = curves[curves["trial_id"] == trial.user_attrs["trial_id"]]
        assert trial.intermediate_values == dict(zip(own["step"], own["train_loss"]))
    back = from_optuna(study, metric="train_loss").curves()
    pd.testing.assert_frame_equal(back, curves[back.columns])
    without = sweep(problems.ellipse(), space, optimizer="sgd", steps=5, progress=False)
    assert all(trial.intermediate_values == {} for trial in to_optuna(without).trials)


def test_what_is_no_study_is_refused():
    with pytest.raises(SpecError, match=r"study must be an optuna\.study\.Study; got 'runs/x'"):
        from_optuna("runs/x")


async def awaited(config, k=1):
    return config["a"] * k


def yielding(config):
    yield config["a"]


class Awaited:
    async def __call__(self, config):
        return config["a"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (awaited, "returns a coroutine"),
        (functools.partial(awaited, k=2), "returns a coroutine"),
        (Awaited(), "returns a coroutine"),
        (yielding, "yields"),
        (lambda: 1.0, r"takes \(\)"),
        (lambda **config: 1.0, r"takes \(\*\*config\).*function\(\*\*config\)"),
        (lambda a, b: a * b, "missing a required argument: 'b'"),
    ],
)
def test_functions_that_no_trial_could_call_are_refused(function, message):
    with pytest.raises(SpecError, match=message):
        sweep_callable(function, {"a": [1, 2]}, progress=False)


class Own:
    def method(self, config):
        return config["a"]

    __call__ = method


@pytest.mark.parametrize(
    "function",
    [
        Own(), Own().method, functools.partial(lambda config, k: config["a"], k=2),
        lambda config, *rest, k=1: config["a"], np.vectorize(lambda config: config["a"]),
    ],
)  # fmt: skip
def test_whatever_takes_one_dict_is_called(function):
    result = sweep_callable(function, {"a": [1, 2]}, progress=False, n_jobs=1)
    assert result.to_frame()["value"].tolist() == [1.0, 2.0]


def test_what_is_masked_has_no_value():
    study = Study({"a": [1, 2, 3]})
    study.ask(3)
    study.tell(0, np.ma.masked)
    study.tell(1, {"value": np.ma.masked_array([1.0], mask=[True])})
    study.tell(2, np.ma.masked_array([1.0]))
    assert study.result().counts == {"COMPLETE": 1, "DIVERGED": 0, "PRUNED": 0, "FAILED": 2}
