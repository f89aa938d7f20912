"""Checkpoints: parameters and the whole state of an optimizer in one safetensors file.

The tensors are ``param/<group>/<name>`` and ``<slot>/<group>/<name>``, so that any program that
reads safetensors finds the weights. What is not a tensor is JSON in the file's metadata under
``"fastopt"``; JSON writes a float as ``repr`` does, which Python reads back exactly. Beside it
stands the SHA-256 of that JSON and of all tensors with their names, dtypes and shapes: a file in
which a bit has changed is refused. Files of version 1, which had none, load with a warning.

A file is written beside its final name, flushed to the disk and renamed: at any moment the name
holds the old checkpoint or the new one. It is read without running anything (no pickle), and
checked to the last name, shape and dtype before anything is changed.
"""

from __future__ import annotations

import math
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fastopt.code.system import sync_folder
from fastopt.digest import DIGEST, check_digest, decode_record, digest
from fastopt.errors import StateError, did_you_mean, shortened
from fastopt.optimizer import Optimizer
from fastopt.rules.clocks import whole_step
from fastopt.stepping.segments import Group, Piece, Segment

KEY = "fastopt"
VERSION, WITHOUT_DIGEST = 2, 1
PARAM = "param"

_CODES = {np.dtype(np.float32): "F32", np.dtype(np.float64): "F64"}

# JSON has no words for these.
Special = Literal["inf", "-inf", "nan"]
Plain = bool | int | float | str | None
Entry = tuple[str, Segment, Piece]


class GroupRecord(msgspec.Struct, forbid_unknown_fields=True):
    """One param group in the metadata."""

    options: dict[str, Plain | list[float]]
    clocks: dict[str, list[float | Special]]


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """The metadata of a checkpoint."""

    version: int
    optimizer: str
    steps: int
    skipped: int
    groups: list[GroupRecord]


class OverTensors(Protocol):
    """An optimizer of :mod:`fastopt.torch`, which brings its own of both: torch is optional."""

    def _save(self, path: str | os.PathLike[str]) -> None: ...
    def _load(self, path: str | os.PathLike[str]) -> None: ...


def save(opt: Optimizer | OverTensors, path: str | os.PathLike[str]) -> None:
    """Write the parameters and the state of an optimizer to a safetensors file, atomically.

    Parameters
    ----------
    opt : Optimizer
        Of :mod:`fastopt` or :mod:`fastopt.torch`; only read.
    path : str or path
        Replaced if it exists; its folder must exist.

    Raises
    ------
    StateError
        Two parameters of a group have the same name once written (``1`` and ``"1"``), a clock holds
        NaN, or ``opt`` is another library's optimizer.
    HyperparameterError
        A hyperparameter in ``param_groups`` was set to something that is not allowed.
    OSError
        The file cannot be written. An existing one is as before.

    Notes
    -----
    A schedule is a function that the program gives at construction, like the structure of the
    parameters: it is not in the file. How many steps it has seen is. Save a schedule-free
    optimizer in training mode: in evaluation mode the parameters are the average, from which
    ``train()`` computes the others to the last bits only.

    Examples
    --------
    >>> import tempfile, fastopt
    >>> w = np.array([1.0, -2.0])
    >>> opt = fastopt.AdamW(w, lr=0.1)
    >>> opt.step(np.array([0.5, 0.5]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(opt, f"{folder}/run.safetensors")
    ...     other = fastopt.AdamW(np.zeros(2))
    ...     load(other, f"{folder}/run.safetensors")
    >>> other.steps, other.param_groups[0]["lr"], other.param_groups[0]["params"][0] == w
    (1, 0.1, array([ True,  True]))
    """
    if not isinstance(opt, Optimizer):
        return _of_tensors(opt, "save")(path)
    tensors, groups = {}, []
    for k, group in enumerate(opt._groups):
        group.settle()
        for label, segment, piece in _entries(k, group):
            tensors[f"{PARAM}/{label}"] = piece.array
            for name, slot in segment.slots.items() if segment not in group.waiting else ():
                tensors[f"{name}/{label}"] = piece.of(slot)
        groups.append(_group_record(k, group))
    record = Record(VERSION, type(opt).__name__, opt.steps, opt.skipped, groups)
    text = msgspec.json.encode(record).decode()
    metadata = {KEY: text, DIGEST: digest(text, flat_arrays(tensors))}
    with replacing(Path(path)) as temporary:
        save_file(tensors, temporary, metadata)
    return None


