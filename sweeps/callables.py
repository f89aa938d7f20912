"""Any Python function as the objective of a sweep.

For what cannot be compiled: a torch model, a simulator, another program. The answer is the same
:class:`~sweeps.results.SweepResult`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from typing import Any

import numpy as np

from fastopt.errors import SpecError, SweepWarning
from sweeps.engine.local import worker_count
from sweeps.progress import Progress
from sweeps.results import STATES, SweepResult
from sweeps.study import Study

__all__ = ["sweep_callable", "warn_of_failures"]

# Trials handed to somebody else's executor at once: enough for a cluster, and little to cancel.
IN_FLIGHT = 1024


def sweep_callable(
    function: Callable[[dict[str, Any]], Any],
    space: Any,
    *,
    metric: str = "value",
    mode: str = "min",
    executor: Executor | None = None,
    n_jobs: int = -1,
    progress: bool = True,
) -> SweepResult:
    """Evaluate a Python function at every point of a space.

    Parameters
    ----------
    function : callable
        ``function(config)`` with the trial's axes by name, a dict; returns the metric, or a dict
        of metrics that holds it. What it raises makes the trial FAILED; a metric of NaN or
        infinity makes it DIVERGED.
    space : dict, list of dict or Space
        As for :func:`sweeps.sweep`; axes may have any names but ``trial_id``, ``state``, ``error``.
    metric : str
        What trials are ranked by.
    mode : {"min", "max"}
        Whether a small or a large metric is good.
    executor : concurrent.futures.Executor, optional
        Where trials run, for example a process pool or dask's ``client.get_executor()``; it is not
        shut down. Threads by default, which help where the function leaves Python's lock.
    n_jobs : int
        Number of these threads; -1 for all cores.
    progress : bool
        Show progress on stderr when that is a terminal.

    Returns
    -------
    SweepResult
        One row a finished trial, in the order of their numbers whichever finished first, with a
        column ``error``. After Ctrl-C it holds the trials finished by then, and
        ``result.info["interrupted"]`` is true; a function that is running is not stopped.

    Raises
    ------
    SpecError
        The space, metric, mode or number of jobs makes no sense, or ``function`` is not callable.

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
    if not callable(function):
        raise SpecError(f"the objective must be a function of one dict; got {function!r}")
    study = Study(space, metric=metric, mode=mode)
    workers = max(worker_count(n_jobs), n_jobs)
    began = time.perf_counter()
    pool = ThreadPoolExecutor(workers) if executor is None else executor
    running: dict[Future, int] = {}
    interrupted = False
    try:
        _run(
            function, study, pool, running, 2 * workers if executor is None else IN_FLIGHT, progress
        )
    except KeyboardInterrupt:
        interrupted = True
    except BrokenExecutor as error:
        interrupted = True
        warnings.warn(f"the executor broke: {error}", SweepWarning, stacklevel=2)
    finally:
        for future in running:
            future.cancel()
        if executor is None:
            pool.shutdown(wait=False, cancel_futures=True)
    for future, i in running.items():
        if future.done() and not future.cancelled() and i in study.pending:
            study.tell([i], [_returned(future)])
    seconds = time.perf_counter() - began
    result = study.result(
        seconds=seconds,
        compile_seconds=0.0,
        interrupted=interrupted,
        problem=getattr(function, "__name__", type(function).__name__),
    )
    result.info["trials_per_second"] = len(result) / max(seconds, 1e-9)
    failed = np.flatnonzero(np.asarray(result.columns["state"]) == STATES.index("FAILED"))
    warn_of_failures({i: result.columns["error"][i] for i in failed.tolist()}, len(result))
    return result


def _run(
    function: Callable[[dict[str, Any]], Any],
    study: Study,
    pool: Executor,
    running: dict[Future, int],
    at_once: int,
    progress: bool,
) -> None:
    """Keep ``at_once`` trials running until none is left; ``running`` holds those under way."""
    size = study.space.size
    with Progress(size, size, enabled=progress) as bar:
        while True:
            ids, configs = study.ask(max(1, at_once - len(running)))
            for i, config in zip(ids.tolist(), configs):
                running[pool.submit(function, config)] = i
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                # Told before it is forgotten: Ctrl-C in between loses nothing.
                study.tell([running[future]], [_returned(future)])
                del running[future]
            bar.update(len(study), len(study), study.best_value)


def _returned(future: Future) -> Any:
    """Return what the trial returned, or raised."""
    try:
        error = future.exception()
    except CancelledError as cancelled:
        return cancelled
    return future.result() if error is None else error


def warn_of_failures(errors: Mapping[int, str], n_trials: int) -> None:
    """Warn, on the line that called the caller, of trials that FAILED."""
    if errors:
        warnings.warn(
            f"{len(errors)} of {n_trials} trials FAILED, the first with {errors[min(errors)]}; "
            "the column 'error' has the reasons",
            SweepWarning,
            stacklevel=3,
        )
