"""Tables in files, read by pandas: what it would guess in silence is refused or told."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastopt.errors import SpecError, shortened
from sweeps.common.frames import pd

SEPARATORS = ",;\t|"
"""What may stand between the cells of a line; the one that makes most names of the first."""

TEXTS = (".csv", ".tsv", ".txt")
TABLES = (".parquet", ".pq")

COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
"""A number with a decimal comma."""

THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})?")
"""What a comma that stands before thousands makes of whole numbers up to a million."""


def read_file(path: str | os.PathLike[str], na_values: Sequence[str] = ()) -> pd.DataFrame:
    r"""Return the table of a CSV or Parquet file.

    Commas, semicolons, tabs or bars separate the cells of a CSV file, whose first line has the
    names; it is UTF-8, with or without a byte order mark. Where no comma separates cells, it may be
    the decimal one. A first column without a name is pandas' index, and left out. ``na_values``:
    further words that stand for a missing cell, beside pandas' own. Raises SpecError if the first
    line is a row, a line has more cells than it, or fewer, or a comma may be that of thousands.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     _ = file.write("acid;red\n7,4;yes\n?;no\n"), file.flush()
    ...     read_file(file.name, na_values=["?"])
       acid  red
    0   7.4  yes
    1   NaN   no
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*TEXTS, *TABLES):
        raise SpecError(
            f"{path} must end in one of {', '.join((*TEXTS, *TABLES))}; other files are read by "
            "pandas, whose table may be given instead"
        )
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SpecError(f"{path} {what}; give the path of a CSV or Parquet file")
    try:
        return _parquet(path) if suffix in TABLES else _csv(path, list(na_values))
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8, "
            'or give pandas.read_csv(path, encoding=...), such as "latin-1" or "utf-16"'
        ) from None
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror or error}") from None


def _parquet(path: Path) -> pd.DataFrame:
    from pyarrow import ArrowException

    try:
        return pd.read_parquet(path)
    except (ArrowException, ValueError) as error:
        raise SpecError(f"{path} cannot be read as Parquet: {error!s:.200}") from None


