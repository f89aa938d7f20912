"""Decoded axes, column by column: gaps, defaults, groups of equal rows, checked whole numbers."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from fastopt import schedules
from fastopt.errors import SpecError, did_you_mean
from fastopt.rules import RULES, Rule

__all__ = [
    "ALIASES", "accepts", "aliases", "alike", "choose", "fill", "find_rule", "gaps_in", "missing",
    "packed_schedule", "rows_with", "schedule_parameters", "steps_of", "whole",
]  # fmt: skip

# beta1 is the decay of the first moment, which heavy-ball users know as momentum.
ALIASES = {"beta1": "momentum"}


def aliases(rule: Rule, key: str) -> list[str]:
    """Other axis names that set hyperparameter ``key`` of this rule."""
    return [a for a, name in ALIASES.items() if name == key and a not in rule.hyper]


def accepts(rule: Rule, name: str) -> bool:
    """Whether ``name`` sets a hyperparameter of ``rule``, directly or as an alias."""
    return name in rule.hyper or ALIASES.get(name) in rule.hyper


def missing(value: Any) -> bool:
    """Whether a decoded value means "this part of the union has no such axis"."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def fill(column: np.ndarray | None, default: Any, n: int) -> np.ndarray:
    """Return the axis where it has values, and ``default`` elsewhere."""
    if column is None:
        listed = isinstance(default, list | tuple)  # stays one value, to be refused by name
        return np.fromiter([default] * n, object, n) if listed else np.repeat(default, n)
    gaps = gaps_in(column)
    if not gaps.any():
        return column
    filled = column.astype(object)
    filled[gaps] = fill(None, default, int(gaps.sum()))
    return filled


def gaps_in(column: np.ndarray) -> np.ndarray:
    """Where a decoded axis has no value: this part of the union does not have it."""
    if column.dtype == object:
        return np.fromiter(map(missing, column), bool, len(column))
    return np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), bool)


def rows_with(names: np.ndarray, members: list[str]) -> np.ndarray:
    """Rows in which one of these names stands."""
    return np.flatnonzero(np.logical_or.reduce([names == member for member in members]))


def alike(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group rows that agree in all columns: a row of each group, and the group of each row.

    By hashing: ten times faster than sorting, and schedules have no order.

    >>> alike(np.array([3.0, 1.0, 3.0]))
    (array([0, 1]), array([0, 1, 0]))
    """
    groups, count = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        if not (column == column[:1]).all():
            own, distinct = pd.factorize(column, use_na_sentinel=False)
            if count > 1:
                own, distinct = pd.factorize(groups * len(distinct) + own)
            groups, count = own, len(distinct)
    # Groups are numbered in the order in which they appear.
    return np.flatnonzero(np.diff(np.maximum.accumulate(groups), prepend=-1)), groups


def whole(name: str, column: np.ndarray, least: int) -> np.ndarray:
    """Return a column of integers >= ``least``, or say which value is not one."""
    for value in column[alike(column)[0]].tolist():
        number = not isinstance(value, bool) and isinstance(value, numbers.Real)
        # NaN and infinity are out of the range, so int() is not asked for them.
        if not (number and least <= value < 2**62 and value == int(value)):
            raise SpecError(f"{name} must be an integer >= {least}; got {value!r}")
    return column.astype(np.int64)


def steps_of(steps: np.ndarray, epochs: np.ndarray, per_epoch: np.ndarray) -> np.ndarray:
    """Training steps of each trial, from steps or epochs, whichever was given."""
    by_steps = np.array([not missing(v) for v in steps.tolist()])
    by_epochs = np.array([not missing(v) for v in epochs.tolist()])
    if (by_steps & by_epochs).any():
        raise SpecError("a trial is as long as its epochs or its steps: give one, not both")
    if not (by_steps | by_epochs).all():
        raise SpecError(
            "how long is a trial? Give epochs=... or steps=..., as a keyword or an axis"
        )
    total = np.empty(len(steps), np.int64)
    total[by_steps] = whole("steps", steps[by_steps], 1)
    total[by_epochs] = whole("epochs", epochs[by_epochs], 1) * per_epoch[by_epochs]
    return total


def choose(what: str, name: Any, table: Mapping[str, Any]) -> Any:
    """Look ``name`` up in a table, or say what there is."""
    if not isinstance(name, str) or name not in table:
        raise SpecError(
            f"{what} must be one of {', '.join(table)}; got {name!r}{did_you_mean(name, table)}"
        )
    return table[name]


def find_rule(name: Any) -> Rule:
    """Return the rule an optimizer's name stands for."""
    return choose("optimizer", name, RULES)


def schedule_row(name: Any) -> Any:
    """Return the schedule a name stands for."""
    return choose("schedule", name, schedules.SCHEDULES)


def packed_schedule(schedule: Any, parameters: dict[str, Any], total: int) -> np.ndarray:
    """Kind and parameters of a schedule given by name, or as an object that has its own."""
    if isinstance(schedule, schedules.Schedule):
        name, given = schedule.name, dict(schedule.values)
    else:
        name, own = schedule, schedule_row(schedule).params
        given = {p: v for p, v in parameters.items() if p in own and not missing(v)}
    kind, a = schedules.pack(name, given, total)
    return np.array([kind, *a])


def schedule_parameters() -> list[str]:
    """Names of all parameters of all schedules, each an axis or keyword of a sweep."""
    return list(dict.fromkeys(p for row in schedules.SCHEDULES.values() for p in row.params))
