"""Send a checked sweep to another process: pickled by value, functions registered anew on arrival.

Nothing here touches a file: a payload (what is sent, as bytes) lives as long as the channel of an
executor. Stores hold no pickles.

Problems are made of plain functions: lambdas, closures over the user's own function, functions of
a notebook. cloudpickle sends those by value. What it cannot know is that Numba compiles a call of a
plain function only in a process in which that function was registered
(:func:`fastopt.compile.inlinable`), so payloads bring the registration along.
"""

from __future__ import annotations

import copy
import functools
import importlib
import io
import operator
import pickle
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle

from fastopt import compile as compiling
from fastopt.compile import registration
from fastopt.errors import ExecutorError

# Payloads kept open in a worker: one sweep at a time is usual, and each may hold a dataset.
OPEN = 4


def pack(thing: Any) -> bytes:
    """Return ``thing`` (a plan, a problem, a function) as bytes for :func:`unpack`.

    ``thing``: functions of importable modules are sent by name, so the other process must be able
    to import them; all others are sent by value.

    >>> unpack(pack({"bowl": lambda x: x * x}))["bowl"](3)
    9
    """
    payload = io.BytesIO()
    script = sys.modules.get("__mp_main__")
    if script is not None:  # what multiprocessing calls the script in processes that it spawned
        cloudpickle.register_pickle_by_value(script)
    try:
        _Packer(payload).dump(thing)
    except Exception as error:  # reducing runs the code of whatever is in it
        raise ExecutorError(
            f"the sweep cannot be sent to other processes: {_reason(error)}. Leave what cannot be "
            'pickled out of its functions (make it inside of them), or use executor="threads"'
        ) from error
    return payload.getvalue()


@functools.lru_cache(maxsize=OPEN)
def unpack(payload: bytes) -> Any:
    """Return what :func:`pack` was given; the same object for the same bytes.

    Kernels belong to function objects: were each chunk to unpack its own, each would load its own.

    ``payload``: from :func:`pack`, over a channel that you trust: pickles run code. Raises
    ExecutorError if this process lacks a module that the other one imported, or has another version
    of it.
    """
    try:
        return pickle.loads(payload)
    except Exception as error:  # unpickling runs the code of whatever is in it
        raise ExecutorError(
            f"a worker cannot unpack the sweep: {_reason(error)}. It needs the same packages as "
            "the process that started the sweep, and the file with your functions where it can "
            "import it"
        ) from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


class Shippable:
    """Pickles although plain functions are in it that no other process can import.

    For frozen dataclasses. :mod:`pickle`, and so joblib and multiprocessing, sends functions by
    their names; those of problems are closures, which have none.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Reduce to the functions as one payload, which may share what they call, and the rest."""
        functions = {name: value for name, value in vars(self).items() if callable(value)}
        rest = {name: value for name, value in vars(self).items() if name not in functions}
        return _unpickle_shippable, (type(self), pack(functions), rest)

    def __copy__(self) -> Shippable:
        return _build(type(self), vars(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Shippable:
        # Functions stay what they are, as everywhere in Python: kernels belong to them.
        return _build(type(self), copy.deepcopy(vars(self), memo))


def _unpickle_shippable(
    kind: type[Shippable], payload: bytes, rest: Mapping[str, Any]
) -> Shippable:
    return _build(kind, {**unpack(payload), **rest})


def _build(kind: type[Shippable], fields: Mapping[str, Any]) -> Shippable:
    made = object.__new__(kind)
    vars(made).update(fields)
    return made


class _Packer(cloudpickle.Pickler):
    """Pickles by value where there is no importable name, and says what was registered."""

    def reducer_override(self, thing: Any) -> Any:
        """Reduce as cloudpickle does, with the registration as a last step of unpickling."""
        if isinstance(thing, Shippable):  # no payloads inside of payloads
            return object.__reduce_ex__(thing, pickle.HIGHEST_PROTOCOL)
        reduced = super().reducer_override(thing)
        role = registration(thing) if isinstance(thing, types.FunctionType) else None
        if role is None:
            return reduced
        if reduced is NotImplemented:  # by name; importing it may not be what registered it
            return _import_function, (thing.__module__, thing.__qualname__, role)
        make, args, state, *_, set_state = reduced
        return make, args, (state, set_state, role), None, None, _set_state


def _import_function(module: str, name: str, role: str) -> Callable:
    function = operator.attrgetter(name)(importlib.import_module(module))
    return function if registration(function) else _register(function, role)


def _set_state(function: Callable, state: tuple) -> None:
    own, set_state, role = state
    set_state(function, own)
    _register(function, role)


def _register(function: Callable, role: str) -> Callable:
    return getattr(compiling, role)(function)
