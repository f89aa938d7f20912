"""The command line: run a sweep from a TOML file, look at the machine, list what there is.

Everything heavy is imported inside the commands, so that ``fastopt --help`` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps.cli import plots as cli_plots
from sweeps.cli import tools as cli_tools

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["app", "main"]

USAGE_ERROR = 2
FAILURES = 3

app = typer.Typer(
    name="fastopt",
    help="Hyperparameter sweeps whose trials are whole training runs inside compiled kernels.",
    epilog="Example: [bold]fastopt sweep examples/digits.toml --out digits.parquet[/bold]",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)
app.add_typer(cli_plots.commands)
app.add_typer(cli_tools.commands)


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


def _out(path: Path | None) -> Path | None:
    """Refuse, before hours of work, a file that cannot be written after them."""
    if path is None:
        return None
    from fastopt.errors import StoreError
    from sweeps.common.resources import check_path
    from sweeps.results import SUFFIXES

    try:
        check_path(path)
    except StoreError as error:
        raise typer.BadParameter(str(error)) from None
    folder = path.absolute().parent
    if path.suffix not in SUFFIXES:
        raise typer.BadParameter(f"must end in {' or '.join(SUFFIXES)}; got {str(path)!r}")
    if path.is_dir():
        raise typer.BadParameter(f"{str(path)!r} is a folder; name a file in it")
    if not folder.is_dir():
        raise typer.BadParameter(f"there is no folder {str(folder)!r}; create it first")
    if not os.access(folder, os.W_OK):
        raise typer.BadParameter(f"the folder {str(folder)!r} is not writable")
    return path


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
        typer.Option(help="Save all trials to FILE.parquet or FILE.csv.", callback=_out),
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
    from sweeps.common.interrupt import INTERRUPTED, interruptible

    with _messages(), interruptible():
        from rich.console import Console

        from sweeps import run
        from sweeps.cli import tables as summary
        from sweeps.cli.spec import read_spec

        console = Console()
        checked = read_spec(spec)
        given = {"n_jobs": jobs, "executor": executor, "shard": shard, "store": store}
        where = {name: value for name, value in given.items() if value is not None}
        if dry_run:
            console.print(summary.planned(checked.call(run.plan, **where)))
            return
        try:
            result = checked.call(run.sweep, **where, progress=not no_progress)
        except KeyboardInterrupt:  # before the first chunk, or after the last
            _say_how_to_go_on(store)
            raise
        console.print(summary.finished(result))
        if out is not None:
            console.print(f"Saved {len(result):,} trials to {result.save(out)}", soft_wrap=True)
        if result.info["interrupted"]:
            _say_how_to_go_on(store)
            raise typer.Exit(INTERRUPTED)
        if result.counts["FAILED"]:
            raise typer.Exit(FAILURES)


def _say_how_to_go_on(store: Path | None) -> None:
    from rich.console import Console

    from sweeps.common.interrupt import command

    if store is not None:
        Console(stderr=True).print("To go on:", highlight=False)
        Console(stderr=True).print(command(), markup=False, highlight=False, soft_wrap=True)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Store = Annotated[Path, typer.Argument(help="Folder that was given as --store.")]


@app.command(
    epilog="Example: [bold]fastopt status runs/digits[/bold]", rich_help_panel="Run and keep"
)
def status(
    store: Store,
    json: Json = False,
) -> None:
    """Show how far a stored sweep is; it may be running."""
    with _messages():
        from rich.console import Console

        from sweeps.cli import tables as summary
        from sweeps.store.status import status as status_of

        facts = status_of(store)
        if json:
            Console().print_json(data=facts, ensure_ascii=True)
        else:
            Console().print(summary.stored(facts))


@app.command(
    epilog="Example: [bold]fastopt export runs/digits digits.parquet[/bold]",
    rich_help_panel="Run and keep",
)
def export(
    store: Store,
    out: Annotated[Path, typer.Argument(help="FILE.parquet or FILE.csv.", callback=_out)],
) -> None:
    """Write the finished trials of a stored sweep to one file, of any size, in little memory."""
    with _messages():
        from rich.console import Console

        from sweeps.results import SweepResult

        result = SweepResult.open(store)
        Console().print(f"Saved {len(result):,} trials to {result.save(out)}", soft_wrap=True)


@app.command(
    epilog="Example: [bold]fastopt compact runs/digits[/bold]", rich_help_panel="Run and keep"
)
def compact(store: Store) -> None:
    """Put the many small files of a stored sweep together, while nobody reads it."""
    with _messages():
        from rich.console import Console

        from sweeps.cli import tables as summary
        from sweeps.store.compact import compact as put_together

        done = put_together(store)
        Console().print(
            f"{done.parts_before:,} parts of {summary.memory(done.bytes_before)} became "
            f"{done.parts_after:,} of {summary.memory(done.bytes_after)}"
        )


@app.command(epilog="Example: [bold]fastopt doctor --json[/bold]", rich_help_panel="Check")
def doctor(json: Json = False) -> None:
    """Show the facts about this machine and installation that speed and results depend on."""
    with _messages():
        from rich.console import Console

        from fastopt.doctor import facts
        from sweeps.cli import tables as summary

        if json:
            Console().print_json(data=facts(), ensure_ascii=True)
        else:
            Console().print(summary.pairs("This machine", facts()))


@app.command(
    epilog="Examples:\n\n"
    "[bold]fastopt study --list[/bold]\n\n"
    "[bold]fastopt study shootout --out figures[/bold]\n\n"
    "[bold]fastopt study --all --full --out gallery[/bold]",
    rich_help_panel="Check",
)
def study(
    names: Annotated[
        list[str] | None, typer.Argument(help="Studies by name, or scripts of your own.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for figures and a page studies.md of all tables.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="At the size of the publication: minutes, not seconds.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Run all studies.")] = False,
    list_them: Annotated[bool, typer.Option("--list", help="List the studies.")] = False,
) -> None:
    """Run classic experiments, and check their figures against the published ones.

    Exit status: 0 all figures agree, 1 some do not, 2 wrong usage.
    """
    with _messages():
        from rich.console import Console

        from sweeps.cli import tables as summary
        from sweeps.studies import gallery as studies

        console = Console()
        if list_them:
            console.print(summary.studies(studies.titles()))
            return
        chosen = [str(studies.find(name)) for name in (studies.names() if every else names or ())]
        if not chosen:
            raise typer.BadParameter("name a study, or say --all or --list")
        results = []
        for path in chosen:
            results.append(studies.run(path, full=full))
            console.print(summary.study(results[-1]))
            if out is not None:
                studies.write(results, out)
    if not all(found.passed for found in results):
        raise typer.Exit(1)


@app.command("list", epilog="Example: [bold]fastopt list --json[/bold]", rich_help_panel="Start")
def list_(json: Json = False) -> None:
    """List the optimizers, hyperparameters, schedules and problems that a spec can name."""
    with _messages():
        from rich.console import Console

        from sweeps.cli import tables as summary

        if json:
            Console().print_json(data=summary.names(), ensure_ascii=True)
            return
        tables = (
            summary.optimizers(),
            summary.hyperparameters(),
            summary.schedules(),
            summary.problems(),
        )
        Console().print(*tables, sep="\n")


@contextmanager
def _messages() -> Iterator[None]:
    """Turn our own errors and warnings into one readable message each on stderr."""
    from rich.console import Console

    from fastopt.errors import (
        CacheWarning,
        ExecutorError,
        FastoptError,
        StoreError,
        SweepWarning,
    )
    from sweeps.common.interrupt import INTERRUPTED

    console = Console(stderr=True)
    try:
        with warnings.catch_warnings():
            for category in (SweepWarning, CacheWarning):
                warnings.simplefilter("always", category)
            warnings.showwarning = _shower(console, warnings.showwarning)
            yield
    except ImportError as error:
        if "fastopt[" not in str(error):
            raise
        _say(console, "error", "red", error)
        raise typer.Exit(USAGE_ERROR) from None
    except (FastoptError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        _say(console, "error", "red", error)
        outside = isinstance(error, StoreError | ExecutorError | OSError)
        raise typer.Exit(1 if outside else USAGE_ERROR) from None
    except KeyboardInterrupt:
        _say(console, "interrupted", "yellow", "nothing more was written")
        raise typer.Exit(INTERRUPTED) from None


def _shower(console: Console, usual: Any) -> Any:
    from fastopt.errors import CacheWarning, SweepWarning

    def show(message: Any, category: Any, *where: Any, **more: Any) -> None:
        if issubclass(category, SweepWarning | CacheWarning):
            _say(console, "warning", "yellow", message)
        else:
            usual(message, category, *where, **more)

    return show


def _say(console: Console, what: str, colour: str, message: object) -> None:
    # Messages hold [brackets] of their own, and a path must survive copying: no wrapping.
    console.print(f"[{colour}]{what}:[/{colour}]", end=" ")
    console.print(str(message), markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
