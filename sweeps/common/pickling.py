"""Send a checked sweep to another process: pickled by value, functions registered anew on arrival.

Nothing here touches a file: a payload (what is sent, as bytes) lives as long as the channel of an
executor. Stores hold no pickles.

Problems are made of plain functions: lambdas, closures over the user's own function, functions of
a notebook. cloudpickle sends those by value. What it cannot know is that Numba compiles a call of a
plain function only in a process in which that function was registered
(:func:`fastopt.compile.inlinable`), so payloads bring the registration along.

What a worker imports by its name is what stands in its files, or stood there when it was started: a
constant that the program has set, and an edit after that, are not. So a job says what it was here,
and is sent by value to a worker that has something else. What a function imports as it runs cannot
be sent so: a worker that has something else there refuses the job.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import io
import itertools
import operator
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cloudpickle
from numba import cloudpickle as numbas_cloudpickle

from fastopt import compile as compiling
from fastopt.code.names import imported_by, names_of, read_of
from fastopt.code.origins import USERS, origin
from fastopt.compile import fingerprint, registration
from fastopt.errors import ExecutorError

_lock = threading.Lock()  # of the registries of modules that cloudpickle has

# Payloads kept open in a worker: one sweep at a time is usual, and each may hold a dataset.
OPEN = 4


class OtherCode(ExecutorError):
    """A worker has imported something that is not what it is in the process of the sweep."""


class OtherImport(ExecutorError):
    """A function imports, as it runs, something that is not what it is there."""


def pack(thing: Any) -> bytes:
    """Return ``thing`` (a plan, a problem, a function) as bytes for :func:`unpack`.

    ``thing``: functions of importable modules are sent by name, so the other process must be able
    to import them; all others are sent by value.

    >>> unpack(pack({"bowl": lambda x: x * x}))["bowl"](3)
    9
    """
    payload = io.BytesIO()
    _dump(thing, _Packer(payload))
    return payload.getvalue()


def pack_job(job: Any, by_value: bool = False) -> bytes:
    """Return a job as :func:`pack` does, for workers that may have other code.

    ``by_value``: send what is importable by value, too, as it is here. Otherwise :func:`unpack`
    raises :class:`OtherCode` where it is something else there.
    """
    names: list[str] = []
    if by_value:
        with _lock, _sent_by_value():
            _dump(job, _ValuePacker(io.BytesIO(), names))  # for the names
            payload = io.BytesIO()
            packer: _WatchingPacker = _ValuePacker(payload, names)
            _dump(job, packer)
    else:
        payload = io.BytesIO()
        packer = _WatchingPacker(payload, names)
        _dump(job, packer)
    pickle.dump((by_value, packer.told()), payload)
    return payload.getvalue()


@contextlib.contextmanager
def _sent_by_value() -> Iterator[None]:
    """Have functions and classes of all modules of the user's sent by value."""
    modules = [m for m in list(sys.modules.values()) if isinstance(m, types.ModuleType)]
    known = [m for m in modules if sys.modules.get(m.__name__) is m and origin(m) == USERS]
    with contextlib.ExitStack() as stack:
        picklers = cloudpickle, numbas_cloudpickle  # the latter sends what @njit made
        for module, pickler in itertools.product(known, picklers):
            if module.__name__ not in pickler.list_registry_pickle_by_value():
                pickler.register_pickle_by_value(module)
                stack.callback(pickler.unregister_pickle_by_value, module)
        yield


def _dump(thing: Any, packer: _Packer) -> None:
    script = sys.modules.get("__mp_main__")
    if script is not None:  # what multiprocessing calls the script in processes that it spawned
        cloudpickle.register_pickle_by_value(script)
    try:
        packer.dump(thing)
    except Exception as error:  # reducing runs the code of whatever is in it
        raise ExecutorError(
            f"the sweep cannot be sent to other processes: {_reason(error)}. Leave what cannot be "
            'pickled out of its functions (make it inside of them), or use executor="threads"'
        ) from error


