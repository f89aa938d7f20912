"""scikit-learn's linear models: the minimum of a convex objective, approached by gradient descent.

Where an estimator gets to its minimum by another way (``solver``, ``tol``, ``max_iter``) nothing
changes but rounding; the best one is then fitted by its own ``fit``.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.preprocessing import StandardScaler

from fastopt.errors import shortened
from sweeps.problems.base import DataProblem
from sweeps.sklearn.folds import Fold
from sweeps.sklearn.settings import refused
from sweeps.sklearn.training import Trial

__all__ = ["LINEAR", "fill_linear"]

LEAST_STEPS, MOST_STEPS = 200, 20_000
DIGITS = 12.0
"""Decimals of the objective that a quadratic is brought to, if there are steps enough."""

CURVATURE = {
    "squared_error": 2.0, "logistic": 0.25, "softmax_cross_entropy": 0.5, "multilabel": 0.25,
    "huber": 1.0, "squared_hinge": 2.0, "hinge": 1.0,
}  # fmt: skip
"""Loss -> the largest second derivative by an output."""

QUADRATIC = ("squared_error",)


def convex(
    estimator: Any, fold: Fold, loss: str, l1: float, l2: float, **model: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a training that ends at the minimum.

    With curvatures from mu to L, steps of 1 / L with Nesterov's momentum for both; plain ones
    where l1 moves weights to zero.
    """
    if not estimator.fit_intercept:
        raise refused(estimator, "fits an intercept; fit_intercept=False is not trained")
    top, bottom = fold.spectrum
    if loss == "poisson":
        y = fold.rows.y[fold.kept, 0]
        bend = max(float(np.quantile(y, 0.9)), float(y.mean()), 1.0)
    else:
        bend = CURVATURE[loss] / (fold.outputs if loss == "squared_error" else 1)
    least = 1.0 if loss in QUADRATIC else 0.05
    largest = bend * max(top, 1.0) + l2
    smallest = least * bend * min(bottom, 1.0) + l2
    root = math.sqrt(smallest / largest)
    wanted = DIGITS * math.log(10) / root
    root = max(root, DIGITS / MOST_STEPS)
    momentum = (1.0 - root) / (1.0 + root)
    trial = {
        "optimizer": "nesterov",
        "lr": 1.0 / largest,
        "momentum": momentum,
        "steps": int(min(max(wanted, LEAST_STEPS), MOST_STEPS)),
        "batch_size": fold.count(model.get("class_weight")),
        # The engine shrinks weights after each step as if that had no momentum; at rest steps are
        # 1 / (1 - momentum) times as long.
        "l1": l1 / (1.0 - momentum),
        "l2": l2,
        "init_scale": 0.0,
        "shuffle": "none",
    }
    center = StandardScaler(with_std=False)
    return {"loss": loss, "dtype": "float64", "preprocess": center, **model}, trial


def plain(estimator: Any, name: str) -> float:
    """Return a penalty that is one number."""
    value: Any = getattr(estimator, name)
    if not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
        raise refused(estimator, f"has {name} as one number >= 0, not {shortened(value)}")
    return float(value)


def only(estimator: Any, **allowed: tuple) -> None:
    """Raise unless parameters have these values; those that this version lacks are passed over."""
    for name, values in allowed.items():
        value = getattr(estimator, name, values[0])
        if value not in values:
            raise refused(estimator, f"has no {name}={shortened(value)}, only {values}")


