"""Where parameters and their gradients lie, read by compiled code: one call for all of them."""

from __future__ import annotations

import ctypes
import functools
from itertools import chain
from typing import Any

import numpy as np
import torch

from fastopt.access import arrays_at, prefetch
from fastopt.compile import jitable, kernel
from fastopt.torch.cpython import (
    CLEAR,
    DROP,
    FILL,
    GET,
    GRAD,
    INVOKE,
    IS_NEG,
    IS_TRUE,
    ITEM,
    NEXT,
    NONE,
    call,
    find,
    interface,
    locked,
    python,
)

__all__ = ["MISSING", "Pairs", "Roster", "addresses"]

# DLDataType as one number: type code, bits and lanes.
_CODES = {
    torch.float32: 2 | 32 << 8 | 1 << 16,
    torch.float64: 2 | 64 << 8 | 1 << 16,
    torch.bfloat16: 4 | 16 << 8 | 1 << 16,
}
_CPU = 1
# Words of a DLTensor; the third holds the number of dimensions and the data type.
_DATA, _DEVICE, _TYPE, _SHAPE, _STRIDES, _OFFSET, _WORDS = range(7)
# Rows of the table of a `Pairs`.
_OBJECT, _ELEMENTS, _FIRST, _PLACE, _HELD, _ROWS = range(6)

MISSING = -1
"""Address of a gradient that is None (that of an empty tensor may be 0)."""

# A step leaves little of 160 tensors in the caches, and reading them waits for one line after the
# other: 210 us right after two steps of torch, 135 with what is 8 pairs ahead asked for.
_AHEAD = 8

_LIKE = (np.empty(0, np.int64), np.empty(0, np.int64))


def addresses(tensors: list[torch.Tensor]) -> np.ndarray:
    """Return the address of the first element of each tensor."""
    return np.fromiter(map(torch.Tensor.data_ptr, tensors), np.int64, len(tensors))


def _ids(objects: list) -> np.ndarray:
    """Return the addresses of Python's objects, which live on as long as the list does."""
    return np.fromiter(map(id, objects), np.int64, len(objects))


def _lines_of(t: torch.Tensor) -> list[int]:
    """Return where a tensor's own data lie: hints for the caches, which need not be right."""
    # A TensorImpl begins with its type, references, storage, autograd's data, more, and version.
    _, _, storage, autograd, _, version = (ctypes.c_int64 * 6).from_address(t._cdata)
    body = [t._cdata + line for line in (0, 64, 128)]
    return [id(t), *body, storage, storage + 64, autograd, version]


def stored_at():
    """Return the address of a tensor's elements, or -1 if it is not stored as ``layout`` says."""

    def address(api, item, code, elements, layout, first, ndim, record, like):
        if call(api[FILL], (item, record.ctypes.data)) != 0:
            call(api[CLEAR], (0,))
            return -1
        if record[_DEVICE, 0] != _CPU or record[_TYPE, 0] != ndim | code << 32:
            return -1
        shape, strides = arrays_at(record, _SHAPE, 0, ndim, like)
        for axis in range(ndim):
            size = layout[first + axis, 0]
            if shape[axis] != size:
                return -1
            if size != 1 and elements > 0 and strides[axis] != layout[first + axis, 1]:
                return -1
        # Tensors that are known to be zero have no memory.
        return record[_DATA, 0] + record[_OFFSET, 0] if record[_DATA, 0] or not elements else -1

    return jitable(address)


def is_as_it_is():
    """Tell whether a tensor's numbers are those in its memory, not their negatives."""

    def plain(api, item, elements, record):
        # Autograd makes lazily negated tensors as every second number of complex ones, so only
        # one of a single element can pass for dense.
        if elements != 1:
            return True
        record[0, 0] = item
        answer = find(api[INVOKE], (api[IS_NEG], record.ctypes.data, 1, 0))
        wrong = 1 if answer == 0 else call(api[IS_TRUE], (answer,))
        call(api[DROP], (answer,)) if answer else call(api[CLEAR], (0,))
        return wrong == 0

    return jitable(plain)


def reading():
    """Read all pairs; return how many gradients there are, or -1 if any is not as expected.

    ``table`` gets the addresses of gradients and parameters; ``pairs[_HELD]`` a reference to every
    gradient, which someone has to give back.
    """
    stored, is_plain = stored_at(), is_as_it_is()

    def read(api, pairs, more):
        layout, code, record, like, table, hints = more
        found = 0
        for k in range(pairs.shape[1]):
            if k + _AHEAD < len(hints):
                for line in hints[k + _AHEAD]:
                    prefetch(line)
            elements, first = pairs[_ELEMENTS, k], pairs[_FIRST, k]
            ndim = pairs[_FIRST, k + 1] - first if k + 1 < pairs.shape[1] else len(layout) - first
            p = pairs[_OBJECT, k]
            place = stored(api, p, code, elements, layout, first, ndim, record, like)
            if place == -1 or place != pairs[_PLACE, k]:
                return -1
            g = find(api[GET], (p, api[GRAD]))
            pairs[_HELD, k] = g
            if g == 0:
                call(api[CLEAR], (0,))
                return -1
            table[0, k], table[1, k] = MISSING, place
            if g != api[NONE]:
                source = stored(api, g, code, elements, layout, first, ndim, record, like)
                if source == -1 or not is_plain(api, g, elements, record):
                    return -1
                table[0, k] = source
                found += 1
        return found

    return locked(read)


