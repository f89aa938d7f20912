"""A spec that runs, drafted from a look at a table: what ``fastopt init --data`` writes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastopt.errors import FastoptError, SpecError
from sweeps.cli.toml import quoted
from sweeps.common.frames import pd
from sweeps.problems.columns import Column, look_at, refuse_unknown
from sweeps.problems.table_data import TableData, as_frame, read_table
from sweeps.problems.targets import read_target

MOST_WORDS = 3
"""Words in a column of numbers that are taken for its missing cells."""

MOST_CLASSES = 20
"""Different whole numbers of a target that are taken for classes."""

MOST_SHOWN = 20
"""Columns or classes that a comment names."""

PARTS: tuple[dict[str, Any], ...] = ({"folds": 5}, {"folds": 3}, {"folds": 2}, {"validation": 0.2})
"""Ways to choose among trials, of which the first is taken that a table has the rows for."""

SPEC = """\
# A sweep on {file}: {rows} rows, the target {target} and {features}.
#
#     fastopt sweep {name} --dry-run
#     fastopt sweep {name} --store {store}
#     fastopt model {store} -o {model}
#     fastopt predict {model} new.csv -o out.csv
#     fastopt report {store}

[data]
file = {path}  # relative to this file
target = {target}  # {about_target}
task = {task}
{lists}test = 0.2  # rows that judge the chosen model, and are not looked at before
{chosen_by}
{about}
[model]
hidden = [32]  # widths of the hidden layers; [] is a linear model
activation = "relu"
{units}
[sweep]
optimizer = "adam"
epochs = 30
batch_size = {batch}

[space]
lr = {{ geomspace = [1e-4, 1e-1, 7] }}
{axis}"""


UNITS = """\
standardize_target = true  # losses are of that; metrics and predictions are in its own units
"""


class _Findings(NamedTuple):
    """What was found in a table: columns, words for missing cells, and why columns are left out."""

    frame: pd.DataFrame
    columns: dict[str, Column]
    words: list[str]
    dropped: dict[str, str]


def draft_spec(data: str | os.PathLike[str], spec: Path, target: str | None = None) -> str:
    r"""Return the text of a spec that runs on a table.

    Columns that no model can use are left out, and a comment says why; a word or two in a column of
    numbers are taken for its missing cells; the target is the last column unless one is named.
    ``spec``: where the text will be written: paths in it are relative to that.

    >>> import tempfile
    >>> rows = "acid;name;good\n" + "".join(f"{k % 7};wine {k};{k % 2}\n" for k in range(40))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "wine.csv")
    ...     _ = path.write_text(rows)
    ...     text = draft_spec(path, Path(folder, "wine.toml"))
    >>> print(text[text.index("[data]") : text.index("[model]")])
    [data]
    file = "wine.csv"  # relative to this file
    target = "good"  # 2 classes: 0, 1
    task = "classification"
    drop = ["name"]
    test = 0.2  # rows that judge the chosen model, and are not looked at before
    folds = 5  # each fold's rows choose among models trained on the others
    # "name" has another value in each of 40 rows, as names and keys have
    # numeric: acid
    """
    found = _look_at_table(data, target)
    target = target or str(found.frame.columns[-1])
    task = _task(found.frame, target)
    lists = {"na_values": found.words, "drop": list(found.dropped)}
    table, parts = _read_with_folds(found.frame, target, task, list(found.dropped))
    n = len(table.X.columns)
    path = os.path.relpath(Path(data).absolute(), spec.absolute().parent)
    train = min(len(rows) for rows, _ in table.splits.parts)
    chosen_by = "each fold's rows choose among models trained on the others"
    if "folds" not in parts:
        chosen_by = "rows that choose among the trials"
    said = "".join(f"{name} = {value}  # {chosen_by}" for name, value in parts.items())
    return SPEC.format(
        file=quoted(Path(data).name)[1:-1],
        name=_argument(spec.name),
        store=_argument(store_of(spec)),
        model=_argument(f"{spec.stem}.safetensors"),
        rows=len(table.X),
        features=f"{n} feature{'s' * (n > 1)}",
        path=quoted(Path(path).as_posix()),
        target=quoted(target),
        about_target=_target_comment(table),
        task=quoted(task) + _task_comment(found.frame[target], task),
        lists="".join(f"{name} = {quoted(value)}\n" for name, value in lists.items() if value),
        chosen_by=said,
        units=UNITS if task == "regression" else "",
        about=_column_comments(table, found.dropped),
        batch=min(32, train),
        axis=f"fold = {{ range = {parts['folds']} }}\n" if "folds" in parts else "",
    )


def store_of(spec: Path) -> str:
    """Return the folder that is proposed for the store of a spec.

    >>> store_of(Path("specs/wine.toml"))
    'runs/wine'
    """
    return f"runs/{spec.stem}"


def _argument(name: str) -> str:
    """Return a name as a command in a comment has it."""
    return shlex.quote(quoted(name)[1:-1])


def _look_at_table(data: Any, target: str | None) -> _Findings:
    frame = as_frame(data)
    names = list(frame.columns)
    refuse_unknown([target] if target else [], names, "target")
    features = [name for name in names if name != (target or names[-1])]
    words = _missing_words(frame, names)
    frame = as_frame(data, words) if words else frame
    columns = {name: look_at(frame, name) for name in features}
    dropped = {name: _explain_drop(column) for name, column in columns.items() if column.trouble}
    for name, column in columns.items():
        if column.kind == "numeric" and len(frame) > 1 and (column.values.diff()[1:] == 1).all():
            dropped[name] = "counts the rows"
        elif column.kind.startswith("constant") and not column.values.isna().any():
            dropped[name] = "has the same value in all rows"
    if features and len(dropped) == len(features):
        why = "; ".join(f"{name!r} {said}" for name, said in list(dropped.items())[:MOST_SHOWN])
        raise SpecError(
            f"no column is left to predict {target or names[-1]!r} from: {why}. Add columns of "
            "numbers or categories, or name another target (--target)"
        )
    return _Findings(frame, columns, words, dropped)


def _explain_drop(column: Column) -> str:
    """Return why a column is left out, and how it could be kept, if it could."""
    kept = column.remedy.partition(", or leave it out")[0]
    return f"{column.trouble}: {kept}" if column.kind in MENDED else column.trouble


MENDED = ("infinite", "text numbers")
"""Kinds of columns that would be numbers but for some of their cells."""


def _missing_words(frame: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Return words that stand among numbers, as a mark of missing cells does."""
    found: dict[str, None] = {}
    for name in names:
        column = look_at(frame, name)
        if column.kind == "text numbers":
            cells = column.values.dropna().astype(str)
            others = cells[pd.to_numeric(cells, errors="coerce").isna()].unique()
            found |= dict.fromkeys(others) if len(others) <= MOST_WORDS else {}
    return list(found)


