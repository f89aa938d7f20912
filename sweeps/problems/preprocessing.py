"""From columns of a table to the numbers of a network, by scikit-learn, fitted on training rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

import numpy as np

from fastopt.errors import ArrayError, FastoptError, SpecError, shortened
from sweeps.problems.columns import CATEGORIES

REFUSALS = (ArithmeticError, AttributeError, TypeError, ValueError)
"""Errors by which a transformer may refuse rows, or what was given is none."""

MOST_BYTES = 1 << 30
"""Bytes of float64 that a sparse matrix may become; kernels read dense rows."""


def default_preprocess(kinds: Mapping[str, str]) -> Any:
    """Return an unfitted ``ColumnTransformer`` for columns of these kinds.

    Missing numbers become the median of their column, missing categories the most frequent one;
    numbers are standardized, and each category is a column of zeros and ones. A category that no
    training row has is zero in all of them.

    >>> import pandas as pd
    >>> make = default_preprocess({"acid": "numeric", "red": "categorical"})
    >>> make.fit_transform(pd.DataFrame({"acid": [1.0, 3.0], "red": ["yes", "no"]}))
    array([[-1.,  0.,  1.],
           [ 1.,  1.,  0.]])
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    # Columns without any value in the training rows of a fold stay: all folds have the same.
    kept = {"keep_empty_features": True}
    steps = {
        "numbers": make_pipeline(SimpleImputer(strategy="median", **kept), StandardScaler()),
        "categories": make_pipeline(
            SimpleImputer(strategy="most_frequent", **kept),
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        ),
    }
    columns: dict[str, list[str]] = {name: [] for name in steps}
    for name, kind in kinds.items():
        columns["categories" if kind in CATEGORIES else "numbers"].append(name)
    return ColumnTransformer(
        [(name, steps[name], columns[name]) for name in steps if columns[name]],
        verbose_feature_names_out=False,
    )


def check_transformer(preprocess: Any) -> Any:
    """Return a copy of a transformer, which nobody else changes, or say what it lacks.

    >>> check_transformer("scale")
    Traceback (most recent call last):
    fastopt.errors.SpecError: preprocess must have fit_transform and transform, as ...; got 'scale'
    """
    if isinstance(preprocess, type) or not all(
        hasattr(preprocess, name) for name in ("fit_transform", "transform", "get_params")
    ):
        raise SpecError(
            "preprocess must have fit_transform and transform, as transformers and Pipelines of "
            f"scikit-learn have; got {shortened(preprocess)}"
        )
    return _cloned(preprocess)


def _cloned(preprocess: Any) -> Any:
    from sklearn.base import clone

    try:
        return clone(preprocess)
    except (*REFUSALS, RuntimeError) as error:
        raise SpecError(f"{_name_of(preprocess)}: {error!s:.500}") from None


def runs_users_code(preprocess: Any) -> bool:
    """Tell whether a transformer is, or holds, what is not scikit-learn's, and so may change.

    >>> from sklearn.preprocessing import FunctionTransformer
    >>> runs_users_code(FunctionTransformer(np.log1p)), runs_users_code(FunctionTransformer(dense))
    (False, True)
    """
    parts = [preprocess, *preprocess.get_params(deep=True).values()]
    ours = ("builtins", "numpy", "sklearn")
    return any(
        isinstance(part, FunctionType) or type(part).__module__.partition(".")[0] not in ours
        for part in parts
    )


