"""What ``fastopt model`` and ``fastopt predict`` do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastopt.errors import FastoptError, SpecError, did_you_mean, shortened
from sweeps.analysis.export import draft_of
from sweeps.analysis.folds import best_setting, in_words, repeats_of
from sweeps.cli.stored import Judgement, open_with_spec, rmse_of, score_on_test
from sweeps.common.frames import pd
from sweeps.common.text import format_in_units, format_number
from sweeps.models import Category, Columns, Ensemble, Model, load
from sweeps.models.rows import categories_of
from sweeps.problems.columns import as_features
from sweeps.problems.files import place_of
from sweeps.problems.table_data import as_frame, weights_of

WORDS = "na_values"
"""Of what is told of a model: words for missing cells of the table that it was trained with."""

WEIGHTS = "weights"
"""The column that had the weights of its rows."""


class Message(NamedTuple):
    """What a command has to say, for scripts and for people."""

    facts: dict[str, Any]
    lines: list[str]


def save_model(
    store: Path, out: Path, trial: int | None, *, refit: bool, spec: Path | None
) -> Message:
    """Train a trial of a stored sweep once more and save its model."""
    result, checked = open_with_spec(store, spec)
    found = best_setting(result) if trial is None else None
    made = result.model(trial, refit=refit)
    _note_table(checked, [made])
    judged = score_on_test(made, checked.problem, made.about["params"].get("split_seed"))
    made.save(out)
    test = None if judged is None else _facts_of(made, judged)
    lines = [
        made.summary(),
        *_explain_choice(result, found, refit, made),
        *_test_score_lines(made, judged),
    ]
    return Message(
        {"model": str(out), "test": test, **made.about}, [*lines, f"Saved the model to {out}"]
    )


def save_ensemble(store: Path, out: Path, n: int, *, spec: Path | None) -> Message:
    """Train the best trials of a stored sweep once more and save their models in one file."""
    result, checked = open_with_spec(store, spec)
    made = result.models(n)
    _note_table(checked, made.models)
    judged, alone = _score_together(made, checked.problem)
    made.save(out)
    ids = [model.about["trial_id"] for model in made.models]
    over = repeats_of(result)
    of = f"of the settings that are best over all {in_words(over)}" if over else "the best"
    lines = [made.summary(), f"They are {of}, by {result.metric}."]
    if len(ids) < n:
        lines.append(f"There are no more than {len(ids)} to average; {n} were asked for.")
    test = None if judged is None else {**_facts_of(made, judged), "alone": alone}
    facts = {"model": str(out), "test": test, "models": [model.about for model in made.models]}
    if judged is None:
        lines.append(
            "No test rows judge it: there are none, or other ones for each value of split_seed."
        )
    else:
        lines += _test_score_lines(made, judged)
        lines.append(
            f"Each model alone: {_name_of_score(made)} from {format_number(min(alone))} to "
            f"{format_number(max(alone))}."
        )
    return Message(facts, [*lines, f"Saved the {len(made)} models to {out}"])


def _score_together(made: Ensemble, problem: Any) -> tuple[Judgement | None, list[float]]:
    """Return what the test rows that they share say of an ensemble, and the score of each model."""
    seeds = {model.about["params"].get("split_seed") for model in made.models}
    if len(seeds) > 1:  # what judges one model has trained another
        return None, []
    (seed,) = seeds
    alone = [score_on_test(model, problem, seed) for model in made.models]
    return score_on_test(made, problem, seed), [each.score for each in alone if each is not None]


def _facts_of(made: Model | Ensemble, judged: Judgement) -> dict[str, Any]:
    facts: dict[str, Any] = {"rows": judged.rows, _name_of_score(made): judged.score}
    if judged.rmse is not None:
        facts["RMSE"] = judged.rmse
    if judged.weighted:
        facts["weighted"] = True
    if judged.usual:
        facts["accuracy_of_usual_class"] = judged.usual[1]
    return facts


def _note_table(checked: Any, models: Sequence[Model]) -> None:
    """Have models know how the table was read that they were trained with."""
    told = {name: checked.made.options.get(name) for name in (WORDS, WEIGHTS)}
    for model in models:
        model.about.update({name: value for name, value in told.items() if value})


def _explain_choice(result: Any, found: Any, refit: bool, made: Model) -> list[str]:
    """Say which trial it is, and which rows trained it."""
    lines = []
    if found:
        lines.append(
            f"Best over {in_words(found.over)}: mean {result.metric} {format_number(found.mean)}, "
            f"standard error {format_number(found.error)}."
        )
    if refit:
        rows = made.about["refitted_rows"]
        lines.append(f"Trained on {rows:,} rows, those for choosing among them.")
    elif found and "fold" in found.over:
        fold = made.about["params"]["fold"]
        lines.append(f"Trained on the training rows of fold {fold}; --refit trains on all folds'.")
    return lines


def _test_score_lines(made: Model | Ensemble, judged: Judgement | None) -> list[str]:
    if judged is None:
        return ["There are no test rows to judge it."]
    name, score = _name_of_score(made), format_number(judged.score)
    said = f"On {judged.rows:,} test rows, which chose nothing: {name} {score}"
    said += _rmse_in_words(judged.rmse)
    if judged.usual:
        label, accuracy = judged.usual
        said += f" (of always saying {shortened(label)}, {format_number(accuracy)})"
    return [f"{said}{', by their weights' * judged.weighted}."]


def _rmse_in_words(rmse: float | None) -> str:
    return "" if rmse is None else f", RMSE {format_in_units(rmse)}"


def _name_of_score(made: Model | Ensemble) -> str:
    return "accuracy" if made.is_classifier else "R2"


def predict_rows(model: Path, table: Path, out: Path | None, *, shown: bool) -> Message:
    """Predict the rows of a table: to a file, to what is said if ``shown``, else to stdout."""
    loaded = load(model)
    frame = as_frame(table, _models_in(loaded)[0].about.get(WORDS, ()))
    X = _features(loaded, frame, table)
    answer = _predictions(loaded, X)
    score, unknown = _score_known_rows(loaded, frame, X), _rows_of_unknown_categories(loaded, X)
    facts = {"rows": len(answer), "out": None if out is None else str(out), **score}
    facts["unknown_categories"] = {
        name: {"rows": len(rows), "first_row": rows[0]} for name, rows in unknown.items()
    }
    lines = [*_unknown_category_lines(frame, X, unknown), *_score_lines(loaded, score)]
    if out is not None:
        with draft_of(out) as draft:
            write = answer.to_csv if out.suffix == ".csv" else answer.to_parquet
            write(draft, index=False)
        lines.append(f"Saved {len(answer):,} predictions to {out}")
    elif shown:
        facts["predictions"] = answer.to_dict("records")
    else:
        answer.to_csv(sys.stdout, index=False)
    return Message(facts, lines)


def _features(loaded: Model | Ensemble, frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the columns that a model reads, as those of its training rows were read."""
    model = _models_in(loaded)[0]
    names = model.feature_names
    if names is None:
        return frame
    missing = [name for name in names if name not in frame.columns]
    if missing:
        have = ", ".join(frame.columns[:20])
        raise SpecError(
            f"{path} lacks {'columns' if len(missing) > 1 else 'column'} "
            f"{', '.join(map(shortened, missing[:20]))}, which the model reads"
            f"{did_you_mean(missing[0], list(frame.columns))}. It has {have}. Name the "
            "columns as in training; one that is not known any more may be there without values"
        )
    return as_features(
        frame, dict(zip(names, _kinds_of_columns(model, names))), _known_categories(loaded)
    )