def _task(frame: pd.DataFrame, target: str) -> str:
    few = frame[target].nunique() <= MOST_CLASSES
    try:
        found = read_target(frame, target, None)[1]
    except SpecError:  # it may be either
        found = "classification" if few else "regression"
    measured = pd.api.types.is_numeric_dtype(frame[target]) and not few
    return "regression" if measured else found


def _task_comment(given: pd.Series, task: str) -> str:
    if task == "regression" and pd.api.types.is_integer_dtype(given):
        return f'  # of {given.nunique()} whole numbers; "classification" if they name classes'
    return ""


def _read_with_folds(
    frame: pd.DataFrame, target: str, task: str, drop: list[str]
) -> tuple[TableData, dict[str, Any]]:
    """Return the table, and the first way to choose among trials that it has the rows for."""
    for k, parts in enumerate(PARTS):
        try:
            return read_table(frame, target, task=task, drop=drop, **parts), parts
        except FastoptError:
            if k == len(PARTS) - 1:
                raise
    raise AssertionError("there is no way to choose")


def _target_comment(table: TableData) -> str:
    classes = table.classes
    if classes is None:
        return f"from {table.y.min():.6g} to {table.y.max():.6g}"
    named = ", ".join(quoted(str(label))[1:-1] for label in classes[:MOST_SHOWN])
    return f"{len(classes)} classes: {named}{', ...' if len(classes) > MOST_SHOWN else ''}"


def _column_comments(table: TableData, dropped: dict[str, str]) -> str:
    """Return comments on the columns: what each is, and why some are left out."""
    lines = [f"# {quoted(name)} {why}" for name, why in list(dropped.items())[:MOST_SHOWN]]
    kinds = table.kinds
    for kind in dict.fromkeys(kinds.values()):
        names = [quoted(name)[1:-1] for name in kinds if kinds[name] == kind]
        more = f", ... ({len(names)} in all)" if len(names) > MOST_SHOWN else ""
        lines.append(f"# {kind}: {', '.join(names[:MOST_SHOWN])}{more}")
    return "".join(f"{line}\n" for line in lines)
