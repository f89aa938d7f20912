"""The commands for a start: ``fastopt init`` writes a spec, ``fastopt bench`` times a machine."""

from __future__ import annotations

import shlex
from json import dumps
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fastopt.errors import writable
from sweeps.cli.options import PICTURES, Json, file_to_write
from sweeps.common.terminal import errors_as_messages

commands = typer.Typer(rich_markup_mode="rich")

TEMPLATE = """\
# A sweep: every combination of the axes below is one training run.
#
#     fastopt sweep {name} --dry-run          # how many trials, how long, how much memory
#     fastopt sweep {name} --store runs/first # run it; the same command again goes on with it
#     fastopt report runs/first first.html    # look at it
#
# `fastopt list` prints all problems, optimizers, hyperparameters and schedules.

[problem]
name = "digits"    # iris, wine, moons, ...; test functions: rosenbrock, ackley, ...
hidden = [32]      # widths of the hidden layers; [] is a linear model
validation = 0.2   # share of the rows to choose by; the test rows judge what was chosen

[sweep]
epochs = 10        # or steps = 500
metric = "val_accuracy"
target = 0.95      # the frame says after how many steps it was reached
# schedule = "cosine"
# weight_decay = 1e-2   # any hyperparameter: here one value for all trials

[space]
optimizer = ["momentum", "adam"]
lr = {{ geomspace = [1e-3, 1.0, 13] }}
batch_size = [16, 64, 256]
seed = {{ range = 3 }}
# beta1 = [0.8, 0.9, 0.95]
"""
"""The spec that ``fastopt init`` writes, with the file's name left out."""


@commands.command(
    epilog="Examples:\n\n"
    "[bold]fastopt init first.toml[/bold]\n\n"
    "[bold]fastopt init --data wine.csv[/bold]\n\n"
    "[bold]fastopt init specs/wine.toml --data wine.csv --target quality[/bold]",
    rich_help_panel="Start",
)
def init(
    spec: Annotated[
        Path | None,
        typer.Argument(
            help="The file to write: FILE.toml; sweep.toml, or named after the data, if not given."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="A table to learn from: FILE.csv or FILE.parquet, which is looked at."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="The column to predict; the last one of the table if not given."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented spec to start from: of digits, or of a table of yours."""
    with errors_as_messages():
        if target is not None and data is None:
            raise typer.BadParameter("--target names a column of a table: give --data FILE.csv")
        spec = spec or Path(f"{data.stem if data else 'sweep'}.toml")
        if spec.suffix != ".toml":
            raise typer.BadParameter(f"a spec is a .toml file; got {str(spec)!r}")
        file_to_write(".toml")(spec)
        if spec.exists() and not force:
            raise typer.BadParameter(f"{str(spec)!r} is there already; --force replaces it")
        name = writable(str(spec))
        command = f"fastopt sweep {shlex.quote(name)}"
        if data is None:
            text = TEMPLATE.format(name=shlex.quote(name))
        else:
            from sweeps.cli.draft import draft_spec, store_of

            text = draft_spec(data, spec, target)
            command += f" --store {shlex.quote(store_of(spec))}"
        spec.write_text(text, encoding="utf-8")
    if data is not None:
        typer.echo(text.partition("\n")[0].removeprefix("# "))
    typer.echo(f"Wrote {name}. Run it: {command}")


@commands.command(
    epilog="Examples:\n\n[bold]fastopt bench --json[/bold]\n\n"
    "[bold]fastopt bench --history bench/history.jsonl -o trend.png[/bold]",
    rich_help_panel="Check",
)
def bench(
    file: Annotated[
        Path | None,
        typer.Argument(help="With --history: the file; bench/history.jsonl if not given."),
    ] = None,
    json: Json = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes, to see that it works.")
    ] = False,
    history: Annotated[
        bool,
        typer.Option("--history", help="Time nothing: show the stored ratios of run after run."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", callback=file_to_write(*PICTURES),
            help="With --history: the picture to draw, .png, .svg or .pdf.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Time steps of AdamW and a sweep on this machine, NumPy and torch alternating with them.

    Nothing else should run meanwhile. The full benchmarks are in the repository's folder bench.
    """
    if history and quick:
        raise typer.BadParameter("--history times nothing, so it takes no --quick")
    if not history and (file or out):
        given = f"--out {out}" if out else f"a file, {str(file)!r}"
        raise typer.BadParameter(f"only --history takes {given}; add --history")
    with errors_as_messages():
        if history:
            _show_history(file, out, json)
        else:
            _time_steps(json, quick)


def _time_steps(json: bool, quick: bool) -> None:
    from sweeps.cli import bench as measure
    from sweeps.cli.tables import bench_tables

    frame = measure.time_steps((1_000,), 1) if quick else measure.time_steps()
    rate = measure.trials_per_second(4 if quick else 256)
    if json:
        rows = frame.to_dict("records")
        typer.echo(dumps({"steps": rows, "trials_per_second": rate}, indent=1))
        return
    Console().print(bench_tables(frame, rate))


def _show_history(file: Path | None, out: Path | None, json: bool) -> None:
    from sweeps.cli import history

    runs = history.read_history(file)
    if out is not None:
        history.draw_history(runs, out)
        typer.echo(f"Wrote {out}")
    elif json:
        typer.echo(dumps({"runs": runs, "changes": history.changes(runs)}, indent=1))
    else:
        Console().print(history.history_tables(runs))
