"""The parameters of trials are those that the frame's figures were measured with."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

from fastopt.errors import SpecError, SweepWarning
from fastopt.machine.calls import raw, raw_rows
from sweeps import SuccessiveHalving, SweepResult, problems, sweep
from sweeps.engine.callees import functions_of
from sweeps.engine.run_blocks import ONE_BLAS_THREAD
from tests.helpers.networks import accuracy, facts_of, mean_loss, outputs_of

PROBLEM = problems.iris(hidden=(8,))
QUIET = {"progress": False, "epochs": 3}


def measured(problem, theta):
    """Loss and accuracy by the function of the problem that trials call."""
    functions, out = functions_of(problem), []
    work = np.empty(problem.work_per_row * problem.work_rows, problem.dtype)
    with ONE_BLAS_THREAD:
        for X, y in ((problem.X, problem.y), (problem.X_test, problem.y_test)):
            grad = np.empty_like(theta)
            given = raw(theta.copy()), raw_rows(X), raw_rows(y), functions.words
            out += functions.evaluate(*given, raw(grad), raw(work))
    return out


COLUMNS = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]


@pytest.mark.parametrize(
    ("space", "options"),
    [
        ({"lr": [0.01, 0.3], "batch_size": [16, 112]}, {}),
        ({"lr": [0.01, 0.3], "optimizer": ["adam", "schedule_free_adamw"]}, {}),
        ({"lr": [0.01, 0.3]}, {"patience": 1, "epochs": 30, "metric": "test_loss"}),
        ({"lr": [0.01, 0.03, 0.3]}, {"pruner": SuccessiveHalving(), "epochs": 9}),
    ],
    ids=["plain", "evaluated elsewhere", "patience", "pruned"],
)
def test_they_give_the_figures_of_the_frame(space, options):
    result = sweep(PROBLEM, space, **{**QUIET, **options})
    frame = result.to_frame()
    ids = frame.trial_id.tolist()
    thetas = result.trials_weights(ids)
    assert thetas.dtype == PROBLEM.dtype
    found = [measured(PROBLEM, theta) for theta in thetas]
    np.testing.assert_array_equal(found, frame[COLUMNS].to_numpy())
    sizes, activation, loss = facts_of(PROBLEM)
    for theta, row in zip(thetas, frame.itertuples()):
        z = outputs_of(theta, sizes, activation, PROBLEM.X_test)[-1]
        assert accuracy(loss, z, PROBLEM.y_test) == row.test_accuracy
        assert mean_loss(loss, z, PROBLEM.y_test) == pytest.approx(row.test_loss, rel=1e-5)


def test_any_order_and_any_number_of_threads():
    result = sweep(PROBLEM, {"lr": [0.01, 0.1, 0.3]}, **QUIET)
    one = result.trials_weights([0, 1, 2], n_jobs=1)
    np.testing.assert_array_equal(result.trials_weights([2, 0, 2]), one[[2, 0, 2]])
    assert len({theta.tobytes() for theta in one}) == 3


def test_a_trial_that_diverged_has_none():
    result = sweep(PROBLEM, {"lr": [0.1, 1e30]}, optimizer="sgd", **QUIET)
    assert result.counts["DIVERGED"] == 1
    thetas = result.trials_weights([0, 1])
    assert np.isfinite(thetas).all(axis=1).tolist() == [True, False]
    assert np.isnan(thetas[1]).all()


def test_networks_of_several_shapes_are_asked_for_one_at_a_time():
    result = sweep(PROBLEM, {"hidden": ["8", "4-4"]}, **QUIET)
    assert [result.trials_weights([i]).shape for i in (0, 1)] == [(1, 67), (1, 55)]
    with pytest.raises(SpecError, match="trial 0 has 67, trial 1 has 55"):
        result.trials_weights([0, 1])


def test_a_problem_that_changed_is_told():
    result = sweep(PROBLEM, {"lr": [0.1]}, **QUIET)
    changed = dataclasses.replace(result.plan.problem, X=PROBLEM.X * np.float32(1.5))
    result.plan = result.plan.varied(problem=changed)
    with pytest.warns(SweepWarning, match="trial 0 is not what it was") as caught:
        result.trials_weights([0])
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("ids", "said"),
    [([7], "no finished trial 7"), ([], "one trial number or more"), ([0.5], "as integers")],
)
def test_what_is_no_trial_is_refused(ids, said):
    result = sweep(PROBLEM, {"lr": [0.1]}, **QUIET)
    with pytest.raises(SpecError, match=said):
        result.trials_weights(ids)


def test_landscapes_and_files_are_refused_with_what_to_do(tmp_path):
    result = sweep(problems.ellipse(), {"lr": [0.1]}, steps=2, progress=False)
    with pytest.raises(SpecError, match=r"coordinates: they are columns .*\(x, y\)"):
        result.trials_weights([0])
    stored = sweep(PROBLEM, {"lr": [0.1]}, store=tmp_path / "s", **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert stored.trials_weights([0]).shape == (1, 67)
    with pytest.raises(SpecError, match="does not know its problem"):
        SweepResult.open(tmp_path / "s").trials_weights([0])
