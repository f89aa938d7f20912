"""What goes before a network, as plain data: which numbers are made of which columns, and how.

Each entry of :class:`Columns` makes one or several features, in this order:

* :class:`Number`: ``(value - mean) / scale`` of a column of numbers; a missing value is ``fill``.
* :class:`Gap`: one where a value is missing, else zero, then shifted and scaled likewise.
* :class:`Category`: for each of ``categories`` but the dropped one, one where the column has it,
  else zero; a missing value is ``fill`` (None stands for a missing value, also among the
  categories); what is none of them is zeros, or refused.

A column that no entry names is read and left out. This is what a fitted ``ColumnTransformer`` of
imputers, encoders and scalers does, in a form that JSON holds, with nothing to unpickle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from fastopt.errors import ArrayError, ArrayTypeError, shortened
from sweeps.common.frames import pd
from sweeps.problems.arrays import refuse_mask

Value = str | int | float | bool | None


class Number(msgspec.Struct, frozen=True, tag="number", forbid_unknown_fields=True):
    """A feature that is a column's number, shifted and scaled.

    Examples
    --------
    >>> Columns(2, [Number(1, mean=2.0, scale=4.0)]).transform([[0, 10], [0, 2]])
    array([[2.],
           [0.]])
    """

    column: int
    mean: float = 0.0
    scale: float = 1.0
    fill: float | None = None


class Gap(msgspec.Struct, frozen=True, tag="gap", forbid_unknown_fields=True):
    """A feature that says where a column's values are missing.

    Examples
    --------
    >>> Columns(1, [Number(0, fill=7.0), Gap(0)]).transform([[1.0], [None]])
    array([[1., 0.],
           [7., 1.]])
    """

    column: int
    mean: float = 0.0
    scale: float = 1.0


class Category(msgspec.Struct, frozen=True, tag="category", forbid_unknown_fields=True):
    """Features that say which category a column has.

    Examples
    --------
    >>> Columns(1, [Category(0, ["a", "b"])]).transform([["b"], ["new"]])
    array([[0., 1.],
           [0., 0.]])
    """

    column: int
    categories: list[Value]
    fill: Value = None
    dropped: int | None = None
    refuses_unknown: bool = False

    @property
    def width(self) -> int:
        """How many features it makes."""
        return len(self.categories) - (self.dropped is not None)


Entry = Number | Gap | Category


class Columns(msgspec.Struct, frozen=True, eq=False, forbid_unknown_fields=True):
    """Preprocessing as plain data.

    Parameters
    ----------
    n_columns : int
        Columns of a table.
    entries : list of Number, Gap or Category
        What makes the features, in their order.

    Examples
    --------
    >>> columns = Columns(2, [Number(0, 1.0, 2.0, fill=3.0), Category(1, ["a", "b"])])
    >>> columns.transform([[5.0, "b"], [None, "new"]])
    array([[2., 0., 1.],
           [1., 0., 0.]])
    """

    n_columns: int
    entries: list[Entry]

    @property
    def width(self) -> int:
        """How many features there are."""
        return sum(getattr(entry, "width", 1) for entry in self.entries)

    @property
    def is_numeric(self) -> bool:
        """Whether every feature is a column's number, with a gap filled in or not."""
        return all(isinstance(entry, Number) for entry in self.entries)

    def transform(self, X: Any, names: Sequence[str] | None = None) -> np.ndarray:
        """Return the features of a table, in float64.

        Parameters
        ----------
        X : DataFrame or array_like, shape (n, n_columns)
        names : sequence of str, optional
            What the columns are called in messages.

        Returns
        -------
        ndarray, shape (n, width)

        Raises
        ------
        ArrayError, ArrayTypeError
            A number is missing where nothing fills it in, infinite, or text; or a category is
            refused. The message has row and column.
        """
        table = as_table(X)
        if table.shape[1] != self.n_columns:
            raise ArrayError(wrong_width(table.shape[1], self.n_columns))
        out = np.zeros((len(table), self.width))
        self._write_numbers(table, out, names)
        place = 0
        for entry in self.entries:
            if isinstance(entry, Category):
                shown = _name(entry.column, names)
                _write_category(entry, _cells(table, entry.column), out[:, place:], shown)
            elif isinstance(entry, Gap):
                missing = pd.isna(_cells(table, entry.column))
                out[:, place] = (missing - entry.mean) / entry.scale
            place += getattr(entry, "width", 1)
        return out

    def _write_numbers(self, table: Any, out: np.ndarray, names: Sequence[str] | None) -> None:
        """Write all features that are numbers at once: there may be thousands."""
        places, entries, place = [], [], 0
        for entry in self.entries:
            if isinstance(entry, Number):
                places.append(place)
                entries.append(entry)
            place += getattr(entry, "width", 1)
        if not entries:
            return
        numbers = _numbers(table, [entry.column for entry in entries], names)
        fill = np.array([math.nan if e.fill is None else e.fill for e in entries])
        numbers = np.where(np.isnan(numbers), fill, numbers)
        wrong = np.argwhere(~np.isfinite(numbers))
        if len(wrong):
            row, k = wrong[0]
            found = "missing" if np.isnan(numbers[row, k]) else str(numbers[row, k])
            raise ArrayError(
                f"X, row {row}, {_name(entries[k].column, names)}: the value is {found}; it must "
                "be a finite number, because the model saw no such row: fill it in or leave the "
                "row out"
            )
        out[:, places] = (numbers - [e.mean for e in entries]) / [e.scale for e in entries]


