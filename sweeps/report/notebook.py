"""What a notebook shows for a result: its outcome, the best trials or settings, a small heatmap."""

from __future__ import annotations

import base64
import io
from html import escape
from importlib.util import find_spec
from typing import Any

from fastopt.errors import SpecError
from sweeps.analysis.folds import best_setting, over_folds
from sweeps.analysis.table import Table
from sweeps.plots.grids import heatmap

_FOUR = "{:.4g}".format
MOST = 2_000_000  # trials of which a notebook draws a picture unasked: it takes two seconds


def cell(result: Table) -> str:
    """Return the HTML of a result; everything in it that a user wrote is escaped.

    >>> import numpy as np
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(1), "note": np.array(["<b>"], object),
    ...            "state": np.zeros(1, int), "loss": np.ones(1)}
    >>> html = cell(SweepResult(columns, None, "loss", "min", {}))
    >>> "<b>" in html, "&lt;b&gt;" in html
    (False, True)
    """
    found = best_setting(result)
    if found:
        best = over_folds(result, axis=found.over, metrics=[result.metric]).head(10)
    else:
        best = result.best(10).dropna(axis="columns", how="all")
    table = best.to_html(index=False, border=0, float_format=_FOUR)
    parts = [
        f"<pre>{escape(repr(result))}</pre>",
        '<div style="display:flex;flex-wrap:wrap;gap:1.5em;align-items:flex-start">',
        f'<div style="overflow-x:auto">{table}</div>',
        _picture(result),
        "</div>",
    ]
    return "\n".join(part for part in parts if part)


def _picture(result: Table) -> str:
    if find_spec("matplotlib") is None or not 0 < len(result) <= MOST:
        return ""
    from matplotlib.figure import Figure

    # A figure of its own, unknown to pyplot: a notebook would show that one a second time.
    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    try:
        ax: Any = heatmap(result, ax=figure.subplots())
    except SpecError:  # fewer than two axes vary
        return ""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80)
    data = base64.b64encode(file.getvalue()).decode()
    alt = f"{result.metric} over {ax.get_xlabel()} and {ax.get_ylabel()}"
    return f'<img alt="{escape(alt, quote=True)}" src="data:image/png;base64,{data}">'
