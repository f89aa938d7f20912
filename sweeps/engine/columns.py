"""Decoded axes, column by column: gaps, defaults, groups of equal rows, checked whole numbers."""

from __future__ import annotations

import contextlib
import math
import numbers
from typing import Any

import numpy as np

from fastopt import schedules
from fastopt.errors import HyperparameterError, SpecError, shortened
from fastopt.rules import RULES, Rule, current
from fastopt.rules.base import Real
from fastopt.rules.clocks import LAST_STEP as MOST_STEPS
from sweeps.common.frames import pd
from sweeps.common.limits import is_whole
from sweeps.common.names import check_choice
from sweeps.engine.monitoring import next_check

MOST_INTEGER = 2**63 - 1
"""Seeds and other whole numbers of a trial are int64, in kernels, frames and stores."""

MOST_COST = 2**53
"""Nanoseconds of one core, a hundred days: what a trial counts for at most, so that sums do fit."""

WHOLE = {
    "epochs": (1, MOST_STEPS), "steps": (1, MOST_STEPS), "batch_size": (1, MOST_INTEGER),
    "seed": (0, MOST_INTEGER), "eval_every": (1, MOST_INTEGER), "patience": (0, MOST_INTEGER),
}  # fmt: skip
"""Whole numbers that a trial has: the least and the most that each may be."""

LARGEST = float(np.finfo(np.float64).max)
REALS = {"clip_norm": math.inf, "init_scale": LARGEST, "l1": LARGEST, "l2": LARGEST}
"""Reals of a trial that are no hyperparameters: from zero to this. Those are in their rules."""

FEW = 10_000
"""Rows of a column whose values are numbered without pandas, which takes 1 ms."""

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
    """Return the axis where it has values, and ``default`` elsewhere.

    Without an axis that is one value in memory, shown n times: see :func:`constant`.
    """
    if column is None:
        one = np.empty(1, object)  # a list stays one value, to be refused by name
        one[0] = default
        listed = isinstance(default, list | tuple)
        return np.broadcast_to(one if listed else np.atleast_1d(default), n)
    gaps = gaps_in(column)
    if not gaps.any():
        return column
    filled = column.astype(object)
    filled[gaps] = fill(None, default, int(gaps.sum()))
    return filled


def filled(column: np.ndarray | None, default: Any, absent: Any, n: int) -> np.ndarray:
    """Return the axis, ``default`` where it has no value, and ``absent`` if that is None."""
    return fill(column, absent if default is None else default, n)


def constant(column: np.ndarray) -> bool:
    """Tell a column that is one value in memory: what 65 536 trials share is looked at once.

    >>> constant(fill(None, "adam", 1000)), constant(np.zeros(1000))
    (True, False)
    """
    return column.strides == (0,) and len(column) > 1


