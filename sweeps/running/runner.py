"""Run the chunks of a sweep, here or elsewhere, until all are in or somebody stops it."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import Future
from typing import Any

from fastopt.errors import ExecutorError, SweepWarning
from sweeps.common.interrupt import deferred_interrupts
from sweeps.common.progress import Progress
from sweeps.engine.chunks import Chunk, Rows, better, run_chunk
from sweeps.running.collect import Collected
from sweeps.running.dispatch import run_elsewhere
from sweeps.running.estimate import whole_cost
from sweeps.running.jobs import Training
from sweeps.running.reasons import warn_of_failures, warn_of_limit

__all__ = ["run_chunks"]


def run_chunks(
    collected: Collected,
    workers: int,
    executor: Any = None,
    *,
    began: float,
    progress: bool = True,
    stacklevel: int = 2,
) -> Any:
    """Run what is left of a sweep; return what it came to: parts of a result, or a reducer's.

    Parameters
    ----------
    collected : Collected
        What is left to run, and where rows go.
    workers, executor, progress
        As for :func:`sweeps.sweep`.
    began : float
        When the sweep did, by ``time.perf_counter``.
    stacklevel : int
        How many calls up the line is that warnings are for.

    Raises
    ------
    ExecutorError
        The executor does not work, and no trial is finished.
    StoreError
        The store cannot be written.

    Warns
    -----
    SweepWarning
        The executor broke, or trials FAILED; the result has what is finished.
    """
    plan = collected.plan
    left = (collected.size - collected.finished) / plan.size
    total = left * whole_cost(plan) if progress else 0
    bar = Progress(total, collected.size, enabled=progress)
    try:
        with deferred_interrupts(), bar:
            _run(collected, workers, executor, bar)
    except KeyboardInterrupt:
        pass
    except ExecutorError as error:
        if collected.best is None:
            raise
        early = f"the sweep ended early: {error}"
        warnings.warn(early, SweepWarning, stacklevel=stacklevel + 1)
    # Not whether anybody pressed: it may come when the last trial is in.
    missing = collected.finished < collected.size
    result = collected.result(time.perf_counter() - began, interrupted=missing)
    warn_of_failures(collected.errors, plan.size, stacklevel + 2)
    ran = collected.finished - collected.reused
    warn_of_limit(plan.options.diverge_above, collected.lost_at_once, ran, stacklevel + 2)
    return result


def _run(collected: Collected, workers: int, executor: Any, bar: Progress) -> None:
    """Run chunks elsewhere, or here, all workers on one at a time."""
    plan, chunks = collected.plan, collected.remaining()

    def keep(chunk: Chunk, rows: Rows) -> Future | None:
        stored = collected.add(chunk, rows)
        bar.update(collected.cost, collected.finished, collected.best)
        return stored

    def watch(cost: int, done: int, best: float | None) -> None:
        best = better(plan, collected.best, best)
        bar.update(collected.cost + cost, collected.finished + done, best)

    executor = collected.executor if executor is None else executor
    if executor is not None:
        run_elsewhere(executor, workers, Training(plan), chunks, keep)
        return
    for chunk in chunks:
        rows = run_chunk(plan, chunk.ids, workers, watch)
        keep(chunk, rows)
        if len(rows) < len(chunk.ids):  # stopped
            return
