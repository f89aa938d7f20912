"""Where tensors lie: asked through DLPack's C interface by the kernel that steps them.

A step over 160 tensors has to know of 800 (parameters, gradients, two slots, step counts) where
they are, and whether size, strides, dtype and device are still those that were checked. Asked from
Python, attribute by attribute (``data_ptr``, ``shape``, ``stride``, ``dtype``), that takes 340 us,
as long as two whole steps, and another thread can free the memory before the kernel runs. The
kernel, which holds the GIL, asks in 55 us, and nothing of Python can come in between. (2 cores,
AVX2, where torch's fused AdamW takes 1 340 us for them.)
"""

from __future__ import annotations

import ctypes

import numpy as np
import torch

from fastopt.compile import inlinable
from fastopt.machine.access import word_at
from fastopt.machine.calls import call_c
from fastopt.machine.lookup import TYPE, Lookup
from fastopt.machine.many import BFLOAT16

__all__ = ["TENSORS"]

# Words of a DLTensor; the third holds the number of dimensions and the data type.
_DATA, _DEVICE, _KIND, _SHAPE, _STRIDES, _OFFSET = range(0, 48, 8)
_CPU = 1
# Slots of `api`, behind None.
_TENSOR, _PARAMETER, _FILL, _CLEAR, _RECORD = range(1, 6)


def tensor_address(api, code, is_written, item, layout, first, ndim):
    """Return the address of the elements of a tensor: ``Lookup.locate`` of tensors."""
    kind, record = word_at(item + TYPE), api[_RECORD]
    if kind != api[_TENSOR] and kind != api[_PARAMETER]:
        return -1
    if call_c(api[_FILL], (item, record)) != 0:
        call_c(api[_CLEAR], (0,))
        return -1
    if word_at(record + _DEVICE) != _CPU or word_at(record + _KIND) != ndim | code << 32:
        return -1
    shape, strides, elements = word_at(record + _SHAPE), word_at(record + _STRIDES), 1
    for axis in range(ndim):
        if word_at(shape + 8 * axis) != layout[first + axis, 0]:
            return -1
        elements *= layout[first + axis, 0]
    for axis in range(ndim if elements else 0):
        size, stride = layout[first + axis, 0], layout[first + axis, 1]
        if size != 1 and word_at(strides + 8 * axis) != stride:
            return -1
    # Tensors that are known to be zero have no memory.
    if word_at(record + _DATA) == 0 and elements:
        return -1
    return word_at(record + _DATA) + word_at(record + _OFFSET)


def _filler() -> int:
    """Return the address of torch's ``dltensor_from_py_object_no_sync``."""
    capsule = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None:
        raise ImportError(
            f"fastopt.torch needs PyTorch 2.10 or newer, for DLPack's C interface; this is "
            f'{torch.__version__}. pip install "fastopt[torch]" brings one'
        )
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    # A version, the table of an older version, and five functions of which ours is the fourth.
    words = (ctypes.c_uint64 * 7).from_address(pointer_of(capsule, b"dlpack_exchange_api"))
    major = words[0] & 0xFFFFFFFF
    if major != 1 or not words[5]:
        raise ImportError(
            f"PyTorch {torch.__version__} has version {major} of DLPack's C interface, of which "
            "fastopt knows version 1. Please report this."
        )
    return words[5]


_record = np.zeros(6, np.int64)
_clear = ctypes.cast(ctypes.pythonapi.PyErr_Clear, ctypes.c_void_p).value

# DLDataType as one number: type code, bits and lanes.
TENSORS = Lookup(
    inlinable(tensor_address),
    np.array(
        [id(None), id(torch.Tensor), id(torch.nn.Parameter), _filler(), _clear, _record.ctypes.data]
    ),
    {
        np.dtype(np.float32): 2 | 32 << 8 | 1 << 16,
        np.dtype(np.float64): 2 | 64 << 8 | 1 << 16,
        BFLOAT16: 4 | 16 << 8 | 1 << 16,
    },
    shares_state=True,
)
"""For tensors on the CPU, of these very classes: a subclass may be anything."""
