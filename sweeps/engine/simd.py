"""Block state of side-by-side trials: arrays on the stack, and tuples strided across lanes.

A block keeps quantity ``q`` of lane ``k`` at ``a[q * width + k]``, so that a loop over lanes reads
and writes whole SIMD vectors. LLVM vectorises such a loop only if it knows that the arrays do not
overlap: of arrays on the stack it does, of NumPy's it cannot, because their data pointers are
loaded from memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import load_item, make_array, populate_array, store_item

from fastopt.compile import inlinable

ALIGNMENT = 64  # a SIMD register, and a cache line


@intrinsic(prefer_literal=True)
def stacked(typingctx, like, a, size):
    """Return ``len(like)`` uninitialised 1-D arrays of ``size`` elements of the dtype of ``a``.

    They live on the stack of the function that calls this, and end with it; ``size`` is a constant.
    """
    if not isinstance(size, types.IntegerLiteral):
        raise TypingError("stacked() needs a constant size")
    array = types.Array(a.dtype, 1, "C")
    count, length = len(like), size.literal_value

    def codegen(context, builder, signature, args):
        element = context.get_data_type(array.dtype)
        width = context.get_constant(types.intp, context.get_abi_sizeof(element))
        arrays = []
        for _ in range(count):
            memory = cgutils.alloca_once(builder, ir.ArrayType(element, length))
            memory.align = ALIGNMENT
            view = make_array(array)(context, builder)
            populate_array(
                view,
                data=builder.bitcast(memory, view.data.type),
                shape=[context.get_constant(types.intp, length)],
                strides=[width],
                itemsize=width,
                meminfo=None,
            )
            arrays.append(view._getvalue())
        return context.make_tuple(builder, signature.return_type, arrays)

    return types.UniTuple(array, count)(like, a, size), codegen


def record_in(dtype: np.dtype) -> Any:
    """Return ``view(a)``: the record that the front of a flat array is."""
    kind = from_dtype(dtype)

    @intrinsic
    def view(typingctx, a):
        def codegen(context, builder, signature, args):
            data = make_array(signature.args[0])(context, builder, args[0]).data
            return builder.bitcast(data, context.get_value_type(kind))

        return kind(a), codegen

    return view


@intrinsic
def copy_record(typingctx, target, source):
    """Copy a record of compiled code.

    ``a[i] = b[j]`` makes LLVM load and store every byte apart, which took 35 s to compile for a
    record of 2560.
    """
    if target != source or not isinstance(target, types.Record):
        raise TypingError("copy_record() takes two records of one dtype")

    def codegen(context, builder, signature, args):
        count = context.get_constant(types.intp, target.size)
        cgutils.raw_memcpy(builder, *args, count, 1)
        return context.get_dummy_value()

    return types.void(target, source), codegen


@inlinable
def copy(target, source):
    """Fill a flat array from the front of another one."""
    for j in range(target.size):
        target[j] = source[j]


def _pointers(context, builder, signature, args, count):
    """Addresses of ``a[k], a[k + width], ...`` of an intrinsic called as ``(a, k, width, ...)``."""
    kind = signature.args[0]
    view = make_array(kind)(context, builder, args[0])
    k, width = (context.cast(builder, args[n], signature.args[n], types.intp) for n in (1, 2))
    for _ in range(count):
        yield cgutils.get_item_pointer(context, builder, kind, view, [k], wraparound=False)
        k = builder.add(k, width)


@intrinsic
def column(typingctx, a, k, width, like):
    """Read ``(a[k], a[k + width], a[k + 2 * width], ...)``, as many as the tuple ``like`` has."""

    def codegen(context, builder, signature, args):
        pointers = _pointers(context, builder, signature, args, len(signature.args[3]))
        values = [load_item(context, builder, signature.args[0], p) for p in pointers]
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(a.dtype, len(like))(a, k, width, like), codegen


def merging(common: tuple[bool, ...]) -> Any:
    """Return ``merge(a, b)``: a tuple with the elements of ``a`` where ``common`` is true."""

    @intrinsic
    def merge(typingctx, a, b):
        def codegen(context, builder, signature, args):
            values = [
                builder.extract_value(args[0 if is_common else 1], n)
                for n, is_common in enumerate(common)
            ]
            return context.make_tuple(builder, signature.return_type, values)

        return b(a, b), codegen

    return merge


@intrinsic
def put_column(typingctx, a, k, width, values):
    """Write the tuple ``values`` to ``a[k], a[k + width], a[k + 2 * width], ...``."""

    def codegen(context, builder, signature, args):
        kind, sources = signature.args[0], signature.args[3]
        pointers = _pointers(context, builder, signature, args, len(sources))
        for n, (source, pointer) in enumerate(zip(sources, pointers)):
            value = builder.extract_value(args[3], n)
            value = context.cast(builder, value, source, kind.dtype)
            store_item(context, builder, kind, value, pointer)
        return context.get_dummy_value()

    return types.void(a, k, width, values), codegen
