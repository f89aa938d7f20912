"""The table of estimators that a search trains compiled: what their parameters mean here.

A row says how targets are read, which problem and settings a candidate is on a fold, and how an
estimator is made of trained weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import is_classifier
from sklearn.linear_model import ElasticNet, HuberRegressor, Lasso, Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fastopt.errors import ArrayError, shortened
from sweeps.models.estimators import estimator as as_sklearn
from sweeps.models.trained import model_of
from sweeps.sklearn.estimators import SweepClassifier, SweepRegressor
from sweeps.sklearn.folds import Fold
from sweeps.sklearn.launches import Job, Ran
from sweeps.sklearn.linear import LINEAR, fill_linear
from sweeps.sklearn.scales import with_best_scales
from sweeps.sklearn.settings import Refusal, network_of, refusal, trial_of
from sweeps.sklearn.training import Rows, loss_and_epochs

Training = tuple[dict[str, Any], dict[str, Any]]


class Adapter(NamedTuple):
    """How an estimator is trained compiled.

    * ``training``: ``training(estimator, params, fold) -> (model, trial)``: what makes the problem,
      and settings of :func:`sweeps.sweep`, of an estimator with these parameters; raises SpecError
      for what is not trained compiled.
    * ``fill``: ``fill(estimator, ran)`` makes it a fitted one.
    * ``refits``: whether the best one is fitted by its own ``fit``, not by another compiled
      training.
    * ``settle``: ``settle(jobs, estimators, launch)`` returns the jobs with what is to be found by
      launches of its own before, as :func:`sweeps.sklearn.scales.with_best_scales`.
    """

    training: Callable[[Any, Mapping[str, Any], Fold], Training]
    fill: Callable[[Any, Ran], Any]
    refits: bool
    settle: Callable[..., list[Job]] | None = None


def adapter_of(estimator: Any) -> Adapter:
    """Return the row of an estimator, or say that there is none."""
    if estimator is None or isinstance(estimator, str):
        raise Refusal(
            f"a compiled search trains the last step of a Pipeline, and {shortened(estimator)} is "
            "no estimator; give it one at its end"
        )
    found = ADAPTERS.get(type(estimator))
    if found is None:
        raise refusal(estimator, f"trains {', '.join(t.__name__ for t in ADAPTERS)}, not it")
    return found


def rows_for(estimator: Any, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Rows:
    """Return a checked table as an estimator's problem reads it."""
    reader = SweepClassifier if is_classifier(estimator) else SweepRegressor
    rows = reader().rows_of(X, y, weights)
    if type(estimator) not in SEVERAL_TARGETS and rows.y.shape[1:] not in ((), (1,)):
        raise ArrayError(
            f"{type(estimator).__name__} takes one target a row; y has shape {rows.y.shape}: give "
            "one column of it, or an estimator of several, such as MLPClassifier or Ridge"
        )
    return rows


SEVERAL_TARGETS = (
    SweepClassifier, SweepRegressor, MLPClassifier, MLPRegressor, Ridge, Lasso, ElasticNet,
)  # fmt: skip
"""Estimators that predict several numbers, or labels, of a row."""


def own_training(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Training:
    """Return what a candidate of ours is."""
    if estimator.early_stopping:
        raise refusal(
            estimator, "chooses by the rows of each fold: early_stopping=True would hold out others"
        )
    loss = estimator.loss_of(fold.rows)
    n = fold.count(params.get("class_weight"))
    weight = float(fold.weights(params.get("class_weight")).sum()) / n
    return network_of(params, loss), trial_of(params, loss, n, weight)


def network_training(estimator: Any, params: Mapping[str, Any], fold: Fold) -> Training:
    """Return what an ``MLPClassifier`` or ``MLPRegressor`` is."""
    for name, allowed in NETWORK.items():
        value = params.get(name, allowed[0])
        if value not in allowed:
            raise refusal(estimator, f"has no {name}={shortened(value)}, only {allowed}")
    if params["solver"] == "sgd" and params["learning_rate"] != "constant":
        raise refusal(
            estimator,
            f"has no learning_rate={params['learning_rate']!r}, only 'constant' (the schedules of "
            "SweepClassifier and SweepRegressor have more)",
        )
    loss = _loss_of(params, fold.rows)
    model = network_of(params, loss)
    if not model["hidden"]:
        raise refusal(estimator, "needs one hidden layer or more")
    return model, trial_of(params, loss, fold.n, float(fold.weights().mean()))


NETWORK: dict[str, tuple] = {
    "solver": ("adam", "sgd"),
    "early_stopping": (False,),
    "warm_start": (False,),
}
"""Parameter of scikit-learn's networks -> the values that are trained compiled."""


def _loss_of(params: Mapping[str, Any], rows: Rows) -> str:
    if rows.classes is None:
        return str(params.get("loss", "squared_error"))
    if rows.y.ndim == 2:
        return "multilabel"
    return "logistic" if len(rows.classes) == 2 else "softmax_cross_entropy"


def fill_own(estimator: Any, ran: Ran) -> Any:
    """Make a fitted estimator of ours."""
    return estimator.take(ran.problem, ran.trial, ran.job.trial)


def fill_network(estimator: Any, ran: Ran) -> Any:
    """Make a fitted network of scikit-learn's: the weights, and what its methods look at."""
    problem, trial = ran.problem, ran.trial
    fitted = as_sklearn(model_of(problem, trial.theta))
    own = estimator.get_params(deep=False)
    for name, value in vars(fitted).items():
        if name not in own:
            setattr(estimator, name, value)
    estimator.loss_, estimator.n_iter_ = loss_and_epochs(problem, trial, ran.job.trial)
    estimator.best_loss_, estimator.loss_curve_ = estimator.loss_, [estimator.loss_]
    estimator.t_ = estimator.n_iter_ * len(problem.X)
    return estimator


ADAPTERS: dict[type, Adapter] = {
    SweepClassifier: Adapter(own_training, fill_own, True),
    SweepRegressor: Adapter(own_training, fill_own, True),
    MLPClassifier: Adapter(network_training, fill_network, False),
    MLPRegressor: Adapter(network_training, fill_network, False),
    **{kind: Adapter(training, fill_linear, True) for kind, training in LINEAR.items()},
    HuberRegressor: Adapter(LINEAR[HuberRegressor], fill_linear, True, with_best_scales),
}
"""Class of an estimator -> how it is trained compiled; subclasses may mean something else."""
