"""Where tensors lie: the addresses of many tensors, and whether each is what a kernel expects.

Each attribute of a tensor takes Python 60 ns to read, and a step needs four or five of each
parameter and gradient: half of its time for 160 tensors of 1 000 elements. DLPack's C interface
gives all of them in one call from compiled code; where torch does not have it yet, Python reads.
"""

from __future__ import annotations

import ctypes
import functools
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastopt.access import arrays_at
from fastopt.compile import jitable, kernel

__all__ = ["Held", "addresses", "ids", "plain_addresses", "plain_pairs"]

# DLDataType as one number: type code, bits and lanes.
_CODES = {
    torch.float32: 2 | 32 << 8 | 1 << 16,
    torch.float64: 2 | 64 << 8 | 1 << 16,
    torch.bfloat16: 4 | 16 << 8 | 1 << 16,
}
_CPU = 1
# Words of a DLTensor; the third holds the number of dimensions and the data type.
_DATA, _DEVICE, _TYPE, _SHAPE, _STRIDES, _OFFSET, _WORDS = range(7)
# Words of a DLPackExchangeAPI: its version, and the function that fills in a DLTensor.
_VERSION, _FILL, _API_WORDS = 0, 5, 7
# What compiled code gets: these functions, the one above, and two objects of Python.
_FUNCTIONS = (
    "PyGILState_Ensure", "PyGILState_Release", "PyErr_Clear", "PyObject_GetAttr", "Py_DecRef",
)  # fmt: skip
_LOCK, _UNLOCK, _CLEAR, _GET, _DROP, _FILL_IN, _GRAD, _NONE = range(8)
_GRAD_NAME = "grad"

_LIKE = (np.empty(0, np.int64), np.empty(0, np.int64))

_data_ptr = torch.Tensor.data_ptr
_is_contiguous = torch.Tensor.is_contiguous
_nbytes = attrgetter("nbytes")
_dtype = attrgetter("dtype")


def addresses(tensors: list[torch.Tensor]) -> np.ndarray:
    """Return the address of the first element of each tensor."""
    return np.fromiter(map(_data_ptr, tensors), np.int64, len(tensors))


def _emit(builder, args, width):
    """Call the C function at the address ``args[0]`` with two pointers; an integer comes back."""
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.IntType(width), [pointer, pointer])
    function = builder.inttoptr(args[0], kind.as_pointer())
    return builder.call(function, [builder.inttoptr(a, pointer) for a in args[1:]])


@intrinsic
def _call(typingctx, function, first, second):
    """Call ``int function(void *, void *)``; 0 means success."""

    def codegen(context, builder, signature, args):
        return _emit(builder, args, 32)

    return types.int32(types.int64, types.int64, types.int64), codegen


@intrinsic
def _find(typingctx, function, first, second):
    """Call ``void *function(void *, void *)``; NULL means failure."""

    def codegen(context, builder, signature, args):
        return _emit(builder, args, 64)

    return types.int64(types.int64, types.int64, types.int64), codegen


def _reading(call, find):
    """Read tensor after tensor; return the number of the first one that is not plain, or -1.

    ``objects`` are addresses of Python objects, which may only be used with the GIL; kernels run
    without, so it is taken again. With ``held``, it is the gradients that are read, and ``held``
    gets a reference to each, which someone has to give back.
    """

    def address(api, item, size, code, record, like):
        if call(api[_FILL_IN], item, record.ctypes.data) != 0:
            call(api[_CLEAR], 0, 0)
            return -1
        ndim, kind = record[_TYPE, 0] & 0xFFFFFFFF, record[_TYPE, 0] >> 32
        if record[_DEVICE, 0] != _CPU or kind != code:
            return -1
        shape, strides = arrays_at(record, _SHAPE, 0, ndim, like)
        count = 1
        for axis in range(ndim - 1, -1, -1):
            if shape[axis] != 1 and strides[axis] != count and size > 0:
                return -1
            count *= shape[axis]
        return record[_DATA, 0] + record[_OFFSET, 0] if count == size else -1

    address_of = jitable(address)

    def read(api, objects, sizes, code, record, like, found, held):
        for k in range(objects.size):
            item = objects[k]
            if held.size > 0:
                item = find(api[_GET], item, api[_GRAD])
                held[k] = item
                if item == 0:
                    call(api[_CLEAR], 0, 0)
                if item == 0 or item == api[_NONE]:  # "in" would make a tuple
                    return k
            found[k] = address_of(api, item, sizes[k], code, record, like)
            if found[k] == -1:
                return k
        return -1

    inner = jitable(read)

    def locked(api, objects, sizes, code, record, like, found, held):
        state = call(api[_LOCK], 0, 0)
        wrong = inner(api, objects, sizes, code, record, like, found, held)
        call(api[_UNLOCK], state, 0)
        return wrong

    return locked


