"""What a store remembers of a table: enough to tell which column is another one, and no value."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from sweeps.common.frames import pd
from sweeps.problems.columns import NUMBERS, as_numbers, as_text
from sweeps.problems.splits import Splits

MOST_DIGESTS = 200
"""Columns that are told apart; of more, all together have one digest."""


def digest_of(values: Any, number: bool) -> str:
    """Return 16 hex digits that change with any value, and with no way to store them.

    ``values``, Series or array_like: missing ones are all alike. ``number``: whether they are
    compared as numbers, else as text.

    >>> short, long = np.ones(2, np.float32), pd.Series([1, 1])
    >>> digest_of(short, True) == digest_of(long, True) != digest_of([1, 2], True)
    True
    >>> digest_of(["a", None], False) == digest_of(["a", np.nan], False) != digest_of(["a"], False)
    True
    """
    series = values if isinstance(values, pd.Series) else pd.Series(values)
    content = hashlib.blake2b(digest_size=8)
    if number:
        numbers = as_numbers(series).to_numpy() + 0.0  # -0.0 is 0.0
        content.update(np.where(np.isnan(numbers), np.nan, numbers).tobytes())
        return content.hexdigest()
    codes, known = pd.factorize(as_text(series))
    content.update(codes.astype(np.int64).tobytes())
    for text in known:
        written = text.encode("utf-8", "surrogatepass")
        content.update(len(written).to_bytes(8, "little") + written)
    return content.hexdigest()


def describe_table(X: pd.DataFrame, y: np.ndarray, kinds: Mapping[str, str], target: str) -> Any:
    """Describe a table for the identity of a sweep, as plain JSON.

    Returns ``rows``, ``target`` and ``columns`` (name -> kind and digest). Two tables with the same
    content have the same, whatever file they come from.

    >>> X = pd.DataFrame({"a": [1.0, np.nan]})
    >>> describe_table(X, np.array(["no", "yes"]), {"a": "numeric"}, "b")
    {'rows': 2, 'target': 'b ...', 'columns': {'a': 'numeric ...'}}
    """
    columns = {
        name: f"{kind} {digest_of(X[name], kind in NUMBERS)}" for name, kind in kinds.items()
    }
    if len(columns) > MOST_DIGESTS:
        columns = {f"{len(columns)} columns": digest_of([*columns, *columns.values()], False)}
    labels = np.ascontiguousarray(y).ravel()
    written = digest_of(labels, labels.dtype.kind in "biuf")
    return {"rows": len(X), "target": f"{target} {written}", "columns": columns}


def describe_split(splits: Splits) -> dict[str, Any]:
    """Describe which rows are for what: how many of each part, and a digest of which.

    >>> describe_split(Splits([(np.array([0, 1]), np.array([2]))], np.array([3])))
    {'training': [2], 'validation': [1], 'test': 1, 'rows': '...'}
    """
    parts = [rows for pair in splits.parts for rows in pair] + [splits.test]
    numbers = np.concatenate([np.append(rows, -1) for rows in parts])
    return {
        "training": [len(train) for train, _ in splits.parts[:MOST_DIGESTS]],
        "validation": [len(chosen_by) for _, chosen_by in splits.parts[:MOST_DIGESTS]],
        "test": len(splits.test),
        "rows": digest_of(numbers, True),
    }
