"""Hyperparameter sweeps whose trials are whole training runs inside compiled kernels."""

from sweeps import problems
from sweeps.axes import zipped
from sweeps.callables import sweep_callable
from sweeps.conditions import when
from sweeps.diagnosis import Diagnosis, diagnose
from sweeps.distributions import choice, loguniform, randint, uniform
from sweeps.multifidelity import halving_rungs, hyperband_brackets
from sweeps.pruned import PrunedResult, Regret, regret
from sweeps.pruners import ASHA, Hyperband, MedianStopping, SuccessiveHalving
from sweeps.reducers import best, histogram
from sweeps.results import SweepResult
from sweeps.run import Estimate, plan, sweep
from sweeps.samplers import draws, latin_hypercube, sobol
from sweeps.space import Space, linspace, logspace, values
from sweeps.study import Study
from sweeps.tracing import trace

__all__ = [
    "ASHA",
    "Diagnosis",
    "Estimate",
    "Hyperband",
    "MedianStopping",
    "PrunedResult",
    "Regret",
    "Space",
    "Study",
    "SuccessiveHalving",
    "SweepResult",
    "best",
    "choice",
    "diagnose",
    "draws",
    "halving_rungs",
    "histogram",
    "hyperband_brackets",
    "latin_hypercube",
    "linspace",
    "logspace",
    "loguniform",
    "plan",
    "problems",
    "randint",
    "regret",
    "sobol",
    "sweep",
    "sweep_callable",
    "trace",
    "uniform",
    "values",
    "when",
    "zipped",
]
