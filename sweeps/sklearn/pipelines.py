"""Pipelines in a compiled search: what goes before the last step is fitted for each fold.

The last step is what is trained compiled, on features that the steps before it make of the table.
They are fitted once a fold, on its training rows, for each setting of theirs that candidates have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import _num_samples

from fastopt.errors import SpecError
from sweeps.problems.preprocessing import REFUSALS, dense
from sweeps.sklearn.settings import refusal
from sweeps.sklearn.tables import check_table


class Prepared(NamedTuple):
    """Features of all rows, and what made them.

    ``before``, Pipeline or None: the fitted steps before the last one; None if there are none.
    ``last``, estimator: not fitted, but for what it knows of its columns: ``n_features_in_``,
    ``feature_names_in_``. ``X`` (n, features) of float64: those of training rows as the steps made
    them when they were fitted to them.
    """

    before: Any
    last: Any
    X: np.ndarray
    y: np.ndarray


def is_piped(estimator: Any) -> bool:
    """Tell whether an estimator is a pipeline; a subclass may mean something else."""
    return type(estimator) is Pipeline


def last_of(estimator: Any) -> Any:
    """Return the estimator that is trained compiled: a pipeline's last step, or itself."""
    return estimator.steps[-1][1] if is_piped(estimator) else estimator


def refuse_strangers(estimator: Any, candidate: Mapping[str, Any]) -> None:
    """Raise if a parameter of the last step lacks that one's name: ``alpha`` of ``last__alpha``."""
    if not is_piped(estimator):
        return
    name, last = estimator.steps[-1]
    own = last.get_params(deep=False) if hasattr(last, "get_params") else {}
    known = estimator.get_params()
    meant = [each for each in candidate if each not in known and each in own]
    if meant:
        raise SpecError(
            f"Pipeline has no parameter {', '.join(meant)}; use "
            f"{', '.join(f'{name}__{each}' for each in meant)}"
        )


def fit_params_of(estimator: Any, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what of the arguments of ``fit`` goes to the last step; the others may have none."""
    if not is_piped(estimator):
        return given
    steps = [name for name, _ in estimator.steps]
    unknown = [name for name in given if "__" in name and name.split("__")[0] not in steps]
    if unknown:
        raise SpecError(
            f"fit has no argument {unknown[0]}: its step must be one of {', '.join(steps)}"
        )
    routed = estimator._check_method_params(method="fit", props=dict(given))
    for name, _ in estimator.steps[:-1]:
        passed = {k for k in routed.get(name, {}) if routed[name][k]}
        if passed:
            raise refusal(
                estimator, f"passes arguments of fit to the last step, not to the step {name!r}"
            )
    return dict(routed[estimator.steps[-1][0]].fit)


def prepare_table(estimator: Any, X: Any, y: Any, train: np.ndarray | None = None) -> Prepared:
    """Return the features of a table, made by steps that are fitted on its training rows."""
    last = clone(last_of(estimator))
    if not is_piped(estimator) or len(estimator.steps) == 1:
        return Prepared(None, last, *check_table(last, X, y))
    if y is None:
        raise SpecError(f"{type(last).__name__} is trained on targets; give y to fit")
    before = clone(estimator)[:-1]
    rows = np.arange(_num_samples(X)) if train is None else train
    try:
        own = before.fit_transform(_safe_indexing(X, rows), _safe_indexing(y, rows))
        made = before.transform(X)
    except REFUSALS as error:
        names = ", ".join(name for name, _ in before.steps)
        rows_are = "the rows" if train is None else "the training rows of a fold, or the others"
        raise SpecError(
            f"the steps before {type(last).__name__} ({names}) refuse {rows_are}: "
            f"{error!s:.500}. Use steps that take them, or leave those rows out"
        ) from error
    features, y = check_table(last, dense(WHAT, made), y)
    features = np.array(features)
    # What is fitted to targets treats its own rows in another way: it leaves each one out.
    features[rows] = check_array(dense(WHAT, own), dtype=np.float64)
    return Prepared(before, last, features, y)


WHAT = "what the steps before the last make"


def with_earlier_steps(estimator: Any, made: Prepared, fitted: Any) -> Any:
    """Return a fitted estimator with the fitted steps before it."""
    if not is_piped(estimator):
        return fitted
    steps = [] if made.before is None else made.before.steps
    whole = clone(estimator)
    whole.steps = [*steps, (whole.steps[-1][0], fitted)]
    return whole
