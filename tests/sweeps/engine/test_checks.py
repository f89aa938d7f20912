"""Checks during a trial: targets, curves and divergence, against the plain training loop."""

import math

import numpy as np
import pytest

from sweeps import problems
from tests.helpers.training import CLOSE, LOSSES, Trial, assert_same_bits, frame, run


@pytest.fixture(scope="module")
def iris():
    """112 training rows: 16 divides them, 25 does not."""
    return problems.iris(hidden=(8,), dtype="float64")


TARGETS = [
    ("train_loss", "min", 0.7),
    ("test_loss", "min", 0.7),
    ("test_accuracy", "max", 0.8),
    ("train_accuracy", "max", 0.8),
]


@pytest.mark.parametrize(("metric", "mode", "target"), TARGETS)
@pytest.mark.parametrize("eval_every", [None, 3])
def test_steps_to_target_is_the_first_check_that_is_good_enough(
    iris, metric, mode, target, eval_every
):
    space = {"lr": [1e-6, 0.005, 0.02, 0.1], "batch_size": [25, 112]}
    options = {"epochs": 12, "metric": metric, "mode": mode, "eval_every": eval_every}
    result = run(iris, space, curves=True, target=target, **options)
    curves, reached = result.curves(), result.to_frame().steps_to_target
    good = curves[metric] <= target if mode == "min" else curves[metric] >= target
    expected = curves[good].groupby("trial_id").step.min()
    assert reached.dropna().to_dict() == expected.to_dict()
    assert 2 <= len(expected) < len(result)  # some reach it, some never do
    assert_same_bits(run(iris, space, target=target, **options).to_frame(), result.to_frame())
    untargeted = run(iris, space, **options).to_frame()
    assert untargeted.steps_to_target.isna().all()
    assert_same_bits(untargeted, result.to_frame(), LOSSES)


def test_a_target_met_to_the_last_bit_is_met(iris):
    options = {"epochs": 3, "metric": "test_loss", "lr": 0.05}
    last = frame(iris, {}, **options).test_loss[0]
    for target, steps in ((last, 12), (np.nextafter(last, 0.0), -1)):
        found = frame(iris, {}, target=target, **options).steps_to_target
        assert found.fillna(-1).tolist() == [steps]


def test_curves_are_what_shorter_trials_end_with(iris):
    """Recording changes nothing, and a point of a curve is the end of a shorter trial."""
    space = {"optimizer": ["sgd", "adam"], "seed": [0, 1]}
    options = {"lr": 0.05, "batch_size": 25}
    result = run(iris, space, epochs=5, curves=True, **options)
    assert_same_bits(run(iris, space, epochs=5, **options).to_frame(), result.to_frame())
    curves = result.curves()
    assert len(curves) == 4 * 5
    for epochs in range(1, 6):
        shorter, point = (
            frame(iris, space, epochs=epochs, **options),
            curves[curves.step == 5 * epochs],
        )
        for name in ("test_loss", "test_accuracy"):
            np.testing.assert_array_equal(point[name], shorter[name])
    lowest = curves.groupby("trial_id").train_loss.min()
    np.testing.assert_array_equal(lowest, result.to_frame().best_loss)


def test_checks_come_every_so_many_steps_and_at_the_end(iris):
    result = run(iris, {"steps": [4, 12, 15]}, curves=True, eval_every=5, batch_size=25, lr=0.05)
    curves = result.curves()
    steps = curves.groupby("trial_id").step.agg(list).tolist()
    assert steps == [[4], [5, 10, 12], [5, 10, 15]]
    trial = Trial(iris, "adam", 25, 12, lr=0.05).train()
    means = [
        np.average(trial.losses[part], weights=trial.sizes[part])
        for part in (slice(0, 5), slice(5, 10), slice(10, 12))
    ]
    np.testing.assert_allclose(curves[curves.trial_id == 1].train_loss, means, **CLOSE)


