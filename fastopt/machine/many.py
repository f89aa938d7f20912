"""Many separate arrays in one kernel call: tables for :func:`fastopt.machine.loops.launched`.

A loop over tensors pays a call for each (3 us in NumPy, 7 us in torch's fused kernel, which also
opens a team of threads for each); here all arrays of one rule and one dtype go in one parallel
region, cut in work items of equal size whatever the sizes of the arrays.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np

from fastopt.compile import kernel
from fastopt.machine.arrays import address
from fastopt.machine.lookup import ARRAYS, COUNTER, FAULTS, GRADIENT, PARAMETER, SLOTS, Lookup
from fastopt.machine.loops import COEFFICIENTS, LINE, SCATTERED, chunks_of, launched
from fastopt.machine.orders import order_of
from fastopt.machine.steps import PARALLEL_FROM, find_of, links_of
from fastopt.machine.threads import enter_parallel, leave_parallel
from fastopt.rules import Rule
from fastopt.rules.clocks import new_clock

BFLOAT16 = np.dtype(np.uint16)
"""Kind of arrays that hold the bits of bfloat16 numbers."""

Layout = tuple[tuple[int, ...], tuple[int, ...]]
"""Sizes of an array, and its strides in elements."""

_NO_BOUNDS = np.zeros((2, 0), np.int64)

ITEM = 8192
# Finding an array and its coefficients takes as long as this many elements.
OVERHEAD = 128


def work_items(sizes: np.ndarray, threads: int = 1) -> np.ndarray:
    """Cut arrays, one behind the other, in work items that take equally long.

    ``sizes`` of int64: number of elements of each array; zeros are fine. ``threads``: the number of
    items is a multiple of this, or less by one or two. Item ``k`` starts at element ``items[1, k]``
    of array ``items[0, k]`` and ends where item ``k + 1`` starts; the last pair is where everything
    ends.

    >>> work_items(np.array([5, 0, 10_000, 3]))
    array([[   0,    2,    4],
           [   0, 4864,    0]])
    """
    ends = np.cumsum(sizes + OVERHEAD)
    total = int(ends[-1]) if ends.size else 0
    count = -(-total // (ITEM * threads)) * threads
    size = -(-total // (count * LINE)) * LINE if count else ITEM
    starts = np.arange(0, total, size)
    segment = np.searchsorted(ends, starts, side="right")
    inside = starts - (ends - sizes)[segment]
    offset = np.maximum(inside, 0) // LINE * LINE
    return np.array([np.append(segment, sizes.size), np.append(offset, 0)])


@functools.cache
def _clock(rule: Rule) -> np.ndarray:
    return new_clock(rule, rule.pack())


@functools.cache
def _launcher() -> Any:
    return kernel(launched, nogil=False)


@functools.lru_cache(maxsize=16)
def _layout(shapes: tuple[Layout, ...]) -> tuple[np.ndarray, ...]:
    """Return, only to be read, sizes, all dimensions, the first of each array, and all numbers."""
    dims = [pair for shape, strides in shapes for pair in zip(shape, strides)]
    return (
        np.array([math.prod(shape) for shape, _ in shapes], np.int64),
        np.array(dims, np.int64).reshape(-1, 2),
        np.cumsum([0, *(len(shape) for shape, _ in shapes)]),
        np.arange(len(shapes)),
    )


class Many:
    """Arrays of one rule and dtype, each with its own clock, updated by one kernel call.

    A step finds the attributes by address: write to them, never replace them. It checks that the
    objects are where and what they were when checked; that no two of those written overlap is for
    the caller to check.

    * ``rule``: update rule of all of them.
    * ``kind``, ``slot_kind``: dtypes of parameters and gradients (float32, float64 or
      :data:`BFLOAT16`), and of the slots.
    * ``shapes`` (shape, strides): sizes of each array, and its strides in elements.
    * ``hyper`` (groups, hyperparameters) of float64: from :meth:`fastopt.rules.Rule.pack`, one row
      a group; read at each step.
    * ``groups``: which row of the hyperparameters each array takes.
    * ``lookup``: how the objects are asked where they are.
    * ``counts``: whether there are step counters outside, float32 arrays of no dimension.
    * ``clocks``: those of another :class:`Many` for the same arrays, to be shared with it.
    * ``objects``, ``checked`` (ndarray of object, shape (3 + slots, arrays)): step counter (or
      None), gradient (or None), parameter and slots, as they are to be stepped; and the same as the
      caller has checked them.
    * ``table`` (ndarray of int64, shape (3 + slots, arrays)): where those checked begin; in the row
      of gradients, where the last ones were.
    * ``clocks`` (arrays, length) of float64: advanced in place by a step.
    * ``active``, ndarray of int64: numbers of the arrays that have a gradient, in rising order; see
      :meth:`aim`.
    """

    def __init__(
        self,
        rule: Rule,
        kind: Any,
        slot_kind: Any,
        shapes: Sequence[Layout],
        hyper: np.ndarray,
        groups: Sequence[int] | np.ndarray,
        lookup: Lookup,
        *,
        counts: bool = False,
        clocks: np.ndarray | None = None,
    ) -> None:
        self.rule, self.lookup, self.hyper = rule, lookup, hyper
        self.kinds = tuple(map(np.dtype, (kind, kind, *(slot_kind for _ in rule.slots))))
        self.shapes = tuple(shapes)
        self.sizes, dims, first, everything = _layout(self.shapes)
        self.groups = np.array(groups, np.int64)
        rows = SLOTS + len(rule.slots), self.sizes.size
        self.objects, self.checked = np.empty(rows, object), np.empty(rows, object)
        self.table = np.zeros(rows, np.int64)
        self.clocks = np.tile(_clock(rule), (self.sizes.size, 1)) if clocks is None else clocks
        asked = self.kinds if lookup.shares_state else self.kinds[:2]
        codes = np.zeros(rows[0], np.int64)
        codes[GRADIENT : GRADIENT + len(asked)] = [lookup.codes[kind] for kind in asked]
        codes[COUNTER] = lookup.codes[np.dtype(np.float32)] if counts else 0
        self._where = {
            "codes": codes, "objects": self.objects, "checked": self.checked, "layout": dims,
            "first": first, "table": self.table,
        }  # fmt: skip
        self._nbytes = self.sizes * self.kinds[0].itemsize
        self.aim(everything, _NO_BOUNDS)

    def aim(self, active: np.ndarray, bounds: np.ndarray) -> None:
        """Step these arrays from now on.

        ``active`` of int64: their numbers, in rising order. ``bounds`` (2, n) of int64: where the
        disjoint ranges of memory begin, in rising order, and end, that no gradient may share.
        """
        self.active, self.bounds = active, bounds
        # Checked against these bounds they were not.
        self.table[GRADIENT] = 0

    def hold(self, row: int, k: int, item: Any) -> None:
        """Take an object that the caller has checked, as it lies now, for array ``k``."""
        self.objects[row, k] = self.checked[row, k] = item
        self.table[row, k] = self.lookup.address(item)

    def watch(self, row: int) -> None:
        """Look up this row of the objects, too: others can reach it."""
        codes = self._where["codes"]
        codes[row] = codes[PARAMETER]

    @property
    def weight(self) -> int:
        """How long a step takes, as a number of elements."""
        return sum(self.sizes[self.active].tolist()) + OVERHEAD * self.active.size

    def _items(self, parallel: bool) -> np.ndarray:
        if parallel:
            return work_items(self.sizes[self.active], numba.config.NUMBA_NUM_THREADS)
        return np.array([[0, self.active.size], [0, 0]] if self.active.size else [[0], [0]])

    def order(self, parallel: bool) -> tuple[list[int], list[np.ndarray]]:
        """Return the words of an order, and the arrays that it is made of.

        It is for the arrays that are active now. The parallel loop is compiled, and threads start,
        when it is first asked for, which a process may never do.
        """
        links, sizes = links_of(self.rule, self.kinds, parallel), self.sizes[self.active]
        chunks = chunks_of(sizes if self.rule.measure else sizes[:0])
        named = self._where | {
            "api": self.lookup.api, "bounds": self.bounds, "nbytes": self._nbytes,
            "clocks": self.clocks, "active": self.active, "links": links, "hyper": self.hyper,
            "groups": self.groups, "sizes": self.sizes, "items": self._items(parallel),
            "c": np.empty((sizes.size, links[COEFFICIENTS])), "chunks": chunks,
            "sums": np.empty(chunks.shape),
        }  # fmt: skip
        return order_of((find_of(self.lookup.locate), links[SCATTERED]), named), [*named.values()]


class Fault(NamedTuple):
    """What is not as it should be: with which of the arrays of a launch, and what.

    ``kind`` is :data:`fastopt.machine.lookup.MOVED`, ``CLASH`` or ``CLOCK``.
    """

    many: Many
    number: int
    kind: int


class Launch:
    """One step of all arrays that have a gradient, of any rules and dtypes, in one kernel call.

    The call holds the GIL from where it looks up the first array until the last is updated, so no
    other Python thread can move memory meanwhile, nor see a step half done. (It also releases none
    of the cores to one: two threads that step two optimizers take turns.)

    ``batches``: from now on as they are aimed. ``count`` of int64: the kernel counts its steps
    in the first, since a signal's exception may take the place of what the call returns.

    >>> from fastopt.machine.lookup import ARRAYS, GRADIENT, MOVED, PARAMETER
    >>> from fastopt.rules import RULES
    >>> rule, p, g = RULES["sgd"], np.ones(2), np.ones(2)
    >>> hyper = np.array([rule.pack({"lr": 0.5})])
    >>> many = Many(rule, p.dtype, p.dtype, [((2,), (1,))], hyper, [0], ARRAYS)
    >>> many.objects[GRADIENT, 0], many.objects[PARAMETER, 0] = g, p
    >>> launch = Launch([many])
    >>> launch.run().kind == MOVED  # nobody has checked the parameter
    True
    >>> many.hold(PARAMETER, 0, p)
    >>> launch.run(), p
    (None, array([0.5, 0.5]))
    """

    def __init__(self, batches: Iterable[Many], count: np.ndarray | None = None) -> None:
        self.batches = list(batches)
        self.count = np.zeros(1, np.int64) if count is None else count
        self._at = address(self.count)
        self._weight = sum(many.weight for many in self.batches)
        self._orders: list[int | None] = [None, None]
        self._kept: list[np.ndarray] = []
        self._run = _launcher()

    def run(self, is_trial: bool = False) -> Fault | None:
        """Step, or on a trial only find out whether a step could; return what is wrong, if any.

        If something is, nothing was written.
        """
        count = 0 if is_trial else self._at
        if self._weight < PARALLEL_FROM:  # asking whether it may be parallel takes 0.1 us
            fault = self._run(self._order(False), len(self.batches), count)
        else:
            token = enter_parallel(self._weight, PARALLEL_FROM)
            try:
                orders = self._order(token is not False)
                fault = self._run(orders, len(self.batches), count)
            finally:
                leave_parallel(token)
        if fault < 0:
            return None
        which, b = divmod(fault, len(self.batches))
        return Fault(self.batches[b], *divmod(which, FAULTS))

    def _order(self, parallel: bool) -> int:
        orders = self._orders[parallel]
        if orders is None:
            made = [many.order(parallel) for many in self.batches]
            words = np.array([words for words, _ in made], np.int64)
            self._kept += [words, *(a for _, arrays in made for a in arrays)]
            orders = self._orders[parallel] = address(words)
        return orders


def single(
    rule: Rule, hyper: np.ndarray, clock: np.ndarray, g: np.ndarray, x: Sequence[np.ndarray]
) -> Launch:
    """Return the step of one array alone, by the path of all others.

    * ``hyper`` (1, hyperparameters) of float64: read at each step.
    * ``clock`` (1, length) of float64: advanced in place by each step.
    * ``g`` (n,): the gradient, read at each step.
    * ``x`` (n,): parameter and slots, of the dtype of ``g`` and apart from it, which nobody checks.

    >>> from fastopt.rules import RULES
    >>> rule, p = RULES["sgd"], np.ones(2)
    >>> hyper, clock = np.array([rule.pack({"lr": 0.5})]), np.zeros((1, 1))
    >>> single(rule, hyper, clock, np.ones(2), [p]).run(), p, clock
    (None, array([0.5, 0.5]), array([[1.]]))
    """
    many = Many(rule, g.dtype, g.dtype, [(g.shape, (1,))], hyper, [0], ARRAYS, clocks=clock)
    for row, a in enumerate((g, *x), GRADIENT):
        many.hold(row, 0, a)
    return Launch([many])
