"""The rows of a chunk as the table that its part holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from sweeps.common.frames import pd
from sweeps.common.states import STATES
from sweeps.engine.chunks import Rows
from sweeps.engine.plan import Plan
from sweeps.engine.tables import columns_of, no_rows
from sweeps.store.parts import stored_names

__all__ = ["row_table", "schema_of"]

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
