"""What the two estimators have in common: a table in, one compiled training, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from fastopt.errors import ArrayError, SpecError, shortened
from sweeps.models.trained import model_of
from sweeps.running.check import check
from sweeps.sklearn.settings import network_of, trial_of
from sweeps.sklearn.tables import check_table
from sweeps.sklearn.training import (
    Rows,
    Trial,
    loss_and_epochs,
    mean_weight,
    problem_of,
    train_trials,
)


def set_params_of_init(estimator: Any, given: Mapping[str, Any]) -> None:
    """Set the parameters of an estimator: the arguments of its ``__init__``."""
    for name, value in given.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def weights_of(given: Any, n: int) -> np.ndarray | None:
    """Return sample weights as an array, or say which is none."""
    if given is None:
        return None
    weights = np.asarray(given, np.float64)
    if weights.shape != (n,):
        raise ArrayError(
            f"sample_weight must have one number for each of the {n} rows (1D); got shape "
            f"{weights.shape}"
        )
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise ArrayError(
            f"sample_weight[{wrong[0]}] is {weights[wrong[0]]}; weights must be finite numbers >= 0"
        )
    if not weights.any():
        raise ArrayError(
            "sample_weight is zero for all rows: none is left to train on. Give some a weight > 0"
        )
    return weights


class SweepEstimator(BaseEstimator):
    """A network with scikit-learn's interface; a subclass says what its targets are."""

    n_features_in_: int
    learning_rate_init: float
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int | None
    task: str

    def rows_of(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> Rows:
        """Return a checked table with its targets as kernels read them."""
        raise TypeError(f"{type(self).__name__} trains on nothing")

    def loss_of(self, rows: Rows) -> str:
        """Return the name of the loss for these targets."""
        raise TypeError(f"{type(self).__name__} has no loss")

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train the network.

        Parameters
        ----------
        X : array_like or DataFrame, shape (n, features)
        y : array_like, shape (n,) or (n, outputs)
            Labels; zeros and ones of several labels a row; or targets of a regression.
        sample_weight : array_like, shape (n,), optional
            What rows count for; those of weight 0 are left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Data or parameters make no sense, or training diverged.
        """
        X, y = check_table(self, X, y)
        rows = self.rows_of(X, y, weights_of(sample_weight, len(X)))
        params, loss = self.get_params(deep=False), self.loss_of(rows)
        held = {"validation": self.validation_fraction} if self.early_stopping else {}
        problem = problem_of(rows, network_of(params, loss), held)
        settings = trial_of(params, loss, len(problem.X), mean_weight(problem))
        watched: dict[str, Any] = {"metric": "train_loss"}
        if self.early_stopping:
            watched = {"metric": "val_loss", "restore_best": True}
        plan = check(problem, {}, {**settings, **watched})
        (trial,) = train_trials(plan, n_jobs=1)
        if trial.diverged:
            raise SpecError(
                f"training diverged after {int(trial.figures['diverged_step'])} steps; lower "
                f"learning_rate_init={shortened(self.learning_rate_init)}, or scale the features"
            )
        return self.take(problem, trial, settings)

    def take(self, problem: Any, trial: Trial, settings: Mapping[str, Any]) -> Any:
        """Set what a fit leaves: weights, losses, counts."""
        self.model_ = model_of(problem, trial.theta)
        layers = self.model_.network.layers
        self.coefs_ = [weight for weight, _ in layers]
        self.intercepts_ = [bias for _, bias in layers]
        self.n_layers_, self.n_outputs_ = len(layers) + 1, problem.n_outputs
        self.out_activation_ = self.model_.network.link
        self.loss_, self.n_iter_ = loss_and_epochs(problem, trial, settings)
        if problem.classes is not None:
            self.classes_ = problem.classes
        return self

    def outputs_of(self, X: Any) -> np.ndarray:
        """Return the outputs of the last layer, in float64."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        network = self.model_.network
        with np.errstate(over="ignore"):
            features = np.ascontiguousarray(X, network.theta.dtype)
        return network.outputs(features).astype(np.float64)
