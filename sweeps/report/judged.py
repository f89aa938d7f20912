"""What the best configuration predicts on rows that did not train it, and which rows those are.

The trials run once more for it, to the same bits, so it takes a result that knows its problem. With
folds each row is predicted by the model of the fold that held it out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastopt.errors import FastoptError
from sweeps.analysis.folds import best_setting
from sweeps.analysis.table import Table
from sweeps.common.limits import spaced_ids
from sweeps.common.text import format_in_units
from sweeps.models.trained import best_model
from sweeps.problems.base import DataProblem
from sweeps.problems.target_units import targets_of, units_in_words
from sweeps.report.charts import rounded

MOST_CLASSES = 20
MOST_POINTS = 1000
BINS = 10


class Judged(NamedTuple):
    """Rows that were held out, as the best configuration predicts them.

    ``said``: which rows, and which models. ``true``: numbers of classes ``(n,)``, or targets ``(n,
    outputs)``. ``values`` (n, k): what the link makes of outputs: probabilities, margins or
    numbers.
    """

    said: str
    task: str
    classes: np.ndarray | None
    true: np.ndarray
    values: np.ndarray
    has_probabilities: bool

    @property
    def predicted(self) -> np.ndarray:
        """Numbers of classes, or the numbers themselves."""
        if self.task == "regression":
            return self.values
        one = self.values.shape[1] == 1
        cut = 0.5 if self.has_probabilities else 0.0
        return (self.values[:, 0] > cut).astype(int) if one else self.values.argmax(axis=1)


def judged(result: Table) -> Judged | None:
    """Return what the best configuration predicts on validation rows, or on test rows without any.

    None if the result does not know its problem, or there are no such rows, models or labels.
    """
    problem = getattr(result.plan, "problem", None)
    if not isinstance(problem, DataProblem) or problem.recipe is None:
        return None
    part = "val" if problem.has_validation else "test"
    if not (problem.has_validation or problem.has_test) or not result._ranking(1).size:
        return None
    found = best_setting(result)
    ids = found.ids if found else [int(result.columns["trial_id"][result._winner()])]
    try:
        parts = [_predict_held_out(result, i, part) for i in ids]
    except FastoptError:  # not one of our networks
        return None
    model = parts[0][0]
    if model.task == "multilabel":
        return None
    true, values = (np.concatenate([each[k] for each in parts]) for k in (1, 2))
    name = {"val": "validation", "test": "test"}[part]
    said = f"{len(true):,} {name} rows, which trained no model that predicts them"
    if len(ids) > 1:
        said += f"; each by the model of its fold (trials {', '.join(map(str, ids[:20]))})"
    else:
        said += f" (trial {ids[0]})"
    if problem.recipe.source().weights is not None:
        said += "; each counts once, whatever its weight"
    has = model.network.has_probabilities
    return Judged(f"{said}.", model.task, model.classes, true, values, has)


def _predict_held_out(result: Table, i: int, part: str) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return the model of a trial, and what is true and predicted of its held-out rows."""
    plan: Any = result.plan
    model = best_model(result, i)
    (block,) = plan.blocks(np.array([i]), results=False)
    X, y = getattr(block.problem, f"X_{part}"), getattr(block.problem, f"y_{part}")
    if model.classes is None:
        true = targets_of(block.problem, y)
    else:  # the weights stand behind them
        true = y.reshape(len(y), -1)[:, 0].astype(int)
    return model, true, model.network.linked(X)


def confusion(found: Judged) -> dict[str, Any] | None:
    """Return how many rows of each class are taken for each, or None if there are too many."""
    classes = found.classes
    if classes is None or len(classes) > MOST_CLASSES:
        return None
    k = len(classes)
    counts = np.bincount(k * found.true + found.predicted, minlength=k * k).reshape(k, k)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        (str(label), [(f"{n:,}", f"{share:.3f}") for n, share in zip(*pair)])
        for label, *pair in zip(classes.tolist(), counts.tolist(), shares.tolist())
    ]
    right = np.trace(counts) / max(counts.sum(), 1)
    return {"classes": [str(c) for c in classes], "rows": rows, "accuracy": f"{right:.4g}"}


def calibration(found: Judged) -> dict[str, Any] | None:
    """Return how often predictions are right that are made with some confidence, in ten bins.

    Of two classes that is the probability of the second one, of more that of the predicted one.
    """
    if found.classes is None or not found.has_probabilities:
        return None
    if len(found.classes) == 2:
        sure, hit = found.values[:, -1].astype(float), found.true == 1
        of = f"probability of {found.classes[1]}"
    else:
        sure, hit = found.values.max(axis=1).astype(float), found.true == found.predicted
        of = "probability of the predicted class"
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    n = np.bincount(bins, minlength=BINS)
    there = n > 0
    means = [np.bincount(bins, a, BINS)[there] / n[there] for a in (sure, hit)]
    gap = float((n[there] * np.abs(means[0] - means[1])).sum() / n.sum())
    points = {"x": rounded(means[0]), "y": rounded(means[1]), "n": n[there].tolist()}
    return {"of": of, "error": f"{gap:.3g}", **points}


def residuals(found: Judged) -> dict[str, Any] | None:
    """Return predictions of a regression and how far off they are, of a thousand rows at most."""
    if found.task != "regression":
        return None
    x, off = found.values.ravel().astype(float), (found.true - found.values).ravel().astype(float)
    some = spaced_ids(len(x), MOST_POINTS)
    return {
        "x": rounded(x[some]),
        "y": rounded(off[some]),
        "rmse": format_in_units(float(np.sqrt(np.mean(off**2)))),
        "mae": format_in_units(float(np.mean(np.abs(off)))),
    }


def rows_in_words(result: Table) -> str:
    """Say which rows trained, chose and judged, and what losses are measured in.

    Nothing if the result does not know its problem.
    """
    problem = getattr(result.plan, "problem", None)
    if not isinstance(problem, DataProblem):
        return ""
    return " ".join(filter(None, (_rows_of(problem, result), units_in_words(problem))))


def _rows_of(problem: DataProblem, result: Table) -> str:
    test = len(problem.X_test)
    judge = f"{test:,} test rows judge" if test else "no rows judge"
    if result.metric.startswith("test_"):
        return (
            f"{len(problem.X):,} rows train. {test:,} test rows chose the best trial (by "
            f"{result.metric}), so what is said of them flatters it, and no rows are left to judge."
        )
    if "fold" in problem.axes:
        rest = len(problem.X) + len(problem.X_val)
        folds = len(np.unique(result.columns["fold"])) if "fold" in result.axes else 1
        return (
            f"{rest:,} rows train and choose (by {result.metric}), in {folds} "
            f"fold{'s' * (folds > 1)}; {judge}, and chose nothing."
        )
    choose = f"{len(problem.X_val):,} validation rows choose" if problem.has_validation else ""
    choose = choose or "no rows are held out to choose"
    return f"{len(problem.X):,} rows train, {choose} (by {result.metric}), {judge}."
