"""What a function is at this moment, as a digest: its code and all that the code reads.

One digest decides what is compiled, what is loaded from the disk cache and what is reused from a
store, so it must change whenever a result may: with bytecode, constants, defaults, closures, the
globals and the attributes of modules and classes that the code names, the content of arrays, and
all of this of every function it can reach, compiled or not.

Functions of our own count with their module's source, because bodies of ``@overload`` are not
reachable by name. What cannot be looked into is noted by name: it is not trusted in silence.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba

from fastopt.code.names import (
    cells_of,
    found_as_it_runs,
    globals_of,
    handed_on,
    looked_up,
    names_of,
    read_of,
    users_in,
)
from fastopt.code.numbas import function_in, overloads_of, overloads_of_attributes
from fastopt.code.origins import FOUNDATION, INSTALLED, OWN, USERS, is_extension, origin, stamp
from fastopt.code.readers import ATOMS, hashed, keeps, reader_of
from fastopt.code.roles import MARK

FROZEN = "__fastopt_frozen__"
"""Attribute of a function that nothing can change any more: its digest."""

# The files that say how what is compiled is made from what is given.
_MAKERS = (
    "compile.py",
    "code/fingerprint.py",
    "code/frozen.py",
    "code/names.py",
    "code/numbas.py",
    "code/origins.py",
    "code/readers.py",
    "code/registration.py",
    "code/roles.py",
)
# Digests of functions of our own that reach nothing that can change.
_settled: weakref.WeakKeyDictionary[types.FunctionType, bytes] = weakref.WeakKeyDictionary()
# Functions of our own that close over one of a user's.
_changing: weakref.WeakSet[types.FunctionType] = weakref.WeakSet()


def fingerprint(*parts: Any) -> str:
    """Hash all that decides what ``parts`` (functions, constants, anything) do.

    Returns
    -------
    str
        16 hex digits, the same in every process with the same versions of Python and Numba.

    Examples
    --------
    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 1) != fingerprint(lambda x: x + 2)
    True
    """
    look = Inspection()
    for part in parts:
        look.hand(part)
    return look.of((_versions(), parts)).hex()[:16]


@functools.cache
def _versions() -> tuple:
    """Return what decides, beside the functions themselves, what they are compiled to."""
    loader: Any = sys.modules[__name__].__loader__  # of a zip file, too
    files = [loader.get_data(str(Path(__file__).parents[1] / name)) for name in _MAKERS]
    return numba.__version__, sys.version_info[:2], hashlib.sha256(b"".join(files)).hexdigest()


def is_settled(function: types.FunctionType) -> bool:
    """Whether nothing that the function reads can change: it is frozen, or ours all the way."""
    if FROZEN in function.__dict__ or function in _settled:
        return True
    if function in _changing or origin(function) != OWN:
        return False
    held = (cell for cell in cells_of(function).values() if isinstance(cell, types.FunctionType))
    if not any(_may_change(cell) for cell in held):
        Inspection().of(function)
    if function not in _settled:
        _changing.add(function)
    return function in _settled


def _may_change(function: types.FunctionType) -> bool:
    """Whether this is known without a look into it."""
    return function in _changing or (FROZEN not in function.__dict__ and origin(function) != OWN)


def forget(function: Any) -> None:
    """Look anew at a function of our own, which has been given a mark."""
    _settled.pop(function, None)


class Inspection:
    """One look at some values: digests of all that is met on the way, and what was not seen."""

    def __init__(self) -> None:
        self.unseen: list[str] = []
        # Functions that call themselves, directly or through others.
        self.recursive: set[int] = set()
        self._open: list[int] = []
        self._frames: list[list[int]] = [[0, 0]]  # the highest place met again; may it change?
        self._done: dict[int, tuple[bytes, int]] = {}
        self._alive: list[Any] = []
        self._packages: list[str] = []

    def of(self, value: Any) -> bytes:
        """Return the digest of ``value``."""
        if type(value) in ATOMS:
            return hashed(type(value).__name__, repr(value).encode())
        if isinstance(value, types.FunctionType):
            frozen = value.__dict__.get(FROZEN)
            settled = _settled.get(value) if frozen is None else bytes.fromhex(frozen)
            if settled is not None:
                return settled
            if not self.inside(value):  # not kept: from elsewhere it may be inside
                return hashed("named", stamp(value), *map(self.of, users_in(value)))
        if id(value) in self._done:
            digest, changes = self._done[id(value)]
            self._frames[-1][1] |= changes
            return digest
        if id(value) in self._open:
            at = self._open.index(id(value))
            self.recursive.update(self._open[at:])
            self._frames[-1][0] = min(self._frames[-1][0], at)
            return hashed("above", str(len(self._open) - at).encode())
        return self._hash_contents(value)

    def _hash_contents(self, value: Any) -> bytes:
        """Hash what ``value`` consists of; values that lie on a circle are named by distance."""
        depth, is_function = len(self._open), isinstance(value, types.FunctionType)
        self._open.append(id(value))
        self._frames.append([depth, 0])
        self._alive.append(value)
        try:
            parts = self._function(value) if is_function else reader_of(value)(self, value)
            digest = hashed(type(value).__qualname__, *parts)
        finally:
            self._open.pop()
            lowest, changes = self._frames.pop()
        self._frames[-1][0] = min(self._frames[-1][0], lowest)
        self._frames[-1][1] |= changes
        if lowest == depth:
            self._done[id(value)] = digest, changes
            if is_function and not changes:
                _settled[value] = digest
        return digest

    def change(self) -> None:
        """Say that what is looked at may be another one later."""
        self._frames[-1][1] = 1

    def note(self, what: str) -> None:
        """Say that something cannot be looked into."""
        self.change()
        if what not in self.unseen:
            self.unseen.append(what)

    def entered(self, function: types.FunctionType) -> bytes:
        """Return the digest of a function that Numba compiles, whatever package it is of."""
        if origin(function) == FOUNDATION:
            return stamp(function)
        self.enter(function)
        digest = self.of(function)
        self.leave()
        return digest

    def enter(self, function: types.FunctionType) -> None:
        """Look into functions of this one's package from now on, though it be installed."""
        self._packages.append(_package(function))

    def hand(self, value: Any) -> None:
        """Look into a function that the user gives us, though it be installed: it is compiled."""
        if is_installed(value):
            self.enter(value)

    def leave(self) -> None:
        """Undo the last :meth:`enter`."""
        self._packages.pop()

    def inside(self, value: Any) -> bool:
        """Whether to look into it: it is the user's, or of the package that we are in."""
        place = origin(value)
        return place in (OWN, USERS) or (place == INSTALLED and _package(value) in self._packages)

    def _function(self, function: types.FunctionType) -> Iterator[bytes]:
        own = origin(function) == OWN
        if own:
            yield _source_hash(function.__module__)
        else:
            self.change()
        yield str(function.__dict__.get(MARK)).encode()
        names = names_of(function)
        yield from self._code(function.__code__)
        yield from map(self.of, function.__defaults__ or ())
        yield from map(self.of, (function.__kwdefaults__ or {}).values())
        held = cells_of(function)
        yield from self.named(held, names)
        if own:
            yield from map(self.entered, filter(is_installed, held.values()))
        attached = vars(function).items()
        told = {k: v for k, v in attached if callable(v) or not (own or k in (FROZEN, MARK))}
        yield from self.named(told, names)
        if not own:
            known = globals_of(function)
            yield from self.named(known, names)
            yield from self._whole_modules(function, {**known, **held})
            yield from self.named(looked_up(function, names), names)
            yield from self._overloads(function)
            yield from self._overloaded_attributes(names)
            for name in found_as_it_runs(function, names):
                self.note(f"what {name} finds as it runs")
            return
        # What stands in our modules stays as it is, but for what is remembered in lower-case names.
        before = self._frames[-1][1]
        held = {k: v for k, v in globals_of(function).items() if k.isupper() or not keeps(v)}
        held.pop("__file__", None)  # where a module of ours lies is nothing that it does
        yield from self.named(held, names)
        yield from self._overloads(function)
        self._frames[-1][1] = before

    def _code(self, code: types.CodeType) -> Iterator[bytes]:
        counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        yield repr((counts, arguments, code.co_names, code.co_freevars)).encode()
        yield code.co_code
        yield code.co_exceptiontable
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                yield from self._code(constant)
            else:
                yield self.of(constant)

    def named(self, held: dict[str, Any], names: list[str]) -> Iterator[bytes]:
        """Hash values by their names; of modules what code with ``names`` can read of them."""
        for name in sorted(held):
            yield name.encode()
            value = held[name]
            if isinstance(value, types.ModuleType):
                yield from self.module(value, names)
            else:
                yield self.of(value)

    def _whole_modules(self, function: types.FunctionType, held: dict[str, Any]) -> Iterator[bytes]:
        """Hash modules that are handed on: whatever gets them may read any name of them."""
        modules = [name for name, value in held.items() if isinstance(value, types.ModuleType)]
        for name in sorted(handed_on(function.__code__).intersection(modules) if modules else ()):
            if origin(held[name]) == USERS:
                yield self.of(held[name])

    def module(self, module: types.ModuleType, names: list[str]) -> Iterator[bytes]:
        """Hash what code with these names can read of a module, and of modules in it."""
        place, read = origin(module), read_of(module, names)
        if is_extension(module):
            self.note(f"{module.__name__}, an extension module")
        if place == OWN:
            # `maths.exp` names the module in globals, and the function only inside the module.
            read = {k: v for k, v in read.items() if isinstance(v, types.FunctionType)}
        elif place != USERS:
            read = {k: v for k, v in read.items() if _is_compiled(v) or origin(v) == USERS}
        if place == INSTALLED:
            yield stamp(module)
        if id(module) not in self._open:
            self._open.append(id(module))
            yield from self.named(read, names)
            self._open.pop()

    def _overloaded_attributes(self, names: list[str]) -> Iterator[bytes]:
        """Hash what the user has given to types of Numba's under names that code mentions."""
        for made in overloads_of_attributes(names):
            if origin(made) in (USERS, INSTALLED):
                yield self.entered(made)
                self.note(f"a later change of {made.__name__}, an overload of an attribute")

    def _overloads(self, function: types.FunctionType) -> Iterator[bytes]:
        """Hash what a function stands for in compiled code; one of ours is marked instead."""
        if MARK in function.__dict__:
            return
        options = set()
        for template in overloads_of(function):
            options.add(str(sorted(map(str, template._jit_options.items()))))
            yield self.entered(template._overload_func)
        yield str(sorted(options)).encode()


def is_installed(value: Any) -> bool:
    """Whether it is a plain function of an installed package."""
    return isinstance(value, types.FunctionType) and origin(value) == INSTALLED


def _is_compiled(value: Any) -> bool:
    named = type(value).__name__ == "_ObjModeContextType"
    return named or function_in(value) is not None


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", "") or "").partition(".")[0]


@functools.cache
def _source_hash(module: str) -> bytes:
    made = sys.modules.get(module)
    file, loader = getattr(made, "__file__", None), getattr(made, "__loader__", None)
    # Loaders read from zip files, too; those of import hooks may have nothing but this, or less.
    read = getattr(loader, "get_data", None) or (lambda path: Path(path).read_bytes())
    return hashlib.sha256(read(file) if file else b"").digest()
