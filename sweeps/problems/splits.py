"""Which rows are trained on, which choose among trials, and which judge what was chosen.

scikit-learn's splitters do the work, so that the rows are those of ``train_test_split``, ``KFold``
and their relatives; here it is decided which of them fits the data, and refused what splits badly.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastopt.errors import ArrayError, FastoptError, SpecError, SweepWarning, shortened
from sweeps.problems.labels import plain
from sweeps.problems.row_numbers import pairs_of, row_numbers

MOST_FOLDS = 10_000
"""Folds of a splitter; leaving one of a million rows out makes as many, each of a million rows."""

MOST_SEED = 2**32 - 1
"""Largest seed that scikit-learn takes."""

REPAIR = "leave out the rows of that class, or give the rows of each part by their numbers"

MEASURED = '; measurements are no classes: loss="squared_error" makes it a regression'


class Splits(NamedTuple):
    """Numbers of the rows of each part.

    ``parts`` (train, validation): a pair of integer arrays for each fold; without folds there is
    one pair, whose second array is empty if no rows are held out for choosing. ``test`` of int:
    rows that are in no fold; may be empty.

    >>> Splits([(np.array([0, 1]), np.array([2]))], np.array([3])).test
    array([3])
    """

    parts: list[tuple[np.ndarray, np.ndarray]]
    test: np.ndarray


def split_rows(
    y: Any,
    *,
    classification: bool,
    validation: Any = None,
    test: Any = None,
    folds: Any = None,
    groups: Any = None,
    time: Any = None,
    seed: int = 0,
    classes: np.ndarray | None = None,
) -> Splits:
    """Split the rows of a table for training, choosing and judging.

    * ``y`` (n,) or (n, outputs) array_like: labels or targets.
    * ``classification``: whether they are labels: then each part has its share of each class.
    * ``validation``, ``test`` (float, int or array_like): rows held out: a share of all rows, their
      number, or which (numbers from 0, or a boolean mask). They are drawn; of ``groups`` whole
      ones, and the share is that of groups; with ``time`` they are the last ones, validation rows
      before test rows.
    * ``folds`` (int, splitter or iterable of (train, validation)): instead of ``validation``: each
      fold's rows choose among models trained on the others. A number stands for scikit-learn's
      ``StratifiedKFold`` of labels, ``KFold`` of other targets, both shuffled by the seed, as is
      the ``GroupKFold`` of ``groups``; and for ``TimeSeriesSplit`` with ``time``. A splitter of
      scikit-learn's interface gets the rows that are not held out for the test; pairs number the
      rows of the whole table.
    * ``groups`` (n,) array_like: what belongs together (a patient, a site): rows of a group are in
      one part.
    * ``time`` (n,) array_like: rows are trained on before they choose, and choose before they
      judge; of equal times in the order they are given.
    * ``seed``: which rows are drawn.
    * ``classes``: what messages call labels that are numbers of classes.

    Raises SpecError if there are too few rows, groups or rows of a class; parts overlap or are
    empty; numbers of rows are out of range; or arguments exclude each other. Warns SweepWarning if
    some class has no training rows.

    >>> split = split_rows([0, 1] * 5, classification=True, validation=0.2, test=0.2)
    >>> [len(rows) for rows in (*split.parts[0], split.test)]
    [6, 2, 2]
    >>> for train, chosen_by in split_rows(
    ...     np.ones(6), classification=False, folds=2, time=[6, 5, 4, 3, 2, 1]
    ... ).parts:
    ...     print(train, chosen_by)
    [5 4] [3 2]
    [5 4 3 2] [1 0]
    """
    rows = dataclasses.replace(_rows(y, classification, groups, time, seed), classes=classes)
    if folds is not None and _asks_for_rows(validation):
        raise SpecError(
            "folds and validation both say which rows choose among trials; keep one: folds for "
            "every row in turn, validation for the same rows in all trials"
        )
    pairs = folds is not None and not _is_number(folds) and not hasattr(folds, "split")
    if pairs and _asks_for_rows(test) and _is_number(test):
        raise SpecError(
            f"folds are given row by row, so test must be, too; got test={shortened(test)}. "
            "test=0 holds no rows out, test=[...] those with these numbers"
        )
    rest, held = rows.hold_out("test", test, rows.order)
    if folds is None:
        parts = [rows.hold_out("validation", validation, rest)]
    else:
        found = pairs_of(folds, rows.n) if pairs else rows.fold(folds, rest)
        parts = list(itertools.islice(found, MOST_FOLDS + 1))
        _check_folds(folds, parts)
        if hasattr(folds, "split") and not _are_same_folds(parts, rows.fold(folds, rest)):
            raise SpecError(
                f"folds={shortened(folds)} draws other rows each time; give it a random_state, "
                "such as 0"
            )
    _refuse_overlap(parts, held, rows.n)
    _warn_of_unseen(rows, parts)
    return Splits(parts, held)


def _are_same_folds(parts: Iterable[Any], others: Iterable[Any]) -> bool:
    pairs = itertools.zip_longest(itertools.chain(*parts), itertools.chain(*others))
    return all(np.array_equal(rows, those) for rows, those in pairs)


def _check_folds(folds: Any, parts: list[tuple[np.ndarray, np.ndarray]]) -> None:
    if not parts:
        raise SpecError(f"folds={shortened(folds)} has no folds; give one pair of rows or more")
    if len(parts) > MOST_FOLDS:
        raise SpecError(
            f"folds={shortened(folds)} makes more than {MOST_FOLDS:,} folds; give fewer, such as "
            "folds=10"
        )
    for k, (_, chosen_by) in enumerate(parts):
        if not len(chosen_by):
            raise SpecError(f"fold {k} has no validation rows; give each fold one or more")


def _refuse_overlap(parts: list[tuple[np.ndarray, np.ndarray]], held: np.ndarray, n: int) -> None:
    """Raise if a row is in two parts, or there is nothing to train on."""
    for k, (train, chosen_by) in enumerate(parts):
        if not len(train):
            raise SpecError(f"fold {k} has no training rows; hold fewer rows out")
        where = np.zeros(n, np.int8)
        for bit, part in ((1, train), (2, chosen_by), (4, held)):
            where[part] |= bit
        twice = np.flatnonzero((where & (where - 1)) > 0)
        if len(twice):
            names = [w for bit, w in _PARTS.items() if where[twice[0]] & bit]
            raise SpecError(
                f"{len(twice)} of {n} rows, row {twice[0]} the first, are {' and '.join(names)} "
                f"rows of fold {k} at once; a row may be in one part only"
            )


_PARTS = {1: "training", 2: "validation", 4: "test"}


def _warn_of_unseen(rows: _Rows, parts: list[tuple[np.ndarray, np.ndarray]]) -> None:
    if rows.labels is None:
        return
    classes, codes = np.unique(rows.labels, return_inverse=True)
    for k, (train, _) in enumerate(parts):
        counts = np.bincount(codes[train], minlength=len(classes))
        if not counts.all():
            name = shortened(rows.name_of(classes[np.argmin(counts)]))
            warnings.warn(
                f"class {name} has no training rows in fold {k}, which will never predict it; "
                "other folds, or groups, would mend that",
                SweepWarning,
                stacklevel=3,
            )
            return


def _asks_for_rows(rows: Any) -> bool:
    return rows is not None and not (_is_number(rows) and rows == 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating | str | bool | np.bool_)


def _rows(y: Any, classification: bool, groups: Any, time: Any, seed: Any) -> _Rows:
    y = np.asarray(y)
    n = len(y)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise SpecError(f"split seeds are whole numbers; got {shortened(seed)}")
    if not 0 <= seed <= MOST_SEED:
        raise SpecError(f"split seeds are in [0, {MOST_SEED}]; got {shortened(seed)}")
    if groups is not None and time is not None:
        raise SpecError(
            "groups and time are both given, and no splitter keeps both; keep one, or give folds "
            "as pairs of row numbers"
        )
    order = np.arange(n)
    if time is not None:
        order = np.argsort(_one_each("time", time, n), kind="stable")
    codes = None
    if groups is not None:
        codes = np.unique(_one_each("groups", groups, n), return_inverse=True)[1]
    labels = y if classification and y.ndim == 1 else None
    return _Rows(n, y, labels, codes, time is not None, order, int(seed))


def _one_each(name: str, given: Any, n: int) -> np.ndarray:
    array = plain(name, given)
    if array.shape != (n,):
        raise ArrayError(
            f"{name} must have one entry for each of the {n} rows; got shape {array.shape}"
        )
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ArrayError(
            f"{name}[{int(np.argmax(np.isnan(array)))}] is missing; give it for each row"
        )
    return array


@dataclasses.dataclass(frozen=True)
class _Rows:
    """What decides how rows are split: ``order`` is that of time, or as they are given."""

    n: int
    y: np.ndarray
    labels: np.ndarray | None
    groups: np.ndarray | None
    timed: bool
    order: np.ndarray
    seed: int
    classes: np.ndarray | None = None

    def name_of(self, label: Any) -> Any:
        """Return what the user calls a class."""
        return (label if self.classes is None else self.classes[label]).item()

    def hold_out(self, name: str, wanted: Any, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that stay, and those that are held out."""
        if not _asks_for_rows(wanted):
            return rest, rest[:0]
        if not _is_number(wanted):
            held = np.unique(row_numbers(name, wanted, self.n))
            absent = np.setdiff1d(held, rest)
            if len(absent):
                raise SpecError(f"row {absent[0]} of {name} is a test row; it can be in one only")
            stay = rest[~np.isin(rest, held)]
        elif self.timed:
            count = self._count(name, wanted, len(rest), self.n, "rows")
            stay, held = rest[:-count], rest[-count:]
        else:
            stay, held = self._draw(name, wanted, rest)
        if not len(stay):
            raise SpecError(f"{name} holds all {len(rest)} rows, none is left to train on")
        return stay, held

    def _draw(self, name: str, wanted: Any, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.model_selection import GroupShuffleSplit, train_test_split

        if self.groups is not None:
            left = len(np.unique(self.groups[rest]))
            if not isinstance(wanted, float | np.floating):
                raise SpecError(
                    f"{name}={shortened(wanted)} counts rows, and groups stay whole; give the "
                    f"share of groups to hold out, such as {name}=0.2, or which rows"
                )
            count = self._count(name, wanted, left, self.groups.max() + 1, "groups")
            splitter = GroupShuffleSplit(1, test_size=count, random_state=self.seed)
            stay, held = next(splitter.split(rest, groups=self.groups[rest]))
            return rest[stay], rest[held]
        count = self._count(name, wanted, len(rest), self.n, "rows")
        labels = None if self.labels is None else self.labels[rest]
        if labels is not None:
            classes = self._refuse_rare(f"{name}={shortened(wanted)}", labels, 2)
            if min(count, len(rest) - count) < classes:
                raise SpecError(
                    f"{name}={shortened(wanted)} splits {len(rest)} rows into {len(rest) - count} "
                    f"and {count}; both need a row of each of the {classes} classes"
                )
        stay, held = train_test_split(
            rest, test_size=count, stratify=labels, random_state=self.seed
        )
        return stay, held

    def _count(self, name: str, wanted: Any, left: int, n: int, unit: str) -> int:
        """Return how many are held out of those left, as scikit-learn rounds: up."""
        if isinstance(wanted, float | np.floating):
            sound = 0.0 < wanted < 1.0
            count = math.ceil(wanted * n) if sound else 0
        else:
            sound = not isinstance(wanted, str | bool | np.bool_) and wanted >= 1
            count = int(wanted) if sound else 0
        if not sound:
            raise SpecError(
                f"{name} must be a share in (0, 1), a number of rows >= 1, row numbers or a "
                f"mask; got {shortened(wanted)}"
            )
        if count >= left:
            raise SpecError(
                f"{name}={shortened(wanted)} holds {count} of {left} {unit} out; none is left to "
                "train on"
            )
        return count

    def _refuse_rare(self, what: str, labels: np.ndarray, least: int) -> int:
        """Return the number of classes, or name one with too few rows to have some in each part."""
        classes, counts = np.unique(labels, return_counts=True)
        if counts.min() < least:
            k = int(np.argmin(counts))
            rows = "1 row" if counts[k] == 1 else f"{counts[k]} rows"
            name = self.name_of(classes[k])
            numbers = not isinstance(name, bool) and isinstance(name, int | float)
            raise SpecError(
                f"{what}: class {shortened(name)} has {rows} to split, and needs {least} for one "
                f"in each part; {REPAIR}{MEASURED if numbers else ''}"
            )
        return len(classes)

    def fold(self, folds: Any, rest: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield training and validation rows of each fold of a number of them or a splitter."""
        splitter = self._splitter(folds, rest) if _is_number(folds) else folds
        groups = None if self.groups is None else self.groups[rest]
        try:
            for train, chosen_by in splitter.split(np.arange(len(rest)), self.y[rest], groups):
                yield rest[train], rest[chosen_by]
        except FastoptError:
            raise
        except (ValueError, TypeError, IndexError) as error:
            raise SpecError(f"folds={shortened(folds)}: {error}") from None

    def _splitter(self, folds: Any, rest: np.ndarray) -> Any:
        from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit

        whole = isinstance(folds, int | np.integer) and not isinstance(folds, bool)
        if not whole or not 2 <= folds <= MOST_FOLDS:
            raise SpecError(
                f"folds must be a whole number from 2 to {MOST_FOLDS:,}, a splitter of "
                f"scikit-learn's, or pairs of row numbers; got {shortened(folds)}"
            )
        shuffled = {"shuffle": True, "random_state": self.seed}
        units, have = "rows", len(rest)
        if self.groups is not None:
            units, have = "groups", len(np.unique(self.groups[rest]))
        if have < folds + self.timed:
            raise SpecError(
                f"folds={folds} needs {folds + self.timed} {units} or more; there are {have}"
            )
        if self.timed:
            return TimeSeriesSplit(folds)
        if self.groups is not None:
            return GroupKFold(folds, **shuffled)
        if self.labels is not None:
            self._refuse_rare(f"folds={folds}", self.labels[rest], int(folds))
            return StratifiedKFold(folds, **shuffled)
        return KFold(folds, **shuffled)
