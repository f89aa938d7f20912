"""Class weights: what the rows of each class count for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened


def class_weights(
    given: Any, labels: Any, weights: Any = None, known: Sequence[Any] | None = None
) -> np.ndarray:
    r"""Return the weight of each row: that of its class, times its own.

    * ``given`` ("balanced", mapping or None): ``"balanced"`` gives each class :math:`n / (k n_c)`,
      of rows that weigh n, k classes and rows of the class that weigh n_c, so that all classes
      weigh alike; a mapping names the weight of each class, the others having 1; None gives 1.
    * ``labels`` (array_like, shape (n,)): of the training rows, as the user named them.
    * ``weights`` (array_like, shape (n,)): sample weights, 1 by default. As in
      ``LogisticRegression``, ``"balanced"`` counts with them.
    * ``known``: classes that a mapping may name; by default those of the labels.

    >>> class_weights("balanced", ["no", "no", "yes"])
    array([0.75, 0.75, 1.5 ])
    >>> class_weights({"yes": 3}, ["no", "no", "yes"], [1, 2, 2])
    array([1., 2., 6.])

    Reference: ``sklearn.utils.class_weight.compute_class_weight``, which counts with sample weights
    since 1.7.
    """
    labels = np.asarray(labels)
    own = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    if given is None:
        return own.copy()
    there = own > 0  # a class without any weighs nothing, and would be divided by that
    classes, number = np.unique(labels[there], return_inverse=True)
    if isinstance(given, Mapping):
        _check_mapping(given, classes.tolist() if known is None else known)
        weight_of = np.array([float(given.get(label, 1)) for label in classes.tolist()])
    elif isinstance(given, str) and given == "balanced":
        counts = np.bincount(number, own[there])
        weight_of = counts.sum() / (len(classes) * counts)
    else:
        raise SpecError(
            'class_weight must be "balanced", a dict of weights by class, or None; '
            f"got {shortened(given)}"
        )
    own = own.copy()
    own[there] *= weight_of[number]
    return own


def _check_mapping(given: Mapping[Any, Any], classes: Sequence[Any]) -> None:
    for label, weight in given.items():
        if label not in classes:
            raise SpecError(
                f"class_weight: {shortened(label)} is no class of the training rows: "
                f"{shortened(classes)}"
            )
        number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not number or not 0 <= weight < np.inf:
            raise SpecError(
                f"class_weight of {shortened(label)} must be a number >= 0; got {shortened(weight)}"
            )
