"""Estimate the time, memory and disk of a sweep from a sample of its trials."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeps.common.resources import check_fits, check_model
from sweeps.engine.chunks import Chunks, chunk_size
from sweeps.engine.plan import Plan
from sweeps.problems.base import DataProblem

# Bytes of a number in a store: 5.9 for losses without a pattern, 2 where half are alike (Parquet).
STORED_BYTES = 6


@dataclass(frozen=True)
class Estimate:
    """What a sweep will take; returned by :func:`sweeps.estimate`.

    Parameters
    ----------
    n_trials, n_steps : int
        Trials, and training steps of all of them.
    seconds : float
        By the cost model, on the workers asked for, without compilation.
    bytes, disk : int
        Of the results in memory, and in a store.
    training : int
        Bytes of memory while trials run: the data, and on each worker the parameters, optimizer
        state, gradient and scratch of the largest model in the sample.
    cost : int
        Nanoseconds on one core, by the cost model.
    n_chunks : int
        Pieces that are stored or sent to workers.

    Examples
    --------
    >>> from sweeps import estimate, problems
    >>> estimate(problems.ellipse(), {"lr": [0.1]}, steps=5).n_trials
    1
    """

    n_trials: int
    n_steps: int
    seconds: float
    bytes: int
    cost: int
    disk: int
    n_chunks: int
    training: int


def total_cost(plan: Plan, share: float = 1.0) -> int:
    """Return the nanoseconds on one core that a sweep, or a share of it, takes by the model."""
    return round(plan.sample.cost * plan.size * share)


def estimate_of(plan: Plan, workers: int, share: float = 1.0) -> Estimate:
    """Return the estimate of a checked sweep on so many workers.

    A pruner lets trials take about a ``share`` of their steps.

    >>> from sweeps import estimate, problems
    >>> estimate(problems.ellipse(), {"lr": [0.1, 0.2]}, steps=1000, n_jobs=1).seconds
    8e-06
    """
    seen, size = plan.sample, plan.size
    # A trial has one core; a lane's worth of them is not told apart here.
    used = min(workers, size) if plan.n_lanes == 1 else workers
    return Estimate(
        n_trials=size,
        n_steps=round(seen.steps * size * share),
        seconds=seen.cost * size * share / used / 1e9,
        bytes=size * seen.row,
        cost=total_cost(plan, share),
        disk=size * _bytes_on_disk(plan, seen.row),
        n_chunks=len(Chunks(size, chunk_size(plan))),
        training=_data_bytes(plan.problem) + seen.scratch * workers,
    )


def _data_bytes(problem: Any) -> int:
    """Return the bytes of the arrays that a problem is made of."""
    arrays = [getattr(problem, name, ()) for name in ("X", "y", "X_test", "y_test")]
    return sum(a.nbytes for a in (*arrays, *problem.aux) if isinstance(a, np.ndarray))


def refuse_too_large(plan: Plan, store: str | os.PathLike[str] | None, workers: int) -> None:
    """Raise unless models fit in memory, one a worker, and results or, with a store, on its disk.

    >>> from sweeps import problems, sweep
    >>> axes = {"lr": [0.1], "seed": range(10**15)}
    >>> sweep(problems.ellipse(), axes, steps=1)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    fastopt.errors.SpecError: the results of 1,000,000,000,000,000 trials take 1.6e+05 TB ...
    """
    if isinstance(plan.problem, DataProblem):
        check_model(plan.problem, plan.scratch_bytes, min(workers, plan.size))
    # The sample takes longer to draw; only the length of curves is not known without it.
    row = 8 * (2 * len(plan.results) + len(plan.space.names))
    row = plan.sample.row if plan.options.curves else row
    check_fits(plan.size, plan.size * row, plan.size * _bytes_on_disk(plan, row), store)


def _bytes_on_disk(plan: Plan, row: int) -> int:
    """Return about how many bytes a trial takes in a store: axes next to nothing."""
    results, axes = len(plan.results), len(plan.space.names)
    # A row counts results twice, as they come in and as columns.
    return STORED_BYTES * (row // 8 - results - axes)
