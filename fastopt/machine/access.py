"""Reading and writing state: tuples of arrays, unrolled at compile time, and words by address.

State travels as a tuple of 1-D arrays ``x = (p, *slots)``; :func:`take` and :func:`put` unroll over
it at compile time, so one loop serves any number of slots and LLVM still vectorises it (measured
equal to loops written out by hand; ``to_fixed_tuple`` is 4-6x slower). They are intrinsics because
recursive overloads compile one function an element: 130 functions and 30 s for a sweep kernel
instead of 60 and 12 s.

An array of uint16 holds the bits of bfloat16 numbers: they are computed with as float32.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import load_item, make_array, store_item

_INFINITE, _LARGEST = ir.IntType(32)(0x7F800000), ir.IntType(32)(0x7F7FFFFF)
"""Bits of float32: infinity, and the number before it."""


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Address of ``array[index]``; no wraparound, so nothing stands in the way of SIMD."""
    view = make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, view, [index], wraparound=False)


def _index(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return context.cast(builder, args[1], signature.args[1], types.intp)


def _number(kind: Any) -> Any:
    """Type that an element of an array is computed in: float32 for the bits of a bfloat16."""
    return types.float32 if kind.dtype == types.uint16 else kind.dtype


def _widened(builder: Any, bits: Any) -> Any:
    """Return the float32 with the bfloat16 ``bits`` as its upper half."""
    word = builder.zext(bits, ir.IntType(32))
    return builder.bitcast(builder.shl(word, word.type(16)), ir.FloatType())


def _narrowed(builder: Any, number: Any) -> Any:
    """Bits of the bfloat16 nearest to a float32, ties to even; a NaN stays one.

    All in 32 bits: Numba's own uint32 arithmetic goes through 64 and does not vectorise.
    """
    word = builder.bitcast(number, ir.IntType(32))
    upper = builder.lshr(word, word.type(16))
    odd = builder.and_(upper, word.type(1))
    rounded = builder.add(builder.add(word, word.type(0x7FFF)), odd)
    quiet = builder.or_(upper, word.type(0x40))
    is_nan = builder.fcmp_unordered("uno", number, number)
    chosen = builder.select(is_nan, quiet, builder.lshr(rounded, word.type(16)))
    return builder.trunc(chosen, ir.IntType(16))


def _flushed(builder: Any, number: Any, kind: Any) -> Any:
    """Return the number, or zero if it is subnormal; NaN stays.

    A test of the exponent's bits: it takes other units than the additions and products of an
    update do, and a comparison of magnitudes does not (2 % of AdamW in the caches).
    """
    width, exponent = (64, 0x7FF << 52) if kind == types.float64 else (32, 0xFF << 23)
    word = builder.bitcast(number, ir.IntType(width))
    small = builder.icmp_unsigned("==", builder.and_(word, word.type(exponent)), word.type(0))
    return builder.select(small, number.type(0.0), number)


@intrinsic
def take(typingctx, x, i):
    """Read element ``i`` of every array of the tuple ``x``: ``(x[0][i], x[1][i], ...)``."""

    def codegen(context, builder, signature, args):
        index = _index(context, builder, signature, args)
        values = []
        for k, kind in enumerate(signature.args[0]):
            array = builder.extract_value(args[0], k)
            pointer = _pointer(context, builder, kind, array, index)
            value = load_item(context, builder, kind, pointer)
            is_half = kind.dtype == types.uint16
            values.append(_widened(builder, value) if is_half else value)
        return context.make_tuple(builder, signature.return_type, values)

    return types.Tuple([_number(a) for a in x])(x, i), codegen


@intrinsic
def put(typingctx, x, i, values):
    """Write ``values[k]`` to ``x[k][i]`` for every array of ``x = (p, *slots)``.

    A subnormal number in a slot is written as zero: moments that die away would stay subnormal for
    hundreds of steps, each taking 40 times as long as a normal one (pytorch#3863). The select costs
    nothing where memory is the limit.
    """

    def codegen(context, builder, signature, args):
        index = _index(context, builder, signature, args)
        for k, (kind, source) in enumerate(zip(signature.args[0], signature.args[2])):
            value = context.cast(builder, builder.extract_value(args[2], k), source, _number(kind))
            value = _flushed(builder, value, _number(kind)) if k else value
            value = _narrowed(builder, value) if kind.dtype == types.uint16 else value
            array = builder.extract_value(args[0], k)
            pointer = _pointer(context, builder, kind, array, index)
            store_item(context, builder, kind, value, pointer)
        return context.get_dummy_value()

    return types.void(x, i, values), codegen


@intrinsic
def load(typingctx, a, like):
    """Read the 1-D array ``a`` as a tuple as long as the tuple ``like``."""

    def codegen(context, builder, signature, args):
        kind = signature.args[0]
        values = []
        for k in range(len(signature.args[1])):
            index = context.get_constant(types.intp, k)
            pointer = _pointer(context, builder, kind, args[0], index)
            values.append(load_item(context, builder, kind, pointer))
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(a.dtype, len(like))(a, like), codegen


@intrinsic
def store(typingctx, a, values):
    """Write the tuple ``values`` to the first elements of the 1-D array ``a``."""

    def codegen(context, builder, signature, args):
        kind = signature.args[0]
        for k, source in enumerate(signature.args[1]):
            value = context.cast(builder, builder.extract_value(args[1], k), source, kind.dtype)
            index = context.get_constant(types.intp, k)
            store_item(
                context, builder, kind, value, _pointer(context, builder, kind, args[0], index)
            )
        return context.get_dummy_value()

    return types.void(a, values), codegen


def _rounded(context: Any, builder: Any, number: Any, source: Any, kind: Any) -> Any:
    """Round a number to the type ``kind``: one that is not zero, and finite, stays so.

    An eps that became zero would divide zero by zero where a gradient is zero, and a factor that
    became infinite would multiply by infinity.
    """
    rounded = context.cast(builder, number, source, kind)
    if (source, kind) != (types.float64, types.float32):
        return rounded
    bits, sign = builder.bitcast(rounded, ir.IntType(32)), ir.IntType(32)(1 << 31)
    size, sign = builder.and_(bits, builder.not_(sign)), builder.and_(bits, sign)
    kept = builder.select(builder.icmp_unsigned("==", size, size.type(0)), size.type(1), size)
    kept = builder.select(builder.icmp_unsigned("==", size, _INFINITE), _LARGEST, kept)
    zero, infinite = number.type(0.0), number.type(math.inf)
    other = builder.fcmp_unordered("ueq", number, zero)  # zero, NaN or infinite
    for end in (infinite, builder.fneg(infinite)):
        other = builder.or_(other, builder.fcmp_ordered("==", number, end))
    kept = builder.bitcast(builder.or_(kept, sign), rounded.type)
    return builder.select(other, rounded, kept)


@intrinsic
def cast(typingctx, values, a):
    """Round every number of the tuple ``values`` to the dtype of the array ``a``."""

    def codegen(context, builder, signature, args):
        kind = _number(signature.args[1])
        rounded = [
            _rounded(context, builder, builder.extract_value(args[0], k), source, kind)
            for k, source in enumerate(signature.args[0])
        ]
        return context.make_tuple(builder, signature.return_type, rounded)

    return types.UniTuple(_number(a), len(values))(values, a), codegen


@intrinsic
def word_at(typingctx, address):
    """Return the int64 at an address."""

    def codegen(context, builder, signature, args):
        return builder.load(builder.inttoptr(args[0], ir.IntType(64).as_pointer()))

    return types.int64(types.int64), codegen