def _releasing(call):
    """Give back references to Python objects."""

    def release(api, held):
        state = call(api[_LOCK], 0, 0)
        for item in held:
            if item != 0:
                call(api[_DROP], item, 0)
        call(api[_UNLOCK], state, 0)

    return release


@functools.cache
def _interface() -> np.ndarray | None:
    """Return addresses of the C functions and objects that :func:`_reading` uses, in its order."""
    capsule = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return None
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    words = (ctypes.c_uint64 * _API_WORDS).from_address(pointer_of(capsule, b"dlpack_exchange_api"))
    if words[_VERSION] & 0xFFFFFFFF != 1 or not words[_FILL]:
        return None
    functions = (
        ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0
        for name in _FUNCTIONS
    )
    return np.array([*functions, words[_FILL], id(_GRAD_NAME), id(None)], np.int64)


class Held:
    """References to gradients that compiled code took; given back when this goes away."""

    __slots__ = ("objects",)

    def __init__(self, count: int) -> None:
        self.objects = np.zeros(count, np.int64)

    def __del__(self) -> None:
        _releaser()(_interface(), self.objects)


_NOTHING = np.empty(0, np.int64)


def plain_addresses(
    tensors: list[torch.Tensor], sizes: np.ndarray, dtype: torch.dtype
) -> np.ndarray | None:
    """Return the addresses of tensors that a kernel can run over as they are.

    Parameters
    ----------
    tensors : list of Tensor
        What is to be read.
    sizes : ndarray of int64
        How many elements each should have.
    dtype : torch.dtype
        Of all of them.

    Returns
    -------
    ndarray of int64, or None
        None if any is not contiguous, on the CPU, of that size and of that dtype.

    Examples
    --------
    >>> t = torch.zeros(3, 4)
    >>> plain_addresses([t], np.array([12]), torch.float32).tolist() == [t.data_ptr()]
    True
    >>> plain_addresses([t.T], np.array([12]), torch.float32) is None
    True
    """
    interface = _interface()
    if interface is None:
        return _read_by_python(tensors, sizes, dtype)
    return _read(interface, ids(tensors), sizes, dtype, _NOTHING)


def ids(tensors: list[torch.Tensor]) -> np.ndarray:
    """Return the addresses of Python's objects, which live on as long as the list does."""
    return np.fromiter(map(id, tensors), np.int64, len(tensors))


def plain_pairs(
    objects: np.ndarray, sizes: np.ndarray, dtype: torch.dtype
) -> tuple[np.ndarray, np.ndarray, Held] | None:
    """Return the addresses of parameters and of their gradients, if a kernel can use all of them.

    Parameters
    ----------
    objects : ndarray of int64
        From :func:`ids`.
    sizes, dtype
        As for :func:`plain_addresses`.

    Returns
    -------
    places, sources : ndarray of int64
        Where parameters and gradients lie.
    held : Held
        Keeps the gradients alive.

    Examples
    --------
    >>> p = torch.nn.Parameter(torch.zeros(3))
    >>> plain_pairs(ids([p]), np.array([3]), torch.float32) is None  # there is no gradient
    True
    """
    interface = _interface()
    if interface is None:
        return None
    places = _read(interface, objects, sizes, dtype, _NOTHING)
    if places is None:
        return None
    held = Held(objects.size)
    sources = _read(interface, objects, sizes, dtype, held.objects)
    return None if sources is None else (places, sources, held)


def _read(
    interface: np.ndarray,
    objects: np.ndarray,
    sizes: np.ndarray,
    dtype: torch.dtype,
    held: np.ndarray,
) -> np.ndarray | None:
    found = np.empty(objects.size, np.int64)
    record = np.empty((_WORDS, 1), np.int64)
    wrong = _reader()(interface, objects, sizes, _CODES[dtype], record, _LIKE, found, held)
    return found if wrong < 0 else None


@functools.cache
def _reader() -> Any:
    return kernel(_reading, _call, _find)


@functools.cache
def _releaser() -> Any:
    return kernel(_releasing, _call)


def _read_by_python(
    tensors: list[torch.Tensor], sizes: np.ndarray, dtype: torch.dtype
) -> np.ndarray | None:
    is_plain = (
        all(map(_is_contiguous, tensors))
        and set(map(_dtype, tensors)) <= {dtype}
        and list(map(_nbytes, tensors)) == (sizes * dtype.itemsize).tolist()
        and all(t.device.type == "cpu" for t in tensors)
    )
    return addresses(tensors) if is_plain else None