def releasing():
    """Give back references to Python objects."""

    def release(api, held, _):
        for k in range(held.size):
            item, held[k] = held[k], 0
            if item != 0:
                call(api[DROP], (item,))

    return locked(release)


class Pairs:
    """Parameters and their gradients, found again at every step.

    Parameters
    ----------
    params : list of Tensor
        Without holes, all of one dtype.
    table : ndarray of int64, shape (2, parameters)
        Gets the addresses of gradients (or :data:`MISSING`) and of parameters.

    Attributes
    ----------
    places : ndarray of int64
        Where the parameters lay when that was last checked; written by whoever checks.

    Examples
    --------
    >>> p = torch.nn.Parameter(torch.zeros(3, 4))
    >>> table = np.zeros((2, 1), np.int64)
    >>> pairs = Pairs([p], table)
    >>> pairs.read()
    0
    >>> p.grad = torch.ones(3, 4)
    >>> pairs.read(), table.tolist() == [[p.grad.data_ptr()], [p.data_ptr()]]
    (1, True)
    >>> p.grad = torch.ones(4, 3).t()
    >>> pairs.read()
    -1
    """

    _holds = False

    def __init__(self, params: list[torch.Tensor], table: np.ndarray) -> None:
        self._params = params
        self._api = interface()
        self._table = np.zeros((_ROWS, len(params)), np.int64)
        self._table[_OBJECT] = _ids(params)
        self._table[_ELEMENTS] = [p.numel() for p in params]
        dims = np.array([p.ndim for p in params])
        self._table[_FIRST] = np.cumsum(dims) - dims
        self._table[_PLACE] = addresses(params)
        layout = [pair for p in params for pair in zip(p.shape, p.stride())]
        grads = [p if p.grad is None else p.grad for p in params]
        self._more = (
            np.array(layout, np.int64).reshape(-1, 2), _CODES[params[0].dtype],
            np.zeros((_WORDS, 1), np.int64), _LIKE, table,
            np.array([_lines_of(p) + _lines_of(g) for p, g in zip(params, grads)], np.int64),
        )  # fmt: skip
        self._held = self._table[_HELD]
        self.places = self._table[_PLACE]

    def read(self) -> int:
        """Find all pairs; hold the gradients until :meth:`release`.

        Returns
        -------
        int
            Number of gradients; or -1 if a parameter is not stored as when this was made, or a
            gradient is not stored as its parameter, or torch cannot tell.
        """
        if self._api is None:
            return -1
        self.release()
        self._holds = True
        return _reader()(self._api, self._table, self._more)

    def release(self) -> None:
        """Let go of the gradients."""
        if self._holds:
            self._holds = False
            _releaser()(self._api, self._held, ())

    def __del__(self) -> None:
        self.release()


def comparing():
    """Tell whether lists and a dict hold the same objects as they did."""

    def same(api, lists, more):
        counts, items, mapping, values, record = more
        k = 0
        for i in range(lists.size):
            for j in range(counts[i]):
                if find(api[ITEM], (lists[i], j)) != items[k]:
                    return False
                k += 1
        # Position, key and value of PyDict_Next.
        record[0, 0], at = 0, record.ctypes.data
        for value in values:
            if call(api[NEXT], (mapping, at, at + 8, at + 16)) == 0 or record[2, 0] != value:
                return False
        return True

    return locked(same)


class Roster:
    """The parameters of all groups and the values of a dict, to notice what is replaced.

    Parameters
    ----------
    lists : list of list
        Of any objects.
    mapping : dict
        Of any objects.

    Examples
    --------
    >>> groups, state = [["a", "b"], []], {"a": {}, "b": {}}
    >>> roster = Roster(groups, state)
    >>> roster.is_current(groups, state)
    True
    >>> state["a"] = {}
    >>> roster.is_current(groups, state)
    False
    """

    def __init__(self, lists: list[list], mapping: dict) -> None:
        # Held, so that an object with the same address is the same object.
        self._lists, self._members = lists, list(chain.from_iterable(lists))
        self._values = list(mapping.values())
        self._counts = list(map(len, lists))
        self._more = (
            np.array(self._counts, np.int64), _ids(self._members), id(mapping),
            _ids(self._values), np.zeros((3, 1), np.int64),
        )  # fmt: skip
        self._places = _ids(lists)
        self._mapping = mapping
        # Python's function is for lists only; torch makes them, but anyone may put a tuple there.
        self._are_lists = all(isinstance(each, list) for each in lists)

    def is_current(self, lists: list[list], mapping: dict) -> bool:
        """Tell whether these are the same lists and dict, with the same objects in them."""
        return (
            self._are_lists
            and mapping is self._mapping
            and len(mapping) == len(self._values)
            and list(map(id, lists)) == list(map(id, self._lists))
            and list(map(len, lists)) == self._counts
            and _comparer()(python(), self._places, self._more)
        )


@functools.cache
def _reader() -> Any:
    return kernel(reading)


@functools.cache
def _releaser() -> Any:
    return kernel(releasing)


@functools.cache
def _comparer() -> Any:
    return kernel(comparing)
