"""What the signatures of the classes share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from fastopt.rules import Rule, current, recipes

__all__ = ["Schedule", "by_name"]

Schedule = Callable[[int], float]


def by_name(name: str) -> recipes.Recipe:
    """Return the recipe of a class that is always the rule ``name``; unlike a closure, it pickles.

    >>> rule, values = by_name("lion")("Lion", {"lr": 0.1, "betas": (0.8, 0.9)})
    >>> rule.name, values
    ('lion', {'lr': 0.1, 'beta1': 0.8, 'beta2': 0.9})
    """
    return functools.partial(_named, name)


def _named(name: str, where: str, options: Mapping[str, Any]) -> tuple[Rule, dict[str, Any]]:
    rule = current(name)
    return rule, recipes.values_of(rule, where, options)
