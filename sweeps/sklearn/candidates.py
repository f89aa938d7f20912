"""Candidates of a search, and the tables that they are trained on.

A candidate is an estimator with the parameters of a point of the grid. Of pipelines the steps
before the last one, with their parameters, are a *variant*: they are fitted once a fold, on its
training rows, and all candidates that differ in their last step only are trained on what they make.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier

from sweeps.common.resources import check_memory
from sweeps.sklearn.adapters import Adapter, adapter_of, rows_for
from sweeps.sklearn.folds import Fold
from sweeps.sklearn.pipelines import Prepared, is_piped, last_of, prepare_table, refuse_strangers
from sweeps.sklearn.settings import refusal
from sweeps.sklearn.training import Rows


class Candidate(NamedTuple):
    """A point of the grid.

    * ``params``: as the grid has them.
    * ``whole``, estimator: with these parameters, not fitted.
    * ``adapter``: of what is trained compiled: the estimator, or a pipeline's last step.
    * ``variant``: number of what goes before that.
    * ``own``: all parameters of what is trained compiled.
    """

    params: Mapping[str, Any]
    whole: Any
    adapter: Adapter
    variant: int
    own: Mapping[str, Any]

    @property
    def last(self) -> Any:
        """What is trained compiled; not fitted."""
        return last_of(self.whole)


class Variant(NamedTuple):
    """A table as some steps make it of each fold.

    ``prepared``: one a fold. ``rows``: the table, with the features of each fold.
    """

    prepared: Sequence[Prepared]
    rows: Rows
    folds: Sequence[Fold]


def candidates_of(base: Any, points: Sequence[Mapping[str, Any]]) -> list[Candidate]:
    """Return the candidates of a grid, in its order.

    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import Pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> base = Pipeline([("scale", StandardScaler()), ("ridge", Ridge())])
    >>> points = [{"scale__with_std": std, "ridge__alpha": a} for std in (0, 1) for a in (2, 3)]
    >>> [candidate.variant for candidate in candidates_of(base, points)]
    [0, 0, 1, 1]
    """
    known: dict[Any, int] = {}
    made = []
    given = base.get_params(deep=False) if hasattr(base, "get_params") else {}
    for params in points:
        refuse_strangers(base, params)
        whole, own = with_params(base, given, params)
        last = last_of(whole)
        adapter = adapter_of(last)
        if is_classifier(last) != is_classifier(base):
            raise refusal(
                base, "chooses among classifiers, or among regressors, and the grid has both"
            )
        key = frozenset(
            (name, key_of(value)) for name, value in params_of_earlier_steps(whole, params).items()
        )
        own = last.get_params(deep=False) if own is None else own
        made.append(Candidate(params, whole, adapter, known.setdefault(key, len(known)), own))
    return made


def with_params(
    base: Any, given: Mapping[str, Any], params: Mapping[str, Any]
) -> tuple[Any, dict[str, Any] | None]:
    """Return an estimator with other parameters, as ``clone`` and ``set_params`` do.

    And all of its parameters, where they are known without asking it. Those two read signatures,
    four times for each of a hundred candidates, which took a fiftieth of a search of 500 trainings;
    where all parameters are plain values a copy is the same.
    """
    simple = type(base).set_params is BaseEstimator.set_params and params.keys() <= given.keys()
    if not simple or not all(map(is_plain, (*given.values(), *params.values()))):
        return clone(base).set_params(**clone(params, safe=False)), None
    made = copy.copy(base)
    vars(made).update(params)
    return made, {**given, **params}


def is_plain(value: Any) -> bool:
    """Tell whether a value cannot change, so that estimators may share it."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def params_of_earlier_steps(whole: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are not those of the last step, nor that step itself."""
    if not is_piped(whole):
        return {}
    last = whole.steps[-1][0]
    return {n: v for n, v in params.items() if n != last and not n.startswith(f"{last}__")}


def key_of(value: Any) -> Any:
    """Return what tells a parameter from others; one too many costs a second fit, and no more."""
    return (type(value), repr(value)) if is_plain(value) else id(value)


def variants_of(
    candidates: Sequence[Candidate],
    table: tuple[Any, Any, np.ndarray | None],
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    whole: Prepared | None,
) -> list[Variant]:
    """Return the tables of all variants.

    ``table`` (X, y, weights): of all rows. ``whole``: the checked table, where nothing goes before
    the estimator.
    """
    X, y, weights = table
    first = {candidate.variant: candidate for candidate in reversed(candidates)}
    several = len(splits) > 1
    made: list[Variant] = []
    for number in range(len(first)):
        estimator = first[number].whole
        parts = [whole or prepare_table(estimator, X, y, train) for train, _ in splits]
        if not made and whole is None:
            check_memory(
                parts[0].X.nbytes * len(first) * len(splits),
                f"what {len(first)} settings of earlier steps make on {len(splits)} folds takes",
                "Search fewer of them at a time",
            )
        rows = rows_for(last_of(estimator), parts[0].X, parts[0].y, weights)
        if whole is None:
            rows = rows._replace(folded=tuple(part.X for part in parts))
        folds = [Fold(rows, train, k if several else None) for k, (train, _) in enumerate(splits)]
        made.append(Variant(parts, rows, folds))
    for last in {type(c.last): c.last for c in candidates}.values():  # which take other targets
        rows_for(last, made[0].prepared[0].X, made[0].prepared[0].y, weights)
    return made
