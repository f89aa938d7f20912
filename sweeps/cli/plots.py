"""The commands that show saved results: ``fastopt plot`` and ``fastopt report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweeps.cli.options import PICTURES, file_to_write
from sweeps.common.terminal import errors_as_messages

commands = typer.Typer(rich_markup_mode="rich")


def _kinds() -> list[str]:
    from sweeps.plots import PLOTS

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
        typer.Option(
            "--out",
            "-o",
            help="The picture: .png, .svg or .pdf.",
            callback=file_to_write(*PICTURES),
        ),
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
        from sweeps.cli.drawing import draw

        given = {"x": x, "y": y, "by": by, "facet": facet, "metric": metric, "over": over}
        draw(result, kind, out, {**given, "band": band}, dpi)
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
    """Write one HTML file that shows a saved result: charts, best trials, diagnosis, provenance.

    Of a store whose spec and data are there, also what the best model predicts, trained once more.
    """
    with errors_as_messages():
        from sweeps.cli.drawing import open_result

        page = out or Path(f"{result.absolute().stem}.html")
        _print_path(open_result(result).report(page, title=title))


def _print_path(path: Path) -> None:
    size = path.stat().st_size
    Console().print(f"Wrote {path} ({size / 1e3:,.0f} kB)", soft_wrap=True, highlight=False)
