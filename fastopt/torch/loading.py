"""The saved state of one parameter, by us, by torch or by others, as a step needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from fastopt.errors import StateError
from fastopt.torch.batch import initial_slot
from fastopt.torch.groups import Row
from fastopt.torch.shards import check_slot, local_of, place_like
from fastopt.torch.tensors import check_state, check_whole, empty_slot, scalar_dtype


def fit_state(
    where: str, entry: Mapping[str, Any], p: torch.Tensor, row: Row, counts: bool
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return a copy of the saved state of one parameter, and its clock, if it has any.

    ``entry``: empty, or with ``None`` for all slots, before the first step. ``row``: the
    hyperparameters that it will be stepped with. ``counts``: whether torch keeps ``step`` in the
    state.
    """
    rule, slots = row.rule, row.rule.slots
    found = [name for name in slots if entry.get(name) is not None]
    _check_slots(where, entry, p, slots, found)
    known = "step", "clock", *rule.accumulates, *slots
    present = [name for name in known if entry.get(name) is not None]
    for name in present:
        check_whole(f"{where}: {name!r}", local_of(entry[name]))
    if counts and present and "step" not in present:
        raise StateError(
            f"{where} has {', '.join(present)}, but no 'step', without which they cannot be "
            "continued. Put in how many steps were taken, or leave the entry out to start anew."
        )
    clock = row.clock(where, entry) if "step" in present or found else None
    lacking = [name for name in slots if name not in found]
    if lacking and (found or (clock is not None and clock[0])):
        raise StateError(
            f"{where} lacks {', '.join(lacking)}, which earlier steps leave behind; it has "
            f"{', '.join(present)}. Load all of it, or leave the entry out to start anew."
        )
    copied = {name: a.clone() if isinstance(a, torch.Tensor) else a for name, a in entry.items()}
    copied.pop("clock", None)
    if clock is not None:
        for name, place in rule.accumulates.items():
            copied[name] = torch.tensor(clock[place], dtype=scalar_dtype())
    if clock is not None and counts:
        copied["step"] = torch.tensor(clock[0], dtype=torch.float32)
    with torch.no_grad():
        for name in found:
            slot = empty_slot(local_of(p), slots.index(name))
            slot.copy_(local_of(entry[name]))
            copied[name] = place_like(p, slot)
    return copied, None if lacking else clock


def complete_state(entry: dict[str, Any], p: torch.Tensor, row: Row) -> dict[str, Any]:
    """Return a state to be saved with the slots of an option that was switched on since the step.

    They are what the next step would begin with.
    """
    found = [entry.get(name) is not None for name in row.rule.slots]
    if all(found) or not any(found):
        return entry
    lacking = [name for name, is_there in zip(row.rule.slots, found) if not is_there]
    return entry | initial_slots(p, row, lacking)


def initial_slots(p: torch.Tensor, row: Row, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Return slots as they are before the first step."""
    local = local_of(p)
    return {name: place_like(p, initial_slot(row.rule, row.h, local, name)) for name in names}


def _check_slots(
    where: str, entry: Mapping[str, Any], p: torch.Tensor, slots: tuple[str, ...], found: list[str]
) -> None:
    tensors = [name for name, a in entry.items() if isinstance(a, torch.Tensor) and a.ndim]
    if slots and not found and set(tensors) - {"step"}:
        raise StateError(
            f"{where} has {', '.join(tensors)}, but this optimizer keeps {', '.join(slots)}; "
            "it was saved by another one"
        )
    for name in found:
        check_slot(where, p, name, entry[name])
        check_state(f"{where}: {name!r}", local_of(entry[name]), local_of(p).shape)
