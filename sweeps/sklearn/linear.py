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
    HuberRegressor,
    Lasso,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.preprocessing import FunctionTransformer, StandardScaler, add_dummy_feature
from sklearn.svm import LinearSVC

from fastopt.errors import shortened
from sweeps.models.estimators import set_coefficients
from sweeps.problems.base import DataProblem
from sweeps.sklearn.folds import Fold
from sweeps.sklearn.settings import refusal
from sweeps.sklearn.training import Trial

LEAST_STEPS, MOST_STEPS = 200, 20_000
DIGITS = 12.0
"""Decimals of the objective that a quadratic is brought to, if there are steps enough."""

CURVATURE = {
    "squared_error": 2.0, "logistic": 0.25, "softmax_cross_entropy": 0.5, "huber": 1.0,
    "squared_hinge": 2.0,
}  # fmt: skip
"""Loss -> the largest second derivative by an output; a smoothed hinge has its width for it."""

CORNER = 0.01
"""Width of the parabola that the corner of a hinge is: a row that lies there costs at most an
eighth of it more, and about as many rows do as there are weights."""

HINGE = {"margin": 1.0 + CORNER / 2, "smoothing": CORNER}

LEAST = {"squared_error": 1.0, "huber": 0.05}
"""Loss -> the share of its curvature that is everywhere, or nearly so where it matters: none of
losses of labels, which are flat where rows are told apart."""


