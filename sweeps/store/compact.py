"""Merge many small parts into few large ones, in a store that stays whole meanwhile."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.common.resources import size_of
from sweeps.store import fs
from sweeps.store.arrays import read_part_facts, read_table
from sweeps.store.documents import StoredSweep
from sweeps.store.folder import CURVES, ROWS, Folder
from sweeps.store.parts import Part, content_digest, encode_parquet, parse_name

MOST_BYTES = 1 << 25
"""Largest size of a merged part, which is made in memory."""

ROW_GROUP = 1 << 16


@dataclass(frozen=True)
class Compacted:
    """What :func:`compact` did: the number of parts and their bytes, before and after."""

    parts_before: int
    parts_after: int
    bytes_before: int
    bytes_after: int


def compact(path: str | os.PathLike[str]) -> Compacted:
    """Put the parts of neighbouring chunks together.

    The large part is written, verified and published before the small ones are removed, so the
    store is whole whenever it stops, and the same sweep still goes on with it. Nobody should be
    reading it meanwhile.
    """
    folder = Folder(path)
    folder.newest_sweep()
    folder.prepare()
    before = _sizes(folder)
    for stored in folder.sweeps():
        for kind in (ROWS, CURVES):
            whole = folder.verified_parts(kind, stored)
            # What a reducer keeps of chunks only the reducer can put together, and it does.
            for group in _groups(folder, kind, whole) if stored.reduce is None else ():
                _merge(folder, kind, group)
            remove_covered(folder, kind, stored)
    after = _sizes(folder)
    return Compacted(len(before), len(after), sum(before), sum(after))


def _groups(folder: Folder, kind: str, parts: list[Part]) -> Iterator[list[Part]]:
    """Yield runs of parts whose chunks follow each other, small enough together."""
    group: list[Part] = []
    size = 0
    for part in parts:
        more = size_of(folder.path / kind / str(part))
        follows = group and group[-1].chunks.stop == part.first
        if group and not (follows and size + more <= MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(part)
        size += more
    yield group


def _merge(folder: Folder, kind: str, parts: list[Part]) -> None:
    if len(parts) < 2:
        return
    paths = [folder.path / kind / str(part) for part in parts]
    tables = [read_table(path).replace_schema_metadata() for path in paths]
    first, count = parts[0].first, sum(part.count for part in parts)
    said: dict[str, Any] = {"sweep": parts[0].sweep, "first": first, "count": count}
    if kind == ROWS:
        tallies = [read_part_facts(path) for path in paths]
        said["rows"] = sum(each.rows for each in tallies)
        said["states"] = np.sum([each.states for each in tallies], axis=0).tolist()
    data = encode_parquet(pa.concat_tables(tables), said, ROW_GROUP)
    merged = Part(first, count, parts[0].sweep, content_digest(data))
    fs.publish(folder.path / kind / str(merged), data)


def remove_covered(folder: Folder, kind: str, stored: StoredSweep) -> None:
    """Remove parts whose chunks are in larger ones, from this time or one that was cut short."""
    kept = set(folder.list_parts(kind, stored))
    covered = [part for part in folder.named_parts(kind, stored.name) if part not in kept]
    for part in covered:
        with contextlib.suppress(IsADirectoryError, PermissionError):  # a folder, which is no part
            fs.remove(folder.path / kind / str(part))
    if covered:
        fs.sync_folder(folder.path / kind)


def _sizes(folder: Folder) -> list[int]:
    paths = [path for kind in (ROWS, CURVES) for path in (folder.path / kind).iterdir()]
    return [size_of(path) for path in paths if parse_name(path.name)]
