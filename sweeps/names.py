"""Names of columns: which are ours in every result, and that no two columns have one name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from fastopt.errors import SpecError

__all__ = ["COUNTS", "PLACES", "RESERVED", "refuse_repeated", "refuse_taken"]

RESERVED: dict[str, str] = {
    "trial_id": "the number of a trial",
    "state": "how a trial ended",
    "error": "why a trial FAILED",
}
"""Columns of every result, whatever it is a result of, and what they say."""

COUNTS = ("steps", "steps_to_target", "diverged_step")
"""Columns of compiled trials that hold numbers of steps; the last two below zero for never.

What a user's own function measures is never among them, whatever it is called.
"""

PLACES = ("bracket", "rung")
"""Columns of a pruned sweep that say how far a trial came."""


def refuse_taken(what: str, names: Iterable[str], taken: Mapping[str, str] | None = None) -> None:
    """Raise if a name of the user's own is that of another column, which would be overwritten.

    Parameters
    ----------
    what : str
        What is named: an axis, a metric, ...
    names : iterable of str
    taken : dict of str to str, optional
        Names beside :data:`RESERVED`, and what they mean.

    Raises
    ------
    SpecError
        A name is taken, empty, or no string.

    Examples
    --------
    >>> refuse_taken("axis", ["lr", "state"])
    Traceback (most recent call last):
    fastopt.errors.SpecError: an axis cannot be called 'state': 'state' is taken (how a ...
    """
    meaning = {
        **{name: f"{text}, a column of every result" for name, text in RESERVED.items()},
        **(taken or {}),
    }
    article = "an" if what[0] in "aeiou" else "a"
    for name in names:
        if not isinstance(name, str) or not name:
            raise SpecError(f"{article} {what} is named by a non-empty string; got {name!r:.100}")
        if name in meaning:
            raise SpecError(
                f"{article} {what} cannot be called {name!r}: {name!r} is taken ({meaning[name]}). "
                f"Rename it, for example to {name + '_'!r}"
            )


def refuse_repeated(what: str, names: Iterable[str], table: str) -> None:
    """Raise if two columns of a table that is about to be made would have one name.

    Raises
    ------
    SpecError
        The first name that is there twice.

    Examples
    --------
    >>> refuse_repeated("coordinate", ["step", "lr", "lr"], "the history of a trial")
    Traceback (most recent call last):
    fastopt.errors.SpecError: a coordinate cannot be called 'lr': 'lr' is taken (another ...
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    refuse_taken(what, twice, dict.fromkeys(twice, f"another column of {table}"))
