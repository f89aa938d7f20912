"""Names of columns: which are ours in every result, and that no two columns have one name."""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any

import numpy as np

from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps.common.limits import check_name

RESERVED: dict[str, str] = {
    "trial_id": "the number of a trial",
    "state": "how a trial ended",
    "error": "why a trial FAILED",
}
"""Columns of every result, whatever it is a result of, and what they say."""

UNORDERED = ("seed", "split_seed", "fold")
"""Axes of whole numbers that only tell repetitions apart: none of theirs is between two others."""

SEED = "seed"
REPEATS = (SEED, "fold")
"""Axes that are averaged over before trials are compared: the best of many seeds, or the easiest
fold, is luck."""

STEPS_TAKEN = ("steps", "steps_taken")
"""Columns with the number of steps that a trial took; the second one beside an axis ``steps``."""

STEP_COUNTS = (*STEPS_TAKEN, "steps_to_target", "diverged_step")
"""Columns of compiled trials that hold numbers of steps; the last two below zero for never.

What a user's own function measures is never among them, whatever it is called.
"""

RUNG_COLUMNS = ("bracket", "rung")
"""Columns of a pruned sweep that say how far a trial came."""


def columns_beside_axes(results: Iterable[str], axes: Collection[str]) -> tuple[str, ...]:
    """Return the columns of results in a frame with these axes: a result gives way to an axis.

    >>> columns_beside_axes(["train_loss", "steps"], ["lr", "steps"])
    ('train_loss', 'steps_taken')
    """
    return tuple(f"{name}_taken" if name in axes else name for name in results)


def steps_taken(columns: Container[str]) -> str:
    """Return which of the columns of compiled trials says how many steps each took.

    >>> steps_taken(["steps", "state", "steps_taken"]), steps_taken(["lr", "state", "steps"])
    ('steps_taken', 'steps')
    """
    given, taken = STEPS_TAKEN
    return taken if taken in columns else given


def check_boolean(what: str, given: Any) -> bool:
    """Return what is true or false, or say that it is neither.

    >>> check_boolean("curves", "no")
    Traceback (most recent call last):
    fastopt.errors.SpecError: curves must be True or False; got 'no'
    """
    if not isinstance(given, numbers.Number | np.bool_) or given not in (0, 1):
        raise SpecError(f"{what} must be True or False; got {shortened(given)}")
    return bool(given)


def check_choice(what: str, given: Any, allowed: Iterable[str]) -> None:
    """Raise unless a name is one of those that are allowed, and say which is nearest.

    >>> check_choice("metric", "train_los", ["train_loss"])
    Traceback (most recent call last):
    fastopt.errors.SpecError: metric must be one of train_loss; got 'train_los' (did you mean ...
    """
    names = list(allowed)
    if not isinstance(given, str) or given not in names:
        raise SpecError(
            f"{what} must be one of {', '.join(names) or 'none, as there is none'}; "
            f"got {shortened(given)}{did_you_mean(given, names)}"
        )


def refuse_taken(what: str, names: Iterable[str], taken: Mapping[str, str] | None = None) -> None:
    """Raise if a name of the user's own is that of another column, which would be overwritten.

    ``what``: what is named: an axis, a metric, ... ``taken``: names beside :data:`RESERVED`, and
    what they mean.

    >>> refuse_taken("axis", ["lr", "state"])
    Traceback (most recent call last):
    fastopt.errors.SpecError: an axis cannot be called 'state': 'state' is taken (how a ...
    """
    meaning = {
        **{name: f"{text}, a column of every result" for name, text in RESERVED.items()},
        **(taken or {}),
    }
    one = f"{'an' if what[0] in 'aeiou' else 'a'} {what}"
    for name in names:
        check_name(name, one)
        if name in meaning:
            raise SpecError(
                f"{one} cannot be called {shortened(name)}: {shortened(name)} is taken "
                f"({meaning[name]}). Rename it, for example to {shortened(name + '_')}"
            )


def refuse_repeated(what: str, names: Iterable[str], table: str) -> None:
    """Raise if two columns of a table that is about to be made would have one name.

    Raises SpecError with the first name that is there twice.

    >>> refuse_repeated("coordinate", ["step", "lr", "lr"], "the history of a trial")
    Traceback (most recent call last):
    fastopt.errors.SpecError: a coordinate cannot be called 'lr': 'lr' is taken (another ...
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    refuse_taken(what, twice, dict.fromkeys(twice, f"another column of {table}"))
