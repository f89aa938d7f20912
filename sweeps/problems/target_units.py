"""Targets in units of their own size, in which a network learns them, and the way back.

A network begins with outputs of about 1, and Adam moves a parameter by about ``lr`` a step: prices
in the hundred thousands are out of reach of any learning rate that is good for its other layers. So
targets are standardized, as by scikit-learn's ``TransformedTargetRegressor``, and the last layer of
the trained network takes the mean and the scale in: its predictions are in the units given.

Kernels read ``y`` as ``(standardized, as given)``, twice as many columns, the weights behind them:
losses take the first half, metrics the second.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt.compile import jitable
from sweeps.common.names import check_boolean
from sweeps.problems.arrays import standardized
from sweeps.problems.losses import find_loss


def link_of_units(loss: str, standardize_target: Any) -> str | None:
    """Return the link of a loss whose targets are to be standardized, or None if they are not.

    >>> link_of_units("poisson", True), link_of_units("hinge", True)
    ('exp', None)
    """
    standardize, row = check_boolean("standardize_target", standardize_target), find_loss(loss)
    return row.link if standardize and row.task == "regression" else None


def target_units(
    y: np.ndarray, whole: np.ndarray, train: np.ndarray, weights: np.ndarray | None, link: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the scale of each target, float64.

    The scale is that of all training rows of a fold, ``whole``, so that losses of different
    ``n_train`` are in one unit; the mean, which is a prediction, that of the rows ``train`` that
    are trained on. Where outputs are logarithms of means (``link`` "exp") targets are divided by
    their mean only, which leaves what is positive positive.

    >>> rows = np.arange(2)
    >>> target_units(np.array([[1000.0], [3000.0]]), rows, rows, None, "identity")
    (array([2000.]), array([1000.]))
    """

    def fitted(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = None if weights is None else weights[rows]
        return standardized(y[rows], None, own, "y")[2:]

    if link == "exp":
        mean = fitted(whole)[0]
        return np.zeros_like(mean), np.where(mean > 0, mean, 1.0)
    return fitted(train)[0], fitted(whole)[1]


def in_target_units(
    theta: np.ndarray, last: np.ndarray, mean: np.ndarray, scale: np.ndarray, link: str
) -> np.ndarray:
    """Return parameters whose predictions are in the units of the targets as given.

    ``last``: where the weights of the last layer begin and end in ``theta``; its biases follow.

    >>> units = np.array([100.0]), np.array([10.0])
    >>> in_target_units(np.array([2.0, 1.0]), np.array([0, 1]), *units, "identity")
    array([ 20., 110.])
    """
    made, (low, high), k = theta.astype(np.float64), last.tolist(), len(mean)
    if link == "exp":
        made[high : high + k] += np.log(scale)
    else:
        made[low:high] = (made[low:high].reshape(-1, k) * scale).ravel()
        made[high : high + k] = made[high : high + k] * scale + mean
    return made.astype(theta.dtype)


@jitable
def given_targets(y, outputs):
    """Return the targets as they were given, of rows that have them standardized as well."""
    return y[:, outputs : 2 * outputs]


@jitable
def outputs_as_given(outputs, units):
    """Turn predictions of standardized targets into those of the targets, in place.

    ``units``: the mean of each target, then the scale of each.
    """
    k = outputs.shape[1]
    for i in range(outputs.shape[0]):
        for j in range(k):
            outputs[i, j] = np.float64(outputs[i, j]) * units[k + j] + units[j]


def units_in_words(problem: Any) -> str:
    """Say what losses of standardized targets are measured in; nothing of others."""
    if getattr(problem, "target_scale", None) is None:
        return ""
    centred = problem.target_mean.any()
    of = "the standardized target" if centred else "the target divided by its mean"
    return f"Losses are of {of}; metrics and predictions are in its own units."


def targets_of(problem: Any, y: np.ndarray) -> np.ndarray:
    """Return the targets of some rows of a regression as they were given, without weights."""
    y = y.reshape(len(y), -1)
    y = y[:, : y.shape[1] - bool(problem.options.get("weighted"))]
    return y if problem.target_scale is None else y[:, y.shape[1] // 2 :]
