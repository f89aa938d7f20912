"""The ``[space]`` of a spec: its axes, each a list, one value or a way to write many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from fastopt.errors import SpecError, shortened
from sweeps.cli.checks import axis_names, check_value, refuse_unknown, table_at, typed
from sweeps.space.axes import as_axis, ends, geomspace, linspace, logspace
from sweeps.space.space import Space
from sweeps.space.tuples import without_tuples


class Spacing(msgspec.Struct, forbid_unknown_fields=True):
    """The ways of writing an axis as a table, of which one is used at a time."""

    geomspace: tuple[float, float, int] | None = None
    linspace: tuple[float, float, int] | None = None
    logspace: tuple[float, float, int] | None = None  # the old name of geomspace
    range: int | tuple[int, ...] | None = None
    values: list | None = None

    def build(self, where: str) -> Any:
        """Return what the table stands for, or say what is wrong with it."""
        given = {
            name: v for name in self.__struct_fields__ if (v := getattr(self, name)) is not None
        }
        if len(given) != 1:
            raise SpecError(
                f"{where}: give exactly one of {', '.join(self.__struct_fields__)}; "
                f"got {', '.join(given) or 'none'}"
            )
        ((name, v),) = given.items()
        return _BUILDERS[name](f"{where}.{name}", v)


def space_of(at: str, given: Any) -> Space:
    """Return the trials that a table of axes, or several of them, make up."""
    union = isinstance(given, list)
    if not isinstance(given, dict | list) or not given:
        raise SpecError(
            f"{at} must be a table [space] of axes, or several tables [[space]]; "
            f"got {shortened(given)}"
        )
    parts = []
    for k, part in enumerate(given if union else [given]):
        where = f"{at}[{k}]" if union else at
        parts.append({name: _axis(where, name, axis) for name, axis in _axes(where, part).items()})
    try:
        return Space(parts)
    except SpecError as error:
        raise SpecError(f"{at}: {error}") from None


def _axes(at: str, given: Any) -> dict[str, Any]:
    """Return the axes of one table, with numbers and names for tuples."""
    try:
        return without_tuples(table_at(at, given))
    except SpecError as error:
        raise SpecError(f"{at}: {error}") from None


def _axis(at: str, name: str, given: Any) -> Sequence:
    """Check one axis: its name, its form and each of its values."""
    if not name.startswith("start_"):  # coordinates of a landscape, which knows their names
        refuse_unknown(at, [name], axis_names(), "axis")
    at = f"{at}.{name}"
    if isinstance(given, dict):
        refuse_unknown(at, given, Spacing.__struct_fields__, "way to write an axis")
        given = typed(at, given, Spacing).build(at)
    axis = as_axis(at, given)
    lazy = not isinstance(axis, tuple)  # too long to walk; its ends bound the rest
    for value in ends(axis) if lazy else axis:
        check_value(at, name, value)
    return axis


def _range(at: str, v: int | tuple[int, ...]) -> range:
    bounds = (v,) if isinstance(v, int) else v
    if len(bounds) not in (1, 2, 3) or bounds[2:] == (0,):
        raise SpecError(
            f"{at}: write stop, [start, stop] or [start, stop, step] with a step that is not 0; "
            f"got {shortened(v)}"
        )
    return range(*bounds)


def _spaced(helper: Callable[..., Any], at: str, v: tuple[float, float, int]) -> Any:
    try:
        return helper(*v)
    except SpecError as error:
        raise SpecError(f"{at}: {error}") from None


_BUILDERS: dict[str, Callable[[str, Any], Any]] = {
    "geomspace": functools.partial(_spaced, geomspace),
    "linspace": functools.partial(_spaced, linspace),
    "logspace": functools.partial(_spaced, logspace),
    "range": _range,
    "values": lambda _, v: v,
}
