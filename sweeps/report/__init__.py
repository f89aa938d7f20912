"""One HTML file that shows a whole sweep: ``result.report("out.html")``.

It needs no network: plotly.js travels inside, compressed, and so do the numbers, counted into cells
beforehand. Needs plotly and Jinja: ``pip install "fastopt[report]"``.
Imports common, problems, engine, analysis, plots and models.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import os
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from sweeps.analysis.export import draft_of
from sweeps.analysis.files import provenance
from sweeps.analysis.table import Table
from sweeps.report import charts, facts, judged

__all__ = ["report"]

MISSING = 'a report needs plotly and Jinja: pip install "fastopt[report]"'


def report(result: Table, path: str | os.PathLike[str], *, title: str | None = None) -> Path:
    """Write a report: one HTML file that can be sent by mail and opens anywhere.

    Parameters
    ----------
    path : str or path-like
        The file; what was there before is replaced when the report is complete.
    title : str, optional
        The name of the problem by default.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ImportError
        plotly or Jinja is not installed.
    OSError
        The file cannot be written.

    Notes
    -----
    The report holds a summary, a diagnosis (edges of the grid, divergence, seeds that disagree), a
    heatmap of any two axes, the best configurations (over folds, over seeds) and trials, what the
    best one predicts on rows that did not train it (a confusion matrix and calibration, or
    residuals; its trials run once more for that, where the result knows its problem), the
    sensitivity to each axis, parallel coordinates, learning curves if they were recorded, the
    importance of axes, and where it all comes from.
    It is about 2 MB: what charts show is counted into cells, so ten million trials take no more
    room than a thousand.

    Examples
    --------
    >>> import tempfile
    >>> from sweeps import problems, sweep
    >>> result = sweep(problems.ellipse(), {"lr": [0.1, 0.01]}, optimizer="adam", steps=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = result.report(Path(folder, "bowl.html")).read_text()
    >>> page[:15], "<title>ellipse</title>" in page
    ('<!DOCTYPE html>', True)
    """
    path = Path(path)
    page = _page(result, title)
    with draft_of(path) as draft:
        draft.write_text(page, encoding="utf-8")
    return path


def _page(result: Table, title: str | None) -> str:
    try:
        import plotly.offline  # noqa: F401
        from jinja2 import Environment
        from markupsafe import Markup
    except ImportError as error:
        raise ImportError(MISSING) from error
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    data = charts.data(result)
    found = judged.judged(result)
    if found is not None:
        data |= {
            "calibration": judged.calibration(found), "residuals": judged.residuals(found),
        }  # fmt: skip
    return environment.from_string(_text("page.html")).render(
        title=title or str(result.info.get("problem", "Sweep")),
        metric=result.metric,
        mode=result.mode,
        summary=facts.summary(result),
        lead=facts.lead(result),
        rows=judged.rows_in_words(result),
        best=facts.best(result),
        judged=found,
        confusion=None if found is None else judged.confusion(found),
        calibration=data.get("calibration"),
        residuals=data.get("residuals"),
        remarks=facts.diagnosis(result),
        provenance=provenance(result),
        charts={name for name, chart in data.items() if chart},
        importance=data["importance"],
        # Our own files, and base64: neither holds anything that a user wrote.
        style=Markup(_text("page.css")),
        script=Markup(_text("page.js")),
        plotly=Markup(_packed_plotly()),
        data=Markup(_packed(json.dumps(data, separators=(",", ":")))),
    )


def _text(name: str) -> str:
    return resources("sweeps.report").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _packed_plotly() -> str:
    from plotly.offline import get_plotlyjs

    return _packed(get_plotlyjs())


def _packed(text: str) -> str:
    """Compress text: plotly.js shrinks from 4.8 MB to 2 MB, and browsers unpack it in 0.1 s."""
    # Without a time stamp, equal results make equal reports.
    packed: Any = gzip.compress(text.encode(), 9, mtime=0)
    return base64.b64encode(packed).decode()
