"""Tables of the user's own, read as scikit-learn reads them: in float64, and refused by place.

Whatever is asked of the numbers is asked before they are cast to float32, which has 7 digits: of
60 time stamps about 1.7e9 it keeps one.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastopt.errors import ArrayError, ArrayTypeError, SweepWarning
from sweeps.common.frames import pd

LOST = 0.01
"""Rounding of a column to float32, over its standard deviation, from which on it is told."""

SQUARES = 1e-150, 1e150
"""Between which a difference has a square that is a normal float64, also that of many rows."""

IMPUTE = "leave those rows out, or fill them in, for example by sklearn.impute.SimpleImputer"


def as_dataset(name: str, X: Any) -> np.ndarray:
    """Return a table as a finite float64 array of shape (rows, features).

    ``X``: numbers and booleans, of any dtype that scikit-learn takes; none missing, masked, NaN or
    infinite.

    >>> import pandas as pd
    >>> as_dataset("X", pd.DataFrame({"a": [1, 2], "b": pd.array([True, False], "boolean")}))
    array([[1., 1.],
           [2., 0.]])
    >>> as_dataset("X", [[1.0, None]])
    Traceback (most recent call last):
    fastopt.errors.ArrayError: X[0, 1] is nan; data must be finite: leave those rows out, or ...
    """
    array = numbers_of(name, X)
    if array.ndim != 2:
        hint = "; of one feature: X.reshape(-1, 1), or table[['name']]" if array.ndim == 1 else ""
        raise ArrayError(f"{name} must have shape (rows, features); got {array.shape}{hint}")
    if array.shape[1] == 0:
        raise ArrayError(f"{name} has no features: its shape is {array.shape}")
    refuse_gaps(name, array)
    if (np.abs(array) >= 2.0**53).any():
        _warn_of_long_integers(name, X, array)
    return array


def numbers_of(name: str, given: Any) -> np.ndarray:
    """Return a copy of real numbers as a float64 array; what is missing is NaN.

    It keeps the order of its memory, in which sums are taken: a column that is nearly constant
    would be another one after scaling.

    >>> numbers_of("y", [True, 2, 0.5])
    array([1. , 2. , 0.5])
    """
    if given is None:
        raise ArrayTypeError(f"{name} is None; it must be an array, a list or a table of numbers")
    if hasattr(given, "toarray"):
        raise ArrayTypeError(f"{name} is sparse; give it dense: {name}.toarray()")
    given = refuse_mask(name, given)
    try:
        with np.errstate(over="ignore"):  # of a longdouble: told as the infinity it becomes
            if type(given) is np.ndarray and given.dtype.kind in "biuf":
                return np.array(given, np.float64)
            _refuse_times(given)
            from sklearn.utils import check_array  # a second to import, and rarely needed

            read = check_array(
                given, dtype=np.float64, ensure_2d=False, allow_nd=True,
                ensure_all_finite=False, ensure_min_samples=0, ensure_min_features=0,
            )  # fmt: skip
            return np.array(read, np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        if isinstance(error, ArrayError):
            raise
        raise ArrayTypeError(
            f"{name} cannot be read as an array of float32 or float64: {error!s:.200}. Columns of "
            "text become numbers by pandas.get_dummies(table, dtype=float), dates and durations by "
            ".dt.total_seconds() of the difference to one of them"
        ) from None


def refuse_mask(name: str, given: Any) -> Any:
    """Return what is under a mask that hides nothing, or say what is masked.

    >>> refuse_mask("X", np.ma.array([[1.0, 2.0]], mask=[[False, True]]))
    Traceback (most recent call last):
    fastopt.errors.ArrayError: X[0, 1] is masked (1 of 2 values); data must be complete: leave ...
    """
    if not isinstance(given, np.ma.MaskedArray):
        return given
    hidden = np.argwhere(np.ma.getmaskarray(given))
    if len(hidden):
        raise ArrayError(
            f"{name}[{', '.join(map(str, hidden[0]))}] is masked ({len(hidden)} of {given.size} "
            f"values); data must be complete: {IMPUTE}"
        )
    return given.data


def refuse_gaps(name: str, array: np.ndarray) -> None:
    """Raise if a value is NaN or infinite, and say where the first one is."""
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(wrong[0])
        raise ArrayError(
            f"{name}[{', '.join(map(str, place))}] is {array[place]}; data must be finite: {IMPUTE}"
        )


def refuse_other_columns(X: Any, X_test: Any) -> None:
    """Raise if two tables name their columns differently, as scikit-learn does."""
    names, others = (list(getattr(table, "columns", ())) for table in (X, X_test))
    if names and others and names != others:
        k = next((k for k, pair in enumerate(zip(names, others)) if pair[0] != pair[1]), -1)
        found = f"column {k} is {names[k]!r} and {others[k]!r}" if k >= 0 else "one has more"
        raise ArrayError(
            f"X and X_test have different columns ({found}); give both the same, in one order: "
            "X_test[X.columns]"
        )


def standardized(
    X: np.ndarray, X_test: np.ndarray | None, weights: np.ndarray | None = None, name: str = "X"
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]:
    """Return both tables shifted and scaled by scikit-learn's ``StandardScaler``, and its numbers.

    A column that is constant but for rounding is shifted only. ``weights`` (n,): of the rows of
    ``X``, so that one of weight k counts as k rows do. ``name``: for messages.

    >>> standardized(np.array([[1.0, 0.1], [3.0, 0.1]]), np.array([[2.0, 0.2]]))[:2]
    (array([[-1.,  0.],
           [ 1.,  0.]]), array([[0. , 0.1]]))
    """
    from sklearn.preprocessing import StandardScaler

    if weights is not None:
        # Its test of what is constant takes their sum for a number of rows: of weights of 1e16 all
        # columns are. A mean from 1 to 2, by a power of two, changes no digit.
        size = int(np.frexp(weights.max())[1])
        size += int(np.frexp(np.ldexp(weights, -size).mean())[1]) - 1
        weights = np.ldexp(weights, -size)
    with np.errstate(all="ignore"):
        scaler = StandardScaler().fit(X, sample_weight=weights)
        known = np.isfinite(scaler.mean_) & np.isfinite(scaler.scale_)
        if not known.all():
            column = int(np.argmin(known))
            raise ArrayError(
                f"column {column} of {name} is too large to standardize (up to "
                f"{np.abs(X[:, column]).max():.3g}: its variance is no float64); divide it first"
            )
        spread = np.ptp(X, axis=0)
        lost = has_no_variance(spread)
        if lost.any():  # of which scikit-learn says that they are constant
            column = int(np.argmax(lost))
            raise ArrayError(
                f"column {column} of {name} cannot be standardized: its values differ by up to "
                f"{spread[column]:.3g}, whose square is no float64; bring it to another unit first"
            )
        test = None if X_test is None else (X_test - scaler.mean_) / scaler.scale_
    return scaler.transform(X), test, scaler.mean_, scaler.scale_


def has_no_variance(spread: Any) -> Any:
    """Tell whether numbers that differ by so much have a variance which float64 does not hold.

    >>> has_no_variance(np.array([0.0, 1e-200, 1.0, 1e200]))
    array([False,  True, False,  True])
    """
    return (spread > 0) & ((spread < SQUARES[0]) | (spread > SQUARES[1]))


def cast(name: str, array: np.ndarray, dtype: Any, told: bool = True) -> np.ndarray:
    """Return a C-contiguous copy of numbers in a problem's dtype, or say what would be lost.

    A copy, because read-only arrays (pandas hands them out) would be types of their own to Numba.
    NaN and infinity stay; numbers too large for float32 are refused. ``told``: whether to warn if
    what distinguishes the rows of a column is lost; of few test rows it says nothing.

    >>> cast("X", np.array([[0.5], [2.0]]), "float32").dtype
    dtype('float32')
    >>> cast("X", np.array([[1e39]]), "float32")
    Traceback (most recent call last):
    fastopt.errors.ArrayError: X[0, 0] is 1e+39, too large for float32; use dtype="float64", ...
    """
    kind = float_kind(dtype)
    with np.errstate(over="ignore", under="ignore"):
        made = array.astype(kind, order="C")
        large = np.argwhere(np.isinf(made) & np.isfinite(array))
    if len(large):
        place = tuple(large[0])
        raise ArrayError(
            f"{name}[{', '.join(map(str, place))}] is {array[place]:.6g}, too large for {kind}; "
            'use dtype="float64", or scale it'
        )
    if told and made.dtype != array.dtype and len(array):
        _warn_of_loss(name, array.reshape(len(array), -1), made.reshape(len(array), -1))
    return made


def float_kind(dtype: Any) -> np.dtype:
    """Return the dtype of a problem, or say that it is none."""
    kind = np.dtype(dtype)
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ArrayTypeError(f"dtype must be float32 or float64; got {kind}")
    return kind


def checked_aux(aux: Any) -> tuple[np.ndarray, ...]:
    """Return the arrays that a function of the user's takes beside rows, without masks."""
    if not isinstance(aux, tuple) or not all(isinstance(a, np.ndarray) for a in aux):
        raise ArrayTypeError("aux must be a tuple of NumPy arrays, () for none")
    return tuple(refuse_mask(f"aux[{k}]", a) for k, a in enumerate(aux))


