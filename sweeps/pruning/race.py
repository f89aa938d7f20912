"""Run a pruned sweep: in each round, trials go on from where they paused in the round before."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time

import numpy as np

from fastopt.errors import SpecError
from sweeps.common.interrupt import deferred_interrupts
from sweeps.common.progress import Progress
from sweeps.common.resources import format_bytes, free_memory
from sweeps.common.states import State
from sweeps.engine.block import Block
from sweeps.engine.checkpoints import Paused
from sweeps.engine.chunks import Chunk, Rows, launch_size, run_blocks
from sweeps.engine.plan import Plan
from sweeps.engine.tables import Parts
from sweeps.pruning import Pruner, Round, estimate_pruning, play_rounds
from sweeps.running.collect import Collector

__all__ = ["Race", "full_length", "share_of_steps"]

# Bytes that the trials of one launch may take, beside those of the paused trials.
MOST_STATE_BYTES = 1 << 28
MOST_TRIALS = 1 << 27


def full_length(plan: Plan) -> int:
    """Return the length of the longest trial, in epochs or steps, whichever the sweep is given in.

    Raises
    ------
    SpecError
        Some trials are given in epochs and some in steps, which cannot be compared; or there are
        more trials than memory has room to compare.
    """
    if plan.size > MOST_TRIALS:
        raise SpecError(
            f"a pruner compares trials, so they are kept in memory, at most {MOST_TRIALS:,}; this "
            f"space has {plan.size:,}: sweep space.sample(n)"
        )
    if counts_epochs(plan) and _is_given(plan, "steps"):
        raise SpecError(
            "a pruner compares trials after as many epochs or as many steps: give the length of "
            "all trials in epochs=..., or of all in steps=..."
        )
    return max(
        int((block.trials.settings["steps"] // steps_per_unit(plan, block)).max())
        for block in _sample_blocks(plan)
    )


def counts_epochs(plan: Plan) -> bool:
    """Whether the length of trials is given in epochs."""
    return _is_given(plan, "epochs")


def _is_given(plan: Plan, name: str) -> bool:
    return name in plan.space.names or plan.options.defaults.get(name) is not None


def _sample_blocks(plan: Plan) -> list[Block]:
    """Return a sample of the trials: with every optimizer, and every value of every axis."""
    return plan.blocks(plan.space.every_value(("optimizer",)), results=False)


def steps_per_unit(plan: Plan, block: Block) -> np.ndarray:
    """Return the steps of one epoch of each trial, or 1 if the sweep counts in steps."""
    if not counts_epochs(plan):
        return np.ones(len(block.ids), np.int64)
    return -(-len(block.problem.X) // block.trials.settings["batch"])


def share_of_steps(plan: Plan, pruner: Pruner) -> float:
    """Estimate the share of the steps of all trials that a pruner lets them take."""
    return estimate_pruning(pruner, plan.size, full_length(plan)).share


class Race:
    """The trials of a pruned sweep, and how far each has come.

    Parameters
    ----------
    plan : Plan
    pruner : Pruner
    workers : int
        Threads to use; they change nothing but the time.
    bar : Progress

    Raises
    ------
    SpecError
        The pruner does not fit the sweep.
    """

    def __init__(self, plan: Plan, pruner: Pruner, workers: int, bar: Progress) -> None:
        self.plan, self.pruner, self.workers, self.bar = plan, pruner, workers, bar
        self._max_resources = full_length(plan)
        self._rounds = pruner.rounds(plan.size, self._max_resources)
        each = max(block.state_bytes for block in _sample_blocks(plan))
        self._launch_trials = max(1, min(launch_size(plan), MOST_STATE_BYTES // each))
        paused = estimate_pruning(pruner, plan.size, self._max_resources).paused
        # Twice, while the states that several launches leave are joined.
        needed = 2 * paused * each
        if needed > (free := free_memory()):
            raise SpecError(
                f"up to {paused:,} trials pause at once, and what is kept of them takes "
                f"{format_bytes(needed)} of memory, of which {format_bytes(free)} are free: sweep "
                "a sample of the space, or see which pruner has smaller rungs (Hyperband, "
                "MedianStopping)"
            )
        self._column = plan.results.index(plan.options.metric)
        self._state = np.full(plan.size, State.PENDING, np.int8)
        self._value = np.full(plan.size, math.nan)
        # Of each trial, its latest launch (of those below) and round; -1 for none.
        self._latest = np.full((2, plan.size), -1)
        self._launches: list[Rows] = []
        self._played: list[tuple[Round, np.ndarray]] = []
        self._paused = Paused()
        self._undecided = np.empty(0, np.int64)
        self._cost = self._full_steps = 0

    def run(self) -> tuple[Parts, np.ndarray, list[tuple[Round, np.ndarray]]]:
        """Play all rounds; return the arguments of :class:`sweeps.PrunedResult`.

        These are the parts of a result with the last row of each trial, the bracket and rung of
        each row, and the rounds. After Ctrl-C, trials that have neither ended nor been pruned are
        left out.
        """
        began, finished = time.perf_counter(), False
        with contextlib.suppress(KeyboardInterrupt), deferred_interrupts(), self.bar:
            finished = play_rounds(self._rounds, self.train)
        parts = self._parts(time.perf_counter() - began, interrupted=not finished)
        places = [(round_.bracket, round_.rung) for round_, _ in self._played]
        rungs = np.array([*places, (-1, -1)])[self._latest[1, parts.columns["trial_id"]]]
        return parts, rungs, self._played

    def train(self, round_: Round) -> np.ndarray | None:
        """Train the trials of a round up to its resources; return their losses."""
        self._undecided = round_.trials
        going = round_.trials[np.isin(self._state[round_.trials], (State.PENDING, State.PRUNED))]
        self._paused.retain(going)
        kept = Paused()
        for low in range(0, len(going), self._launch_trials):
            ids = np.sort(going[low : low + self._launch_trials])
            blocks = [
                self._paused.stretched(block, self._steps_until(block, round_.n_resources))
                for block in self.plan.blocks(ids)
            ]
            rows = run_blocks(self.plan, blocks, self.workers, self._watch)
            self._record(rows, blocks)
            if len(rows) < len(ids):
                return None
            for block in blocks:
                kept.keep(block, np.flatnonzero(block.trials.state == State.PRUNED))
        self._paused, self._undecided = kept, round_.trials[:0]
        self._latest[1, round_.trials] = len(self._played)
        self._played.append((round_, self._value[round_.trials]))
        return self._losses(round_.trials)

    def _steps_until(self, block: Block, resources: int) -> np.ndarray:
        steps = block.trials.settings["steps"]
        if resources >= self._max_resources:
            return steps
        return np.minimum(steps, resources * steps_per_unit(self.plan, block))

    def _record(self, rows: Rows, blocks: list[Block]) -> None:
        for block in blocks:
            new = self._state[block.ids] == State.PENDING
            self._full_steps += int(block.trials.settings["steps"][new].sum())
        self._state[rows.ids] = rows.state
        self._value[rows.ids] = rows.out[:, self._column]
        self._latest[0, rows.ids] = len(self._launches)
        self._launches.append(rows)
        self._cost += rows.cost

    def _losses(self, trials: np.ndarray) -> np.ndarray:
        sign = -1.0 if self.plan.options.mode == "max" else 1.0
        values = self._value[trials]
        lost = (self._state[trials] == State.DIVERGED) | ~np.isfinite(values)
        return np.where(lost, math.inf, sign * values)

    def _watch(self, cost: int, done: int, best: float | None) -> None:
        ended = int(np.count_nonzero(self._state != State.PENDING))
        self.bar.update(self._cost + cost, ended, best)

    def _parts(self, seconds: float, interrupted: bool) -> Parts:
        """Take each trial's last row; leave out trials that have neither ended nor been pruned."""
        known = self._state != State.PENDING
        known[self._undecided] &= self._state[self._undecided] != State.PRUNED
        collector = Collector(self.plan)
        for k, rows in enumerate(self._launches):
            mine = known[rows.ids] & (self._latest[0, rows.ids] == k)
            fields = {name: getattr(rows, name)[mine] for name in ("ids", "state", "out", "curves")}
            collector.add(Chunk(k, fields["ids"]), dataclasses.replace(rows, **fields))
        parts = collector.result(seconds, interrupted)
        parts.info.update(pruner=repr(self.pruner), n_steps_full=self._full_steps)
        return parts
