"""Columns of a table: what kind each is, what is wrong with it, and what a model gets of it.

A model gets numbers (float64, NaN where they are missing) and categories (text, likewise); new rows
are read by the same functions, so that a category is the same one from any file.
"""

from __future__ import annotations

import datetime
import decimal
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps.common.frames import as_python, pd
from sweeps.problems.arrays import has_no_variance
from sweeps.problems.files import place_of

MOST_CATEGORIES = 1_000
"""Values of a column of text, each of which becomes a column of numbers."""

SURE = 20
"""Rows of which one cannot say that a text that is different in each is a name and no category."""

NUMBERS = ("numeric", "boolean", "constant")
"""Kinds of columns that are numbers to a model."""

CATEGORIES = ("categorical", "constant text")
"""Kinds that are categories."""

DATE = r"(\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4})([T ].*)?"

# Characters, not escapes: pyarrow's expressions, which older pandas matches with, know no \u.
WRITTEN = (
    "[-+\u2212]?\\s*[$€£¥]?\\s*(\\d{1,3}([ ,.'’\u00a0\u202f]\\d{3})+|\\d+)([.,]\\d+)?\\s*[%$€£¥]?"
)
"""Numbers as people write them: with thousands, a decimal comma, a percent sign, a currency."""


class Column(NamedTuple):
    """A column as a model gets it.

    * ``kind``: "numeric", "boolean" or "categorical"; "constant" or "constant text"; "empty";
      "dates", "durations", "identifier", "text numbers", "mixed", "infinite" or "other", which no
      model can use as they are.
    * ``values``: numbers as float64, categories as text, missing ones NaN; others as they were.
    * ``trouble``: what is wrong; empty if nothing is.
    * ``remedy``: what to do about it.

    >>> column = look_at(pd.DataFrame({"red": [True, None, False]}), "red")
    >>> column.kind, column.values.tolist(), column.trouble
    ('boolean', [1.0, nan, 0.0], '')
    """

    kind: str
    values: pd.Series
    trouble: str = ""
    remedy: str = ""


def look_at(frame: pd.DataFrame, name: str, categorical: bool = False) -> Column:
    """Tell what kind a column of a table is, whatever its dtype.

    ``frame``: its columns have different names, which are text. ``categorical``: whether its values
    are categories even if they are numbers.

    >>> table = pd.DataFrame({"a": ["1", "2", "none"], "b": ["x", "y", "x"]})
    >>> look_at(table, "b").kind
    'categorical'
    >>> look_at(table, "a").trouble
    "holds numbers but for 'none' in row 2 (1 of 3 values)"
    """
    series = _dense(frame[name])
    kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else ""
    if not len(series.dropna()):
        return Column("empty", series, "has no values", _drop(name))
    if categorical or isinstance(series.dtype, pd.CategoricalDtype):
        return _of_text(frame, name, series)
    if pd.api.types.is_numeric_dtype(series.dtype) and kind != "c":  # booleans, too
        return _of_numbers(frame, name, series)
    return _of_objects(frame, name, series)


def show(value: Any) -> str:
    """Return a cell as a message can show it: short, and a number as Python's.

    >>> show(np.float64(0.5)), show("a")
    ('0.5', "'a'")
    """
    return shortened(as_python(value), 40)


def _dense(series: pd.Series) -> pd.Series:
    """Return a column as pandas' own functions read it: no sparse ones, nor Arrow's odd types.

    To pandas, Arrow's booleans and dictionaries of numbers are not numeric.
    """
    if isinstance(series.dtype, pd.SparseDtype):
        return pd.Series(np.asarray(series), series.index, name=series.name)
    if isinstance(series.dtype, pd.ArrowDtype) and not pd.api.types.is_numeric_dtype(series.dtype):
        return series.astype(object)
    return series


def _drop(name: str) -> str:
    return f"leave it out by drop=[{name!r}]"


def _of_numbers(frame: pd.DataFrame, name: str, series: pd.Series) -> Column:
    values = as_numbers(series)
    wrong = np.flatnonzero(np.isinf(values.to_numpy()))
    if len(wrong):
        said = f"{values.iloc[wrong[0]]} in {place_of(frame, int(wrong[0]))}"
        trouble = f"is {said} ({len(wrong)} of {len(values)} values)"
        return Column("infinite", series, trouble, f"leave such cells empty, or {_drop(name)}")
    is_long = series.dtype.kind in "iu" and (values.abs() >= 2.0**53).any()
    if is_long and series.nunique() > values.nunique():
        trouble = "holds integers that float64 does not tell apart"
        return Column("other", series, trouble, f"subtract the smallest, or {_drop(name)}")
    if values.nunique() == 1:
        return Column("constant", values)
    with np.errstate(over="ignore"):
        spread = values.max() - values.min()
    if has_no_variance(spread):
        trouble = f"has values that differ by up to {spread:.3g}, whose square is no float64"
        return Column("other", series, trouble, f"bring it to another unit, or {_drop(name)}")
    is_boolean = pd.api.types.is_bool_dtype(series.dtype) or (
        series.dtype == object and series.dropna().map(type).isin((bool, np.bool_)).all()
    )
    return Column("boolean" if is_boolean else "numeric", values)


