"""Models of networks that nobody trained: what they compute does not depend on that."""

from __future__ import annotations

import numpy as np

from sweeps import problems
from sweeps.models.trained import model_of

ROWS = 300  # more than a block of rows that are evaluated at a time


def rows_of(n_features=4, seed=0):
    """Rows of columns that lie elsewhere and spread otherwise each."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(ROWS, n_features)) * [1, 10, 0.01, 3] + [0, 100, 0, -5]


def labels_of(X, *names):
    """A label for each row, all of them somewhere."""
    return np.array(names)[np.argsort(np.argsort(X[:, 0] + X[:, 3])) * len(names) // len(X)]


def made(kind, **options):
    """Return a model of this kind, its problem, and raw rows."""
    X = rows_of()
    y = {
        "three": labels_of(X, "low", "middle", "top"),
        "two": labels_of(X, "no", "yes"),
        "logistic": labels_of(X, 3, 7),
        "numbers": X @ [1.0, 0.1, 10.0, -0.5],
        "outputs": X[:, :2] * [1.0, 0.1],
        "hinge": labels_of(X, "no", "yes"),
        "poisson": np.arange(ROWS) % 5 / 2,
        "multilabel": (X[:, :3] > [0, 100, 0]).astype(int),
    }[kind]
    loss = {"loss": kind} if kind in ("logistic", *LINKS) else {}
    problem = problems.mlp(X, y, X[::3], y[::3], **{"hidden": (8,), **loss, **options})
    theta = np.random.default_rng(1).normal(size=problem.n_params) * 0.5
    return model_of(problem, theta), problem, X


LINKS = ("hinge", "poisson", "multilabel")
"""Losses of the links that the kinds below do not have."""

KINDS = ("three", "two", "logistic", "numbers", "outputs")
