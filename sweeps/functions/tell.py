"""Check the arguments of a study's ``ask`` and ``tell``."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps.common.states import STATES

ALIASES = {"FAIL": "FAILED"}
"""Optuna's names of our states, where they differ."""


def state_of(given: Any) -> int:
    """Return the position in :data:`STATES` of a name, or of a state of Optuna's.

    >>> state_of("failed"), state_of("PRUNED")
    (3, 2)
    """
    name = str(getattr(given, "name", given)).upper()
    name = ALIASES.get(name, name)
    if name not in STATES:
        allowed = [state.lower() for state in STATES]
        hint = did_you_mean(name.lower(), allowed)
        raise SpecError(f"state must be one of {', '.join(allowed)}; got {shortened(given)}{hint}")
    return STATES.index(name)


def trial_numbers(ids: Any) -> list[Any]:
    """Return the trial numbers in ``ids``, one or several; anything but an integer as text.

    >>> trial_numbers(3), trial_numbers(np.array([1, 2])), trial_numbers([1.0, True])
    ([3], [1, 2], ['1.0', 'True'])
    """
    return [_number(i) for i in np.asarray(ids, object).ravel().tolist()]


def _number(i: Any) -> Any:
    try:
        return str(i) if isinstance(i, bool | np.bool_) else operator.index(i)
    except TypeError:  # 1.0 == 1 would be found among the trials
        return str(i)


def values_per_trial(ids: Any, n: int, values: Any, state: Any) -> list[Any]:
    """Return a list with one value per trial; of a single trial, ``values`` may be its value.

    >>> values_per_trial(0, 1, 1.5, None), values_per_trial([0, 1], 2, (0.5, 1.5), None)
    ([1.5], [0.5, 1.5])
    """
    if values is None:
        if state is None:
            raise SpecError("tell(ids, values): give values, or how the trials ended in state=...")
        return [None] * n
    single = isinstance(values, Mapping | str | BaseException) or not isinstance(values, Iterable)
    told = [values] if single or getattr(values, "ndim", 1) == 0 else list(values)
    if len(told) != n:
        raise SpecError(
            f"tell(ids, values): as many values as ids; got {shortened(ids)} and {len(told)} values"
        )
    return told


def check_count(what: str, n: Any) -> int:
    """Return ``n`` if it is a positive integer, or raise; ``what`` names it."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise SpecError(f"{what} must be an integer >= 1; got {shortened(n)}")
    return int(n)
