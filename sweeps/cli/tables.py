"""The tables that the command line prints of what has run or is to run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table

from sweeps.analysis.folds import in_words, repeats_of
from sweeps.common.resources import format_bytes
from sweeps.common.terminal import pair_table, table
from sweeps.common.text import format_duration, format_number
from sweeps.problems.target_units import units_in_words
from sweeps.pruned import PrunedResult
from sweeps.report.facts import shown_of
from sweeps.results import SweepResult

BEST = 10
MOST_COLUMNS = 9
"""Of a table of settings, which fits in a terminal of 80 then, numbers and words whole."""


def result_tables(result: SweepResult, folds: int = 0) -> Group:
    """Show the outcome of a sweep: its best trials, counts, speed and hints.

    ``folds``: how many folds there are, if it was not asked that all trials run on each; else 0.
    """
    info = result.info
    rate = f"; {info['trials_per_second']:,.4g} trials/s" * (info["trials_per_second"] > 0)
    states = ", ".join(f"{n:,} {state}" for state, n in result.counts.items() if n) or "none"
    lines = [
        f"{len(result):,} of {info['n_trials']:,} trials finished: {states}",
        f"{format_duration(info['seconds'])} in all, "
        f"{format_duration(info['compile_seconds'])} of it {_compiled(info)}{rate}",
    ]
    if isinstance(result, PrunedResult):
        lines.append(f"{info['pruner']}: {result.share_of_steps_:.1%} of full-length steps")
    if "store" in info:
        reused = f", where {info['reused']:,} of them were already" if info["reused"] else ""
        lines.append(f"Stored in {info['store']}{reused}.")
    units = units_in_words(getattr(result.plan, "problem", None))
    lines += filter(None, (edge_message(result), units))
    if folds:
        lines.append(
            f"Each configuration was trained on all {folds} folds: no axis is called fold."
        )
    if info["interrupted"]:
        lines.append("Interrupted: the other trials did not run.")
    over = repeats_of(result)
    best = _best_settings(result, over) if over else _best(result)
    return Group(best, *lines)


def estimate_table(estimate: Any, folds: int = 0) -> Table:
    """Show the estimate of a sweep, from :func:`sweeps.estimate`; ``folds`` as above."""
    return pair_table(
        "Dry run",
        {
            "trials": f"{estimate.n_trials:,}",
            **({"folds": f"{folds}, all of them for each configuration"} if folds else {}),
            "training steps": f"{estimate.n_steps:,}",
            "time, about": f"{format_duration(estimate.seconds)} (plus compiling, the first time)",
            "memory of data and models": format_bytes(estimate.training),
            "memory of the results": format_bytes(estimate.bytes),
            "or disk in a store, about": f"{format_bytes(estimate.disk)} in "
            f"{estimate.n_chunks:,} parts",
        },
    )


def _compiled(info: Mapping[str, Any]) -> str:
    """Say what was compiled; what is on disk is loaded, which takes its time, too."""
    n = info.get("compiled", 0)
    return f"compiling {n} function{'s' * (n != 1)}" if n else "loading compiled code"


def bench_tables(frame: Any, rate: float) -> Group:
    """Lay out :func:`sweeps.cli.bench.time_steps`, and trainings a second."""
    header = [name for name in frame.columns if name != "seconds"]
    header.insert(1, "ours")
    rows = (
        [f"{row['elements']:,}", f"{1e6 * row['seconds']:,.4g} us"]
        + [f"{row[name]:.3g}" for name in header[2:]]
        for row in frame.to_dict("records")
    )
    sizes = table("AdamW, float32, one step", header, rows)
    return Group(sizes, f"Digits 64-32-10, 5 epochs, batch 32: {rate:,.0f} trainings/s")


def edge_message(result: SweepResult) -> str:
    """Say which axes have their best value at the end of the grid: :meth:`SweepResult.edges`."""
    edges = result.edges()
    if edges.empty:
        return ""
    shown = ", ".join(
        f"{name} = {format_number(v)}" for name, v in zip(edges["axis"], edges["value"])
    )
    return f"At the edge of the grid: {shown}; better values may lie beyond."


def _best(result: SweepResult) -> Table:
    frame = result.best(BEST)[["trial_id", *result.axes, *shown_of(result)]]
    frame = frame.dropna(axis="columns", how="all")
    direction = "smallest" if result.mode == "min" else "largest"
    title = f"Best trials, {direction} {result.metric} first"
    rows = ([format_number(cell) for cell in row] for row in frame.itertuples(index=False))
    # One word a line: ten columns fit in a terminal of 80.
    return table(title, [name.replace("_", "\n") for name in frame.columns], rows, gap=0)


def _best_settings(result: SweepResult, over: list[str]) -> Table:
    """Lay out the settings that are best on average, and how far their folds and seeds differ."""
    own, axes = result.metric, [name for name in result.axes if name not in over]
    metrics = [name for name in shown_of(result) if name != own]
    # Rows that choose say more than those that are trained on.
    metrics = sorted(metrics, key=lambda name: not name.startswith("val_"))
    metrics = metrics[: max(MOST_COLUMNS - len(axes) - 4, 0)]
    summary = result.over_folds(axis=over, metrics=metrics).head(BEST)
    columns = {name: summary[name] for name in axes}
    columns |= {own: summary[f"mean_{own}"], "standard_error": summary[f"se_{own}"]}
    columns |= {name: summary[f"mean_{name}"] for name in metrics}
    columns |= {
        "trials" if over[1:] else f"{over[0]}s": summary[f"n_{own}"],
        "within_one_error": summary["within_one_se"],
    }
    columns = {name: cells for name, cells in columns.items() if not cells.isna().all()}
    rows = ([_cell(c) for c in row] for row in zip(*(c.tolist() for c in columns.values())))
    direction = "smallest" if result.mode == "min" else "largest"
    title = f"Best over {in_words(over)}, {direction} mean {own} first"
    return table(title, [name.replace("_", "\n") for name in columns], rows, gap=0)


def _cell(cell: Any) -> str:
    return {True: "yes", False: "no"}[cell] if isinstance(cell, bool) else format_number(cell)
