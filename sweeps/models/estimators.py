"""Models as fitted estimators of scikit-learn."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, LabelBinarizer, StandardScaler
from sklearn.svm import LinearSVC

from fastopt.errors import SpecError
from sweeps.models.columns import Columns, Number
from sweeps.models.rows import categories_of
from sweeps.problems.columns import as_features

ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "identity": "identity", "sigmoid": "logistic"}
"""Activation -> what scikit-learn calls it; there are no others."""


def estimator(model: Any) -> Any:
    """Return what :meth:`sweeps.models.model.Model.to_sklearn` does."""
    has = " and ".join(model.network.has)
    if has:
        raise SpecError(
            f"to_sklearn: scikit-learn has no network with {has}; use to_torch() or to_onnx(path)"
        )
    if model.classes is not None and model.classes.dtype.kind == "S":
        raise SpecError("to_sklearn: scikit-learn takes no labels of bytes; give text to train on")
    fitted = _network(model) if _has_layers(model) else _linear(model)
    fitted.n_features_in_ = model.network.sizes[0]
    if model.preprocess is None:
        if model.feature_names is not None:
            fitted.feature_names_in_ = np.array(model.feature_names, object)
        return fitted
    steps = [("preprocess", _transformer(model)), ("model", fitted)]
    if model.kinds is not None:
        known = categories_of(model.preprocess, model.feature_names)
        read = functools.partial(as_features, kinds=model.kinds, categories=known)
        steps.insert(0, ("read", FunctionTransformer(read)))
    return Pipeline(steps)


def _has_layers(model: Any) -> bool:
    """Tell whether it has hidden layers, or outputs that no linear model has."""
    link, outputs = model.network.link, model.network.sizes[-1]
    several = model.task == "multilabel" or (link == "exp" and outputs > 1)
    return len(model.network.sizes) > 2 or several


def _transformer(model: Any) -> Any:
    """Return what goes before the estimator: what the model was given, or its like."""
    columns = model.preprocess
    if not isinstance(columns, Columns):
        return columns
    plain = [entry for entry in columns.entries if isinstance(entry, Number) and entry.fill is None]
    each_once = [entry.column for entry in plain] == [*range(columns.n_columns)]
    if not each_once or len(plain) != len(columns.entries):
        return FunctionTransformer(columns.transform)
    scaler = StandardScaler()
    scaler.mean_ = np.array([entry.mean for entry in plain])
    scaler.scale_ = np.array([entry.scale for entry in plain])
    scaler.var_, scaler.n_features_in_ = scaler.scale_**2, len(plain)
    if model.feature_names is not None:
        scaler.feature_names_in_ = np.array(model.feature_names, object)
    return scaler


def _layers(model: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights and biases in float64; of two classes and two outputs, their difference."""
    layers = [(w.astype(np.float64), b.astype(np.float64)) for w, b in model.network.layers]
    weight, bias = layers[-1]
    if model.task == "classification" and len(bias) == 2:
        layers[-1] = weight[:, 1:] - weight[:, :1], bias[1:] - bias[:1]
    return layers


def _classes(model: Any) -> np.ndarray:
    if model.classes is not None:
        return model.classes
    return np.arange(2 if model.task == "binary" else model.network.sizes[-1])


LINEAR: dict[str, type] = {
    "softmax": LogisticRegression,
    "sigmoid": LogisticRegression,
    "sign": LinearSVC,
    "identity": LinearRegression,
    "exp": PoissonRegressor,
}
"""Link -> the linear model that has it."""


def _linear(model: Any) -> Any:
    ((weight, bias),) = _layers(model)
    made = LINEAR[model.network.link]()
    if model.network.link != "identity":
        made.n_iter_ = np.zeros(1, np.int32) if model.network.has_probabilities else 0
    classes = _classes(model) if model.is_classifier else None
    return set_coefficients(made, weight, bias, classes)


def set_coefficients(
    fitted: Any, weight: np.ndarray, bias: np.ndarray, classes: np.ndarray | None = None
) -> Any:
    """Make a linear model a fitted one, of weights ``(features, outputs)``; return it."""
    if classes is not None:
        fitted.classes_ = classes
    one = classes is None and weight.shape[1] == 1
    fitted.coef_ = weight[:, 0].copy() if one else weight.T.copy()
    fitted.intercept_ = float(bias[0]) if one else bias
    if isinstance(fitted, PoissonRegressor):
        fitted._base_loss = fitted._get_loss()
    return fitted


def _network(model: Any) -> Any:
    """Return an ``MLPClassifier`` or ``MLPRegressor`` with these layers."""
    network, link = model.network, model.network.link
    if network.activation not in ACTIVATIONS:
        raise SpecError(
            f"to_sklearn: scikit-learn has no activation {network.activation!r}, only "
            f"{', '.join(ACTIVATIONS)}; use to_torch() or to_onnx(path)"
        )
    if link == "sign":
        raise SpecError(
            f"to_sklearn: MLPClassifier has no {network.loss}; use to_torch() or to_onnx(path), "
            "whose outputs are the margin"
        )
    shape = {
        "hidden_layer_sizes": network.sizes[1:-1],
        "activation": ACTIVATIONS[network.activation],
    }
    if model.is_classifier:
        made = MLPClassifier(**shape)
        made._label_binarizer = LabelBinarizer().fit(_targets(model))
        made.classes_ = made._label_binarizer.classes_
        several = model.task == "classification" and len(made.classes_) > 2
        made.out_activation_ = "softmax" if several else "logistic"
    else:
        made = MLPRegressor(**shape, **_loss_of(link))
        made.out_activation_ = link
    layers = _layers(model)
    made.coefs_, made.intercepts_ = [w for w, _ in layers], [b for _, b in layers]
    made.n_layers_, made.n_outputs_ = len(network.sizes), len(layers[-1][1])
    made.n_iter_ = made.t_ = 0
    made.loss_curve_, made.best_loss_, made.loss_ = [], np.inf, np.nan
    made._no_improvement_count = 0  # partial_fit goes on counting
    return made


def _targets(model: Any) -> np.ndarray:
    """Return targets from which scikit-learn learns what labels there are."""
    if model.task == "multilabel":
        return np.eye(model.network.sizes[-1], dtype=np.int64)
    return _classes(model)


def _loss_of(link: str) -> dict[str, str]:
    if link != "exp":
        return {}
    if "loss" not in MLPRegressor().get_params():
        raise SpecError(
            "to_sklearn: an MLPRegressor of positive numbers must be of scikit-learn >= 1.7"
        )
    return {"loss": "poisson"}
