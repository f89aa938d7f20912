"""Parts: the immutable files of a store, named after their content.

``00000012-<sweep>-<content>.parquet`` holds chunk 12 of the sweep whose identity has that digest;
``00000016+8-...`` chunks 16 to 23, merged by :func:`sweeps.store.compact.compact`. The bytes are a
function of the rows, so writing a chunk again gives the same file. Reading a part checks its bytes
against its name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sweeps.common.names import columns_beside_axes
from sweeps.common.states import STATES
from sweeps.store import fs
from sweeps.store.documents import PartFacts, parse_facts

if TYPE_CHECKING:
    from sweeps.engine.chunks import Rows
    from sweeps.engine.plan import Plan

NAME = re.compile(
    r"(?P<first>\d{8,})(\+(?P<count>\d+))?-(?P<sweep>[0-9a-f]{16})-(?P<content>[0-9a-f]{24})\.parquet"
)
KEY = b"fastopt"
"""Metadata of a part: a JSON document: ``sweep``, ``first``, ``count``, ``rows``, ``states``."""

MOST_FOOTER = 1 << 28
"""Bytes of a footer that are read: one of 65 536 groups of rows, 10 columns, has 60 MB."""

GIVEN = ".given"
"""Suffix of an axis that is also measured: ``steps.given`` were asked for, ``steps`` were taken.

In a frame they are called ``steps`` and ``steps_taken``, see
:func:`sweeps.common.names.columns_beside_axes`.
"""


@dataclass(frozen=True, order=True)
class Part:
    """The name of a part: chunks ``first`` to ``first + count - 1`` of a sweep."""

    first: int
    count: int
    sweep: str
    content: str

    def __str__(self) -> str:
        several = f"+{self.count}" if self.count > 1 else ""
        return f"{self.first:08d}{several}-{self.sweep}-{self.content}.parquet"

    @property
    def chunks(self) -> range:
        """Numbers of the chunks in it."""
        return range(self.first, self.first + self.count)


def parse_name(name: str) -> Part | None:
    """Read a file's name; None if it is not that of a part.

    >>> str(parse_name("00000016+8-0123456789abcdef-0123456789abcdef01234567.parquet").chunks)
    'range(16, 24)'
    """
    found = NAME.fullmatch(name)
    if not found:
        return None
    first, count = int(found["first"]), int(found["count"] or 1)
    return Part(first, count, found["sweep"], found["content"])


def content_digest(data: bytes) -> str:
    """Return the digests of a file that are in its name: of all its bytes, and of its footer.

    The footer says where each column is. Pages have checksums of their own, so a reader that checks
    the footer need not read more of the file than it needs.
    """
    whole = hashlib.blake2b(data, digest_size=8).hexdigest()
    return whole + footer_digest(data[-footer_length(data[-8:]) :])


def footer_digest(footer: bytes) -> str:
    """Return the digest of a footer that is in the name of its file."""
    return hashlib.blake2b(footer, digest_size=4).hexdigest()


def read_footer(path: Path) -> bytes:
    """Return the footer of a Parquet file; of one with an impossible length only the last bytes."""
    length = footer_length(fs.read_end(path, 8))
    return fs.read_end(path, length if length <= MOST_FOOTER else 8)


def footer_length(end: bytes) -> int:
    """Return how long the end of a Parquet file says that its footer is, itself included."""
    return 8 + int.from_bytes(end[:4], "little")


def stored_names(axes: Sequence[str], results: Sequence[str]) -> dict[str, str]:
    """Return the names in parts of the axes and results of a frame.

    >>> stored_names(["lr", "steps"], ["train_loss", "steps"])
    {'lr': 'lr', 'steps': 'steps.given', 'train_loss': 'train_loss', 'steps_taken': 'steps'}
    """
    given = {name: name + GIVEN if name in results else name for name in axes}
    return {**given, **dict(zip(columns_beside_axes(results, axes), results))}


def curve_table(plan: Plan, rows: Rows) -> pa.Table:
    """Return curves as a table, one row per trial and point."""
    kept = rows.curves[:, :, 0] >= 0  # the step; False for NaN, past the end of a trial
    columns = {"trial_id": np.repeat(rows.ids, kept.sum(axis=1))}
    for k, name in enumerate(plan.curve):
        points = rows.curves[:, :, k][kept]
        columns[name] = points.astype(np.int64) if name == "step" else points
    return pa.table(columns)


def add_marks(table: pa.Table, marks: Mapping[str, int]) -> pa.Table:
    """Return a table with more columns, each of one whole number."""
    for name, value in marks.items():
        column = pa.array(np.full(table.num_rows, value, np.int64))
        table = table.append_column(name, column)
    return table


def encode_parquet(
    table: pa.Table, facts: Mapping[str, Any], row_group: int | None = None
) -> bytes:
    """Return the bytes of a Parquet file: compressed, with a checksum a page.

    ``facts``: ``sweep``, ``first``, ``count``, ...; what :func:`find_damage` compares with.
    """
    table = table.replace_schema_metadata({KEY: json.dumps(dict(facts), sort_keys=True).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=row_group or max(1, table.num_rows),
        compression="zstd",
        compression_level=1,
        # Axes repeat, results do not; a dictionary of distinct floats costs time and saves nothing.
        use_dictionary=[f.name for f in table.schema if f.type == pa.string()],
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


def count_states(state: np.ndarray) -> dict[str, Any]:
    """Return the number of rows and of trials in each state, for the metadata of a part.

    >>> count_states(np.array([0, 1, 0]))
    {'rows': 3, 'states': [2, 1, 0, 0]}
    """
    counts = np.bincount(state, minlength=len(STATES)).tolist()
    return {"rows": len(state), "states": counts}


def facts_in(metadata: pq.FileMetaData) -> PartFacts:
    """Return the facts in the metadata of a Parquet file."""
    return parse_facts((metadata.metadata or {}).get(KEY, b"{}"))


def find_damage(part: Part, data: bytes) -> str:
    """Check the bytes of a part against its name; return what is wrong, or nothing.

    The answer is empty if the part is whole and what its name says.
    """
    if not data:
        return "it is empty"
    if content_digest(data) != part.content:
        return "its bytes are not those that were written"
    try:
        metadata = pq.read_metadata(pa.BufferReader(data))
        facts = facts_in(metadata)
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"it cannot be read ({error})"
    if (facts.sweep, facts.first, facts.count) != (part.sweep, part.first, part.count):
        return f"it says that it is chunk {facts.first} of sweep {facts.sweep}"
    if facts.rows and not part.count <= facts.rows == metadata.num_rows:
        return f"it counts {facts.rows} rows of {part.count} chunks, and has {metadata.num_rows}"
    return ""
