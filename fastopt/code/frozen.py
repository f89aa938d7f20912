"""Copies of functions that nothing can change any more, one for each thing they have been.

Numba freezes globals, arrays and closures when it compiles, and keeps what it compiled with the
function, which may go on to read something else. So a kernel contains no function of a user's but a
copy, with copies of all that it reads: its globals, the helpers it calls - plain ones too, which
compile as well then -, the ``@njit`` functions it calls, made anew from their Python, constants of
modules and classes. Copies are known by their fingerprint: what is as it was is the same object, so
whatever is remembered by object after that can never be out of date.
"""

from __future__ import annotations

import builtins
import dataclasses
import functools
import re
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.core.registry import CPUDispatcher
from numba.extending import overload

from fastopt.code.fingerprint import FROZEN, Inspection, fingerprint, is_installed, is_settled
from fastopt.code.names import cells_of, globals_of, names_of, read_of
from fastopt.code.numbas import (
    function_in,
    is_jitclass,
    is_made_by_numba,
    options_of,
    overloads_of,
    remade,
    remade_class,
)
from fastopt.code.origins import INSTALLED, OWN, USERS, is_extension, origin
from fastopt.code.registration import FASTMATH
from fastopt.code.roles import MARK, inlinable, jitable, registration
from fastopt.errors import CodeWarning

ROLES: dict[str, Callable] = {"inlinable": inlinable, "jitable": jitable}

_copies: dict[tuple[bytes, str], Any] = {}
# Of our own dataclasses those whose functions cannot change, so that asking takes 0.3 us.
_unchanging: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_warned: set[str] = set()


def frozen(value: Any) -> Any:
    """Return ``value`` with a copy in place of every function that may change.

    ``value``: a function; a tuple; or one of our own dataclasses, such as a rule or a
    problem, of which the functions are copied and the arrays are not. All else is returned as it
    is. Returns the same one if there is nothing to copy. Copies of equal functions are one object.
    Warns CodeWarning if something that it calls or reads cannot be looked into; once for each such
    thing.

    >>> rate = 2.0
    >>> def scaled(x):
    ...     return rate * x
    >>> before = frozen(scaled)
    >>> before is frozen(scaled)
    True
    >>> rate = 3.0
    >>> before(1.0), scaled(1.0), frozen(scaled) is before
    (2.0, 3.0, False)
    """
    if isinstance(value, types.FunctionType):
        return value if is_settled(value) else _Copier(value).copied(value, "jitable")
    if isinstance(value, Dispatcher):
        return _Copier(value).substitute(value, [], "jitable")
    if type(value) is tuple:
        parts = [frozen(part) for part in value]
        return value if all(map(_is, parts, value)) else tuple(parts)
    if _unchanging.get(id(value)) is value:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and origin(value) == OWN:
        held = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        functions = {k: v for k, v in held.items() if isinstance(v, types.FunctionType)}
        changed = {k: frozen(v) for k, v in functions.items() if not is_settled(v)}
        made = dataclasses.replace(value, **changed) if changed else value
        _unchanging[id(made)] = made
        return made
    return value


def fingerprint_and_warn(value: Any) -> str:
    """Return the fingerprint of ``value``; warn of what cannot be looked into, as :func:`frozen`.

    >>> fingerprint_and_warn(is_settled) == fingerprint(is_settled)
    True
    """
    look = Inspection()
    look.hand(value)
    look.of(value)
    for name in look.unseen:
        _warn_once(name, getattr(value, "__name__", f"an object of {type(value).__name__}"))
    return fingerprint(value)


def frozen_loop(function: types.FunctionType, role: str = "") -> types.FunctionType:
    """Return a copy of a loop that is to be compiled itself, which is not registered."""
    return function if is_settled(function) else _Copier(function).copied(function, role)


def _is(a: Any, b: Any) -> bool:
    return a is b


