"""Hyperparameters and schedules of trials, column by column, every value checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastopt import schedules
from fastopt.rules import Rule
from sweeps.engine.columns import (
    aliases,
    alike,
    fill,
    find_rule,
    gaps_in,
    packed,
    packed_schedule,
    rows_with,
    schedule_parameters,
)


def hyper_table(
    names: np.ndarray, values: Mapping[str, np.ndarray], defaults: Mapping[str, Any]
) -> np.ndarray:
    """Return the hyperparameters of trials, a row each, in the order of their rule.

    ``names`` (n,): optimizers. ``values``, ``defaults``: axes by name, and keywords.
    """
    rule = find_rule(names[0])
    h = np.empty((len(names), len(rule.hyper)))
    distinct = names[alike(names)[0]].tolist()
    for name in distinct:
        rows = rows_with(names, [name]) if len(distinct) > 1 else slice(None)
        own = find_rule(name)
        for row, (key, kind) in enumerate(own.hyper.items()):
            column = _column(own, key, kind.default, values, defaults, rows)
            h[rows, row] = packed(f"{name}: {key}", kind, column)
    return h


def _column(
    rule: Rule,
    key: str,
    default: Any,
    values: Mapping[str, np.ndarray],
    defaults: Mapping[str, Any],
    rows: Any,
) -> np.ndarray:
    """One hyperparameter: where a trial has its axis that, else its alias, else the keyword."""
    keywords = (defaults[name] for name in (key, *aliases(rule, key)) if name in defaults)
    column = np.array([next(keywords, default)])
    for axis in (*reversed(aliases(rule, key)), key):
        if axis in values:
            given = values[axis][rows]
            gaps = gaps_in(given)
            column = np.where(gaps, column, given) if gaps.any() else given
    return column  # of one row, if it has no axis


def schedule_table(
    names: np.ndarray,
    values: Mapping[str, np.ndarray],
    defaults: Mapping[str, Any],
    steps: np.ndarray,
) -> np.ndarray:
    """Return kind and parameters of each trial's schedule; trials that agree are packed once."""
    parameters = [p for p in schedule_parameters() if p in values or p in defaults]
    columns = [fill(values.get(p), defaults.get(p), len(names)) for p in parameters]
    first, inverse = alike(names, steps, *columns)
    known = np.empty((len(first), 1 + schedules.WIDTH))
    for k, row in enumerate(zip(*(c[first].tolist() for c in (names, steps, *columns)))):
        known[k] = packed_schedule(row[0], dict(zip(parameters, row[2:])), row[1])
    # Most sweeps have one schedule, and a row of it is copied faster than it is looked up.
    return known[inverse] if len(known) > 1 else np.repeat(known, len(names), axis=0)
