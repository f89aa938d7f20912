"""What the code of a function names: globals, attributes, modules that it imports."""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Iterator, Mapping
from importlib.util import resolve_name
from typing import Any

from fastopt.code.origins import USERS, origin

_MISSING = object()


def names_in(code: types.CodeType) -> list[str]:
    """Return every name in code, and text that could be one: ``getattr(module, "K")``."""
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += names_in(constant)
        elif isinstance(constant, str) and constant.isidentifier():
            names.append(constant)
    return names


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
    for name in sorted(set(names)):
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


def found_as_it_runs(code: types.CodeType, names: list[str]) -> list[str]:
    """Return by what code asks for things that are not named in it."""
    known = {"eval", "exec", "globals"} & global_names(code)[0]
    return sorted(known | {"import_module", "environ", "getenv"} & set(names))


def users_in(function: types.FunctionType) -> Iterator[Any]:
    """Return what decorators of others have wrapped: functions and classes of the user's."""
    for held in (*cells_of(function).values(), *vars(function).values()):
        many = held.values() if isinstance(held, Mapping) else (held,)
        yield from (value for value in many if callable(value) and origin(value) == USERS)


def globals_of(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function looks up among its globals, and the modules it imports."""
    known = function.__globals__
    names, imported = global_names(function.__code__)
    held = {name: known[name] for name in names if name in known}
    for name in imported:
        try:
            module = sys.modules.get(resolve_name(name, known.get("__package__")))
        except ImportError:  # relative, in no package
            continue
        if name not in held and module is not None and origin(module) == USERS:
            held[name] = module
    return held
