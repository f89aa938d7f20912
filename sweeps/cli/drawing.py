"""What ``fastopt plot`` and ``fastopt report`` do."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastopt.errors import SpecError, SweepWarning
from sweeps.analysis.export import draft_of
from sweeps.cli.stored import COPY, open_with_spec
from sweeps.common.names import check_choice
from sweeps.plots import PLOTS
from sweeps.plots.style import matplotlib
from sweeps.results import SweepResult


def draw(result: Path, kind: str, out: Path, options: dict[str, Any], dpi: int) -> None:
    """Draw a saved result to a file; options that are None were not given."""
    check_choice("kind", kind, list(PLOTS))
    given = _options_for(kind, PLOTS[kind], options)
    matplotlib().use("agg")
    drawn: Any = PLOTS[kind](SweepResult.open(result), **given)
    axes = drawn.flat[0] if hasattr(drawn, "flat") else drawn
    with draft_of(out) as draft:
        axes.get_figure(root=True).savefig(draft, dpi=dpi, format=out.suffix[1:])


def open_result(path: Path) -> SweepResult:
    """Open a result, one that knows its problem if it is a store whose spec and data are there."""
    if (path / COPY).is_file():
        try:
            return open_with_spec(path)[0]
        except SpecError as error:
            warnings.warn(
                f"{error}\nSo the report does not show what the best model predicts",
                SweepWarning,
                stacklevel=2,
            )
    return SweepResult.open(path)


def _options_for(kind: str, function: Callable, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given, if this kind of picture has them all."""
    known = [name for name in options if name in inspect.signature(function).parameters]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            allowed = ", ".join(f"--{name}" for name in known) or "none of these options"
            raise SpecError(f"{kind} has no --{name}; it takes {allowed}")
    return given
