"""Fitted transformers of scikit-learn as plain data, for the kinds that plain data can stand for.

They are known by their names, so that a process that has none of them imports nothing of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from fastopt.errors import SpecError
from sweeps.common.frames import pd
from sweeps.models.columns import Category, Columns, Entry, Gap, Number


class Raw(msgspec.Struct, frozen=True):
    """A column as it is, but for what its missing values become."""

    column: int
    fill: Any = None


Part = Raw | Entry


def columns_of(transformer: Any) -> Columns:
    """Return a fitted transformer as plain data.

    Parameters
    ----------
    transformer : object
        A fitted ``ColumnTransformer`` or ``Pipeline`` of ``SimpleImputer``, ``OneHotEncoder``,
        ``StandardScaler``, ``RobustScaler``, ``MaxAbsScaler``, ``"passthrough"`` and ``"drop"``, or
        one of these.

    Raises
    ------
    SpecError
        It is, or holds, another transformer, or one of these with an option that plain data have no
        word for. The message has its name.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> columns_of(StandardScaler().fit([[1.0], [3.0]])).entries
    [Number(column=0, mean=2.0, scale=1.0, fill=None)]
    """
    if isinstance(transformer, Columns):
        return transformer
    n = getattr(transformer, "n_features_in_", None)
    if n is None:
        raise _refusal_of(transformer)
    parts = _apply_step([Raw(k) for k in range(n)], transformer)
    return Columns(int(n), [_as_entry(part) for part in parts])


def _as_entry(part: Part) -> Entry:
    if not isinstance(part, Raw):
        return part
    return Number(part.column, fill=None if part.fill is None else float(part.fill))


def _apply_step(parts: list[Part], step: Any) -> list[Part]:
    """Return what a step makes of features."""
    if isinstance(step, str) and step in ("passthrough", "drop"):
        return parts if step == "passthrough" else []
    kind = type(step)
    if kind.__module__.partition(".")[0] != "sklearn" or kind.__name__ not in STEPS:
        raise _refusal_of(step)
    return STEPS[kind.__name__](parts, step)


def _refusal_of(step: Any, why: str = "") -> SpecError:
    name = f"{type(step).__name__}{why}"
    return SpecError(
        f"preprocess: {name} cannot be written as plain data; what can are {NAMES} "
        "(without options that add other kinds of columns), 'passthrough' and 'drop'. Use these, "
        "or put the rows through model.preprocess yourself and convert or save the network alone, "
        "with model.bare()"
    )


def _pipeline(parts: list[Part], pipeline: Any) -> list[Part]:
    for _, step in pipeline.steps:
        parts = _apply_step(parts, "passthrough" if step is None else step)
    return parts


def _column_transformer(parts: list[Part], transformer: Any) -> list[Part]:
    if any(not isinstance(part, Raw) or part.fill is not None for part in parts):
        raise _refusal_of(transformer, " after another step")
    made: list[Part] = []
    for _, step, columns in transformer.transformers_:
        made += _apply_step([parts[k] for k in _column_numbers(transformer, columns)], step)
    return made


def _column_numbers(transformer: Any, columns: Any) -> list[int]:
    """Return the numbers of the columns that a transformer was given."""
    everything = np.arange(transformer.n_features_in_)
    if isinstance(columns, str | int | np.integer):
        columns = [columns]
    if isinstance(columns, slice):
        return everything[_slice_of_numbers(columns, transformer)].tolist()
    listed = list(columns)
    if listed and isinstance(listed[0], str):
        names = list(transformer.feature_names_in_)
        return [names.index(name) for name in listed]
    is_mask = bool(listed) and isinstance(listed[0], bool | np.bool_)
    return everything[np.asarray(listed, bool if is_mask else int)].tolist()


def _slice_of_numbers(columns: slice, transformer: Any) -> slice:
    """Return a slice of names as one of numbers; it has its last name, as in pandas."""
    if not (isinstance(columns.start, str) or isinstance(columns.stop, str)):
        return columns
    names = list(transformer.feature_names_in_)
    low = None if columns.start is None else names.index(columns.start)
    high = None if columns.stop is None else names.index(columns.stop) + 1
    return slice(low, high)


def _imputer(parts: list[Part], imputer: Any) -> list[Part]:
    if not pd.isna(imputer.missing_values):
        raise _refusal_of(imputer, f"(missing_values={imputer.missing_values!r})")
    made: list[Part] = []
    for part, value in zip(parts, imputer.statistics_.tolist()):
        if not isinstance(part, Raw):
            raise _refusal_of(imputer, " after another step")
        if not pd.isna(value):  # of a column without any value there is none, and it is left out
            made.append(Raw(part.column, value if part.fill is None else part.fill))
        elif imputer.keep_empty_features:
            made.append(Raw(part.column, 0.0))
    if imputer.add_indicator:
        made += [Gap(parts[k].column) for k in imputer.indicator_.features_.tolist()]
    return made


def _scaler(means: str, scales: str) -> Callable[[list[Part], Any], list[Part]]:
    """Return the step of a scaler with these attributes, each None where it does not do that."""

    def scaled(parts: list[Part], scaler: Any) -> list[Part]:
        # A StandardScaler has a mean that it does not use.
        mean = getattr(scaler, means, None) if getattr(scaler, "with_mean", True) else None
        scale = getattr(scaler, scales)
        shifts = np.zeros(len(parts)) if mean is None else mean
        factors = np.ones(len(parts)) if scale is None else scale
        if getattr(scaler, "unit_variance", False) or getattr(scaler, "clip", False):
            raise _refusal_of(scaler, " with unit_variance or clip")
        return [
            _shift_and_scale(part, scaler, float(shift), float(factor))
            for part, shift, factor in zip(parts, shifts, factors)
        ]

    return scaled


def _shift_and_scale(part: Part, scaler: Any, mean: float, scale: float) -> Part:
    if isinstance(part, Raw):
        return Number(part.column, mean, scale, None if part.fill is None else float(part.fill))
    if isinstance(part, Gap) and (part.mean, part.scale) == (0.0, 1.0):
        return Gap(part.column, mean, scale)
    raise _refusal_of(scaler, " after another scaler or an encoder")


def _encoder(parts: list[Part], encoder: Any) -> list[Part]:
    if encoder.min_frequency is not None or encoder.max_categories is not None:
        raise _refusal_of(encoder, " with min_frequency or max_categories")
    dropped = [None] * len(parts) if encoder.drop_idx_ is None else encoder.drop_idx_
    made: list[Part] = []
    for part, categories, drop in zip(parts, encoder.categories_, dropped):
        if not isinstance(part, Raw):
            raise _refusal_of(encoder, " after another step")
        values = [None if pd.isna(value) else value for value in categories.tolist()]
        if any(not isinstance(value, str | int | float | None) for value in values):
            raise _refusal_of(encoder, " of categories that are neither text nor numbers")
        refuses = encoder.handle_unknown == "error"
        left_out = None if drop is None else int(drop)
        made.append(Category(part.column, values, part.fill, left_out, refuses))
    return made


def _function(parts: list[Part], transformer: Any) -> list[Part]:
    """Return the columns as they are, which is what "passthrough" becomes in a fitted table."""
    if transformer.func is not None:
        raise _refusal_of(transformer, f"({getattr(transformer.func, '__name__', 'a function')})")
    return parts


STEPS: dict[str, Callable[[list[Part], Any], list[Part]]] = {
    "ColumnTransformer": _column_transformer,
    "Pipeline": _pipeline,
    "SimpleImputer": _imputer,
    "OneHotEncoder": _encoder,
    "StandardScaler": _scaler("mean_", "scale_"),
    "RobustScaler": _scaler("center_", "scale_"),
    "MaxAbsScaler": _scaler("none", "scale_"),
    "FunctionTransformer": _function,
}
"""Class of scikit-learn -> what it makes of features."""

NAMES = ", ".join(name for name in STEPS if name != "FunctionTransformer")


def numeric_of(transformer: Any, what: str) -> Columns:
    """Return a transformer as plain data whose features are all numbers of columns."""
    columns = columns_of(transformer)
    strange = [entry for entry in columns.entries if not isinstance(entry, Number)]
    if strange:
        raise SpecError(
            f"{what}: the preprocessing makes features of categories or of missing values (column "
            f"{strange[0].column}), which a network of numbers alone cannot; convert the network "
            f"by model.bare().{what}(...), and give it rows of model.transform(X)"
        )
    return columns
