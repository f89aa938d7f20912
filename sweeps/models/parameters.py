"""The parameters that trials ended with: the trials run again, to the same bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.analysis.table import Table
from sweeps.common.names import steps_taken
from sweeps.common.resources import check_memory
from sweeps.common.states import State
from sweeps.engine.checkpoints import Paused
from sweeps.engine.chunks import Rows, run_blocks
from sweeps.engine.plan import Block, Plan
from sweeps.engine.run_blocks import worker_count
from sweeps.extend import plan_of, warn_of_change
from sweeps.problems.base import DataProblem


def parameters_of(
    plan: Plan, ids: np.ndarray, n_jobs: int = -1, until: np.ndarray | None = None
) -> tuple[Rows, list[np.ndarray]]:
    """Run trials of a data problem again, and keep what each of them was evaluated with.

    ``ids``: increasing. ``until``: steps after which each trial pauses; by default all run to their
    end. Returns what they came to, bit for bit as in the sweep, and the parameters of each,
    ``(n_params,)``; NaN where the trial diverged.
    """
    blocks = plan.blocks(ids)
    held = sum(len(b.ids) * b.problem.n_params * b.problem.dtype.itemsize for b in blocks)
    check_memory(held, f"the parameters of {len(ids):,} trials take", "Ask for fewer at a time")
    steps = {} if until is None else dict(zip(ids.tolist(), until.tolist()))
    blocks = [with_room(_pause_after(block, steps)) for block in blocks]
    rows = run_blocks(plan, blocks, worker_count(n_jobs))
    if len(rows) < len(ids):
        raise KeyboardInterrupt
    found = {i: theta for b in blocks for i, theta in zip(b.ids.tolist(), b.trials.theta)}
    return rows, [found[i] for i in ids.tolist()]


def _pause_after(block: Block, steps: dict[int, int]) -> Block:
    """Have trials pause after these steps, if any of them is to."""
    length = block.trials.settings["steps"]
    ends = [min(steps.get(i, n), n) for i, n in zip(block.ids.tolist(), length.tolist())]
    until = np.array(ends, np.int64)
    return block if (until >= length).all() else Paused().stretched(block, until)


def with_room(block: Block) -> Block:
    """Return a block that has room for the parameters of its trials."""
    shape = len(block.ids), block.problem.n_params
    room = np.full(shape, np.nan, block.problem.dtype)
    return dataclasses.replace(block, trials=block.trials._replace(theta=room))


def trials_weights(result: Table, ids: Sequence[int], *, n_jobs: int = -1) -> np.ndarray:
    """Return the parameters that trials ended with, by running them again.

    Parameters
    ----------
    ids : sequence of int
        Trial numbers, such as ``result.best(100)["trial_id"]``; in any order.
    n_jobs : int
        Threads to use; -1 for all cores.

    Returns
    -------
    ndarray, shape (n, n_params)
        A row for each number, in the dtype of the problem: those that the metrics were measured
        with. NaN where a trial diverged. A network's lie flat as ``W_1, b_1, W_2, ...``, each
        ``W`` of shape ``(inputs, outputs)`` in C order.

    Raises
    ------
    SpecError
        There is no such trial, it FAILED, the trials have different numbers of parameters, or the
        result is of a landscape or does not know its problem.

    Warns
    -----
    SweepWarning
        A trial's figures are not those of the sweep: its problem has changed meanwhile.

    Examples
    --------
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.iris(hidden=(8,)), {"lr": [0.01, 0.1]}, epochs=2)
    >>> result.trials_weights([1, 0]).shape
    (2, 67)
    """
    thetas = run_again(result, ids, "trials_weights", n_jobs, stacklevel=3)
    sizes = {theta.size: i for i, theta in zip(ids, thetas)}
    if len(sizes) > 1:
        shown = ", ".join(f"trial {i} has {n:,}" for n, i in list(sizes.items())[:3])
        raise SpecError(
            f"trials_weights: the trials have different numbers of parameters ({shown}); ask for "
            "those of one network at a time"
        )
    return np.stack(thetas)


def run_again(
    result: Table, ids: Sequence[int], what: str, n_jobs: int, stacklevel: int
) -> list[np.ndarray]:
    """Return the parameters of trials of a result, whose figures are compared with its own."""
    plan = plan_of(result, what)
    if not isinstance(plan.problem, DataProblem):
        names = ", ".join(plan.problem.names)
        raise SpecError(
            f"{what}: {shortened(plan.problem.name)} is a landscape, whose parameters are its "
            f"coordinates: they are columns of the result already ({names:.200}), one row a trial"
        )
    wanted = _numbers(ids, what)
    rows = _rows_of(result, wanted, what)
    order, inverse = np.unique(wanted, return_inverse=True)
    first = {int(i): int(row) for i, row in zip(wanted, rows)}
    places = np.array([first[int(i)] for i in order])
    until = _steps_of_pruned(result, places)
    ran, thetas = parameters_of(plan, order, n_jobs, until)
    for k, row in enumerate(places):
        warn_of_change(result, plan, int(row), ran.out[k], int(ran.state[k]), stacklevel + 1)
    return [thetas[k] for k in inverse]


def _numbers(ids: Any, what: str) -> np.ndarray:
    given = np.asarray(ids)
    if given.ndim != 1 or not len(given) or given.dtype.kind not in "iu":
        raise SpecError(f"{what}: give one trial number or more, as integers; got {shortened(ids)}")
    return given.astype(np.int64)


def _rows_of(result: Table, ids: np.ndarray, what: str) -> np.ndarray:
    """Return the row of each trial, or say which there is none of."""
    known = np.asarray(result.columns["trial_id"])  # increasing
    rows = np.minimum(np.searchsorted(known, ids), max(len(known) - 1, 0))
    missing = ids[known[rows] != ids] if len(known) else ids
    if len(missing):
        raise SpecError(
            f"{what}: there is no finished trial {missing[0]}; the numbers are in the column "
            "'trial_id'"
        )
    failed = ids[np.asarray(result.columns["state"])[rows] == State.FAILED]
    if len(failed):
        raise SpecError(
            f"{what}: trial {failed[0]} FAILED, so it has no parameters; the column 'error' says "
            "why"
        )
    return rows


def _steps_of_pruned(result: Table, rows: np.ndarray) -> np.ndarray | None:
    """Return where trials that were PRUNED stopped, and a number past the end for the others."""
    pruned = np.asarray(result.columns["state"])[rows] == State.PRUNED
    if not pruned.any():
        return None
    steps = np.asarray(result.columns[steps_taken(result.columns)])[rows]
    return np.where(pruned, steps, np.iinfo(np.int64).max).astype(np.int64)
