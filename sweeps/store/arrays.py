"""From the tables of a store back to arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fastopt.errors import StoreError, shortened
from sweeps.common.states import STATES
from sweeps.store.documents import PartFacts
from sweeps.store.parts import facts_in, footer_digest, read_footer


def open_part(path: Path) -> pq.ParquetFile:
    """Open a part: its footer is checked now, its pages by their checksums as they are read."""
    try:
        if footer_digest(read_footer(path)) != path.stem[-8:]:
            raise OSError("its footer is not what was written")
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise damage_error(path, error) from error


def read_table(
    path: Path, columns: Sequence[str] | None = None, group: int | None = None
) -> pa.Table:
    """Return some columns of a part, or all; of one group of its rows, or of all."""
    try:
        with open_part(path) as file:
            groups = range(file.num_row_groups) if group is None else [group]
            table = file.read_row_groups(list(groups), columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise damage_error(path, error) from error
    missing = [name for name in columns or () if name not in table.column_names]
    if missing:
        raise damage_error(path, ValueError(f"it lacks the column {shortened(missing[0])}"))
    return table


def read_part_facts(path: Path, footer: pq.FileMetaData | None = None) -> PartFacts:
    """Return the facts in the footer of a part, which is read if it is not given."""
    try:
        return facts_in(open_part(path).metadata if footer is None else footer)
    except ValueError as error:
        raise damage_error(path, error) from error


def damage_error(path: Path, error: Exception) -> StoreError:
    """Return an error that says what to do about a damaged part."""
    if isinstance(error, StoreError):
        return error
    return StoreError(
        f"{path} cannot be read ({error}). Run the command of the sweep again: it sets aside what "
        "is damaged and runs those trials anew"
    )


def cells_of_column(name: str, column: pa.ChunkedArray, gaps: bool = False) -> np.ndarray:
    """Return a column as an array: states as numbers, names and what has gaps as objects.

    >>> cells_of_column("state", pa.chunked_array([["DIVERGED", "COMPLETE"]]))
    array([1, 0], dtype=int8)
    >>> cells_of_column("optimizer", pa.chunked_array([["sgd", None, "sgd"]]))
    array(['sgd', None, 'sgd'], dtype=object)
    """
    if name == "state":
        found = pc.index_in(column, value_set=pa.array(STATES))
        return found.to_numpy().astype(np.int8)
    if not gaps and not pa.types.is_string(column.type):
        return column.to_numpy()
    coded = column.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    known = np.array([*coded.dictionary.to_pylist(), None], object)
    return known[coded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)]


def curves_from(table: pa.Table, ids: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Turn a table with a row per trial and point into arrays ``(n, points)``, padded with NaN.

    ``table``: ``trial_id``, not decreasing, and ``names``. ``ids``: trials to return, increasing.
    """
    owner = table["trial_id"].to_numpy()
    rows = np.minimum(np.searchsorted(ids, owner), len(ids) - 1)
    wanted = ids[rows] == owner if len(ids) else np.zeros(len(owner), bool)
    rows, owner = rows[wanted], owner[wanted]
    point = np.arange(len(owner)) - np.searchsorted(owner, owner)
    shape = (len(ids), int(point.max(initial=-1)) + 1)
    tables = {}
    for name in names:
        tables[name] = np.full(shape, np.nan)
        tables[name][rows, point] = table[name].to_numpy()[wanted]
    return tables
