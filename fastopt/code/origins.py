"""Whose code something is: ours, the user's, an installed package's, or Python's and Numba's own.

What is the user's is looked into, whatever file it stands in; what is installed is known by its
name, its version and its file; Python, NumPy and Numba by their names, since their versions name
the compiled code anyway.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import site
import sys
import sysconfig
import types
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

OWN, FOUNDATION, INSTALLED, USERS = "own", "foundation", "installed", "users"

_OWN_PACKAGES = ("fastopt", "sweeps")
_FOUNDATIONS = ("llvmlite", "numba", "numpy")


def origin(value: Any) -> str:
    """Return whose ``value`` is: a function, class, module or instance.

    >>> import math
    >>> origin(math.sin), origin(origin), origin(lambda x: x)
    ('foundation', 'own', 'users')
    """
    module = _module_name(value)
    top = module.partition(".")[0]
    if top in _OWN_PACKAGES:
        code = getattr(value, "__code__", None)
        # Not "<dynamic-code>": cloudpickle calls the file so of what it has sent.
        typed_in = isinstance(code, types.CodeType) and code.co_filename.startswith("<doctest ")
        return USERS if typed_in else OWN
    if top in _FOUNDATIONS or module == "builtins":
        return FOUNDATION
    return _place(_file(value, module), module)


def is_users_module(name: str) -> bool:
    """Whether a module is the user's, which may not be imported yet.

    >>> is_users_module("math"), is_users_module("sweeps.sweep")
    (False, False)
    """
    top = name.partition(".")[0]
    if top in sys.modules:
        return origin(sys.modules[top]) == USERS
    found = importlib.util.find_spec(top) if top else None
    return found is not None and _place(found.origin or "", top) == USERS


def stamp(value: Any) -> bytes:
    """Return what names an installed or built-in thing: module, name, and a hash of its file."""
    module = _module_name(value)
    name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
    file = _file(value, module)
    content = b"" if origin(value) == FOUNDATION or not file else _file_hash(file)
    return f"{module}.{name} ".encode() + content


def is_extension(value: Any) -> bool:
    """Whether it is of a compiled extension module of the user's own."""
    file = _file(value, _module_name(value))
    return origin(value) == USERS and bool(file) and file.endswith(tuple(EXTENSION_SUFFIXES))


def _module_name(value: Any) -> str:
    if isinstance(value, types.ModuleType):
        return value.__name__
    name = getattr(value, "__module__", None)
    if isinstance(name, str):
        return name
    # What exec makes among globals without a name has no module.
    return "" if hasattr(value, "__code__") else type(value).__module__


def _file(value: Any, module: str) -> str:
    code = getattr(value, "__code__", None)
    if isinstance(code, types.CodeType):
        return code.co_filename
    return str(getattr(sys.modules.get(module, value), "__file__", None) or "")


@functools.cache
def _places() -> tuple[tuple[str, str], ...]:
    """Folders of installed packages, then of Python itself."""
    paths = sysconfig.get_paths()
    installed = {paths["purelib"], paths["platlib"], site.getusersitepackages()}
    installed.update(site.getsitepackages())
    python = {paths["stdlib"], paths["platstdlib"]}
    return (
        *((os.path.join(folder, ""), INSTALLED) for folder in sorted(installed)),
        *((os.path.join(folder, ""), FOUNDATION) for folder in sorted(python)),
    )


@functools.lru_cache(maxsize=4096)
def _place(file: str, module: str) -> str:
    if file.startswith("<frozen ") or (not file and module in sys.builtin_module_names):
        return FOUNDATION
    return next((kind for folder, kind in _places() if file.startswith(folder)), USERS)


def _file_hash(file: str) -> bytes:
    try:
        facts = os.stat(file)
        return _content_hash(file, facts.st_mtime_ns, facts.st_size, facts.st_ino)
    except OSError:  # in a zip file, or gone
        return b""


@functools.lru_cache(maxsize=4096)
def _content_hash(file: str, *facts: int) -> bytes:
    return hashlib.sha256(Path(file).read_bytes()).digest()
