"""Write the rows of a sweep to a store, chunk by chunk; stored trials do not run again."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.common.frames import pd
from sweeps.common.states import STATES
from sweeps.engine.chunks import Chunk, Chunks, Rows, chunk_size
from sweeps.engine.plan import Plan
from sweeps.engine.run_blocks import threads
from sweeps.engine.tables import Parts, columns_of, joined, no_rows
from sweeps.running.collect import Collector
from sweeps.running.shards import WHOLE_SWEEP
from sweeps.store import fs
from sweeps.store.documents import StoredSweep
from sweeps.store.folder import CURVES, FACTS, ROWS, Folder
from sweeps.store.identity import identity
from sweeps.store.parts import (
    Part,
    add_marks,
    content_digest,
    count_states,
    curve_table,
    encode_parquet,
    stored_names,
)
from sweeps.store.reader import stored_result_parts
from sweeps.store.reuse import TrialCache

# Chunks written at a time: one waits for the disk while another is compressed. More would only
# take memory, some 30 MB each.
WRITERS = 2


class PartWriter:
    """Writes rows as parts of a stored sweep, in the background, while other chunks run."""

    def __init__(self, plan: Plan, folder: Folder, stored: StoredSweep) -> None:
        self.plan, self.folder, self.stored = plan, folder, stored
        self._schema = schema_of(plan)
        self._writing: list[Future] = []
        self._facts_file = f"{fs.host()}-{os.getpid()}-{time.time_ns()}.jsonl"

    def store(self, number: int, rows: Rows, marks: Mapping[str, int] | None = None) -> Future:
        """Write the rows of a chunk; the future is done when they are on the disk.

        ``marks``: more columns, each with one value for all rows. Raises what went wrong with a
        chunk before it.
        """
        return self.later(self._write, number, rows, marks or {})

    def later(self, write: Callable[..., None], *args: Any) -> Future:
        """Call ``write`` in the background; raise what went wrong with a chunk before it."""
        self.wait(WRITERS - 1)
        self._writing.append(threads().submit(write, *args))
        return self._writing[-1]

    def wait(self, at_most: int = 0) -> None:
        """Wait until at most so many chunks are being written; raise what went wrong."""
        while len(self._writing) > at_most:
            first = self._writing[0]
            wait([first])  # Ctrl-C meanwhile leaves it to be waited for again
            self._writing.remove(first)
            if first.exception() is not None:
                wait(self._writing)  # nothing may be under way when the caller hears of it
            first.result()

    def _write(self, number: int, rows: Rows, marks: Mapping[str, int]) -> None:
        name = self.stored.name
        said = {"sweep": name, "first": number, "count": 1}
        if self.plan.options.curves:
            # Before the rows: a chunk with rows is never without its curves.
            table = add_marks(curve_table(self.plan, rows), marks)
            self.publish(CURVES, number, encode_parquet(table, said))
        table = add_marks(row_table(self.plan, self._schema, rows), marks)
        self.publish(ROWS, number, encode_parquet(table, {**said, **count_states(rows.state)}))
        self.note(number, rows)

    def note(self, number: int, rows: Rows) -> None:
        """Write down where a chunk ran, and for how long."""
        said = {"sweep": self.stored.name, "chunk": number, "trials": len(rows)}
        line = json.dumps(said | dict(rows.facts))
        with contextlib.suppress(OSError):  # facts of a run, whose loss would not matter
            fs.append(self.folder.path / FACTS / self._facts_file, line.encode() + b"\n")

    def publish(self, kind: str, number: int, data: bytes, count: int = 1) -> None:
        """Put a part into the folder, of one chunk or of ``count``, from ``number`` on."""
        part = Part(number, count, self.stored.name, content_digest(data))
        fs.publish(self.folder.path / kind / str(part), data)


class StoreWriter(Collector):
    """Collects the rows of a sweep in a store, where :class:`Collector` keeps them in memory.

    Making one opens the sweep in the folder, or creates it there, and verifies what is stored.
    ``shard``: ``(i, n)``: only chunks ``i``, ``i + n``, ... are verified and run.
    """

    # One chunk a thread: a kill costs each thread one at most, and none waits for the others.
    executor = "threads"

    def __init__(
        self, plan: Plan, path: str | os.PathLike[str], shard: tuple[int, int] = WHOLE_SWEEP
    ) -> None:
        super().__init__(plan)
        self.folder = Folder(path)
        self.folder.prepare()
        self.stored = self.folder.open_or_create(identity(plan, chunk_size(plan)))
        self.chunks = Chunks(plan.size, self.stored.identity["chunk"])
        self._shard_chunks = range(shard[0], len(self.chunks), shard[1])
        self._writer = PartWriter(plan, self.folder, self.stored)
        self._done = self._finished_chunks()
        self._reused_rows: dict[int, Rows] = {}
        self.reused = sum(len(self.chunks[k].ids) for k in self._done)
        self.finished = self.reused

    @property
    def size(self) -> int:
        """Number of trials in these chunks."""
        return self.chunks.trials_in(self._shard_chunks)

    def remaining(self) -> Iterator[Chunk]:
        """Yield what is left to run: chunks, each with those of its trials that nobody has run."""
        known = None
        for number in self._shard_chunks:
            if number in self._done:
                continue
            chunk = self.chunks[number]
            if known is None:
                others = [o for o in self.folder.sweeps() if o.name != self.stored.name]
                known = TrialCache(self.folder, self.plan, self.stored, others)
            rows = known.rows(chunk.ids)
            self.reused += len(rows)
            self.finished += len(rows)
            left = chunk.ids[~np.isin(chunk.ids, rows.ids, assume_unique=True)]
            if len(rows):
                self._reused_rows[chunk.number] = rows
            if len(left):
                yield Chunk(chunk.number, left)
            else:
                rows = joined(self.plan, [self._reused_rows.pop(chunk.number)])
                self._writer.store(chunk.number, rows)

    def add(self, chunk: Chunk, rows: Rows) -> Future | None:
        """Store the rows of a chunk; if it was stopped in the middle, nothing of it is kept."""
        known = self._reused_rows.pop(chunk.number, None)
        if len(rows) < len(chunk.ids):
            return None
        self.count(rows)
        every = rows if known is None else joined(self.plan, [known, rows])
        return self._writer.store(chunk.number, every)

    def result(self, seconds: float, interrupted: bool) -> Parts:
        """Return the parts of a result; its columns are read from the store when they are used."""
        self._writer.wait()
        info = self.info(seconds, interrupted)
        info |= {"reused": self.reused, "store": str(self.folder.path)}
        return stored_result_parts(
            self.folder, self.stored, info, self.plan, chunks=self._shard_chunks
        )

    def _finished_chunks(self) -> set[int]:
        kinds = (ROWS, CURVES) if self.plan.options.curves else (ROWS,)
        held = [self.folder.verified_parts(kind, self.stored, self._shard_chunks) for kind in kinds]
        done = set.intersection(*({k for part in parts for k in part.chunks} for parts in held))
        return {k for k in done if k in self._shard_chunks}


TYPES = {"name": pa.string(), "integer": pa.int64(), "real": pa.float64(), "boolean": pa.bool_()}
"""Sort of value -> type of its column."""


def schema_of(plan: Plan) -> pa.Schema:
    """Return the columns of the parts of a sweep."""
    space = plan.space
    fields = [pa.field("trial_id", pa.int64())]
    stored = stored_names(space.names, plan.results)
    fields += [pa.field(stored[name], TYPES[space.kinds[name]]) for name in space.names]
    fields.append(pa.field("state", pa.string()))
    measured = columns_of(plan, no_rows(plan))
    for name in plan.result_columns:
        fields.append(pa.field(stored[name], pa.from_numpy_dtype(measured[name].dtype)))
    return pa.schema([*fields, pa.field("error", pa.string())])


def row_table(plan: Plan, schema: pa.Schema, rows: Rows) -> pa.Table:
    """Return rows as a table: trial numbers, axes, state, results, errors."""
    cells: dict[str, Any] = columns_of(plan, rows)
    stored = stored_names(plan.space.names, plan.results)
    cells = {stored.get(name, name): column for name, column in cells.items()}
    cells["state"] = pa.DictionaryArray.from_arrays(rows.state, list(STATES)).dictionary_decode()
    cells.setdefault("error", [None] * len(rows))
    return pa.table([_array(cells[field.name], field) for field in schema], schema=schema)


def _array(cells: Any, field: pa.Field) -> pa.Array:
    if isinstance(cells, np.ndarray) and cells.dtype == object and field.type == pa.string():
        codes, distinct = pd.factorize(cells)
        names = pa.array([str(name) for name in distinct], pa.string())
        return pa.DictionaryArray.from_arrays(
            pa.array(codes, mask=codes < 0), names
        ).dictionary_decode()
    return pa.array(cells, field.type, from_pandas=False)
