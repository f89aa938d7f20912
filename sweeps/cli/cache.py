"""The commands ``fastopt cache``: look at the cache of compiled code, empty it, fill it ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweeps.cli.options import Json
from sweeps.common.interrupt import interruptible
from sweeps.common.resources import format_bytes
from sweeps.common.terminal import errors_as_messages, pair_table

commands = typer.Typer(
    name="cache",
    help="Look at the cache of compiled code, empty it, or compile ahead.",
    rich_markup_mode="rich",
    no_args_is_help=True,
)


@commands.command(epilog="Example: [bold]fastopt cache info --json[/bold]")
def info(json: Json = False) -> None:
    """Show where compiled code is kept, how much of it, and since when."""
    with errors_as_messages():
        from sweeps.cli.caching import cache_or_error, facts_of_cache

        facts = facts_of_cache(cache_or_error())
        if json:
            Console().print_json(data=facts, ensure_ascii=True)
            return
        size = format_bytes(facts.pop("bytes"))
        shown = {k: f"{v:,}" if isinstance(v, int) else str(v) for k, v in facts.items()}
        Console().print(pair_table("Cache of compiled code", {**shown, "size": size}))


@commands.command(epilog="Example: [bold]fastopt cache clear[/bold]")
def clear() -> None:
    """Delete what is in the cache; what is needed is compiled again.

    Only files that fastopt has written go, whoever named the folder; programs that run go on.
    """
    with errors_as_messages():
        from sweeps.cli.caching import clear_cache

        typer.echo(clear_cache())


@commands.command(
    epilog="Examples:\n\n"
    "[bold]fastopt cache warm examples/digits.toml[/bold]\n\n"
    "[bold]fastopt cache warm --problem digits --problem rosenbrock --optimizer all[/bold]\n\n"
    "[bold]fastopt cache warm --optimizer adamw[/bold]"
)
def warm(
    specs: Annotated[
        list[Path] | None, typer.Argument(help="Specs whose sweeps will run: FILE.toml.")
    ] = None,
    problem: Annotated[
        list[str] | None,
        typer.Option(help="Problems of `fastopt list`, with their default options; or all."),
    ] = None,
    optimizer: Annotated[
        list[str] | None,
        typer.Option(
            help="Optimizers of `fastopt list`: their steps, and on the problems; or all."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes to use; -1 is one a core.")] = -1,
) -> None:
    """Compile ahead, on all cores, what sweeps and optimizers will need: for images and clusters.

    A problem without --optimizer is compiled with adam.
    """
    with errors_as_messages(), interruptible():
        if not (specs or problem or optimizer):
            raise typer.BadParameter("name a spec, or say --problem or --optimizer (NAME or all)")
        from sweeps.cli.caching import compile_ahead

        typer.echo(compile_ahead(specs or (), problem or (), optimizer or (), jobs))
