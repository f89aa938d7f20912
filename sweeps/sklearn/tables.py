"""Tables that are checked as scikit-learn checks them, in words that name column and row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.utils.validation import validate_data

from fastopt.errors import ArrayError, shortened


def check_table(estimator: Any, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return features of float64 and targets, and have the estimator know its columns.

    >>> from sklearn.linear_model import Ridge
    >>> check_table(Ridge(), pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}), [0, 1])
    Traceback (most recent call last):
    fastopt.errors.ArrayError: X, row 0, column 'b': 'x' is no number; ...
    """
    numeric = not is_classifier(estimator)
    if not numeric:
        refuse_no_labels(y)
    try:
        return validate_data(
            estimator, X, y, dtype=np.float64, multi_output=True, y_numeric=numeric
        )
    except (ValueError, TypeError) as error:
        if any(words in str(error) for words in ("could not convert", "could not be promoted")):
            refuse_text(X)
        raise


def refuse_text(X: Any) -> None:
    """Raise with the place of the first cell that is no number."""
    frame = pd.DataFrame(X)
    for k, name in enumerate(frame.columns):
        column = frame.iloc[:, k]
        strange = pd.to_numeric(column, errors="coerce").isna() & column.notna()
        strange |= column.dtype.kind in "mM"  # dates, which pandas takes for numbers
        if strange.any():
            row = int(strange.to_numpy().argmax())
            raise ArrayError(
                f"X, row {row}, column {shortened(name)}: {shortened(column.iloc[row])} is no "
                "number; use a Pipeline whose first step encodes it, such as OneHotEncoder in a "
                "ColumnTransformer"
            )


def refuse_no_labels(y: Any) -> None:
    """Raise if a label is missing, or they are of sorts that have no order."""
    labels = np.asarray(y)
    if labels.dtype != object or labels.ndim != 1:
        return
    missing = pd.isna(labels)
    if missing.any():
        raise ArrayError(
            f"y, row {int(missing.argmax())}: the label is {shortened(labels[missing][0])}, which "
            "is missing; give one, or leave the row out"
        )
    sorts = sorted({type(label).__name__ for label in labels})
    if len(sorts) > 1 and "str" in sorts:
        raise ArrayError(f"y has labels of {' and '.join(sorts)}; give labels of one sort")
