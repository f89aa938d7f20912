"""Run the chunks of a sweep, here or on an executor, until all are in or somebody stops it."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import Future
from typing import Any

from fastopt.errors import ExecutorError, SweepWarning
from sweeps.common.interrupt import deferred_interrupts
from sweeps.common.progress import Progress
from sweeps.engine.chunks import Chunk, Chunks, Rows, better, chunk_size, longest_first, run_chunk
from sweeps.running.collect import Collector
from sweeps.running.dispatch import run_on_executor
from sweeps.running.estimate import total_cost
from sweeps.running.jobs import TrainingJob
from sweeps.running.reasons import warn_of_failures, warn_of_limit


def run_chunks(
    collector: Collector,
    workers: int,
    executor: Any = None,
    *,
    began: float,
    progress: bool = True,
    stacklevel: int = 2,
) -> Any:
    """Run what is left of a sweep; return the parts of its result, or what its reducer makes.

    ``began``: when the sweep did, by ``time.perf_counter``. ``stacklevel``: how many calls up the
    line is that warnings are for. If the executor breaks, that is a warning where trials are
    finished.
    """
    plan = collector.plan
    left = (collector.size - collector.finished) / plan.size
    total = left * total_cost(plan, collector.share) if progress else 0
    bar = Progress(total, collector.size, enabled=progress)
    try:
        with deferred_interrupts(), bar:
            _run(collector, workers, executor, bar)
    except KeyboardInterrupt:
        pass
    except ExecutorError as error:
        if collector.best is None:
            raise
        early = f"the sweep ended early: {error}"
        warnings.warn(early, SweepWarning, stacklevel=stacklevel + 1)
    # Not whether Ctrl-C was pressed: that may be when the last trial is in.
    result = collector.result(time.perf_counter() - began, interrupted=not collector.is_complete)
    warn_of_failures(collector.errors, plan.size, stacklevel + 2)
    ran = collector.finished - collector.reused
    warn_of_limit(plan.options.diverge_above, collector.diverged_at_start, ran, stacklevel + 2)
    return result


def _run(collector: Collector, workers: int, executor: Any, bar: Progress) -> None:
    """Run chunks on an executor, or here: one at a time, on all workers."""
    plan, chunks = collector.plan, collector.remaining()

    def keep(chunk: Chunk, rows: Rows) -> Future | None:
        stored = collector.add(chunk, rows)
        bar.update(collector.cost, collector.finished, collector.best)
        return stored

    def watch(cost: int, done: int, best: float | None) -> None:
        best = better(plan, collector.best, best)
        ended = min(collector.finished + done, collector.size)  # trials in rungs end several times
        bar.update(collector.cost + cost, ended, best)

    executor = collector.executor if executor is None else executor
    if executor is not None:
        here = executor == "threads"
        each = max(1, workers // len(Chunks(plan.size, chunk_size(plan)))) if here else 1
        job, ordered = TrainingJob(plan, each), longest_first(plan, chunks)
        collector.prepared = run_on_executor(executor, workers, job, ordered, keep)
        return
    for chunk in filter(None, chunks):
        rows = run_chunk(plan, chunk.ids, workers, watch, stretch=chunk.stretch)
        keep(chunk, rows)
        if len(rows) < len(chunk.ids):  # stopped
            return