def fit_rows(
    preprocess: Any, X: Any, y: np.ndarray, rows: np.ndarray, *others: np.ndarray
) -> tuple[Any, list[np.ndarray]]:
    """Fit a clone of a transformer on some rows only, and return all features that it makes.

    The transformer is left as it is. ``rows`` are trained on, and the only ones that are read for
    fitting; ``others``, of validation and test, are transformed only. Returns the fitted clone, and
    the features in float64 of the training rows and of each of the others.

    >>> from sklearn.preprocessing import StandardScaler
    >>> X = np.array([[1.0], [3.0], [1000.0]])
    >>> rows, others = np.array([0, 1]), np.array([2])
    >>> fitted, features = fit_rows(StandardScaler(), X, np.zeros(3), rows, others)
    >>> [each.ravel().tolist() for each in features]
    [[-1.0, 1.0], [998.0]]
    """
    fitted = _cloned(preprocess)
    # One fit for each fold, in each process that needs it: all of them draw the same numbers.
    undecided = [name for name, value in fitted.get_params().items() if value is None]
    fitted.set_params(**{name: 0 for name in undecided if name.endswith("random_state")})
    try:
        # What is fitted to targets treats its own rows in another way: it leaves each one out.
        with np.errstate(all="ignore"):  # told as the infinity it becomes
            made = fitted.fit_transform(_take_rows(X, rows), y[rows])
    except FastoptError:
        raise
    except REFUSALS as error:
        raise SpecError(f"{_name_of(preprocess)}: {error!s:.500}") from None
    features = [_check_features(made, fitted, rows)]
    for each in others:
        wanted = len(each) > 0
        features.append(transform_rows(fitted, X, each) if wanted else features[0][:0])
    return fitted, features


def transform_rows(fitted: Any, X: Any, rows: np.ndarray) -> np.ndarray:
    """Return the features of one row or more by a fitted transformer, float64.

    >>> from sklearn.preprocessing import StandardScaler
    >>> fitted = StandardScaler().fit([[1.0], [3.0]])
    >>> transform_rows(fitted, np.array([[5.0], [7.0]]), np.array([1]))
    array([[5.]])
    """
    try:
        made = fitted.transform(_take_rows(X, rows))
    except FastoptError:
        raise
    except REFUSALS as error:
        raise SpecError(f"{_name_of(fitted)}: {error!s:.500}") from None
    return _check_features(made, fitted, rows)


def _name_of(preprocess: Any) -> str:
    return f"preprocess ({type(preprocess).__name__})"


def _take_rows(X: Any, rows: np.ndarray) -> Any:
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def _check_features(made: Any, fitted: Any, rows: np.ndarray) -> np.ndarray:
    """Return what a transformer made as a dense array of finite numbers."""
    what = _name_of(fitted)
    try:
        array = np.ascontiguousarray(dense(f"what {what} makes", made), np.float64)
    except (ValueError, TypeError) as error:
        if isinstance(error, FastoptError):
            raise
        raise ArrayError(f"{what} makes no numbers: {error!s:.200}") from None
    if array.ndim != 2 or len(array) != len(rows) or not array.shape[1]:
        raise ArrayError(
            f"{what} makes an array of shape {array.shape} of {len(rows)} rows; it must be "
            f"({len(rows)}, features)"
        )
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        row, column = wrong[0]
        name = names_of_features(fitted, array.shape[1])[column]
        raise ArrayError(
            f"{what} makes {array[row, column]} of row {rows[row]} in feature {name!r}; add a "
            "SimpleImputer to it, divide what is too large, or mend the row"
        )
    return array


def dense(name: str, X: Any) -> Any:
    """Return a sparse matrix as an array, if memory has room for it.

    What is not sparse is returned as it is. ``name``: for messages.

    >>> import scipy.sparse
    >>> dense("X", scipy.sparse.eye_array(2))
    array([[1., 0.],
           [0., 1.]])
    """
    if not hasattr(X, "toarray"):
        return X
    needed = int(np.prod([int(n) for n in X.shape], dtype=object)) * 8
    if needed > MOST_BYTES:
        raise ArrayError(
            f"{name} is sparse, of shape {X.shape}: as a dense array, which is what kernels read, "
            f"it takes {needed / 2**30:.1f} GiB, and may take {MOST_BYTES // 2**30}. Give fewer "
            "columns, for example by sklearn.decomposition.TruncatedSVD or SelectKBest"
        )
    return X.toarray()


def names_of_features(fitted: Any, n: int) -> list[str]:
    """Return what a fitted transformer calls its features, or numbers where it has no names.

    >>> import pandas as pd
    >>> from sklearn.preprocessing import StandardScaler
    >>> names_of_features(StandardScaler().fit(pd.DataFrame({"a": [1.0, 2.0]})), 1)
    ['a']
    >>> names_of_features(StandardScaler(), 2)
    ['x0', 'x1']
    """
    try:
        names = [str(name) for name in fitted.get_feature_names_out()]
    except (AttributeError, ValueError, TypeError):
        names = []
    return names if len(names) == n else [f"x{k}" for k in range(n)]
