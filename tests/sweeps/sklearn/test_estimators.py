"""SweepClassifier and SweepRegressor beside scikit-learn's estimators."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale

from fastopt.errors import SpecError
from sweeps import Model
from sweeps.sklearn import SweepClassifier, SweepRegressor

X, Y = scale(load_wine().data), load_wine().target
TABLE = load_diabetes(as_frame=True)
NUMBERS = scale(TABLE.data), scale(TABLE.target)
FULL = {
    "hidden_layer_sizes": (), "solver": "sgd", "batch_size": 10_000, "max_iter": 3000,
    "n_iter_no_change": None, "dtype": "float64", "random_state": 0,
}  # fmt: skip
SHARED = ("hidden_layer_sizes", "activation", "alpha", "batch_size", "learning_rate_init",
          "max_iter", "shuffle", "random_state", "momentum", "nesterovs_momentum", "beta_1",
          "beta_2", "epsilon", "n_iter_no_change", "early_stopping", "validation_fraction",
          "solver")  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs"), [(SweepClassifier, MLPClassifier), (SweepRegressor, MLPRegressor)]
)
def test_parameters_have_the_names_and_defaults_of_scikit_learn(ours, theirs):
    mine, known = ours().get_params(), theirs().get_params()
    assert {*SHARED} == {*mine} & {*known} - {"loss"}
    assert {name: mine[name] for name in SHARED} == {name: known[name] for name in SHARED}


def test_alpha_is_that_of_scikit_learn():
    """Without hidden layers, the minimum of MLPRegressor's objective is Ridge's."""
    alpha = 40.0
    ours = SweepRegressor(alpha=alpha, learning_rate_init=0.05, **FULL).fit(*NUMBERS)
    theirs = Ridge(alpha).fit(*NUMBERS)
    np.testing.assert_allclose(ours.coefs_[0][:, 0], theirs.coef_, rtol=1e-6, atol=1e-9)
    assert ours.loss_ == pytest.approx(np.mean((ours.predict(NUMBERS[0]) - NUMBERS[1]) ** 2) / 2)


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 2: 0.5}])
def test_classes_are_weighed_as_in_scikit_learn(class_weight):
    weights = np.random.default_rng(0).integers(0, 3, len(Y)).astype(float)
    ours = SweepClassifier(
        alpha=10.0, learning_rate_init=0.3, class_weight=class_weight, **FULL
    ).fit(X, Y, weights)
    theirs = LogisticRegression(C=0.1, class_weight=class_weight, tol=1e-10, max_iter=10_000)
    theirs.fit(X, Y, weights)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-4)


@pytest.mark.parametrize("loss", ["hinge", "logistic", "softmax_cross_entropy"])
def test_two_classes_by_any_loss_for_them(loss):
    two = np.array(["no", "yes"])[(Y == 1).astype(int)]
    net = SweepClassifier(
        (8,), loss=loss, dtype="float64", learning_rate_init=0.03, max_iter=40, random_state=0
    ).fit(X, two)
    assert net.score(X, two) > 0.95
    np.testing.assert_array_equal(net.decision_function(X) > 0, net.predict(X) == "yes")
    if loss == "hinge":
        with pytest.raises(SpecError, match="no probabilities"):
            net.predict_proba(X)
    else:
        np.testing.assert_array_equal(
            net.classes_[net.predict_proba(X).argmax(axis=1)], net.predict(X)
        )


def test_early_stopping_keeps_the_best_epoch():
    net = SweepRegressor(
        (32,), dtype="float64", learning_rate_init=0.1, alpha=0.0, max_iter=200, random_state=0,
        early_stopping=True, validation_fraction=0.3, n_iter_no_change=5,
    )  # fmt: skip
    stopped = clone(net).fit(*NUMBERS)
    assert 5 < stopped.n_iter_ < 200
    longer = net.set_params(early_stopping=False, n_iter_no_change=None).fit(*NUMBERS)
    assert longer.n_iter_ == 200
    assert longer.loss_ < stopped.loss_


def test_models_go_on_from_estimators(tmp_path):
    net = SweepRegressor((4,), loss="huber", loss_params={"delta": 0.5}, max_iter=5).fit(*NUMBERS)
    again = Model.load(net.model_.save(tmp_path / "net.safetensors"))
    np.testing.assert_allclose(again.predict(NUMBERS[0]), net.predict(NUMBERS[0]), rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"solver": "adamm"}, "did you mean 'adam'"),
        ({"loss": "huber"}, "loss must be one of"),
        ({"activation": "rely"}, "activation must be one of"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes must be widths >= 1"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1"),
        ({"max_iter": 2.5}, "max_iter must be a whole number >= 1"),
        ({"alpha": -1.0}, "alpha must be a number >= 0"),
        ({"learning_rate_init": 0.0}, "learning_rate_init must be a number > 0"),
        ({"solver": "sgd", "learning_rate_init": 1e30, "alpha": 1.0}, "diverged after"),
    ],
)
def test_what_makes_no_sense_is_refused(given, says):
    with pytest.raises(SpecError, match=says):
        SweepClassifier(**{"hidden_layer_sizes": (8,), "random_state": 0, **given}).fit(X, Y)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (np.ones(3), "one number for each of the 178 rows"),
        (np.r_[-1.0, np.ones(177)], "sample_weight\\[0\\] is -1.0"),
        (np.zeros(178), "zero for all rows"),
    ],
)
def test_weights_that_are_none_are_refused(weights, says):
    with pytest.raises(ValueError, match=says):
        SweepClassifier((8,)).fit(X, Y, weights)
