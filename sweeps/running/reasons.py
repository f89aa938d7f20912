"""Warnings and messages about trials that FAILED, diverged at once, or leave no best one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastopt.errors import SweepWarning, shortened
from sweeps.common.states import State


def warn_of_failures(errors: Mapping[int, str], n_trials: int, stacklevel: int = 3) -> None:
    """Warn of trials that FAILED, by default on the line that called the caller."""
    if errors:
        warnings.warn(
            f"{len(errors)} of {n_trials} trials FAILED, the first with {errors[min(errors)]}; "
            "the column 'error' has the reasons",
            SweepWarning,
            stacklevel=stacklevel,
        )


def warn_of_limit(limit: float, diverged_at_start: int, finished: int, stacklevel: int = 3) -> None:
    """Warn if no trial took a step, because the loss where all of them start is over the limit."""
    if limit < math.inf and diverged_at_start == finished > 0:
        warnings.warn(
            f"the loss at the start of all {finished} trials is above "
            f"diverge_above={shortened(limit)}, or not finite: none of them took a step",
            SweepWarning,
            stacklevel=stacklevel,
        )


def no_best(columns: Mapping[str, Any], metric: str, counts: Mapping[str, int]) -> str:
    """Say why there is no best trial, and what to do.

    >>> columns = {"state": np.array([3]), "error": np.array(["OSError: no disk"], object)}
    >>> no_best(columns, "loss", {"COMPLETE": 0, "DIVERGED": 0, "PRUNED": 0, "FAILED": 1})
    'no best trial: all of the 1 finished trials FAILED, the first with OSError: no disk'
    """
    n, failed = sum(counts.values()), counts["FAILED"]
    if n == 0:
        return "no best trial: no trial has finished"
    first = ""
    if failed and "error" in columns:
        rows = np.flatnonzero(np.asarray(columns["state"]) == State.FAILED)
        first = f", the first with {columns['error'][rows[0]]}"
    if failed == n:
        return f"no best trial: all of the {n} finished trials FAILED{first}"
    hint = "; try smaller learning rates" if counts["DIVERGED"] else ""
    why = f"; {failed} FAILED{first}" if failed else ""
    return (
        f"no best trial: none of the {n} finished trials is COMPLETE with a finite {metric} "
        f"(by state: {dict(counts)}){why}{hint}"
    )
