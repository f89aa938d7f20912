"""Models in files: safetensors for the weights, JSON in their metadata for all else.

A file holds one model, or the models of an ensemble, whose tensors are ``models.0.layers.0.weight``
and so on. Beside the JSON stands the SHA-256 of it and of all tensors with their names, dtypes and
shapes. Nothing is pickled. A file is written beside its final name, flushed and renamed; it is read
without running anything, and every number of it is held against the others before there is a model.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fastopt.checkpoint import check_file, flat_arrays, replacing
from fastopt.digest import DIGEST, check_digest, decode_record, digest
from fastopt.errors import SpecError, StateError, shortened
from sweeps.common.resources import check_memory
from sweeps.models.columns import Category, Columns
from sweeps.models.network import Network
from sweeps.models.transformers import columns_of
from sweeps.problems.activations import ACTIVATIONS
from sweeps.problems.losses import LOSSES, constants_of
from sweeps.problems.passes import Design, shapes_of

KEY, SEVERAL, VERSION = "fastopt.model", "fastopt.ensemble", 1
WRITERS = {KEY: "Model", SEVERAL: "Ensemble"}
CODES = {"float32": "F32", "float64": "F64"}
LABELS = re.compile(r"\|b1|[<>]?[iuf][1248]|\|[iu]1|[<>]?U\d{1,5}|\|S\d{1,5}|[<>]?[mM]8\[\w+\]")


class Parts(NamedTuple):
    """What a model is made of, by the names of its constructor."""

    network: Network
    classes: np.ndarray | None
    preprocess: Any
    feature_names: list[str] | None
    target_name: str | None
    kinds: Mapping[str, str] | None
    about: Mapping[str, Any]


class Labels(msgspec.Struct, forbid_unknown_fields=True):
    """An array of labels: text and bytes as text, times as the integers they are kept as."""

    dtype: str
    values: list[bool | int | float | str]


class About(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is told of a model; all of it may be missing."""

    problem: str = ""
    trial_id: int | None = None
    params: dict[str, bool | int | float | str | None] = {}
    metrics: dict[str, float] = {}
    refitted_rows: int | None = None
    na_values: list[str] = []  # words of the table that stand for missing cells
    weights: str | None = None  # column of the table with the weights of rows


class Record(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The JSON of a model; what has a default came later, and is told of models that have it."""

    version: int
    fastopt: str
    dtype: str
    sizes: list[int]
    activation: str
    loss: str
    constants: dict[str, float]
    classes: Labels | None
    preprocess: Columns | None
    feature_names: list[str] | None
    target_name: str | None
    kinds: dict[str, str] | None
    about: About
    layer_norm: bool = False
    residual: bool = False
    blocks: list[int] = []


class Records(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON of an ensemble."""

    version: int
    fastopt: str
    models: list[Record]


def write(path: Path, parts: Parts) -> Path:
    """Write a model's file: :meth:`sweeps.models.model.Model.save`."""
    record, tensors = _record_of(parts), _tensors_of(parts.network)
    return _write_file(path, KEY, msgspec.json.encode(record).decode(), tensors)


def write_several(path: Path, several: Sequence[Parts]) -> Path:
    """Write an ensemble's file: :meth:`sweeps.models.ensemble.Ensemble.save`."""
    records = Records(VERSION, _own_version(), [_record_of(parts) for parts in several])
    tensors = {
        f"{_prefix(k)}{name}": array
        for k, parts in enumerate(several)
        for name, array in _tensors_of(parts.network).items()
    }
    return _write_file(path, SEVERAL, msgspec.json.encode(records).decode(), tensors)


def holds_several(path: Path) -> bool:
    """Tell whether a file is an ensemble's, by its metadata; of another file, say what is wrong."""
    with name_file_in_errors(path):
        check_file(path)
        with safe_open(path, framework="numpy") as file:
            return SEVERAL in (file.metadata() or {})


def read(path: Path) -> Parts:
    """Read a model's file: :meth:`sweeps.models.model.Model.load`."""
    with name_file_in_errors(path):
        text, tensors = _content(path, KEY)
        return _parts(decode_record(text, Record, [VERSION]), tensors)


def read_several(path: Path) -> list[Parts]:
    """Read an ensemble's file: :meth:`sweeps.models.ensemble.Ensemble.load`."""
    with name_file_in_errors(path):
        text, tensors = _content(path, SEVERAL)
        records = decode_record(text, Records, [VERSION]).models
        made = []
        for k, record in enumerate(records):
            start = _prefix(k)
            own = [name for name in tensors if name.startswith(start)]
            made.append(_parts(record, {name[len(start) :]: tensors.pop(name) for name in own}))
        if tensors:
            raise StateError(
                f"the tensors {shortened(sorted(tensors))} are of none of its {len(made)} models"
            )
        return made


@contextlib.contextmanager
def name_file_in_errors(path: Path) -> Iterator[None]:
    """Name the file in the error of what is in it."""
    try:
        yield
    except (SafetensorError, ValueError, OverflowError, MemoryError) as error:
        said = str(error).rstrip(".")
        remedy = "" if any(word in said for word in REMEDIES) else REMEDY
        raise StateError(f"{os.fspath(path)}: {said}{remedy}") from error


REMEDY, REMEDIES = ". Save it again, or take another copy of the file", ("read it with", "Use an")
"""What to do about a file that is no model, and what is said where it is something else."""


def _prefix(k: int) -> str:
    return f"models.{k}."


def _record_of(parts: Parts) -> Record:
    network, preprocess = parts.network, parts.preprocess
    return Record(
        version=VERSION,
        fastopt=_own_version(),
        dtype=network.theta.dtype.name,
        sizes=list(network.sizes),
        activation=network.activation,
        loss=network.loss,
        constants={name: float(value) for name, value in network.constants.items()},
        classes=None if parts.classes is None else _labels(parts.classes),
        preprocess=None if preprocess is None else columns_of(preprocess),
        feature_names=parts.feature_names,
        target_name=parts.target_name,
        kinds=None if parts.kinds is None else dict(parts.kinds),
        about=_convert_about(parts.about),
        layer_norm=network.layer_norm,
        residual=network.residual,
        blocks=list(network.blocks),
    )


def _tensors_of(network: Network) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(array) for name, array in network.weights.items()}


