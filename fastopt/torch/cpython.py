"""Python's and torch's own C functions, for compiled code that takes the GIL.

Each attribute of a tensor takes Python 60 ns to read, twice that once a step has pushed its objects
out of the caches, and a step needs four or five of each parameter and gradient: half of its time
for 160 tensors of 1 000 elements. Compiled code asks the same functions without an interpreter.
"""

from __future__ import annotations

import ctypes
import functools

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastopt.compile import jitable

__all__ = ["call", "find", "interface", "locked", "python"]

# Slots of the array that compiled code gets: addresses of functions ...
_FUNCTIONS = (
    "PyErr_Clear", "PyObject_GetAttr", "PyObject_IsTrue", "PyObject_Vectorcall", "Py_DecRef",
    "PyDict_Next", "PyList_GetItem", "PyGILState_Ensure", "PyGILState_Release",
)  # fmt: skip
CLEAR, GET, IS_TRUE, INVOKE, DROP, NEXT, ITEM, LOCK, UNLOCK = range(9)
# ... and of objects, and of DLPack's function that fills in a DLTensor.
GRAD, NONE, IS_NEG, FILL = range(9, 13)
_OBJECTS = ("grad", None, torch.Tensor.is_neg)

# Words of a DLPackExchangeAPI.
_VERSION, _FILL, _API_WORDS = 0, 5, 7


def _emit(context, builder, signature, args, width):
    """Call the C function at an address with words; an integer of ``width`` bits comes back."""
    word = ir.IntType(64)
    words = [
        context.cast(builder, builder.extract_value(args[1], k), kind, types.int64)
        for k, kind in enumerate(signature.args[1])
    ]
    function = ir.FunctionType(ir.IntType(width), [word for _ in words])
    return builder.call(builder.inttoptr(args[0], function.as_pointer()), words)


@intrinsic
def call(typingctx, function, arguments):
    """Call ``int function(...)`` with a tuple of integers and pointers."""

    def codegen(context, builder, signature, args):
        return _emit(context, builder, signature, args, 32)

    return types.int32(function, arguments), codegen


@intrinsic
def find(typingctx, function, arguments):
    """Call ``void *function(...)`` with a tuple of integers and pointers; NULL means failure."""

    def codegen(context, builder, signature, args):
        return _emit(context, builder, signature, args, 64)

    return types.int64(function, arguments), codegen


def locked(function):
    """Run ``function(api, table, *more)`` with the GIL, which kernels have given up."""
    inner = jitable(function)

    def run(api, table, more):
        state = call(api[LOCK], (0,))
        result = inner(api, table, more)
        call(api[UNLOCK], (state,))
        return result

    return run


@functools.cache
def python() -> np.ndarray:
    """Return the addresses of Python's functions and objects, without DLPack's function."""
    functions = [
        ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in _FUNCTIONS
    ]
    return np.array([*functions, *map(id, _OBJECTS), 0], np.int64)


@functools.cache
def interface() -> np.ndarray | None:
    """Return all of the addresses, or None where torch does not have DLPack's C interface yet."""
    capsule = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return None
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    words = (ctypes.c_uint64 * _API_WORDS).from_address(pointer_of(capsule, b"dlpack_exchange_api"))
    if words[_VERSION] & 0xFFFFFFFF != 1 or not words[_FILL]:
        return None
    api = python().copy()
    api[FILL] = words[_FILL]
    return api
