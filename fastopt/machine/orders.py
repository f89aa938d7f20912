"""What a step takes: its order, words in memory that compiled code reads by their address.

An order has the addresses of what finds and of what steps, then those of arrays and their sizes.
Functions that took the arrays, or made them from the words, took twice as long to compile.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from fastopt.machine.arrays import address

_LIST, _TABLE = (np.int64, 1), (np.int64, 2)
_ROWS = (np.float64, 2)
_ARRAYS = {
    "api": _LIST, "codes": _LIST, "objects": _TABLE, "checked": _TABLE, "layout": _TABLE,
    "first": _LIST, "table": _TABLE, "bounds": _TABLE, "nbytes": _LIST, "clocks": _ROWS,
    "active": _LIST, "links": _LIST, "hyper": _ROWS, "groups": _LIST, "sizes": _LIST,
    "items": _TABLE, "c": _ROWS, "chunks": _TABLE, "sums": _ROWS,
}  # fmt: skip
"""The arrays of an order: name -> dtype and dimensions. Each takes an address, and its sizes."""

FIND, STEP, _FIRST = range(3)
"""Where an order has the addresses of what finds and of what steps; then come its arrays."""


def _places() -> dict[str, int]:
    places, place = {}, _FIRST
    for name, (_, ndim) in _ARRAYS.items():
        places[name], place = place, place + 1 + ndim
    return {**places, "": place}


_PLACES = _places()
WORDS = _PLACES[""]
"""How many words an order has."""

_WORD = ir.IntType(64)


def order_of(called: Iterable[int], named: Mapping[str, np.ndarray]) -> list[int]:
    """Return the words of an order; the arrays have to stay alive as long as they are used."""
    arrays = [named[name] for name in _ARRAYS]
    return [*called, *(word for a in arrays for word in (address(a), *a.shape))]


def _word(builder: Any, order: Any, name: str, k: int) -> Any:
    """Return word ``k`` of an array: its address, then its sizes."""
    words = builder.inttoptr(order, _WORD.as_pointer())
    return builder.load(builder.gep(words, [_WORD(_PLACES[name] + k)]))


def _pointer(context: Any, builder: Any, name: str, signature: Any, args: Any) -> Any:
    """Return the pointer to an element, for an intrinsic of ``(order, index, ...)``."""
    dtype, ndim = _ARRAYS[name]
    flat, *inner = (
        context.cast(builder, args[1 + k], signature.args[1 + k], types.int64) for k in range(ndim)
    )
    for index in inner:
        flat = builder.add(builder.mul(flat, _word(builder, args[0], name, 2)), index)
    element = context.get_value_type(from_dtype(np.dtype(dtype)))
    start = builder.inttoptr(_word(builder, args[0], name, 0), element.as_pointer())
    return builder.gep(start, [flat])


@functools.cache
def reads(name: str) -> Any:
    """Return ``read(order, i)`` or ``read(order, i, j)``: an element of an array of an order."""
    dtype, ndim = _ARRAYS[name]
    kind = from_dtype(np.dtype(dtype))

    def codegen(context, builder, signature, args):
        return builder.load(_pointer(context, builder, name, signature, args))

    def in_list(typingctx, order, i):
        return kind(order, i), codegen

    def in_table(typingctx, order, i, j):
        return kind(order, i, j), codegen

    return intrinsic(in_list if ndim == 1 else in_table)


@functools.cache
def writes(name: str) -> Any:
    """Return ``write(order, i, j, value)``: set an element of an array of an order."""
    kind = from_dtype(np.dtype(_ARRAYS[name][0]))

    @intrinsic
    def write(typingctx, order, i, j, value):
        def codegen(context, builder, signature, args):
            number = context.cast(builder, args[3], signature.args[3], kind)
            builder.store(number, _pointer(context, builder, name, signature, args))
            return context.get_dummy_value()

        return types.void(order, i, j, value), codegen

    return write


@functools.cache
def length(name: str, axis: int = -1) -> Any:
    """Return ``size(order)``: how long an array of an order is."""
    place = 1 + axis % _ARRAYS[name][1]

    @intrinsic
    def size(typingctx, order):
        def codegen(context, builder, signature, args):
            return _word(builder, args[0], name, place)

        return types.int64(order), codegen

    return size


def _array(context: Any, builder: Any, kind: Any, start: Any, size: Any) -> Any:
    """Return an array of the 1-D Numba type ``kind`` that begins at an address."""
    array = make_array(kind)(context, builder)
    width = context.get_constant(types.intp, kind.dtype.bitwidth // 8)
    data = builder.inttoptr(start, array.data.type)
    populate_array(array, data=data, shape=[size], strides=[width], itemsize=width, meminfo=None)
    return array._getvalue()


@functools.cache
def rows(name: str) -> Any:
    """Return ``row(order, i)``: a row of an array of an order, as an array."""
    kind = types.Array(from_dtype(np.dtype(_ARRAYS[name][0])), 1, "C")

    @intrinsic
    def row(typingctx, order, i):
        def codegen(context, builder, signature, args):
            size = _word(builder, args[0], name, 2)
            index = context.cast(builder, args[1], signature.args[1], types.int64)
            offset = builder.mul(builder.mul(index, size), size.type(8))
            start = builder.add(_word(builder, args[0], name, 0), offset)
            return _array(context, builder, kind, start, size)

        return kind(order, i), codegen

    return row


def arrays_of(dtypes: tuple[np.dtype, ...]) -> Any:
    """Return ``at(order, row, column, size)``: 1-D arrays of ``size`` elements of these dtypes.

    Array ``k`` starts at the address ``table[row + k, column]`` of the order.
    """
    kinds = types.Tuple([types.Array(from_dtype(dtype), 1, "C") for dtype in dtypes])

    @intrinsic
    def at(typingctx, order, row, column, size):
        def codegen(context, builder, signature, args):
            row, column, size = (
                context.cast(builder, args[k], signature.args[k], types.int64) for k in (1, 2, 3)
            )
            whole = types.void(types.int64, types.int64, types.int64)
            arrays = []
            for k, kind in enumerate(kinds):
                where = args[0], builder.add(row, row.type(k)), column
                start = builder.load(_pointer(context, builder, "table", whole, where))
                arrays.append(_array(context, builder, kind, start, size))
            return context.make_tuple(builder, kinds, arrays)

        return kinds(order, row, column, size), codegen

    return at
