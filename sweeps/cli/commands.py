"""The command line: run a sweep from a TOML file, look at the machine, list what there is.

What a command does is imported when it is called: ``fastopt --help`` waits for nothing but typer.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweeps.cli import cache as cli_cache
from sweeps.cli import models as cli_models
from sweeps.cli import plots as cli_plots
from sweeps.cli import tools as cli_tools
from sweeps.cli.options import Json, Store, file_to_write
from sweeps.common.interrupt import interruptible
from sweeps.common.resources import format_bytes
from sweeps.common.terminal import errors_as_messages, pair_table
from sweeps.studies import command as study_command

_writable = file_to_write(".parquet", ".csv")

app = typer.Typer(
    name="fastopt",
    help="Hyperparameter sweeps whose trials are whole training runs inside compiled kernels.",
    epilog="Example: [bold]fastopt sweep examples/digits.toml --out digits.parquet[/bold]",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)
app.add_typer(cli_models.commands)
app.add_typer(cli_plots.commands)
app.add_typer(cli_tools.commands)
app.add_typer(study_command.commands)
app.add_typer(cli_cache.commands, rich_help_panel="Check")


def main() -> None:
    """Run the ``fastopt`` command."""
    # A terminal may not know a character of a path or name; that is no reason to lose a result.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()


def _jobs(value: int | None) -> int | None:
    if value is not None and value != -1 and value < 1:
        raise typer.BadParameter(f"a number of threads >= 1, or -1 for all cores; got {value}")
    return value


@app.command(
    epilog="Examples:\n\n"
    "[bold]fastopt sweep examples/digits.toml[/bold]\n\n"
    "[bold]fastopt sweep examples/digits.toml --dry-run[/bold]\n\n"
    "[bold]fastopt sweep examples/digits.toml --out digits.parquet --jobs 2[/bold]\n\n"
    "[bold]fastopt sweep examples/digits.toml --store runs/digits[/bold]\n\n"
    "[bold]fastopt sweep examples/digits.toml --store runs/digits --shard 0/8[/bold]",
    rich_help_panel="Run and keep",
)
def sweep(
    spec: Annotated[Path, typer.Argument(help="TOML file that describes the sweep.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Save all trials to FILE.parquet or FILE.csv.", callback=_writable
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Folder to keep the sweep in; the same command again goes on with it."),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(
            help="Where to run: threads, processes, loky, or the address of a dask scheduler."
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="I/N: run part I of N, counted from 0; all parts share the store."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Workers to use; all cores by default.", callback=_jobs)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how much work the sweep is.")
    ] = False,
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="Show no progress bar.")
    ] = False,
) -> None:
    """Run the sweep that a TOML file describes, and show its best trials.

    Exit status: 0 finished, 2 wrong usage or spec, 3 finished but for trials that FAILED, 130
    interrupted (what is finished by then is shown and saved all the same).
    """
    with errors_as_messages(), interruptible():
        from sweeps.cli.sweeping import run_spec

        given = {"n_jobs": jobs, "executor": executor, "shard": shard, "store": store}
        where = {name: value for name, value in given.items() if value is not None}
        status = run_spec(spec, out, where, dry_run=dry_run, progress=not no_progress)
        if status:
            raise typer.Exit(status)


@app.command(
    epilog="Example: [bold]fastopt status runs/digits[/bold]", rich_help_panel="Run and keep"
)
def status(store: Store, json: Json = False) -> None:
    """Show how far a stored sweep is; it may be running."""
    with errors_as_messages():
        from sweeps.cli.facts import status_table
        from sweeps.store.status import status as status_of

        facts = status_of(store)
        if json:
            Console().print_json(data=facts, ensure_ascii=True)
        else:
            Console().print(status_table(facts))


@app.command(
    epilog="Example: [bold]fastopt export runs/digits digits.parquet[/bold]",
    rich_help_panel="Run and keep",
)
def export(
    store: Store,
    out: Annotated[Path, typer.Argument(help="FILE.parquet or FILE.csv.", callback=_writable)],
) -> None:
    """Write the finished trials of a stored sweep to one file, of any size, in little memory."""
    with errors_as_messages():
        from sweeps.results import SweepResult

        result = SweepResult.open(store)
        Console().print(f"Saved {len(result):,} trials to {result.save(out)}", soft_wrap=True)


@app.command(
    epilog="Example: [bold]fastopt compact runs/digits[/bold]", rich_help_panel="Run and keep"
)
def compact(store: Store) -> None:
    """Put the many small files of a stored sweep together, while nobody reads it."""
    with errors_as_messages():
        from sweeps.store.compact import compact as put_together

        done = put_together(store)
        Console().print(
            f"{done.parts_before:,} parts of {format_bytes(done.bytes_before)} became "
            f"{done.parts_after:,} of {format_bytes(done.bytes_after)}"
        )


@app.command(epilog="Example: [bold]fastopt doctor --json[/bold]", rich_help_panel="Check")
def doctor(json: Json = False) -> None:
    """Show the facts about this machine and installation that speed and results depend on."""
    with errors_as_messages():
        from fastopt.doctor import facts as facts_of_machine

        if json:
            Console().print_json(data=facts_of_machine(), ensure_ascii=True)
        else:
            Console().print(pair_table("This machine", facts_of_machine()))


@app.command("list", epilog="Example: [bold]fastopt list --json[/bold]", rich_help_panel="Start")
def list_(json: Json = False) -> None:
    """List the optimizers, hyperparameters, schedules and problems that a spec can name."""
    with errors_as_messages():
        from sweeps.cli import facts

        if json:
            Console().print_json(data=facts.names(), ensure_ascii=True)
            return
        tables = (
            facts.optimizers(), facts.hyperparameters(), facts.schedules(), facts.problems()
        )  # fmt: skip
        Console().print(*tables, sep="\n")


if __name__ == "__main__":
    main()
