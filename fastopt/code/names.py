"""What the code of a function names: globals, attributes, modules that it imports."""

from __future__ import annotations

import dis
import functools
import importlib
import itertools
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import resolve_name
from typing import Any

from fastopt.code.origins import USERS, is_users_module, origin

_MISSING = object()
# By what code asks for things by text, which may be names then: in its globals, or elsewhere.
_GLOBALS_BY_TEXT = {"eval", "evaluate", "exec", "f_globals", "globals", "query"}
_BY_TEXT = {"__dict__", "__import__", "attrgetter", "environ", "getattr", "getenv"}
_BY_TEXT |= {"import_module", "methodcaller", "modules", "vars", *_GLOBALS_BY_TEXT}


def names_of(function: types.FunctionType) -> list[str]:
    """Return every name in a function, and text that could be one: ``getattr(module, NAME)``."""
    names = names_in(function.__code__)
    if not _BY_TEXT.isdisjoint(names):
        found = ((text, *re.findall(r"\w+", text)) for text in _texts_of(function))
        names = [*names, *itertools.chain(*found)]
    return names


def _texts_of(function: types.FunctionType) -> Iterator[str]:
    held = *_known_of(function).values(), *cells_of(function).values()
    defaults = *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()
    return _texts((*held, *defaults, function.__code__))


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """Return the texts among values, and in containers and code."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, types.CodeType):
            yield from _texts(value.co_consts)
        elif isinstance(value, tuple | list | set | frozenset | dict):
            yield from (text for text in [*value] if isinstance(text, str))


@functools.lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> list[str]:
    """Return every name in code, and text that could be one: ``getattr(module, "K")``."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += names_in(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            names.append(constant)
    return names


@functools.lru_cache(maxsize=4096)
def handed_on(code: types.CodeType) -> frozenset[str]:
    """Return the names whose values code does other things with than to take an attribute.

    >>> def read(x):
    ...     return helper(module_a, "K") + module_b.K + vars(module_c)["K"]
    >>> sorted(name for name in handed_on(read.__code__) if name.startswith("module"))
    ['module_a', 'module_c']
    """
    steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    found, path, imported = set(), "", dict[str, str]()
    for step, following in itertools.pairwise(steps):
        if step.opname in ("IMPORT_NAME", "IMPORT_FROM"):
            path = step.argval if step.opname == "IMPORT_NAME" else f"{path}.{step.argval}"
            imported[following.argval] = path  # where it is stored next
        taken = following.opname in ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR")
        if step.opname.startswith("LOAD_") and (not taken or following.argval == "__dict__"):
            found.add(step.argval)
    found.update([path for name, path in imported.items() if name in found])
    inner = (handed_on(part) for part in code.co_consts if isinstance(part, types.CodeType))
    return frozenset(name for name in found if isinstance(name, str)).union(*inner)


_global_names: dict[int, tuple[types.CodeType, set[str], set[str]]] = {}


def global_names(code: types.CodeType) -> tuple[set[str], set[str]]:
    """Return the names that code, and the code inside it, looks up in globals, and imports."""
    known = _global_names.get(id(code))
    if known is None:
        read, imported = _named_by(code, _READS), _imports(code)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                inner = global_names(constant)
                read, imported = read | inner[0], imported | inner[1]
        known = _global_names[id(code)] = code, read, imported  # holds the code: its id stays its
    return known[1:]


def _named_by(code: types.CodeType, operations: dict[int, int]) -> set[str]:
    """Return the names that these operations take; :mod:`dis` takes 60 times as long."""
    steps, numbers = code.co_code[::2], code.co_code[1::2]
    found = set()
    for operation, shift in operations.items():
        at = steps.find(operation)
        while at >= 0:
            number, before = numbers[at], at - 1
            while before >= 0 and steps[before] == dis.EXTENDED_ARG:
                number += numbers[before] << 8 * (at - before)
                before -= 1
            found.add(code.co_names[number >> shift])
            at = steps.find(operation, at + 1)
    return found


# Where the number of the name is in the argument: LOAD_GLOBAL has a flag in the lowest bit.
_READS = {dis.opmap["LOAD_GLOBAL"]: 1, dis.opmap["LOAD_NAME"]: 0, dis.opmap["STORE_GLOBAL"]: 0}


