"""Linear models of a compiled search at the minimum of scikit-learn's objectives, written out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import (
    HuberRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
)
from sklearn.preprocessing import scale
from sklearn.svm import LinearSVC

from fastopt.errors import ArrayError, SpecError
from sweeps.sklearn import SweepSearchCV
from sweeps.sklearn.scales import best_scale

X, Y = scale(load_wine().data) + 0.2, load_wine().target
ROWS = np.arange(len(Y))
NUMBERS = load_diabetes().data * 20 + 0.3, load_diabetes().target / 50
WEIGHTS = np.random.default_rng(0).integers(0, 3, len(NUMBERS[1])).astype(float)
SOAK = pytest.mark.soak
EXACT = {"tol": 1e-10, "max_iter": 100_000}


def fits(estimator, grid, X, y, weights=None):
    """Return the estimators of all candidates as they are scored, trained on these rows."""
    kept = []

    def scorer(fitted, X, y):
        kept.append(fitted)
        return 0.0

    rows, more = np.arange(len(y)), (*range(len(y)), 0)  # a row to be scored on
    search = SweepSearchCV(estimator, grid, cv=[(rows, [len(y)])], scoring=scorer, refit=False)
    given = {} if weights is None else {"sample_weight": weights[[*more]]}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The scoring .* does not support sample_weight")
        search.fit(X[[*more]], y[[*more]], **given)
    return kept


def of_huber(estimator, X, y, weights):
    """Objective of HuberRegressor, the scale being a parameter."""
    z = np.abs(y - estimator.predict(X)) / estimator.scale_
    outliers = 2 * estimator.epsilon * z - estimator.epsilon**2
    loss = estimator.scale_ * (1 + np.where(z < estimator.epsilon, z**2, outliers))
    return weights @ loss + estimator.alpha * estimator.coef_ @ estimator.coef_


def test_huber_estimates_its_scale_beside_its_weights():
    X, y = NUMBERS[0], np.where(np.arange(len(WEIGHTS)) % 11, 1, 4) * NUMBERS[1]
    grid = {"epsilon": [1.1, 1.35], "alpha": [1e-4, 10.0]}
    for ours in fits(HuberRegressor(), grid, X, y, WEIGHTS):
        theirs = HuberRegressor(epsilon=ours.epsilon, alpha=ours.alpha, **EXACT).fit(X, y, WEIGHTS)
        assert ours.scale_ == pytest.approx(theirs.scale_, rel=1e-4)
        found, known = (of_huber(model, X, y, WEIGHTS) for model in (ours, theirs))
        assert found <= known * (1 + 1e-9)


@pytest.mark.parametrize("epsilon", [1.0, 1.35, 3.0])
def test_the_best_scale_of_residuals_is_the_least_of_its_sum(epsilon):
    rng = np.random.default_rng(0)
    for n in (1, 2, 30):
        residuals, weights = rng.standard_cauchy(n), rng.uniform(0.1, 2.0, n)
        scale = best_scale(residuals, weights, epsilon) or 1e-9

        def total(scale):
            z = np.abs(residuals) / scale  # noqa: B023
            huber = np.where(z < epsilon, z * z, 2 * epsilon * z - epsilon**2)
            return weights @ (scale + scale * huber)  # noqa: B023

        around = scale * np.geomspace(0.5, 2.0, 101)
        assert total(scale) <= min(map(total, around)) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("estimator", "rows"),
    [
        pytest.param(Ridge(), NUMBERS, id="ridge"),
        pytest.param(LogisticRegression(**EXACT), (X, Y), id="three classes", marks=SOAK),
        pytest.param(LogisticRegression(**EXACT), (X, Y > 0), id="two classes", marks=SOAK),
        pytest.param(PoissonRegressor(**EXACT), NUMBERS, id="poisson", marks=SOAK),
    ],
)
def test_models_through_the_origin(estimator, rows):
    estimator.set_params(fit_intercept=False)
    (ours,), theirs = fits(estimator, {}, *rows), estimator.fit(*rows)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(ours.intercept_, theirs.intercept_)
    assert not np.any(theirs.intercept_)


UNIT = {
    "hinge": lambda margin: np.maximum(0, 1 - margin),
    "squared_hinge": lambda margin: np.maximum(0, 1 - margin) ** 2,
    "modified_huber": lambda margin: np.where(
        margin < -1, -4 * margin, np.maximum(0, 1 - margin) ** 2
    ),
    "log_loss": lambda margin: np.logaddexp(0, -margin),
}


@pytest.mark.parametrize(
    "loss",
    [
        "hinge",
        "modified_huber",
        pytest.param("squared_hinge", marks=SOAK),
        pytest.param("log_loss", marks=SOAK),
    ],
)
def test_each_class_against_the_rest_has_the_least_objective(loss):
    alpha = 0.03
    (ours,) = fits(SGDClassifier(loss, alpha=alpha), {}, X, Y)
    assert ours.coef_.shape == (3, X.shape[1])
    for k in range(3):
        signs = np.where(k == Y, 1, -1)

        def objective(theta):
            margins = signs * (X @ theta[1:] + theta[0])  # noqa: B023
            return UNIT[loss](margins).mean() + alpha / 2 * theta[1:] @ theta[1:]

        found = np.append(ours.intercept_[k], ours.coef_[k])
        if loss == "hinge":  # not smooth: by liblinear's dual, with an intercept hardly penalised
            C = 1 / (alpha * len(Y))
            svm = LinearSVC(loss="hinge", C=C, intercept_scaling=100.0, tol=1e-9, max_iter=10**6)
            svm.fit(X, signs)
            least = objective(np.append(svm.intercept_, svm.coef_))
        else:
            least = minimize(objective, found, method="L-BFGS-B", options={"ftol": 1e-14}).fun
        assert objective(found) <= least * (1 + (1e-3 if loss == "hinge" else 1e-6))


def test_support_vectors_have_their_penalised_intercept():
    grid = {"C": [0.01, 1.0], "intercept_scaling": [1.0, 5.0]}
    for ours in fits(LinearSVC(), grid, X, Y):
        theirs = LinearSVC(C=ours.C, intercept_scaling=ours.intercept_scaling, **EXACT).fit(X, Y)
        for name in ("coef_", "intercept_"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-3)


@pytest.mark.parametrize("loss", ["softmax", "squared hinge"])
def test_weak_penalties_of_classes_that_are_told_apart(loss):
    # Near their minimum the losses are flat: no share of their curvature is everywhere.
    model, y = (
        (LogisticRegression(C=100.0), Y) if loss == "softmax" else (LinearSVC(C=100.0), Y > 0)
    )

    def objective(fitted):
        scores = fitted.decision_function(X)
        if loss == "softmax":
            losses, penalised = logsumexp(scores, axis=1) - scores[ROWS, Y], fitted.coef_
        else:
            losses = np.maximum(0, 1 - np.where(y, 1, -1) * scores) ** 2
            penalised = np.append(fitted.coef_, fitted.intercept_)
        return model.C * losses.sum() + (penalised**2).sum() / 2

    (ours,) = fits(model, {}, X, y)
    assert objective(ours) <= objective(model.set_params(**EXACT).fit(X, y)) * (1 + 1e-3)


REFUSED = {
    "has no loss='perceptron', whose minimum is weights of zero": SGDClassifier("perceptron"),
    "has no loss='squared_error', only": SGDClassifier("squared_error"),
    "weighs two classes": SGDClassifier(class_weight="balanced"),
    "has no multi_class='crammer_singer', only": LinearSVC(multi_class="crammer_singer"),
    "has C as one number > 0": LinearSVC(C=0),
    "has epsilon as one number >= 1": HuberRegressor(epsilon=0.5),
    "has no warm_start=True, only": HuberRegressor(warm_start=True),
}


@pytest.mark.parametrize("says", REFUSED)
def test_other_objectives_are_refused_by_name(says):
    estimator = REFUSED[says]
    with pytest.raises(SpecError, match=f"^{type(estimator).__name__}: a compiled search {says}"):
        SweepSearchCV(estimator, {}, cv=2).fit(X, Y)


@pytest.mark.parametrize("estimator", [HuberRegressor(), SGDClassifier(), PoissonRegressor()])
def test_several_targets_a_row_are_refused_where_there_is_one(estimator):
    with pytest.raises(ArrayError, match=f"{type(estimator).__name__} takes one target a row"):
        SweepSearchCV(estimator, {}, cv=2).fit(X, np.eye(3, dtype=int)[Y])
