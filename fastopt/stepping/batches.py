"""Segments of one rule and one dtype, which one kernel call updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastopt.errors import ArrayError
from fastopt.machine.arrays import Extents, aligned_zeros, check_array, check_like
from fastopt.machine.lookup import ARRAYS, GRADIENT, PARAMETER
from fastopt.machine.many import Many
from fastopt.rules import Rule
from fastopt.rules.base import ZERO, begin
from fastopt.rules.clocks import new_clock
from fastopt.stepping.fused import AVERAGE, Extras


class Piece(NamedTuple):
    """One tensor of a segment: elements ``start`` to ``stop``, called ``key`` by the user."""

    key: Any
    array: np.ndarray
    shape: tuple[int, ...]
    start: int
    stop: int

    def of(self, a: np.ndarray) -> np.ndarray:
        """Return this tensor's part of an array of the segment, in the tensor's shape."""
        return a.reshape(-1)[self.start : self.stop].reshape(self.shape)


class Segment:
    """Contiguous memory with its slots and its clock: one array, or a whole arena.

    ``path``, ``suffix``: how messages call it, and its gradient after ``grads``. Its memory may
    move between steps, its shape and dtype may not change. ``pieces``: the user's tensors in it.
    """

    def __init__(self, path: str, suffix: str, array: np.ndarray, pieces: list[Piece]) -> None:
        self.path, self.suffix, self.array, self.pieces = path, suffix, array, pieces
        self.shape, self.dtype = array.shape, array.dtype
        self.slots: dict[str, np.ndarray] = {}
        self.clock = np.zeros(0)

    @property
    def steps(self) -> int:
        """Number of steps taken since the slots were zero."""
        return int(self.clock[0])

    def empty_slot(self, place: int) -> np.ndarray:
        """Return zeros in the shape of the array, aligned like :func:`aligned_zeros` aligns."""
        return aligned_zeros(self.array.size, self.dtype, place).reshape(self.shape)

    def bind(self, rule: Rule, h: tuple[float, ...]) -> None:
        """Get the slots and the clock that ``rule`` needs, keeping what is there already."""
        fresh = [name for name in rule.slots if name not in self.slots]
        for name in fresh:
            self.slots[name] = self.empty_slot(2 + rule.slots.index(name))
        if self.clock.size:
            self._fill(rule, h, fresh)
        own = len(rule.slots) - (AVERAGE in rule.slots)
        if not self.clock.size or (fresh and len(fresh) >= own):
            self.clock = new_clock(rule, h)

    def begin(self, rule: Rule, h: tuple[float, ...]) -> None:
        """Make ready for a first step: clock and slots start from parameters and ``h`` of now."""
        self.clock[:] = new_clock(rule, h)
        self._fill(rule, h, rule.slots)

    def _fill(self, rule: Rule, h: tuple[float, ...], names: Sequence[str]) -> None:
        for name, source in zip(rule.slots, rule.starts[1:]):
            if name in names and source != ZERO:
                begin(source, h, self.array, self.slots[name])

    def locate(self, index: int) -> tuple[Any, int]:
        """Return the key of the tensor that holds element ``index`` and its flat index there."""
        for piece in self.pieces:
            if piece.start <= index < piece.stop:
                return piece.key, index - piece.start
        return "padding", index

    def check(self) -> None:
        """Refuse an array that is no longer what the optimizer was made for."""
        check_array(self.path, self.array)
        if (self.array.shape, self.array.dtype) != (self.shape, self.dtype):
            raise ArrayError(
                f"{self.path} has shape {self.array.shape} and dtype {self.array.dtype}, but had "
                f"shape {self.shape} and dtype {self.dtype} when the optimizer was made, and so "
                "has its state. Make a new optimizer."
            )

    def check_gradient(self, where: str, g: Any, extents: Extents) -> None:
        """Refuse a gradient that does not fit, or lies in memory that a step writes to."""
        check_like(where, g, self.dtype, self.shape)
        owner = extents.find(g)
        if owner is not None:
            raise ArrayError(
                f"{where} shares memory with {owner}, which the step writes to. "
                "Compute the gradient in an array of its own."
            )


class Batch:
    """Segments of one rule and one dtype.

    ``row``, ndarray of object: the gradients for the next step, or None, one a segment.

    * ``rule``: how they are updated.
    * ``segments``: bound to ``rule``; from now on their clocks are views of those of the batch.
    * ``places``: which items of the gradients that a group is given are theirs.
    * ``hyper`` (2, hyperparameters): read at each step: those of matrices, those of others; see
      :meth:`fastopt.rules.Rule.rows`.
    * ``is_whole``: whether the group has no other segments.
    """

    def __init__(
        self,
        rule: Rule,
        segments: Sequence[Segment],
        places: Sequence[int],
        hyper: np.ndarray,
        is_whole: bool,
    ) -> None:
        self.segments, self._places = segments, None if is_whole else places
        kind, shapes = segments[0].dtype, [(s.shape, s.shape) for s in segments]
        rows = [int(len(s.shape) < 2) for s in segments]
        self.many = Many(rule, kind, kind, shapes, hyper, rows, ARRAYS)
        self.row = self.many.objects[GRADIENT]
        for k, segment in enumerate(segments):
            arrays = segment.array, *(segment.slots[name] for name in rule.slots)
            for row, a in enumerate(arrays, PARAMETER):
                self.many.objects[row, k] = a
            self.many.clocks[k] = segment.clock
            segment.clock = self.many.clocks[k]

    def put(self, items: Sequence[Any]) -> None:
        """Take gradients for the next step, one item a segment of the group."""
        if self._places is not None:
            items = [items[k] for k in self._places]
        if len(items) == 1:
            self.row[0] = items[0]
        else:
            self.row[:] = np.fromiter(items, object, len(items))

    @property
    def gradients(self) -> list[tuple[Segment, np.ndarray]]:
        """Segments that have a gradient, and theirs."""
        return [(s, g) for s, g in zip(self.segments, self.row) if g is not None]

    def check(self, extents: Extents) -> None:
        """Check parameters; add the memory that a step writes to."""
        for segment in self.segments:
            segment.check()
            extents.add(segment.path, segment.array)
            for name in self.many.rule.slots:
                extents.add(f"the optimizer's {name!r} of {segment.path}", segment.slots[name])

    def settle(self, bounds: np.ndarray) -> None:
        """Take the objects as they are now for the checked ones; step those with a gradient."""
        many = self.many
        for (row, k), a in np.ndenumerate(many.objects[PARAMETER:]):
            many.hold(PARAMETER + row, k, a)
        active = [k for k, g in enumerate(self.row) if g is not None]
        many.aim(np.array(active, np.int64), bounds)

    def extended(self, extras: Extras) -> Many:
        """Return what steps the rule with ``extras``, of which :meth:`refresh` tells it each time.

        Where gradients are cleared, they are the last array, too.
        """
        own, rule = self.many, extras.rule(self.many.rule)
        kind, hyper = own.kinds[0], np.zeros((2, len(rule.hyper)))
        many = Many(rule, kind, kind, own.shapes, hyper, own.groups, ARRAYS, clocks=own.clocks)
        for mine, its in (
            (many.objects, own.objects),
            (many.checked, own.checked),
            (many.table, own.table),
        ):
            mine[: len(its)] = its
        if extras.clears:
            many.watch(-1)
        many.aim(own.active, own.bounds)
        return many

    def refresh(self, many: Many, extras: Extras) -> None:
        """Give ``many``, from :meth:`extended`, the gradients that a trial found, and numbers."""
        own, n = self.many, self.many.hyper.shape[1]
        many.objects[GRADIENT], many.table[GRADIENT] = self.row, own.table[GRADIENT]
        if extras.clears:
            many.objects[-1] = many.checked[-1] = self.row
            many.table[-1] = own.table[GRADIENT]
        many.hyper[:, :n], many.hyper[:, n:] = own.hyper, extras.numbers
