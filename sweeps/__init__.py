"""Hyperparameter sweeps whose trials are whole training runs inside compiled kernels."""

from sweeps import problems
from sweeps.axes import zipped
from sweeps.conditions import when
from sweeps.distributions import choice, loguniform, randint, uniform
from sweeps.results import SweepResult
from sweeps.run import Estimate, plan, sweep
from sweeps.samplers import draws, latin_hypercube, sobol
from sweeps.space import Space, linspace, logspace, values

__all__ = [
    "Estimate",
    "Space",
    "SweepResult",
    "choice",
    "draws",
    "latin_hypercube",
    "linspace",
    "logspace",
    "loguniform",
    "plan",
    "problems",
    "randint",
    "sobol",
    "sweep",
    "uniform",
    "values",
    "when",
    "zipped",
]
