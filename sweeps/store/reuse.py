"""Finished trials of the other sweeps in a store, found by their values.

A trial is known by its values, those of its axes and keywords, and not by its number. So a grid
with more values on an axis, or with an axis that was a keyword, contains the trials of the old one.
They are found by a hash of their values and then compared by the values themselves.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fastopt.rules import RULES
from sweeps.common.frames import pd
from sweeps.common.names import STEP_COUNTS
from sweeps.engine.chunks import Rows
from sweeps.engine.columns import aliases, fill, missing
from sweeps.engine.plan import Plan
from sweeps.engine.seeds import splitmix64
from sweeps.engine.tables import joined, no_rows
from sweeps.store.arrays import cells_of_column, curves_from, read_table
from sweeps.store.documents import StoredSweep
from sweeps.store.folder import CURVES, ROWS, Folder
from sweeps.store.identity import identity
from sweeps.store.parts import Part, stored_names

ROW_BITS = 32
"""Bits of a position that count rows of a part; the others count parts."""

# Parts kept in memory: the trials of a chunk lie in few.
CACHED = 8


class TrialCache:
    """Trials that other sweeps of a store have finished.

    ``asking``: the sweep of the plan, as it is stored. ``others``: those with the same problem,
    options and results.
    """

    def __init__(
        self, folder: Folder, plan: Plan, asking: StoredSweep, others: Sequence[StoredSweep]
    ) -> None:
        self.folder, self.plan, self.asking = folder, plan, asking
        names = dict.fromkeys([n for other in others for n in other.identity["space"]["names"]])
        self.names = list(dict.fromkeys([*plan.space.names, *names]))
        self._parts = [(other, part) for other in others for part in self._usable_parts(other)]
        self._load = functools.lru_cache(CACHED)(self._read_part)
        hashes = [hash_rows(self._encode_part(*found)) for found in self._parts]
        where = [(k << ROW_BITS) + np.arange(len(h)) for k, h in enumerate(hashes)]
        self._hashes = np.concatenate([np.empty(0, np.uint64), *hashes])
        self._where = np.concatenate([np.empty(0, np.int64), *where])
        order = np.argsort(self._hashes, kind="stable")
        self._hashes, self._where = self._hashes[order], self._where[order]

    def __len__(self) -> int:
        return len(self._hashes)

    def rows(self, ids: np.ndarray) -> Rows:
        """Return the rows of those trials that other sweeps have, by their numbers in this one."""
        if not len(self):
            return no_rows(self.plan)
        columns = self.plan.space.columns(ids)
        defaults = effective_defaults(self.asking.identity, self.names)
        codes = encode_values(columns, self.names, defaults, len(ids))
        hashes = hash_rows(codes)
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self) - 1)
        found = np.flatnonzero(self._hashes[at] == hashes)
        where = self._where[at[found]]
        groups = []
        for k in np.unique(where >> ROW_BITS).tolist():
            mine = where >> ROW_BITS == k
            groups.append(self._rows_of_part(k, where[mine] % 2**ROW_BITS, found[mine], ids, codes))
        return joined(self.plan, groups)

    def _rows_of_part(
        self, k: int, old: np.ndarray, new: np.ndarray, ids: np.ndarray, codes: np.ndarray
    ) -> Rows:
        """Return rows ``old`` of part ``k`` as those of trials ``ids[new]``."""
        rows, known = self._load(k)
        equal = (known[old] == codes[new]).all(axis=1)
        old, new = old[equal], new[equal]
        before = rows.ids[old].tolist()
        errors = {
            int(ids[n]): rows.errors[b] for n, b in zip(new.tolist(), before) if b in rows.errors
        }
        return Rows(ids[new], rows.state[old], rows.out[old], rows.curves[old], 0, errors)

    def _usable_parts(self, other: StoredSweep) -> list[Part]:
        """Return the undamaged parts of a sweep; with curves, those that have undamaged curves."""
        parts = self.folder.verified_parts(ROWS, other)
        if not self.plan.options.curves:
            return parts
        drawn = {k for part in self.folder.verified_parts(CURVES, other) for k in part.chunks}
        return [part for part in parts if drawn.issuperset(part.chunks)]

    def _read_part(self, k: int) -> tuple[Rows, np.ndarray]:
        owner, part = self._parts[k]
        table = read_table(self.folder.path / ROWS / str(part))
        curves = self._read_curves(owner, part) if self.plan.options.curves else None
        return rows_from(self.plan, table, curves), self._encode_part(owner, part)

    def _read_curves(self, owner: StoredSweep, part: Part) -> pa.Table:
        every = self.folder.list_parts(CURVES, owner)
        mine = [p for p in every if not set(p.chunks).isdisjoint(part.chunks)]
        return pa.concat_tables([read_table(self.folder.path / CURVES / str(p)) for p in mine])

    def _encode_part(self, owner: StoredSweep, part: Part) -> np.ndarray:
        """Return the values of a part's trials: see :func:`encode_values`."""
        names, results = owner.identity["space"]["names"], owner.identity["results"]
        stored = stored_names(names, results)
        axes = {name: stored[name] for name in names}
        table = read_table(self.folder.path / ROWS / str(part), ["trial_id", *axes.values()])
        columns = {
            n: cells_of_column(n, table[s], table[s].null_count > 0) for n, s in axes.items()
        }
        return encode_values(
            columns, self.names, effective_defaults(owner.identity, self.names), table.num_rows
        )


