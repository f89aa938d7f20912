"""Linear models that have converged are scikit-learn's, whose solvers share nothing with ours.

Ours minimise the mean loss of the rows plus ``l1 |W|_1 + l2/2 |W|^2``, biases free; each test says
what of that a penalty of scikit-learn's is. Plain gradient descent on all rows at once, whose steps
are as long as the curvature of the loss allows; with ``l1`` that is proximal gradient descent.
"""

import contextlib
import functools

import numpy as np
import pytest
import sklearn.datasets
from sklearn import linear_model, svm
from sklearn.preprocessing import StandardScaler

from sweeps import problems
from tests.helpers.training import run

CLOSE = {"rtol": 1e-4, "atol": 1e-7}


@functools.cache
def shipped(name):
    X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    return X, y


def standardized(X, y):
    return StandardScaler().fit_transform(X), y


def diabetes():
    return standardized(*shipped("diabetes"))


def proline():
    """The last column of the wines, in hundreds, by the others."""
    X, _ = shipped("wine")
    return standardized(X[:, :-1], X[:, -1] / 100)


def tumours():
    return standardized(*shipped("breast_cancer"))


def two_wines():
    X, y = shipped("wine")
    return standardized(X, y == 1)


def irises():
    return standardized(*shipped("iris"))


def wines():
    return standardized(*shipped("wine"))


MEASUREMENTS = pytest.mark.parametrize("data", [diabetes, proline])
BINARY = pytest.mark.parametrize("data", [tumours, two_wines])
LABELS = pytest.mark.parametrize("data", [irises, wines])


def curvature(problem):
    """The largest eigenvalue of the weighted mean of ``x x'``, ``x`` having a one for the bias."""
    X = np.column_stack([problem.X, np.ones(len(problem.X))])
    weights = problem.y[:, -1] if problem.options["weighted"] else np.ones(len(X))
    return np.linalg.eigvalsh((X.T * weights) @ X / weights.sum()).max()


def trained(
    X, y, loss, bend, steps, lr=None, schedule="constant", penalties=(), optimizer="sgd", **options
):
    """Weights and biases after gradient descent on a loss whose second derivative is ``bend``."""
    problem = problems.mlp(X, y, hidden=(), loss=loss, dtype="float64", **options)
    penalties = dict(penalties)
    lr = lr or 1.0 / (bend * curvature(problem) + penalties.get("l2", 0.0))
    settings = {"optimizer": optimizer, "batch_size": len(problem.X), "schedule": schedule}
    result = run(problem, {"lr": [lr]}, steps=steps, **settings, **penalties)
    theta = result.trials_weights([0])[0].reshape(X.shape[1] + 1, -1)
    return theta[:-1], theta[-1]


def fitted(model, X, y, **options):
    """Weights and biases of scikit-learn's, in our shapes."""
    model.fit(X, y, **options)
    return np.atleast_2d(model.coef_).T, np.atleast_1d(model.intercept_)


def assert_equal_models(ours, theirs):
    for actual, expected in zip(ours, theirs):
        np.testing.assert_allclose(actual, expected, **CLOSE)


@MEASUREMENTS
def test_ridge(data):
    X, y = data()
    # The sum of squares + alpha |w|^2; ours is the mean.
    ours = trained(X, y, "squared_error", 2.0, 6_000, penalties={"l2": 2 * 5.0 / len(X)})
    assert_equal_models(ours, fitted(linear_model.Ridge(alpha=5.0), X, y))


@MEASUREMENTS
@pytest.mark.parametrize("ratio", [1.0, 0.7])
def test_lasso_and_elastic_net_have_the_same_support(data, ratio):
    X, y = data()
    alpha = 0.1 * np.std(y)
    # Half the mean of squares + alpha (r |w|_1 + (1 - r)/2 |w|^2); ours is without the half.
    penalties = {"l1": 2 * alpha * ratio, "l2": 2 * alpha * (1 - ratio)}
    W, b = trained(X, y, "squared_error", 2.0, 6_000, penalties=penalties)
    model = linear_model.ElasticNet(alpha=alpha, l1_ratio=ratio, tol=1e-12, max_iter=100_000)
    theirs = fitted(model, X, y)
    assert_equal_models((W, b), theirs)
    np.testing.assert_array_equal(W == 0, theirs[0] == 0)
    assert 0 < np.count_nonzero(W) < W.size


def test_momentum_ends_with_a_share_of_l1():
    """Its steps are ten times as long, and the proximal step is not."""
    X, y = diabetes()
    alpha = 0.1 * np.std(y)
    how = {"lr": 0.01, "penalties": {"l1": 2 * alpha / (1 - 0.9)}, "optimizer": "momentum"}
    W, b = trained(X, y, "squared_error", 2.0, 6_000, **how)
    model = linear_model.Lasso(alpha=alpha, tol=1e-12, max_iter=100_000)
    assert_equal_models((W, b), fitted(model, X, y))