def ridge(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    r"""Objective :math:`\lVert y - Xw \rVert^2 + \alpha \lVert w \rVert^2`."""
    only(estimator, positive=(False,))
    share = fold.weights().sum() * fold.outputs
    return convex(estimator, fold, "squared_error", 0.0, 2 * plain(estimator, "alpha") / share)


def elastic_net(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    r"""Objective :math:`\frac{1}{2n} \lVert y - Xw \rVert^2 + \alpha (\rho |w|_1 + ...)`."""
    only(estimator, positive=(False,))
    penalty = 2 * plain(estimator, "alpha") / fold.outputs
    share = params.get("l1_ratio", 1.0)
    return convex(estimator, fold, "squared_error", penalty * share, penalty * (1 - share))


def poisson(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    r"""Objective: half the mean deviance :math:`+ \frac{\alpha}{2} \lVert w \rVert^2`."""
    return convex(estimator, fold, "poisson", 0.0, plain(estimator, "alpha"))


def logistic(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    r"""Objective :math:`C \sum_i w_i l_i` and the penalty."""
    only(estimator, solver=SMOOTH, dual=(False,), multi_class=("deprecated", "auto", "multinomial"))
    weights = fold.weights(estimator.class_weight)
    share = _l1_share(estimator)
    free = math.isinf(estimator.C) or getattr(estimator, "penalty", "l2") is None
    penalty = 0.0 if free else 1.0 / (plain(estimator, "C") * weights.sum())
    several = len(fold.rows.classes) > 2 if fold.rows.classes is not None else False
    loss = "softmax_cross_entropy" if several else "logistic"
    own = {} if estimator.class_weight is None else {"class_weight": estimator.class_weight}
    return convex(estimator, fold, loss, penalty * share, penalty * (1 - share), **own)


SMOOTH = ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")
"""Solvers whose intercept is free and whose classes are fitted together: all but liblinear."""


def _l1_share(estimator: Any) -> float:
    """Return the share of l1 in a penalty that may be named or told by its ratio."""
    named = {"l1": 1.0, "l2": 0.0}.get(getattr(estimator, "penalty", None) or "")
    ratio = getattr(estimator, "l1_ratio", None)
    return named if named is not None else float(ratio or 0.0)


def sgd(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    """Objective that ``SGDClassifier`` and ``SGDRegressor`` approach, at its minimum."""
    only(estimator, penalty=("l2", "l1", "elasticnet", None), average=(False,))
    only(estimator, early_stopping=(False,), loss=tuple(SGD_LOSSES))
    loss, factor = SGD_LOSSES[estimator.loss]
    own: dict[str, Any] = {}
    if fold.rows.classes is not None and len(fold.rows.classes) > 2:
        raise refused(estimator, "trains it on two classes; one against the rest is not trained")
    if getattr(estimator, "class_weight", None) is not None:
        own["class_weight"] = estimator.class_weight
    if loss == "huber":
        own["delta"] = float(estimator.epsilon)
    named = {"l2": 0.0, "l1": 1.0, "elasticnet": estimator.l1_ratio, None: 0.0}
    share = float(named[estimator.penalty])
    penalty = factor * plain(estimator, "alpha") if estimator.penalty is not None else 0.0
    return convex(estimator, fold, loss, penalty * share, penalty * (1 - share), **own)


SGD_LOSSES = {
    "log_loss": ("logistic", 1.0), "squared_hinge": ("squared_hinge", 1.0),
    "squared_error": ("squared_error", 2.0), "huber": ("huber", 1.0),
}  # fmt: skip
"""Loss of ``SGDClassifier`` and ``SGDRegressor`` -> ours, and how many times theirs it is."""

LINEAR: dict[type, Callable[[Any, Mapping[str, Any], Fold], Any]] = {
    Ridge: ridge,
    Lasso: elastic_net,
    ElasticNet: elastic_net,
    PoissonRegressor: poisson,
    LogisticRegression: logistic,
    SGDClassifier: sgd,
    SGDRegressor: sgd,
}
"""Class of a linear model -> its objective."""


def fill_linear(
    estimator: Any, problem: DataProblem, trial: Trial, settings: Mapping[str, Any]
) -> Any:
    """Make a linear model with trained weights: what its predictions look at."""
    n, k = problem.X.shape[1], problem.n_outputs
    weight, bias = trial.theta[: n * k].reshape(n, k), trial.theta[n * k :]
    bias = bias - problem.preprocess.mean_ @ weight
    if is_classifier(estimator):
        estimator.classes_ = problem.classes
        estimator.coef_, estimator.intercept_ = weight.T.copy(), bias
    else:
        one = k == 1
        estimator.coef_ = weight[:, 0].copy() if one else weight.T.copy()
        estimator.intercept_ = float(bias[0]) if one else bias
    if isinstance(estimator, PoissonRegressor):
        estimator._base_loss = estimator._get_loss()
    estimator.n_iter_ = int(trial.figures["steps"])
    return estimator
