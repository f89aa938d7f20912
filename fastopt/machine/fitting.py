"""Whether the arrays of an embedded step are what its machine code was made for.

Types are compared when the call is compiled. But Numba knows the items of a tuple, and arrays that
are not aligned, by a fingerprint without the byte order: once it has seen native ones, it takes
others for the same and computes with their bytes as they lie (Numba 0.68). An array says who owns
it, though, and a NumPy array its byte order: both are asked at each step.
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from fastopt.errors import ArrayTypeError
from fastopt.machine.lookup import DESCR, KIND

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


def _is_foreign(module: Any) -> Any:
    """Return the function of a module that tells whether an object is an array to be refused.

    It takes the object's address, or 0, and asks Numba's C function whether that is an array. The
    type and byte order of an array never change, so it is called pure: it leaves a user's loop
    over steps (inside, it took 90 of 285 ns of Adam on two elements).
    """
    name = "fastopt.is_foreign"
    if name in module.globals:
        return module.globals[name]
    word, number, byte = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.IntType(1), [word]), name)
    function.linkage = "internal"
    function.attributes.update(("noinline", "nounwind", "readnone", "willreturn"))
    builder = ir.IRBuilder(function.append_basic_block())
    (owner,) = function.args

    def word_at(place: Any, offset: int) -> Any:
        return builder.load(builder.inttoptr(builder.add(place, word(offset)), word.as_pointer()))

    with builder.if_then(builder.icmp_unsigned("!=", owner, word(0))):
        called = ir.FunctionType(number, [byte, byte])
        adapt = cgutils.get_or_insert_function(module, called, "numba_adapt_ndarray")
        scratch = builder.bitcast(builder.alloca(word, _SCRATCH), byte)
        found = builder.call(adapt, (builder.inttoptr(owner, byte), scratch))
        with builder.if_then(builder.icmp_unsigned("==", found, number(0))):
            order = builder.lshr(word_at(word_at(owner, DESCR), KIND), word(16))
            order = builder.and_(order, word(0xFF))
            builder.ret(builder.icmp_unsigned("==", order, word(_FOREIGN)))
    builder.ret(cgutils.false_bit)
    return function


def fitting(n_clock: int, n_hyper: int, n_slots: int, stamp: Any) -> Any:
    """Return ``fault(h, clock, g, x)``: what is wrong with the arrays of a step; 0 if nothing is.

    ``stamp``: an object that is pickled with the machine code wherever Numba stores it.

    ``SIZES``: they are not those of a step. ``MEMORY``: an array is not aligned, or of another byte
    order.

    Raises
    ------
    ArrayTypeError
        When a call is compiled: arguments of these types no step can take.
    """

    @intrinsic
    def fault(typingctx, h, clock, g, x):
        wrong = _faults_of_step(n_hyper, n_slots, h, clock, g, x)
        if wrong:
            raise ArrayTypeError(f"an embedded step: {wrong}")

        def codegen(context, builder, signature, args):
            context.environment.consts.append(stamp)
            kinds = signature.args[1], signature.args[2], *signature.args[3]
            values = args[1], args[2], *cgutils.unpack_tuple(builder, args[3])
            arrays = [make_array(kind)(context, builder, a) for kind, a in zip(kinds, values)]
            clocks, *sizes = (a.nitems for a in arrays)
            word, is_foreign = clocks.type, _is_foreign(builder.module)
            fits = builder.icmp_signed("==", clocks, word(n_clock))
            for size in sizes[1:]:
                fits = builder.and_(fits, builder.icmp_signed("==", sizes[0], size))
            is_ours = cgutils.true_bit
            for kind, a in zip(kinds, arrays):
                place, owner = (builder.ptrtoint(at, word) for at in (a.data, a.parent))
                offset = builder.and_(place, word(kind.dtype.bitwidth // 8 - 1))
                is_ours = builder.and_(is_ours, builder.icmp_signed("==", offset, word(0)))
                foreign = builder.call(is_foreign, [owner])
                is_ours = builder.and_(is_ours, builder.not_(foreign))
            moved = builder.select(is_ours, word(0), word(MEMORY))
            return builder.select(fits, moved, word(SIZES))

        return types.int64(h, clock, g, x), codegen

    return fault
