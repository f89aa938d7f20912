"""State dicts of optimizers, in torch's layout: dumping, and loading after checking everything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastopt.clocks import new_clock, rewind
from fastopt.errors import StateError, shortened
from fastopt.rules.base import begin
from fastopt.segments import Change, Group, Piece, Segment

__all__ = ["MOST_STEPS", "check_clock", "dump", "load", "whole_steps"]

MOST_STEPS = 2**53
"""Steps are counted in float64, which tells whole numbers apart up to here."""


def dump(groups: list[Group], steps: int) -> dict[str, Any]:
    """Return copies of the state of ``groups``; see :meth:`fastopt.Optimizer.state_dict`."""
    entries: dict[int, dict[str, Any]] = {}
    rows = []
    first = 0
    for group in groups:
        pieces = group.pieces
        numbers = list(range(first, first + len(pieces)))
        first += len(pieces)
        for number, (segment, piece) in zip(numbers, pieces):
            if segment.steps > 0:
                entries[number] = _entry(group, segment, piece)
        row = {name: value for name, value in group.options.items() if name != "params"}
        if group.names is not None:
            row["param_names"] = group.names
        rows.append({**row, "params": numbers})
    return {"state": entries, "param_groups": rows, "steps": steps}


def _entry(group: Group, segment: Segment, piece: Piece) -> dict[str, Any]:
    slots = {name: piece.of(segment.slots[name]).copy() for name in group.rule.slots}
    scalars = {name: float(segment.clock[k]) for name, k in group.rule.scalars.items()}
    return {"step": segment.steps, "clock": segment.clock.copy(), **scalars, **slots}


def load(groups: list[Group], state_dict: Mapping[str, Any]) -> int:
    """Check that ``state_dict`` fits ``groups``, then copy it in; return its completed steps."""
    try:
        entries, rows = state_dict["state"], state_dict["param_groups"]
    except (KeyError, TypeError):
        raise StateError(
            "a state dict has 'state' and 'param_groups'; got "
            f"{list(state_dict) if isinstance(state_dict, Mapping) else type(state_dict).__name__}"
        ) from None
    if len(rows) != len(groups):
        raise StateError(
            f"the state dict has {len(rows)} param groups, but the optimizer has {len(groups)}"
        )
    plans = []
    for k, (group, row) in enumerate(zip(groups, rows)):
        options = _options(f"param_groups[{k}]", group, row)
        change = group.change(options)
        loaded = _segments(group, change, row["params"], entries)
        plans.append((group, options, change, loaded))
    _check_numbers(entries, rows)
    counts = [int(clock[0]) for *_, loaded in plans for clock, _ in loaded]
    steps = whole_steps("'steps'", state_dict.get("steps", max(counts, default=0)))
    for group, options, change, loaded in plans:
        _install(group, options, change, loaded)
    return steps


def whole_steps(where: str, value: Any) -> int:
    """Return a count of steps as an integer, or say what is wrong with it.

    >>> whole_steps("'step'", 3.0)
    3
    """
    try:
        step = float(value)
    except (TypeError, ValueError, OverflowError):
        step = math.nan
    if not 0 <= step < MOST_STEPS or step != int(step):
        raise StateError(
            f"{where} must be a whole number of steps, from 0 to 2**53; got {shortened(value)}"
        )
    return int(step)


def check_clock(where: str, clock: np.ndarray) -> None:
    """Raise unless this can be a clock: a number of steps, then numbers of which none is NaN."""
    whole_steps(f"{where}: the step", clock[0])
    if np.isnan(clock).any():
        raise StateError(f"{where}: 'clock' has a NaN in it: {shortened(clock.tolist())}")


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
            f"{where}: parameter {k} is called {shortened(names[k])}, but the optimizer's is "
            f"{shortened(group.keys[k])}. Give the parameters in the same order, or delete "
            "'param_names' "
            "from the state dict to go by position."
        )
    known = (name for name in group.options if name in row and name != "params")
    return {**group.options, **{name: _plain(row[name]) for name in known}}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_numbers(entries: Mapping[int, Any], rows: list[Mapping[str, Any]]) -> None:
    numbers = {number for row in rows for number in row["params"]}
    for number in entries:
        if number not in numbers:
            raise StateError(
                f"state[{shortened(number)}] belongs to no parameter: param_groups number them "
                f"{sorted(numbers)}"
            )


Loaded = tuple[np.ndarray, dict[str, list[np.ndarray]]]


def _segments(
    group: Group, change: Change, numbers: list[int], entries: Mapping[int, Mapping[str, Any]]
) -> list[Loaded]:
    """Return the checked clock and slots (a list of tensors each) of every segment."""
    remaining = iter(numbers)
    loaded = []
    for segment in group.segments:
        clock = new_clock(change.rule, change.h)
        slots: dict[str, list[np.ndarray]] = {name: [] for name in change.rule.slots}
        for k, piece in enumerate(segment.pieces):
            number = next(remaining)
            where = f"state[{number}] (parameter {shortened(piece.key)})"
            own, arrays = _checked(where, change, piece, entries.get(number, {}))
            if k and not np.array_equal(own, clock):
                raise StateError(
                    f"{where} is at step {own[0]:g}, but another tensor of the same Buffer at step "
                    f"{clock[0]:g}; a Buffer steps all its tensors together. Load it into an "
                    "optimizer over separate arrays."
                )
            clock = own
            for name, a in arrays.items():
                slots[name].append(a)
        loaded.append((clock, slots))
    return loaded


def _checked(
    where: str, change: Change, piece: Piece, entry: Mapping[str, Any]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rule, _, _ = change
    present = {name: entry[name] for name in entry if entry[name] is not None}
    numbers = ("step", "clock", *rule.scalars)
    slots = {name: a for name, a in present.items() if name not in numbers}
    for name in slots:
        if name not in rule.slots:
            raise StateError(
                f"{where} has {shortened(name)}, which {rule.name} does not keep; "
                f"it keeps {', '.join(rule.slots) or 'no arrays'}"
            )
    if not slots and not present.get("step"):
        return new_clock(rule, change.h), _first_slots(change, piece)
    for name in rule.slots:
        if name not in slots:
            raise StateError(f"{where} lacks {shortened(name)}, which {rule.name} keeps")
    arrays = {name: np.asarray(a) for name, a in slots.items()}
    for name, a in arrays.items():
        if (a.shape, a.dtype) != (piece.array.shape, piece.array.dtype):
            raise StateError(
                f"{where}: {shortened(name)} has shape {a.shape} and dtype {a.dtype}, but the "
                "parameter "
                f"has shape {piece.array.shape} and dtype {piece.array.dtype}"
            )
    return _clock(where, change, present), arrays


def _first_slots(change: Change, piece: Piece) -> dict[str, np.ndarray]:
    """Return the slots of a tensor that has not taken a step."""
    slots = {name: np.zeros_like(piece.array) for name in change.rule.slots}
    for source, slot in zip(change.rule.starts[1:], slots.values()):
        begin(source, change.h, piece.array, slot)
    return slots


def _clock(where: str, change: Change, entry: Mapping[str, Any]) -> np.ndarray:
    rule, h, _ = change
    # torch's SGD keeps no step count; all its rule asks is whether there was a step.
    step = whole_steps(f"{where}: 'step'", entry.get("step", 1))
    clock = new_clock(rule, h)
    if "clock" not in entry:
        rewind(rule, h, step, clock)
        for name, k in rule.scalars.items():
            clock[k] = float(entry.get(name, clock[k]))
        check_clock(where, clock)
        return clock
    stored = np.array(entry["clock"], np.float64)
    if stored.shape != clock.shape or stored[0] != step:
        raise StateError(
            f"{where}: 'clock' must have {clock.size} elements, the first of them the step "
            f"{step:g}; got {shortened(stored)}. Delete it to have it rebuilt from 'step'."
        )
    check_clock(where, stored)
    return stored


def _install(group: Group, options: dict[str, Any], change: Change, loaded: list[Loaded]) -> None:
    group.options.update({name: options[name] for name in options if name != "params"})
    group.adopt(change)
    for segment, (clock, slots) in zip(group.segments, loaded):
        segment.clock[:] = clock
        for name, arrays in slots.items():
            for piece, a in zip(segment.pieces, arrays):
                piece.of(segment.slots[name])[...] = a
