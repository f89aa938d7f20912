"""Run a pruned sweep: in each round, trials go on from where they paused in the round before.

Who is in a round follows from the rows of the rounds before it and from nothing else. So a race
that was stopped is run again from its first round, and takes the rows of chunks that are known from
its ledger. States of paused trials are kept in memory alone: of chunks that were known, those that
go on begin anew, which comes to the same bits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastopt.errors import SpecError
from sweeps.common.resources import format_bytes, free_memory
from sweeps.common.states import State
from sweeps.engine import chunks as chunking
from sweeps.engine.block import Block
from sweeps.engine.checkpoints import Paused, Stretch, counts_epochs, is_given, steps_per_unit
from sweeps.engine.chunks import Chunk, Rows, launch_size, stretch_size
from sweeps.engine.plan import Plan
from sweeps.engine.tables import Parts, joined, parts_of
from sweeps.pruning import Pruner, Round, estimate_pruning
from sweeps.pruning.base import MOST_TRIALS, losses_of, next_round
from sweeps.pruning.folded import over_folds
from sweeps.running.collect import Collector

# Bytes that the trials of one launch may take, beside those of the paused trials.
MOST_STATE_BYTES = 1 << 28


def full_length(plan: Plan) -> int:
    """Return the length of the longest trial, in epochs or steps, whichever the sweep is given in.

    Raises SpecError if some trials are given in epochs and some in steps, which cannot be compared.
    """
    if plan.size > MOST_TRIALS:
        raise SpecError(
            f"a pruner compares trials, so they are kept in memory, at most {MOST_TRIALS:,}; this "
            f"space has {plan.size:,}: sweep space.sample(n)"
        )
    if counts_epochs(plan) and is_given(plan, "steps"):
        raise SpecError(
            "a pruner compares trials after as many epochs or as many steps: give the length of "
            "all trials in epochs=..., or of all in steps=..."
        )
    return max(
        int((block.trials.settings["steps"] // steps_per_unit(plan, block)).max())
        for block in _sample_blocks(plan)
    )


def _sample_blocks(plan: Plan) -> list[Block]:
    """Return a sample of the trials: with every optimizer, and every value of every axis."""
    return plan.blocks(plan.space.every_value(("optimizer",)), results=False)


def share_of_steps(plan: Plan, pruner: Pruner) -> float:
    """Estimate the share of the steps of all trials that a pruner lets them take."""
    length = full_length(plan)
    return estimate_pruning(over_folds(pruner, plan.space), plan.size, length).share


class Ledger(Protocol):
    """Keeps the rows of a race where they outlive it: a store."""

    path: str
    chunk: int
    """Trials of a chunk that go to their end; those of shorter rounds have more."""

    def known(self, round_: Round, chunks: Sequence[Chunk]) -> Iterable[tuple[Chunk, Rows]]:
        """Yield those chunks of a round whose rows are kept already."""

    def keep(self, round_: Round, chunk: Chunk, rows: Rows) -> Future:
        """Keep the rows of a chunk; the future is done when they are."""

    def wait(self) -> None:
        """Wait until all rows are kept; raise what went wrong."""


class Played(NamedTuple):
    """The arguments of :class:`sweeps.PrunedResult`."""

    parts: Parts  # of a result with the last row of each trial
    places: np.ndarray  # bracket and rung of each row
    rounds: list[tuple[Round, np.ndarray]]  # with the metric of each trial then


class Race(Collector):
    """The trials of a pruned sweep, and how far each has come.

    ``chunk``: trials of a chunk that go to their end; by default as many as memory allows.
    """

    def __init__(self, plan: Plan, pruner: Pruner, chunk: int | None = None) -> None:
        super().__init__(plan, chunk)
        self.pruner, self.max_resources = pruner, full_length(plan)
        deciding = over_folds(pruner, plan.space)
        self._rounds = deciding.rounds(plan.size, self.max_resources)
        self._state_bytes = max(block.state_bytes for block in _sample_blocks(plan))
        self.share, paused = estimate_pruning(deciding, plan.size, self.max_resources)
        # Twice, while the states that several launches leave are joined.
        needed = 2 * paused * self._state_bytes
        if needed > (free := free_memory()):
            raise SpecError(
                f"up to {paused:,} trials pause at once, and what is kept of them takes "
                f"{format_bytes(needed)} of memory, of which {format_bytes(free)} are free: sweep "
                "a sample of the space, or see which pruner has smaller rungs (Hyperband, "
                "MedianStopping)"
            )
        self._column = plan.results.index(plan.options.metric)
        self._ledger: Ledger | None = None
        self._state = np.full(plan.size, State.PENDING, np.int8)
        self._value = np.full(plan.size, math.nan)
        self._ran = np.zeros(plan.size, bool)
        # Of each trial, its latest rows (of those below) and round; -1 for none.
        self._latest = np.full((2, plan.size), -1)
        self._launches: list[Rows] = []
        self._played: list[tuple[Round, np.ndarray]] = []
        self._paused = Paused()
        self._round: Round | None = None  # the one that is being played
        self._missing: set[int] = set()  # chunks of it that have not come in
        self._n_chunks = 0  # of all rounds so far
        self._is_over = False

    def keep_in(self, ledger: Ledger) -> None:
        """Keep rows in a ledger, and take from it those that it has."""
        self._ledger, self._chunk_size = ledger, ledger.chunk
        self.executor = "threads"

    @property
    def is_complete(self) -> bool:
        """Whether the last round is played."""
        return self._is_over

    def remaining(self) -> Iterator[Chunk | None]:
        """Yield the chunks of every round; None while the next round depends on what is missing."""
        losses = None
        while (round_ := next_round(self._rounds, losses)) is not None:
            self._round = round_
            yield from self._unknown_chunks(round_)
            self._latest[1, round_.trials] = len(self._played)
            self._played.append((round_, self._value[round_.trials]))
            self._round = None
            state, value = self._state[round_.trials], self._value[round_.trials]
            losses = losses_of(state, value, self.plan.options.mode)
        self._is_over = True

    def add(self, chunk: Chunk, rows: Rows) -> Future | None:
        """Take the rows of a chunk; if it was stopped in the middle, a ledger keeps none of it."""
        whole = len(rows) == len(chunk.ids)
        if self._ledger is not None and not whole:
            return None
        self.count(rows)
        self._ran[rows.ids] = True
        self._paused.take_over(rows.paused or Paused())
        self._record(dataclasses.replace(rows, paused=None))
        if whole:
            self._missing.discard(chunk.number)
        if self._ledger is None or self._round is None:
            return None
        return self._ledger.keep(self._round, chunk, rows)

    def count(self, rows: Rows) -> None:
        """Count rows that have run; trials count once, in their first round."""
        before = self.finished
        super().count(rows)
        self.finished = before

    def info(self, seconds: float, interrupted: bool) -> dict[str, Any]:
        """Return the facts of this run, as of any other, and of its pruner."""
        said = super().info(seconds, interrupted) | {"pruner": repr(self.pruner)}
        kept = {} if self._ledger is None else {"store": self._ledger.path, "reused": self.reused}
        return said | kept

    def result(self, seconds: float, interrupted: bool) -> Played:
        """Return what has come of it.

        After Ctrl-C, trials that have neither ended nor been pruned are left out.
        """
        if self._ledger is not None:
            self._ledger.wait()
        self.reused = self.finished - int(np.count_nonzero(self._ran))
        known = self._state != State.PENDING
        if self._round is not None:
            undecided = self._round.trials
            known[undecided] &= self._state[undecided] != State.PRUNED
        last = []
        for k, rows in enumerate(self._launches):
            last.append(rows.some(known[rows.ids] & (self._latest[0, rows.ids] == k)))
        rows = joined(self.plan, last)
        info = self.info(seconds, interrupted) | {"n_steps_full": self._full_steps(rows.ids)}
        places = [(round_.bracket, round_.rung) for round_, _ in self._played]
        rungs = np.array([*places, (-1, -1)])[self._latest[1, rows.ids]]
        return Played(parts_of(self.plan, rows, info), rungs, self._played)

    def _unknown_chunks(self, round_: Round) -> Iterator[Chunk | None]:
        """Yield the chunks of a round whose rows nobody knows, then None until all have come in."""
        going = np.isin(self._state[round_.trials], (State.PENDING, State.PRUNED))
        chunks = self._cut(round_, round_.trials[going])
        self._missing = {chunk.number for chunk in chunks}
        before, self._paused = self._paused, Paused()
        before.retain(round_.trials[going])
        for chunk, rows in () if self._ledger is None else self._ledger.known(round_, chunks):
            self._record(rows)
            self._missing.discard(chunk.number)
        ends = round_.n_resources >= self.max_resources
        unknown = [chunk for chunk in chunks if chunk.number in self._missing]
        for chunk in unknown:
            states = before if len(chunks) == 1 else before.some(chunk.ids)
            yield chunk._replace(stretch=Stretch(None if ends else round_.n_resources, states))
        while self._missing:
            yield None

    def _cut(self, round_: Round, going: np.ndarray) -> list[Chunk]:
        """Cut a round into chunks, numbered on from those of the rounds before."""
        if self._chunk_size is None:
            fits = MOST_STATE_BYTES // max(self._state_bytes, 1)
            size = max(1, min(launch_size(self.plan), fits))
        else:
            longer = max(1, self.max_resources // round_.n_resources)
            size = stretch_size(self.plan, self._chunk_size, longer, self._state_bytes)
        first = self._n_chunks
        lows = range(0, len(going), size)
        self._n_chunks += len(lows)
        return [Chunk(first + k, np.sort(going[low : low + size])) for k, low in enumerate(lows)]

    def _record(self, rows: Rows) -> None:
        self.finished += int(np.count_nonzero(self._state[rows.ids] == State.PENDING))
        self._state[rows.ids] = rows.state
        self._value[rows.ids] = rows.out[:, self._column]
        self._latest[0, rows.ids] = len(self._launches)
        self._launches.append(rows)

    def _full_steps(self, ids: np.ndarray) -> int:
        """Return the steps that trials would take if each went to its end."""
        size = chunking.MOST_TRIALS
        pieces = (ids[low : low + size] for low in range(0, len(ids), size))
        blocks = (block for piece in pieces for block in self.plan.blocks(piece, results=False))
        return sum(int(block.trials.settings["steps"].sum()) for block in blocks)
