"""Finished trials of the other sweeps in a store, found by their values.

A trial is what its axes and keywords set, whatever its number: so a grid with more values on an
axis, or one more axis that was a keyword, has the old grid's trials in it. A hash of the values
finds them, the values themselves decide.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fastopt.rules import RULES
from sweeps.engine.chunks import Rows
from sweeps.engine.columns import aliases, fill, missing
from sweeps.engine.plan import Plan
from sweeps.engine.seeds import splitmix64
from sweeps.engine.tables import joined, no_rows
from sweeps.store.arrays import cells_of, read_table, rows_from
from sweeps.store.documents import Stored
from sweeps.store.folder import CURVES, ROWS, Folder
from sweeps.store.parts import Part, stored_as

__all__ = ["Known", "codes_of", "hashes_of", "settled"]

ROW_BITS = 32
"""Bits of a position that count rows of a part; the others count parts."""

# Parts kept in memory: the trials of a chunk lie in few.
CACHED = 8


class Known:
    """Trials that other sweeps of a store have finished.

    Parameters
    ----------
    folder : Folder
    plan : Plan
        The sweep that asks.
    asking : Stored
        The same, as the store knows it.
    others : sequence of Stored
        Those whose trials it may use; problem, options and results are the same.
    """

    def __init__(
        self, folder: Folder, plan: Plan, asking: Stored, others: Sequence[Stored]
    ) -> None:
        self.folder, self.plan, self.asking = folder, plan, asking
        names = dict.fromkeys([n for other in others for n in other.identity["space"]["names"]])
        self.names = list(dict.fromkeys([*plan.space.names, *names]))
        self._parts = [(other, part) for other in others for part in self._whole(other)]
        self._load = functools.lru_cache(CACHED)(self._loaded)
        hashes = [hashes_of(self._codes(*found)) for found in self._parts]
        where = [(k << ROW_BITS) + np.arange(len(h)) for k, h in enumerate(hashes)]
        self._hashes = np.concatenate([np.empty(0, np.uint64), *hashes])
        self._where = np.concatenate([np.empty(0, np.int64), *where])
        order = np.argsort(self._hashes, kind="stable")
        self._hashes, self._where = self._hashes[order], self._where[order]

    def __len__(self) -> int:
        return len(self._hashes)

    def rows(self, ids: np.ndarray) -> Rows:
        """Return the rows of those trials that are known, under their numbers in this sweep.

        Parameters
        ----------
        ids : ndarray of int64, shape (n,)
            Trial numbers, increasing.
        """
        if not len(self):
            return no_rows(self.plan)
        columns = self.plan.space.columns(ids)
        codes = codes_of(columns, self.names, settled(self.asking.identity, self.names), len(ids))
        hashes = hashes_of(codes)
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self) - 1)
        found = np.flatnonzero(self._hashes[at] == hashes)
        where = self._where[at[found]]
        groups = []
        for k in np.unique(where >> ROW_BITS).tolist():
            mine = where >> ROW_BITS == k
            groups.append(self._taken(k, where[mine] % 2**ROW_BITS, found[mine], ids, codes))
        return joined(self.plan, groups)

    def _taken(
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

    def _whole(self, other: Stored) -> list[Part]:
        """Return the parts of a sweep that are whole, and whose curves are, if curves are asked."""
        parts = self.folder.whole(ROWS, other)
        if not self.plan.options.curves:
            return parts
        drawn = {k for part in self.folder.whole(CURVES, other) for k in part.chunks}
        return [part for part in parts if drawn.issuperset(part.chunks)]

    def _loaded(self, k: int) -> tuple[Rows, np.ndarray]:
        owner, part = self._parts[k]
        table = read_table(self.folder.path / ROWS / str(part))
        curves = self._curves(owner, part) if self.plan.options.curves else None
        return rows_from(self.plan, table, curves), self._codes(owner, part)

    def _curves(self, owner: Stored, part: Part) -> pa.Table:
        every = self.folder.listed(CURVES, owner)
        mine = [p for p in every if not set(p.chunks).isdisjoint(part.chunks)]
        return pa.concat_tables([read_table(self.folder.path / CURVES / str(p)) for p in mine])

    def _codes(self, owner: Stored, part: Part) -> np.ndarray:
        """Return the values of a part's trials: see :func:`codes_of`."""
        names, results = owner.identity["space"]["names"], owner.identity["results"]
        stored = stored_as(names, results)
        axes = {name: stored[name] for name in names}
        table = read_table(self.folder.path / ROWS / str(part), ["trial_id", *axes.values()])
        columns = {n: cells_of(n, table[s], table[s].null_count > 0) for n, s in axes.items()}
        return codes_of(columns, self.names, settled(owner.identity, self.names), table.num_rows)


def settled(identity: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what trials without such an axis have: a keyword, or the default of their rules.

    Parameters
    ----------
    identity : dict
        See :func:`sweeps.store.identity.identity`.
    names : sequence of str
    """
    keywords = {name: v for name, v in identity["keywords"].items() if v is not None}
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


def codes_of(
    columns: Mapping[str, np.ndarray], names: Sequence[str], keywords: Mapping[str, Any], n: int
) -> np.ndarray:
    """Return the values of trials as numbers, equal where the values are and nowhere else.

    Parameters
    ----------
    columns : dict of str to (n,) array
        Axes; one that is missing, or has a gap, stands for the keyword of its name.
    names : sequence of str
        What to encode, k names.
    keywords : dict
    n : int

    Returns
    -------
    ndarray of uint64, shape (n, k)
    """
    codes = np.empty((n, len(names)), np.uint64)
    for k, name in enumerate(names):
        column = columns.get(name)
        if column is None:
            codes[:, k] = _code(keywords.get(name))
        else:
            codes[:, k] = _coded(fill(column, keywords.get(name), n))
    return codes


def _coded(column: np.ndarray) -> np.ndarray:
    if column.dtype == object:
        groups, distinct = pd.factorize(column, use_na_sentinel=False)
        return np.array([_code(value) for value in distinct.tolist()], np.uint64)[groups]
    if column.dtype.kind in "iub":
        return column.astype(np.int64).view(np.uint64)
    # 1 and 1.0 are one value; other floats are spread over all 64 bits, far from small integers.
    column = np.ascontiguousarray(column, np.float64)
    whole = (column == np.floor(column)) & (np.abs(column) < 2.0**53)
    integers = np.where(whole, column, 0.0).astype(np.int64).view(np.uint64)
    return np.where(whole, integers, splitmix64(column.view(np.uint64)))


def _code(value: Any) -> int:
    value = None if missing(value) else value
    if isinstance(value, bool | int | float):
        kind = float if isinstance(value, float) else np.int64
        return int(_coded(np.array([value], kind))[0])
    text = hashlib.blake2b(str(value).encode(), digest_size=8)
    return int.from_bytes(text.digest(), "little")


def hashes_of(codes: np.ndarray) -> np.ndarray:
    """Mix each row of ``codes`` ``(n, k)`` into one number.

    >>> hashes = hashes_of(np.array([[1, 2], [2, 1], [1, 2]], np.uint64))
    >>> hashes[0] == hashes[2], hashes[0] == hashes[1]
    (np.True_, np.False_)
    """
    hashes = np.zeros(len(codes), np.uint64)
    for column in codes.T:
        hashes = splitmix64(hashes ^ column)
    return hashes