class _Copier:
    """Copies what one function reaches, each thing once."""

    def __init__(self, root: Any) -> None:
        self._look = Inspection()
        self._look.hand(root)
        self._look.of(root)
        self._copied: dict[int, Any] = {}
        for name in self._look.unseen:
            _warn_once(name, getattr(root, "__name__", "a function"))

    def copied(self, function: types.FunctionType, role: str) -> Any:
        """Return the copy of a plain function, or what stands for it in compiled code."""
        if id(function) in self._copied:
            return self._copied[id(function)]
        recursive = id(function) in self._look.recursive
        digest = Inspection().of(function) if recursive else self._look.of(function)
        # What the user has overloaded is compiled as the overload says.
        role = registration(function) or ("" if overloads_of(function) else role)
        role = "dispatcher" if recursive and role else role
        known = _copies.get((digest, role))
        if known is None:
            known = _copies.setdefault((digest, role), self._copy(function, digest, role))
        self._copied[id(function)] = known
        return known

    def _copy(self, function: types.FunctionType, digest: bytes, role: str) -> Any:
        own, names = origin(function) == OWN, names_of(function)
        # Numba imports the module by its name when it loads the function; exec leaves None.
        module = function.__module__ or "__main__"
        known: dict[str, Any] = {"__builtins__": builtins, "__name__": module}
        cells = {name: types.CellType() for name in function.__code__.co_freevars}
        copy = types.FunctionType(
            function.__code__,
            function.__globals__ if own else known,
            function.__name__,
            None,
            tuple(cells.values()) if cells else None,
        )
        copy.__module__, copy.__doc__ = module, function.__doc__
        copy.__dict__[FROZEN] = digest.hex()
        # Names reach the symbols of compiled code: those of two versions must not be one.
        base = re.sub(r"(_[0-9a-f]{16})+$", "", function.__qualname__)
        copy.__qualname__ = f"{base}_{digest.hex()[:16]}"
        made = _registered(copy, role)
        self._copied[id(function)] = made

        def sub(value: Any) -> Any:
            return self.substitute(value, names, role or "jitable")

        for name, value in cells_of(function).items():
            handed = own and is_installed(value)
            cells[name].cell_contents = self._within(value, role) if handed else sub(value)
        if not own:
            known.update({k: sub(v) for k, v in globals_of(function).items()})
        copy.__defaults__ = function.__defaults__ and tuple(map(sub, function.__defaults__))
        defaults = function.__kwdefaults__
        copy.__kwdefaults__ = defaults and {k: sub(v) for k, v in defaults.items()}
        attached = {k: v for k, v in vars(function).items() if k not in (FROZEN, MARK)}
        copy.__dict__.update({k: sub(v) for k, v in attached.items()})
        if MARK not in function.__dict__:
            self._overload(function, copy)
        return made

    def _overload(self, function: types.FunctionType, copy: types.FunctionType) -> None:
        """Give the copy the overloads that the function has been given."""
        for template in overloads_of(function):
            overload(
                copy,
                jit_options=template._jit_options,
                strict=template._strict,
                inline=template._inline.value,
                prefer_literal=template.prefer_literal,
            )(self._made(template._overload_func, copy))

    def _made(self, function: types.FunctionType, copy: types.FunctionType) -> Callable:
        """Copy what Numba asks for the implementation of an overloaded function."""
        if origin(function) in (USERS, INSTALLED):
            return self._within(function)
        return lambda *_: copy  # register_jitable's: the function itself

    def _within(self, function: types.FunctionType, role: str = "") -> types.FunctionType:
        """Copy a function of an installed package too, and what it calls there."""
        self._look.enter(function)
        copy = self.copied(function, role)
        self._look.leave()
        return copy

    def substitute(self, value: Any, names: list[str], role: str) -> Any:
        """Return what stands for a value that a copy reads; ``names`` are those in its code."""
        if id(value) in self._copied:
            return self._copied[id(value)]
        if isinstance(value, types.FunctionType):
            return self._function(value, role)
        for kind, copy in _COPIED.items():
            if type(value) is kind:
                return copy(self, value, names, role)
        if is_jitclass(value):
            return self._jitclass(value)
        if is_made_by_numba(value):
            return self._compiled(value)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            made: Any = type(value)
            return made._make([self.substitute(v, names, role) for v in value])
        if isinstance(value, types.ModuleType):
            return self._module(value, names, role)
        return self._namespace(value, names, role) if _is_namespace(value) else value

    def _function(self, function: types.FunctionType, role: str) -> Any:
        if is_settled(function) or not (self._look.inside(function)):
            return function
        return self.copied(function, role)

    def _compiled(self, value: Any) -> Any:
        """Make a function that the user compiles anew, with the user's options."""
        function: Any = function_in(value)
        if origin(function) not in (USERS, INSTALLED):
            return value
        copy = self._within(function)
        key = copy.__dict__[FROZEN].encode(), repr(options_of(value))
        made = _copies.get(key) or _copies.setdefault(key, remade(value, copy))
        self._copied[id(value)] = made
        return made

    def _jitclass(self, value: Any) -> Any:
        """Make a class of ``@jitclass`` anew, whose methods keep what they read when compiled."""
        key = self._look.of(value), "jitclass"
        if key not in _copies:
            # A method that names the class has made it meanwhile.
            _copies.setdefault(key, remade_class(value, self._method))
        return _copies[key]

    def _method(self, part: Any) -> Any:
        if isinstance(part, staticmethod):
            return staticmethod(self._method(part.__func__))
        if isinstance(part, property):
            return property(*map(self._method, (part.fget, part.fset, part.fdel)))
        return self._within(part) if isinstance(part, types.FunctionType) else part

    def _module(self, module: types.ModuleType, names: list[str], role: str) -> Any:
        if origin(module) not in (USERS, INSTALLED) or is_extension(module):
            return module
        read = read_of(module, names)
        compiled = any(function_in(v) for v in read.values())
        if origin(module) == INSTALLED and not compiled:
            return module
        return self._namespace(module, names, role)

    def _namespace(self, value: Any, names: list[str], role: str) -> types.ModuleType:
        """Hold what code with ``names`` can read of a module, class or instance as it is now.

        It is a module to Numba, which compiles attributes of modules as constants.
        """
        name = getattr(value, "__name__", type(value).__name__)
        space = types.ModuleType(f"{name}, frozen")  # no importable name: it is sent by value
        self._copied[id(value)] = space
        for key, held in read_of(value, names).items():
            vars(space)[key] = self.substitute(held, names, role)
        del self._copied[id(value)]  # other code reads other names of it
        return space


