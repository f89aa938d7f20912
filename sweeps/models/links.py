"""From the outputs of a network to predictions, by the link that its loss has.

A row of :data:`LINKS` is all that predictions need to know of a loss. What is chosen here has to be
what the hits of the loss count, or the accuracy of a model would not be that of its trial.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["LINKS", "TASKS", "Link", "Task", "chosen", "spread"]


class Link(NamedTuple):
    """How outputs become what is predicted.

    Parameters
    ----------
    function : callable
        Outputs ``(n, k)`` -> probabilities, or values, ``(n, k)``.
    cut : float
        Of one output for yes or no: above it, after ``function``, the answer is yes.
    has_probabilities : bool
        Whether that is what ``function`` returns.
    """

    function: Callable[[np.ndarray], np.ndarray]
    cut: float = 0.0
    has_probabilities: bool = False


class Task(NamedTuple):
    """What a loss is for: "classification", "binary", "multilabel" or "regression"; its link."""

    task: str
    link: str


def same(z: np.ndarray) -> np.ndarray:
    """Return the outputs as they are."""
    return z


def sigmoid(z: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-z)), which nothing makes overflow.

    >>> sigmoid(np.array([[0.0, 1e4, -1e4]]))
    array([[0.5, 1. , 0. ]])
    """
    tail = np.exp(-np.abs(z))
    right = 1 / (1 + tail)
    return np.where(z > 0, right, tail * right)


def softmax(z: np.ndarray) -> np.ndarray:
    """Return exp(z) over its sum, a row at a time.

    >>> softmax(np.array([[0.0, 0.0], [1e4, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    powers = np.exp(z - z.max(axis=1, keepdims=True, initial=-np.inf))
    return powers / powers.sum(axis=1, keepdims=True)


LINKS: dict[str, Link] = {
    "softmax": Link(softmax, has_probabilities=True),
    "sigmoid": Link(sigmoid, 0.5, has_probabilities=True),
    "sign": Link(same),
    "identity": Link(same),
    "exp": Link(np.exp),
}
"""Name -> link."""

TASKS: dict[str, Task] = {
    "softmax_cross_entropy": Task("classification", "softmax"),
    "logistic": Task("binary", "sigmoid"),
    "squared_error": Task("regression", "identity"),
}
"""Loss -> what it is for."""


def chosen(task: str, values: np.ndarray, cut: float, classes: np.ndarray | None) -> np.ndarray:
    """Return what is predicted: labels, zeros and ones of several labels, or numbers.

    Parameters
    ----------
    task : {"classification", "binary", "multilabel", "regression"}
    values : ndarray, shape (n, k)
        Outputs, with 0 as the cut, or what the link makes of them.
    cut : float
        Above it one output says yes.
    classes : ndarray or None
        Labels by their numbers.

    Examples
    --------
    >>> chosen("binary", np.array([[0.4], [0.6]]), 0.5, np.array(["no", "yes"]))
    array(['no', 'yes'], dtype='<U3')
    >>> chosen("regression", np.array([[0.4], [0.6]]), 0.0, None)
    array([0.4, 0.6])
    """
    if task == "regression":
        return values[:, 0] if values.shape[1] == 1 else values
    if task == "multilabel":
        return (values > cut).astype(np.int64)
    numbers = values.argmax(axis=1) if task == "classification" else values[:, 0] > cut
    numbers = numbers.astype(np.int64)
    return numbers if classes is None else classes[numbers]


def spread(task: str, probabilities: np.ndarray) -> np.ndarray:
    """Return a column a class: of one output for yes or no, that of no comes before it.

    >>> spread("binary", np.array([[0.25]]))
    array([[0.75, 0.25]])
    """
    if task != "binary":
        return probabilities
    return np.concatenate([1 - probabilities, probabilities], axis=1)
