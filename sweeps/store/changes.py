"""Tell whether a sweep is a stored one, an extension of one, or another; list what differs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sweeps.space.points import Points

SHOWN = 5
"""Values of an axis, and differences, that a message lists."""

MOST_LISTED = 2**20
"""Values of an axis that are compared one by one; longer axes are compared by their fields."""

TABLE = "problem.recipe.origin.content[0]."
"""Where an identity describes the table that a problem is made of, column by column."""

UNITS = "problem.options.standardize_target"

FOLLOWS = re.compile(r"problem\.((X|y)(_val|_test)?|aux\[2\]|recipe\.origin\.(y|weights))[\[:]")

GROWN = {"pruner": "pruned", "reduce": "reduced"}
"""Sweeps that do not grow: new trials change which of the old go on, or old ones are not kept."""

Document = Mapping[str, Any]


def is_same_sweep(old: Document, new: Document) -> bool:
    """Tell whether two identities are of one sweep, however it is cut into chunks."""
    return {**old, "chunk": 0} == {**new, "chunk": 0}


def differences(old: Document, new: Document) -> list[str]:
    """List why ``new`` is neither ``old`` nor an extension of it; an empty list if it is.

    A sweep grows by values of axes, and by axes that were keywords. Problem, options and all other
    keywords must be the same: then a trial with the same values has the same results.

    >>> space = {"parts": [{"lr": [0.1, 0.2]}], "names": ["lr"], "selection": None}
    >>> old = {"problem": "iris", "options": {"mode": "min"}, "keywords": {"seed": 0, "lr": None}}
    >>> old |= {"space": space, "results": [], "curve": []}
    >>> new = {**old, "space": {**space, "parts": [{"lr": [0.3, 0.2]}]}, "keywords": {"seed": 1}}
    >>> for line in differences(old, new): print(line)
    keywords.seed: 0 in the store, 1 now
    axis lr: 0.1 in the store, but not now
    """
    found: list[str] = []
    for key in ("problem", "options", "results", "curve"):
        found += _compare(key, old[key], new[key])
    axes = {*old["space"]["names"], *new["space"]["names"]}
    fixed = [{k: v for k, v in side["keywords"].items() if k not in axes} for side in (old, new)]
    found += _compare("keywords", *fixed)
    for key in ("pruner", "reduce"):
        found += _compare(key, old.get(key), new.get(key))
        if not found and new.get(key) is not None and old["space"] != new["space"]:
            lines = _compare("space", old["space"], new["space"])
            return [f"{line} (a {GROWN[key]} sweep does not grow)" for line in lines]
    return _of_data(found) + _lost_values(old, new)


def _compare(path: str, old: Any, new: Any) -> Iterator[str]:
    """Yield the differences of two documents."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _compare(f"{path}.{key}", old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for k, (before, now) in enumerate(zip(old, new)):
            yield from _compare(f"{path}[{k}]", before, now)
    elif old != new:
        yield f"{path}: {_shorten(old)} in the store, {_shorten(new)} now"


def _of_data(found: list[str]) -> list[str]:
    """Leave out the arrays that follow from a table, if it is told what is different in that.

    >>> _of_data(["problem.X: 1 in the store, 2 now", f"{TABLE}columns.a: 3 in the store, 4 now"])
    ['data.columns.a: 3 in the store, 4 now']
    """
    told = [line for line in found if line.startswith((TABLE, UNITS))]
    rest = [line for line in found if not told or not FOLLOWS.match(line)]
    return [line.replace(TABLE, "data.") for line in rest]


def _shorten(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _lost_values(old: Document, new: Document) -> list[str]:
    """List values that the new space lacks, comparing each old part with the nearest new one."""
    found = _lost_selection(old, new)
    for part in old["space"]["parts"]:
        losses = [_lost_values_of_part(part, other, old, new) for other in new["space"]["parts"]]
        fewest: list[str] = min(losses, key=len)
        found += fewest
    return list(dict.fromkeys(found))


def _lost_selection(old: Document, new: Document) -> list[str]:
    """Report a slice or sample of a grid that has lost trials."""
    before, now = old["space"]["selection"], new["space"]["selection"]
    if now is None or before == now:
        return []
    line = (
        f"space: {old['trials']} trials in the store, not all of them among the {new['trials']} now"
    )
    if before is not None and old["space"]["parts"] == new["space"]["parts"]:
        rows, wanted = _rows(before), _rows(now)
        if rows is not None and wanted is not None:
            return [] if _holds(wanted, rows) else [line]
    return [line] if before is None or old["trials"] > new["trials"] else []


def _rows(selection: Document) -> Sequence[int] | None:
    """Return the numbers of the trials of a slice or sample; None if only their digest is known."""
    of = selection["of"]
    if isinstance(of, Mapping):
        return range(*of["range"])
    return of if isinstance(of, list) else None


def _holds(wanted: Sequence[int], rows: Sequence[int]) -> bool:
    """Tell whether all of these rows are among those that are wanted.

    >>> _holds(range(9), [3, 1]), _holds(range(2**40), range(1, 2**40, 3)), _holds([3, 4], range(2))
    (True, True, False)
    >>> _holds([0, 1, 3, 7], range(4)), _holds(range(5), [0, 9, 4])
    (False, False)
    """
    if isinstance(rows, range) and isinstance(wanted, range):
        return all(row in wanted for row in (*rows[:2], *rows[-1:]))
    known = wanted if isinstance(wanted, range) else {*wanted}
    return len(rows) <= len(wanted) and all(row in known for row in rows)


def _lost_values_of_part(
    part: Document, other: Document, old: Document, new: Document
) -> list[str]:
    found = []
    for name in dict.fromkeys([*part, *other]):
        if name not in part and old["keywords"].get(name) is None:
            continue  # a hyperparameter that nobody set before: a new dimension
        before = part.get(name, [old["keywords"].get(name)])
        now = other.get(name, [new["keywords"].get(name)])
        missing = _missing_values(before, now)
        if missing:
            found.append(f"axis {name}: {missing} in the store, but not now")
    return found


def _missing_values(old: Any, new: Any) -> str:
    """Return, as text, the values of an axis that another one lacks."""
    old, new = _untie(old), _untie(new)
    if old == new or _is_longer(old, new):
        return ""
    before, now = _values(old), _values(new)
    if before is None or now is None:
        return _shorten(old)
    lost = [value for value in before if value not in now]
    more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
    return ", ".join(map(str, lost[:SHOWN])) + more


def _untie(axis: Any) -> Any:
    return axis["axis"] if isinstance(axis, Mapping) and axis.get("kind") == "Tied" else axis


def _is_longer(old: Any, new: Any) -> bool:
    """Whether both are ranges, or the same draws, and all of the old is in the new."""
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return False
    if "range" in old and "range" in new:
        before, now = range(*old["range"]), range(*new["range"])
        return before[0] in now and before[-1] in now and before.step % now.step == 0
    return "source" in old and {**old, "n": 0} == {**new, "n": 0} and old["n"] <= new["n"]


def _values(axis: Any) -> Collection | None:
    """Return the values of an axis from its description; None if there are too many, or drawn."""
    if isinstance(axis, Sequence):
        return dict.fromkeys(axis)
    if "range" in axis:
        numbers = range(*axis["range"])
        return numbers if len(numbers) <= MOST_LISTED else None
    if axis.get("kind") == "Points" and axis["n"] <= MOST_LISTED:
        return dict.fromkeys(Points(axis["low"], axis["high"], axis["n"], axis["log"]))
    return None
