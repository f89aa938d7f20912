"""Numbers and times as people read them."""

from __future__ import annotations

import math
from typing import Any


def format_number(value: Any) -> str:
    """Write one cell of a table: four significant digits or eight characters, a dash for nothing.

    >>> cells = (0.97781, 0.0068129, 7.9141e-4, 64, 1e-8, "adam", None, math.nan, True)
    >>> [format_number(cell) for cell in cells]
    ['0.9778', '0.006813', '0.000791', '64', '1e-08', 'adam', '-', '-', 'True']
    """
    if value is None or str(value) == "<NA>" or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.4g}"
    return text if len(text) <= 8 else f"{value:.3g}"


def format_in_units(value: float) -> str:
    """Write a size in the units of a target: four significant digits, whole ones from 1,000 on.

    >>> format_in_units(16560.4), format_in_units(0.51234)
    ('16,560', '0.5123')
    """
    return f"{value:,.0f}" if value >= 1000 else format_number(value)


def format_duration(seconds: float) -> str:
    """Write a time in the two largest units that matter.

    >>> [format_duration(s) for s in (0.0123, 2.34, 61.0, 3725.0, 200000.0)]
    ['0.012 s', '2.3 s', '1 min 1 s', '1 h 2 min', '2 d 7 h']
    """
    if seconds < 60:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    for size, unit, rest, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // rest} {small}"
    return f"{whole // 60} min {whole % 60} s"
