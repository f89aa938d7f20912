"""Subnormal numbers count as zero in the threads that run trials.

They are below 1e-38 in float32: a softmax of sure outputs holds some, the tails of GELU, whatever
dies away. Where they do not change a loss they change its price: some Intel CPUs take 150 cycles
for each operation that meets one. On digits a network of GELUs took 10 to 30 times as long for
that, and one of ReLUs 9 times at the larger learning rates. XLA, and so JAX, does the same; the
mode is a thread's own, and a thread of ours has what it had before once its trials have ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

_WORD, _LONG, _TEXT = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()


def _call(builder: Any, name: str, result: Any, *args: Any) -> Any:
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _read_x86(builder: Any) -> Any:
    place = cgutils.alloca_once(builder, _WORD)
    _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), builder.bitcast(place, _TEXT))
    return builder.zext(builder.load(place), _LONG)


def _write_x86(builder: Any, mode: Any) -> None:
    place = cgutils.alloca_once_value(builder, builder.trunc(mode, _WORD))
    _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), builder.bitcast(place, _TEXT))


def _read_arm(builder: Any) -> Any:
    return _call(builder, "llvm.aarch64.get.fpcr", _LONG)


def _write_arm(builder: Any, mode: Any) -> None:
    _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), mode)


class _Register(NamedTuple):
    """The register that says how numbers are treated: how it is read and written, and the bits."""

    read: Callable
    write: Callable
    flush: int


# On x86 one bit flushes results to zero, another takes arguments for zero; on ARM one says both.
_ARM = _Register(_read_arm, _write_arm, 1 << 24)
_REGISTERS = {
    "x86_64": _Register(_read_x86, _write_x86, 0x8040),
    "aarch64": _ARM,
    "arm64": _ARM,
}
# On a machine that we do not know subnormal numbers stay what they are.
_NONE = _Register(lambda builder: _LONG(0), lambda builder, mode: None, 0)


def _register() -> _Register:
    """Return that of the machine which code is compiled for."""
    machine = cpu_target.target_context.codegen().magic_tuple()[0].partition("-")[0]
    return _REGISTERS.get(machine, _NONE)


@intrinsic
def flush_subnormals(typingctx):
    """Have this thread take subnormal numbers for zero; return the mode that it had before."""

    def codegen(context, builder, signature, args):
        register = _register()
        before = register.read(builder)
        register.write(builder, builder.or_(before, _LONG(register.flush)))
        return before

    return types.int64(), codegen


@intrinsic
def restore(typingctx, mode):
    """Give this thread back the mode that :func:`flush_subnormals` returned."""

    def codegen(context, builder, signature, args):
        _register().write(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