def convex_training(
    estimator: Any, fold: Fold, loss: str, l1: float, l2: float, **model: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a training that ends at the minimum.

    With curvatures from mu to L, steps of 1 / L with Nesterov's momentum for both; plain ones
    where l1 moves weights to zero.
    """
    constant = intercept_of(estimator)
    centered = bool(estimator.fit_intercept) and constant is None
    top, bottom = fold.spectrum(centered, constant)
    bend, least = curvature(loss, fold, model)
    largest = bend * (max(top, 1.0) if centered else top or 1.0) + l2
    smallest = least * bend * (min(bottom, 1.0) if centered else bottom) + l2
    root = math.sqrt(smallest / largest)
    wanted = DIGITS * math.log(10) / max(root, DIGITS / MOST_STEPS)
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
    before: Any = StandardScaler(with_std=False) if centered else None
    if constant is not None:
        before = FunctionTransformer(add_dummy_feature, kw_args={"value": constant})
    facts = {"loss": loss, "dtype": "float64", "preprocess": before}
    return {**facts, "fit_intercept": centered, **model}, trial


def intercept_of(estimator: Any) -> float | None:
    """Return the feature whose weight is the intercept of ``LinearSVC``, which is penalised."""
    if isinstance(estimator, LinearSVC) and estimator.fit_intercept:
        return float(estimator.intercept_scaling)
    return None


def curvature(loss: str, fold: Fold, model: Mapping[str, Any]) -> tuple[float, float]:
    """Return the largest second derivative of a loss by an output, and what share is everywhere."""
    if loss == "poisson":
        y = fold.rows.y[fold.kept, 0]
        return max(float(np.quantile(y, 0.9)), float(y.mean()), 1.0), 0.05
    if "smoothed_hinge" in loss:
        return 1.0 / model["smoothing"], 0.0
    share = fold.outputs if loss == "squared_error" else 1
    one = "logistic" if loss == "multilabel" else loss.removeprefix(SEVERAL)  # of one label
    return CURVATURE[one] / share, LEAST.get(one, 0.0)


def one_against_the_rest(estimator: Any, loss: str, fold: Fold) -> str:
    """Return the loss of two classes, or of several that each have a model of their own."""
    if fold.rows.classes is None or len(fold.rows.classes) <= 2:
        return loss
    if estimator.class_weight is not None:
        raise refusal(
            estimator,
            f"weighs two classes; class_weight={shortened(estimator.class_weight)} of "
            f"{len(fold.rows.classes)} classes weighs each against the rest another way",
        )
    return "multilabel" if loss == "logistic" else SEVERAL + loss


SEVERAL = "multilabel_"


def number_of(estimator: Any, name: str) -> float:
    """Return a penalty that is one number."""
    value: Any = getattr(estimator, name)
    if not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
        raise refusal(estimator, f"has {name} as one number >= 0, not {shortened(value)}")
    return float(value)


def positive_of(estimator: Any, name: str) -> float:
    """Return a number by which something is divided."""
    value = number_of(estimator, name)
    if value == 0.0:
        raise refusal(estimator, f"has {name} as one number > 0, not {shortened(value)}")
    return value


def check_values(estimator: Any, **allowed: tuple) -> None:
    """Raise unless parameters have these values; those that this version lacks are passed over."""
    for name, values in allowed.items():
        value = getattr(estimator, name, values[0])
        if value not in values:
            raise refusal(estimator, f"has no {name}={shortened(value)}, only {values}")


def ridge(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    r"""Objective :math:`\lVert y - Xw \rVert^2 + \alpha \lVert w \rVert^2`."""
    check_values(estimator, positive=(False,))
    share = fold.weights().sum() * fold.outputs
    return convex_training(
        estimator, fold, "squared_error", 0.0, 2 * number_of(estimator, "alpha") / share
    )


def elastic_net(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    r"""Objective :math:`\frac{1}{2n} \lVert y - Xw \rVert^2 + \alpha (\rho |w|_1 + ...)`."""
    check_values(estimator, positive=(False,))
    penalty = 2 * number_of(estimator, "alpha") / fold.outputs
    share = params.get("l1_ratio", 1.0)
    return convex_training(estimator, fold, "squared_error", penalty * share, penalty * (1 - share))


def poisson(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    r"""Objective: half the mean deviance :math:`+ \frac{\alpha}{2} \lVert w \rVert^2`."""
    return convex_training(estimator, fold, "poisson", 0.0, number_of(estimator, "alpha"))


def huber(estimator: Any, params: Mapping[str, Any], fold: Fold, scale: float | None = None) -> Any:
    r"""Objective :math:`\sum_i w_i (\sigma + \sigma H(r_i / \sigma)) + \alpha \lVert w \rVert^2`.

    It is a training at one scale, the largest that it may come to by default;
    :mod:`sweeps.sklearn.scales` finds the right one.
    """
    check_values(estimator, warm_start=(False,))
    if scale is None:
        scale = largest_scale(fold.rows.y[fold.kept, 0], fold.weights())
    l2 = number_of(estimator, "alpha") * scale / fold.weights().sum()
    model, trial = convex_training(estimator, fold, "huber", 0.0, l2)
    return model, {**trial, "delta": scale * epsilon_of(estimator)}


def epsilon_of(estimator: Any) -> float:
    """Return how many scales away an outlier is, or say what it may be."""
    value = positive_of(estimator, "epsilon")
    if value < 1.0:
        raise refusal(estimator, f"has epsilon as one number >= 1, not {shortened(value)}")
    return value


def largest_scale(y: np.ndarray, weights: np.ndarray) -> float:
    """Return what Huber's scale is at most: the deviation of the targets from their mean."""
    mean = np.average(y, weights=weights)
    return max(math.sqrt(np.average((y - mean) ** 2, weights=weights)), LEAST_SCALE)


LEAST_SCALE = 10 * float(np.finfo(np.float64).eps)
"""As in scikit-learn: below it lies a perfect fit."""


def logistic(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    r"""Objective :math:`C \sum_i w_i l_i` and the penalty."""
    check_values(
        estimator, solver=SMOOTH, dual=(False,), multi_class=("deprecated", "auto", "multinomial")
    )
    weights = fold.weights(estimator.class_weight)
    share = _l1_share(estimator)
    free = estimator.C in (math.inf,) or getattr(estimator, "penalty", "l2") is None
    penalty = 0.0 if free else 1.0 / (positive_of(estimator, "C") * weights.sum())
    several = len(fold.rows.classes) > 2 if fold.rows.classes is not None else False
    loss = "softmax_cross_entropy" if several else "logistic"
    own = class_weight_of(estimator)
    return convex_training(estimator, fold, loss, penalty * share, penalty * (1 - share), **own)


SMOOTH = ("lbfgs", "newton-cg", "newton-cholesky", "sag", "saga")
"""Solvers whose intercept is free and whose classes are fitted together: all but liblinear."""


def _l1_share(estimator: Any) -> float:
    """Return the share of l1 in a penalty that may be named or told by its ratio."""
    named = {"l1": 1.0, "l2": 0.0}.get(getattr(estimator, "penalty", None) or "")
    ratio = getattr(estimator, "l1_ratio", None)
    return named if named is not None else float(ratio or 0.0)


def sgd(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    """Objective that ``SGDClassifier`` and ``SGDRegressor`` approach, at its minimum."""
    check_values(estimator, penalty=("l2", "l1", "elasticnet", None), average=(False,))
    losses = SGD_LABELS if is_classifier(estimator) else SGD_NUMBERS
    if estimator.loss == "perceptron":
        raise refusal(estimator, "has no loss='perceptron', whose minimum is weights of zero")
    check_values(estimator, early_stopping=(False,), loss=tuple(losses))
    loss, factor, constants = losses[estimator.loss]
    own: dict[str, Any] = dict(constants)
    if is_classifier(estimator):
        loss = one_against_the_rest(estimator, loss, fold)
        own |= class_weight_of(estimator)
    if loss == "huber":
        own["delta"] = float(estimator.epsilon)
    named = {"l2": 0.0, "l1": 1.0, "elasticnet": estimator.l1_ratio, None: 0.0}
    share = float(named[estimator.penalty])
    penalty = factor * number_of(estimator, "alpha") if estimator.penalty is not None else 0.0
    return convex_training(estimator, fold, loss, penalty * share, penalty * (1 - share), **own)


SGD_LABELS: dict[str, tuple[str, float, dict[str, float]]] = {
    "hinge": ("smoothed_hinge", 1.0, HINGE),
    "log_loss": ("logistic", 1.0, {}),
    "modified_huber": ("smoothed_hinge", 0.25, {"margin": 1.0, "smoothing": 2.0}),
    "squared_hinge": ("squared_hinge", 1.0, {}),
}
"""Loss of ``SGDClassifier`` -> ours, how many times theirs it is, and its constants."""

SGD_NUMBERS: dict[str, tuple[str, float, dict[str, float]]] = {
    "squared_error": ("squared_error", 2.0, {}),
    "huber": ("huber", 1.0, {}),
}
"""The same of ``SGDRegressor``."""


def class_weight_of(estimator: Any) -> dict[str, Any]:
    """Return the class weights as what makes a problem, if there are any."""
    given = estimator.class_weight
    return {} if given is None else {"class_weight": given}


def support_vectors(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Any:
    r"""Objective :math:`\frac{1}{2} \lVert w \rVert^2 + C \sum_i w_i l_i`, intercept included."""
    check_values(estimator, multi_class=("ovr",), penalty=("l2", "l1"))
    check_values(estimator, loss=("squared_hinge", "hinge"))
    loss = one_against_the_rest(estimator, SGD_LABELS[estimator.loss][0], fold)
    weights = fold.weights(estimator.class_weight)
    penalty = 1.0 / (positive_of(estimator, "C") * weights.sum())
    l1, l2 = (penalty, 0.0) if estimator.penalty == "l1" else (0.0, penalty)
    own = {**SGD_LABELS[estimator.loss][2], **class_weight_of(estimator)}
    return convex_training(estimator, fold, loss, l1, l2, **own)


LINEAR: dict[type, Callable[[Any, Mapping[str, Any], Fold], Any]] = {
    Ridge: ridge,
    Lasso: elastic_net,
    ElasticNet: elastic_net,
    PoissonRegressor: poisson,
    HuberRegressor: huber,
    LinearSVC: support_vectors,
    LogisticRegression: logistic,
    SGDClassifier: sgd,
    SGDRegressor: sgd,
}
"""Class of a linear model -> its objective."""


def coefficients(problem: DataProblem, trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """Return weights ``(features, outputs)`` and intercepts, of features as they were given."""
    n, k = problem.X.shape[1], problem.n_outputs
    weight, bias = trial.theta[: n * k].reshape(n, k), trial.theta[n * k :].copy()
    before = problem.preprocess
    if isinstance(before, FunctionTransformer):
        return weight[1:], weight[0] * before.kw_args["value"]
    return weight, bias if before is None else bias - before.mean_ @ weight


def fill_linear(estimator: Any, ran: Any) -> Any:
    """Make a linear model with trained weights: what its predictions look at."""
    weight, bias = coefficients(ran.problem, ran.trial)
    set_coefficients(estimator, weight, bias, ran.job.fold.rows.classes)
    if isinstance(estimator, HuberRegressor):
        estimator.scale_ = ran.job.trial["delta"] / float(estimator.epsilon)
    estimator.n_iter_ = int(ran.trial.figures["steps"])
    return estimator