def _models_in(loaded: Model | Ensemble) -> list[Model]:
    return loaded.models if isinstance(loaded, Ensemble) else [loaded]


def _known_categories(loaded: Model | Ensemble) -> dict[str, list[Any]]:
    """Return the categories of each column that at least one model was trained with."""
    known: dict[str, list[Any]] = {}
    for model in _models_in(loaded):
        if model.feature_names is not None:
            for name, own in categories_of(model.preprocess, model.feature_names).items():
                known[name] = list(dict.fromkeys((*known.get(name, ()), *own)))
    return known


def _rows_of_unknown_categories(loaded: Model | Ensemble, X: pd.DataFrame) -> dict[str, list[int]]:
    """Return the rows of each column whose category no model was trained with."""
    found = {}
    for name, categories in _known_categories(loaded).items():
        rows = np.flatnonzero(X[name].notna() & ~X[name].isin(categories)).tolist()
        found.update({name: rows} if rows else {})
    return found


def _unknown_category_lines(
    frame: pd.DataFrame, X: pd.DataFrame, unknown: dict[str, list[int]]
) -> list[str]:
    """Say which categories are new: they may be slips of a pen."""
    lines = []
    for name, rows in unknown.items():
        values = X[name].iloc[rows].unique().tolist()
        shown = ", ".join(shortened(value, 40) for value in values[:5])
        one = len(values) == 1
        lines.append(
            f"Column {name!r} has {'a category' if one else 'categories'} that no training row "
            f"had: {shown}{', ...' if len(values) > 5 else ''}, in {len(rows):,} "
            f"row{'s' * (len(rows) > 1)}, {place_of(frame, rows[0])} the first; "
            f"{'it counts' if one else 'they count'} as none of the known ones."
        )
    return lines


