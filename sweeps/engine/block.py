"""Trials of one kernel, laid out: what is handed to it, what it takes, how long it may run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastopt.code.cached import cached_property
from fastopt.machine.calls import Callees
from fastopt.rules import Rule
from sweeps.engine import trial
from sweeps.engine.callees import Links, linked
from sweeps.engine.columns import MOST_COST
from sweeps.engine.records import COUNTERS, Kept, Trials
from sweeps.problems.base import DataProblem


@dataclass(frozen=True)
class Block:
    """Trials of one kernel, ready to run: rows of ``trials`` are the trial numbers ``ids``."""

    problem: Any
    rule: Rule
    ids: np.ndarray
    trials: Trials
    cost: np.ndarray  # int64, about nanoseconds on one core
    # Whether the kernel calls BLAS, which is then held to one thread a worker.
    calls_blas: ClassVar[bool] = True
    # What constants() returns.
    links: ClassVar[type] = Links

    def parts(self) -> tuple:
        """Return the functions of the kernel."""
        return trial.parts()

    @cached_property
    def table(self) -> Any:
        """Trials as the kernel takes them."""
        return trial.raw_trials(self.trials)

    def constants(self) -> Any:
        """Return what the kernel takes beside the trials."""
        return linked(self.callees, self.problem)

    @cached_property
    def callees(self) -> tuple[Callees, ...]:
        """Return what the kernel calls by address."""
        return trial.callees_of(self.problem, self.rule, self.trials.settings, self.trials.watch)

    def kept(self, n: int) -> Kept:
        """Return room for the states of ``n`` paused trials; their counters are zero."""
        trials, sizes = self.trials, self.trials.sizes
        mean = sizes.n_params if trials.watch.grad_variance >= 0 else 0
        return Kept(
            np.zeros(n, COUNTERS),
            np.empty((n, trials.out.shape[1])),
            np.empty((n, sizes.clock)),
            np.empty((n, mean)),
            np.empty((n, sizes.rows, sizes.n_params), trials.kept.x.dtype),
            np.empty((n, sizes.n_params * trials.watch.restores_best), trials.kept.x.dtype),
        )

    @property
    def state_bytes(self) -> int:
        """Memory that the state of a paused trial takes."""
        return sum(a.nbytes for a in self.kept(1))

    @property
    def scratch_bytes(self) -> int:
        """Memory that each worker takes for one of these trials at a time."""
        t = self.trials
        return trial.scratch_bytes(t.sizes, t.X, t.y, t.watch)

    @property
    def item_cost(self) -> np.ndarray:
        """Cost of each item of the work queue: here items are trials."""
        return self.cost


def cost_of(problem: DataProblem, settings: np.ndarray) -> np.ndarray:
    """Estimate each trial's time in ns on one core, to start long trials first and for the ETA.

    Measured on digits (64-32-10): 1.5 us a step in calls and dispatch, 25 flops a ns in small
    BLAS products, 0.4 ns a parameter in the update.
    """
    per_row = problem.flops_per_row / 25.0 + 10.0
    step = 1500.0 + 0.4 * problem.n_params + per_row * settings["batch"]
    return np.clip(settings["steps"] * step, 1, MOST_COST).astype(np.int64)


def lengthened(curves: np.ndarray, points: int) -> np.ndarray:
    """Pad curves ``(n, m, k)`` with NaN to ``points`` points."""
    short = points - curves.shape[1]
    return np.pad(curves, ((0, 0), (0, short), (0, 0)), constant_values=np.nan) if short else curves
