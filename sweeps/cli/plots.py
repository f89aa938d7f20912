"""The commands that show saved results: ``fastopt plot`` and ``fastopt report``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fastopt.errors import SpecError
from sweeps.analysis.export import draft_of
from sweeps.analysis.stats import check_choice
from sweeps.cli.paths import file_to_write
from sweeps.common.terminal import errors_as_messages
from sweeps.plots import PLOTS
from sweeps.plots.style import matplotlib
from sweeps.results import SweepResult

__all__ = ["commands"]

PICTURES = (".png", ".svg", ".pdf")

commands = typer.Typer(rich_markup_mode="rich")


def _kinds() -> list[str]:
    return list(PLOTS)


Result = Annotated[
    Path, typer.Argument(help="Folder given as --store, or FILE.parquet given as --out.")
]


@commands.command(
    epilog="Examples:\n\n"
    "[bold]fastopt plot digits.parquet heatmap --x lr --y batch_size --out heatmap.png[/bold]\n\n"
    "[bold]fastopt plot digits.parquet sensitivity --x lr --by optimizer --out lr.svg[/bold]",
    rich_help_panel="Look",
)
def plot(
    result: Result,
    kind: Annotated[
        str,
        typer.Argument(
            help="heatmap, sensitivity, curves, steps_to_target, parallel_coordinates, importance "
            "or phase.",
            autocompletion=_kinds,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="The picture: .png, .svg or .pdf.", callback=file_to_write(*PICTURES)),
    ],
    x: Annotated[str | None, typer.Option(help="Axis of the sweep that goes across.")] = None,
    y: Annotated[str | None, typer.Option(help="Axis of the sweep that goes up.")] = None,
    by: Annotated[str | None, typer.Option(help="Axis with a line for each value.")] = None,
    facet: Annotated[str | None, typer.Option(help="Axis with a picture for each value.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What to show; what the sweep ranked by, if not given.")
    ] = None,
    over: Annotated[
        str | None, typer.Option(help="best, mean or worst of what shares a cell.")
    ] = None,
    band: Annotated[
        str | None, typer.Option(help="range, std or ci: spread over seeds around a line.")
    ] = None,
    dpi: Annotated[int, typer.Option(help="Dots an inch of a .png.", min=20, max=1200)] = 150,
) -> None:
    """Draw a saved result."""
    with errors_as_messages():
        check_choice("kind", kind, list(PLOTS))
        given = {"x": x, "y": y, "by": by, "facet": facet, "metric": metric, "over": over}
        options = _options_for(kind, PLOTS[kind], {**given, "band": band})
        matplotlib().use("agg")
        drawn: Any = PLOTS[kind](SweepResult.open(result), **options)
        axes = drawn.flat[0] if hasattr(drawn, "flat") else drawn
        with draft_of(out) as draft:
            axes.get_figure(root=True).savefig(draft, dpi=dpi, format=out.suffix[1:])
        _print_path(out)


@commands.command(
    epilog="Examples:\n\n"
    "[bold]fastopt report runs/digits[/bold]\n\n"
    "[bold]fastopt report digits.parquet report.html --title 'Handwritten digits'[/bold]",
    rich_help_panel="Look",
)
def report(
    result: Result,
    out: Annotated[
        Path | None,
        typer.Argument(
            help="The page: FILE.html; here, named after the result, if not given.",
            callback=file_to_write(".html", ".htm"),
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Headline; the problem's name if not given.")
    ] = None,
) -> None:
    """Write one HTML file that shows a saved result: charts, best trials, diagnosis, provenance."""
    with errors_as_messages():
        page = out or Path(f"{result.absolute().stem}.html")
        _print_path(SweepResult.open(result).report(page, title=title))


def _options_for(kind: str, function: Callable, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, if this kind of picture has them all."""
    known = [name for name in options if name in inspect.signature(function).parameters]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            allowed = ", ".join(f"--{name}" for name in known) or "none of these options"
            raise SpecError(f"{kind} has no --{name}; it takes {allowed}")
    return given


def _print_path(path: Path) -> None:
    size = path.stat().st_size
    Console().print(f"Wrote {path} ({size / 1e3:,.0f} kB)", soft_wrap=True, highlight=False)