@BINARY
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_binary_logistic_regression(data, class_weight):
    X, y = data()
    ours, theirs = logistic_pair(X, y, "logistic", 0.25, class_weight)
    assert_equal_models(ours, theirs)


@LABELS
@pytest.mark.parametrize("class_weight", [None, {0: 1.0, 1: 3.0, 2: 0.5}])
def test_multinomial_logistic_regression(data, class_weight):
    X, y = data()
    (W, b), theirs = logistic_pair(X, y, "softmax_cross_entropy", 0.5, class_weight)
    # One number added to all biases changes nothing, and neither penalises biases.
    assert_equal_models((W, b - b.mean()), (theirs[0], theirs[1] - theirs[1].mean()))


def logistic_pair(X, y, loss, bend, class_weight, C=0.5):
    model = linear_model.LogisticRegression(
        C=C, class_weight=class_weight, tol=1e-12, max_iter=10_000
    )
    theirs = fitted(model, X, y)
    # C times the sum of weighted losses + |w|^2 / 2; ours is that sum over the sum of weights.
    labels, counts = np.unique(y, return_counts=True)
    mass = len(y)
    if isinstance(class_weight, dict):
        mass = counts @ [class_weight[label] for label in labels]
    ours = trained(
        X, y, loss, bend, 20_000, class_weight=class_weight, penalties={"l2": 1 / (C * mass)}
    )
    return ours, theirs


@MEASUREMENTS
def test_poisson_regression(data):
    X, y = data()
    y = y / np.mean(y)
    # Half the mean deviance + alpha/2 |w|^2: the same as ours.
    ours = trained(X, y, "poisson", 4.0, 6_000, penalties={"l2": 0.1})
    model = linear_model.PoissonRegressor(alpha=0.1, tol=1e-12, max_iter=10_000)
    assert_equal_models(ours, fitted(model, X, y))


@MEASUREMENTS
def test_huber_regression_at_the_scale_that_scikit_learn_found(data):
    X, y = data()
    alpha, epsilon = 1.0, 1.35
    # Its solver stops where the objective no longer falls by 2e-9, three digits too early: it goes
    # on from there until it stands still.
    model = linear_model.HuberRegressor(
        epsilon=epsilon, alpha=alpha, tol=1e-12, max_iter=10_000, warm_start=True
    )
    theirs = fitted(model, X, y)
    for _ in range(30):
        with contextlib.suppress(ValueError):  # where it cannot fall any further, it fails
            theirs = fitted(model, X, y)
    # At its scale s the sum of s H(d / s) is 2/s times that of our losses of delta = epsilon s.
    l2, delta = alpha * model.scale_ / len(X), epsilon * model.scale_
    ours = trained(X, y, "huber", 1.0, 20_000, delta=delta, penalties={"l2": l2})
    assert_equal_models(ours, theirs)


@MEASUREMENTS
def test_quantile_regression_has_the_least_objective(data):
    X, y = data()
    q, alpha = 0.8, 0.02
    W, b = trained(
        X, y, "quantile", 1.0, 20_000, lr=np.std(y) / 50, schedule="linear",
        quantile=q, penalties={"l1": alpha},
    )  # fmt: skip

    def objective(W, b):
        d = y - (X @ W + b)[:, 0]
        return np.mean(np.where(d > 0, q * d, (q - 1) * d)) + alpha * np.abs(W).sum()

    least = objective(*fitted(linear_model.QuantileRegressor(quantile=q, alpha=alpha), X, y))
    assert least * (1 - 1e-9) <= objective(W, b) <= least * (1 + 1e-4)


@BINARY
@pytest.mark.parametrize(("loss", "power"), [("squared_hinge", 2), ("hinge", 1)])
def test_support_vectors_have_the_least_objective(data, loss, power):
    X, y = data()
    C = 10.0 / len(X)
    # C times the sum of losses + |w|^2 / 2, biases penalised but for the scale of theirs.
    l2 = 1 / (C * len(X))
    W, b = trained(X, y, loss, 2.0, 20_000, schedule="linear", penalties={"l2": l2})

    def objective(W, b):
        lack = np.maximum(0.0, 1.0 - np.where(y == 1, 1, -1) * (X @ W + b)[:, 0])
        return np.mean(lack**power) + l2 / 2 * np.sum(W**2)

    model = svm.LinearSVC(
        C=C, loss=loss, dual=power == 1, intercept_scaling=100.0, tol=1e-9, max_iter=1_000_000
    )
    least = objective(*fitted(model, X, y))
    assert least * (1 - 1e-4) <= objective(W, b) <= least * (1 + 1e-4)