def _imports(code: types.CodeType) -> set[str]:
    """Return the modules that code may import, relative ones with their dots."""
    imports = dis.opmap["IMPORT_NAME"] in code.co_code[::2]
    found, steps = set(), list(dis.get_instructions(code)) if imports else []
    for at, step in enumerate(steps):
        if step.opname == "IMPORT_NAME":
            level, members = steps[at - 2].argval, steps[at - 1].argval or ()
            path = "." * level + step.argval
            inside = path if path.endswith(".") else f"{path}."
            found.update([path, *(inside + member for member in members)])
    return found


def read_of(value: Any, names: list[str]) -> dict[str, Any]:
    """Return those attributes of a module, class or instance that code with ``names`` can read."""
    plain = isinstance(value, types.ModuleType) and "__getattr__" not in vars(value)
    found = {}
    for name in sorted(name for name in set(names) if name.isidentifier()):
        held = vars(value).get(name, _MISSING) if plain else getattr(value, name, _MISSING)
        if held is not _MISSING:
            found[name] = held
    return found


def cells_of(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function closes over; a cell that is empty yet is left out."""
    held = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            held[name] = cell.cell_contents
        except ValueError:
            continue
    return held


def found_as_it_runs(function: types.FunctionType, names: list[str]) -> list[str]:
    """Return by what a function asks for things that it need not name."""
    read = global_names(function.__code__)[0]
    known = {"eval", "exec", "globals"} & read
    known |= {"environ", "getenv", "_getframe", "currentframe"} & set(names)
    modules = {"import_module"} & set(names) | {"__import__"} & read
    modules |= {"modules"} & set(names) if "sys" in read else set()
    if modules and sys.modules.keys().isdisjoint(_texts_of(function)):
        known |= modules
    return sorted(known)


def users_in(function: types.FunctionType) -> Iterator[Any]:
    """Return what decorators of others have wrapped: functions and classes of the user's."""
    for held in (*cells_of(function).values(), *vars(function).values()):
        many = held.values() if isinstance(held, Mapping) else (held,)
        yield from (value for value in many if callable(value) and origin(value) == USERS)


def globals_of(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function looks up among its globals, and the user's modules it imports."""
    return {**imported_by(function), **_known_of(function)}


def imported_by(function: types.FunctionType) -> dict[str, types.ModuleType]:
    """Return the modules of the user's that a function imports as it runs, by their paths."""
    held = {}
    for name in global_names(function.__code__)[1]:
        try:
            name = resolve_name(name, function.__globals__.get("__package__"))
        except ImportError:  # relative, in no package
            continue
        module = _imported(name)
        if module is not None:
            held[name] = module
    asks = not {"import_module", "__import__"}.isdisjoint(names_in(function.__code__))
    for text in _texts_of(function) if asks else ():
        module = _imported(text) if text.replace(".", "_").isidentifier() else None
        if module is not None:
            held[text] = module
    return held


def _known_of(function: types.FunctionType) -> dict[str, Any]:
    known, (names, _) = function.__globals__, global_names(function.__code__)
    return {name: known[name] for name in names if name in known}


def looked_up(function: types.FunctionType, names: list[str]) -> dict[str, Any]:
    """Return what a function can find by the texts that it holds: ``globals()["K"]``."""
    asked, found = _BY_TEXT.intersection(names), dict[str, Any]()
    if not asked:
        return found
    if asked & _GLOBALS_BY_TEXT:
        known = function.__globals__
        found.update({f"{name}, a global": known[name] for name in names if name in known})
    if asked & {"environ", "getenv"}:
        texts = (name for name in names if name in os.environ)
        found.update({f"{name}, of the environment": os.environ[name] for name in texts})
    if "modules" in asked:
        loaded = sys.modules.keys() & set(names)
        found.update({f"{name}, a module": sys.modules[name] for name in loaded})
    return found


def _imported(name: str) -> types.ModuleType | None:
    """Return a module of the user's that code imports, imported now if it is not yet.

    It would be what its file says when the code runs: what it is must be known before that, and be
    the same after it.
    """
    module = sys.modules.get(name)
    if module is None and is_users_module(name):
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit):  # as the function will find, which may know what to do
            return None
    return module if isinstance(module, types.ModuleType) and origin(module) == USERS else None
