"""Names of a package that are imported when they are first asked for (PEP 562).

Numba and pandas take a second to import, and ``fastopt --help`` needs neither. So a package writes
what its names stand for as imports under ``if TYPE_CHECKING:``, which type checkers read as they
are, and these are carried out here, one by one, when somebody asks.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

__all__ = ["collector_paused", "late_names"]


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Make many objects that stay, without Python's looking through all others for garbage.

    Compiling takes 5 % less then, and 12 % less where torch is imported. Garbage waits.

    >>> with collector_paused():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Names(NamedTuple):
    """What a package says that its names stand for."""

    homes: dict[str, str]  # name -> module that has it
    stars: list[str]  # modules of which it has all names
    public: list[str]  # its ``__all__``, if that stands there too, without those of the stars


def late_names(
    package: str, first: str = ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package whose names are imported late.

    ``package``: its ``__name__``. Its file has an ``if TYPE_CHECKING:`` with
    ``from module import names``, and with ``__all__`` if one of the modules is imported with a
    star. ``first``: a module that is imported before any of these names.

    >>> get, names = late_names("fastopt")
    >>> get("Adam").__name__, "Adam" in names()
    ('Adam', True)
    >>> get("Adm")
    Traceback (most recent call last):
    AttributeError: module 'fastopt' has no attribute 'Adm'
    """

    @functools.cache
    def said() -> _Names:
        module = sys.modules[package]
        file, loader = str(module.__file__), cast(Any, module.__loader__)
        if not file.endswith(".py"):
            raise ImportError(
                f"{package} is installed without its source ({file}), which says what its names "
                "stand for: install it with its .py files, which may lie in a zip file"
            )
        return _read(loader.get_data(file))

    def public() -> list[str]:
        stars = [importlib.import_module(star) for star in said().stars]
        return sorted([*said().public, *(name for star in stars for name in star.__all__)])

    def get(name: str) -> Any:
        with collector_paused():
            if name in said().homes and first:
                importlib.import_module(first)
            value = public() if name == "__all__" else _found(package, said(), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        module = sys.modules[package]
        return sorted({*vars(module), *module.__all__})

    return get, names


def _found(package: str, said: _Names, name: str) -> Any:
    """Import what a name of a package stands for: an object, or one of its modules."""
    if name in said.homes:
        return _held(said.homes[name], name)
    if not name.startswith("__"):
        if importlib.util.find_spec(f"{package}.{name}") is not None:
            return importlib.import_module(f"{package}.{name}")
        for star in said.stars:
            if name in importlib.import_module(star).__all__:
                return _held(star, name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def _held(module: str, name: str) -> Any:
    held = vars(importlib.import_module(module))
    return held[name] if name in held else importlib.import_module(f"{module}.{name}")


def _read(source: bytes) -> _Names:
    """Read what stands under ``if TYPE_CHECKING:`` in a file."""
    found = _Names({}, [], [])
    for block in ast.parse(source).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for node in block.body:
                _note(found, node)
    return found


def _note(found: _Names, node: ast.stmt) -> None:
    if isinstance(node, ast.Assign):
        found.public.extend(ast.literal_eval(node.value))
    elif isinstance(node, ast.ImportFrom):
        module, names = str(node.module), [alias.name for alias in node.names]
        if names == ["*"]:
            found.stars.append(module)
        else:
            found.homes.update(dict.fromkeys(names, module))
