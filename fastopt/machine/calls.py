"""Calling compiled code by its address, so that a kernel need not contain what it calls.

A kernel that closes over a function contains it: n problems and m rules make n m kernels, each with
a copy of the same loop. A kernel that takes addresses is compiled once, and so is every function
that it calls. A call by address costs some 2 ns and is never inlined: it is for functions that do
the work of a whole minibatch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from fastopt.code.cached import cached_property
from fastopt.code.signals import signals_held
from fastopt.code.uncompilable import in_two_lines
from fastopt.machine.arrays import address


class Callee(NamedTuple):
    """A function that is called by its address: arguments of :func:`address_of`."""

    kernel: Any
    returns: Any
    arguments: tuple
    # Of one core, some: long ones are compiled first, where several processes do.
    seconds: float = 0.5


class Callees:
    """Functions that are called by address: known before any of them is compiled.

    ``*wanted``: None stands for a function that there is not, whose address is 0.
    """

    def __init__(self, *wanted: Callee | None) -> None:
        self._wanted = wanted

    def __iter__(self) -> Iterator[Callee]:
        return (callee for callee in self._wanted if callee is not None)

    @property
    def compiled(self) -> bool:
        """Whether all of them are compiled, and their addresses known."""
        return "addresses" in vars(self)

    @cached_property
    def addresses(self) -> tuple[int, ...]:
        """Their addresses, in order; what is not compiled yet is."""
        return tuple(
            0 if callee is None else address_of(callee.kernel, callee.returns, *callee.arguments)
            for callee in self._wanted
        )


def address_of(kernel: Any, returns: Any, *arguments: Any) -> int:
    """Compile ``kernel`` for these Numba types, or load it; return where its machine code is.

    The kernel has to stay alive as long as the address is used: :func:`fastopt.compile.kernel`
    keeps all of its own. Raises TypeError if it returns something else than ``returns``. Raises
    CompileError if Numba cannot compile it.
    """
    with in_two_lines():
        kernel.compile(arguments)
    made = kernel.overloads[arguments]
    if made.signature.return_type != returns:
        raise TypeError(
            f"{kernel.py_func.__name__} returns {made.signature.return_type}, not {returns}"
        )
    with signals_held(), global_compiler_lock:
        return made.library.get_pointer_to_function(made.fndesc.llvm_func_name)


@intrinsic
def call(typingctx, address, like, args):
    """Call the code at ``address`` with the tuple ``args``; it returns a value of ``like``'s type.

    It is called as Numba's functions call each other, so what it raises is raised here. The code
    must have been compiled for exactly these types. Nothing can check that; so arrays must have
    the type that :func:`numba.typeof` gives any fresh one, which leaves dtype and dimensions.
    """
    for kind in args:
        if isinstance(kind, types.Array) and kind != types.Array(kind.dtype, kind.ndim, "C"):
            raise TypingError(f"call() takes writable C-contiguous arrays; got {kind}")

    def codegen(context, builder, signature, values):
        kinds = tuple(signature.args[2])
        function = context.call_conv.get_function_type(signature.return_type, kinds)
        callee = builder.inttoptr(values[0], function.as_pointer())
        status, result = context.call_conv.call_function(
            builder, callee, signature.return_type, kinds, cgutils.unpack_tuple(builder, values[2])
        )
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return result

    return types.unliteral(like)(types.int64, like, args), codegen


@intrinsic
def call_c(typingctx, function, args):
    """Call the C function ``int function(...)`` at an address with a tuple of words."""

    def codegen(context, builder, signature, values):
        word = ir.IntType(64)
        kinds = signature.args[1]
        words = [
            context.cast(builder, builder.extract_value(values[1], k), kind, types.int64)
            for k, kind in enumerate(kinds)
        ]
        kind = ir.FunctionType(ir.IntType(32), [word for _ in words])
        return builder.call(builder.inttoptr(values[0], kind.as_pointer()), words)

    return types.int32(types.int64, args), codegen


@intrinsic
def count_at(typingctx, address):
    """Add one to the int64 at an address."""

    def codegen(context, builder, signature, args):
        place = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        builder.store(builder.add(builder.load(place), ir.IntType(64)(1)), place)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def words_of(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return what compiled code knows of arrays, as int64: no owner, size, address, shape, strides.

    They are those of a tuple of arrays in Numba's data model (``arraystruct_t``), one after the
    other. The arrays have to stay alive as long as the words are used.

    >>> a = np.ones((2, 3))
    >>> words_of((a,)).tolist() == [0, 0, 6, 8, a.ctypes.data, 2, 3, 24, 8]
    True
    """
    words: list[int] = []
    for a in arrays:
        words += [0, 0, a.size, a.itemsize, address(a), *a.shape, *a.strides]
    return np.array(words, np.int64)


