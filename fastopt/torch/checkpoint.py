"""Checkpoints of the drop-in optimizers: what :func:`fastopt.save` and :func:`fastopt.load` do.

The layout is that of :mod:`fastopt.checkpoint`: ``param/<group>/<name>`` and
``<slot>/<group>/<name>`` are tensors, ``option/<group>/<name>`` are options that are tensors (a
learning rate may be one), and the rest is JSON in the metadata under ``"fastopt.torch"``, with the
SHA-256 of all of it beside. A parameter that was given without a name is called by its position in
the group.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fastopt.checkpoint import PARAM, check_file, check_kind, replacing
from fastopt.digest import DIGEST, check_digest, digest
from fastopt.errors import StateError, shortened
from fastopt.rules.clocks import read_clock

if TYPE_CHECKING:
    from torch.optim import Optimizer

KEY = "fastopt.torch"
VERSION = 1
OPTION = "option"

Plain = bool | int | float | str | None
Values = dict[str, Plain | list[Plain]]


class GroupRecord(msgspec.Struct, forbid_unknown_fields=True):
    """One param group in the metadata: its options, and of each parameter what is no tensor."""

    options: Values
    params: dict[str, Values]


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """The metadata of a checkpoint."""

    version: int
    optimizer: str
    groups: list[GroupRecord]


def save(opt: Optimizer, path: str | os.PathLike[str]) -> None:
    """Write the parameters and the state of an optimizer: see :func:`fastopt.save`."""
    held = opt.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    groups = []
    for k, (group, row) in enumerate(zip(opt.param_groups, held["param_groups"])):
        options = {name: v for name, v in row.items() if name not in ("params", "param_names")}
        plain = _collect_tensors(f"{OPTION}/{k}/", "", options, tensors)
        params = {}
        for label, p, number in zip(_labels(k, group), group["params"], row["params"]):
            entry = {PARAM: p.detach(), **held["state"].get(number, {})}
            if "clock" in entry:
                entry["clock"] = _clock(f"parameter '{k}/{label}'", entry["clock"])
            params[label] = _collect_tensors("", f"/{k}/{label}", entry, tensors)
        groups.append(GroupRecord(plain, params))
    record = msgspec.to_builtins(Record(VERSION, type(opt).__name__, groups))
    # As JSON has no infinity and no NaN, Python's own writes words of its own for them.
    text = json.dumps(record)
    with replacing(Path(path)) as draft:
        save_file(tensors, draft, {KEY: text, DIGEST: digest(text, _flat(tensors))})


def load(opt: Optimizer, path: str | os.PathLike[str]) -> None:
    """Read a file of :func:`save` in place: see :func:`fastopt.load`."""
    check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            record = _record(metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _check(opt, record, tensors)
        check_digest(path, metadata, metadata[KEY], _flat(tensors), may_lack=False)
        state = _state_dict(opt, record, dict(tensors))
        opt.load_state_dict(state)
    except (SafetensorError, ValueError, OverflowError) as error:
        what = str(error).rstrip(".")
        raise StateError(f"{os.fspath(path)}: {what}. Nothing was changed.") from error
    with torch.no_grad():
        for k, group in enumerate(opt.param_groups):
            for label, p in zip(_labels(k, group), group["params"]):
                p.copy_(tensors[f"{PARAM}/{k}/{label}"])


def _clock(where: str, packed: Any) -> tuple[float, ...]:
    clock = tuple(read_clock(where, packed))
    if any(map(math.isnan, clock)):  # which could not be loaded
        raise StateError(f"the clock of {where} has a NaN in it: {clock}")
    return clock


def _labels(k: int, group: dict[str, Any]) -> list[str]:
    names = group.get("param_names") or range(len(group["params"]))
    labels = [str(name) for name in names]
    if len(set(labels)) < len(labels):
        raise StateError(f"parameters of group {k} share a name; rename one of {labels}")
    return labels


def _collect_tensors(
    before: str, after: str, values: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> Values:
    """Put tensors where they are written from; return what is none."""
    plain: Values = {}
    for name, value in values.items():
        if isinstance(value, torch.Tensor):
            # A copy: the memory of parameters may be shared, or lie in another order.
            tensors[f"{before}{name}{after}"] = value.clone(memory_format=torch.contiguous_format)
        elif isinstance(value, tuple | list) and all(isinstance(v, Plain) for v in value):
            plain[name] = list(value)
        elif isinstance(value, Plain):
            plain[name] = value
        else:
            raise StateError(
                f"{before}{name}{after} is {shortened(value)}, of type {type(value).__name__}; "
                "a file holds tensors, numbers, names and lists of those. "
                "Take it out of the optimizer first"
            )
    return plain


def _flat(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, str, tuple, Any]]:
    """Yield what :func:`fastopt.digest.digest` asks of each tensor."""
    for name, t in tensors.items():
        code = str(t.dtype).removeprefix("torch.")
        yield name, code, tuple(t.shape), t.reshape(-1).view(torch.uint8).numpy()


def _record(metadata: Mapping[str, str]) -> Record:
    text = metadata.get(KEY)
    if text is None:
        raise StateError("this file was not written by fastopt.save of an optimizer over tensors")
    try:
        found = json.loads(text)
        version = found.get("version") if isinstance(found, dict) else None
        if version != VERSION:
            raise StateError(
                f"the file has format version {version}, but this fastopt reads {VERSION}; "
                "read it with the fastopt that wrote it"
            )
        return msgspec.convert(found, type=Record)
    except (json.JSONDecodeError, msgspec.MsgspecError, RecursionError) as error:
        raise StateError(f"the metadata is not well formed ({error})") from error


def _check(opt: Optimizer, record: Record, tensors: dict[str, torch.Tensor]) -> None:
    """Raise unless the file is of an optimizer of this class with these parameters."""
    check_kind(opt, record.optimizer, record.groups, opt.param_groups)
    for k, (group, saved) in enumerate(zip(opt.param_groups, record.groups)):
        labels = _labels(k, group)
        if labels != list(saved.params):
            raise StateError(
                f"group {k}: the file has the parameters {', '.join(saved.params)}; the optimizer "
                f"has {', '.join(labels)}"
            )
        for label, p in zip(labels, group["params"]):
            a = tensors.get(f"{PARAM}/{k}/{label}")
            if a is None:
                raise StateError(f"the file lacks the tensor '{PARAM}/{k}/{label}'")
            if (a.shape, a.dtype) != (p.shape, p.dtype):
                raise StateError(
                    f"parameter '{k}/{label}' has shape {tuple(a.shape)} and dtype {a.dtype} in "
                    f"the file, but shape {tuple(p.shape)} and dtype {p.dtype} in the optimizer"
                )


def _state_dict(opt: Optimizer, record: Record, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Return the file's content in the layout of torch's state dicts."""
    state: dict[int, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    labels: dict[str, int] = {}
    for k, saved in enumerate(record.groups):
        numbers = range(len(labels), len(labels) + len(saved.params))
        options = {name: _tuple(value) for name, value in saved.options.items()}
        rows.append({**options, "params": list(numbers)})
        names = opt.param_groups[k].get("param_names")
        if names:
            rows[-1]["param_names"] = list(names)
        for number, (label, plain) in zip(numbers, saved.params.items()):
            labels[f"{k}/{label}"] = number
            state[number] = {name: _tuple(value) for name, value in plain.items()}
    for name, a in tensors.items():
        kind, _, label = name.partition("/")
        if kind == OPTION:
            group, _, option = label.partition("/")
            if not (group.isdecimal() and int(group) < len(rows)):
                raise StateError(
                    f"the file has an option of a group that is not there: {shortened(name)}"
                )
            rows[int(group)][option] = a
        elif label not in labels:
            raise StateError(f"the file has state of an unknown parameter: {shortened(name)}")
        elif kind != PARAM:
            state[labels[label]][kind] = a
    return {"state": {i: entry for i, entry in state.items() if entry}, "param_groups": rows}


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
