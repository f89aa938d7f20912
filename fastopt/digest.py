"""The digest of a checkpoint: a file in which a bit has changed since it was written is refused."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from fastopt.errors import StateError, StateWarning

DIGEST = "fastopt.sha256"
"""Key of the digest in the metadata of a file."""

Tensor = tuple[str, str, tuple[int, ...], Any]
"""Name, dtype in the words of safetensors, shape, and the bytes: any one-dimensional buffer."""


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

    ``path``: for the warning. ``metadata``, ``text``, ``tensors``: of the file. ``may_lack``:
    whether the file says that it is of a version that had no digest. Warns StateWarning if it has
    none, and need not have.
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