def _write_file(path: Path, key: str, text: str, tensors: dict[str, np.ndarray]) -> Path:
    with replacing(path) as temporary:
        save_file(tensors, temporary, {key: text, DIGEST: digest(text, flat_arrays(tensors))})
    return path


def _content(path: Path, key: str) -> tuple[str, dict[str, np.ndarray]]:
    """Return the JSON and the tensors of a file, to the bit as they were written."""
    check_file(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        text = metadata.get(key)
        if text is None:
            others = [WRITERS[other] for other in WRITERS if other in metadata]
            instead = f"; read it with {others[0]}.load(path)" if others else ""
            raise StateError(f"the file was not written by {WRITERS[key]}.save{instead}")
        codes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
        _refuse_dtypes(codes)
        tensors = {name: file.get_tensor(name) for name in codes}
    check_digest(path, metadata, text, flat_arrays(tensors), may_lack=False)
    return text, tensors


def _refuse_dtypes(codes: Mapping[str, str]) -> None:
    for name, code in codes.items():
        if code not in CODES.values():
            raise StateError(f"tensor {shortened(name)} has dtype {code}; weights are F32 or F64")


def _convert_about(told: Mapping[str, Any]) -> About:
    try:
        return msgspec.convert(dict(told), About)
    except msgspec.ValidationError as error:
        raise SpecError(
            f"model.about cannot be saved: {error}; give it text, numbers and booleans only"
        ) from error


def _own_version() -> str:
    try:
        return version("fastopt")
    except PackageNotFoundError:
        return "not installed"


def _labels(classes: np.ndarray) -> Labels:
    values = classes
    if classes.dtype.kind == "S":
        values = np.array([label.decode("latin-1") for label in classes.tolist()])
    elif classes.dtype.kind in "mM":
        values = classes.astype(np.int64)
    if not LABELS.fullmatch(classes.dtype.str):
        raise SpecError(
            f"labels of {classes.dtype} cannot be saved; name classes by text, numbers or dates"
        )
    return Labels(classes.dtype.str, values.tolist())


def _array_of(labels: Labels) -> np.ndarray:
    """Return labels as the array they were."""
    if not LABELS.fullmatch(labels.dtype):
        raise StateError(f"labels have the dtype {shortened(labels.dtype)}, which none have")
    dtype = np.dtype(labels.dtype)
    check_memory(dtype.itemsize * len(labels.values), "labels take", "The file may be damaged")
    values: list[Any] = labels.values
    if dtype.kind == "S":
        values = [str(label).encode("latin-1") for label in values]
    if dtype.kind in "mM":
        made = np.array(values, np.int64).astype(dtype)
    else:
        made = np.array(values, dtype)
    if made.ndim != 1 or _labels(made) != labels:
        raise StateError(f"labels do not fit their dtype {labels.dtype}")
    return made


def _parts(record: Record, tensors: Mapping[str, np.ndarray]) -> Parts:
    """Make the parts of a model, each held against the others."""
    classes = None if record.classes is None else _array_of(record.classes)
    _check_names(record)
    _check_tensors(record, tensors)
    _check_classes(record, classes)
    columns, features = record.preprocess, _features(record)
    if columns is not None:
        _check_columns(columns, features)
    inputs = features if columns is None else columns.n_columns
    names = record.feature_names
    if names is not None and (len(names) != inputs or len(set(names)) != inputs):
        raise StateError(f"there are {inputs} columns, and other names of them: {shortened(names)}")
    if record.kinds is not None and [*record.kinds] != names:
        raise StateError(f"what columns hold is told of others: {shortened([*record.kinds])}")
    theta = np.concatenate([tensors[name].reshape(-1) for name in _shapes(record)])
    facts = tuple(record.sizes), record.activation, record.loss, record.constants
    network = Network(theta, *facts, record.layer_norm, record.residual, tuple(record.blocks))
    told = record.target_name, record.kinds, msgspec.to_builtins(record.about)
    return Parts(network, classes, columns, names, *told)


def _shapes(record: Record) -> dict[str, tuple[int, ...]]:
    design = Design(record.activation, record.layer_norm)
    return shapes_of(record.sizes, design, record.blocks)


def _features(record: Record) -> int:
    """Return how many features the network takes, or raise if blocks of them make no sense."""
    blocks, low = record.blocks, 0
    features = record.sizes[0] - sum(blocks[2::3]) + sum(blocks[1::3])
    sound = len(blocks) % 3 == 0 and sum(blocks[2::3]) <= record.sizes[0]
    for start, count, dim in zip(blocks[::3], blocks[1::3], blocks[2::3]):
        sound = sound and low <= start and count > 0 and dim > 0 and start + count <= features
        low = start + count
    if not sound:
        raise StateError(f"the blocks of embedded features make no sense: {shortened(blocks)}")
    return features


def _check_names(record: Record) -> None:
    """Raise for a loss, activation or dtype that this fastopt has not."""
    tables: tuple[Mapping[str, Any], ...] = LOSSES, ACTIVATIONS, CODES
    for what, table in zip(("loss", "activation", "dtype"), tables):
        if getattr(record, what) not in table:
            raise StateError(
                f"{what} {shortened(getattr(record, what))} is none that this fastopt knows: "
                f"{', '.join(table)}"
            )
    constants_of(record.loss, record.constants)  # raises for one out of its range


def _check_tensors(record: Record, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise unless the tensors are those of layers of these widths."""
    sizes = record.sizes
    if len(sizes) < 2 or min(sizes) < 1:
        raise StateError(f"the layers have the widths {shortened(sizes)}; each is >= 1")
    # A damaged file may tell of more layers than there is room to name.
    shapes = _shapes(record) if len(sizes) <= 1 + len(tensors) else {}
    if {*shapes} != {*tensors}:
        norms = " with layer norms" if record.layer_norm else ""
        raise StateError(
            f"the tensors {shortened(sorted(tensors))} are not those of layers of widths "
            f"{shortened(sizes)}{norms}"
        )
    for name, shape in shapes.items():
        found = tensors[name]
        if (found.shape, found.dtype.name) != (shape, record.dtype):
            raise StateError(
                f"tensor {name} is {found.dtype} of {found.shape}; it must be {record.dtype} of "
                f"{shape}"
            )


def _check_classes(record: Record, classes: np.ndarray | None) -> None:
    task, outputs = LOSSES[record.loss].task, record.sizes[-1]
    many = {"binary": 2, "classification": outputs, "multilabel": outputs, "regression": None}[task]
    if classes is not None and len(classes) != many:
        raise StateError(f"{len(classes)} classes do not fit {record.loss} of {outputs} outputs")
    if task == "binary" and outputs != 1:
        raise StateError(f"{record.loss} has one output; the network has {outputs}")


def _check_columns(columns: Columns, inputs: int) -> None:
    """Raise unless the preprocessing makes sense, and makes what the network takes."""
    for entry in columns.entries:
        numbers = [getattr(entry, "mean", 0.0), getattr(entry, "scale", 1.0)]
        if not isinstance(entry, Category) and getattr(entry, "fill", None) is not None:
            numbers.append(entry.fill)  # type: ignore[union-attr]
        wrong = not 0 <= entry.column < columns.n_columns or numbers[1] == 0.0
        if isinstance(entry, Category):
            wrong |= not -1 < (entry.dropped or 0) < max(len(entry.categories), 1)
            wrong |= len(set(entry.categories)) != len(entry.categories)
        if wrong or not all(map(math.isfinite, numbers)):
            raise StateError(f"the preprocessing makes no sense: {shortened(entry)}")
    if columns.width != inputs:
        raise StateError(
            f"the preprocessing makes {columns.width} features; the network takes {inputs}"
        )
