"""Results that stay in their store: each column is read when it is first used."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fastopt.code.cached import cached_property
from fastopt.errors import SpecError, StoredSpecError, did_you_mean, shortened
from sweeps.common.names import RUNG_COLUMNS, STEP_COUNTS, columns_beside_axes
from sweeps.common.states import STATES, State
from sweeps.engine.plan import Plan
from sweeps.engine.tables import Parts
from sweeps.space.space import Space
from sweeps.store.arrays import (
    cells_of_column,
    curves_from,
    damage_error,
    open_part,
    read_part_facts,
    read_table,
)
from sweeps.store.changes import differences, is_same_sweep
from sweeps.store.documents import StoredSweep
from sweeps.store.folder import CURVES, ROWS, Folder
from sweeps.store.identity import identity, restore_space
from sweeps.store.parts import stored_names
from sweeps.store.replay import last_points, replay

# Always read: without them a result cannot be ranked.
NEEDED = ("trial_id", "state")


def open_result_parts(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None, filters: Any = None
) -> Parts:
    """Open a store: see :meth:`sweeps.SweepResult.open`, whose parts this returns."""
    folder = Folder(path)
    stored = folder.newest_sweep()
    parts = stored_result_parts(folder, stored, {}, columns=columns, filters=filters)
    identity, cells = stored.identity, parts.columns
    finished = cells.height if isinstance(cells, StoredColumns) else len(cells["trial_id"])
    parts.info.update(
        n_trials=identity["trials"],
        interrupted=filters is None and finished < identity["trials"],
        problem=identity["problem"]["name"],
        store=str(folder.path),
        **({} if stored.pruner is None else {"pruner": _text_of(stored.pruner)}),
    )
    return parts


def _text_of(pruner: Mapping[str, Any]) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in pruner.items() if name != "name")
    return f"{pruner['name']}({fields})"


def reopen_result_parts(plan: Plan, path: str | os.PathLike[str]) -> Parts:
    """Return the finished trials of a sweep whose plan is at hand; none of the others runs.

    Raises SpecError, with what differs, if the store holds another sweep.
    """
    folder = Folder(path)
    wanted, known = identity(plan, 0), folder.sweeps()
    # Who was pruned does not matter for what the others are.
    told = [{k: v for k, v in s.identity.items() if k in wanted} | {"format": 1} for s in known]
    same = [s for s, said in zip(known, told) if is_same_sweep(said, wanted)]
    found = same[-1] if same else None
    if found is None:
        folder.newest_sweep()  # raises if there is none
        unlike = [differences(said, wanted) for said in told]
        listed = min(unlike, key=len)[:20] or ["axes: values that are not in the store"]
        lines = "\n  ".join(listed)
        raise SpecError(
            f"this is not the sweep in {folder.path}:\n  {lines}\nPut data and settings back as "
            "they were, or run the sweep of those that are here, in a folder of its own"
        )
    parts = stored_result_parts(folder, found, {}, plan)
    parts.info.update(
        n_trials=plan.size,
        interrupted=len(parts.columns["trial_id"]) < plan.size,
        problem=plan.problem.name,
        store=str(folder.path),
    )
    return parts


def stored_result_parts(
    folder: Folder,
    stored: StoredSweep,
    info: dict[str, Any],
    plan: Plan | None = None,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    chunks: range | None = None,
) -> Parts:
    """Return the finished trials of a stored sweep, as parts of a result.

    ``plan``: the sweep itself, if the caller has it: then axes hold its own values. ``chunks``:
    those to look at; all by default.
    """
    if stored.reduce is not None:
        raise StoredSpecError(
            f"{folder.path} holds what reduce=... keeps of a sweep, {stored.reduce['kind']}, and "
            "no trials: the same sweep(..., reduce=..., store=...) again returns it"
        )
    folder = Folder(folder.path.absolute())  # the program, or who unpickles it, may go elsewhere
    options = stored.identity["options"]
    space = restore_space(stored.identity["space"]) if plan is None else plan.space
    held = StoredColumns(folder, stored, space, columns, plan is not None, chunks)
    cells: Mapping[str, np.ndarray] = held if filters is None else held.matching(filters)
    curves = StoredCurves(folder, stored, cells, chunks) if options["curves"] else None
    return Parts(cells, curves, options["metric"], options["mode"], info, space, plan)


class StoredColumns(Mapping[str, np.ndarray]):
    """Columns of a stored sweep by name, each read at its first use and kept.

    ``columns``: those that are wanted; what a ranking needs is always there. ``decode``: compute
    axes from the trials' numbers instead of reading them: then schedules are objects. ``chunks``:
    those to look at.
    """

    def __init__(
        self,
        folder: Folder,
        stored: StoredSweep,
        space: Space,
        columns: Sequence[str] | None = None,
        decode: bool = False,
        chunks: range | None = None,
    ) -> None:
        self._space, self._decode = space, decode
        self.paths = [folder.path / ROWS / str(p) for p in folder.list_parts(ROWS, stored, chunks)]
        footers = [open_part(path).metadata for path in self.paths]
        said = [read_part_facts(*each) for each in zip(self.paths, footers)]
        # What is read at once: groups of rows, of which a compacted part has many.
        self._groups = [
            (path, k)
            for path, footer in zip(self.paths, footers)
            for k in range(footer.num_row_groups)
        ]
        heights = [f.row_group(k).num_rows for f in footers for k in range(f.num_row_groups)]
        self._ends = np.cumsum([0, *heights])
        self.states = np.array([f.states for f in said], int).reshape(-1, len(STATES)).sum(axis=0)
        """How many trials ended in each way, see :data:`sweeps.results.STATES`."""
        results, axes = stored.identity["results"], stored.identity["space"]["names"]
        self._axes, self._metric = axes, stored.identity["options"]["metric"]
        self._stored = {name: name for name in (*NEEDED, "error", *RUNG_COLUMNS)}
        self._stored |= stored_names(axes, results)
        self._dtypes = {name: c.dtype for name, c in space.columns([0]).items() if name in axes}
        self._dtypes |= {"trial_id": np.dtype(np.int64), "state": np.dtype(np.int8)}
        self._dtypes |= dict.fromkeys(RUNG_COLUMNS, np.dtype(np.int64))
        self._cache: dict[str, np.ndarray] = {}
        self._choose_rows(stored)
        places = () if stored.pruner is None else RUNG_COLUMNS
        error = ("error",) if self.states[State.FAILED] else ()
        results = columns_beside_axes(results, axes)
        self._names = [NEEDED[0], *axes, NEEDED[1], *results, *error, *places]
        if columns is not None:
            self._keep_columns(columns, places)

    def _choose_rows(self, stored: StoredSweep) -> None:
        """Of a pruned sweep, choose the last row of each trial that has ended or been pruned."""
        self._chosen: np.ndarray | None = None
        self.rounds: list = []
        """Rounds of a pruned sweep that have begun, and how many of their trials are through."""
        if stored.pruner is None:
            return
        every = self._read(slice(0, self.height), [*NEEDED, self._metric, *RUNG_COLUMNS])
        self.rounds, self._chosen = replay(stored, self._space, every, every[self._metric])
        self.states = np.bincount(every["state"][self._chosen], minlength=len(STATES))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return a column, of all trials."""
        if name not in self._names:
            raise KeyError(name)
        if name not in self._cache:
            self._cache |= self._cells_of_rows(slice(0, self.height), [name])
        return self._cache[name]

    @property
    def height(self) -> int:
        """Number of rows."""
        return int(self._ends[-1]) if self._chosen is None else len(self._chosen)

    def select(self, rows: Any) -> dict[str, np.ndarray]:
        """Return all columns of some rows; no other part is read, and nothing is kept."""
        return self._cells_of_rows(rows, self._names)

    def matching(self, filters: Any) -> dict[str, np.ndarray]:
        """Return all columns of the rows that pass a filter of ``pyarrow.parquet.read_table``."""
        names = list(self._names)
        if not self.paths:
            return self._cells_of_rows(slice(0, 0), names)
        try:
            table = self._filter_table(names, filters)
        except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
            raise SpecError(f"filters={shortened(filters)}: {error}") from error
        except OSError as error:
            raise damage_error(self.paths[0].parent, error) from error
        table = table.sort_by("trial_id")
        return {name: self._decode_column(name, table[name]) for name in names}

    def _filter_table(self, names: Sequence[str], filters: Any) -> pa.Table:
        stored = [self._stored[name] for name in names]
        how = {"columns": stored, "page_checksum_verification": True}
        if stored == names and self._chosen is None:
            return pq.read_table(self.paths, filters=filters, **how)
        # A filter speaks of the columns by the names that they have in the frame.
        table = pq.read_table(self.paths, **how).rename_columns(names)
        table = table if self._chosen is None else table.take(self._chosen)
        return table.filter(pq.filters_to_expression(filters))

    def _keep_columns(self, columns: Sequence[str], places: Sequence[str]) -> None:
        known = list(self._names)
        for name in columns:
            if name not in known:
                raise SpecError(
                    f"there is no column {shortened(name)}{did_you_mean(name, known)}; there are "
                    f"{', '.join(known)}"
                )
        wanted = {*NEEDED, self._metric, *columns, *places}
        self._names = [name for name in known if name in wanted]

    def _cells_of_rows(self, rows: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
        decoded = [name for name in names if self._decode and name in self._axes]
        read = [name for name in names if name not in decoded]
        if decoded and "trial_id" not in read:
            read.append("trial_id")
        cells = self._read(rows, read)
        if decoded:
            axes = self._space.columns(cells["trial_id"])
            cells |= {name: axes[name] for name in decoded}
        return {name: cells[name] for name in names}

    def _read(self, rows: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Read rows from the groups they are in, one after the other."""
        rows = rows if self._chosen is None else self._chosen[rows]
        size = len(range(*rows.indices(self.height))) if isinstance(rows, slice) else len(rows)
        kinds = {name: np.int64 if name in STEP_COUNTS else np.float64 for name in names}
        cells = {name: np.empty(0, self._dtypes.get(name, kinds[name])) for name in names}
        for k, inside, place in self._row_groups_of(rows):
            path, group = self._groups[k]
            table = read_table(path, [self._stored[name] for name in names], group)
            for name in names:
                found = self._decode_column(name, table[self._stored[name]])[inside]
                if not len(cells[name]):
                    cells[name] = np.empty(size, found.dtype)
                cells[name][place] = found
        return cells

    def _row_groups_of(self, rows: Any) -> Iterator[tuple[int, Any, Any]]:
        """Yield groups, which rows of them are wanted, and where in the answer they go."""
        if isinstance(rows, slice) and rows.indices(self.height)[2] == 1:
            low, high, _ = rows.indices(self.height)
            first = int(np.searchsorted(self._ends, low, side="right")) - 1
            for k in range(first, int(np.searchsorted(self._ends, high))):
                start, stop = max(low, int(self._ends[k])), min(high, int(self._ends[k + 1]))
                shift = int(self._ends[k])
                yield k, slice(start - shift, stop - shift), slice(start - low, stop - low)
            return
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(self.height))
        order = np.argsort(rows, kind="stable")
        cuts = np.searchsorted(rows[order], self._ends)
        for k in np.flatnonzero(np.diff(cuts)).tolist():
            place = order[cuts[k] : cuts[k + 1]]
            yield k, rows[place] - self._ends[k], place

    def _decode_column(self, name: str, column: pa.ChunkedArray) -> np.ndarray:
        return cells_of_column(name, column, name in self._axes and self._dtypes[name].kind == "O")


class StoredCurves(Mapping[str, np.ndarray]):
    """Curves of a stored sweep, read when they are first used."""

    def __init__(
        self,
        folder: Folder,
        stored: StoredSweep,
        rows: Mapping[str, np.ndarray],
        chunks: range | None = None,
    ) -> None:
        self._rows, self._names = rows, stored.identity["curve"]
        self._places = () if stored.pruner is None else RUNG_COLUMNS
        parts = folder.list_parts(CURVES, stored, chunks)
        self._paths = [folder.path / CURVES / str(part) for part in parts]

    def __len__(self) -> int:
        return 1 + len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(["trial_id", *self._names])

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tables[name]

    @cached_property
    def _tables(self) -> dict[str, np.ndarray]:
        ids = np.asarray(self._rows["trial_id"])
        table = self._table()
        table = last_points(table, self._rows) if self._places else table
        return {"trial_id": ids, **curves_from(table, ids, self._names)}

    def _table(self) -> pa.Table:
        columns = ["trial_id", *self._names, *self._places]
        whole = ("trial_id", "step", *self._places)
        empty = {name: np.empty(0, np.int64 if name in whole else float) for name in columns}
        return pa.concat_tables(
            [pa.table(empty), *(read_table(p).replace_schema_metadata() for p in self._paths)]
        )
