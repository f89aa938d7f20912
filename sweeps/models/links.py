"""From the outputs of a network to predictions, by the link of its loss.

What is chosen here has to be what the hits of the loss count, or the accuracy of a model would not
be that of its trial.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastopt.compile import kernel
from sweeps.problems.losses import LINKS

PROBABILITIES = ("softmax", "sigmoid")
"""Links that make probabilities."""

HALF = 0.5
"""Above it, one output says yes, after any link that is for labels."""


def linking(link: Callable) -> Callable:
    """Template of a link by itself."""
    return lambda z: link(z)


def linked(link: str, z: np.ndarray) -> np.ndarray:
    """Return what a row of :data:`sweeps.problems.losses.LINKS` makes of outputs ``(n, k)``.

    >>> linked("softmax", np.zeros((1, 4)))
    array([[0.25, 0.25, 0.25, 0.25]])
    """
    made = z.copy()
    kernel(linking, LINKS[link])(made)
    return made


def chosen(task: str, values: np.ndarray, cut: float, classes: np.ndarray | None) -> np.ndarray:
    """Return what is predicted: labels, zeros and ones of several labels, or numbers.

    * ``task``: one of "classification", "binary", "multilabel", "regression".
    * ``values`` (n, k): outputs, with 0 as the cut, or what the link makes of them, with
      :data:`HALF`.
    * ``cut``: above it one output says yes.
    * ``classes``: labels by their numbers.

    >>> chosen("binary", np.array([[0.4], [0.6]]), HALF, np.array(["no", "yes"]))
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