@functools.lru_cache(maxsize=OPEN)
def unpack(payload: bytes) -> Any:
    """Return what :func:`pack` was given; the same object for the same bytes.

    Kernels belong to function objects: were each chunk to unpack its own, each would load its own.

    ``payload``: from :func:`pack`, over a channel that you trust: pickles run code. Raises
    ExecutorError if this process lacks a module that the other one imported, or has another version
    of it.
    """
    stream = io.BytesIO(payload)
    try:
        thing = pickle.load(stream)
        if stream.tell() < len(payload):
            _refuse_other_code(*pickle.load(stream))
        return thing
    except (OtherCode, OtherImport):
        raise
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


class _WatchingPacker(_Packer):
    """Notes what of the user's is sent by name, and the names in functions that it has met."""

    def __init__(self, file: io.BytesIO, names: list[str]) -> None:
        super().__init__(file)
        self.names, self.met = names, dict[int, Any]()
        self.imported: dict[str, types.ModuleType] = {}

    def reducer_override(self, thing: Any) -> Any:
        """Reduce as ever."""
        if isinstance(thing, types.FunctionType):
            self.names += names_of(thing)
            self.imported.update(imported_by(thing))
        reduced = super().reducer_override(thing)
        kinds = types.FunctionType | type | types.ModuleType
        if reduced is NotImplemented and isinstance(thing, kinds) and origin(thing) == USERS:
            self.met[id(thing)] = thing
        return reduced

    def told(self) -> list[tuple]:
        """Return of all that was met where it is imported from, and what is read there."""
        return list(map(self._tell, (*self.met.values(), *self.imported.values())))

    def _tell(self, thing: Any) -> tuple:
        if isinstance(thing, types.ModuleType):
            read = read_of(thing, self.names)
            return thing.__name__, "", tuple(read), fingerprint(read)
        return thing.__module__, thing.__qualname__, (), fingerprint(thing)


class _ValuePacker(_WatchingPacker):
    """Sends modules by value: what is read of them, and no locks and files that lie beside it."""

    def reducer_override(self, thing: Any) -> Any:
        """Reduce a module of the user's to another one."""
        if isinstance(thing, types.ModuleType) and origin(thing) == USERS:
            read = read_of(thing, self.names)
            return _module_like, (thing.__name__,), read, None, None, _set_names
        return super().reducer_override(thing)

    def told(self) -> list[tuple]:
        """Return of what is imported as it runs what it is here."""
        return list(map(self._tell, self.imported.values()))


def _module_like(name: str) -> types.ModuleType:
    """Return a module that has what that one has here, until it is told better."""
    module = types.ModuleType(name)
    vars(module)["__getattr__"] = lambda member: getattr(importlib.import_module(name), member)
    return module


def _set_names(module: types.ModuleType, read: dict[str, Any]) -> None:
    vars(module).update(read)


def _refuse_other_code(by_value: bool, told: list[tuple]) -> None:
    for path, name, read, digest in told:
        module = importlib.import_module(path)
        here = operator.attrgetter(name)(module) if name else read_of(module, list(read))
        if fingerprint(here) == digest:
            continue
        problem = f"{path} is not what it is in the process that started the sweep"
        if by_value:
            raise OtherImport(
                f"in a worker {problem}, and a function imports it as it runs, which would be the "
                "worker's: import it at the top of the function's file, or use "
                'executor="threads"'
            )
        raise OtherCode(problem)


def _import_function(module: str, name: str, role: str) -> Callable:
    function = operator.attrgetter(name)(importlib.import_module(module))
    return function if registration(function) else _register(function, role)


def _set_state(function: Callable, state: tuple) -> None:
    own, set_state, role = state
    set_state(function, own)
    _register(function, role)


def _register(function: Callable, role: str) -> Callable:
    return getattr(compiling, role)(function)
