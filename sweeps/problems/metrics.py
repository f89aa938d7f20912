"""Metrics of the predictions for a whole set: each a function and a row of :data:`METRICS`.

A metric ``f(outputs, y, weights) -> float`` takes predictions of shape (rows, outputs), after the
link of the loss: probabilities of the classes, or of class 1 if there is one output; expected
values; decision values of a hinge, plus one half. ``y`` holds labels 0, 1, ... of shape (rows,), or
targets of the shape of ``outputs``; ``weights`` are those of the rows, or None, which is known when
it compiles. Rows of weight zero count as if they were not there.

Values are those of scikit-learn's functions, of several outputs their uniform average, of several
classes their macro average; where one of scikit-learn's is undefined, NaN.
"""

from __future__ import annotations

import functools
import inspect
import math
import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from fastopt import maths
from fastopt.code.uncompilable import in_two_lines
from fastopt.compile import adopted, frozen, jitable
from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps.problems import pointwise
from sweeps.problems.activations import identity
from sweeps.problems.class_metrics import (
    accuracy,
    balanced_accuracy,
    brier,
    f1,
    f1_macro,
    log_loss,
    roc_auc,
)
from sweeps.problems.losses import find_loss
from sweeps.problems.rows import mass, weighed

CLASSES = ("classification", "binary")
LABELS = (*CLASSES, "multilabel")
REGRESSION = ("regression",)


class Metric(NamedTuple):
    """A metric of the predictions for a set.

    * ``function``: ``function(outputs, y, weights) -> float``.
    * ``mode`` (one of "min", "max"): which is better.
    * ``tasks``: tasks of losses that it fits.
    * ``link``: links that its predictions need; any if there is none.
    * ``constant``: constant of the loss that it takes from there, if the loss has it.
    * ``at``: ``at(outputs, y, weights, constant) -> float``, if there is such a constant.
    * ``instead``: the metric of more than two classes, if it is of one of two.
    """

    function: Callable
    mode: str
    tasks: tuple[str, ...]
    link: tuple[str, ...] = ()
    constant: str = ""
    at: Callable | None = None
    instead: str = ""


def averaged(
    unit: Callable, factor: float = 1.0, root: bool = False, before: Callable = identity
) -> Callable:
    """Make a metric of a loss of :mod:`sweeps.problems.pointwise`, averaged over rows and outputs.

    ``before``: what turns predictions into what ``unit`` takes.
    """

    @jitable
    def metric(outputs, y, weights, constant):
        rows, columns = outputs.shape
        whole, n = 0.0, mass(weights, rows)
        for j in range(columns):
            total = 0.0
            for i in range(rows):
                loss = unit(before(np.float64(outputs[i, j])), np.float64(y[i, j]), (constant,))
                total += weighed(factor * loss[0], weights, i)
            whole += math.sqrt(total / n) if root else total / n
        return whole / columns

    return metric


def at_default(metric: Callable, constant: float = 0.0) -> Callable:
    """Make the metric without a constant of one with it."""

    @jitable
    def function(outputs, y, weights):
        return metric(outputs, y, weights, constant)

    return function


@jitable
def r2(outputs, y, weights):
    """Share of the variance of the targets that is predicted (``r2_score``); NaN of one row."""
    rows, columns = outputs.shape
    if rows < 2:
        return np.nan
    whole, n = 0.0, mass(weights, rows)
    for j in range(columns):
        mean, left, there = 0.0, 0.0, 0.0
        for _ in range(2):  # the second time exact for a constant, whose deviations are then zero
            shift = 0.0
            for i in range(rows):
                shift += weighed(np.float64(y[i, j]) - mean, weights, i)
            mean += shift / n
        for i in range(rows):
            d, spread = np.float64(y[i, j]) - outputs[i, j], y[i, j] - mean
            left += weighed(d * d, weights, i)
            there += weighed(spread * spread, weights, i)
        whole += 1 - left / there if there > 0 else (1.0 if left == 0 else 0.0)
    return whole / columns


def find_metric(name: Any, loss: str) -> Metric:
    """Return the row of a metric that fits a loss.

    >>> find_metric("roc_auc", "logistic").mode
    'max'
    """
    row = find_loss(loss)
    fitting = [key for key, metric in METRICS.items() if _fits(metric, row)]
    if not isinstance(name, str) or name not in METRICS:
        near = did_you_mean(name, METRICS)
        raise SpecError(
            f"a metric of the loss {loss} is one of {', '.join(fitting)} or a function; "
            f"got {shortened(name)}{near}"
        )
    if name not in fitting:
        raise SpecError(
            f"the metric {name} does not fit the loss {loss}, which has {', '.join(fitting)}"
        )
    return METRICS[name]


def _fits(metric: Metric, loss: Any) -> bool:
    return loss.task in metric.tasks and (not metric.link or loss.link in metric.link)


