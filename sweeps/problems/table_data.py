"""A table of data, checked to the last column before anything runs, as a network needs it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastopt.errors import ArrayError, ArrayTypeError, SpecError, shortened
from sweeps.common.frames import as_pandas, pd
from sweeps.problems.columns import NUMBERS, as_numbers, as_text, look_at, refuse_unknown, show
from sweeps.problems.files import place_of, read_file, refuse_repeats
from sweeps.problems.labels import plain
from sweeps.problems.preprocessing import check_transformer, default_preprocess, dense
from sweeps.problems.splits import Splits, split_rows
from sweeps.problems.targets import (
    columns_of,
    encode_target,
    entries_of,
    list_of,
    name_of_target,
    read_target,
    refuse_other_order,
    task_of,
    times_of,
)

MOST_TROUBLES = 5
"""Columns that a message names, with what is wrong with each."""

MOST_DIGESTS = 200
"""Columns that are told apart; of more, all together have one digest."""

NEVER = ("infinite", "mixed")
"""Kinds of columns that are refused whatever reads them."""


class TableData(NamedTuple):
    """What a network is built from.

    * ``name``: of the file, or "table".
    * ``X``: features: float64 with NaN where missing, or text likewise.
    * ``y``: the number of each row's class, or float64 targets of shape (rows, outputs).
    * ``classes``: labels by their numbers; None in a regression.
    * ``weights``: float64 of shape (rows,).
    * ``task``: one of "classification", "regression".
    * ``preprocess``, transformer: not fitted.
    * ``split``: arguments of :func:`sweeps.problems.splits.split_rows` but the seed.
    * ``splits``: what they come to by the seed that was asked for.
    * ``target``: the name of what is predicted.
    * ``kinds``: column of ``X`` -> its kind, see :class:`sweeps.problems.columns.Column`.
    * ``content``: what a store remembers of all this, as plain JSON.
    """

    name: str
    X: pd.DataFrame
    y: np.ndarray
    classes: np.ndarray | None
    weights: np.ndarray | None
    task: str
    preprocess: Any
    split: dict[str, Any]
    splits: Splits
    target: str
    kinds: dict[str, str]
    content: dict[str, Any]


def read_table(
    table: Any,
    target: Any,
    *,
    task: str | None = None,
    weights: Any = None,
    groups: Any = None,
    time: Any = None,
    test: Any = 0.2,
    validation: Any = None,
    folds: Any = None,
    preprocess: Any = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    na_values: Sequence[str] = (),
    loss: str | None = None,
    name: str | None = None,
    split_seed: int = 0,
) -> TableData:
    """Read a table, and refuse what no model could be trained on.

    Arguments are those of :func:`sweeps.problems.table`; a matrix may be sparse. A transformer that
    is given gets the columns whatever they hold.

    >>> table = pd.DataFrame(
    ...     {"acid": [7.4, None, 6.0, 5.1] * 5, "red": ["yes", "no"] * 10, "good": [0, 1] * 10}
    ... )
    >>> data = read_table(table, "good", validation=0.25)
    >>> data.kinds, data.task, data.y[:3]
    ({'acid': 'numeric', 'red': 'categorical'}, 'classification', array([0, 1, 0]))
    >>> [len(rows) for rows in (*data.splits.parts[0], data.splits.test)]
    [11, 5, 4]
    """
    frame = as_frame(table, na_values)
    roles = {"target": target, "weights": weights, "groups": groups, "time": time}
    refuse_other_order(table, {**roles, "test": test, "validation": validation})
    X, kinds = _features(frame, roles, drop, categorical, preprocess is None)
    y, task = read_target(frame, target, task or task_of(loss))
    what = name_of_target(target)
    encoded, classes = encode_target(what, y, task, loss)
    given = {
        "validation": 0.2 if validation is None and folds is None else validation,
        "test": test,
        "folds": list(folds) if _is_generator(folds) else folds,
        "groups": None if groups is None else plain("groups", entries_of(frame, groups)),
        "time": None if time is None else times_of(entries_of(frame, time)),
    }
    split = {name: value for name, value in given.items() if value is not None}
    splits = split_rows(y, classification=task == "classification", seed=split_seed, **split)
    return TableData(
        name=name or (Path(table).stem if isinstance(table, str | os.PathLike) else "table"),
        X=X,
        y=encoded,
        classes=classes,
        weights=weights_of(frame, weights),
        task=task,
        preprocess=check_transformer(
            default_preprocess(kinds) if preprocess is None else preprocess
        ),
        split=split,
        splits=splits,
        target=what,
        kinds=kinds,
        content={**describe_table(X, y, kinds, what), "split": describe_split(splits)},
    )


def _is_generator(folds: Any) -> bool:
    """Tell pairs of rows, which are walked once for every seed, from numbers and splitters."""
    return (
        isinstance(folds, Iterable) and not isinstance(folds, str) and not hasattr(folds, "split")
    )


def as_frame(table: Any, na_values: Sequence[str] = ()) -> pd.DataFrame:
    """Return a table of pandas whose columns have different names, which are text.

    ``na_values``: words of a CSV file that stand for missing cells.

    >>> as_frame(np.eye(2))
        x0   x1
    0  1.0  0.0
    1  0.0  1.0
    """
    where, table = "the table", as_pandas(table)
    if isinstance(table, str | os.PathLike):
        frame, where = read_file(table, na_values), str(table)
    elif isinstance(table, pd.DataFrame):
        frame = table.rename(columns=str) if table.columns.nlevels == 1 else _flat(table)
    else:
        array = np.asarray(dense("the table", table))
        if array.ndim != 2:
            raise ArrayTypeError(
                "a table is a DataFrame (of pandas, polars, pyarrow), columns by name, one dict a "
                "row, the path of a CSV or Parquet file, or a matrix of shape "
                f"(rows, features); got {shortened(table)}"
            )
        frame = pd.DataFrame(array, columns=[f"x{k}" for k in range(array.shape[1])])
    refuse_repeats(list(frame.columns), where)
    if not len(frame):
        raise ArrayError(f"{where} has no rows, only columns: {', '.join(frame.columns[:20])}")
    return frame


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    names = [" ".join(str(level) for level in name) for name in table.columns]
    return table.set_axis(names, axis="columns")


def _features(
    frame: pd.DataFrame,
    roles: Mapping[str, Any],
    drop: Sequence[str],
    categorical: Sequence[str],
    strict: bool,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the columns that are features, and the kind of each."""
    names = list(frame.columns)
    asked = {"drop": list_of("drop", drop), "categorical": list_of("categorical", categorical)}
    asked |= {role: columns_of(given) for role, given in roles.items()}
    for argument, given in asked.items():
        refuse_unknown(given, names, argument)
    used: dict[str, str] = {}
    for argument in asked:
        for name in asked[argument] if argument != "categorical" else ():
            if name in used:
                both = f"both {used[name]} and {argument}; keep one"
                twice = f"twice in {argument}; name it once"
                raise SpecError(f"column {name!r} is {twice if used[name] == argument else both}")
            used[name] = argument
    kept = [name for name in names if name not in used]
    if not kept:
        raise ArrayError(f"the table has no features: its columns are {', '.join(names[:20])}")
    found = {name: look_at(frame, name, name in asked["categorical"]) for name in kept}
    bad = [name for name in kept if found[name].trouble and (strict or found[name].kind in NEVER)]
    if bad:
        lines = [f"column {n!r} {found[n].trouble}: {found[n].remedy}" for n in bad[:MOST_TROUBLES]]
        more = len(bad) - len(lines)
        raise ArrayError("\n".join([*lines, *([f"... and {more} columns more"] if more else [])]))
    X = pd.DataFrame({name: found[name].values for name in kept})
    return X.reset_index(drop=True), {name: found[name].kind for name in kept}


def weights_of(frame: pd.DataFrame, given: Any) -> np.ndarray | None:
    """Return the weights of rows, float64."""
    if given is None:
        return None
    what = f"weights ({given!r})" if isinstance(given, str) else "weights"
    series = pd.Series(entries_of(frame, given))
    values = as_numbers(series).to_numpy()
    if values.shape != (len(frame),):
        raise ArrayError(f"{what} must have one entry a row: {len(frame)}; got {values.shape}")
    wrong = ~(np.isfinite(values) & (values >= 0.0))
    if wrong.any():
        k = int(np.argmax(wrong))
        raise ArrayError(
            f"{what} must be finite and >= 0; got {show(series.iloc[k])} in {place_of(frame, k)}"
        )
    if not values.any():
        raise ArrayError(f"{what} are all 0; some row must count")
    return values


def digest_of(values: Any, number: bool) -> str:
    """Return 16 hex digits that change with any value, and with no way to store them.

    Missing values are all alike. ``number``: whether they are compared as numbers, else as text.

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