def values_so_far(plan: Plan, names: Sequence[str]) -> dict[str, Any]:
    """Return what the trials of a sweep have where these are no axes of it."""
    return effective_defaults(identity(plan, 1), names)


def effective_defaults(identity: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the values of trials that lack these axes.

    They are keywords, or what the problem was made with, or defaults of the optimizers.
    """
    own = dict(identity["problem"].get("axes", {}))
    own |= {"hidden": "-".join(map(str, own["hidden"]))} if own.get("hidden") else {}
    keywords: dict[str, Any] = {k: v for k, v in own.items() if isinstance(v, int | float | str)}
    keywords |= {name: v for name, v in identity["keywords"].items() if v is not None}
    parts = identity["space"]["parts"]
    listed = [part.get("optimizer", [keywords.get("optimizer")]) for part in parts]
    if not all(isinstance(optimizers, list) for optimizers in listed):
        return keywords  # drawn
    rules = [RULES[name] for name in {name for optimizers in listed for name in optimizers}]
    given = {*keywords, *identity["space"]["names"]}
    for name in [name for name in names if name not in keywords]:
        found = {rule.hyper[name].default if name in rule.hyper else None for rule in rules}
        if len(found) == 1 and not any(a in given for rule in rules for a in aliases(rule, name)):
            keywords[name] = found.pop()
    return keywords


def encode_values(
    columns: Mapping[str, np.ndarray], names: Sequence[str], keywords: Mapping[str, Any], n: int
) -> np.ndarray:
    """Encode the values of trials as numbers, which are equal if and only if the values are.

    ``columns``: axes; one that is missing, or has a gap, stands for the keyword of its name.
    """
    codes = np.empty((n, len(names)), np.uint64)
    for k, name in enumerate(names):
        column = columns.get(name)
        if column is None:
            codes[:, k] = _encode_value(keywords.get(name))
        else:
            codes[:, k] = _encode_column(fill(column, keywords.get(name), n))
    return codes


def _encode_column(column: np.ndarray) -> np.ndarray:
    if column.dtype == object:
        groups, distinct = pd.factorize(column, use_na_sentinel=False)
        return np.array([_encode_value(value) for value in distinct.tolist()], np.uint64)[groups]
    if column.dtype.kind in "iub":
        return column.astype(np.int64).view(np.uint64)
    # 1 and 1.0 are one value; other floats are spread over all 64 bits, far from small integers.
    column = np.ascontiguousarray(column, np.float64)
    whole = (column == np.floor(column)) & (np.abs(column) < 2.0**53)
    integers = np.where(whole, column, 0.0).astype(np.int64).view(np.uint64)
    return np.where(whole, integers, splitmix64(column.view(np.uint64)))


def _encode_value(value: Any) -> int:
    value = None if missing(value) else value
    if isinstance(value, bool | int | float):
        kind = float if isinstance(value, float) else np.int64
        return int(_encode_column(np.array([value], kind))[0])
    text = hashlib.blake2b(str(value).encode(), digest_size=8)
    return int.from_bytes(text.digest(), "little")


def hash_rows(codes: np.ndarray) -> np.ndarray:
    """Mix each row of ``codes`` ``(n, k)`` into one number.

    >>> hashes = hash_rows(np.array([[1, 2], [2, 1], [1, 2]], np.uint64))
    >>> hashes[0] == hashes[2], hashes[0] == hashes[1]
    (np.True_, np.False_)
    """
    hashes = np.zeros(len(codes), np.uint64)
    for column in codes.T:
        hashes = splitmix64(hashes ^ column)
    return hashes


def rows_from(plan: Plan, table: pa.Table, curves: pa.Table | None) -> Rows:
    """Return rows from the tables of a part, as they were when they had run."""
    ids = table["trial_id"].to_numpy()
    out = np.empty((len(ids), len(plan.results)))
    for k, name in enumerate(plan.results):
        out[:, k] = table[name].to_numpy()
        if name in STEP_COUNTS:
            out[out[:, k] < 0, k] = np.nan
    errors = {i: e for i, e in zip(ids.tolist(), table["error"].to_pylist()) if e is not None}
    recorded = np.empty((len(ids), 0, len(plan.curve)))
    if curves is not None:
        tables = curves_from(curves, ids, plan.curve)
        recorded = np.stack([tables[name] for name in plan.curve], axis=-1)
    return Rows(ids, cells_of_column("state", table["state"]), out, recorded, 0, errors)
