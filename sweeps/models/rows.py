"""From a table of a user's to the rows that a network takes, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import ArrayError, ArrayTypeError, SpecError, did_you_mean, shortened
from sweeps.common.frames import as_pandas, pd
from sweeps.models.columns import Category, Columns, as_table, wrong_width
from sweeps.models.transformers import columns_of
from sweeps.problems.arrays import as_dataset, cast
from sweeps.problems.columns import as_features


def features_of(
    X: Any,
    preprocess: Any,
    names: Sequence[str] | None,
    target: str | None,
    width: int,
    dtype: np.dtype,
    kinds: Mapping[str, str] | None = None,
) -> np.ndarray:
    """Return a table preprocessed, in the dtype of the network, C-contiguous.

    ``names``: columns, by which those of a DataFrame are found. ``target``: a column that may stand
    in the table, and is left out. ``kinds``: of a table: what each column holds, by which it is
    read as that of training was.

    >>> features_of([[1, 2]], None, None, None, 2, np.dtype("float32"))
    array([[1., 2.]], dtype=float32)
    """
    X = as_pandas(X)
    if kinds is None or names is None:
        X = in_order(X, names, target)
    else:
        X = as_features(_to_frame(X, names), kinds, categories_of(preprocess, names))
    if isinstance(preprocess, Columns):
        made = preprocess.transform(X, names)
    elif preprocess is None:
        made = as_dataset("X", X)
    elif isinstance(X, pd.DataFrame) and not len(X):  # scikit-learn's refuse no rows, ours do not
        made = np.empty((0, width))
    else:
        made = _transform_by(X, preprocess)
    if made.shape[1] != width:
        raise ArrayError(wrong_width(made.shape[1], width))
    return cast("X", made, dtype, told=False)


def categories_of(preprocess: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the categories of each column that has some, where they are known.

    >>> from sweeps.models.columns import Category
    >>> categories_of(Columns(1, [Category(0, ["a", "b"])]), ["town"])
    {'town': ['a', 'b']}
    """
    try:
        entries = columns_of(preprocess).entries
    except SpecError:  # a transformer of the user's
        return {}
    return {names[e.column]: e.categories for e in entries if isinstance(e, Category)}


def _to_frame(X: Any, names: Sequence[str]) -> pd.DataFrame:
    """Return a table with these columns; others that it has do not matter, as in training."""
    if isinstance(X, pd.DataFrame):
        frame = X.rename(columns=str)
        known = frame.columns.isin(names)
        return in_order(frame.loc[:, known], names, None, [*frame.columns[~known]])
    array = as_table(X)
    if array.shape[1] != len(names):
        raise ArrayError(f"{wrong_width(array.shape[1], len(names))}: {_join(names)}")
    return pd.DataFrame(array, columns=list(names))


def in_order(
    X: Any, names: Sequence[str] | None, target: str | None, others: Sequence[str] = ()
) -> Any:
    """Return a DataFrame's columns as they were in training, found by their names.

    >>> import pandas as pd
    >>> in_order(pd.DataFrame({"b": [2], "y": [0], "a": [1]}), ["a", "b"], "y").columns.tolist()
    ['a', 'b']
    """
    if names is None or not isinstance(X, pd.DataFrame):
        return X
    given = [name for name in X.columns if name != target or target in names]
    missing = [name for name in names if name not in given]
    if missing:
        raise ArrayError(
            f"X lacks the column{'s' * (len(missing) > 1)} {_join(missing)}"
            f"{did_you_mean(missing[0], map(str, [*given, *others]))}; the model was trained with "
            f"{_join(names)}"
        )
    unknown = [name for name in given if name not in set(names)]
    if unknown:
        raise ArrayError(
            f"X has the column{'s' * (len(unknown) > 1)} {_join(unknown)}, which the model was "
            "not trained with; leave them out: X[model.feature_names]"
        )
    if len(given) > len(names):
        twice = next(name for name in given if given.count(name) > 1)
        raise ArrayError(f"X has two columns called {shortened(twice)}; rename or drop one of them")
    return X[list(names)]


def _join(names: Sequence[Any]) -> str:
    shown = ", ".join(shortened(name, 60) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown}, ... ({len(names)} of them)"


def _transform_by(X: Any, transformer: Any) -> np.ndarray:
    """Return what a fitted transformer makes of a table, dense and finite."""
    try:
        made = transformer.transform(X)
    except (TypeError, ValueError) as error:
        raise ArrayTypeError(
            f"X: {type(transformer).__name__}, which goes before the model, refuses it: "
            f"{error!s:.400}. Give rows like those of training"
        ) from error
    made = made.toarray() if hasattr(made, "toarray") else made
    return as_dataset("X (preprocessed)", np.asarray(made, np.float64))