def names_of(metrics: Iterable[Any], loss: str, n_classes: int = 0) -> tuple[str, ...]:
    """Return what metrics are called: names of the table, and of the user's functions.

    ``n_classes``: how many labels there are. Raises SpecError if a name is unknown, does not fit
    the loss or so many classes, or stands for two; or a function is not plain.

    >>> def worst(outputs, y, weights):
    ...     return np.abs(outputs - y).max()
    >>> names_of(["mae", worst], "squared_error")
    ('mae', 'worst')
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    names: list[str] = []
    for metric in metrics:
        name = getattr(metric, "__name__", "") if callable(metric) else metric
        if not callable(metric):
            instead = find_metric(metric, loss).instead
            if instead and n_classes > 2:
                raise SpecError(
                    f"the metric {name} is of one class of two, and there are {n_classes} classes; "
                    f"{instead} is the mean over all"
                )
        elif not name.isidentifier() or name in METRICS:
            what = f"{name} is a metric of ours" if name in METRICS else "a lambda has none"
            raise SpecError(f"a metric of your own is a function with a name of its own; {what}")
        if name in names:
            raise SpecError(f"metrics: {name} is there twice; give each once")
        names.append(name)
    return tuple(names)


def score_function(metric: Any, loss: str) -> Callable:
    """Return ``score(outputs, y, weights, constants of the loss) -> number`` of a metric.

    ``metric``, str or callable: a row of :data:`METRICS`, or a plain function of the user's.
    ``loss``: a row of :data:`sweeps.problems.losses.LOSSES`. Raises SpecError if the metric is
    unknown, does not fit the loss, or is no plain function.
    """
    if callable(metric):
        return _own(plain_function(metric))
    row, constants = find_metric(metric, loss), list(find_loss(loss).constants)
    return _bound(metric, constants.index(row.constant) if row.constant in constants else -1)


def plain_function(metric: Any) -> types.FunctionType:
    """Return the Python function of a metric of the user's.

    >>> plain_function(max)
    Traceback (most recent call last):
    fastopt.errors.SpecError: a metric must be a plain function f(outputs, y, weights); got max
    """
    function = getattr(metric, "py_func", metric)
    plain = isinstance(function, types.FunctionType)
    if not plain or len(inspect.signature(function).parameters) != 3:
        raise SpecError(
            "a metric must be a plain function f(outputs, y, weights); "
            f"got {getattr(metric, '__name__', type(metric).__name__)}"
        )
    return function


@functools.cache
def _bound(name: str, place: int) -> Callable:
    row = METRICS[name]
    function: Any = row.function
    at: Any = row.at

    @jitable
    def score(outputs, y, weights, constants):
        return function(outputs, y, weights)

    @jitable
    def score_at(outputs, y, weights, constants):
        return at(outputs, y, weights, constants[place])

    return score if place < 0 else score_at


@functools.lru_cache(maxsize=32)  # it holds functions of the user
def _own(function: types.FunctionType) -> Callable:
    own = adopted(function, jitable)

    @jitable
    def score(outputs, y, weights, constants):
        return own(outputs, y, weights)

    return score


def check_metric(metric: Callable, outputs: np.ndarray, y: np.ndarray, weights: Any) -> None:
    """Call a metric of the user's once, so that its mistakes show as ordinary Python errors.

    >>> def best(outputs, y, weights):
    ...     return None
    >>> check_metric(best, np.ones((2, 1)), np.ones((2, 1)), None)
    Traceback (most recent call last):
    fastopt.errors.SpecError: the metric best must return a number; it returned None
    """
    function = plain_function(metric)
    with in_two_lines():
        value = frozen(function)(outputs.copy(), y.copy(), weights)
    if not isinstance(value, int | float | np.number | np.bool_):
        raise SpecError(
            f"the metric {function.__name__} must return a number; it returned {shortened(value)}"
        )


def scores_writer(score_functions: tuple[Callable, ...]) -> Callable:
    """Return ``score(outputs, y, weights, constants, out)``, which writes what each one says."""
    *firsts, last = score_functions
    every = _ending(last, len(firsts))
    for k in range(len(firsts) - 1, -1, -1):
        every = _followed(firsts[k], k, every)
    return every


def _ending(last: Callable, place: int) -> Callable:
    @jitable
    def score(outputs, y, weights, constants, out):
        out[place] = last(outputs, y, weights, constants)

    return score


def _followed(first: Callable, place: int, others: Callable) -> Callable:
    @jitable
    def score(outputs, y, weights, constants, out):
        out[place] = first(outputs, y, weights, constants)
        others(outputs, y, weights, constants, out)

    return score


CHANCES = ("softmax", "sigmoid")


def _error(unit: Callable, constant: str = "", default: float = 0.0, **averaging: Any) -> Metric:
    at = averaged(unit, **averaging)
    return Metric(
        at_default(at, default), "min", REGRESSION, (), constant, at if constant else None
    )


DEVIANCE: dict[str, Any] = {"factor": 2.0, "before": maths.log}
"""Deviances are twice the losses, whose outputs are logarithms of the means."""


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, "max", LABELS),
    "balanced_accuracy": Metric(balanced_accuracy, "max", CLASSES),
    "f1": Metric(f1, "max", CLASSES, instead="f1_macro"),
    "f1_macro": Metric(f1_macro, "max", LABELS),
    "roc_auc": Metric(roc_auc, "max", LABELS),
    "log_loss": Metric(log_loss, "min", CLASSES, CHANCES),
    "brier": Metric(brier, "min", CLASSES, CHANCES),
    "mse": _error(pointwise.squared),
    "rmse": _error(pointwise.squared, root=True),
    "mae": _error(pointwise.absolute),
    "r2": Metric(r2, "max", REGRESSION),
    "pinball": _error(pointwise.pinball, "quantile", 0.5),
    "poisson_deviance": _error(pointwise.poisson, **DEVIANCE),
    "gamma_deviance": _error(pointwise.gamma, **DEVIANCE),
    "tweedie_deviance": _error(pointwise.tweedie, "variance_power", 1.5, **DEVIANCE),
}
"""Name -> metric; ``pinball`` and ``tweedie_deviance`` are those of the loss's own constant."""
