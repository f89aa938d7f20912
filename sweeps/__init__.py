"""Hyperparameter sweeps whose trials are whole training runs inside compiled kernels."""

from sweeps import problems
from sweeps.results import SweepResult
from sweeps.run import Estimate, plan, sweep
from sweeps.space import Space, linspace, logspace, values

__all__ = [
    "Estimate",
    "Space",
    "SweepResult",
    "linspace",
    "logspace",
    "plan",
    "problems",
    "sweep",
    "values",
]
