"""Whether the arrays of an embedded step are what its machine code was made for.

Types are compared when the call is compiled. But Numba knows the items of a tuple, and arrays that
are not aligned, by a fingerprint without the byte order: once it has seen native ones, it takes
others for the same and computes with their bytes as they lie (Numba 0.68). An array says who owns
it, though, and a NumPy array its byte order: both are asked at each step, for some nanoseconds.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from fastopt.compile import jitable
from fastopt.errors import ArrayTypeError
from fastopt.machine.lookup import byte_order_at

SIZES, MEMORY = 1, 2
"""What may be wrong when a step runs: see :func:`fitting`."""

_FOREIGN = ord("<" if sys.byteorder == "big" else ">")
# What Numba's C function writes of an array: five words, and two a dimension, of 64 at most.
_SCRATCH = 5 + 2 * 64


def _faults_of_step(n_hyper: int, n_slots: int, h: Any, clock: Any, g: Any, x: Any) -> str:
    """Return what is wrong with the Numba types of the arguments of an embedded step, or ''."""
    numbers = types.float64, types.int64
    if not (isinstance(h, types.BaseTuple) and len(h) == n_hyper and set(h) <= set(numbers)):
        return f"h must be a tuple of {n_hyper} floats (fastopt.hyper makes it); got {h}"
    if not (_is_flat(clock, types.float64) and clock.mutable):
        return f"clock must be a writable 1-D float64 array (fastopt.clock makes it); got {clock}"
    if not (isinstance(x, types.BaseTuple) and len(x) == 1 + n_slots):
        return f"x must be a tuple (p, *fastopt.slots(...)) of {1 + n_slots} arrays; got {x}"
    kind = getattr(x[0], "dtype", None)
    if kind not in (types.float32, types.float64) or not all(_is_flat(a, kind) for a in (g, *x)):
        return f"g and x must be 1-D arrays, all of float32 or all of float64; got {(g, *x)}"
    read_only = not all(a.mutable for a in x)
    return f"the arrays of x are updated in place, but one is read-only: {x}" if read_only else ""


def _is_flat(a: Any, dtype: Any) -> bool:
    return isinstance(a, types.Array) and a.ndim == 1 and a.dtype == dtype


@intrinsic
def is_array(typingctx, owner):
    """Tell whether the Python object at an address is a NumPy array: Numba's C function knows."""

    def codegen(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [byte, byte])
        adapt = cgutils.get_or_insert_function(builder.module, kind, "numba_adapt_ndarray")
        scratch = cgutils.alloca_once(builder, ir.ArrayType(ir.IntType(64), _SCRATCH))
        words = builder.inttoptr(args[0], byte), builder.bitcast(scratch, byte)
        return builder.icmp_signed("==", builder.call(adapt, words), ir.IntType(32)(0))

    return types.boolean(types.int64), codegen


def fitting(n_clock: int, n_hyper: int, n_slots: int) -> Any:
    """Return ``fault(h, clock, g, x)``: what is wrong with the arrays of a step; 0 if nothing is.

    ``SIZES``: they are not those of a step. ``MEMORY``: an array is not aligned, or of another byte
    order.

    Raises
    ------
    ArrayTypeError
        When a call is compiled: arguments of these types no step can take.
    """

    @intrinsic
    def described(typingctx, h, clock, g, x):
        """Return of each array: size, bytes from an aligned address, address of the owner or 0."""
        fault = _faults_of_step(n_hyper, n_slots, h, clock, g, x)
        if fault:
            raise ArrayTypeError(f"an embedded step: {fault}")
        words = types.UniTuple(types.int64, 3)

        def codegen(context, builder, signature, args):
            kinds = signature.args[1], signature.args[2], *signature.args[3]
            values = args[1], args[2], *cgutils.unpack_tuple(builder, args[3])
            found = []
            for kind, value in zip(kinds, values):
                a = make_array(kind)(context, builder, value)
                place, owner = (builder.ptrtoint(at, a.nitems.type) for at in (a.data, a.parent))
                offset = builder.urem(place, place.type(kind.dtype.bitwidth // 8))
                found.append(context.make_tuple(builder, words, (a.nitems, offset, owner)))
            return context.make_tuple(builder, signature.return_type, found)

        return types.UniTuple(words, 3 + n_slots)(h, clock, g, x), codegen

    def fault(h, clock, g, x):
        found = described(h, clock, g, x)
        if found[0][0] != n_clock:
            return SIZES
        for size, _, _ in found[1:]:
            if size != found[1][0]:
                return SIZES
        for _, offset, owner in found:
            if offset != 0:
                return MEMORY
            if owner != 0 and is_array(owner) and byte_order_at(owner) == _FOREIGN:
                return MEMORY
        return 0

    return jitable(fault)
