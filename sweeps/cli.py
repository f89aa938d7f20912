"""The command line: run a sweep from a TOML file, look at the machine, list what there is.

Everything heavy is imported inside the commands, so that ``fastopt --help`` answers at once.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["app", "main"]

USAGE_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

app = typer.Typer(
    name="fastopt",
    help="Hyperparameter sweeps whose trials are whole training runs inside compiled kernels.",
    epilog="Example: [bold]fastopt sweep examples/digits.toml --out digits.parquet[/bold]",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)


def main() -> None:
    """Run the ``fastopt`` command."""
    app()


def _jobs(value: int | None) -> int | None:
    if value is not None and value != -1 and value < 1:
        raise typer.BadParameter(f"a number of threads >= 1, or -1 for all cores; got {value}")
    return value


def _out(path: Path | None) -> Path | None:
    """Refuse, before hours of work, a file that cannot be written after them."""
    if path is None:
        return None
    from sweeps.results import SUFFIXES

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
    "[bold]fastopt sweep examples/digits.toml --out digits.parquet --jobs 2[/bold]"
)
def sweep(
    spec: Annotated[Path, typer.Argument(help="TOML file that describes the sweep.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Save all trials to FILE.parquet or FILE.csv.", callback=_out),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Threads to use; all cores by default.", callback=_jobs)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how much work the sweep is.")
    ] = False,
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="Show no progress bar.")
    ] = False,
) -> None:
    """Run the sweep that a TOML file describes, and show its best trials.

    Exit status: 0 finished, 2 wrong usage or spec, 130 interrupted (what is finished by then is
    shown and saved all the same).
    """
    with _messages():
        from rich.console import Console

        from sweeps import run, summary
        from sweeps.spec import read_spec

        console = Console()
        checked = read_spec(spec)
        threads = {} if jobs is None else {"n_jobs": jobs}
        if dry_run:
            console.print(summary.planned(checked.call(run.plan, **threads)))
            return
        result = checked.call(run.sweep, **threads, progress=not no_progress)
        console.print(summary.finished(result))
        if out is not None:
            console.print(f"Saved {len(result):,} trials to {result.save(out)}", soft_wrap=True)
    if result.info["interrupted"]:
        raise typer.Exit(INTERRUPTED)


@app.command()
def doctor() -> None:
    """Show the facts about this machine and installation that speed and results depend on."""
    with _messages():
        from rich.console import Console

        from fastopt.doctor import facts
        from sweeps import summary

        Console().print(summary.pairs("This machine", facts()))


@app.command("list")
def list_() -> None:
    """List the optimizers, hyperparameters, schedules and problems that a spec can name."""
    with _messages():
        from rich.console import Console

        from sweeps import summary

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

    from fastopt.errors import CacheWarning, FastoptError, SweepWarning

    console = Console(stderr=True)
    try:
        with warnings.catch_warnings():
            for category in (SweepWarning, CacheWarning):
                warnings.simplefilter("always", category)
            warnings.showwarning = _shower(console, warnings.showwarning)
            yield
    except FastoptError as error:
        _say(console, "error", "red", error)
        raise typer.Exit(USAGE_ERROR) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        _say(console, "error", "red", error)
        raise typer.Exit(1) from None


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
