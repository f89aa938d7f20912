"""What ``fastopt sweep`` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from sweeps import run
from sweeps.cli import tables as summary
from sweeps.cli.spec import read_spec
from sweeps.cli.stored import keep_spec
from sweeps.common.interrupt import INTERRUPTED, command_line
from sweeps.running.shards import parse_shard
from sweeps.store import holds_sweep

FAILURES = 3


def run_spec(
    spec: Path, out: Path | None, where: dict[str, Any], *, dry_run: bool, progress: bool
) -> int:
    """Run the sweep of a spec and show its best trials; return the exit status.

    ``where``: ``store``, ``executor``, ``shard`` and ``n_jobs`` of :func:`sweeps.sweep`, as far as
    given.
    """
    console = Console()
    checked, store = read_spec(spec), where.get("store")
    if dry_run:
        console.print(summary.estimate_table(checked.call(run.estimate, **where), checked.folds))
        return 0
    if store is not None and not holds_sweep(store):  # whatever stops it, its spec is there
        parse_shard(where.get("shard"), store)
        checked.plan()
        keep_spec(spec, store)
    try:
        result = checked.call(run.sweep, **where, progress=progress)
    except KeyboardInterrupt:  # before the first chunk, or after the last
        _say_how_to_go_on(store)
        raise
    if store is not None:
        keep_spec(spec, store)
    console.print(summary.result_tables(result, checked.folds))
    if out is not None:
        console.print(f"Saved {len(result):,} trials to {result.save(out)}", soft_wrap=True)
    if result.info["interrupted"]:
        _say_how_to_go_on(store)
        return INTERRUPTED
    return FAILURES if result.counts["FAILED"] else 0


def _say_how_to_go_on(store: Path | None) -> None:
    if store is not None:
        Console(stderr=True).print("To go on:", highlight=False)
        Console(stderr=True).print(command_line(), markup=False, highlight=False, soft_wrap=True)
