"""Trainings that are broken in one known way each, and what the diagnosis says of them."""

import dataclasses
import functools
import math

import numpy as np
import pytest

from fastopt.errors import HyperparameterError, SpecError
from sweeps import Diagnosis, diagnose, problems, sweep, trace
from sweeps.tracing.walks import MOST_STEPS, follow_training
from tests.helpers.moons import naive_moons, two_moons

DATA_CHECKS = ["finite", "descent", "learning rate", "ten examples", "gradients", "updates", "data"]


@pytest.fixture(scope="module")
def iris():
    return problems.iris(hidden=(8,))


@functools.cache
def healthy():
    return diagnose(problems.iris(hidden=(8,)), "adam", lr=0.02, epochs=40, seed=1)


def test_a_good_training_is_healthy():
    found = healthy()
    assert isinstance(found, Diagnosis)
    assert (found.healthy, found.state, found.diverged_step) == (True, "COMPLETE", None)
    assert {finding.verdict for finding in found.findings} == {"ok"}
    assert found.to_frame().check.tolist() == DATA_CHECKS
    assert "iris with adam (lr=0.02, seed=1)" in repr(found)
    for finding in found.findings:
        assert f"{finding.verdict:<8} {finding.check}" in repr(found)
    assert found.last_loss < 0.5 * found.steps.loss[0]


def test_its_steps_and_runs_are_those_of_the_sweep(iris):
    found = healthy()
    rates = [2e-4, 2e-3, 0.02, 0.2, 2.0]
    np.testing.assert_allclose(found.runs.lr, rates, rtol=1e-15)
    how = {"optimizer": "adam", "epochs": 40, "seed": 1}
    again = sweep(iris, {"lr": found.runs.lr.tolist()}, progress=False, **how).to_frame()
    np.testing.assert_array_equal(found.runs.train_loss, again.train_loss)
    table = trace(iris, lr=0.02, **how)
    np.testing.assert_array_equal(found.steps.loss, table.loss)
    for name in ("grad_norm", "update_norm"):
        np.testing.assert_allclose(found.steps[name], table[name], rtol=1e-12)
    # There it is the norm after the step.
    np.testing.assert_allclose(found.steps.theta_norm[1:], table.theta_norm[:-1], rtol=1e-12)


def test_the_sign_slip_of_study_3_is_named_with_its_step():
    moons = two_moons()
    problem = problems.custom(naive_moons, moons["theta0"], moons["X"], moons["y"])
    how = {"lr": 0.01, "maximize": True, "batch_size": 700, "steps": 1000}
    found = diagnose(problem, "adam", **how)
    (row,) = sweep(problem, {}, optimizer="adam", progress=False, **how).to_frame().iloc
    assert not found.healthy
    assert (found.state, found.diverged_step) == ("DIVERGED", row.diverged_step)
    assert found.last_loss == row.train_loss
    message = found["finite"].message
    assert message.startswith(f"DIVERGED at step {row.diverged_step}: the loss is inf; it was 29.5")
    # The parameters were fine: it is log(0).
    assert "the loss function itself breaks" in message
    assert found["descent"].verdict == "wrong"
    assert "a sign is wrong" in found["descent"].message
    assert "DIVERGED at step" in repr(found)


@pytest.mark.parametrize(
    ("optimizer", "lr", "verdict", "words"),
    [
        ("adam", 1e-6, "wrong", "too low: lr 0.0001 ends"),
        ("adam", 0.02, "ok", "none of those from 0.0002 to 2 descends much further"),
        ("sgd", 0.001, "warning", "too low: lr 0.1 ends at a loss of 2.17e-81"),  # 50 * 0.9^1800
        ("sgd", 0.5, "wrong", "too high: lr 0.05 ends"),
        ("sgd", 0.1, "ok", "none of those"),
    ],
)
def test_learning_rates(optimizer, lr, verdict, words):
    found = diagnose(problems.ellipse(), optimizer, lr=lr, steps=900)["learning rate"]
    assert (found.verdict, found.message[: len(words)]) == (verdict, words)


