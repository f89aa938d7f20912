"""Hyperparameter sweeps whose trials are whole training runs inside compiled kernels.

Start at ``run.py``: a sweep in a screen. Each room and module imports only what stands before it:
common, space, problems, engine, running, pruning, store, analysis, tracing, plots, extend, models,
report, results, pruned, run, functions, sklearn, studies, cli.

Names are imported when they are first asked for.
"""

import warnings
from typing import TYPE_CHECKING, Any

from fastopt.late import late_names

if TYPE_CHECKING:
    from sweeps import problems
    from sweeps.functions.callables import sweep_callable
    from sweeps.functions.study import Study
    from sweeps.models.model import Model
    from sweeps.pruned import PrunedResult, Regret, regret
    from sweeps.pruning import ASHA, Hyperband, MedianStopping, SuccessiveHalving
    from sweeps.pruning.rungs import halving_rungs, hyperband_brackets
    from sweeps.results import SweepResult
    from sweeps.run import Estimate, estimate, sweep
    from sweeps.running.reducers import KeepBest, histogram
    from sweeps.space.axes import geomspace, linspace, logspace, values, zipped
    from sweeps.space.conditions import when
    from sweeps.space.designs import draws, latin_hypercube, sobol
    from sweeps.space.distributions import choice, loguniform, randint, uniform
    from sweeps.space.space import Space
    from sweeps.tracing.diagnosis import Diagnosis, diagnose
    from sweeps.tracing.trace import trace

__all__ = [
    "ASHA", "Diagnosis", "Estimate", "Hyperband", "KeepBest", "MedianStopping", "Model",
    "PrunedResult", "Regret", "Space", "Study", "SuccessiveHalving", "SweepResult", "choice",
    "diagnose", "draws", "estimate", "geomspace", "halving_rungs", "histogram",
    "hyperband_brackets", "latin_hypercube", "linspace", "logspace", "loguniform", "problems",
    "randint", "regret", "sobol", "sweep", "sweep_callable", "trace", "uniform", "values", "when",
    "zipped",
]  # fmt: skip

# Modules that have moved are there under their old names, too, with a warning.
__path__.append(f"{__path__[0]}/functions/old_names")

_RENAMED = {"best": "KeepBest", "plan": "estimate"}
_late, __dir__ = late_names(__name__)


def __getattr__(name: str) -> Any:
    """Import a name; what has another one now comes with a warning, for one minor release."""
    if name not in _RENAMED:
        return _late(name)
    new = _RENAMED[name]
    warnings.warn(
        f"sweeps.{name} is called sweeps.{new} now; the old name goes with the next minor release",
        DeprecationWarning,
        stacklevel=2,
    )
    return _late(new)
