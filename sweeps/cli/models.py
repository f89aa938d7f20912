"""The commands for trained models: ``fastopt model`` writes one, ``fastopt predict`` uses it."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweeps.cli.options import Json, Store, file_to_write
from sweeps.common.terminal import errors_as_messages

commands = typer.Typer(rich_markup_mode="rich")


@commands.command(
    epilog="Examples:\n\n"
    "[bold]fastopt model runs/wine -o wine.safetensors[/bold]\n\n"
    "[bold]fastopt model runs/wine -o wine.safetensors --refit[/bold]\n\n"
    "[bold]fastopt model runs/wine -o wine.safetensors --best 5[/bold]\n\n"
    "[bold]fastopt model runs/wine -o seventh.safetensors --trial 7[/bold]",
    rich_help_panel="Models",
)
def model(
    store: Store,
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
    best: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Average so many models: of all folds of the best configuration, then of the next."
        ),
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
    """Train a trial of a stored sweep once more, to the same bits, and save its model.

    With --best 5 those of five trials: what is predicted is their mean, and fastopt predict says
    how far they differ.
    """
    with errors_as_messages():
        if best is not None and (trial is not None or refit):
            other = "--refit" if refit else "--trial"
            raise typer.BadParameter(
                f"--best averages models of several trials as they were trained, and {other} asks "
                "for one; give one of the two"
            )
        from sweeps.cli.modelling import save_ensemble, save_model

        if best is not None:
            said = save_ensemble(store, out, best, spec=spec)
        else:
            said = save_model(store, out, trial, refit=refit, spec=spec)
        if json:
            typer.echo(dumps(said.facts))
        else:
            _print_lines(Console(highlight=False), said.lines)


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
    """Predict the rows of a table by a saved model, or by several that are averaged.

    The answer has a line for each row, counted from 0: what is predicted, and the probability of
    each class; of several models of numbers, the tenth and ninetieth percentile of what they say.
    Columns are found by their names; a column of what is predicted may be there, and is
    only compared with. Categories that the model was not trained with are none of those it
    knows, and are named.
    """
    with errors_as_messages():
        if model.suffix != ".safetensors":
            raise typer.BadParameter(
                f"a model is a .safetensors file that fastopt model wrote; got {str(model)!r}"
            )
        from sweeps.cli.modelling import predict_rows

        said = predict_rows(model, table, out, shown=json)
        if json:
            typer.echo(dumps(said.facts))
        else:
            _print_lines(Console(highlight=False, stderr=out is None), said.lines)


def _print_lines(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
