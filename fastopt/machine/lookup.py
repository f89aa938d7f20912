"""Where the arrays of a step lie, asked of the arrays themselves at the moment of the step.

Between two steps anyone may resize an array, replace it, move it to shared memory or make it
read-only, and another thread may do so at any time. So no address is kept: a step is one call of
compiled code that holds the GIL, asks each object where its elements are and whether it still is
what it was checked to be, and only then writes. No Python runs in between.

What differs between NumPy and torch is how an object is asked: :class:`Lookup`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from fastopt.compile import inlinable, jitable
from fastopt.machine.access import word_at
from fastopt.machine.arrays import HEAD, address
from fastopt.machine.orders import arrays_of, length, reads, writes

COUNTER, GRADIENT, PARAMETER, SLOTS = range(4)
"""Rows of the objects of a step; from ``SLOTS`` on come the slots of the rule, in its order."""

MOVED, CLASH, CLOCK = range(3)
"""What may be wrong: an object is not as it was checked, a gradient shares memory with what is
written, a step counter does not agree with its clock."""
FAULTS = 3


class Lookup(NamedTuple):
    """How to ask one kind of object where its elements are.

    * ``locate``: ``locate(order, code, is_written, item, first, ndim) -> address``
      for the object at the address ``item``; -1 if it is not of the dtype ``code``, or its sizes
      (and strides) are not the ``ndim`` rows of the order's ``layout`` from ``first`` on.
    * ``api``: what ``locate`` finds in the order; the first element is the address of None.
    * ``codes``: for each dtype what ``locate`` knows it by.
    * ``address``: ``address(object) -> address``, of one that was checked.
    * ``shares_state``: whether others can reach the slots, so that they have to be asked, too.
    """

    locate: Any
    api: np.ndarray
    codes: Mapping[np.dtype, int]
    address: Callable[[Any], int]
    shares_state: bool


API, LAYOUT = reads("api"), reads("layout")
"""What ``locate`` reads of an order."""


@jitable
def overlapping(order, low, high):
    """Tell whether ``[low, high)`` meets any of the sorted, disjoint ranges of an order."""
    left, right = 0, _count_bounds(order)
    while left < right:
        middle = (left + right) // 2
        if _bounds(order, 0, middle) < high:
            left = middle + 1
        else:
            right = middle
    return left > 0 and _bounds(order, 1, left - 1) > low


_bounds, _count_bounds = reads("bounds"), length("bounds")


def finding(locate: Callable) -> Callable:
    """Template of ``find(order)``: look up everything a step touches; -1, or what is wrong.

    ``objects[r, k]`` is the address of the Python object in row ``r`` for array ``k``, and
    ``checked[r, k]`` that of the one that was checked, and lay at ``table[r, k]``. A gradient may
    be any object that fits; it is compared with ``bounds``, the memory that steps write to, when it
    lies elsewhere than the last one. Only arrays in ``active``, in rising order, have a gradient.
    What is wrong with array ``k`` comes back as ``FAULTS * k + fault``.
    """
    counter_at = arrays_of((np.dtype(np.float32),))
    codes, objects, checked, first, table, nbytes, clocks, active = map(
        reads, ("codes", "objects", "checked", "first", "table", "nbytes", "clocks", "active")
    )
    note, count_rows, count, count_active = (
        writes("table"), length("objects", 0), length("objects"), length("active")
    )  # fmt: skip

    def row_fault(order, k, r):
        item, is_gradient = objects(order, r, k), r == GRADIENT
        if not is_gradient and item != checked(order, r, k):
            return MOVED
        begin = first(order, k)
        ndim = 0 if r == COUNTER else first(order, k + 1) - begin
        place = locate(order, codes(order, r), not is_gradient, item, begin, ndim)
        if place == -1:
            return MOVED
        if place == table(order, r, k):
            return -1
        if not is_gradient:
            return MOVED
        if nbytes(order, k) and overlapping(order, place, place + nbytes(order, k)):
            return CLASH
        note(order, r, k, place)
        return -1

    fault_of = inlinable(row_fault)

    def find(order):
        position = 0
        for k in range(count(order)):
            is_active = position < count_active(order) and active(order, position) == k
            if (objects(order, GRADIENT, k) != API(order, 0)) != is_active:
                return FAULTS * k + MOVED
            if not is_active:
                continue
            position += 1
            for r in range(count_rows(order)):
                if codes(order, r) == 0:  # nobody else can reach those arrays, or there are none
                    continue
                fault = fault_of(order, k, r)
                if fault >= 0:
                    return FAULTS * k + fault
            if codes(order, COUNTER) != 0:
                (counter,) = counter_at(order, COUNTER, k, 1)
                if counter[0] != np.float32(clocks(order, k, 0)):
                    return FAULTS * k + CLOCK
        return -1

    return find


# NumPy's PyArrayObject and PyArray_Descr as every extension module has them compiled in
# (PyArray_DATA, PyArray_DIMS, PyArray_FLAGS are macros): words behind the head of all objects.
TYPE = HEAD - 8
"""Where an object has the address of its type."""
_DATA, _NDIM, _DIMS, DESCR, _FLAGS = (HEAD + 8 * k for k in (0, 1, 2, 5, 6))
KIND = HEAD + 8
# Of that word of a dtype: its byte order and its number. The rest may differ, and so may the
# object: an array that was pickled has a dtype of its own.
_KIND_MASK = 0xFF0000 | 0x7FFFFFFF << 32
_C_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400
_LOWER_HALF = 0xFFFFFFFF


def array_address(order, code, is_written, item, first, ndim):
    """Return the address of the elements of a NumPy array; see :class:`Lookup`."""
    kind = word_at(item + TYPE)
    if kind != API(order, 1) and kind != API(order, 2):
        return -1
    needed = _C_CONTIGUOUS | _ALIGNED | _WRITEABLE if is_written else _C_CONTIGUOUS | _ALIGNED
    if word_at(item + _FLAGS) & needed != needed:
        return -1
    if word_at(word_at(item + DESCR) + KIND) & _KIND_MASK != code:
        return -1
    if word_at(item + _NDIM) & _LOWER_HALF != ndim:
        return -1
    dims = word_at(item + _DIMS)
    for axis in range(ndim):
        if word_at(dims + 8 * axis) != LAYOUT(order, first + axis, 0):
            return -1
    return word_at(item + _DATA)


_read = ctypes.c_int64.from_address


def _code(dtype: np.dtype) -> int:
    return _read(id(dtype) + KIND).value & _KIND_MASK


def _check_layout() -> None:
    """Compare what is read of an array with what NumPy says of it."""
    a = np.ones((3, 2), np.float32)[1:]
    dims = _read(id(a) + _DIMS).value
    places = *(id(a) + k for k in (TYPE, HEAD, DESCR)), dims, dims + 8
    found = [_read(at).value for at in places]
    found += [_read(id(a) + k).value & _LOWER_HALF for k in (_NDIM, _FLAGS)]
    found += [_code(a.dtype) >> 32, _code(a.dtype) >> 16 & 0xFF]
    told = [id(np.ndarray), a.ctypes.data, id(a.dtype), 2, 2, 2, a.flags.num, a.dtype.num, ord("=")]
    if found != told:
        raise ImportError(
            f"NumPy {np.__version__} lays out its arrays as {found}, not as {told}: fastopt cannot "
            "find their memory in this build of Python and NumPy"
        )


_check_layout()

ARRAYS = Lookup(
    inlinable(array_address),
    np.array([id(None), id(np.ndarray), id(np.memmap)]),
    {dtype: _code(dtype) for dtype in map(np.dtype, (np.float32, np.float64))},
    address,
    shares_state=False,
)
"""For NumPy arrays: C-contiguous and aligned, and writeable where a step writes."""