def _copied_parts(self: _Copier, value: Any, names: list[str], role: str) -> Any:
    parts = [self.substitute(part, names, role) for part in value]
    return value if type(value) is tuple and all(map(_is, parts, value)) else type(value)(parts)


def _copied_mapping(self: _Copier, value: dict, names: list[str], role: str) -> dict:
    return {key: self.substitute(held, names, role) for key, held in value.items()}


def _copied_partial(self: _Copier, value: functools.partial, names: list[str], role: str) -> Any:
    """Bind arguments in a plain function, which Numba compiles, where partial objects are not."""
    if value.keywords:
        return value
    function, fixed = (self.substitute(v, names, role) for v in (value.func, value.args))

    def partial(*args: Any) -> Any:
        return function(*(fixed + args))

    bound: Any = partial
    return self.copied(bound, role)


_COPIED: dict[type, Callable] = {
    np.ndarray: lambda self, value, *_: value.copy(order="K"),
    tuple: _copied_parts,
    list: _copied_parts,
    set: _copied_parts,
    dict: _copied_mapping,
    functools.partial: _copied_partial,
}


def _registered(copy: types.FunctionType, role: str) -> Any:
    if role == "dispatcher":  # Numba's way to compile a function that calls itself
        options = {"nopython": True, "error_model": "numpy", "fastmath": set(FASTMATH)}
        return CPUDispatcher(copy, targetoptions=options)
    return ROLES[role](copy) if role else copy


def _is_namespace(value: Any) -> bool:
    """Whether it is a class of the user's, or an object, that Numba knows nothing of."""
    if callable(value) and not (isinstance(value, type) and origin(value) == USERS):
        return False
    if overloads_of(value):  # what it stands for in compiled code, Numba finds by itself
        return False
    try:
        numba.typeof(value)
    except ValueError:
        return True
    return False


def _warn_once(what: str, root: str) -> None:
    if what not in _warned:
        _warned.add(what)
        warnings.warn(
            f"{root} uses {what}: fastopt cannot look into it, so a change there is not noticed, "
            "and code and results of before may be used again. After such a change start a new "
            "store, and delete the cache of compiled code that `fastopt doctor` names.",
            CodeWarning,
            stacklevel=2,
        )
