"""pandas, imported when something of it is first asked for.

That takes 0.4 s, a third of what a process needs until it trains. ``from sweeps.common.frames
import pd`` stands for ``import pandas as pd``, to type checkers too. Beside it stands what is
asked of columns everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastopt.errors import ArrayError


class _Pandas:
    def __getattr__(self, name: str) -> Any:
        import pandas

        value = getattr(pandas, name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import pandas as pd
else:
    pd = _Pandas()


def as_pandas(table: Any) -> Any:
    """Return a table of polars or pyarrow, a dict of columns or a list of dicts as pandas'.

    Anything else is returned as it is. Raises ArrayError if pandas makes no table of a dict.

    >>> as_pandas([{"a": 1, "b": "x"}, {"a": 2, "b": None}])["a"].tolist(), as_pandas([[1, 2]])
    ([1, 2], [[1, 2]])
    """
    if hasattr(table, "to_pandas"):
        return table.to_pandas()
    rows = isinstance(table, list | tuple) and all(isinstance(row, Mapping) for row in table)
    if not isinstance(table, Mapping) and not (rows and table):
        return table
    try:
        return pd.DataFrame(table)
    except ValueError as error:
        raise ArrayError(
            f"no table can be made of this {type(table).__name__}: {error!s:.200}; give columns of "
            "the same length, or a list with one dict a row"
        ) from None


def configurations(columns: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Return the number of each row's configuration, counted in the order in which they come.

    Numbers are equal for rows that are equal in all of ``names``; a missing value equals itself.

    >>> configurations({"a": np.array([2, 1, 2]), "b": np.array([0.5, 0.5, 0.5])}, ["a", "b"])
    array([0, 1, 0])
    """
    n = len(next(iter(columns.values())))
    codes = np.zeros(n, np.int64)
    for name in names:
        own, distinct = pd.factorize(np.asarray(columns[name]), use_na_sentinel=False)
        codes, _ = pd.factorize(codes * len(distinct) + own)
    return codes


def as_python(cell: Any) -> Any:
    """Return a cell of a column as a plain Python value.

    >>> as_python(np.float32(0.5)), as_python("adam")
    (0.5, 'adam')
    """
    return cell.item() if isinstance(cell, np.generic) else cell
