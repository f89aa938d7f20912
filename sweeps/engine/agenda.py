"""What threads run next: the longest trials first, whichever kernel they take.

Trials of several kernels and shapes are one list: gone through block by block, four trials of four
optimizers took two cores as long as one. Where lengths differ the longest must begin first, so each
block is cut into groups of trials about as long, and groups are taken by length. The list may grow
while threads are at it, as kernels come out of the compiler.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sweeps.engine import queue
from sweeps.engine.block import Block

# Lengths are told apart by steps of a fourth of an octave: what is in a group may begin in any
# order, which costs a fifth of its longest trial at most.
STEPS = 4


class TrialGroup:
    """Trials of a block that are about as long, and the counters of those who run them.

    ``run``: the kernel of the block. ``order`` (n,) of int64: its items to be run, the longest
    first.
    """

    def __init__(self, run: Callable, block: Block, order: np.ndarray) -> None:
        self.control, self.length = queue.controls(), int(block.item_cost[order[0]])
        self._run, self._runners, self._items, self.block = run, 0, len(order), block
        self._data = self.control, order, block.item_cost, block.table, block.constants()

    def enter(self) -> bool:
        """Let one more thread run it, if there may be an item for it."""
        if self._runners >= self._items or self.control[queue.NEXT] >= self._items:
            return False
        self._runners += 1
        return True

    def run(self) -> None:
        """Run items until none is left: the work of one thread."""
        self._run(*self._data)


def groups_of(run: Callable, block: Block) -> Iterator[TrialGroup]:
    """Cut a block, whose kernel is ``run``, into groups."""
    order = np.argsort(-block.item_cost, kind="stable")
    level = np.floor(STEPS * np.log2(np.maximum(block.item_cost[order], 1)))
    for part in np.split(order, np.flatnonzero(np.diff(level)) + 1):
        if len(part):
            yield TrialGroup(run, block, part)


class Agenda:
    """Groups of trials, taken by threads until the last is done and no more will come."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._groups: list[TrialGroup] = []
        self._left: list[TrialGroup] = []
        self._more = True

    def add(self, run: Callable, blocks: Sequence[Block]) -> None:
        """Add blocks of one kernel."""
        groups = [group for block in blocks for group in groups_of(run, block)]
        with self._changed:
            self._groups += groups
            self._left = sorted([*self._left, *groups], key=lambda group: -group.length)
            self._changed.notify_all()

    def close(self) -> None:
        """Tell threads that what is there is all."""
        with self._changed:
            self._more = False
            self._changed.notify_all()

    def stop(self) -> None:
        """Have threads leave what they are at, at their next step, and take nothing more."""
        with self._changed:
            self._left = []
            for group in self._groups:
                group.control[queue.STOP] = 1
        self.close()

    def work(self) -> None:
        """Run one group after the other: the work of one thread."""
        while (group := self._next()) is not None:
            group.run()

    def done(self, what: int) -> int:
        """Return one of the counters, :data:`queue.COST` or :data:`queue.DONE`, of all groups."""
        return sum(int(group.control[what]) for group in self._groups)

    def _next(self) -> TrialGroup | None:
        """Wait for a group and enter it; None once there will be no more."""
        with self._changed:
            while (group := self._entered()) is None and self._more:
                self._changed.wait()
            return group

    def _entered(self) -> TrialGroup | None:
        """Enter the longest group that there is."""
        while self._left:
            if self._left[0].enter():
                return self._left[0]
            self._left.pop(0)
        return None
