"""The commands for trained models: ``fastopt model`` writes one, ``fastopt predict`` uses it."""

from __future__ import annotations

import sys
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.console import Console

from fastopt.errors import FastoptError, SpecError, did_you_mean, shortened
from sweeps.analysis.export import draft_of
from sweeps.analysis.folds import best_of_folds
from sweeps.cli.paths import file_to_write
from sweeps.cli.stored import open_with_spec, score_on_test
from sweeps.common.terminal import errors_as_messages
from sweeps.common.text import format_number
from sweeps.models import Category, Columns, Model
from sweeps.problems.columns import as_features
from sweeps.problems.table_data import as_frame

__all__ = ["commands"]

WORDS = "na_values"
"""Of what is told of a model: words for missing cells of the table that it was trained with."""

commands = typer.Typer(rich_markup_mode="rich")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@commands.command(
    epilog="Examples:\n\n"
    "[bold]fastopt model runs/wine -o wine.safetensors[/bold]\n\n"
    "[bold]fastopt model runs/wine -o wine.safetensors --refit[/bold]\n\n"
    "[bold]fastopt model runs/wine -o seventh.safetensors --trial 7[/bold]",
    rich_help_panel="Models",
)
def model(
    store: Annotated[Path, typer.Argument(help="Folder that was given as --store.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The model: FILE.safetensors.",
            callback=file_to_write(".safetensors"),
        ),
    ],
    trial: Annotated[
        int | None,
        typer.Option(help="Number of a trial; the best one, over all folds, if not given."),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="Train on the rows for choosing as well; test rows judge."),
    ] = False,
    spec: Annotated[
        Path | None,
        typer.Option(help="TOML file of the sweep, if the store has no copy of it."),
    ] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Train a trial of a stored sweep once more, to the same bits, and save its model."""
    with errors_as_messages():
        result, checked = open_with_spec(store, spec)
        found = best_of_folds(result) if trial is None else None
        made = result.model(trial, refit=refit)
        words = checked.made.options.get(WORDS)
        made.about.update({WORDS: list(words)} if words else {})
        judged = score_on_test(made, checked.problem, made.about["params"].get("split_seed"))
        made.save(out)
        if json:
            test = None if judged is None else {"rows": judged[0], _score_of(made): judged[1]}
            typer.echo(dumps({"model": str(out), "test": test, **made.about}))
            return
        console = Console(highlight=False)
        lines = [made.summary(), *_why(result, found, refit, made), *_judged(made, judged)]
        for line in (*lines, f"Saved the model to {out}"):
            console.print(line, markup=False, soft_wrap=True)


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


@commands.command(
    epilog="Examples:\n\n"
    "[bold]fastopt predict wine.safetensors new.csv -o out.csv[/bold]\n\n"
    "[bold]fastopt predict wine.safetensors new.csv --json[/bold]",
    rich_help_panel="Models",
)
def predict(
    model: Annotated[Path, typer.Argument(help="FILE.safetensors that fastopt model wrote.")],
    table: Annotated[Path, typer.Argument(help="New rows: FILE.csv or FILE.parquet.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="FILE.csv or FILE.parquet; CSV on stdout if not given.",
            callback=file_to_write(".csv", ".parquet"),
        ),
    ] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Predict the rows of a table by a saved model.

    The answer has a line for each row, counted from 0: what is predicted, and the probability of
    each class. Columns are found by their names; a column of what is predicted may be there, and is
    only compared with. Categories that the model was not trained with are none of those it knows.
    """
    with errors_as_messages():
        if model.suffix != ".safetensors":
            raise typer.BadParameter(
                f"a model is a .safetensors file that fastopt model wrote; got {str(model)!r}"
            )
        loaded = Model.load(model)
        frame = as_frame(table, loaded.about.get(WORDS, ()))
        X = _features(loaded, frame, table)
        answer = _predictions(loaded, X)
        score = _score(loaded, frame, X)
        console = Console(highlight=False, stderr=out is None and not json)
        if out is not None:
            with draft_of(out) as draft:
                write = answer.to_csv if out.suffix == ".csv" else answer.to_parquet
                write(draft, index=False)
        if json:
            rows = {} if out is not None else {"predictions": answer.to_dict("records")}
            said = {"rows": len(answer), "out": None if out is None else str(out), **score, **rows}
            typer.echo(dumps(said))
            return
        if out is None:
            answer.to_csv(sys.stdout, index=False)
        for line in _said(loaded, score):
            console.print(line, markup=False, soft_wrap=True)
        if out is not None:
            line = f"Saved {len(answer):,} predictions to {out}"
            console.print(line, markup=False, soft_wrap=True)


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
