"""The rounds of a pruned sweep in a store: every trial has a row for each rung that it came to.

Chunks are numbered through all rounds, and their parts say in two more columns, ``bracket`` and
``rung``, of which they are. Nothing else is written down: who is in a round follows from the rows
of those before it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastopt.errors import SpecError
from sweeps.common.names import RUNG_COLUMNS
from sweeps.engine.chunks import Chunk, Rows, chunk_size
from sweeps.engine.plan import Plan
from sweeps.pruning import PRUNERS, Pruner, Round
from sweeps.store.arrays import read_table
from sweeps.store.folder import CURVES, ROWS, Folder
from sweeps.store.identity import pruned_identity, told_with_code
from sweeps.store.parts import Part
from sweeps.store.replay import BY_STEP
from sweeps.store.reuse import rows_from
from sweeps.store.writer import PartWriter


class StoredRounds:
    """Keeps the rows of a pruned sweep in a folder: a :class:`sweeps.pruning.race.Ledger`.

    ``max_resources``: the length of the longest trial.
    """

    def __init__(
        self, plan: Plan, path: str | os.PathLike[str], pruner: Pruner, max_resources: int
    ) -> None:
        self.plan, self.folder = plan, Folder(path)
        said = pruned_identity(plan, chunk_size(plan), describe_pruner(pruner), max_resources)
        self.folder.prepare()
        self._stored = self.folder.open_or_create(said)
        self._writer = PartWriter(plan, self.folder, self._stored)
        # Looked at once: to list the folder in each round took half of the time of 400 rounds.
        self._rows = self._part_of_chunk(ROWS)
        self._curves = self._part_of_chunk(CURVES) if plan.options.curves else {}
        self._seen: set[tuple[int, int]] = set()
        self.path, self.chunk = str(self.folder.path), int(self._stored.identity["chunk"])

    def known(self, round_: Round, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Rows]]:
        """Yield those chunks of a round whose rows are stored and undamaged."""
        place = round_.bracket, round_.rung
        if place in self._seen:
            raise SpecError(
                f"a store knows rounds by bracket and rung, and the pruner plays rung {place[1]} "
                f"of bracket {place[0]} twice: let it count its rungs, or leave store=... out"
            )
        self._seen.add(place)
        wanted = {chunk.number: chunk for chunk in chunks}
        for part in dict.fromkeys(self._rows[k] for k in wanted if k in self._rows):
            mine = [wanted[k] for k in part.chunks if k in wanted]
            if self.plan.options.curves and any(c.number not in self._curves for c in mine):
                continue
            rows = self._rows_of(part, mine, round_)
            ids = np.sort(np.concatenate([chunk.ids for chunk in mine]))
            if not np.array_equal(rows.ids, ids):
                self._set_aside(part)
                continue
            for chunk in mine:
                yield chunk, rows.some(np.searchsorted(rows.ids, chunk.ids))

    def keep(self, round_: Round, chunk: Chunk, rows: Rows) -> Future:
        """Write the rows of a chunk; the future is done when they are on the disk."""
        return self._writer.store(chunk.number, rows, _marks(round_))

    def wait(self) -> None:
        """Wait until all rows are on the disk; raise what went wrong."""
        self._writer.wait()

    def _set_aside(self, part: Part) -> None:
        """Move a part away that is of other trials; its curves first, which do not say so."""
        drawn = {self._curves[k] for k in part.chunks if k in self._curves}
        self._curves = {k: other for k, other in self._curves.items() if other not in drawn}
        for kind, other in (*((CURVES, other) for other in sorted(drawn)), (ROWS, part)):
            self.folder.set_aside(
                self.folder.path / kind / str(other),
                "its trials are not those of its round, as decided by the rounds before",
                "They run again",
            )

    def _part_of_chunk(self, kind: str) -> dict[int, Part]:
        """Return the undamaged part that each chunk is in."""
        parts = self.folder.verified_parts(kind, self._stored)
        return {k: part for part in parts for k in part.chunks}

    def _rows_of(self, part: Part, chunks: Sequence[Chunk], round_: Round) -> Rows:
        table = self._table(ROWS, [part], round_).sort_by("trial_id")
        curves = None
        if self.plan.options.curves:
            drawn = dict.fromkeys(self._curves[chunk.number] for chunk in chunks)
            curves = self._table(CURVES, drawn, round_).sort_by(BY_STEP)
        return rows_from(self.plan, table, curves)

    def _table(self, kind: str, parts: Iterable[Part], round_: Round) -> pa.Table:
        """Return the rows of a round in these parts, which may have those of others, too."""
        tables = []
        for part in parts:
            table = read_table(self.folder.path / kind / str(part)).replace_schema_metadata()
            marks = _marks(round_).items()
            same = [pc.equal(table[name], value) for name, value in marks]
            tables.append(table.filter(pc.and_(*same)))
        return pa.concat_tables(tables)


def _marks(round_: Round) -> dict[str, int]:
    return dict(zip(RUNG_COLUMNS, (round_.bracket, round_.rung)))


def describe_pruner(pruner: Pruner) -> dict[str, Any]:
    """Describe a pruner: by its name in a spec, or else by its code.

    >>> from sweeps import ASHA
    >>> describe_pruner(ASHA(factor=4))
    {'name': 'asha', 'min_resources': 1, 'factor': 4, 'seed': 0}
    """
    names: dict[Any, str] = {kind: name for name, kind in PRUNERS.items()}
    kind = type(pruner)
    if kind in names:
        fields = dataclasses.fields(pruner)  # type: ignore[arg-type]
        return {"name": names[kind], **{f.name: getattr(pruner, f.name) for f in fields}}
    return told_with_code(pruner, Pruner)