def test_a_divergence_on_a_landscape():
    found = diagnose(problems.ellipse(), "sgd", lr=1.0, steps=400)
    trial = trace(problems.ellipse(), "sgd", lr=1.0, steps=400)
    assert found.diverged_step == trial.step.iloc[-1]
    message = found["finite"].message
    assert f"step {found.diverged_step}: the loss is inf; it was {found.last_loss:.6g}" in message
    assert "The parameters are finite" in message  # (-9)^162 is, its square is not
    without = [check for check in DATA_CHECKS if check not in ("ten examples", "data")]
    assert found.to_frame().check.tolist() == without
    assert found["gradients"].message.startswith("exploding")
    assert found["learning rate"].message.startswith("too high: lr 0.1 ends")


def test_a_model_that_cannot_fit_ten_rows(iris):
    """The labels of two equal rows contradict each other."""
    X, y = np.zeros((40, 4)), np.tile([0, 1, 2, 0], 10)
    problem = problems.mlp(X + 1.0, y, hidden=(8,), standardize=False)
    found = diagnose(problem, "adam", lr=0.01, epochs=20)
    assert found["ten examples"].verdict == "wrong"
    assert "cannot fit 10 rows alone" in found["ten examples"].message
    assert "% of them right" in found["ten examples"].message
    few = diagnose(problems.ellipse(), "adam", lr=0.01, steps=10)
    with pytest.raises(KeyError, match="no check 'ten examples'; there are finite, descent"):
        few["ten examples"]


def test_gradients_that_are_not_there(iris):
    """All units of the hidden layer are dead, and only the biases of the last layer learn."""
    theta0 = np.zeros(67)
    theta0[32:40] = -1.0
    dead = dataclasses.replace(iris, theta0=theta0.astype(np.float32))
    found = diagnose(dead, "adam", lr=0.01, epochs=20)["gradients"]
    assert found.verdict == "wrong"
    assert found.message.startswith("96% of the parameters never get a gradient (dead units?)")
    frozen = dataclasses.replace(dead, X=iris.X, y=np.arange(112) % 3, theta0=theta0.astype("f4"))
    assert diagnose(frozen, "adam", lr=1e-9, steps=50)["updates"].message.endswith("stand still")


def test_what_is_wrong_with_data(iris):
    X = np.array(iris.X)
    X[:, 1], X[:, 2] = 3.0, 1e6 * X[:, 2]
    few = np.where(np.arange(len(X)) < 5, iris.y % 2, 2)
    strange = dataclasses.replace(iris, X=X, y=few)
    messages = [
        f.message for f in diagnose(strange, "adam", epochs=1).findings if f.check == "data"
    ]
    assert messages[0] == "1 of 4 features are constant (1)"
    assert messages[1].endswith("times apart in scale: standardize them")
    assert messages[2] == "96% of the labels are of one class"
    X[7, 3] = np.nan
    found = diagnose(dataclasses.replace(iris, X=X), "adam", epochs=1)
    assert found["data"].message == "X[7, 3] is nan"
    assert found.state == "DIVERGED"


def test_targets_far_from_one_are_named():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), 3e5 + 1e4 * rng.normal(size=40)
    raw, standard = (problems.linear_regression(X, y, standardize_target=k) for k in (False, True))
    said = "targets are about 3e+05 in size: standardize_target=True"
    assert diagnose(raw, "adam", lr=0.1, epochs=1)["data"].message == said
    assert diagnose(standard, "adam", lr=0.1, epochs=1)["data"].verdict == "ok"


def test_a_walk_has_an_end(iris):
    assert (
        len(follow_training(iris, "adam", steps=MOST_STEPS + 7, batch_size=112).frame) == MOST_STEPS
    )
    assert math.isnan(follow_training(problems.ellipse(), "adam", steps=1).frame.update_norm[0])


def test_mistakes_are_refused(iris):
    with pytest.raises(SpecError, match=r"a hundredth and a hundred times of lr; got lr=0\.0"):
        diagnose(iris, "adam", lr=0.0)
    with pytest.raises(SpecError, match="unknown axis or hyperparameter 'lrr'"):
        diagnose(iris, "adam", lrr=1.0)
    with pytest.raises(HyperparameterError, match="beta1"):
        diagnose(iris, "adam", beta1=1.5)
