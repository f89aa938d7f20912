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
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from fastopt.compile import inlinable
from fastopt.errors import ArrayError
from fastopt.machine.access import word_at
from fastopt.machine.calls import call_c
from fastopt.machine.lookup import API, LAYOUT, TYPE, Lookup
from fastopt.machine.many import BFLOAT16
from fastopt.torch.tensors import spread

# Words of a DLTensor; the third holds the number of dimensions and the data type.
_DATA, _DEVICE, _KIND, _SHAPE, _STRIDES, _OFFSET = range(0, 48, 8)
_CPU = 1
# Places in the order's `api`, behind None.
_TENSOR, _PARAMETER, _FILL, _CLEAR, _RECORD = range(1, 6)


def tensor_address(order, code, is_written, item, first, ndim):
    """Return the address of the elements of a tensor: ``Lookup.locate`` of tensors."""
    kind, record = word_at(item + TYPE), API(order, _RECORD)
    if kind != API(order, _TENSOR) and kind != API(order, _PARAMETER):
        return -1
    if call_c(API(order, _FILL), (item, record)) != 0:
        call_c(API(order, _CLEAR), (0,))
        return -1
    if word_at(record + _DEVICE) != _CPU or word_at(record + _KIND) != ndim | code << 32:
        return -1
    shape, strides, elements = word_at(record + _SHAPE), word_at(record + _STRIDES), 1
    for axis in range(ndim):
        if word_at(shape + 8 * axis) != LAYOUT(order, first + axis, 0):
            return -1
        elements *= LAYOUT(order, first + axis, 0)
    for axis in range(ndim if elements else 0):
        size, stride = LAYOUT(order, first + axis, 0), LAYOUT(order, first + axis, 1)
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
    torch.Tensor.data_ptr,
    shares_state=True,
)
"""For tensors on the CPU, of these very classes: a subclass may be anything."""


class Ranges:
    """The memory of tensors that are written to, which must not be shared.

    >>> base, ranges = torch.zeros(6), Ranges()
    >>> ranges.add("even", base[::2])
    >>> ranges.add("odd", base[1::2])
    >>> ranges.check()
    >>> ranges.check_apart("g", base[4:])
    Traceback (most recent call last):
        ...
    fastopt.errors.ArrayError: g shares memory with even, which a step writes to. Pass a copy
    (.clone()).
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._tensors: list[torch.Tensor] = []
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, name: str, t: torch.Tensor) -> None:
        """Add a tensor with memory."""
        if not is_lazy(t) and t.numel():
            start, stop = extent(t)
            self._names.append(name)
            self._tensors.append(t)
            self._starts.append(start)
            self._stops.append(stop)

    def check(self) -> None:
        """Refuse tensors that share memory: two threads would write to it.

        Raises ArrayError if two of them overlap, or one is there twice.
        """
        self._order = sorted(range(len(self._starts)), key=self._starts.__getitem__)
        self._sorted = [self._starts[k] for k in self._order]
        # Up to where any of those that begin earlier reaches.
        self._reach = list(accumulate((self._stops[k] for k in self._order), max))
        for k in range(1, len(self._order)):
            if self._reach[k - 1] > self._sorted[k]:
                self._check_one(self._order[:k], self._order[k])

    def _check_one(self, earlier: list[int], k: int) -> None:
        for j in earlier:
            if self._stops[j] > self._starts[k] and _share(self._tensors[j], self._tensors[k]):
                first, second = sorted((j, k))
                raise ArrayError(
                    f"{self._names[second]} shares memory with {self._names[first]}, and both are "
                    "written to. Pass shared memory once, as one tied parameter."
                )

    def check_apart(self, name: str, t: torch.Tensor) -> None:
        """Refuse a tensor that shares memory with any of these, which have been checked."""
        if not t.numel() or not t.data_ptr():
            return
        start, stop = extent(t)
        count = bisect_left(self._sorted, stop)
        if not count or self._reach[count - 1] <= start:
            return
        for k in self._order[:count]:
            if self._stops[k] > start and _share(self._tensors[k], t):
                raise ArrayError(
                    f"{name} shares memory with {self._names[k]}, which a step writes to. Pass a "
                    "copy (.clone())."
                )


def extent(t: torch.Tensor) -> tuple[int, int]:
    """Return where the elements of a tensor begin and end in memory, holes included.

    >>> start, stop = extent(torch.zeros(3, 4)[:, :2])
    >>> stop - start
    40
    """
    start = t.data_ptr()
    if t.is_contiguous():
        return start, start + t.numel() * t.element_size()
    reach = sum((n - 1) * stride for n, stride in zip(t.shape, t.stride()))
    return start, start + (reach + 1) * t.element_size()


def _share(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Tell whether two tensors whose extents meet have an element in common."""
    if spread(a) == spread(b) == "dense":
        return True
    try:
        return np.shares_memory(_bytes_of(a), _bytes_of(b), max_work=1_000_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:  # too many dimensions to tell: on the safe side
        return True


def _bytes_of(t: torch.Tensor) -> np.ndarray:
    """Return a NumPy view of a tensor; negated and bfloat16 ones are seen as plain bits."""
    whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[t.element_size()]
    t = t.detach().as_subclass(torch.Tensor)
    bits = torch.empty(0, dtype=whole).set_(
        t.untyped_storage(), t.storage_offset(), t.shape, t.stride()
    )
    return bits.numpy()


def bounds_of(tensors: Iterable[torch.Tensor]) -> np.ndarray:
    """Return where disjoint tensors begin, in rising order, and end: shape (2, tensors)."""
    written = sorted(map(extent, tensors))
    return np.array(written, np.int64).reshape(-1, 2).T.copy()
