"""Read the JSON documents of a store, and check them.

Anybody may have written into the folder of a store, and a disk may have changed it. So JSON is read
here and nowhere else; a document that has not the form that the rest of the package expects is
damaged.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from fastopt.errors import StoreError
from sweeps.common.states import STATES
from sweeps.store import fs

FORMAT = 2
"""Newest version of the layout of a store; a reader refuses what is newer than itself.

In version 2 a trial has a row for each round of a pruner. Sweeps without one are of version 1.
"""

LEVELS = 64
"""Nesting that a document may have: what we write has ten levels at most."""

MOST_SPEC = 1 << 29
"""Bytes that a ``spec.json`` may have: a million trials listed by their numbers take 12 MB."""

MOST_FACTS = 1 << 26
"""Bytes of a file of facts that are read; a chunk writes some 200."""

MOST = 2**63 - 1
"""What anything may count."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=MOST)]


class _Problem(msgspec.Struct):
    name: str


class _Options(msgspec.Struct):
    metric: str
    mode: str
    curves: bool


class _Space(msgspec.Struct):
    names: list[str]
    parts: list[dict[str, Any]]
    selection: dict[str, Any] | None


class _Identity(msgspec.Struct):
    format: Positive
    problem: _Problem
    options: _Options
    keywords: dict[str, Any]
    space: _Space
    results: list[str]
    curve: list[str]
    trials: Count
    chunk: Positive
    pruner: dict[str, Any] | None = None
    max_resources: Positive = 1
    compared: str = "trials"
    reduce: dict[str, Any] | None = None


class _Document(msgspec.Struct):
    digest: str
    identity: _Identity
    provenance: dict[str, Any]


class PartFacts(msgspec.Struct):
    """The metadata in the footer of a part, see :data:`sweeps.store.parts.KEY`."""

    sweep: str = ""
    first: Count = 0
    count: Count = 0
    rows: Count = 0
    states: list[Count] = msgspec.field(default_factory=lambda: [0] * len(STATES))


class _Run(msgspec.Struct):
    """A line of a file of facts: by which host a chunk was run, and for how long."""

    sweep: str = ""
    seconds: float = 0.0
    host: str = "unknown"


@dataclass(frozen=True)
class StoredSweep:
    """One sweep of a store: the first, or an extension of an earlier one.

    ``identity`` is what :func:`sweeps.store.identity.identity` returns, ``name`` its digest, which
    the names of its parts contain; ``number`` counts the sweeps of a store from 1.
    """

    identity: dict[str, Any]
    provenance: dict[str, Any]
    name: str
    number: int

    @property
    def chunks(self) -> int:
        """Number of chunks that it is cut into; of a pruned one, the most that it may have."""
        if self.pruner is not None:
            return MOST
        return -(-self.identity["trials"] // self.identity["chunk"])

    @property
    def pruner(self) -> dict[str, Any] | None:
        """What its pruner is, if it has one."""
        return self.identity.get("pruner")

    @property
    def reduce(self) -> dict[str, Any] | None:
        """What its chunks are reduced to, if they are."""
        return self.identity.get("reduce")


def digest(document: Any) -> str:
    """Return a name for a JSON document: 16 hex digits that change with anything in it.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})
    True
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def parse_json(data: bytes) -> Any:
    """Read JSON that anybody may have written.

    >>> parse_json(b'{"rows": 3}')
    {'rows': 3}
    >>> parse_json(b"[" * 5000 + b"]" * 5000)
    Traceback (most recent call last):
    ValueError: it is nested more than 64 levels deep
    """
    try:
        document = json.loads(data)
    except RecursionError:
        document = None
    else:
        inner = list(_containers_in([[document]]))
        for _ in range(LEVELS):
            inner = list(_containers_in(inner))
        if not inner:
            return document
    raise ValueError(f"it is nested more than {LEVELS} levels deep")


def _containers_in(containers: list[Any]) -> Iterator[Any]:
    """Yield the lists and dicts that lie in these."""
    for each in containers:
        for item in each.values() if isinstance(each, dict) else each:
            if isinstance(item, dict | list):
                yield item


def read_spec(path: Path, number: int) -> StoredSweep | str:
    """Return the sweep that a ``spec.json`` describes, or what is wrong with it.

    Raises StoreError if it was written by a newer version, or cannot be read now.
    """
    try:
        document = parse_json(fs.read(path, MOST_SPEC))
        version = document["identity"]["format"]
        if isinstance(version, int) and version > FORMAT:
            raise StoreError(f"{path} was written by a newer version of fastopt; update it")
        msgspec.convert(document, _Document)
        if digest(document["identity"]) != document["digest"]:
            return "its content is not what was written"
        return StoredSweep(document["identity"], document["provenance"], document["digest"], number)
    except (ValueError, KeyError, TypeError) as error:
        return f"it cannot be read ({type(error).__name__}: {error})"
    except fs.NotAFile as error:
        return str(error.strerror)
    except OSError as error:
        if isinstance(error, StoreError | FileNotFoundError):
            raise
        raise StoreError(error.errno, f"{path} cannot be read: {error.strerror}") from error


def parse_facts(data: bytes) -> PartFacts:
    """Parse the metadata of a part.

    >>> parse_facts(b'{"first": 2, "count": 1, "rows": 3, "states": [3, 0, 0, 0]}').rows
    3
    >>> parse_facts(b'{"rows": 9223372036854775807}').rows == MOST
    True
    >>> parse_facts(b'{"rows": 9223372036854775808}')
    Traceback (most recent call last):
    msgspec.ValidationError: Expected `int` <= 9223372036854775807 - at `$.rows`
    """
    facts = msgspec.convert(parse_json(data), PartFacts)
    if len(facts.states) != len(STATES):
        raise ValueError(f"it counts {len(facts.states)} states of {len(STATES)}")
    return facts


def read_facts(path: Path, sweep: str) -> Iterator[tuple[float, str]]:
    """Yield seconds and host of each chunk of a sweep in a file of facts.

    Facts do not matter for results: lines that a crash cut short, and files that cannot be read,
    are left out.
    """
    try:
        data = fs.read_end(path, MOST_FACTS)
    except OSError:
        return
    for line in data.splitlines():
        try:
            run = msgspec.json.decode(line, type=_Run)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        if run.sweep == sweep and math.isfinite(run.seconds):
            yield run.seconds, run.host