@pytest.fixture(scope="module")
def line():
    """Least squares, on which large steps grow without bound."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10, 2))
    return problems.linear_regression(X, X @ [1.0, -2.0] + 0.5, dtype="float64")


def minibatch_losses(problem, lr):
    return Trial(problem, "sgd", 4, 200, lr=lr).train().losses


def test_a_trial_that_diverges_stops_and_the_others_go_on(line):
    options = {"optimizer": "sgd", "batch_size": 4, "steps": 200}
    calm = frame(line, {"lr": [0.01, 0.1]}, **options)
    mixed = frame(line, {"lr": [0.01, 1e6, 0.1, 1e150, 30.0]}, **options)
    assert mixed.state.tolist() == ["COMPLETE", "DIVERGED", "COMPLETE", "DIVERGED", "DIVERGED"]
    assert_same_bits(mixed.iloc[[0, 2]], calm)
    assert calm.diverged_step.isna().all()
    with np.errstate(all="ignore"):
        for k in (1, 3, 4):
            row, losses = mixed.iloc[k], minibatch_losses(line, mixed.lr[k])
            first = np.flatnonzero(~np.isfinite(losses))[0]
            assert row.diverged_step == row.steps == first + 1
            np.testing.assert_allclose(row.train_loss, losses[first - 1], rtol=1e-9)
            assert np.isnan([row.test_loss, row.train_accuracy, row.test_accuracy]).all()
            assert not np.isinf(row.best_loss)


@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_diverge_above(line):
    options = {"optimizer": "sgd", "batch_size": 4, "lr": 1.5, "steps": 200}
    losses = minibatch_losses(line, 1.5)
    for limit in (max(losses[:3]) * 10, max(losses[:3]) * 1e6):
        first = np.flatnonzero(np.array(losses) > limit)[0]
        (row,) = frame(line, {}, diverge_above=limit, **options).iloc
        assert (row.state, row.diverged_step) == ("DIVERGED", first + 1)
        np.testing.assert_allclose(row.train_loss, losses[first - 1], rtol=1e-9)
    (row,) = frame(line, {}, diverge_above=losses[0] / 2, **options).iloc
    assert row.diverged_step == 1
    assert math.isnan(row.train_loss)  # there was no loss before it
    assert math.isnan(row.best_loss)


def test_a_last_step_that_breaks_the_parameters_is_a_divergence(line):
    """No minibatch saw the broken parameters; the evaluation at the end does."""
    (row,) = frame(line, {}, optimizer="sgd", lr=1e200, steps=1, batch_size=10).iloc
    assert (row.state, row.diverged_step) == ("DIVERGED", 1)
    before = Trial(line, "sgd", 10, 1, lr=0.0).train().losses[0]
    np.testing.assert_allclose(row.train_loss, before, **CLOSE)


def test_the_curve_of_a_diverged_trial_ends_before_it_diverges(line):
    result = run(line, {"lr": [0.01, 1e6]}, optimizer="sgd", steps=200, curves=True, eval_every=5)
    diverged = result.to_frame().diverged_step[1]
    curves = result.curves()
    assert curves[curves.trial_id == 1].step.max() == (diverged - 1) // 5 * 5
    assert (curves.trial_id == 0).sum() == 40
    assert np.isfinite(curves.train_loss).all()


def test_a_given_start_is_where_every_trial_starts(iris):
    theta0 = np.linspace(-1, 1, 67)
    problem = problems.iris(hidden=(8,), dtype="float64", theta0=theta0)
    expected = Trial(problem, "adam", 25, 10, lr=0.05).train().measured()
    (row,) = frame(problem, {}, lr=0.05, batch_size=25, steps=10).iloc
    np.testing.assert_allclose(row.train_loss, expected["train_loss"], **CLOSE)
    rows = frame(problem, {"seed": [0, 1]}, optimizer="sgd", lr=0.0, steps=1)
    assert rows.train_loss.nunique() == 1
