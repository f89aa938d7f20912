"""Hyperparameter sweeps whose trials are whole training runs inside compiled kernels.

Start at ``run.py``: a sweep in a screen. Each room and module imports only what stands before it:
common, space, problems, engine, running, store, pruning, analysis, tracing, plots, report, extend,
results, pruned, run, functions, studies, cli, optuna, scaling.
"""

from sweeps import problems
from sweeps.functions.callables import sweep_callable
from sweeps.functions.study import Study
from sweeps.pruned import PrunedResult, Regret, regret
from sweeps.pruning import ASHA, Hyperband, MedianStopping, SuccessiveHalving
from sweeps.pruning.rungs import halving_rungs, hyperband_brackets
from sweeps.results import SweepResult
from sweeps.run import Estimate, plan, sweep
from sweeps.running.reducers import best, histogram
from sweeps.space.axes import zipped
from sweeps.space.conditions import when
from sweeps.space.designs import draws, latin_hypercube, sobol
from sweeps.space.distributions import choice, loguniform, randint, uniform
from sweeps.space.space import Space, linspace, logspace, values
from sweeps.tracing.diagnosis import Diagnosis, diagnose
from sweeps.tracing.trace import trace

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
