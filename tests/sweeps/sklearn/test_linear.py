"""Linear models in a compiled search, against scikit-learn's own solvers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale

from sweeps.sklearn import SweepSearchCV

NUMBERS = load_diabetes(return_X_y=True)
SCALED = NUMBERS[0] * 20, NUMBERS[1] / 50
COUNTS = NUMBERS[0] * 20, np.round(NUMBERS[1] / 20)
LABELS = scale(load_wine().data), load_wine().target
TWO = LABELS[0], LABELS[1] > 0
WEIGHTS = np.random.default_rng(0).uniform(0.0, 2.0, len(NUMBERS[1]))
EXACT = {"tol": 1e-10, "max_iter": 100_000}
LOSS = "neg_log_loss"

CASES = {
    "ridge": (Ridge(), {"alpha": [0.1, 10]}, NUMBERS, None, None, 1e-9),
    "ridge, weights": (Ridge(), {"alpha": [0.1, 10]}, NUMBERS, None, WEIGHTS, 1e-9),
    "ridge, two targets": (
        Ridge(), {"alpha": [1.0]}, (NUMBERS[0], np.column_stack([NUMBERS[1], NUMBERS[1] ** 0.5])),
        "neg_mean_squared_error", None, 1e-6,
    ),
    "lasso": (Lasso(**EXACT), {"alpha": [0.1, 1]}, NUMBERS, None, WEIGHTS, 1e-5),
    "elastic net": (
        ElasticNet(**EXACT), {"alpha": [0.01, 0.5], "l1_ratio": [0.2, 0.8]}, SCALED, None, None,
        1e-5,
    ),
    "poisson": (PoissonRegressor(**EXACT), {"alpha": [0.1, 1]}, COUNTS, None, WEIGHTS, 1e-5),
    "logistic": (LogisticRegression(**EXACT), {"C": [0.01, 1]}, TWO, LOSS, None, 1e-5),
    "multinomial": (
        LogisticRegression(**EXACT), {"C": [0.01, 1], "class_weight": [None, "balanced"]}, LABELS,
        LOSS, None, 1e-4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_the_minimum(name):
    estimator, grid, (X, y), scoring, weights, tolerance = CASES[name]
    given = {} if weights is None else {"sample_weight": weights}
    searches = []
    for kind in (SweepSearchCV, GridSearchCV):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if kind is GridSearchCV else "error")
            warnings.filterwarnings("ignore", "The scoring .* does not support sample_weight")
            searches.append(kind(estimator, grid, cv=3, scoring=scoring).fit(X, y, **given))
    ours, theirs = searches
    for k in range(3):
        column = f"split{k}_test_score"
        np.testing.assert_allclose(
            ours.cv_results_[column], theirs.cv_results_[column], rtol=tolerance
        )
    assert ours.best_params_ == theirs.best_params_
    assert type(ours.best_estimator_) is type(estimator)
    np.testing.assert_array_equal(ours.best_estimator_.coef_, theirs.best_estimator_.coef_)


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_stochastic_models_are_scored_at_the_minimum_of_their_objective(kind):
    """That of SGDRegressor is Ridge's, that of SGDClassifier LogisticRegression's."""
    alpha = 0.01
    if kind == "regression":
        (X, y), scoring, n = SCALED, "r2", len(SCALED[1]) * 2 / 3
        pair = SGDRegressor(), Ridge(alpha * n)
    else:
        (X, y), scoring, n = TWO, LOSS, len(TWO[1]) * 2 / 3
        pair = SGDClassifier(loss="log_loss"), LogisticRegression(C=1 / (alpha * n), **EXACT)
    grids = {"alpha": [alpha]}, {}
    found = [
        SweepSearchCV(estimator, grid, cv=3, scoring=scoring, refit=False).fit(X, y).best_score_
        for estimator, grid in zip(pair, grids)
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-3)
    exact = GridSearchCV(pair[1], {}, cv=3, scoring=scoring, refit=False).fit(X, y).best_score_
    assert found[0] == pytest.approx(exact, rel=1e-3)
