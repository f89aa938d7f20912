"""Subnormal numbers count as zero in the threads that run trials.

They are below 1e-38 in float32: a softmax of sure outputs holds some, the tails of GELU, whatever
dies away. Where they do not change a loss they change its price: some Intel CPUs take 150 cycles
for each operation that meets one. On digits a network of GELUs took 10 to 30 times as long for
that, and one of ReLUs 9 times at the larger learning rates. XLA, and so JAX, does the same; the
mode is a thread's own, and a thread of ours has what it had before once its trials have ended.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

# Flush results to zero, and take arguments for zero, in the control register of SSE and AVX; one
# bit says both on ARM.
_X86, _ARM = 0x8040, 1 << 24
_WORD, _LONG, _TEXT = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()


def _is(machine: str | tuple[str, ...]) -> bool:
    return cpu_target.target_context.codegen().magic_tuple()[0].startswith(machine)


def _call(builder: Any, name: str, result: Any, *args: Any) -> Any:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _read(builder: Any) -> Any:
    """Read the control register; zero on a machine that we do not know."""
    if _is("x86_64"):
        place = cgutils.alloca_once(builder, _WORD)
        _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), builder.bitcast(place, _TEXT))
        return builder.zext(builder.load(place), _LONG)
    if _is(("aarch64", "arm64")):
        return _call(builder, "llvm.aarch64.get.fpcr", _LONG)
    return _LONG(0)


def _write(builder: Any, mode: Any) -> None:
    if _is("x86_64"):
        place = cgutils.alloca_once_value(builder, builder.trunc(mode, _WORD))
        _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), builder.bitcast(place, _TEXT))
    elif _is(("aarch64", "arm64")):
        _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), mode)


@intrinsic
def flush_subnormals(typingctx):
    """Have this thread take subnormal numbers for zero; return the mode that it had before."""

    def codegen(context, builder, signature, args):
        before = _read(builder)
        _write(builder, builder.or_(before, _LONG(_X86 if _is("x86_64") else _ARM)))
        return before

    return types.int64(), codegen


@intrinsic
def restore(typingctx, mode):
    """Give this thread back the mode that :func:`flush_subnormals` returned."""

    def codegen(context, builder, signature, args):
        _write(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
