"""What is predicted: the target of a table, its task, and its numbers."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from fastopt.errors import ArrayError, SpecError, SweepWarning, shortened
from sweeps.common.frames import pd
from sweeps.common.names import check_choice
from sweeps.problems.columns import look_at, show
from sweeps.problems.files import place_of
from sweeps.problems.labels import classes_of, is_classification, measured, numbered, plain
from sweeps.problems.losses import LOSSES

TASKS = ("classification", "regression")

SAY = 'say task="classification" or task="regression"'


def list_of(argument: str, given: Any) -> list[str]:
    """Return names of columns that are given as a list of text, or refuse them.

    >>> list_of("drop", ("a", "b"))
    ['a', 'b']
    """
    listed = isinstance(given, Collection) and not isinstance(given, str)
    if not listed or not all(_is_name(name) for name in given):
        raise SpecError(
            f"{argument} must be a list of names, such as {argument}=['a']; got {shortened(given)}"
        )
    return [str(name) for name in given]


def _is_name(given: Any) -> bool:
    """Tell names of columns, which pandas numbers where there are none."""
    return isinstance(given, str | int | np.integer) and not isinstance(given, bool)


def columns_of(given: Any) -> list[str]:
    """Return the names of columns that an argument means; none if it has the entries themselves.

    >>> columns_of("a"), columns_of(3), columns_of(["a", "b"]), columns_of(np.ones(2))
    (['a'], ['3'], ['a', 'b'], [])
    """
    if _is_name(given):
        return [str(given)]
    listed = isinstance(given, list | tuple) and len(given) > 0
    return list(given) if listed and all(isinstance(name, str) for name in given) else []


def entries_of(frame: pd.DataFrame, given: Any) -> Any:
    """Return the columns that an argument names, or the entries as they are given.

    >>> entries_of(pd.DataFrame({"a": [1, 2]}), "a").tolist(), entries_of(pd.DataFrame(), [3])
    ([1, 2], [3])
    """
    names = columns_of(given)
    if not names:
        return given
    return frame[names[0] if len(names) == 1 else names]


def times_of(given: Any) -> np.ndarray:
    """Return times as what has an order: numbers, or dates, which a file has as text.

    >>> times_of(["2026-01-31", "2025-12-01"]).argsort()
    array([1, 0])
    """
    times = pd.Series(given)
    if pd.api.types.is_numeric_dtype(times.dtype):
        return plain("time", times)
    try:
        dates = pd.to_datetime(times, format="ISO8601", utc=True).dt.tz_localize(None)
    except (ValueError, TypeError) as error:
        raise ArrayError(
            f"time must be numbers, or dates written as 2026-01-31: {error!s:.200}; read others by "
            "pandas.to_datetime(..., format=...)"
        ) from None
    return plain("time", dates)


def refuse_other_order(table: Any, entries: Mapping[str, Any]) -> None:
    """Raise if entries of pandas have the rows of a table in another order: they go by place.

    Masks of rows are such entries, too, and labels of rows (a pandas Index) are no numbers of them.
    Of a table that is none of pandas nothing is known, and nothing refused.

    >>> refuse_other_order(pd.DataFrame(index=[0, 1]), {"y": pd.Series([1.0, 2.0], index=[1, 0])})
    Traceback (most recent call last):
    fastopt.errors.ArrayError: y has the rows of the table in another order: 1 stands in row 0, ...
    """
    if not isinstance(table, pd.DataFrame):
        return
    index = table.index
    for name, given in entries.items():
        if isinstance(given, pd.Index) and not index.equals(pd.RangeIndex(len(index))):
            raise ArrayError(
                f"{name} is an index of pandas, whose labels are no numbers of rows here: give "
                f"table.index.get_indexer({name}), or a mask, table.index.isin({name})"
            )
        own = given.index if isinstance(given, pd.Series | pd.DataFrame) else index
        same_rows = len(own) == len(index) and own.is_unique and own.isin(index).all()
        if not same_rows or own.equals(index):
            continue
        k = int(np.argmax(np.asarray(own != index)))
        raise ArrayError(
            f"{name} has the rows of the table in another order: {show(own[k])} stands in row "
            f"{k}, where the table has {show(index[k])}; sort one as the other, by "
            f"{name}.loc[table.index], or say that they go by place, by {name}.to_numpy()"
        )


def name_of_target(target: Any) -> str:
    """Return what messages and models call the target.

    >>> name_of_target("quality"), name_of_target(["a", "b"]), name_of_target(np.ones(2))
    ('quality', 'a, b', 'target')
    """
    return ", ".join(columns_of(target)) or "target"


def task_of(loss: str | None) -> str | None:
    """Return the task that a loss is for, or None if there is none or it is unknown.

    >>> task_of("squared_error"), task_of("logistic"), task_of(None)
    ('regression', 'classification', None)
    """
    if loss not in LOSSES:
        return None
    labels = LOSSES[loss].task in ("classification", "binary")
    return "classification" if labels else "regression"


def read_target(frame: pd.DataFrame, target: Any, task: str | None) -> tuple[np.ndarray, str]:
    """Return the target of each row, and whether it names classes.

    ``target``: one column, several, or what is predicted itself. ``task``: by default what the
    target looks like; refused if it may be of either.

    >>> table = pd.DataFrame({"a": ["x", "y"], "b": [0.5, 2.0]})
    >>> read_target(table, "a", None), read_target(table, "b", None)
    ((array(['x', 'y'], dtype='<U1'), 'classification'), (array([0.5, 2. ]), 'regression'))
    """
    if task is not None:
        check_choice("task", task, TASKS)
    what = f"target {name_of_target(target)!r}"
    given = entries_of(frame, target)
    if not hasattr(given, "__len__"):
        raise ArrayError(
            "target must be the name of a column, or what is predicted for each row; got "
            f"{shortened(target)}"
        )
    if len(given) != len(frame):
        raise ArrayError(f"{what} has {len(given)} entries; the table has {len(frame)} rows")
    _refuse_missing(frame, what, given)
    if np.ndim(given) > 1 and np.shape(given)[1:] != (1,):
        return plain(what, given), task or "regression"
    categorical = isinstance(getattr(given, "dtype", None), pd.CategoricalDtype)
    if not categorical:
        _refuse_other(frame, what, given, task)
    y = plain(what, given).ravel()
    if task is None:
        task = "classification" if _names_classes(what, y, categorical) else "regression"
    if task == "classification" and (y == y[0]).all():
        raise ArrayError(
            f"{what} is {shortened(y[0].item())} in all {len(y)} rows; a model needs two classes "
            "or more to tell apart: is it the right column?"
        )
    return y, task


def _refuse_missing(frame: pd.DataFrame, what: str, given: Any) -> None:
    missing = np.asarray(pd.isna(given)).reshape(len(frame), -1).any(axis=1)
    if missing.all():
        raise ArrayError(f"{what} has no values: is it the right column?")
    if missing.any():
        read = "first_line" in frame.attrs  # from a file
        words = " (empty cells and words such as NA, None or null are read so)" if read else ""
        raise ArrayError(
            f"{what} is missing in {missing.sum()} of {len(frame)} rows, "
            f"{place_of(frame, int(np.argmax(missing)))} the first{words}; there is nothing to "
            "learn from such rows: leave them out, by table.dropna(subset=[...]) or in the file"
        )


MEND = "mend those cells, or leave their rows out"

_REMEDIES = {
    "infinite": MEND,
    "mixed": MEND,
    "text numbers": f'{MEND}; if all are names of classes, say task="classification"',
    "dates": "predict a number, such as the days since the first",
    "durations": "predict their seconds: .dt.total_seconds()",
}
"""Kinds of columns that are no targets, and what to do."""


def _refuse_other(frame: pd.DataFrame, what: str, given: Any, task: str | None) -> None:
    values = given.array if isinstance(given, pd.Series) else np.asarray(given).ravel()
    as_column = pd.DataFrame({"target": values})
    as_column.attrs = frame.attrs
    kind, _, trouble, _ = look_at(as_column, "target")  # a remedy of features is none of targets
    if kind in _REMEDIES and not (kind == "text numbers" and task == "classification"):
        raise ArrayError(f"{what} {trouble}: {_REMEDIES[kind]}")


def _names_classes(what: str, y: np.ndarray, categorical: bool) -> bool:
    """Tell classes from measurements; what may be either somebody has to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SweepWarning)
        try:
            return is_classification(y, categorical)
        except (ArrayError, SweepWarning) as error:
            raise SpecError(f"{what} may be classes or measurements; {SAY} ({error})") from None


def encode_target(
    what: str, y: np.ndarray, task: str, loss: str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the number of each row's class and the classes, or the targets of a regression.

    >>> encode_target("a", np.array(["x", "y", "x"]), "classification", None)
    (array([0, 1, 0]), array(['x', 'y'], dtype='<U1'))
    >>> encode_target("b", np.array([0.5, 2.0]), "regression", None)
    (array([[0.5],
           [2. ]]), None)
    """
    name = f"target {what!r}"
    if y.ndim > 1 and task == "classification" and task_of(loss) != "regression":
        raise ArrayError(
            f"{name} has shape {y.shape}; classes are one column: make labels of a column of zeros "
            'and ones for each class by .argmax(axis=1); loss="multilabel" takes several of a row'
        )
    if task == "regression" or y.ndim > 1:
        return measured(name, y, np.float64), None
    try:
        classes = classes_of(loss or "softmax_cross_entropy", y)
    except ArrayError as error:
        raise ArrayError(f"{name}: {error}") from None
    return numbered(name, y, classes), classes
