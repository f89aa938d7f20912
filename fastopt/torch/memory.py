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

__all__ = ["addresses", "plain_addresses"]

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

_LIKE = (np.empty(0, np.int64), np.empty(0, np.int64))

_data_ptr = torch.Tensor.data_ptr
_is_contiguous = torch.Tensor.is_contiguous
_nbytes = attrgetter("nbytes")
_dtype = attrgetter("dtype")


def addresses(tensors: list[torch.Tensor]) -> np.ndarray:
    """Return the address of the first element of each tensor."""
    return np.fromiter(map(_data_ptr, tensors), np.int64, len(tensors))


@intrinsic
def _call(typingctx, function, first, second):
    """Call the C function ``int function(void *, void *)`` at an address; 0 means success."""

    def codegen(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [pointer, pointer])
        function = builder.inttoptr(args[0], kind.as_pointer())
        return builder.call(function, [builder.inttoptr(a, pointer) for a in args[1:]])

    return types.int32(types.int64, types.int64, types.int64), codegen


def _reading(call):
    """Read tensor after tensor; return the number of the first one that is not plain, or -1.

    ``objects`` are addresses of Python objects, which may only be used with the GIL; kernels run
    without, so it is taken again.
    """

    def read(fill, clear, objects, sizes, code, record, like, found):
        for k in range(objects.size):
            if call(fill, objects[k], record.ctypes.data) != 0:
                call(clear, 0, 0)
                return k
            ndim, kind = record[_TYPE, 0] & 0xFFFFFFFF, record[_TYPE, 0] >> 32
            if record[_DEVICE, 0] != _CPU or kind != code:
                return k
            shape, strides = arrays_at(record, _SHAPE, 0, ndim, like)
            size = 1
            for axis in range(ndim - 1, -1, -1):
                if shape[axis] != 1 and strides[axis] != size and sizes[k] > 0:
                    return k
                size *= shape[axis]
            if size != sizes[k]:
                return k
            found[k] = record[_DATA, 0] + record[_OFFSET, 0]
        return -1

    inner = jitable(read)

    def locked(lock, unlock, fill, clear, objects, sizes, code, record, like, found):
        state = call(lock, 0, 0)
        wrong = inner(fill, clear, objects, sizes, code, record, like, found)
        call(unlock, state, 0)
        return wrong

    return locked


@functools.cache
def _interface() -> tuple[int, ...] | None:
    """Return the addresses of the C functions: lock, unlock, read a tensor, clear its error."""
    capsule = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        return None
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    words = (ctypes.c_uint64 * _API_WORDS).from_address(pointer_of(capsule, b"dlpack_exchange_api"))
    if words[_VERSION] & 0xFFFFFFFF != 1 or not words[_FILL]:
        return None
    lock, unlock, clear = (
        ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0
        for name in ("PyGILState_Ensure", "PyGILState_Release", "PyErr_Clear")
    )
    return lock, unlock, words[_FILL], clear


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
    objects = np.fromiter(map(id, tensors), np.int64, len(tensors))
    found = np.empty(len(tensors), np.int64)
    read = _reader()
    record = np.empty((_WORDS, 1), np.int64)
    wrong = read(*interface, objects, sizes, _CODES[dtype], record, _LIKE, found)
    return found if wrong < 0 else None


@functools.cache
def _reader() -> Any:
    return kernel(_reading, _call)


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