def _csv(path: Path, na_values: list[str]) -> pd.DataFrame:
    separator, names = _first_line(path)
    index = int(not names[0].strip())
    end = len(names) - (not names[-1].strip())  # where lines end in a separator
    refuse_repeats(names[index:end], f"{path}: the first line")
    options: dict[str, Any] = {
        "sep": separator, "encoding": "utf-8-sig", "na_values": na_values, "index_col": False,
        "skipinitialspace": True, "low_memory": False,
    }  # fmt: skip
    frame = _parse_csv(path, **options)
    if separator != "," and any(_has_decimal_commas(column) for _, column in frame.items()):
        _refuse_thousands(path, frame)
        again = _parse_csv(path, decimal=",", **options)
        frame = again if len(_texts(again)) < len(_texts(frame)) else frame
    frame.columns = [name.strip() for name in names]
    with open(path, "rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    if frame.iloc[:, end:].notna().to_numpy().any():
        raise SpecError(f"{path}: the first line has no name for its last column; give it one")
    if frame.iloc[:, end - 1].isna().any():
        _refuse_short_lines(path, separator, end)
    frame = frame.iloc[:, index:end]
    # Where files were joined, each text is in its column, too, but no number is a name.
    own = [name.strip() for name in names[index:end]]
    if any(map(_is_number, own)) and all(_is_in_column(name, frame[name]) for name in own):
        raise SpecError(
            f"{path}: the first line ({', '.join(own[:5])}) looks like a row of the "
            "table; put a line with the names of the columns before it"
        )
    # With blank lines, and lines in cells, nobody can tell the line of a row.
    frame.attrs["first_line"] = 2 if lines - len(frame) in (0, 1) else None
    return frame


def _first_line(path: Path) -> tuple[str, list[str]]:
    """Return what separates cells, and the names of the first line that has any."""
    found: dict[str, list[str]] = {}
    for separator in SEPARATORS:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
            try:
                found[separator] = next((cells for cells in reader if cells), [])
            except csv.Error as error:
                raise SpecError(f"{path} is no CSV file: {error}") from None
    separator = max(SEPARATORS, key=lambda each: len(found[each]))
    names = found[separator]
    if not any(name.strip() for name in names):
        raise SpecError(f"{path} is empty; its first line must have the names of the columns")
    if all(_is_number(name) for name in names):
        raise SpecError(
            f"{path}: the first line is all numbers ({', '.join(names[:5])}); put a line with the "
            "names of the columns before it"
        )
    return separator, names


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def refuse_repeats(names: Sequence[str], where: str) -> None:
    """Raise if a column has no name, or that of another one.

    >>> refuse_repeats(["a", "b", "a"], "the table")
    Traceback (most recent call last):
    fastopt.errors.SpecError: the table names columns 0 and 2 alike: 'a'; rename or drop one
    """
    first: dict[str, int] = {}
    for k, name in enumerate(names):
        stripped = name.strip()
        if not stripped:
            raise SpecError(f"{where} has no name for column {k} of {len(names)}; give it one")
        if stripped in first:
            raise SpecError(
                f"{where} names columns {first[stripped]} and {k} alike: {shortened(stripped)}; "
                "rename or drop one"
            )
        first[stripped] = k


def _parse_csv(path: Path, **options: Any) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(path, **options)
        except pd.errors.EmptyDataError:
            raise SpecError(f"{path} is empty") from None
        except pd.errors.ParserWarning:
            raise SpecError(
                f"{path}: lines have more cells than the first has names; give each column a name"
            ) from None
        except pd.errors.ParserError as error:
            reason = str(error).replace("Error tokenizing data. C error: ", "").strip()
            raise SpecError(
                f"{path}: {reason}; a cell that holds {options['sep']!r} needs quotes about it"
            ) from None


def _has_decimal_commas(column: pd.Series) -> bool:
    cells = column.dropna()
    if not len(cells) or not pd.api.types.is_string_dtype(column.dtype):
        return False
    return bool(cells.str.fullmatch(COMMA).any() and cells.map(_is_number).all())


def _refuse_thousands(path: Path, frame: pd.DataFrame) -> None:
    """Raise where 999 stands beside 1,001: with a decimal comma the second would be the smaller."""
    for name, column in frame.items():
        cells = column.dropna()
        if not _has_decimal_commas(cells):
            continue
        has_comma = cells.str.contains(",")
        if cells.str.fullmatch(THOUSANDS).all() and not has_comma.all():
            raise SpecError(
                f"{path}: column {shortened(str(name))} has {cells[has_comma].iloc[0]!r} beside "
                f"{cells[~has_comma].iloc[0]!r}: thousands, or a decimal comma? Write them without "
                "thousands; or all with as many decimals, as in '2,000'"
            )


def _refuse_short_lines(path: Path, separator: str, width: int) -> None:
    """Raise if a line has fewer cells than the first: a file was cut, or a separator is missing."""
    short = None
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
        with contextlib.suppress(csv.Error):  # of a cell of 131 072 letters, which pandas has read
            short = next((line for line in reader if 0 < len(line) < width and any(line)), None)
    if short:
        raise SpecError(
            f"{path}: line {reader.line_num} has {len(short)} of {width} cells; complete it, with "
            f"{separator!r} for each that is empty"
        )


def _is_in_column(name: str, column: pd.Series) -> bool:
    """Tell whether a name may be a cell: a number in a column of numbers, or a text that is one."""
    if pd.api.types.is_numeric_dtype(column.dtype) and column.dtype != bool:
        return _is_number(name)
    return bool((column == name).any())


def _texts(frame: pd.DataFrame) -> list[Any]:
    return [name for name, kind in frame.dtypes.items() if pd.api.types.is_string_dtype(kind)]


def place_of(frame: pd.DataFrame, row: int) -> str:
    """Return where a row is, as messages say it: counted from 0, and by its line in a file.

    >>> place_of(pd.DataFrame({"a": [1, 2]}), 1)
    'row 1'
    """
    first = frame.attrs.get("first_line")
    return f"row {row}" if first is None else f"row {row} (line {row + first})"