def scaling_of(mean: np.ndarray, scale: np.ndarray) -> Columns:
    """Return the preprocessing that only shifts and scales each column.

    >>> scaling_of(np.array([1.0]), np.array([2.0])).transform(np.array([[5.0]]))
    array([[2.]])
    """
    pairs = zip(np.asarray(mean, float).tolist(), np.asarray(scale, float).tolist())
    return Columns(len(mean), [Number(k, m, s) for k, (m, s) in enumerate(pairs)])


def _name(column: int, names: Sequence[str] | None) -> str:
    return f"column {column if names is None else shortened(names[column])}"


def as_table(X: Any) -> Any:
    """Return a DataFrame, or an array of two dimensions."""
    if isinstance(X, pd.DataFrame):
        return X
    if hasattr(X, "toarray"):
        raise ArrayTypeError("X is sparse; give it dense: X.toarray()")
    array = np.asarray(refuse_mask("X", X))
    if not isinstance(X, np.ndarray) and array.dtype.kind in "US":
        array = np.asarray(X, object)  # NumPy makes text of numbers beside text
    if array.ndim != 2:
        hint = "; a single row is X.reshape(1, -1)" if array.ndim == 1 else ""
        raise ArrayError(f"X must have shape (rows, columns); got {array.shape}{hint}")
    return array


def _cells(table: Any, column: int) -> Any:
    return table.iloc[:, column] if isinstance(table, pd.DataFrame) else table[:, column]


def _numbers(table: Any, columns: list[int], names: Sequence[str] | None) -> np.ndarray:
    """Return columns of numbers as float64, NaN for what is missing."""
    if isinstance(table, np.ndarray) and table.dtype.kind in "biuf":
        return table[:, columns].astype(np.float64)
    out = np.empty((len(table), len(columns)))
    for k, column in enumerate(columns):
        cells = pd.Series(_cells(table, column)).reset_index(drop=True)
        try:
            if cells.dtype.kind in "cmM":  # of which pandas makes numbers, without a word
                raise TypeError
            out[:, k] = pd.to_numeric(cells).to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            raise _no_number(cells, _name(column, names)) from None
    return out


def _no_number(cells: Any, shown: str) -> ArrayTypeError:
    known = pd.Series(np.nan, cells.index)
    if cells.dtype.kind not in "cmM":
        known = pd.to_numeric(cells.astype(object), errors="coerce")
    strange = cells[known.isna() & cells.notna()]
    row, value = (strange.index[0], strange.iloc[0]) if len(strange) else (0, cells.dtype)
    return ArrayTypeError(
        f"X, row {row}, {shown}: {shortened(value)} is no number; the column held numbers when the "
        "model was trained: give one, or leave the row out"
    )


def wrong_width(found: int, wanted: int) -> str:
    """Return what is said of a table with more or fewer columns than that of training."""
    return f"X has {found} columns; it must have {wanted}, those of training in their order"


def _write_category(entry: Category, cells: Any, out: np.ndarray, shown: str) -> None:
    """Write ones into the first columns of ``out``."""
    values = pd.Series(cells).reset_index(drop=True).astype(object)
    missing = values.isna().to_numpy()
    known: dict[Any, int] = {
        (type(c) is str, c): k for k, c in enumerate(entry.categories) if c is not None
    }
    gap = entry.categories.index(None) if None in entry.categories else -1
    if entry.fill is not None:
        gap = known.get((type(entry.fill) is str, entry.fill), -1)
    codes, distinct = pd.factorize(values)
    numbers = [known.get((isinstance(value, str), value), -1) for value in distinct.tolist()]
    found = np.array([*numbers, gap], np.int64)[np.where(missing, -1, codes)]
    if entry.refuses_unknown and (found < 0).any():
        row = int(np.argmin(found))
        raise ArrayError(
            f"X, row {row}, {shown}: {shortened(values[row])} is no category that the model was "
            f"trained with; those are {shortened(entry.categories)}: give one of them, or leave "
            "the row out"
        )
    if entry.dropped is not None:
        found = np.where(found == entry.dropped, -1, found - (found > entry.dropped))
    rows = np.flatnonzero(found >= 0)
    out[rows, found[rows]] = 1.0
