"""The command ``fastopt study``, which every script of a study is, too."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.markup import escape

from sweeps.common.terminal import errors_as_messages, table
from sweeps.common.text import format_duration, format_number

if TYPE_CHECKING:
    from sweeps.studies.findings import Findings

VERDICTS = {True: "[green]pass[/green]", False: "[bold red]FAIL[/bold red]"}

commands = typer.Typer(rich_markup_mode="rich", pretty_exceptions_show_locals=False)


@commands.command(
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
    with errors_as_messages():
        from sweeps.studies import gallery

        console = Console()
        if list_them:
            titles = ((name, escape(title)) for name, title in gallery.titles().items())
            console.print(table("Studies", ("study", "question"), titles))
            return
        chosen = [str(gallery.find(name)) for name in (gallery.names() if every else names or ())]
        if not chosen:
            raise typer.BadParameter("name a study, or say --all or --list")
        results = []
        for path in chosen:
            results.append(gallery.run(path, full=full))
            console.print(findings_tables(results[-1]))
            if out is not None:
                gallery.write(results, out)
    if not all(found.passed for found in results):
        raise typer.Exit(1)


def main(path: str) -> None:
    """Run the script of a study as the command ``fastopt study`` does, with its options.

    Parameters
    ----------
    path : str
        The script's ``__file__``.

    Examples
    --------
    The last two lines of a script::

        if __name__ == "__main__":
            main(__file__)

    >>> main("nowhere.py")
    Traceback (most recent call last):
    SystemExit: 2
    """
    commands([path, *sys.argv[1:]], prog_name="fastopt study")


def findings_tables(found: Findings) -> Group:
    """Lay out what a study found: its tables, and every figure beside the published one."""
    parts: list[Any] = [f"[bold]{found.name}[/bold]  {escape(found.title)}"]
    for title, frame in found.tables.items():
        rows = ([format_number(cell) for cell in row] for row in frame.itertuples(index=False))
        header = [str(name).replace("_", "\n") for name in frame.columns]
        parts.append(table(escape(title), header, rows))
    lines = (
        (*map(escape, (c.quantity, c.published, c.ours, c.tolerance)), VERDICTS[c.passed])
        for c in found.checks
    )
    parts.append(table("", ("quantity", "published", "ours", "tolerance", ""), lines))
    good = sum(check.passed for check in found.checks)
    parts.append(f"{good} of {len(found.checks)} agree; {format_duration(found.seconds)}\n")
    return Group(*parts)
