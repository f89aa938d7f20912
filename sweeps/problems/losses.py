r"""Losses of the outputs of some rows: each a function and a row of :data:`LOSSES`.

A loss ``f(z, y, weights, constants)`` returns the *sum* over rows of each row's loss times its
weight, and overwrites the outputs ``z``, of shape (rows, outputs), by the gradient of that sum.
``weights`` is None where rows have none, which is known when it compiles: such a loss holds no
multiplication by them. ``constants`` are the loss's own, float64, in the order of its row.

Targets and weights of rows are told in :mod:`sweeps.problems.rows`.

Where a loss has several conventions it has scikit-learn's (its generalized linear models and
``MLPClassifier``), else torch's; its docstring says which. Losses of several outputs are the mean
over outputs, as ``MSELoss``; that of several labels is their sum, as ``MLPClassifier``'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastopt import maths
from fastopt.compile import inlinable, jitable
from fastopt.errors import ArrayError, SpecError, shortened
from sweeps.common.names import check_choice
from sweeps.problems import pointwise
from sweeps.problems.matrices import elementwise, flat
from sweeps.problems.pointwise import of_each_output
from sweeps.problems.rows import label_of, weighed


class Loss(NamedTuple):
    """A loss, what it is for, and what it takes.

    * ``function``: ``function(z, y, weights, constants)``: see the module.
    * ``hits``: ``hits(z, y, weights)``: the (weights of the) rows whose class the outputs name;
      negative where there are no classes.
    * ``task`` (one of "classification", "binary", "multilabel", "regression"): labels and an output
      for each class; two classes and one output; an output for each of several labels that a row
      has or has not; numbers.
    * ``link`` (one of "softmax", "sigmoid", "sign", "identity", "exp"): how outputs become
      predictions: a row of :data:`LINKS`.
    * ``constants``: its constants by name, with their defaults.
    * ``targets`` (one of "any", "nonnegative", "positive"): what a regression's targets may be.
    * ``at_zero``: what ``function`` is if all constants are zero, where that is less work and
      compiles faster.

    >>> LOSSES["huber"].task, LOSSES["huber"].constants
    ('regression', {'delta': 1.0})
    """

    function: Callable
    hits: Callable
    task: str
    link: str
    constants: Mapping[str, float] = {}
    targets: str = "any"
    at_zero: Callable | None = None


@jitable
def softmax_cross_entropy(z, y, weights, constants):
    r"""Loss :math:`-\sum_i w_i \log \mathrm{softmax}(z_i)_{y_i}`; ``z`` becomes its gradient."""
    rows, classes = z.shape
    loss, odds = 0.0, 1.0
    for i in range(rows):
        top = z[i, 0]
        for j in range(1, classes):
            top = z[i, j] if z[i, j] > top else top
        if y.ndim == 1:  # no weights; of the two tests, the one that removes either branch
            loss -= z[i, y[i]] - top
        else:
            loss -= weights[i] * (z[i, int(y[i, 0])] - top)
        for j in range(classes):
            z[i, j] -= top
    numbers = flat(z)
    for k in range(numbers.size):
        numbers[k] = maths.exp(numbers[k])
    for i in range(rows):
        total = z[i, 0]
        for j in range(1, classes):
            total += z[i, j]
        # One logarithm for all rows, whose totals lie between 1 and the number of classes: 32 of
        # them took half of the time of this function.
        if weights is None:
            odds *= total
            if odds > 1e200:
                loss, odds = loss + math.log(odds), 1.0
        else:
            loss += weights[i] * math.log(total)
        share = z.dtype.type(1) / total
        for j in range(classes):
            z[i, j] *= share
        if y.ndim == 1:
            z[i, y[i]] -= z.dtype.type(1)
        else:
            z[i, int(y[i, 0])] -= z.dtype.type(1)
            weigh(z[i], weights[i])
    return loss + math.log(odds)


@jitable
def weigh(row, weight):
    """Multiply a row by its weight, in place."""
    for j in range(row.size):
        row[j] *= weight


@jitable
def smoothed_cross_entropy(z, y, weights, constants):
    r"""Softmax cross-entropy with label smoothing s (torch's ``CrossEntropyLoss``).

    :math:`1-s` times the loss of the row's class plus :math:`s` times the mean of those of all.
    """
    rows, classes = z.shape
    smoothing, total = constants[0], 0.0
    for i in range(rows):
        mean = 0.0
        for j in range(classes):
            mean += z[i, j]
        total += weighed(z[i, label_of(y, i)] - mean / classes, weights, i)
    loss = smoothing * total + softmax_cross_entropy(z, y, weights, constants)
    whole, share = z.dtype.type(smoothing), z.dtype.type(smoothing / classes)
    for i in range(rows):
        for j in range(classes):
            z[i, j] -= weighed(share, weights, i)
        z[i, label_of(y, i)] += weighed(whole, weights, i)
    return loss


@jitable
def focal(z, y, weights, constants):
    r"""Focal loss :math:`-(1-p)^\gamma \log p`, p being the softmax of the row's class.

    References
    ----------
    T.-Y. Lin et al., *Focal loss for dense object detection*, ICCV 2017 (without its alpha: class
    weights do the same).
    """
    rows, classes = z.shape
    power, loss = constants[0], 0.0
    for i in range(rows):
        right, top = label_of(y, i), z[i, 0]
        for j in range(1, classes):
            top = z[i, j] if z[i, j] > top else top
        score, total, others = z[i, right] - top, 0.0, 0.0
        for j in range(classes):
            z[i, j] = maths.exp(z[i, j] - top)
            total += z[i, j]
            others += z[i, j] if j != right else 0.0
        # From the other classes: 1 - p of a sure p has no digits left.
        miss, log_p = others / total, score - math.log(total)
        modulation = miss**power
        loss -= weighed(modulation * log_p, weights, i)
        if miss > 0:
            modulation -= power * miss ** (power - 1) * (1 - miss) * log_p
        share = weighed(z.dtype.type(modulation), weights, i)
        for j in range(classes):
            z[i, j] *= share / z.dtype.type(total)
        z[i, right] = -share * z.dtype.type(miss)
    return loss


@jitable
def largest_score(z, y, weights):
    """Count the rows whose largest score, the first of them, is that of their class."""
    hits = 0
    for i in range(z.shape[0]):
        best = 0
        for j in range(1, z.shape[1]):
            best = j if z[i, j] > z[i, best] else best
        hits += weighed(best == label_of(y, i), weights, i)
    return hits


@jitable
def positive_score(z, y, weights):
    """Count the rows whose score is above zero just when their class is one."""
    hits = 0
    for i in range(z.shape[0]):
        hits += weighed((z[i, 0] > 0) == (label_of(y, i) == 1), weights, i)
    return hits


@jitable
def all_scores(z, y, weights):
    """Count the rows of which all scores are above zero just when they have the label."""
    hits = 0
    for i in range(z.shape[0]):
        right = True
        for j in range(z.shape[1]):
            right = right and (z[i, j] > 0) == (y[i, j] == 1)
        hits += weighed(right, weights, i)
    return hits


@jitable
def none(z, y, weights):
    """Stand for the hits of a regression, which has none."""
    return -1


@jitable
def softmax(z):
    """Turn the scores of each row into probabilities, in place."""
    for i in range(z.shape[0]):
        top, total = z[i].max(), 0.0
        for j in range(z.shape[1]):
            z[i, j] = maths.exp(z[i, j] - top)
            total += z[i, j]
        for j in range(z.shape[1]):
            z[i, j] /= z.dtype.type(total)


@inlinable
def raised(x):
    """Add one half to a decision value, so that 0.5 divides the classes, as of probabilities."""
    return x + type(x)(0.5)


@jitable
def same(z):
    """Leave the outputs as they are."""


def find_loss(name: Any) -> Loss:
    """Return the row of a loss.

    Raises SpecError if there is none of this name.

    >>> find_loss("poisson").link
    'exp'
    """
    check_choice("loss", name, LOSSES)
    return LOSSES[name]


def constants_of(loss: str, given: Mapping[str, Any] | None = None) -> np.ndarray:
    """Return the constants of a loss, the given ones checked, as it takes them.

    ``loss``: a row of :data:`LOSSES`. ``given``: constants by name; the others have their defaults.

    >>> constants_of("huber"), constants_of("quantile", {"quantile": 0.9}), constants_of("hinge")
    (array([1.]), array([0.9]), array([], dtype=float64))
    """
    own, given = find_loss(loss).constants, {} if given is None else given
    for name, value in given.items():
        if name not in own:
            has = f"it has {', '.join(own)}" if own else "it has none"
            raise SpecError(f"{name}: the loss {loss} has no such constant; {has}")
        allowed, says = RANGES[name]
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not allowed(float(value)):
            raise SpecError(f"{name} of the loss {loss} must be {says}; got {shortened(value)}")
    return np.array([float(given.get(name, value)) for name, value in own.items()])


def check_targets(name: str, loss: str, y: np.ndarray, constants: np.ndarray) -> None:
    """Raise unless a loss has a value on these targets.

    * ``name``: of the array, for messages.
    * ``loss``: a row of :data:`LOSSES`.
    * ``y``: targets of shape (rows, outputs), without weights.
    * ``constants``: from :func:`constants_of`.

    >>> check_targets("y", "gamma", np.array([[1.0], [0.0]]), constants_of("gamma"))
    Traceback (most recent call last):
    fastopt.errors.ArrayError: y[1, 0] is 0.0; the loss gamma needs targets > 0
    """
    row = find_loss(loss)
    least = "any" if row.task == "multilabel" else row.targets
    if loss == "tweedie":  # as scikit-learn's TweedieRegressor
        power = constants[0]
        least = "any" if power <= 0 else ("nonnegative" if power < 2 else "positive")
    right = {"any": y == y, "nonnegative": y >= 0, "positive": y > 0}[least]
    says = {"any": "", "nonnegative": "targets >= 0", "positive": "targets > 0"}[least]
    if row.task == "multilabel":
        right, says = (y == 0) | (y == 1), "a column of zeros and ones for each label"
    if not right.all():
        place = tuple(np.argwhere(~right)[0].tolist())
        shown = ", ".join(map(str, place))
        raise ArrayError(f"{name}[{shown}] is {y[place]}; the loss {loss} needs {says}")


RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "delta": (lambda x: x > 0, "a number > 0"),
    "quantile": (lambda x: 0 < x < 1, "a number between 0 and 1"),
    "variance_power": (lambda x: x <= 0 or x >= 1, "a number <= 0 or >= 1"),
    "label_smoothing": (lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    "focusing": (lambda x: x >= 0, "a number >= 0"),
    "margin": (lambda x: True, "a number"),
    "smoothing": (lambda x: x > 0, "a number > 0"),
}
"""Constant -> whether a number may be one, and which may."""

LINKS: dict[str, Callable] = {
    "identity": same,
    "exp": elementwise(maths.exp),
    "sigmoid": elementwise(maths.sigmoid),
    "softmax": softmax,
    "sign": elementwise(raised),
}
"""Name -> what turns outputs into predictions, in place; ``sign`` is that of ``x - 0.5`` then."""


def _of_classes(function: Callable, **constants: float) -> Loss:
    row = largest_score, "classification", "softmax"
    return Loss(function, *row, constants, at_zero=softmax_cross_entropy)


def _of_labels(unit: Callable, link: str, task: str = "binary", **constants: float) -> Loss:
    hits = all_scores if task == "multilabel" else positive_score
    return Loss(of_each_output(unit, averaged=False), hits, task, link, constants)


def _of_numbers(unit: Callable, link: str, targets: str = "any", **constants: float) -> Loss:
    return Loss(of_each_output(unit, averaged=True), none, "regression", link, constants, targets)


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": _of_classes(smoothed_cross_entropy, label_smoothing=0.0),
    "focal": _of_classes(focal, focusing=2.0),
    "logistic": _of_labels(pointwise.logistic, "sigmoid"),
    "hinge": _of_labels(pointwise.hinge, "sign"),
    "squared_hinge": _of_labels(pointwise.squared_hinge, "sign"),
    "smoothed_hinge": _of_labels(pointwise.smoothed_hinge, "sign", margin=1.0, smoothing=1.0),
    "multilabel": _of_labels(pointwise.logistic, "sigmoid", "multilabel"),
    "multilabel_squared_hinge": _of_labels(pointwise.squared_hinge, "sign", "multilabel"),
    "multilabel_smoothed_hinge": _of_labels(
        pointwise.smoothed_hinge, "sign", "multilabel", margin=1.0, smoothing=1.0
    ),
    "squared_error": _of_numbers(pointwise.squared, "identity"),
    "absolute_error": _of_numbers(pointwise.absolute, "identity"),
    "huber": _of_numbers(pointwise.huber, "identity", delta=1.0),
    "quantile": _of_numbers(pointwise.pinball, "identity", quantile=0.5),
    "poisson": _of_numbers(pointwise.poisson, "exp", "nonnegative"),
    "gamma": _of_numbers(pointwise.gamma, "exp", "positive"),
    "tweedie": _of_numbers(pointwise.tweedie, "exp", "nonnegative", variance_power=1.5),
}
"""Name -> loss."""
