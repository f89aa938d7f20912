"""How plain functions are marked to be compiled, which takes no compiler yet.

Formulas are plain Python, and whoever only reads their tables (``fastopt list``) does not wait for
Numba: it is told of the functions so far when :mod:`fastopt.code.registration` is imported, as it
is before any kernel is made, and of later ones at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MARK = "__fastopt_registration__"
"""Attribute of a function that was registered to be compiled: how."""

_waiting: list[tuple[Callable, str]] = []
_registrars: list[Callable[[Any, str], Any]] = []


def inlinable(function: Callable) -> Callable:
    """Register a small plain function that kernels inline; returns the same plain function."""
    return _given_role(function, "inlinable")


def jitable(function: Callable) -> Callable:
    """Register a plain function that kernels call; LLVM decides whether to inline it."""
    return _given_role(function, "jitable")


def registration(function: Callable) -> str | None:
    """Return which of ``inlinable`` and ``jitable`` a function was registered by, or None.

    >>> registration(jitable(lambda x: x)), registration(lambda x: x)
    ('jitable', None)
    """
    return getattr(function, MARK, None)


def register_by(register: Callable[[Any, str], Any]) -> None:
    """Tell Numba of the functions so far by ``register(function, role)``, then of each at once."""
    _registrars.append(register)
    while _waiting:
        register(*_waiting.pop(0))


def _given_role(function: Callable, role: str) -> Any:
    if _registrars:
        return _registrars[-1](function, role)
    setattr(function, MARK, role)
    _waiting.append((function, role))
    return function
