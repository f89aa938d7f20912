"""Any Python function as the objective of a sweep.

For what cannot be compiled: a torch model, a simulator, another program. The answer is the same
:class:`~sweeps.results.SweepResult`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sweeps.functions.study import Study
from sweeps.results import SweepResult


def sweep_callable(
    function: Callable[[dict[str, Any]], Any],
    space: Any,
    *,
    metric: str = "value",
    mode: str = "min",
    executor: Any = None,
    n_jobs: int = -1,
    progress: bool = True,
) -> SweepResult:
    """Evaluate a Python function at every point of a space.

    Parameters
    ----------
    function : callable
        ``function(config)`` with the trial's axes by name, a dict; returns the metric, or a dict
        of metrics that holds it. What it raises makes the trial FAILED; a metric of NaN or
        infinity makes it DIVERGED. To other processes it is sent by value, with all that it refers
        to, unless they can import it and it is there what it is here: so it is with lambdas,
        closures, functions of a script or notebook, and modules changed since their import.
    space : dict, list of dict or Space
        As for :func:`sweeps.sweep`; axes may have any names but ``trial_id``, ``state``, ``error``.
    metric : str
        What trials are ranked by.
    mode : {"min", "max"}
        Whether a small or a large metric is good.
    executor : str or object, optional
        Where trials run, as for :func:`sweeps.sweep`: ``"threads"``, ``"processes"``, ``"loky"``,
        ``"dask"``, an address, a dask client, or any object with ``submit`` of
        :mod:`concurrent.futures`, which is not shut down. Threads by default, which help where the
        function leaves Python's lock.
    n_jobs : int
        Number of threads or processes; -1 for all cores.
    progress : bool
        Show progress on stderr when that is a terminal, and below the cell of a notebook.

    Returns
    -------
    SweepResult
        One row a finished trial, in the order of their numbers whichever finished first, with a
        column ``error``. After Ctrl-C it holds the trials finished by then, and
        ``result.info["interrupted"]`` is true; a function that runs in a thread is not stopped.

    Raises
    ------
    SpecError
        The space, metric, mode, executor or number of jobs makes no sense, or ``function`` is not
        callable.
    ExecutorError
        The executor does not work, or the function cannot be sent to it.

    Warns
    -----
    SweepWarning
        Trials FAILED, or the executor broke; what is finished is returned.

    Examples
    --------
    >>> def ridge(config):
    ...     return {"loss": (config["x"] - 1.0) ** 2 + config["l2"], "size": abs(config["x"])}
    >>> result = sweep_callable(ridge, {"x": [0.0, 1.0, 2.0], "l2": [0.1, 0.2]}, metric="loss")
    >>> result.best_params_, result.best_score_
    ({'x': 1.0, 'l2': 0.1}, 0.1)
    """
    study = Study(space, metric=metric, mode=mode)
    facts = study._new_run(function, None, progress).run(executor, n_jobs, stacklevel=2)
    name = getattr(function, "__name__", type(function).__name__)
    return study.result(**facts, problem=name)