def _of_text(frame: pd.DataFrame, name: str, series: pd.Series) -> Column:
    values = as_text(series)
    rows, distinct = values.notna().sum(), values.nunique()
    if distinct > MOST_CATEGORIES:
        kind = "identifier" if distinct == rows else "other"
        trouble = f"has {distinct:,} different values in {rows:,} rows, of which a model can use "
        trouble += f"{MOST_CATEGORIES:,} at most"
        remedy = f"{_drop(name)}, join rare ones, or give preprocess= with an encoder for them"
        return Column(kind, values, trouble, remedy)
    if distinct == rows > SURE:
        trouble = f"has another value in each of {rows} rows, as names and keys have"
        return Column("identifier", values, trouble, f"{_drop(name)}, or give preprocess=")
    return Column("constant text" if distinct == 1 else "categorical", values)


_SORTS: tuple[tuple[str, Any], ...] = (
    ("number", numbers.Real | decimal.Decimal | np.bool_),
    ("text", str),
    ("date", datetime.date | np.datetime64),
    ("duration", datetime.timedelta | np.timedelta64),
)


def _sort_of(kind: type) -> str:
    return next((sort for sort, kinds in _SORTS if issubclass(kind, kinds)), kind.__name__)


def _of_objects(frame: pd.DataFrame, name: str, series: pd.Series) -> Column:
    present = series.dropna().astype(object)
    kinds = present.map(type)
    sorts = {kind: _sort_of(kind) for kind in kinds.unique()}
    found = dict.fromkeys(sorts.values())
    if len(found) > 1:
        examples = []
        for sort in list(found)[:2]:
            k = int(np.argmax(kinds.map(sorts).to_numpy() == sort))
            row = int(np.flatnonzero(series.notna())[k])
            examples.append(f"{show(present.iloc[k])} in {place_of(frame, row)}")
        trouble = f"mixes {' and '.join(list(found)[:2])}: {' and '.join(examples)}"
        remedy = f"make them all one, for example by table[{name!r}].astype(str), or {_drop(name)}"
        return Column("mixed", series, trouble, remedy)
    (sort,) = found
    return _OF_SORT.get(sort, _of_others)(frame, name, series)


def _of_others(frame: pd.DataFrame, name: str, series: pd.Series) -> Column:
    what = show(series.dropna().iloc[0])
    trouble = f"holds {what} and the like ({series.dtype}), neither numbers nor text"
    return Column("other", series, trouble, f"make numbers of them, or {_drop(name)}")


def _of_dates(frame: pd.DataFrame, name: str, series: pd.Series) -> Column:
    trouble = f"holds dates, such as {str(series.dropna().iloc[0])[:40]}"
    remedy = f"make numbers of them: (table[{name!r}] - table[{name!r}].min()).dt.total_seconds()"
    remedy += f"; or {_drop(name)}; time={name!r} trains on the earlier rows"
    return Column("dates", series, trouble, remedy)


def _of_durations(frame: pd.DataFrame, name: str, series: pd.Series) -> Column:
    trouble = f"holds durations, such as {str(series.dropna().iloc[0])[:40]}"
    remedy = f"make numbers of them: table[{name!r}].dt.total_seconds(), or {_drop(name)}"
    return Column("durations", series, trouble, remedy)


def _of_strings(frame: pd.DataFrame, name: str, series: pd.Series) -> Column:
    """Tell text that is meant as such from numbers and dates that are written as text."""
    present = series.dropna().astype(object)
    read = pd.to_numeric(present, errors="coerce").notna().to_numpy()
    if read.all():
        trouble = f"holds numbers written as text, such as {show(present.iloc[0])}"
        remedy = f"pandas.to_numeric(table[{name!r}]), or categorical=[{name!r}] for categories"
        return Column("text numbers", series, trouble, remedy)
    text = present.astype("str").str
    written = ~read & text.fullmatch(WRITTEN).to_numpy(bool)
    if (read | written).all():
        trouble = f"holds numbers such as {show(present.iloc[int(np.argmax(written))])}, which is "
        trouble += "text to a program"
        remedy = "write them without thousands, signs and units, and with a point; or say "
        remedy += f"categorical=[{name!r}] if they are categories"
        return Column("text numbers", series, trouble, remedy)
    if 2 * read.sum() >= len(read):
        k = int(np.argmin(read))
        row = int(np.flatnonzero(series.notna())[k])
        word = show(present.iloc[k])
        trouble = f"holds numbers but for {word} in {place_of(frame, row)} "
        trouble += f"({(~read).sum()} of {len(read)} values)"
        remedy = f"leave such cells empty, name them by na_values=[{word}] if this is a file, or "
        remedy += f"say categorical=[{name!r}] if all are categories"
        return Column("text numbers", series, trouble, remedy)
    if text.fullmatch(DATE).all():
        return _of_dates(frame, name, series)
    return _of_text(frame, name, series)


_OF_SORT: dict[str, Any] = {
    "number": _of_numbers,
    "text": _of_strings,
    "date": _of_dates,
    "duration": _of_durations,
}


