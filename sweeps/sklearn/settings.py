"""What the parameters of networks mean: those of ``MLPClassifier`` and ``MLPRegressor``, and ours.

A training is a *model* (loss, layers, activation, dtype, ...: what makes a problem) and a *trial*
(settings of :func:`sweeps.sweep`).
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from fastopt.errors import SpecError, shortened
from fastopt.rules import RULES
from sweeps.common.names import check_choice
from sweeps.problems.activations import ACTIVATIONS

MEAN_BATCH = 200
"""Rows of a minibatch with ``batch_size="auto"``, as in scikit-learn."""

MOST_SEED = 2**31 - 1

TWICE = ("squared_error",)
"""Losses that are twice those of scikit-learn, which halves the square."""

STEPS_ALONG_GRADIENTS = ("sgd", "momentum", "nesterov")
"""Optimizers whose steps are as long as the gradient; those of Adam and the like are not."""

SAME = {"logistic": "sigmoid"}
"""Activation of scikit-learn -> ours, where they have two names."""

HYPER = {"beta1": "beta_1", "beta2": "beta_2", "eps": "epsilon", "momentum": "momentum"}
"""Hyperparameter of a rule -> the parameter that it comes from."""


OWN = ("class_weight", "init", "dtype")
"""Parameters of ours that make the problem, under its names."""


def widths(given: Any) -> tuple[int, ...]:
    """Return hidden_layer_sizes as a tuple of widths."""
    listed = np.ravel(np.asarray(given, dtype=object)).tolist()
    for width in listed:
        whole = isinstance(width, numbers.Integral) and not isinstance(width, bool)
        if not whole or width < 1:
            raise SpecError(
                f"hidden_layer_sizes must be widths >= 1, or () for a linear model; got "
                f"{shortened(given)}"
            )
    return tuple(int(width) for width in listed)


def seed_of(random_state: Any) -> int:
    """Return the seed that ``random_state`` stands for; None draws one."""
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool):
        return int(random_state)
    return int(check_random_state(random_state).randint(MOST_SEED))


def network_of(params: Mapping[str, Any], loss: str) -> dict[str, Any]:
    """Return what makes the problem: loss, layers, activation, dtype."""
    activation = SAME.get(params["activation"], params["activation"])
    if activation not in ACTIVATIONS:
        raise SpecError(
            f"activation must be one of {', '.join(ACTIVATIONS)} or logistic; got "
            f"{shortened(activation)}"
        )
    own = {name: params[name] for name in OWN if name in params}
    constants = params.get("loss_params") or {}
    hidden = widths(params["hidden_layer_sizes"])
    return {"loss": loss, "hidden": hidden, "activation": activation, **own, **constants}


def trial_of(params: Mapping[str, Any], loss: str, n: int, weight: float = 1.0) -> dict[str, Any]:
    """Return the settings of a training on ``n`` rows.

    ``params``: parameters of an ``MLPClassifier``, an ``MLPRegressor`` or ours. ``weight``: what a
    row counts for, on average: a minibatch of rows that count twice has as many twice.

    >>> from sklearn.neural_network import MLPClassifier
    >>> trial = trial_of(MLPClassifier(alpha=0.3).get_params(), "softmax_cross_entropy", 150)
    >>> trial["optimizer"], trial["batch_size"], trial["l2"], trial["patience"]
    ('adam', 150, 0.002, 10)
    """
    rule = _rule(params)
    batch, epochs = _batch(params["batch_size"], n), _whole("max_iter", params["max_iter"])
    factor = 2.0 if loss in TWICE else 1.0
    lr, alpha = _positive("learning_rate_init", params, False), _positive("alpha", params, True)
    trial = {
        "optimizer": rule,
        "lr": lr / factor if rule in STEPS_ALONG_GRADIENTS else lr,
        "batch_size": batch,
        "epochs": epochs,
        "l2": factor * alpha / (batch * weight),
        "seed": seed_of(params["random_state"]),
        "shuffle": "epoch" if params["shuffle"] else "none",
        "schedule": params.get("schedule", "constant"),
    }
    for name, given in HYPER.items():
        if name in RULES[rule].hyper:
            trial[name] = float(params[given])
    patience = params["n_iter_no_change"]
    if patience is not None and patience < epochs:
        trial["patience"] = _whole("n_iter_no_change", patience)
    return trial


def _rule(params: Mapping[str, Any]) -> str:
    """Return the optimizer that ``solver`` is; "sgd" has momentum, as in scikit-learn."""
    solver = params["solver"]
    if solver == "sgd":
        if params["momentum"] == 0:
            return "sgd"
        return "nesterov" if params["nesterovs_momentum"] else "momentum"
    check_choice("solver", solver, RULES)
    return solver


def _batch(given: Any, n: int) -> int:
    rows = MEAN_BATCH if isinstance(given, str) and given == "auto" else given
    return min(_whole("batch_size", rows), n)


def _whole(name: str, given: Any) -> int:
    if not isinstance(given, numbers.Integral) or isinstance(given, bool) or given < 1:
        raise SpecError(f"{name} must be a whole number >= 1; got {shortened(given)}")
    return int(given)


def _positive(name: str, params: Mapping[str, Any], zero: bool) -> float:
    value = params[name]
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (real and np.isfinite(value) and (value > 0 or (zero and value == 0))):
        raise SpecError(
            f"{name} must be a number {'>=' if zero else '>'} 0; got {shortened(value)}"
        )
    return float(value)


class Refusal(SpecError):
    """What a search does not train compiled."""


def refusal(estimator: Any, why: str) -> Refusal:
    """Return the error of what is not trained compiled: which, why, and what to do."""
    return Refusal(
        f"{type(estimator).__name__}: a compiled search {why}. fallback=True runs it as "
        "GridSearchCV would"
    )
