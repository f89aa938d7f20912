"""Targets of the user's own: the classes that labels name, or the numbers of a regression."""

from __future__ import annotations

import decimal
import numbers
import warnings
from typing import Any

import numpy as np

from fastopt.errors import ArrayError, ArrayTypeError, SweepWarning, shortened
from sweeps.common.frames import pd
from sweeps.problems.arrays import cast, numbers_of, refuse_gaps, refuse_mask
from sweeps.problems.losses import find_loss

SORTS: tuple[tuple[str, Any], ...] = (
    ("boolean", bool | np.bool_),
    ("integer", numbers.Integral),
    ("real", numbers.Real | decimal.Decimal),
    ("text", str),
    ("bytes", bytes),
)
"""Sorts of labels in an object column, and the types of each."""

DTYPES: dict[str, Any] = {
    "boolean": bool, "integer": np.int64, "real": float, "text": str, "bytes": bytes,
}  # fmt: skip

SHOWN = 10
"""Classes that a message names."""

SHORT = 40
"""Characters of a label that a message shows."""

SURE = 20
"""Rows of which one cannot say that they have too many classes."""

BOTH = 'loss="softmax_cross_entropy" for classes, loss="squared_error" for a regression'


def plain(name: str, y: Any) -> np.ndarray:
    """Return labels or targets as an array without objects, gaps and masks.

    ``y``: of any dtype: text, booleans, categories, nullable integers, ... The array is of
    booleans, integers, floats, text, bytes or times.

    >>> import pandas as pd
    >>> plain("y", pd.Series([3, 1], dtype="Int64")), plain("y", ["no", "yes"])
    (array([3, 1]), array(['no', 'yes'], dtype='<U3'))
    """
    if y is None:
        raise ArrayTypeError(f"{name} is None; give it a label or a target for each row")
    if hasattr(y, "toarray"):
        raise ArrayTypeError(f"{name} is sparse; give it dense: {name}.toarray()")
    y = refuse_mask(name, y)
    try:
        array = np.asarray(y)
        if isinstance(y, list | tuple) and array.dtype.kind in "US":
            array = np.asarray(y, object)  # NumPy makes text of numbers beside text
    except (ValueError, RuntimeError) as error:  # torch's, of a tensor with a gradient
        raise ArrayTypeError(f"{name} cannot be read as an array: {error}") from None
    if array.dtype.kind == "T":  # NumPy's text of any length
        array = array.astype(object)
    if array.ndim == 0:
        raise ArrayError(f"{name} must have one entry for each row; got {shortened(y)}")
    if array.dtype.kind not in "biufUSMmO":
        raise ArrayTypeError(f"{name} must hold labels or real numbers; got {array.dtype}")
    missing = np.argwhere(pd.isna(array)) if array.dtype.kind in "OMm" else np.empty(0)
    if len(missing):
        place = tuple(missing[0])
        raise ArrayError(
            f"{name}[{', '.join(map(str, place))}] is {array[place]}; a row without it cannot be "
            "learned from: leave it out of X and y"
        )
    return _without_objects(name, array) if array.dtype == object else array


def _without_objects(name: str, array: np.ndarray) -> np.ndarray:
    values = array.ravel().tolist()
    found: dict[str, Any] = {}
    for kind in dict.fromkeys(map(type, values)):  # few, of a million labels
        sort = next((s for s, kinds in SORTS if issubclass(kind, kinds)), "")
        found.setdefault(sort, next(value for value in values if type(value) is kind))
    if found.keys() == {"integer", "real"}:
        found = {"real": None}
    if len(found) > 1 or "" in found:
        shown = ", ".join(f"{_show(value)} ({type(value).__name__})" for value in found.values())
        raise ArrayTypeError(
            f"{name} holds {shown}; it must be all text, all booleans or all numbers: "
            f"[str(label) for label in {name}]"
        )
    if "text" in found:  # str() of a member of an Enum of texts is no text that it equals
        values = list(map(str.__str__, values))
        array = np.array(values, object).reshape(array.shape)
    try:
        made = array.astype(DTYPES[next(iter(found), "real")])
    except OverflowError:
        raise ArrayTypeError(
            f"{name} holds integers of more than 64 bits; number classes 0, 1, 2, ..."
        ) from None
    # NumPy's text and bytes of one width end before their zeros, so "a" and "a\0" were one class.
    if made.dtype.kind in "SU" and (cut := [a for a, b in zip(values, made.ravel()) if a != b]):
        raise ArrayError(f"{name} holds {cut[0]!r}, which ends with a zero character: strip it")
    return made


