"""Many separate arrays in one kernel call: the tables that :func:`fastopt.loops.scattered` reads.

A loop over tensors pays a call for each (3 us in NumPy, 7 us in torch's fused kernel, which also
opens a team of threads for each); here all arrays of one rule and one dtype go in one parallel
region, cut in work items of equal size whatever the sizes of the arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from fastopt.calls import unpacked, words_of
from fastopt.clocks import new_clock
from fastopt.compile import kernel
from fastopt.loops import LINE, ordered
from fastopt.rules import Rule
from fastopt.steps import ARGUMENTS, PARALLEL_FROM, links_of
from fastopt.threads import enter_parallel, leave_parallel

__all__ = ["BFLOAT16", "COUNTER", "GRADIENT", "PARAMETER", "Many", "work_items"]  # fmt: skip

BFLOAT16 = np.dtype(np.uint16)
"""Kind of arrays that hold the bits of bfloat16 numbers."""

COUNTER, GRADIENT, PARAMETER, SLOTS = range(4)
"""Rows of :attr:`Many.table`; from ``SLOTS`` on come the slots of the rule, in its order."""

ITEM = 8192
# Finding an array and its coefficients takes as long as this many elements.
OVERHEAD = 128


def work_items(sizes: np.ndarray, threads: int = 1) -> np.ndarray:
    """Cut arrays, one behind the other, in work items that take equally long.

    Parameters
    ----------
    sizes : ndarray of int64
        Number of elements of each array; zeros are fine.
    threads : int
        The number of items is a multiple of this, or less by one or two.

    Returns
    -------
    items : ndarray of int64, shape (2, number of items + 1)
        Item ``k`` starts at element ``items[1, k]`` of array ``items[0, k]`` and ends where item
        ``k + 1`` starts; the last pair is where everything ends.

    Examples
    --------
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


class Many:
    """Arrays of one rule and dtype, each with its own clock, updated by one kernel call.

    Parameters
    ----------
    rule : Rule
        Update rule of all of them.
    kind, slot_kind : dtype
        Of parameters and gradients (float32, float64 or :data:`BFLOAT16`), and of the slots.
    sizes : sequence of int
        Number of elements of each array.
    groups : sequence of int
        Which row of the hyperparameters each array takes.
    clocks : ndarray, optional
        Those of another :class:`Many` for the same arrays, to be shared with it.

    Attributes
    ----------
    table : ndarray of int64, shape (3 + slots, arrays)
        Addresses: step counter (a float32 outside, or 0 for none), gradient, parameter, slots. The
        caller fills them in, and keeps the memory alive during :meth:`step`.
    clocks : ndarray of float64, shape (arrays, length)
        Advanced in place by :meth:`step`.

    Notes
    -----
    Nothing is checked: no address may be wrong, and no two written arrays may overlap. A step finds
    ``table`` and ``clocks`` by address too: write to them, never replace them. Results have the
    bits that :func:`fastopt.steps.stepper` gives for each array alone.

    Examples
    --------
    >>> from fastopt.rules import RULES
    >>> rule = RULES["sgd"]
    >>> p, g = [np.ones(2), np.ones(3)], [np.ones(2), np.ones(3)]
    >>> many = Many(rule, np.float64, np.float64, [2, 3], [0, 1])
    >>> many.table[GRADIENT] = [a.ctypes.data for a in g]
    >>> many.table[PARAMETER] = [a.ctypes.data for a in p]
    >>> fast, slow = rule.pack({"lr": 0.5}), rule.pack({"lr": 0.25})
    >>> many.step(np.array([fast, slow]), np.array([0, 1]))
    -1
    >>> p
    [array([0.5, 0.5]), array([0.75, 0.75, 0.75])]
    """

    def __init__(
        self,
        rule: Rule,
        kind: Any,
        slot_kind: Any,
        sizes: Sequence[int] | np.ndarray,
        groups: Sequence[int] | np.ndarray,
        clocks: np.ndarray | None = None,
    ) -> None:
        self.rule = rule
        self.kinds = tuple(map(np.dtype, (kind, kind, *(slot_kind for _ in rule.slots))))
        self.sizes = np.array(sizes, np.int64)
        self.groups = np.array(groups, np.int64)
        self.everything = np.arange(self.sizes.size)
        self.table = np.zeros((SLOTS + len(rule.slots), self.sizes.size), np.int64)
        h = rule.pack()
        if clocks is None:
            clocks = np.tile(new_clock(rule, h), (self.sizes.size, 1))
        self.clocks = clocks
        self._run = kernel(ordered, unpacked(ARGUMENTS))
        self._prepare(np.array([h]), self.everything)

    def step(self, hyper: np.ndarray, active: np.ndarray) -> int:
        """Update the arrays ``active``, in place, and advance their clocks.

        Parameters
        ----------
        hyper : ndarray of float64, shape (groups, hyperparameters)
            From :meth:`fastopt.rules.Rule.pack`, one row a group. Passing the same array again
            (with new contents) saves preparing the call.
        active : ndarray of int64
            Numbers of the arrays that have a gradient.

        Returns
        -------
        int
            -1; or, if the step counter of an array does not agree with its clock, the position in
            ``active`` of the first such array: then nothing was changed.
        """
        others = active is not self._active and not np.array_equal(active, self._active)
        if others or hyper is not self._hyper:
            self._prepare(hyper, active)
        token = enter_parallel(self._weight, PARALLEL_FROM)
        parallel = token is not False
        order = self._orders[parallel]
        try:
            return self._run(self._order(parallel) if order is None else order)
        finally:
            leave_parallel(token)

    def _prepare(self, hyper: np.ndarray, active: np.ndarray) -> None:
        sizes = self.sizes[active]
        self._hyper, self._active = hyper, active
        self._items = work_items(sizes, numba.config.NUMBA_NUM_THREADS)
        self._weight = int(sizes.sum()) + OVERHEAD * sizes.size
        self._orders: list[np.ndarray | None] = [None, None]

    def _order(self, parallel: bool) -> np.ndarray:
        # When first needed: a parallel loop starts threads, which a process may never need.
        links = links_of(self.rule, self.kinds, parallel)
        order = self._orders[parallel] = words_of(
            (
                links, self._hyper, self.groups, self.clocks, self.sizes, self.table, self._active,
                self._items,
            )
        )  # fmt: skip
        return order
