"""Any schedule inside a kernel: a switch over the rows of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastopt.compile import jitable
from fastopt.schedules.table import SCHEDULES


def _switch(functions: list[Callable]) -> Callable:
    """Close ``factor(kind, t, a)`` over the first function and the switch of the rest."""
    first, *rest = functions
    others: Any = _switch(rest) if rest else None

    @jitable
    def last(kind, t, a):
        return first(t, a)

    @jitable
    def factor(kind, t, a):
        """Return the factor of schedule number ``kind`` after ``t`` steps; usable in kernels.

        Where kernels compute a power beyond any float it is infinite; Python raises OverflowError
        for it here, and not where a schedule (``exponential(2.0)``) is called.

        Examples
        --------
        >>> from fastopt.schedules import factor, pack
        >>> kind, a = pack("exponential", {"gamma": 0.5}, None)
        >>> factor(kind, 2.0, a)
        0.25
        """
        return first(t, a) if kind == 0 else others(kind - 1, t, a)

    return factor if rest else last


factor = _switch([row.function for row in SCHEDULES.values()])
"""``factor(kind, t, a)``: any schedule inside a kernel; ``kind`` and ``a`` from
:func:`fastopt.schedules.pack`."""
