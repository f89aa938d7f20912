"""Values that are tuples: torch's ``betas``, which are two axes or three, and widths of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from fastopt.rules.recipes import SPLIT
from sweeps.space.axes import zipped

JOINED = {"hidden": "-", "lr_multipliers": ", "}
"""Axes whose values are numbers in one name -> what stands between those numbers."""


def without_tuples(axes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the axes of a product with numbers and names for tuples.

    An axis of pairs becomes axes that advance together, and the widths of layers a name.

    >>> axes = without_tuples({"lr": [0.1], "betas": [(0.9, 0.99), (0.8, 0.9)]})
    >>> {name: list(axis) for name, axis in axes.items()}
    {'lr': [0.1], 'beta1': [0.9, 0.8], 'beta2': [0.99, 0.9]}
    >>> without_tuples({"hidden": [(8,), (32, 16)]})
    {'hidden': ['8', '32-16']}
    """
    found: dict[str, Any] = {}
    for name, given in axes.items():
        for own, axis in _named(name, given):
            if own in found or (own != name and own in axes):
                raise SpecError(f"{shortened(own)} is there twice: by its name and in {name!r}")
            found[own] = axis
    return found


def fixed_without_tuples(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same of keywords, each of which has one value.

    >>> fixed_without_tuples({"hidden": (32, 16), "betas": (0.9, 0.99), "lr": 0.1})
    {'hidden': '32-16', 'beta1': 0.9, 'beta2': 0.99, 'lr': 0.1}
    """
    single = without_tuples({name: [value] for name, value in keywords.items()})
    return {name: axis[0] for name, axis in single.items()}


def _named(name: str, given: Any) -> Iterator[tuple[str, Any]]:
    """Yield the axes that one of a dict stands for."""
    listed = isinstance(given, list | tuple)
    if name in SPLIT and listed:
        several = any(isinstance(item, list | tuple) for item in given)
        yield from zipped(_columns(name, given if several else [given])).items()
    elif name in JOINED and listed:
        yield name, [_joined(item, JOINED[name]) for item in given]
    else:
        yield name, given


def _columns(name: str, rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the columns of an axis of pairs, by the names of what they hold."""
    length = len(rows[0]) if isinstance(rows[0], list | tuple) else 0
    names = SPLIT[name][:length]
    for row in rows:
        if len(names) < 2 or not isinstance(row, list | tuple) or len(row) != length:
            raise SpecError(
                f"{name} must be tuples ({', '.join(SPLIT[name])}) of one length; "
                f"got {shortened(row)}"
            )
    return {own: [row[k] for row in rows] for k, own in enumerate(names)}


def _joined(item: Any, between: str) -> Any:
    """Return the name of a tuple of numbers; anything else is somebody else's to refuse."""
    several = isinstance(item, list | tuple) and len(item) > 0
    if several and all(isinstance(number, int | float | np.number) for number in item):
        return between.join(map(str, item))
    return item
