"""A reduced sweep in a store: of each chunk what the reducer keeps of it, and nothing else.

A part is a table of arrays, one a row: name, dtype, shape and bytes. Where there are many chunks,
those of a run become one part as soon as all of it is there: 4 000 parts of one chunk took 1 s to
verify and 4 s to merge each time that the sweep went on, and 2^32 trials are 65 537 chunks.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa

from fastopt.errors import SpecError, StoreError, shortened
from sweeps.engine.chunks import Chunk, Chunks, Rows, chunk_size
from sweeps.engine.plan import Plan
from sweeps.running.reducers import Reducer, ReducingCollector
from sweeps.running.shards import WHOLE_SWEEP
from sweeps.store.arrays import damage_error, read_part_facts, read_table
from sweeps.store.compact import remove_covered
from sweeps.store.folder import ROWS, Folder
from sweeps.store.identity import reduced_identity
from sweeps.store.parts import Part, count_states, encode_parquet
from sweeps.store.writer import PartWriter

METHODS = ("pack", "unpack")
SCHEMA = pa.schema(
    {"name": pa.string(), "dtype": pa.string(), "shape": pa.list_(pa.int64()), "data": pa.binary()}
)
LEAST_RUN = 256
"""Chunks of a run, at least: no more are in parts of their own, and as many runs."""

NUMBERS = "biuf"
"""Kinds of dtypes that are stored: their bytes are all there is of them."""


class FoldWriter(ReducingCollector):
    """Folds the chunks of a sweep and keeps the summaries in a store.

    ``shard``: ``(i, n)``: only chunks ``i``, ``i + n``, ... are verified, run and merged.
    """

    executor = "threads"

    def __init__(
        self,
        plan: Plan,
        reducer: Reducer[Any],
        path: str | os.PathLike[str],
        shard: tuple[int, int] = WHOLE_SWEEP,
    ) -> None:
        super().__init__(plan, reducer)
        missing = [name for name in METHODS if not callable(getattr(reducer, name, None))]
        if missing:
            raise SpecError(
                "with a store, what reduce=... keeps must become arrays and come back: "
                f"{shortened(reducer)} needs methods pack(summary) -> dict of arrays, and "
                "unpack(arrays) -> summary"
            )
        self.folder = Folder(path)
        self.folder.prepare()
        said = reduced_identity(plan, chunk_size(plan), reducer)
        self.stored = self.folder.open_or_create(said)
        self.chunks = Chunks(plan.size, self.stored.identity["chunk"])
        self._order = range(shard[0], len(self.chunks), shard[1])
        self._run = max(LEAST_RUN, math.isqrt(len(self.chunks)))
        self._know(self.folder.verified_parts(ROWS, self.stored, self._order))
        self._writer = PartWriter(plan, self.folder, self.stored)
        self.reused = sum(len(self.chunks[k].ids) for k in self._known)
        self.finished = self.reused

    @property
    def size(self) -> int:
        """Number of trials in these chunks."""
        return self.chunks.trials_in(self._order)

    def remaining(self) -> Iterator[Chunk]:
        """Yield the chunks of which nothing is stored."""
        return (self.chunks[k] for k in self._order if k not in self._known)

    def add(self, chunk: Chunk, rows: Rows) -> Future | None:
        """Fold the rows of a chunk and store it; of a chunk that was stopped nothing is kept."""
        if len(rows) < len(chunk.ids):
            return None
        arrays = self.reducer.pack(self.take(chunk.number, rows))  # type: ignore[attr-defined]
        stored = self._writer.later(self._write, chunk.number, table_of(arrays), rows)
        self.merge_ready()
        return stored

    def result(self, seconds: float, interrupted: bool) -> Any:
        """Return what the reducer makes of all chunks, those of earlier runs among them."""
        self._writer.wait()
        answer = super().result(seconds, interrupted)
        remove_covered(self.folder, ROWS, self.stored)  # of a run that was killed, or ran beside us
        return answer

    def info(self, seconds: float, interrupted: bool) -> dict[str, Any]:
        """Return the facts of this run."""
        kept = {"reused": self.reused, "store": str(self.folder.path)}
        return super().info(seconds, interrupted) | kept

    def merge_ready(self, gaps: bool = False) -> None:
        """Merge the runs of chunks of which all are there, in order, and store each as one part.

        An interruption leaves ``gaps``: then what there is of a run is merged.
        """
        while self._next < len(self._order):
            run = self._order[self._next : self._next + self._run]
            if not gaps and not all(k in self._early or k in self._known for k in run):
                return
            self._merge_run(run)
            self._next += len(run)

    def _merge_run(self, run: range) -> None:
        """Merge the chunks of a run with each other first, wherever each of them comes from."""
        summaries, together = self._summaries(run)
        if not summaries:
            return
        summary = functools.reduce(functools.partial(self.reducer.merge, self.plan), summaries)
        if not together and len(summaries) == self._run and run.step == 1:
            self._store_run(run, summary)
        self.merge(summary)
        for number in run:
            self._early.pop(number, None)

    def _summaries(self, run: range) -> tuple[list[Any], bool]:
        """Return what there is of a run, in order, and whether it is stored as one part."""
        while True:
            known = self._known
            together = run[0] in known and known[run[0]].count > 1
            try:
                if together:
                    return [self._stored_summary(known[run[0]])], True
                held = [k for k in run if k in self._early or k in known]
                return [
                    self._early[k] if k in self._early else self._stored_summary(known[k])
                    for k in held
                ], False
            except StoreError:
                # Another process that works on this sweep may have put the run together.
                self._know(self.folder.list_parts(ROWS, self.stored, self._order))
                if self._known == known:
                    raise

    def _know(self, parts: list[Part]) -> None:
        """Note which part each chunk is in."""
        self._known = {k: part for part in parts for k in part.chunks}
        if self._order.step > 1 and any(part.count > 1 for part in parts):
            raise StoreError(
                f"in {self.folder.path}, a run of the whole sweep has put chunks of several shards "
                "together: go on without shard="
            )

    def _stored_summary(self, part: Part) -> Any:
        path = self.folder.path / ROWS / str(part)
        try:
            return self.reducer.unpack(arrays_in(read_table(path)))  # type: ignore[attr-defined]
        except (ValueError, TypeError, KeyError) as error:
            raise damage_error(path, error) from error

    def _store_run(self, run: range, summary: Any) -> None:
        """Put one part in place of those of a run, which is removed when that is on the disk."""
        self._writer.wait()
        parts = self.folder.list_parts(ROWS, self.stored, run)
        tallies = [read_part_facts(self.folder.path / ROWS / str(part)).states for part in parts]
        said = {"sweep": self.stored.name, "first": run[0], "count": len(run)}
        said["states"] = np.sum(tallies, axis=0).tolist()
        table = table_of(self.reducer.pack(summary))  # type: ignore[attr-defined]
        self._writer.publish(ROWS, run[0], encode_parquet(table, said), len(run))
        remove_covered(self.folder, ROWS, self.stored)

    def _write(self, number: int, table: pa.Table, rows: Rows) -> None:
        said = {"sweep": self.stored.name, "first": number, "count": 1}
        said["states"] = count_states(rows.state)["states"]
        self._writer.publish(ROWS, number, encode_parquet(table, said))
        self._writer.note(number, rows)


def table_of(arrays: Mapping[str, np.ndarray]) -> pa.Table:
    """Return arrays as a table.

    >>> arrays_in(table_of({"counts": np.array([[3, 4]]), "none": np.empty((0, 2))}))
    {'counts': array([[3, 4]]), 'none': array([], shape=(0, 2), dtype=float64)}
    """
    rows = []
    for name, given in arrays.items():
        array = np.ascontiguousarray(given)
        if array.dtype.kind not in NUMBERS:
            raise SpecError(
                f"a store keeps arrays of numbers; pack() of the reducer gave {shortened(name)} "
                f"of dtype {array.dtype}"
            )
        shape = list(np.shape(given))
        rows.append((name, array.dtype.str, shape, array.tobytes()))
    columns = list(zip(*rows)) or [()] * len(SCHEMA)
    cells = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA)]
    return pa.Table.from_arrays(cells, schema=SCHEMA)


def arrays_in(table: pa.Table) -> dict[str, np.ndarray]:
    """Return the arrays of a table from :func:`table_of`.

    Raises ValueError, TypeError or KeyError if it is no such table.
    """
    found = {}
    for row in table.to_pylist():
        dtype = np.dtype(row["dtype"])
        if dtype.kind not in NUMBERS:
            raise ValueError(f"an array of dtype {dtype}")
        found[row["name"]] = np.frombuffer(row["data"], dtype).reshape(row["shape"]).copy()
    return found