def as_numbers(series: pd.Series) -> pd.Series:
    """Return numbers as float64; NaN where they are missing, or are none.

    >>> as_numbers(pd.Series([True, None, "x"])).tolist()
    [1.0, nan, nan]
    """
    series = _dense(series)
    if series.dtype == object or isinstance(series.dtype, pd.CategoricalDtype):
        try:
            series = pd.to_numeric(series.astype(object), errors="coerce")
        except OverflowError:  # integers of more than 308 digits, which are infinite
            series = pd.to_numeric(series.astype(str), errors="coerce")
    elif pd.api.types.is_string_dtype(series.dtype):
        series = pd.to_numeric(series, errors="coerce")
    elif not pd.api.types.is_numeric_dtype(series.dtype):
        series = pd.Series(np.nan, series.index)
    if series.dtype.kind == "c":  # of which NumPy keeps the real part
        series = pd.Series(np.nan, series.index)
    values = series.to_numpy(np.float64, na_value=np.nan)
    return pd.Series(values, series.index, name=series.name)


def as_text(series: pd.Series) -> pd.Series:
    """Return categories as text, the same whether they are read as integers or as floats.

    >>> as_text(pd.Series([1.0, None, 2.5])).tolist(), as_text(pd.Series([1, 2])).tolist()
    (['1', nan, '2.5'], ['1', '2'])
    """
    series = _dense(series)
    codes, known = pd.factorize(series.astype(object))  # each of a million labels is written once
    texts = np.array([*map(_text, known), np.nan], object)
    return pd.Series(texts[codes], series.index, object, series.name)


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return str(value)


def refuse_unknown(
    names: Sequence[str], columns: Sequence[str], argument: str, where: str = "the table"
) -> None:
    """Raise if a column is asked for that a table has not.

    >>> refuse_unknown(["qualty"], ["alcohol", "quality"], "target")
    Traceback (most recent call last):
    fastopt.errors.SpecError: target: the table has no column 'qualty' (did you mean 'quality'?)...
    """
    for name in names:
        if name not in columns:
            most = 20
            more = f", ... ({len(columns)} in all)" if len(columns) > most else ""
            raise SpecError(
                f"{argument}: {where} has no column {shortened(name)}"
                f"{did_you_mean(name, columns)}. It has {', '.join(columns[:most])}{more}"
            )


def as_features(
    frame: pd.DataFrame,
    kinds: Mapping[str, str],
    categories: Mapping[str, Sequence[Any]] | None = None,
) -> pd.DataFrame:
    """Return the columns of new rows as those of the training rows were: numbers and categories.

    ``kinds``: name of a column -> its kind, in the order of the training rows. ``categories``:
    those of the training rows. What is the same number is the same category: whether a file has
    02134 as text or as a number depends on its other rows.

    >>> new = pd.DataFrame({"red": ["yes", None], "acid": [7, 8], "more": 0})
    >>> as_features(new, {"acid": "numeric", "red": "categorical"})
       acid  red
    0   7.0  yes
    1   8.0  NaN
    """
    frame = frame.rename(columns=str)
    refuse_unknown(list(kinds), list(frame.columns), "the model")
    read = {}
    for name, kind in kinds.items():
        series = frame[name]
        if kind in CATEGORIES:
            read[name] = _alike(as_text(series), (categories or {}).get(name, ()))
            continue
        read[name] = series if kind not in NUMBERS else as_numbers(series)
        if kind in NUMBERS:
            _refuse_others(frame, name, read[name])
    return pd.DataFrame(read, index=frame.index)


def _alike(values: pd.Series, categories: Sequence[Any]) -> pd.Series:
    """Return texts, those that are no category as the one that is the same number."""
    known = [category for category in categories if isinstance(category, str)]
    strange = values[values.notna() & ~values.isin(known)].unique() if known else ()
    if not len(strange):
        return values
    written: dict[str, list[str]] = {}
    for category in known:
        written.setdefault(_as_read(category), []).append(category)
    found = {value: written.get(_as_read(value), []) for value in strange}
    return values.replace({value: same[0] for value, same in found.items() if len(same) == 1})


def _as_read(text: str) -> str:
    """Return what becomes of a text in a column that holds nothing but numbers, or truths.

    >>> [_as_read(text) for text in ("02134", "2.0", "TRUE", "2a")]
    ['2134', '2', 'True', '2a']
    """
    if text.lower() in ("true", "false"):
        return text.capitalize()
    number = pd.to_numeric(pd.Series([text], dtype=object), errors="coerce").iloc[0]
    return _text(number) if np.isfinite(number) else text


def _refuse_others(frame: pd.DataFrame, name: str, values: pd.Series) -> None:
    lost = np.isinf(values.to_numpy()) | (values.isna() & frame[name].notna()).to_numpy()
    if lost.any():
        k = int(np.argmax(lost))
        raise SpecError(
            f"column {name!r} is {show(frame[name].iloc[k])} in {place_of(frame, k)}; "
            "the model was trained on finite numbers there: leave such cells empty"
        )
