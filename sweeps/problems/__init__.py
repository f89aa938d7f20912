"""Objectives: regressions and MLPs on shipped or own data, the user's own losses, landscapes.

To add a dataset write its loader in :mod:`sweeps.problems.datasets`, to add a test function write
it in :mod:`sweeps.problems.functions`; name either there and here, and write its row in
:mod:`sweeps.common.known`. To add a kind of problem write its functions in a file here and a
constructor that returns a :class:`DataProblem`. Imports common.
"""

from __future__ import annotations

from collections.abc import Callable

from sweeps.problems.base import DataProblem
from sweeps.problems.custom import custom
from sweeps.problems.data import linear_regression, logistic_regression, mlp, softmax_regression
from sweeps.problems.datasets import DATASETS, breast_cancer, diabetes, digits, iris, moons, wine
from sweeps.problems.functions import (
    FUNCTIONS,
    ackley,
    beale,
    double_well,
    ellipse,
    himmelblau,
    noisy_quadratic,
    random_quadratic,
    rastrigin,
    ravine,
    rosenbrock,
    styblinski_tang,
)
from sweeps.problems.landscapes import Landscape, landscape
from sweeps.problems.summed import summed
from sweeps.problems.table import table

__all__ = [
    "FUNCTIONS", "PROBLEMS", "DataProblem", "Landscape", "ackley", "beale", "breast_cancer",
    "custom", "diabetes", "digits", "double_well", "ellipse", "himmelblau", "iris", "landscape",
    "linear_regression", "logistic_regression", "mlp", "moons", "noisy_quadratic",
    "random_quadratic", "rastrigin", "ravine", "rosenbrock", "softmax_regression",
    "styblinski_tang", "summed", "table", "wine",
]  # fmt: skip

PROBLEMS: dict[str, Callable[..., DataProblem | Landscape]] = {**DATASETS, **FUNCTIONS}
"""Problems a TOML spec can name: everything that needs no arrays from the user."""
