"""What files are held against: their digest, which every bit of them changes, and their version."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from fastopt.errors import StateError, StateWarning, shortened

DIGEST = "fastopt.sha256"
"""Key of the digest in the metadata of a file."""

Tensor = tuple[str, str, tuple[int, ...], Any]
"""Name, dtype in the words of safetensors, shape, and the bytes: any one-dimensional buffer."""

Told = TypeVar("Told")


def digest(text: str, tensors: Iterable[Tensor]) -> str:
    """Return the SHA-256 of all that a file says, whatever the order of its tensors.

    ``text``: the JSON in its metadata.

    >>> one, two = ("a", "F32", (1,), b"1234"), ("b", "F32", (1,), b"1234")
    >>> digest("{}", [one, two]) == digest("{}", [two, one]) != digest("{}", [one])
    True
    """
    total = hashlib.sha256(text.encode())
    for name, code, shape, data in sorted(tensors, key=lambda tensor: tensor[0]):
        total.update(f"\0{name}\0{code}{shape}\0".encode())
        total.update(data)
    return total.hexdigest()


def check_digest(
    path: str | os.PathLike[str],
    metadata: Mapping[str, str],
    text: str,
    tensors: Iterable[Tensor],
    may_lack: bool,
) -> None:
    """Raise unless a file is what was written; warn of one that cannot tell.

    ``may_lack``: whether the file is of a version that had no digest: without one it is warned of.
    """
    said = metadata.get(DIGEST)
    if said is None and may_lack:
        warnings.warn(
            f"{os.fspath(path)} has no digest: it was saved by an older fastopt, and a bit that "
            "has changed in it would not be noticed. Save it again",
            StateWarning,
            stacklevel=3,
        )
    elif said != digest(text, tensors):
        raise StateError(
            "the file is damaged: its content is not what was written (its SHA-256 differs). "
            "Use an earlier checkpoint"
        )


def decode_record(text: str, kind: type[Told], versions: Sequence[int]) -> Told:
    """Return the JSON of a file's metadata as a record, if it is of one of these versions."""
    try:
        version = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("version")
        found = None if version is None else bytes(version).decode()
        if found not in [str(known) for known in versions]:
            raise StateError(
                f"the file has format version {shortened(found)}, but this fastopt reads "
                f"{' and '.join(map(str, versions))}; read it with the fastopt that wrote it"
            )
        return msgspec.json.decode(text, type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise StateError(f"the metadata is not well formed ({error})") from error
