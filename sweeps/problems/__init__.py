"""Objectives to train: regressions and MLPs on shipped or own data, and the user's own losses.

To add a dataset write a row of :data:`sweeps.problems.data.DATASETS`; to add a kind of problem
write its functions in a file here and a constructor that returns a :class:`DataProblem`.
"""

from __future__ import annotations

from collections.abc import Callable

from sweeps.problems.base import DataProblem
from sweeps.problems.custom import custom
from sweeps.problems.data import (
    DATASETS,
    breast_cancer,
    diabetes,
    digits,
    iris,
    linear_regression,
    logistic_regression,
    mlp,
    moons,
    softmax_regression,
    wine,
)

__all__ = [
    "PROBLEMS",
    "DataProblem",
    "breast_cancer",
    "custom",
    "diabetes",
    "digits",
    "iris",
    "linear_regression",
    "logistic_regression",
    "mlp",
    "moons",
    "softmax_regression",
    "wine",
]

PROBLEMS: dict[str, Callable[..., DataProblem]] = dict(DATASETS)
"""Problems a TOML spec can name: everything that needs no arrays from the user."""