def rows_of(column: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """Return some rows of a column; of a constant one they are constant, too."""
    if constant(column) and not isinstance(rows, slice):
        return np.broadcast_to(column[:1], len(rows))
    return column[rows]


def gaps_in(column: np.ndarray) -> np.ndarray:
    """Where a decoded axis has no value: this part of the union does not have it."""
    if constant(column):
        return np.broadcast_to(gaps_in(column[:1].copy()), len(column))
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
        if not (constant(column) or (column == column[:1]).all()):
            own, several = _numbered(column)
            groups, count = _numbered(groups * several + own) if count > 1 else (own, several)
    if count == 1:
        return np.zeros(min(1, len(groups)), np.int64), groups
    # Groups are numbered in the order in which they appear.
    return np.flatnonzero(np.diff(np.maximum.accumulate(groups), prepend=-1)), groups


def _numbered(column: np.ndarray) -> tuple[np.ndarray, int]:
    """Give equal values one number, in order of appearance; return that of each row, how many.

    pandas is faster where there are many, but takes longer to import than a few take to look up.
    """
    few = len(column) <= FEW
    if few and (column.dtype.kind in "iu" or all(type(value) is str for value in column)):
        known: dict[Any, int] = {}
        numbers = (known.setdefault(value, len(known)) for value in column.tolist())
        return np.fromiter(numbers, np.int64, len(column)), len(known)
    numbered, distinct = pd.factorize(column, use_na_sentinel=False)
    return numbered, len(distinct)


def whole(name: str, column: np.ndarray, where: str = "", *, other: str = "") -> np.ndarray:
    """Return a column of integers as :data:`WHOLE` allows, or say which value is not one.

    A float that is a whole number is one, a boolean is none. ``where`` names it in the message, and
    ``other`` says what else is allowed.
    """
    least, most = WHOLE[name]
    if column.dtype == np.int64 and len(column) and least <= column.min() and column.max() <= most:
        return column
    for value in column[alike(column)[0]].tolist():
        if not is_whole(value, least, most):
            number = not isinstance(value, bool) and isinstance(value, numbers.Real)
            limit = f" and at most {most:,}" if number and value > most else ""
            raise SpecError(
                f"{where or name} must be an integer >= {least}{limit}{other}; "
                f"got {shortened(value)}"
            )
    return column.astype(np.int64)


def reals(name: str, column: np.ndarray, where: str = "") -> np.ndarray:
    """Return a column of numbers as :data:`REALS` allows, or say which value is not one."""
    most = REALS[name]
    for value in column[alike(column)[0]].tolist():
        number = not isinstance(value, bool) and isinstance(value, numbers.Real)
        if not (number and 0.0 <= value <= most):
            finite = "" if most == math.inf else " and finite"
            raise SpecError(
                f"{where or name} must be a number >= 0{finite}; got {shortened(value)}"
            )
    return column.astype(np.float64)


def check_counts(steps: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Count the checks of each trial after its start: see :func:`next_check`.

    >>> check_counts(np.array([7, 10, 41, 42]), np.array([5, 5, 0, 0]))
    array([ 2,  2, 16, 17])
    """
    times, last = [next_check(0, 0)], int(steps.max(initial=1))
    while times[-1] < last:
        times.append(next_check(times[-1], 0))
    even = -(-steps // np.maximum(every, 1))
    return np.where(every > 0, even, np.searchsorted(times, steps) + 1)


def steps_of(steps: np.ndarray, epochs: np.ndarray, per_epoch: np.ndarray) -> np.ndarray:
    """Training steps of each trial, from steps or epochs, whichever was given."""
    by_steps, by_epochs = ~gaps_in(steps), ~gaps_in(epochs)
    if (by_steps & by_epochs).any():
        raise SpecError("a trial is as long as its epochs or its steps: give one, not both")
    if not (by_steps | by_epochs).all():
        raise SpecError(
            "how long is a trial? Give epochs=... or steps=..., as a keyword or an axis"
        )
    total = np.empty(len(steps), np.int64)
    total[by_steps] = whole("steps", steps[by_steps])
    passes, each = whole("epochs", epochs[by_epochs]), per_epoch[by_epochs]
    too_long = np.flatnonzero(passes > MOST_STEPS // each)
    if len(too_long):
        k = too_long[0]
        raise SpecError(
            f"epochs must be so few that a trial has at most {MOST_STEPS:,} steps; "
            f"got {passes[k]:,} epochs of {each[k]:,} steps"
        )
    total[by_epochs] = passes * each
    return total


def packed(where: str, kind: Any, column: np.ndarray) -> np.ndarray:
    """Check a column of a hyperparameter; return it as floats.

    Of numbers the smallest and the largest tell whether all are in the range of the
    hyperparameter; of anything else, and to name what is wrong, each distinct value is checked.
    """
    if isinstance(kind, Real) and column.dtype.kind in "if" and len(column):
        reals = column.astype(np.float64)
        with contextlib.suppress(HyperparameterError):
            for end in (float(reals.min()), float(reals.max())):  # NaN is both
                kind.pack(where, end)
            return reals
    first, inverse = alike(column)
    return np.array([kind.pack(where, v) for v in column[first].tolist()])[inverse]


def find_rule(name: Any) -> Rule:
    """Return the rule an optimizer's name stands for."""
    check_choice("optimizer", name, RULES)
    return current(name)


def schedule_row(name: Any) -> Any:
    """Return the schedule a name stands for."""
    check_choice("schedule", name, schedules.SCHEDULES)
    return schedules.SCHEDULES[name]


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
