"""Everything is typed that is not compiled: by mypy where no function of a file is, here elsewhere.

Numba infers the types of compiled functions, and reads no annotations; an inner function of such a
file is what a template returns, and compiled too.
"""

from __future__ import annotations

import ast
import fnmatch
import inspect
import tomllib
import typing

import pytest

import sweeps
from tests.test_house import FUNCTIONS, ROOT, SOURCES, name_of, names_used, tree

# What makes a function compiled, as a decorator or as a call.
REGISTRARS = {"inlinable", "jitable", "reducible", "intrinsic", "overload", "_compiled"}
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
TESTS, UNTYPED = sorted(
    (
        part["module"]
        for part in SETTINGS["overrides"]
        if part.get("disallow_untyped_defs") is False
    ),
    key=len,
)


def module_of(path):
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


COMPILED = [
    path
    for path in SOURCES
    if any(fnmatch.fnmatch(module_of(path), pattern) for pattern in UNTYPED)
]


def outer_functions(node):
    """Functions of a module and methods of its classes, not those inside of functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS[:2]):
            yield child
        elif not isinstance(child, ast.Lambda):
            yield from outer_functions(child)


def is_annotated(function):
    """Whether mypy sees a function as typed: all its parameters are, and what it returns."""
    a = function.args
    rest = [each for each in (a.vararg, a.kwarg) if each is not None]
    given = [*a.posonlyargs, *a.args, *a.kwonlyargs, *rest]
    needed = [each for each in given if each.arg not in ("self", "cls")]
    returns = function.returns is not None or (function.name == "__init__" and needed)
    return bool(returns) and all(each.annotation is not None for each in needed)


def untyped(module):
    """Return the names of functions that nothing compiles and that are not annotated."""
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    handed = {
        name
        for call in calls
        if REGISTRARS & set(names_used(call.func))
        for argument in call.args
        for name in names_used(argument)
    }
    return [
        function.name
        for function in outer_functions(module)
        if not is_annotated(function)
        and function.name not in handed
        and not any(REGISTRARS & set(names_used(each)) for each in function.decorator_list)
    ]


def test_mypy_asks_for_types():
    assert SETTINGS["disallow_untyped_defs"]
    assert TESTS == ["tests.*"]
    assert SETTINGS["disallow_incomplete_defs"]


BARE = {
    f"sweeps/{name}.py"
    for name in (
        "engine/callees", "engine/lane_state", "engine/monitoring", "engine/multipliers",
        "engine/penalties", "engine/queue", "engine/simd", "engine/stretches", "engine/trial",
        "models/network", "problems/functions", "problems/quadratics", "problems/small_matmul",
    )
}  # fmt: skip
"""Their templates, formulas and writers of machine code have no types either."""


@pytest.mark.parametrize("path", COMPILED, ids=name_of)
def test_what_is_not_compiled_is_typed(path):
    found = untyped(tree(path))
    assert bool(found) == (name_of(path) in BARE), found


def test_only_files_with_compiled_functions_are_excused():
    for pattern in UNTYPED:
        nodes = [
            node
            for path in COMPILED
            if fnmatch.fnmatch(module_of(path), pattern)
            for node in ast.walk(tree(path))
        ]
        assert not all(is_annotated(node) for node in nodes if isinstance(node, FUNCTIONS[:2]))


def test_an_untyped_function_is_found():
    source = """
@inlinable
def compiled(a): ...
def handed(a): ...
def template(a: int) -> object:
    def inner(b): ...
    return inner
class C:
    def __init__(self, a: int): ...
    def method(self, a): ...
def bare(): ...
def half(a: int, *rest) -> None: ...
kept = jitable(handed)
"""
    assert untyped(ast.parse(source)) == ["method", "bare", "half"]


def test_what_type_checkers_read_of_sweep_is_what_it_takes():
    """Its first overload has all parameters once more: the same names, with the same defaults."""
    first, *others = typing.get_overloads(sweeps.sweep)
    assert len(others) == 3
    read, taken = (inspect.signature(each).parameters for each in (first, sweeps.sweep))
    assert {n: (p.kind, p.default) for n, p in read.items()} == {
        n: (p.kind, p.default) for n, p in taken.items()
    }