def load(opt: Optimizer | OverTensors, path: str | os.PathLike[str]) -> None:
    """Read a file of :func:`save` into the parameters and the state of an optimizer, in place.

    From then on the optimizer continues bit for bit as the saved one would have, in an arena as
    well as in separate arrays.

    Parameters
    ----------
    opt : Optimizer
        Of the same class, with parameters of the same names, shapes and dtypes. Its
        hyperparameters become those of the file.
    path : str or path
        File to read.

    Raises
    ------
    StateError
        The file is damaged, not from :func:`save`, or of another optimizer; the message has the
        exact difference. Nothing was changed.
    OSError
        The file cannot be read, or is none: a folder, a pipe, a device.

    Warns
    -----
    StateWarning
        The file is of version 1, without a digest: whether its numbers are those that were saved,
        nobody can tell. Save it again.

    See Also
    --------
    fastopt.Optimizer.load_state_dict : for state dicts, torch's included.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import fastopt
    >>> p, q = np.ones(3), np.zeros(3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fastopt.save(fastopt.Adam(p), f"{folder}/run.safetensors")
    ...     load(fastopt.Adam(q), f"{folder}/run.safetensors")
    >>> q
    array([1., 1., 1.])
    """
    if not isinstance(opt, Optimizer):
        return _of_tensors(opt, "load")(path)
    check_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            record = _record(metadata)
            _check_record(opt, record)
            _check_tensors(opt._groups, file)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        may_lack = record.version == WITHOUT_DIGEST
        check_digest(path, metadata, metadata[KEY], flat_arrays(tensors), may_lack)
        opt.load_state_dict(_state_dict(opt._groups, record, tensors))
    except (SafetensorError, ValueError, OverflowError, MemoryError) as error:
        what = str(error).rstrip(".")
        raise StateError(f"{os.fspath(path)}: {what}. Nothing was changed.") from error
    opt.skipped = record.skipped
    for k, group in enumerate(opt._groups):
        for label, _, piece in _entries(k, group):
            piece.array[...] = tensors[f"{PARAM}/{label}"]
    return None


def _of_tensors(opt: OverTensors, verb: str) -> Callable[[str | os.PathLike[str]], None]:
    """Return what an optimizer over tensors brings along for this."""
    own = getattr(opt, f"_{verb}", None)
    if own is None:
        kind = f"{type(opt).__module__}.{type(opt).__name__}"
        raise StateError(
            f"fastopt.{verb}(opt, path) is for optimizers of fastopt and fastopt.torch; got an "
            f"object of {kind}. A program that uses torch.optim writes torch.save("
            "opt.state_dict(), path); fastopt.torch's class of the same name can load that dict"
        )
    return own


