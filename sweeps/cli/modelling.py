"""What ``fastopt model`` and ``fastopt predict`` do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastopt.errors import FastoptError, SpecError, did_you_mean, shortened
from sweeps.analysis.export import draft_of
from sweeps.analysis.folds import best_of_folds
from sweeps.cli.stored import open_with_spec, score_on_test
from sweeps.common.frames import pd
from sweeps.common.text import format_number
from sweeps.models import Category, Columns, Model
from sweeps.problems.columns import as_features
from sweeps.problems.table_data import as_frame

__all__ = ["Said", "predict_rows", "save_model"]

WORDS = "na_values"
"""Of what is told of a model: words for missing cells of the table that it was trained with."""


class Said(NamedTuple):
    """What a command has to say, for scripts and for people."""

    facts: dict[str, Any]
    lines: list[str]


def save_model(
    store: Path, out: Path, trial: int | None, *, refit: bool, spec: Path | None
) -> Said:
    """Train a trial of a stored sweep once more and save its model."""
    result, checked = open_with_spec(store, spec)
    found = best_of_folds(result) if trial is None else None
    made = result.model(trial, refit=refit)
    words = checked.made.options.get(WORDS)
    made.about.update({WORDS: list(words)} if words else {})
    judged = score_on_test(made, checked.problem, made.about["params"].get("split_seed"))
    made.save(out)
    test = None if judged is None else {"rows": judged[0], _score_of(made): judged[1]}
    lines = [made.summary(), *_why(result, found, refit, made), *_judged(made, judged)]
    return Said(
        {"model": str(out), "test": test, **made.about}, [*lines, f"Saved the model to {out}"]
    )


def _why(result: Any, found: Any, refit: bool, made: Model) -> list[str]:
    """Say which trial it is, and which rows trained it."""
    lines = []
    if found:
        lines.append(
            f"Best over {len(found.ids)} folds: mean {result.metric} {format_number(found.mean)}, "
            f"standard error {format_number(found.error)}."
        )
    if refit:
        rows = made.about["refitted_rows"]
        lines.append(f"Trained on {rows:,} rows, those for choosing among them.")
    elif found:
        fold = made.about["params"]["fold"]
        lines.append(f"Trained on the training rows of fold {fold}; --refit trains on all folds'.")
    return lines


def _judged(made: Model, judged: tuple[int, float] | None) -> list[str]:
    if judged is None:
        return ["There are no test rows to judge it."]
    rows, score = judged
    return [
        f"On {rows:,} test rows, which chose nothing: {_score_of(made)} {format_number(score)}."
    ]


def _score_of(made: Model) -> str:
    return "accuracy" if made.is_classifier else "R2"


def predict_rows(model: Path, table: Path, out: Path | None, *, shown: bool) -> Said:
    """Predict the rows of a table: to a file, to what is said if ``shown``, else to stdout."""
    loaded = Model.load(model)
    frame = as_frame(table, loaded.about.get(WORDS, ()))
    X = _features(loaded, frame, table)
    answer = _predictions(loaded, X)
    score = _score(loaded, frame, X)
    facts = {"rows": len(answer), "out": None if out is None else str(out), **score}
    lines = _said(loaded, score)
    if out is not None:
        with draft_of(out) as draft:
            write = answer.to_csv if out.suffix == ".csv" else answer.to_parquet
            write(draft, index=False)
        lines.append(f"Saved {len(answer):,} predictions to {out}")
    elif shown:
        facts["predictions"] = answer.to_dict("records")
    else:
        answer.to_csv(sys.stdout, index=False)
    return Said(facts, lines)


def _features(model: Model, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the columns that a model reads, as those of its training rows were read."""
    names = model.feature_names
    if names is None:
        return frame
    missing = [name for name in names if name not in frame.columns]
    if missing:
        have = ", ".join(frame.columns[:20])
        raise SpecError(
            f"{path} lacks {'columns' if len(missing) > 1 else 'column'} "
            f"{', '.join(map(shortened, missing[:20]))}, which the model reads"
            f"{did_you_mean(missing[0], list(frame.columns)) or '.'} It has {have}. Name the "
            "columns as in training; one that is not known any more may be there without values"
        )
    return as_features(frame, dict(zip(names, _kinds(model, names))))


def _kinds(model: Model, names: list[str]) -> list[str]:
    """Return whether each column holds numbers or categories to a model."""
    kinds = ["other"] * len(names)
    for entry in model.preprocess.entries if isinstance(model.preprocess, Columns) else ():
        kinds[entry.column] = "categorical" if isinstance(entry, Category) else "numeric"
    return kinds


def _predictions(model: Model, X: pd.DataFrame) -> pd.DataFrame:
    predicted = model.predict(X)
    columns: dict[str, Any] = {"row": np.arange(len(X))}
    if predicted.ndim == 1:
        columns["prediction"] = predicted
    else:
        names = _targets(model, predicted.shape[1])
        columns |= {f"prediction_{name}": predicted[:, k] for k, name in enumerate(names)}
    if model.network.has_probabilities and model.classes is not None:
        shares = model.predict_proba(X)
        columns |= {f"probability_{label}": shares[:, k] for k, label in enumerate(model.classes)}
    return pd.DataFrame(columns)


def _targets(model: Model, outputs: int) -> list[str]:
    """Return the columns that a model predicts: names of several stand in one, with commas."""
    told = model.target_name or ""
    names = [told] if outputs == 1 else told.split(", ")
    return names if len(names) == outputs else [str(k) for k in range(outputs)]


def _score(model: Model, frame: pd.DataFrame, X: pd.DataFrame) -> dict[str, Any]:
    """Return the score on rows whose target is known, or why there is none, by name."""
    outputs = 1 if model.classes is not None else model.network.sizes[-1]
    targets = _targets(model, outputs)
    if not {*targets} <= {*frame.columns}:
        return {}
    true = frame[targets if outputs > 1 else targets[0]]
    known = frame[targets].notna().all(axis=1).to_numpy()
    if not known.any():
        return {}
    try:
        score = model.score(X[known], true[known])
    except FastoptError as error:
        return {"not_scored": f"column {model.target_name!r}: {error}"}
    return {"scored_rows": int(known.sum()), _score_of(model): score}


def _said(model: Model, score: dict[str, Any]) -> list[str]:
    if "not_scored" in score:
        return [f"Not scored: {score['not_scored']}"]
    if not score:
        return []
    name = _score_of(model)
    n = score["scored_rows"]
    rows = f"{n:,} row{'s' * (n != 1)} with a value of {model.target_name!r}"
    return [f"On {rows}: {name} {format_number(score[name])}."]
