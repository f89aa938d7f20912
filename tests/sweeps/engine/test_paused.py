"""Trials run in stretches have the bits of trials that never paused."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastopt import schedules
from sweeps import problems, sweep
from sweeps.common.states import State
from sweeps.engine.checkpoints import Paused
from sweeps.engine.run_blocks import compile_block, run_together

run = functools.partial(sweep, progress=False)


def stretch(plan, paused, ids, stop):
    """Run these trials up to ``stop`` steps; return their blocks and what is kept of them."""
    kept, blocks = Paused(), []
    for laid_out in plan.blocks(ids):
        until = np.minimum(laid_out.trials.settings["steps"], stop)
        block = paused.stretched(laid_out, until)
        compile_block(block)
        assert run_together([[block]], 2, lambda cost, done: None)
        kept.keep(block, np.flatnonzero(block.trials.state == State.PRUNED))
        blocks.append(block)
    return blocks, kept


def in_stretches(plan, stops):
    """Return ``(state, out, curve)`` of every trial, by number, and the blocks at each stop."""
    paused, ids, ended, pauses = Paused(), np.arange(plan.size), {}, []
    for stop in [*stops, 2**62]:
        blocks, paused = stretch(plan, paused, ids, stop)
        ids, pauses = ids[:0], [*pauses, blocks]
        for block in blocks:
            trials = block.trials
            going = trials.state == State.PRUNED
            ids = np.union1d(ids, block.ids[going])
            for k in np.flatnonzero(~going):
                curve = trials.curves[k]
                curve = curve[~np.isnan(curve[:, :1]).any(axis=1)]
                ended[block.ids[k]] = trials.state[k], trials.out[k], curve
    assert paused.nbytes == 0
    return [ended[i] for i in range(plan.size)], pauses


def assert_same(result, stops):
    """Compare with the sweep, which never paused; return the blocks at each stop."""
    ended, pauses = in_stretches(result.plan, stops)
    straight, _ = in_stretches(result.plan, [])
    for name, k in (("state", 0), ("out", 1), ("curve", 2)):
        for actual, expected in zip(ended, straight, strict=True):
            np.testing.assert_array_equal(actual[k], expected[k], err_msg=name)
    states = np.array([state for state, _, _ in straight])
    np.testing.assert_array_equal(states, result.columns["state"])
    for k, name in enumerate(result.plan.result_columns):
        cells = np.array([out[k] for _, out, _ in straight])
        same = (cells == result.columns[name]) | ~np.isfinite(cells)
        assert same.all(), name
    return pauses


@pytest.fixture(scope="module")
def iris():
    """112 training rows: an epoch of batches of 25 has a small last one."""
    return problems.iris(hidden=(8,), dtype="float64")


SCHEDULES = [
    schedules.warmup_cosine(4, 30, final=0.5),
    "cosine",
    schedules.exponential(0.9),
]


@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_a_data_trial_goes_on_where_it_paused(iris):
    """Every order of rows and every state: inside an epoch, at its end, between checks, at one."""
    space = {
        "shuffle": ["epoch", "once", "none", "replacement"],
        "batch_size": [25, 16, 112],
        "schedule": SCHEDULES,
        "optimizer": ["adam", "momentum"],
    }
    how = {"curves": True, "metric": "test_loss", "target": 0.9, "eval_every": 4}
    result = run(iris, space, steps=23, lr=0.02, seed=3, **how)
    assert result.to_frame().steps_to_target.nunique() > 2
    pauses = assert_same(result, [1, 4, 5, 7, 14])
    # At a pause the whole training set is evaluated, as at the end of a run of that length.
    short = run(iris, {**space, "schedule": ["constant"]}, steps=7, lr=0.02, seed=3)
    long = run(iris, {**space, "schedule": ["constant"]}, steps=23, lr=0.02, seed=3)
    _, pauses = in_stretches(long.plan, [7])
    for block in pauses[0]:
        for k, name in enumerate(("train_loss", "train_accuracy", "test_loss", "test_accuracy")):
            expected = short.columns[name][block.ids]
            np.testing.assert_array_equal(block.trials.out[:, k], expected)


def test_float32_is_kept_in_float32():
    space = {"lr": [0.01, 0.1], "seed": [0, 1]}
    how = {"optimizer": "adam", "steps": 12, "batch_size": 50}
    assert_same(run(problems.iris(hidden=(8,)), space, **how), [3, 7])


def test_averages_and_slots_that_start_at_the_parameters_are_kept(iris):
    space = {"lr": [0.01, 0.1], "seed": [0, 1]}
    how = {"optimizer": "schedule_free_adamw", "steps": 12, "batch_size": 50, "curves": True}
    assert_same(run(iris, space, **how), [3, 7])


def test_trials_that_end_or_diverge_in_between_are_over(iris):
    """Of one sweep, some pause once, some never; one is lost between two stops."""
    space = {"epochs": [1, 2, 4], "batch_size": [50, 112], "lr": [0.01, 3.0]}
    how = {"optimizer": "momentum", "momentum": 0.99, "diverge_above": 4.0, "curves": True}
    result = run(iris, space, **how)
    assert {State.COMPLETE, State.DIVERGED} == {*result.columns["state"]}
    lost = result.to_frame().diverged_step.dropna()
    assert lost.tolist() == [5, 5]
    assert_same(result, [2, 6])


BANANA = problems.rosenbrock(start=(-1.5, -1.0))
ONE_OF_A_KIND = ("sgd", "adam", "rprop", "lamb", "asgd", "schedule_free_adamw")


@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_lanes_go_on_where_they_paused():
    """Rules of every sort, lanes that end or diverge first, blocks that are not full."""
    space = {
        "optimizer": list(ONE_OF_A_KIND),
        "schedule": ["constant", schedules.warmup_cosine(4, 200, final=0.5)],
        "lr": np.geomspace(1e-4, 1.0, 12).tolist(),
        "steps": [40, 200, 300],
    }
    how = {"curves": True, "eval_every": 7, "metric": "distance", "target": 1.5}
    result = run(BANANA, space, **how)
    measured = result.to_frame()
    assert {"COMPLETE", "DIVERGED"} == {*measured.state}
    assert measured.steps_to_target.nunique() > 10
    assert_same(result, [1, 14, 39, 40, 129, 290])


def test_a_lane_at_a_pause_is_a_shorter_run():
    space = {"lr": np.geomspace(1e-4, 1e-2, 40).tolist()}
    short, long = (run(BANANA, space, optimizer="adam", steps=n) for n in (20, 90))
    _, pauses = in_stretches(long.plan, [20])
    (block,) = pauses[0]
    assert (block.trials.state == State.PRUNED).all()
    ended, _ = in_stretches(short.plan, [])
    for row, i in enumerate(block.ids):
        np.testing.assert_array_equal(block.trials.out[row], ended[i][1])


@settings(max_examples=25)
@given(st.lists(st.integers(1, 120), max_size=9, unique=True).map(sorted))
def test_it_does_not_matter_where_lanes_pause(stops):
    space = {"lr": np.geomspace(1e-3, 1.0, 40).tolist(), "steps": [50, 121]}
    result = run(problems.ellipse(), space, optimizer="sgd", curves=True, eval_every=11, target=1.0)
    assert_same(result, stops)


def test_functions_of_an_array_go_on_where_they_paused():
    problem = problems.random_quadratic(12, condition=20.0)
    result = run(problem, {"lr": np.geomspace(1e-3, 0.5, 40).tolist()}, optimizer="sgd", steps=90)
    assert_same(result, [1, 33])


def test_all_that_a_data_trial_watches_goes_on(iris):
    """Checks and pauses fall on different steps; some trials end early, between two pauses."""
    space = {"patience": [0, 2], "clip_norm": [0.0, 0.3], "hidden": [4, 8], "lr": [0.02, 1.0]}
    measure = ("grad_norm", "grad_variance", "update_norm")
    how = {"optimizer": "adam", "batch_size": 25, "curves": True, "measure": measure}
    for eval_every in (4, "log"):
        result = run(iris, space, steps=33, eval_every=eval_every, **how)
        assert (result.columns["steps"] < 33).any()
        assert_same(result, [1, 4, 5, 7, 14, 30])


def test_all_that_a_lane_watches_goes_on():
    space = {
        "patience": [0, 2],
        "clip_norm": [0.0, 0.7],
        "lr": np.geomspace(1e-3, 1.0, 12).tolist(),
    }
    how = {"optimizer": "adam", "steps": 200, "curves": True, "measure": "grad_norm"}
    how |= {"target": 3.0, "stop_at_target": True}
    for eval_every in (7, "log"):
        result = run(BANANA, space, eval_every=eval_every, **how)
        assert result.to_frame().steps.nunique() > 10
        assert_same(result, [1, 14, 39, 129])