def _warn_of_loss(name: str, array: np.ndarray, made: np.ndarray) -> None:
    with np.errstate(all="ignore"):
        error = np.abs(made - array.astype(float)).max(axis=0)
        spread = array.std(axis=0)
    # Below: noise of the last digits of a constant.
    varied = spread > 1e-12 * np.abs(array).max(axis=0)
    lost = np.flatnonzero(varied & (error > LOST * spread))
    if len(lost):
        k = int(lost[0])
        before, after = (len(np.unique(a[:, k])) for a in (array, made))
        warnings.warn(
            f"column {k} of {name} lies about {array[:, k].mean():.6g} with a standard deviation "
            f"of {spread[k]:.3g}: in {made.dtype} its {before} distinct values become {after}. "
            "Subtract its mean and divide by its deviation (standardize=True does that to X), or "
            'use dtype="float64"',
            SweepWarning,
            stacklevel=4,
        )


def _warn_of_long_integers(name: str, given: Any, array: np.ndarray) -> None:
    for k, (_, column) in enumerate(pd.DataFrame(given).items()):
        distinct, kept = column.nunique(), len(np.unique(array[:, k]))
        if column.dtype.kind in "iu" and kept < distinct:
            warnings.warn(
                f"column {k} of {name} holds {distinct} integers, of which float64 tells {kept} "
                "apart: subtract its smallest one before",
                SweepWarning,
                stacklevel=4,
            )
            return


def _refuse_times(given: Any) -> None:
    """Refuse dates and durations: as numbers they have the unit and origin of their dtype."""
    kinds = getattr(given, "dtypes", None)
    kinds = [getattr(given, "dtype", None)] if kinds is None else np.atleast_1d(kinds)
    if any(getattr(kind, "kind", "") in ("M", "m") for kind in kinds):
        raise TypeError("dates and durations are no numbers")