def _kinds_of_columns(model: Model, names: list[str]) -> list[str]:
    """Return whether each column holds numbers or categories to a model."""
    kinds = ["other"] * len(names)
    for entry in model.preprocess.entries if isinstance(model.preprocess, Columns) else ():
        kinds[entry.column] = "categorical" if isinstance(entry, Category) else "numeric"
    return kinds


def _predictions(model: Model | Ensemble, X: pd.DataFrame) -> pd.DataFrame:
    predicted = model.predict(X)
    columns: dict[str, Any] = {"row": np.arange(len(X))}
    if predicted.ndim == 1:
        columns["prediction"] = predicted
    else:
        names = _names_of_targets(model, predicted.shape[1])
        columns |= {f"prediction_{name}": predicted[:, k] for k, name in enumerate(names)}
    if isinstance(model, Ensemble) and not model.is_classifier:
        columns |= _spread_of(model, X, [*columns][1:])
    if model.network.has_probabilities and model.classes is not None:
        shares = model.predict_proba(X)
        columns |= {f"probability_{label}": shares[:, k] for k, label in enumerate(model.classes)}
    return pd.DataFrame(columns)


def _spread_of(model: Ensemble, X: pd.DataFrame, names: list[str]) -> dict[str, np.ndarray]:
    """Return how far models of numbers differ, under the names of what is predicted."""
    found = model.quantiles(X, SHARES).reshape(len(X), len(SHARES), -1)
    return {
        f"{name.replace('prediction', f'models_q{round(100 * share)}', 1)}": found[:, i, k]
        for k, name in enumerate(names)
        for i, share in enumerate(SHARES)
    }


SHARES = (0.1, 0.9)
"""Quantiles over the models of an ensemble that are written beside their mean."""


def _names_of_targets(model: Model | Ensemble, outputs: int) -> list[str]:
    """Return the columns that a model predicts: names of several stand in one, with commas."""
    told = model.target_name or ""
    names = [told] if outputs == 1 else told.split(", ")
    return names if len(names) == outputs else [str(k) for k in range(outputs)]


def _score_known_rows(
    model: Model | Ensemble, frame: pd.DataFrame, X: pd.DataFrame
) -> dict[str, Any]:
    """Return the score on rows whose target is known, or why there is none, by name."""
    outputs = 1 if model.classes is not None else model.network.sizes[-1]
    targets = _names_of_targets(model, outputs)
    if not {*targets} <= {*frame.columns}:
        return {}
    true = frame[targets if outputs > 1 else targets[0]]
    known = frame[targets].notna().all(axis=1).to_numpy()
    if not known.any():
        return {}
    name = _models_in(model)[0].about.get(WEIGHTS)
    counted = {WEIGHTS: name if name in frame.columns else None} if name else {}
    try:
        weights = weights_of(frame[known], counted.get(WEIGHTS))
        score = model.score(X[known], true[known], weights)
        rmse = rmse_of(model, X[known], true[known], weights)
    except FastoptError as error:
        return {"not_scored": f"column {model.target_name!r}: {error}"}
    figures: dict[str, Any] = {
        _name_of_score(model): score,
        **({} if rmse is None else {"RMSE": rmse}),
    }
    if model.classes is not None:
        strange = true[known & ~true.isin(model.classes.tolist())].value_counts()
        if len(strange):
            figures["unknown_labels"] = {str(label): int(n) for label, n in strange.items()}
    return {"scored_rows": int(known.sum()), **figures, **counted}


def _score_lines(model: Model | Ensemble, score: dict[str, Any]) -> list[str]:
    if "not_scored" in score:
        return [f"Not scored: {score['not_scored']}"]
    if not score:
        return []
    name = _name_of_score(model)
    n = score["scored_rows"]
    rows = f"{n:,} row{'s' * (n != 1)} with a value of {model.target_name!r}"
    counted = f", by their {score[WEIGHTS]!r}" if score.get(WEIGHTS) else ", each counting once"
    said = counted if WEIGHTS in score else ""
    figures = f"{name} {format_number(score[name])}{_rmse_in_words(score.get('RMSE'))}"
    lines = [f"On {rows}{said}: {figures}."]
    if strange := score.get("unknown_labels"):
        shown = ", ".join(shortened(label, 40) for label in [*strange][:5])
        lines.append(
            f"{sum(strange.values()):,} of them cannot be right, as no training row had such a "
            f"label: {shown}{', ...' if len(strange) > 5 else ''}."
        )
    return lines