def is_classification(y: np.ndarray, categorical: bool) -> bool:
    """Tell labels from the targets of a regression, where nothing but them says which they are.

    ``categorical``: whether they came as pandas' categories. Raises ArrayError if they may be
    either. Warns of integers of more than half as many values as rows, as in a regression.

    >>> is_classification(np.array(["no", "yes"]), False), is_classification(np.ones(2), True)
    (True, True)
    >>> is_classification(np.array([0.5, 2.0]), False)
    False
    """
    distinct, rows = len(np.unique(y)), y.size
    if y.dtype.kind in "US" and not categorical and _are_numbers(y):
        raise ArrayError(
            f"y holds numbers written as text ({_show(y.flat[0].item())}, ...): labels or "
            f"measurements? Say {BOTH}, which needs np.asarray(y, float)"
        )
    # Whole numbers that repeat are labels to scikit-learn, and measurements by their dtype.
    if y.dtype.kind == "f" and not categorical:
        if 2 * distinct <= rows == len(y) and (y == np.rint(y)).all():
            raise ArrayError(
                f"y holds whole numbers as floats, {distinct} different ones in {rows} rows: "
                f"labels or measurements? Say {BOTH}"
            )
        several = y.ndim == 2 and y.shape[1] > 1
        if several and np.isin(y, (0.0, 1.0)).all() and (y.sum(axis=1) == 1.0).all():
            raise ArrayError(
                f"y holds rows of zeros and a one, as floats of shape {y.shape}: labels are "
                f'y.argmax(axis=1). For a regression say loss="squared_error"'
            )
        return False
    if y.dtype.kind in "iu" and rows > SURE and 2 * distinct > rows == len(y):
        warnings.warn(
            f"y holds {distinct} different integers in {rows} rows, each of which is taken for a "
            f"class; say {BOTH}",
            SweepWarning,
            stacklevel=4,
        )
    return True


def _are_numbers(text: np.ndarray) -> bool:
    try:
        text.astype(float)
    except ValueError:
        return False
    return True


def classes_of(loss: str, y: np.ndarray) -> np.ndarray:
    """Return the classes that labels name, sorted: what :func:`numpy.unique` finds.

    >>> classes_of("softmax_cross_entropy", np.array([3, 1, 1, 7]))
    array([1, 3, 7])
    """
    if y.ndim != 1:
        raise ArrayError(
            f"{loss} needs names or integer labels of shape (n,); got {y.dtype} of {y.shape}. Rows "
            "of zeros and a one become labels by y.argmax(axis=1)"
        )
    if y.dtype.kind == "f":
        refuse_gaps("y", y)
        fractions = y[y != np.rint(y)]
        if len(fractions):
            raise ArrayError(
                f"{loss} needs names or integer labels of shape (n,); got {y.dtype}, among them "
                f'{fractions[0]}. A regression has loss="squared_error"'
            )
    classes = np.unique(y)
    if len(classes) < 2:
        raise ArrayError(
            f"{loss} needs labels of two classes or more; all of y is {_show(classes.tolist()[0])}"
        )
    if find_loss(loss).task == "binary" and len(classes) > 2:
        raise ArrayError(
            f"{loss} needs labels of two classes; got {len(classes)}: {_some(classes)}. For more "
            'there is loss="softmax_cross_entropy"'
        )
    return classes


def numbered(name: str, y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the number of each label's class.

    >>> numbered("y_test", np.array(["yes", "no"]), np.array(["no", "yes"]))
    array([1, 0])
    """
    if y.ndim != 1:
        raise ArrayError(f"{name} must have one label a row, of shape (n,); got {y.shape}")
    alike = not len(y) or sort_of(y) == sort_of(classes)
    known = np.isin(y, classes) if alike else np.zeros(len(y), bool)
    if not known.all():
        k = int(np.argmin(known))
        raise ArrayError(
            f"{name}[{k}] is {_show(y[k].item())}, which is no label of the training rows: "
            f"{_some(classes)}. Leave such rows out, or let some of each class be trained on"
        )
    return np.searchsorted(classes, y).astype(np.int64) if len(y) else np.empty(0, np.int64)


def sort_of(labels: np.ndarray) -> str:
    """Return the kind of a dtype, "number" for all that are compared as numbers."""
    return "number" if labels.dtype.kind in "biuf" else labels.dtype.kind


def _show(label: Any) -> str:
    return shortened(label, SHORT)


def _some(classes: np.ndarray) -> str:
    more = ", ..." if len(classes) > SHOWN else ""
    return ", ".join(map(_show, classes[:SHOWN].tolist())) + more


def ravelled(name: str, y: np.ndarray) -> np.ndarray:
    """Return labels in one column as scikit-learn does: with a warning."""
    if y.ndim != 2 or y.shape[1] != 1:
        return y
    warnings.warn(
        f"{name} is a column of shape {y.shape} where labels of shape ({len(y)},) are expected; "
        f"{name}.ravel(), or table['name'] instead of table[['name']], makes them so",
        SweepWarning,
        stacklevel=4,
    )
    return y.ravel()


def measured(name: str, y: Any, dtype: Any, told: bool = True) -> np.ndarray:
    """Return the targets of a regression, ``(n, outputs)``, in the dtype of the problem.

    >>> measured("y", [1, 2.5], "float64")
    array([[1. ],
           [2.5]])
    """
    array = plain(name, y)
    if array.dtype.kind not in "biuf":
        raise ArrayTypeError(
            f"{name} holds {_show(array.flat[0].item())}, of {array.dtype}; a regression needs "
            f'numbers: np.asarray({name}, float); for classes there is loss="softmax_cross_entropy"'
        )
    array = numbers_of(name, array)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise ArrayError(f"{name} must have shape (rows,) or (rows, outputs); got {array.shape}")
    refuse_gaps(name, array)
    return cast(name, array, dtype, told)
