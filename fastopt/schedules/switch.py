"""Any schedule inside a kernel: a switch over the rows of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.extending import overload

from fastopt.code.registration import FASTMATH
from fastopt.compile import jitable
from fastopt.errors import HyperparameterError, shortened
from fastopt.schedules.table import SCHEDULES


def _switch(functions: list[Callable]) -> Callable:
    """Close ``factor(kind, t, a)`` over the first function and the switch of the rest."""
    first, *rest = functions
    others: Any = _switch(rest) if rest else None

    @jitable
    def last(kind, t, a):
        return first(t, a)

    @jitable
    def either(kind, t, a):
        return first(t, a) if kind == 0 else others(kind - 1, t, a)

    return either if rest else last


_switched = _switch([row.function for row in SCHEDULES.values()])


def factor(kind: int, t: float, a: tuple[float, ...]) -> float:
    """Return the factor of any schedule after ``t`` steps; usable in kernels, which check nothing.

    Parameters
    ----------
    kind : int
        The schedule's number, from :func:`fastopt.schedules.pack`.
    t : float
        Completed steps.
    a : tuple of float
        The schedule's parameters, from :func:`fastopt.schedules.pack`.

    Raises
    ------
    HyperparameterError
        There is no such schedule, or ``t`` is no real number from 0 on. Only where it is called
        from Python.

    Examples
    --------
    >>> from fastopt.schedules import factor, pack
    >>> kind, a = pack("exponential", {"gamma": 0.5}, None)
    >>> factor(kind, 2.0, a)
    0.25
    """
    rows = list(SCHEDULES.values())
    if kind not in range(len(rows)):
        raise HyperparameterError(
            f"kind must be a number of fastopt.schedules.pack, below {len(rows)}; "
            f"got {shortened(kind)}"
        )
    return rows[kind].factor(t, a)


@overload(factor, jit_options={"error_model": "numpy", "fastmath": set(FASTMATH)})
def _in_kernels(kind, t, a):
    return _switched
