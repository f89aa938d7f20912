"""A trial trained once more, on the rows it was chosen by as well."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastopt.errors import SpecError
from sweeps.analysis.table import Table
from sweeps.common.names import steps_taken
from sweeps.engine.block import Block
from sweeps.engine.chunks import run_blocks
from sweeps.engine.columns import accepts, missing, schedule_parameters
from sweeps.engine.options import DEFAULTS
from sweeps.engine.plan import Plan
from sweeps.models.parameters import with_room
from sweeps.problems.base import DataProblem
from sweeps.running.check import check

__all__ = ["refitted"]


def refitted(result: Table, plan: Plan, i: int, row: int) -> tuple[DataProblem, np.ndarray]:
    """Return the problem with its validation rows among those trained on, and what it came to.

    The preprocessing is fitted to all of these rows, too. The trial takes as many epochs, or steps,
    as it took in the sweep, where validation rows may have ended it early: there are none now.

    ``plan``: its plan. ``i``, ``row``: number of the trial, and its row. Raises SpecError if the
    problem has no validation rows, or the trial diverges on all of its rows.
    """
    (block,) = plan.blocks(np.array([i]), results=False)
    problem = block.problem.refitted()
    alone = check(problem, {}, _settings(plan, block, i))
    (again,) = alone.blocks(np.array([0]))
    settings, full = again.trials.settings, int(block.trials.settings["steps"][0])
    share = float(result.columns[steps_taken(result.columns)][row]) / full
    settings["steps"] = np.maximum(1, np.rint(share * settings["steps"])).astype(np.int64)
    settings["seed"] = block.trials.settings["seed"]  # where it was mixed of all that it was
    again = with_room(again)
    if len(run_blocks(alone, [again])) == 0:
        raise KeyboardInterrupt
    theta = again.trials.theta[0]
    if not np.isfinite(theta).all():
        raise SpecError(
            f"model(refit=True): trial {i} diverges where it trains on its validation rows as "
            "well; take another one, or the model without refit"
        )
    return problem, theta


def _settings(plan: Plan, block: Block, i: int) -> dict[str, Any]:
    """Return the keywords of a sweep of this trial alone, chosen by nothing."""
    cells = {name: column[0] for name, column in plan.space.columns(np.array([i])).items()}
    given = {name: cell for name, cell in cells.items() if not missing(cell)}
    all_of_it = {**plan.options.defaults, **given}
    shared = {*DEFAULTS, *schedule_parameters()} - {"hidden", "patience"}
    settings = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in all_of_it.items()
        if name in shared or accepts(block.rule, name)
    }
    return {**settings, "metric": "train_loss", "diverge_above": plan.options.diverge_above}