@functools.cache
def unpacked(kind: Any) -> Any:
    """Return ``unpack(words)``: the arrays, of the Numba type ``kind``, that the words describe.

    ``kind`` is a tuple of arrays, or of such tuples. The same function for the same type: kernels
    are known by what they are made of, and a new one for each optimizer took 130 kB and 11 ms.
    """

    @intrinsic
    def unpack(typingctx, words):
        def codegen(context, builder, signature, values):
            return _described(context, builder, signature.args[0], kind, values[0])

        return kind(words), codegen

    return unpack


def _described(context: Any, builder: Any, given: Any, kind: Any, words: Any) -> Any:
    """Return the arrays of the type ``kind`` that words describe."""
    array = make_array(given)(context, builder, words)
    stored = context.data_model_manager[kind].get_data_type()
    place = builder.bitcast(array.data, ir.PointerType(stored))
    return context.unpack_value(builder, kind, place)


RAW = types.int32
"""What raw arrays hold: as many of it as an element of any array has room for, one or two."""


def raw(a: np.ndarray) -> np.ndarray:
    """View a C-contiguous array, whatever it holds, as int32.

    >>> raw(np.zeros((2, 3))).shape, raw(np.zeros(3, np.float32)).shape
    ((2, 6), (3,))
    """
    return a.view(np.int32)


def raw_rows(a: np.ndarray) -> np.ndarray:
    """View an array of one or two dimensions as rows of int32.

    >>> raw_rows(np.zeros(3)).shape
    (3, 2)
    """
    return raw(a.reshape(len(a), *(a.shape[1:] or (1,))))


@functools.cache
def viewed(*kinds: Any) -> Any:
    """Return ``view(values)``: raw arrays seen as arrays of these types; a tuple from its words.

    What has None for a type stays what it is.

    With it a kernel that only hands arrays on is compiled once, whatever they hold: what it calls
    looks at them. An array of one dimension may be given as rows of one element. What is returned
    counts no references, so what is given has to stay alive.
    """

    @intrinsic
    def view(typingctx, values):
        made = types.Tuple(
            [own if kind is None else kind for own, kind in zip(values, kinds, strict=True)]
        )

        def codegen(context, builder, signature, args):
            parts = cgutils.unpack_tuple(builder, args[0])
            for k, (own, kind) in enumerate(zip(signature.args[0], kinds)):
                if isinstance(kind, types.BaseTuple):
                    parts[k] = _described(context, builder, own, kind, parts[k])
                elif isinstance(own, types.Array):
                    parts[k] = _seen(context, builder, own, kind or own, parts[k])
            return context.make_tuple(builder, made, parts)

        return made(values), codegen

    return view


def _seen(context: Any, builder: Any, given: Any, kind: Any, value: Any) -> Any:
    """Return a C-contiguous array, raw or of the type ``kind``, as one of that type."""
    source, target = make_array(given)(context, builder, value), make_array(kind)(context, builder)
    before, size = (context.get_abi_sizeof(context.get_data_type(a.dtype)) for a in (given, kind))
    shape = list(cgutils.unpack_tuple(builder, source.shape))
    shape[-1] = builder.sdiv(shape[-1], ir.IntType(64)(size // before))
    strides = [*cgutils.unpack_tuple(builder, source.strides)[:-1], ir.IntType(64)(size)]
    populate_array(
        target,
        data=builder.bitcast(source.data, target.data.type),
        shape=shape[: kind.ndim],
        strides=strides[-kind.ndim :],
        itemsize=ir.IntType(64)(size),
        meminfo=None,
    )
    return target._getvalue()
