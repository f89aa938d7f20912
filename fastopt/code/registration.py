"""How plain functions are registered, so that Numba compiles them where kernels call them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.extending import register_jitable

from fastopt.code.contained import ContainedCompiler
from fastopt.code.fingerprint import FROZEN, fingerprint, forget, is_settled
from fastopt.code.origins import OWN, origin
from fastopt.code.roles import MARK, inlinable, jitable, register_by, registration

__all__ = ["FASTMATH", "adopted", "inlinable", "jitable", "name_by_content", "registration"]

# contract allows a*b + c to become one FMA. Never `True`: nnan/ninf delete NaN checks (numba#2919).
FASTMATH = frozenset({"contract"})
# Nor `reassoc` for sums: serial and parallel twins then differ in bits (measured), so norms.py adds
# in explicit lanes instead.


def adopted(function: Any, role: Callable) -> Any:
    """Register a function by ``role`` if it is one of our own; leave a user's as it is.

    What a user's reads may change at any time: kernels contain a copy, registered in their turn
    (:func:`fastopt.code.frozen.frozen`).
    """
    return role(function) if is_settled(function) else function


def _registered(function: Any, role: str) -> Any:
    named = name_by_content(_mark(function, role))
    if "<locals>" in named.__qualname__ and not is_settled(named) and origin(named) == OWN:
        return named  # kernels contain copies only, and Numba would never forget this one (26 kB)
    options = {"forceinline": True} if role == "inlinable" else {}
    register = register_jitable(
        error_model="numpy",
        fastmath=set(FASTMATH),
        pipeline_class=ContainedCompiler,
        **options,
    )
    return register(named)


def _mark(function: Callable, name: str) -> Callable:
    # Numba's registry ends with the process. A function that is sent to another one needs its entry
    # again there, so it has to know that it had one.
    if registration(function) != name:
        setattr(function, MARK, name)
        forget(function)
    return function


def name_by_content(function: Any) -> Any:
    """Name an inner function after what it is made of, in place; return it.

    Numba tells two functions of one name apart by a counter, which starts anew in every process: of
    two kernels cached by two processes and loaded by a third, one called the inner function of the
    other (measured: the finite check returned the sum of squares).
    """
    inner = "<locals>" in function.__qualname__ and FROZEN not in function.__dict__
    if inner and is_settled(function):
        ending = f"_{fingerprint(function)}"
        function.__qualname__ = function.__qualname__.removesuffix(ending) + ending
    return function


register_by(_registered)
