"""State dicts of optimizers, in torch's layout: dumping, and loading after checking everything."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from numbers import Number
from typing import Any

import numpy as np

from fastopt.errors import StateError, shortened
from fastopt.machine.arrays import KINDS
from fastopt.rules import RULES, Rule
from fastopt.rules.clocks import new_clock, resume_clock, whole_step
from fastopt.rules.recipes import options_of
from fastopt.stepping.batches import Piece, Segment
from fastopt.stepping.segments import Change, Group


class Count:
    """An attribute that counts steps: whoever writes to it writes a whole number.

    ``place``: of the number among those of the optimizer's ``Groups.counts``.
    """

    def __init__(self, place: int) -> None:
        self._place = place

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, opt: Any, owner: type) -> Any:
        return self if opt is None else int(opt._together.counts[self._place])

    def __set__(self, opt: Any, value: Any) -> None:
        number = whole_step(f"{type(opt).__name__}.{self._name}", value)
        opt._together.counts[self._place] = number


def dump(groups: list[Group], steps: int) -> dict[str, Any]:
    """Return copies of the state of ``groups``; see :meth:`fastopt.Optimizer.state_dict`."""
    entries: dict[int, dict[str, Any]] = {}
    rows = []
    first = 0
    for group in groups:
        group.settle()
        pieces = group.pieces
        numbers = list(range(first, first + len(pieces)))
        first += len(pieces)
        for number, (segment, piece) in zip(numbers, pieces):
            if segment not in group.waiting:
                entries[number] = _entry(group, segment, piece)
        row = {name: value for name, value in group.options.items() if name != "params"}
        if group.names is not None:
            row["param_names"] = group.names
        rows.append({**row, "params": numbers})
    return {"state": entries, "param_groups": rows, "steps": steps}


def _entry(group: Group, segment: Segment, piece: Piece) -> dict[str, Any]:
    slots = {name: piece.of(slot).copy() for name, slot in segment.slots.items()}
    numbers = {name: float(segment.clock[k]) for name, k in group.rule.accumulates.items()}
    return {"step": segment.steps, "clock": segment.clock.copy(), **numbers, **slots}


def load(groups: list[Group], state_dict: Mapping[str, Any]) -> int:
    """Check that ``state_dict`` fits ``groups``, then copy it in; return its completed steps."""
    entries, rows = check_layout(state_dict)
    if len(rows) != len(groups):
        raise StateError(
            f"the state dict has {len(rows)} param groups, but the optimizer has {len(groups)}"
        )
    plans = []
    for k, (group, row) in enumerate(zip(groups, rows)):
        options = _options(f"param_groups[{k}]", group, row)
        change = group.change(options)
        own = [entries.get(number, {}) for number in row["params"]]
        check_origin(f"param_groups[{k}]", row, own, group.options, change.rule)
        loaded = _segments(group, change, row["params"], entries)
        plans.append((group, options, change, loaded))
    check_owners(entries, rows, [slot for _, _, change, _ in plans for slot in change.rule.slots])
    steps = state_dict.get("steps")
    steps = None if steps is None else whole_step("the state dict's 'steps'", steps)
    for group, options, change, loaded in plans:
        _install(group, options, change, loaded)
    counts = [segment.steps for group in groups for segment in group.segments]
    return max(counts, default=0) if steps is None else steps


def check_layout(state_dict: Any) -> tuple[dict[Any, Any], list[Mapping[str, Any]]]:
    """Return the state and the param groups of a state dict, if it is put together as one.

    The state has the numbers of the groups as keys, also where JSON has made texts of either. What
    is in it is for others to check. Raises StateError if something is missing, or is no dict or
    list where a state dict has one; or a number stands for two parameters, or an entry that has a
    number for none.

    >>> check_layout({"state": {"0": {}}, "param_groups": [{"params": [0], "lr": 1.0}]})
    ({0: {}}, [{'params': [0], 'lr': 1.0}])
    """
    if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
        raise StateError(
            "a state dict has 'state' and 'param_groups'; got "
            f"{list(state_dict) if isinstance(state_dict, Mapping) else type(state_dict).__name__}"
        )
    entries, rows = state_dict["state"], state_dict["param_groups"]
    _check_kind("'state'", entries, Mapping, "a dict with an entry a parameter")
    _check_kind("'param_groups'", rows, list | tuple, "a list of dicts")
    for k, row in enumerate(rows):
        _check_kind(f"param_groups[{k}]", row, Mapping, "a dict")
        numbers, names = row.get("params", []), row.get("param_names") or []
        _check_kind(f"param_groups[{k}]['params']", numbers, list | tuple, "a list of numbers")
        _check_kind(f"param_groups[{k}]['param_names']", names, list | tuple, "a list of names")
        for number in numbers:
            _check_kind(f"param_groups[{k}]['params']", number, Hashable, "a list of numbers")
    numbers = [number for row in rows for number in row.get("params", [])]
    if len(set(numbers)) < len(numbers):
        raise StateError(f"two parameters have one number in param_groups: {shortened(numbers)}")
    entries = _numbered(entries, set(numbers))
    for number in numbers:
        _check_kind(f"state[{number!r}]", entries.get(number, {}), Mapping, "a dict")
    return entries, list(rows)


def _numbered(entries: Mapping[Any, Any], numbers: set[Any]) -> dict[Any, Any]:
    """Return the state by the numbers of the groups, which may be texts in either."""
    of_text, found = {str(n): n for n in numbers if isinstance(n, int | str)}, {}
    for key, entry in entries.items():
        is_other = isinstance(key, int | str) and key not in numbers
        number = of_text.get(str(key), key) if is_other else key
        if number in found:
            raise StateError(f"state[{number!r}] is there twice, once with a text as key")
        found[number] = entry
    return found


def check_owners(
    entries: Mapping[Any, Any], rows: list[Mapping[str, Any]], slots: Iterable[str]
) -> None:
    """Refuse state of a parameter that is not there: its moments would be lost without a word.

    Parameters
    ----------
    entries, rows
        From :func:`check_layout`.
    slots : iterable of str
        What optimizers of these rules keep. An entry that has none of them, and no number as key,
        is the user's.

    Raises
    ------
    StateError
        There is one.
    """
    numbers, slots = {number for row in rows for number in row["params"]}, set(slots)
    for key in set(entries).difference(numbers):
        has_slots = isinstance(entries[key], Mapping) and not slots.isdisjoint(entries[key])
        if has_slots or isinstance(key, Number):
            raise StateError(
                f"state[{shortened(key)}] belongs to no parameter: param_groups number them "
                f"{shortened(sorted(numbers, key=str))}"
            )


def check_origin(
    where: str,
    row: Mapping[str, Any],
    entries: Iterable[Mapping[str, Any]],
    options: Iterable[str],
    rule: Rule,
) -> None:
    """Refuse a param group of another class, but where its state is what this one keeps, too.

    A group is another class's if it has options of some optimizer that this one has not. By itself
    neither state that no slot is kept in tells, which may be the user's, nor an option that is
    lacking, as in older versions.

    Parameters
    ----------
    where : str
        How error messages call the group.
    row, entries
        The saved group, and the state of its parameters, as far as there is any.
    options : iterable of str
        What this optimizer's groups have.
    rule : Rule
        How they will be stepped.

    Raises
    ------
    StateError
        It is, and has other slots or none.

    Examples
    --------
    >>> from fastopt.rules import RULES
    >>> check_origin("it", {"lr": 1.0, "alpha": 0.9}, [{}], ["lr", "betas"], RULES["lion"])
    Traceback (most recent call last):
        ...
    fastopt.errors.StateError: it was saved by another class, most like rmsprop: ...
    """
    known = {name: options_of(other) for name, other in RULES.items()}
    names, every = set(options), set().union(*known.values())
    foreign, lacking = (set(row) - names) & every, (names - set(row)) & every
    if not foreign:
        return
    kept = {slot for other in RULES.values() for slot in other.slots}
    for entry in entries:
        found = {name for name in entry if entry[name] is not None} & kept
        if not found <= set(rule.slots) or (lacking and not found):
            nearest = min(known, key=lambda name: (len(known[name] ^ (set(row) & every)), name))
            raise StateError(
                f"{where} was saved by another class, most like {nearest}: it has "
                f"{', '.join(sorted(foreign))}, and a parameter's state {_listed(found)}; "
                f"{rule.name} keeps {_listed(rule.slots)}"
            )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _check_kind(where: str, found: Any, kind: Any, allowed: str) -> None:
    if not isinstance(found, kind):
        raise StateError(f"the state dict's {where} must be {allowed}; got {shortened(found)}")


def _options(where: str, group: Group, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the group's hyperparameters with those of ``row`` in their place."""
    numbers = row.get("params", ())
    if len(numbers) != len(group.keys):
        raise StateError(
            f"{where} has {len(numbers)} parameters, but the optimizer's has {len(group.keys)}"
        )
    names = list(row.get("param_names") or ())
    if names and group.names is not None and names != group.names:
        k = next(k for k, pair in enumerate(zip(names, group.keys)) if pair[0] != pair[1])
        raise StateError(
            f"{where}: parameter {k} is called {names[k]!r}, but the optimizer's is "
            f"{group.keys[k]!r}. Give the parameters in the same order, or delete 'param_names' "
            "from the state dict to go by position."
        )
    known = (name for name in group.options if name in row and name != "params")
    return {**group.options, **{name: _plain(row[name]) for name in known}}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Loaded = tuple[np.ndarray, dict[str, list[np.ndarray]]] | None