def check_file(path: str | os.PathLike[str]) -> None:
    """Raise for what is no file: a folder, a device, a pipe, at which a reader waits for ever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(f"{os.fspath(path)} is not a file")


def _entries(k: int, group: Group) -> Iterator[Entry]:
    """Yield the label ``<group>/<name>`` of each tensor, with its memory."""
    seen: set[str] = set()
    for segment, piece in group.pieces:
        label = f"{k}/{piece.key}"
        if label in seen:
            raise StateError(
                f"two parameters of group {k} are called {shortened(str(piece.key))} in a file; "
                "rename one of them"
            )
        seen.add(label)
        yield label, segment, piece


def _group_record(k: int, group: Group) -> GroupRecord:
    options = {name: _plain(value) for name, value in group.options.items() if name != "params"}
    clocks: dict[str, Any] = {}
    for label, segment, piece in _entries(k, group):
        if np.isnan(segment.clock).any():
            raise StateError(
                f"{group.where}: the clock of parameter {shortened(piece.key)} has a NaN in it: "
                f"{segment.clock.tolist()}"
            )
        numbers = segment.clock.tolist()
        clocks[label] = [value if math.isfinite(value) else str(value) for value in numbers]
    return GroupRecord(options, clocks)


def flat_arrays(tensors: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str, tuple, np.ndarray]]:
    """Yield what :func:`fastopt.digest.digest` asks of each tensor."""
    for name, a in tensors.items():
        yield name, _CODES[a.dtype], a.shape, np.ascontiguousarray(a).reshape(-1)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic | np.ndarray) else value


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to, then rename that file, once it is on the disk.

    A link stays one: the file that it leads to is replaced. A file that was there hands on who may
    read it. Raises OSError for a pipe, a device or a folder, which stays.
    """
    path = Path(os.path.realpath(path))
    check_folder_of(path)
    is_there = path.exists()
    if is_there:
        check_file(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        # The library makes private files; this one is to be as readable as any other.
        temporary.touch()
        mode = (path if is_there else temporary).stat().st_mode
        try:
            yield temporary
        except SafetensorError as error:  # e.g. a full disk
            raise OSError(f"{path} could not be written: {error}") from error
        temporary.chmod(mode)
        _flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def check_folder_of(path: Path) -> None:
    """Raise FileNotFoundError unless there is the folder that a file is to be written to."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")


def _flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    with open(path, "r+b") as file:  # Windows flushes no file that is open for reading only
        os.fsync(file.fileno())


def _record(metadata: Mapping[str, str]) -> Record:
    text = metadata.get(KEY)
    if text is None:
        raise StateError("this file was not written by fastopt.save of an optimizer over arrays")
    return decode_record(text, Record, (WITHOUT_DIGEST, VERSION))


def check_kind(opt: Any, optimizer: str, groups: Sequence[Any], own_groups: Sequence[Any]) -> None:
    """Raise unless a file is of an optimizer of this class with as many groups."""
    kind = type(opt).__name__
    if optimizer != kind:
        raise StateError(f"the file holds the state of {optimizer}; this is {kind}")
    if len(groups) != len(own_groups):
        raise StateError(
            f"the file has {len(groups)} param groups; the optimizer has {len(own_groups)}"
        )


def _check_record(opt: Optimizer, record: Record) -> None:
    check_kind(opt, record.optimizer, record.groups, opt._groups)
    for what in ("steps", "skipped"):
        whole_step(f"{shortened(what)} in the file", getattr(record, what))
    for k, (group, saved) in enumerate(zip(opt._groups, record.groups)):
        known = [name for name in group.options if name != "params"]
        _check_names(f"group {k}: hyperparameters", saved.options, known)
        labels = [label for label, _, _ in _entries(k, group)]
        _check_names(f"group {k}: parameters", saved.clocks, labels)


def _check_names(what: str, saved: Iterable[str], own: Iterable[str]) -> None:
    """Raise unless two sets of names agree, saying which are in one only."""
    missing, unknown = sorted(set(own) - set(saved)), sorted(set(saved) - set(own))
    if missing or unknown:
        found = (
            f"the file has {', '.join(map(repr, unknown)) or 'nothing'} that the optimizer lacks"
        )
        lacks = f"and lacks {', '.join(map(repr, missing)) or 'nothing'} that the optimizer has"
        hint = did_you_mean(missing[0], unknown) if missing else ""
        raise StateError(f"{what} differ: {found}, {lacks}{hint}")


def _check_tensors(groups: list[Group], file: Any) -> None:
    saved, known = set(file.keys()), set()
    for k, group in enumerate(groups):
        for label, _, piece in _entries(k, group):
            name = f"{PARAM}/{label}"
            known.add(name)
            if name not in saved:
                raise StateError(f"the file lacks the tensor {shortened(name)}")
            view = file.get_slice(name)
            shape, code = tuple(view.get_shape()), view.get_dtype()
            own = piece.array
            if (shape, code) != (own.shape, _CODES[own.dtype]):
                raise StateError(
                    f"parameter {shortened(label)} has shape {shape} and dtype {code} in the "
                    "file, but "
                    f"shape {own.shape} and dtype {own.dtype} in the optimizer"
                )
            if not own.flags.writeable:
                raise StateError(f"parameter {shortened(label)} of the optimizer is read-only")
    for name in sorted(saved - known):
        if name.startswith(f"{PARAM}/"):
            raise StateError(f"the optimizer has no parameter for the tensor {shortened(name)}")
        code = file.get_slice(name).get_dtype()
        if code not in _CODES.values():
            raise StateError(
                f"tensor {shortened(name)} has dtype {code}; state is float32 or float64"
            )


def _state_dict(
    groups: list[Group], record: Record, tensors: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return the file's content in the layout of :meth:`fastopt.Optimizer.state_dict`."""
    slots: dict[str, dict[str, np.ndarray]] = {}
    for name, a in tensors.items():
        slot, _, label = name.partition("/")
        if slot != PARAM:
            slots.setdefault(label, {})[slot] = a
    entries: dict[int, dict[str, Any]] = {}
    rows = []
    for k, (group, saved) in enumerate(zip(groups, record.groups)):
        numbers = []
        for label, _, _ in _entries(k, group):
            clock = [float(value) for value in saved.clocks[label]]
            if not clock:
                raise StateError(f"parameter {shortened(label)} has an empty clock")
            numbers.append(len(entries))
            entries[numbers[-1]] = {"step": clock[0], "clock": clock, **slots.pop(label, {})}
        rows.append({**saved.options, "params": numbers})
    if slots:
        raise StateError(f"the file has state of unknown parameters: {', '.join(slots)}")
    return {"state": entries, "param_groups": rows, "steps": record.steps}
