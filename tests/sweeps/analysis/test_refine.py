"""Sweeps that grow: the frame of the whole grid, from new trials alone."""

import functools

import numpy as np
import pandas as pd
import pytest

from fastopt.errors import SpecError
from sweeps import problems, sweep, uniform, when, zipped

run = functools.partial(sweep, progress=False)
BOWL = problems.ellipse()


def assert_same(actual, expected):
    frames = actual.to_frame(), expected.to_frame()
    pd.testing.assert_frame_equal(*frames, rtol=0, atol=0)
    pd.testing.assert_series_equal(frames[0].dtypes, frames[1].dtypes)


def test_a_larger_grid_runs_its_new_trials_only():
    how = {"optimizer": "sgd", "curves": True, "eval_every": 3}
    small = run(BOWL, {"lr": [0.05, 0.1, 1.0], "steps": [9]}, **how)
    grown = small.extend({"lr": [0.15, 0.1], "steps": [400], "seed": [7]}, progress=False)
    whole = run(BOWL, {"lr": [0.05, 0.1, 1.0, 0.15], "steps": [9, 400], "seed": [0, 7]}, **how)
    assert_same(grown, whole)
    assert {"COMPLETE", "DIVERGED"} == {*grown.to_frame().state}
    pd.testing.assert_frame_equal(grown.curves(), whole.curves(), rtol=0, atol=0)
    assert (grown.info["reused"], grown.info["n_trials"]) == (3, 16)
    # And it grows again, and its trials can be replayed.
    again = grown.extend({"seed": [8]}, progress=False)
    assert again.info["reused"] == 16
    assert again.replay(5).attrs["final"]["train_loss"] == again.to_frame().train_loss[5]


def test_old_trials_are_taken_over_not_run():
    small = run(BOWL, {"lr": [0.05, 0.1]}, optimizer="sgd", steps=9)
    small.columns["train_loss"][:] = [-1.0, -2.0]
    grown = small.extend({"lr": [0.15]}, progress=False).to_frame()
    assert grown.train_loss[:2].tolist() == [-1.0, -2.0]
    assert grown.train_loss[2] > 0
    same = small.extend({"lr": [0.1]}, progress=False)
    pd.testing.assert_frame_equal(same.to_frame(), small.to_frame())


def test_trials_missing_after_an_interruption_run():
    small = run(BOWL, {"lr": [0.05, 0.1, 0.15]}, optimizer="sgd", steps=9)
    whole = small.to_frame()
    small.columns = {name: column[[0, 2]] for name, column in small.columns.items()}
    filled = small.extend({"lr": [0.1]}, progress=False)
    pd.testing.assert_frame_equal(filled.to_frame(), whole, rtol=0, atol=0)
    assert filled.info["reused"] == 2


@pytest.mark.parametrize("mode", ["common", "independent"])
@pytest.mark.parametrize("stored", [False, True])
def test_what_had_one_value_becomes_an_axis_that_starts_with_it(mode, stored, tmp_path):
    """Keywords, arguments of the problem, and defaults of the optimizer."""
    problem = problems.iris(hidden=(8,))
    how = {"optimizer": "adam", "batch_size": 50, "seed_mode": mode}
    store = tmp_path if stored else None
    small = run(problem, {"lr": [0.01]}, epochs=2, store=store, **how)
    more = {"epochs": [3], "seed": range(2), "label_smoothing": [0.1], "hidden": [8, 4]}
    grown = small.extend({**more, "beta1": [0.8]}, progress=False)
    space = {"lr": [0.01], "epochs": [2, 3], "seed": [0, 1], "label_smoothing": [0.0, 0.1]}
    whole = run(problem, {**space, "hidden": ["8", "4"], "beta1": [0.9, 0.8]}, **how)
    assert_same(grown, whole)
    assert grown.info["reused"] == 1
    with pytest.raises(SpecError, match="trials so far have no patience"):
        small.extend({"patience": [3]})


def test_a_union_grows_where_its_parts_agree():
    def union(lrs):
        momentum = when([0.5, 0.9], optimizer=["momentum"])
        return {"optimizer": ["sgd", "momentum"], "lr": lrs, "momentum": momentum}

    small = run(BOWL, union([0.01, 0.02]), steps=5)
    assert_same(
        small.extend({"lr": [0.03]}, progress=False), run(BOWL, union([0.01, 0.02, 0.03]), steps=5)
    )
    with pytest.raises(SpecError, match="'optimizer' has other values in another part"):
        small.extend({"optimizer": ["sgd"]})


REFUSED = [
    ({"lr": [0.1, 0.2]}, {"lrr": [0.3]}, "unknown axis or keyword 'lrr' [(]did you mean 'lr'"),
    ({"lr": [0.1, 0.2]}, {}, "extend.axes.: axes must be a dict"),
    ({"lr": uniform(0.1, 0.2, 3)}, {"lr": [0.3]}, "tied to others or drawn at random"),
    (zipped({"lr": [0.1, 0.2], "steps": [5, 6]}), {"lr": [0.3]}, "tied to others"),
]


@pytest.mark.parametrize(("space", "axes", "message"), REFUSED)
def test_what_cannot_grow_is_refused(space, axes, message):
    how = {} if "steps" in space else {"steps": 5}
    result = run(BOWL, space, optimizer="sgd", **how)
    with pytest.raises(SpecError, match=message):
        result.extend(axes)


def test_zoom_fills_the_gaps_around_the_best():
    """The bowl's best constant lr is 2 / (1 + 10)."""
    result = run(BOWL, {"lr": [0.02, 0.1, 0.5]}, optimizer="sgd", steps=60)
    assert result.best_params_ == {"lr": 0.1}
    errors = []
    for _ in range(4):
        errors.append(abs(result.best_params_["lr"] - 2 / 11))
        finer = result.zoom(progress=False, factor=3)
        assert finer.info["reused"] == len(result)
        assert finer.best_score_ <= result.best_score_
        result = finer
    assert errors[-1] < errors[0] / 4
    inside = np.sort(result.columns["lr"])
    assert inside[0] == 0.02
    assert inside[-1] == 0.5


def test_zoom_says_what_it_cannot_do():
    result = run(BOWL, {"lr": [0.1], "steps": [5, 6]}, optimizer="sgd")
    with pytest.raises(SpecError, match="nothing lies between"):
        result.zoom()
    with pytest.raises(SpecError, match="unknown numeric axis 'seed'"):
        result.zoom("seed")
    with pytest.raises(SpecError, match="factor must be an integer >= 2"):
        result.zoom("lr", factor=1)
