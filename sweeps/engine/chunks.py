"""Chunks: the pieces of a sweep that are run, sent away, retried and stored as one.

Chunk ``k`` is a run of consecutive trial numbers. Where chunks begin and end is a pure function of
the checked plan, never of the machine, the number of workers or the executor, and a trial has the
same bits in every chunk: so a chunk may run anywhere, and any number of times.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, overload

import numpy as np

from fastopt.compile import compilations
from sweeps.common.states import State
from sweeps.engine.ahead import compile_together
from sweeps.engine.block import Block, lengthened
from sweeps.engine.checkpoints import Paused, Stretch
from sweeps.engine.plan import Plan
from sweeps.engine.run_blocks import compile_block, run_together

# Nanoseconds of one core that a chunk should cost, by the model, which is right within a factor of
# two or three: short enough to lose little, long enough to hide some 10 ms of storing or sending.
LEAST, MOST = 200_000_000, 1_000_000_000
# Chunks that a short sweep is cut into, rather than into longer ones, so that all cores have some.
ENOUGH = 64
# Trials, and bytes of results with curves, that a chunk or launch may have: bounds memory.
MOST_TRIALS, MOST_BYTES = 1 << 16, 1 << 25
# Bytes of states that are sent along with a chunk, and come back: dask warns of more than 10 MB.
MOST_STATES = 1 << 23


class Chunk(NamedTuple):
    """Trials to run together.

    ``number`` says which chunk of the sweep it is, ``ids`` ``(n,)`` which trials of it are to run,
    in increasing order: all, unless the results of some are known already. ``stretch`` says how far
    they go, if not to their end.
    """

    number: int
    ids: np.ndarray
    stretch: Stretch | None = None


class Chunks(Sequence[Chunk]):
    """All chunks of a sweep, made one at a time: a sweep of 10^12 trials has a length, too.

    ``n_trials``: trials of the sweep. ``size``: trials of a chunk; the last one may have fewer.

    >>> chunks = Chunks(10, 4)
    >>> len(chunks), chunks[2].ids, [chunk.number for chunk in chunks[1:]]
    (3, array([8, 9]), [1, 2])
    """

    def __init__(self, n_trials: int, size: int) -> None:
        self.n_trials, self.size = n_trials, size

    def __len__(self) -> int:
        return -(-self.n_trials // self.size)

    @overload
    def __getitem__(self, k: int) -> Chunk: ...
    @overload
    def __getitem__(self, k: slice) -> list[Chunk]: ...
    def __getitem__(self, k: int | slice) -> Chunk | list[Chunk]:
        """Return chunk ``k``, or a list of them."""
        number = range(len(self))[k]
        if isinstance(number, range):
            return [self[i] for i in number]
        low = number * self.size
        return Chunk(number, np.arange(low, min(low + self.size, self.n_trials)))

    def trials_in(self, numbers: range) -> int:
        """Return how many trials the chunks with these numbers have.

        >>> Chunks(10, 4).trials_in(range(0, 3, 2))
        6
        """
        missing = -self.n_trials % self.size if len(self) - 1 in numbers else 0
        return len(numbers) * self.size - missing


@dataclass(frozen=True)
class Rows:
    """What trials came to, in arrays that can be pickled and sent.

    * ``ids`` (n,) of int64: numbers of the finished trials, increasing.
    * ``state`` (n,) of int8: positions in :data:`sweeps.results.STATES`.
    * ``out`` (n, len(plan.results)) of float64: what was measured.
    * ``curves`` (n, points, len(plan.curve)) of float64: NaN past the end of a trial; no points if
      curves are not recorded.
    * ``cost``: nanoseconds of one core by the cost model: what progress counts.
    * ``errors``: trial number -> why it FAILED.
    * ``facts``: what is true of this run of the trials and not of their results: ``host``, ``pid``,
      ``began`` (seconds since 1970), ``seconds``, ``compile_seconds``, ``wait_seconds`` (those
      before the first trial began), ``compiled`` (functions).
    * ``paused``: the states of those that paused, which are PRUNED unless they go on.
    """

    ids: np.ndarray
    state: np.ndarray
    out: np.ndarray
    curves: np.ndarray
    cost: int
    errors: Mapping[int, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    paused: Paused | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def some(self, places: np.ndarray) -> Rows:
        """Return the rows at these places, or where a mask is true."""
        cells = self.ids[places], self.state[places], self.out[places], self.curves[places]
        errors = {i: self.errors[i] for i in cells[0].tolist() if i in self.errors}
        return Rows(*cells, self.cost, errors)


def chunk_size(plan: Plan) -> int:
    """Return how many trials make a chunk of this sweep: some 0.2 to 2 s of one core.

    Returns at least 1, at most :data:`MOST_TRIALS`, and of at most :data:`MOST_BYTES` of results.
    Lanes are filled, since empty ones take as long: chunks of 356 trials took 7 % longer than of
    352.
    """
    seen = plan.sample
    share = int(seen.cost * plan.size) // ENOUGH
    fits = max(plan.n_lanes, min(max(share, LEAST), MOST) // seen.heavy)
    size = max(1, min(fits, MOST_BYTES // seen.row, MOST_TRIALS))
    return size // plan.n_lanes * plan.n_lanes or size


def stretch_size(plan: Plan, chunk: int, longer: int, state_bytes: int) -> int:
    """Return how many trials make a chunk that pauses: as much work as a chunk of whole trials.

    ``chunk``: trials of a chunk that go to their end. ``longer``: how many times as long the
    longest trial is. ``state_bytes``: of a paused trial.
    """
    # Curves have room for whole trials, however short the stretch is.
    size = min(chunk if plan.options.curves else chunk * longer, MOST_TRIALS)
    size = max(1, min(size, MOST_STATES // max(state_bytes, 1)))
    return size // plan.n_lanes * plan.n_lanes or size


def launch_size(plan: Plan) -> int:
    """Return how many trials to hand to the kernel at once where nothing is sent or stored.

    Launches bound memory only. The fewer the better: at the end of each, cores wait for the last.
    """
    if not plan.options.curves:
        return MOST_TRIALS
    return max(1, min(MOST_TRIALS, 16 * MOST_BYTES // plan.sample.row))


def longest_first(plan: Plan, chunks: Iterable[Chunk | None]) -> Iterator[Chunk | None]:
    """Yield chunks, of those with few trials always the longest of the next :data:`ENOUGH`.

    Where each worker takes one, a long one that is begun last is waited for by all. Chunks of many
    trials are about as long as each other. None, for chunks that depend on others, stays in place.
    """
    left: list[tuple[int, Chunk]] = []
    for chunk in chunks:
        if chunk is None or len(chunk.ids) > ENOUGH:
            yield from (known for _, known in left)
            # While those went out what None stands for may have come: it is asked for again.
            if chunk is not None or not left:
                yield chunk
            left = []
            continue
        blocks = plan.blocks(chunk.ids, results=False)
        left.append((-sum(int(block.cost.sum()) for block in blocks), chunk))
        left.sort(key=lambda known: known[0])
        if len(left) == ENOUGH:
            yield left.pop(0)[1]
    yield from (known for _, known in left)


def run_chunk(
    plan: Plan,
    ids: np.ndarray,
    workers: int = 1,
    watch: Callable[[int, int, float | None], Any] | None = None,
    stop: threading.Event | None = None,
    stretch: Stretch | None = None,
) -> Rows:
    """Run trials on this machine; the answer does not depend on what else runs, or where.

    ``stretch``: how far they go; to their end by default. Returns the finished trials: fewer than
    ``ids`` only if it was told to stop.
    """
    if stretch is None:
        return run_blocks(plan, plan.blocks(ids), workers, watch, stop)
    blocks = stretch.blocks(plan, ids)
    rows, paused = run_blocks(plan, blocks, workers, watch, stop), Paused()
    for block in blocks:
        paused.keep(block, np.flatnonzero(block.trials.state == State.PRUNED))
    return dataclasses.replace(rows, paused=paused)


def run_blocks(
    plan: Plan,
    blocks: Sequence[Block],
    workers: int = 1,
    watch: Callable[[int, int, float | None], Any] | None = None,
    stop: threading.Event | None = None,
) -> Rows:
    """Run trials that are laid out already.

    Returns the finished trials: all but those that were left when it was told to stop.
    ``watch(cost, done, best)`` is called about 20 times a second: the cost and the number of these
    trials that are finished, and their best metric so far. ``stop``: set it from elsewhere to end
    early; Ctrl-C on the main thread does the same.
    """
    began, clock, known = time.time(), time.perf_counter(), len(compilations())
    elsewhere, compiling, waiting = 0, 0.0, 0.0

    def look(cost: int, done: int) -> None:
        if watch is not None:
            watch(cost, done, _best(plan, blocks))

    def launches() -> Iterator[list[Block]]:
        nonlocal elsewhere, compiling, waiting
        to_run = by_kernel(blocks)
        for k, together in enumerate(to_run):
            start = time.perf_counter()
            # First what the first trials need, so that they begin, then all that others do.
            if k < 2:
                soon = to_run[k:] if k else to_run[:1]
                elsewhere += compile_together(itertools.chain.from_iterable(soon), workers)
            for block in together:
                compile_block(block)
            compiling += time.perf_counter() - start
            waiting = waiting or compiling  # for the first: later, trials run meanwhile
            yield together

    run_together(launches(), workers, look, stop)
    ended = [block.cost[block.trials.state != State.PENDING] for block in blocks]
    cost = sum(int(costs.sum()) for costs in ended)
    facts = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "began": began,
        "seconds": time.perf_counter() - clock,
        "compile_seconds": compiling,
        "wait_seconds": waiting,
        "compiled": len(compilations()) - known + elsewhere,
    }
    return _rows(plan, blocks, cost, facts)


def by_kernel(blocks: Iterable[Block]) -> list[list[Block]]:
    """Put blocks of one kernel together, that of the longest trial first: it is begun first."""
    groups = itertools.groupby(blocks, key=lambda block: block.rule.kernel_parts)
    together = [list(alike) for _, alike in groups]
    return sorted(together, key=lambda alike: -max(int(block.cost.max()) for block in alike))


def _rows(plan: Plan, blocks: Sequence[Block], cost: int, facts: Mapping[str, Any]) -> Rows:
    """Put the finished trials of all blocks in the order of their numbers."""
    if len(blocks) == 1 and (blocks[0].trials.state != State.PENDING).all():
        # Its rows are in order: a copy of them took a third of the engine's overhead.
        only = blocks[0].trials
        return Rows(blocks[0].ids, only.state, only.out, only.curves, cost, {}, facts)
    ids = np.concatenate([block.ids for block in blocks])
    state = np.concatenate([block.trials.state for block in blocks])
    out = np.concatenate([block.trials.out for block in blocks])
    points = max(block.trials.curves.shape[1] for block in blocks)
    curves = np.concatenate([lengthened(block.trials.curves, points) for block in blocks])
    order = np.argsort(ids, kind="stable")
    order = order[state[order] != State.PENDING]
    return Rows(ids[order], state[order], out[order], curves[order], cost, {}, facts)


def _best(plan: Plan, blocks: Sequence[Block]) -> float | None:
    bests = [best_of(plan, block.trials.state, block.trials.out) for block in blocks]
    return better(plan, *bests)


def best_of(plan: Plan, state: np.ndarray, out: np.ndarray) -> float | None:
    """Return the best metric of the trials that are COMPLETE; None if there are none."""
    values = out[state == State.COMPLETE, plan.results.index(plan.options.metric)]
    if not len(values):
        return None
    return float(values.max() if plan.options.mode == "max" else values.min())


def better(plan: Plan, *metrics: float | None) -> float | None:
    """Return the best of these metrics; None stands for no trial."""
    known = [metric for metric in metrics if metric is not None]
    if not known:
        return None
    return max(known) if plan.options.mode == "max" else min(known)
