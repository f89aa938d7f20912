"""What a kernel may be given: kinds of arrays, their memory, and aligned memory of our own.

Kernels trust their caller and write through raw pointers, so everything that could make them
write to the wrong place is refused here, in Python, before anything is written.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastopt.errors import ArrayError, ArrayTypeError

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
# Subclasses may compute differently (masked arrays, matrices); a memmap is only memory.
KINDS = (np.ndarray, np.memmap)

LINE = 64
PAGE = 4096
# Loads and stores whose addresses agree in their low 12 bits are taken for the same by the CPU's
# store buffer: p, g and the slots of a large buffer start a few cache lines apart instead.
STAGGER = 4 * LINE


def named(where: str, arrays: Any) -> list[tuple[str, Any]]:
    """Return ``(path, item)`` for each item of a dict, list or tuple, or of one array.

    >>> named("params", {"w": 1.0, "b": 2.0})
    [("params['w']", 1.0), ("params['b']", 2.0)]
    >>> named("grads", 3.0)
    [('grads', 3.0)]
    """
    if isinstance(arrays, Mapping):
        return [(f"{where}[{name!r}]", item) for name, item in arrays.items()]
    if isinstance(arrays, list | tuple):
        return [(f"{where}[{k}]", item) for k, item in enumerate(arrays)]
    return [(where, arrays)]


def check_kind(where: str, a: Any) -> None:
    """Refuse what is not a plain NumPy array of float32 or float64.

    ``where``: how the caller names the array. Refused are other dtypes and subclasses, such as
    masked arrays.

    >>> check_kind("params['w']", [1.0, 2.0])
    Traceback (most recent call last):
        ...
    fastopt.errors.ArrayTypeError: params['w'] must be a NumPy array of float32 or float64;
    got a list. Pass np.asarray(..., dtype=np.float32).
    """
    if type(a) not in KINDS:
        is_subclass = isinstance(a, np.ndarray)
        remedy = "its .view(np.ndarray)" if is_subclass else "np.asarray(..., dtype=np.float32)"
        raise ArrayTypeError(
            f"{where} must be a NumPy array of float32 or float64; got a {type(a).__name__}. "
            f"Pass {remedy}."
        )
    if a.dtype.newbyteorder("=") not in DTYPES:
        raise ArrayTypeError(
            f"{where} has dtype {a.dtype}; kernels exist for float32 and float64. "
            "Convert it with .astype(np.float32)."
        )


Fault = tuple[Callable[[np.ndarray], bool], str]
_FAULTS: tuple[Fault, ...] = (
    (
        lambda a: not a.dtype.isnative,
        "has dtype {a.dtype.str!r}, the byte order of another machine; only this machine's is "
        "allowed. Convert it with .astype(a.dtype.newbyteorder('=')).",
    ),
    (
        lambda a: not a.flags.aligned,
        "is unaligned: it starts at an address that is not a multiple of its {a.itemsize} bytes "
        "an element. Pass an aligned copy (.copy()).",
    ),
    (
        lambda a: not a.flags.c_contiguous,
        "is not C-contiguous: shape {a.shape} with strides {a.strides}. Kernels update arrays in "
        "place and never copy them: pass np.ascontiguousarray(...), or the array it is a view of.",
    ),
)
_FAULT_OF_WRITTEN: Fault = (
    lambda a: not a.flags.writeable,
    "is read-only, and it is updated in place. Pass a writable array (.copy()).",
)


def check_array(where: str, a: Any, *, written: bool = True) -> None:
    """Refuse an array that a kernel cannot use in place.

    0-d and empty arrays are fine; refused is another byte order, and what is unaligned, not
    C-contiguous or, where it is ``written``, read-only.
    """
    check_kind(where, a)
    for is_faulty, what in (*_FAULTS, _FAULT_OF_WRITTEN) if written else _FAULTS:
        if is_faulty(a):
            raise ArrayError(f"{where} {what.format(a=a)}")


def check_like(where: str, g: Any, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Refuse a gradient, only read, that has not the dtype and shape of its parameter."""
    check_array(where, g, written=False)
    if g.dtype != dtype:
        raise ArrayTypeError(
            f"{where} has dtype {g.dtype}, but its parameter has {dtype}; both must be the same. "
            f"Pass {where}.astype(np.{dtype})."
        )
    if g.shape != shape:
        raise ArrayError(
            f"{where} has shape {g.shape}, but its parameter has shape {shape}; "
            "both must be the same."
        )


HEAD = object.__basicsize__
"""Bytes of the head of a Python object; in an array, its address is what follows."""
_word_at = ctypes.c_int64.from_address


def address(a: np.ndarray) -> int:
    """Return the address of the first element of ``a``.

    It is read where NumPy's own macro PyArray_DATA, compiled into every extension module, reads it
    (:mod:`fastopt.machine.lookup` makes sure of that at import): ``a.ctypes.data`` takes 2.8 us,
    not 0.1.
    """
    return _word_at(id(a) + HEAD).value


class Extents:
    """The memory of C-contiguous arrays that must not overlap, sorted by address.

    >>> extents, a = Extents(), np.zeros(8)
    >>> extents.add("w", a[:5])
    >>> extents.find(a[4:]), extents.find(a[5:])
    ('w', None)
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._names: list[str] = []

    @property
    def bounds(self) -> np.ndarray:
        """Where each array begins and ends, in rising order: shape (2, arrays)."""
        return np.array([self._starts, self._stops], np.int64)

    def find(self, a: np.ndarray) -> str | None:
        """Return the name of an array that overlaps ``a``, or None."""
        start = address(a)
        k = bisect_left(self._starts, start + a.nbytes) - 1
        return self._names[k] if k >= 0 and a.size and self._stops[k] > start else None

    def add(self, name: str, a: np.ndarray) -> None:
        """Add the memory of ``a``."""
        other = self.find(a)
        if other is not None:
            raise ArrayError(
                f"{name} shares memory with {other}, and both are written to. Pass shared memory "
                "once (a tied parameter with the sum of its gradients)."
            )
        if a.size:
            start = address(a)
            k = bisect_left(self._starts, start)
            self._starts.insert(k, start)
            self._stops.insert(k, start + a.nbytes)
            self._names.insert(k, name)


def check_disjoint(items: list[tuple[str, np.ndarray]]) -> None:
    """Refuse arrays, given with their names, that share memory."""
    owners = {id(a) for _, a in items if a.flags.owndata}
    if len(owners) == len(items):
        return
    extents = Extents()
    for where, a in items:
        extents.add(where, a)


def aligned_zeros(n: int, dtype: Any, place: int = 0) -> np.ndarray:
    """Return zeros of shape ``(n,)`` that start on a 64-byte boundary.

    Nothing is written here: the system maps zero pages when they are first touched, which is when
    a kernel's thread updates them, so on a machine with several memories each page lands near the
    thread that uses it.

    ``n``: number of elements. ``dtype``: type of the elements. ``place``: which of the
    buffers used together this is (0: parameters, 1: gradients, 2 ...: slots); buffers of four pages
    or more start ``place`` x 256 bytes into a page.

    >>> a = aligned_zeros(5, np.float32)
    >>> a, a.ctypes.data % 64
    (array([0., 0., 0., 0., 0.], dtype=float32), 0)
    """
    nbytes = n * np.dtype(dtype).itemsize
    boundary = PAGE if nbytes >= 4 * PAGE else LINE
    raw = np.zeros(nbytes + boundary, np.uint8)
    start = (place * STAGGER - address(raw)) % boundary
    return raw[start : start + nbytes].view(dtype)
