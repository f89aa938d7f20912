"""Send a checked sweep to another process: pickled by value, functions registered anew on arrival.

Nothing here touches a file: a parcel lives as long as the channel of an executor. Stores hold no
pickles.

Problems are made of plain functions: lambdas, closures over the user's own function, functions of
a notebook. cloudpickle sends those by value. What it cannot know is that Numba compiles a call of a
plain function only in a process in which that function was registered
(:func:`fastopt.compile.inlinable`), so parcels bring the registration along.
"""

from __future__ import annotations

import functools
import importlib
import io
import operator
import pickle
import types
from collections.abc import Callable
from typing import Any

import cloudpickle

from fastopt import compile as compiling
from fastopt.compile import registration
from fastopt.errors import ExecutorError

__all__ = ["pack", "unpack"]

# Parcels kept open in a worker: one sweep at a time is usual, and each may hold a dataset.
OPEN = 4


def pack(thing: Any) -> bytes:
    """Return ``thing`` (a plan, a problem, a function) as bytes for :func:`unpack`.

    Parameters
    ----------
    thing : object
        Functions of importable modules are sent by name, so the other process must be able to
        import them; all others are sent by value.

    Returns
    -------
    bytes

    Raises
    ------
    ExecutorError
        Something in it cannot be pickled, such as an open file in the closure of a function.

    Examples
    --------
    >>> unpack(pack({"bowl": lambda x: x * x}))["bowl"](3)
    9
    """
    parcel = io.BytesIO()
    try:
        _Packer(parcel).dump(thing)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ExecutorError(
            f"the sweep cannot be sent to other processes: {error}. Leave what cannot be pickled "
            'out of the functions of the problem, or use executor="threads"'
        ) from error
    return parcel.getvalue()


@functools.lru_cache(maxsize=OPEN)
def unpack(parcel: bytes) -> Any:
    """Return what :func:`pack` was given; the same object for the same bytes.

    Kernels belong to function objects: were each chunk to unpack its own, each would load its own.

    Parameters
    ----------
    parcel : bytes
        From :func:`pack`, over a channel that you trust: pickles run code.

    Raises
    ------
    ExecutorError
        This process lacks a module that the other one imported, or has another version of it.
    """
    try:
        return pickle.loads(parcel)
    except (ImportError, AttributeError) as error:
        raise ExecutorError(
            f"a worker cannot unpack the sweep: {error}. It needs the same packages as the process "
            "that started the sweep, and the file with your functions where it can import it"
        ) from error


class _Packer(cloudpickle.Pickler):
    """Pickles by value where there is no importable name, and says what was registered."""

    def reducer_override(self, thing: Any) -> Any:
        """Reduce as cloudpickle does, with the registration as a last step of unpickling."""
        reduced = super().reducer_override(thing)
        role = registration(thing) if isinstance(thing, types.FunctionType) else None
        if role is None:
            return reduced
        if reduced is NotImplemented:  # by name; importing it may not be what registered it
            return _found, (thing.__module__, thing.__qualname__, role)
        make, args, state, *_, set_state = reduced
        return make, args, (state, set_state, role), None, None, _set_state


def _found(module: str, name: str, role: str) -> Callable:
    function = operator.attrgetter(name)(importlib.import_module(module))
    return function if registration(function) else _registered(function, role)


def _set_state(function: Callable, state: tuple) -> None:
    own, set_state, role = state
    set_state(function, own)
    _registered(function, role)


def _registered(function: Callable, role: str) -> Callable:
    return getattr(compiling, role)(function)