"""Checked clock and slots of a segment, a list of tensors each; None before its first step."""


def _segments(
    group: Group, change: Change, numbers: list[int], entries: Mapping[int, Mapping[str, Any]]
) -> list[Loaded]:
    """Return what is to be installed in every segment."""
    remaining = iter(numbers)
    loaded: list[Loaded] = []
    for segment in group.segments:
        found = []
        for piece in segment.pieces:
            number = next(remaining)
            where = f"state[{number}] (parameter {piece.key!r})"
            found.append(_checked(where, change, piece, entries.get(number, {})))
            clock, own = found[0][0], found[-1][0]
            if not np.array_equal(own, clock):
                raise StateError(
                    f"{where} is at step {own[0]:g}, but another tensor of the same Buffer at step "
                    f"{clock[0]:g}; a Buffer steps all its tensors together. Load it into an "
                    "optimizer over separate arrays."
                )
        tensors = [arrays for _, arrays in found if arrays is not None]
        if len(tensors) < len(found):
            loaded.append(None)
            continue
        kept = [name for name in tensors[0] if all(name in arrays for arrays in tensors)]
        loaded.append((clock, {name: [arrays[name] for arrays in tensors] for name in kept}))
    return loaded


def _checked(
    where: str, change: Change, piece: Piece, entry: Mapping[str, Any]
) -> tuple[np.ndarray, dict[str, np.ndarray] | None]:
    """Return the clock and the slots of a tensor; without slots it has not taken a step."""
    rule = change.rule
    present = {name: entry[name] for name in entry if entry[name] is not None}
    numbers = ("step", "clock", *rule.accumulates)
    slots = {name: a for name, a in present.items() if name not in numbers}
    for name in slots:
        if name not in (*rule.slots, *rule.idle):
            raise StateError(
                f"{where} has {name!r}, which {rule.name} does not keep; "
                f"it keeps {', '.join(rule.slots) or 'no arrays'}"
            )
    # torch's SGD keeps no step count; all its rule asks is whether there was a step.
    t = whole_step(f"{where}: 'step'", present.get("step", int(bool(slots))))
    if not t and not slots:
        return new_clock(rule, change.h), None
    for name in rule.slots:
        if name not in slots:
            raise StateError(f"{where} lacks {name!r}, which {rule.name} keeps")
    arrays = {name: _array(f"{where}: {name!r}", a) for name, a in slots.items()}
    for name, a in arrays.items():
        if (a.shape, a.dtype) != (piece.array.shape, piece.array.dtype):
            raise StateError(
                f"{where}: {name!r} has shape {a.shape} and dtype {a.dtype}, but the parameter "
                f"has shape {piece.array.shape} and dtype {piece.array.dtype}"
            )
    return resume_clock(where, rule, change.h, t, present.get("clock"), present), arrays


