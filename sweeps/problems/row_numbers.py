"""Numbers of rows that somebody gives: as such, as a mask, or as pairs of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened


def row_numbers(name: str, given: Any, n: int) -> np.ndarray:
    """Return numbers of rows of a table that has ``n``.

    >>> row_numbers("test", [2, 0], 3), row_numbers("test", [False, True, True], 3)
    (array([2, 0]), array([1, 2]))
    """
    array = np.asarray(given)
    if array.dtype == bool:
        if array.shape != (n,):
            raise SpecError(f"{name} is a mask of shape {array.shape}; there are {n} rows")
        return np.flatnonzero(array)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise SpecError(
            f"{name} must be numbers of rows, in one dimension; got {array.dtype} of {array.shape}"
        )
    outside = (array < 0) | (array >= n)
    if outside.any():
        k = int(np.argmax(outside))
        raise SpecError(f"{name} has row {array[k]}; the {n} rows are numbered 0 to {n - 1}")
    return array.astype(np.int64)


def pairs_of(folds: Any, n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and validation rows of folds that are given as pairs.

    >>> list(pairs_of([([0, 1], [2])], 3))
    [(array([0, 1]), array([2]))]
    """
    what = "folds must be a number, a splitter of scikit-learn's or pairs of row numbers"
    if not isinstance(folds, Iterable):
        raise SpecError(f"{what}; got {shortened(folds)}")
    for k, pair in enumerate(folds):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise SpecError(f"{what}; fold {k} is {shortened(pair)}")
        train, chosen_by = pair
        yield (
            row_numbers(f"fold {k} (train)", train, n),
            row_numbers(f"fold {k} (validation)", chosen_by, n),
        )