def _array(where: str, a: Any) -> np.ndarray:
    """Return a slot, an array or a tensor or what JSON made of one, as a plain array."""
    try:
        if isinstance(a, np.ndarray) and type(a) not in KINDS:  # a mask would be dropped
            raise TypeError(f"it is a {type(a).__name__}; pass its .view(np.ndarray)")
        return np.asarray(a.detach() if hasattr(a, "detach") else a)
    except (TypeError, ValueError, RuntimeError) as error:
        raise StateError(f"{where} cannot be read as an array: {error}") from error


def _install(group: Group, options: dict[str, Any], change: Change, loaded: list[Loaded]) -> None:
    group.options.update({name: options[name] for name in options if name != "params"})
    group.adopt(change)
    group.wait({segment for segment, saved in zip(group.segments, loaded) if saved is None})
    for segment, saved in zip(group.segments, loaded):
        clock, slots = (new_clock(change.rule, change.h), {}) if saved is None else saved
        segment.clock[:] = clock
        _fill(segment, slots, change.rule.slots)


def _fill(segment: Segment, slots: dict[str, list[np.ndarray]], needed: tuple[str, ...]) -> None:
    """Copy slots in; those that are needed are there, the others come and go."""
    for name in set(segment.slots).difference(slots, needed):
        del segment.slots[name]
    for name in set(slots).difference(segment.slots):
        segment.slots[name] = segment.empty_slot(2)
    for name, slot in segment.slots.items():
        if name not in slots:
            slot[...] = 0.0
        for piece, a in zip(segment.pieces, slots.get(name, ())):
            piece.of(slot)[...] = a
