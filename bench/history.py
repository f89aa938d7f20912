"""The trend of the benchmarks: one line a run in ``bench/history.jsonl``, ratios only.

Times of different machines or days cannot be compared; how many times as long NumPy or the touch
loop took beside us, in the same run, can be. ``fastopt bench --history`` shows the file.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from bench.machine import PACKAGES

ROOT = Path(__file__).parents[1]
HISTORY = ROOT / "bench" / "history.jsonl"
RIVALS = ("NumPy", "NumPy in place", "touch")
MACHINE = ("cpu", "cores", "numba_threads", "layer")


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return how many times as long each of :data:`RIVALS` took, by table, case and rival.

    >>> times = {"ours": 2.0, "touch": 1.0, "torch fused": 9.0}
    >>> ratios([{"table": "adamw", "case": "1,000", "seconds": times}])
    {'adamw, 1,000: touch / ours': 0.5}
    """
    found = {}
    for row in rows:
        times = row.get("seconds")
        if row["table"] == "sweep":
            pairs = {row["baseline"]: row["ratio"]}
        elif isinstance(times, dict) and "ours" in times:
            pairs = {name: seconds / times["ours"] for name, seconds in times.items()}
        else:
            continue
        for name in RIVALS:
            if name in pairs:
                found[f"{row['table']}, {row['case']}: {name} / ours"] = float(f"{pairs[name]:.4g}")
    return found


def line_of(results: dict[str, Any], commit: str) -> dict[str, Any]:
    """Return the line of a run: commit, date, machine, versions and ratios.

    Raises
    ------
    ValueError
        No row has a ratio to NumPy or to the touch loop.
    """
    rows = [b["extra_info"] for b in results["benchmarks"] if "table" in b["extra_info"]]
    found = ratios(rows)
    if not found:
        raise ValueError("no row of these results has a ratio to NumPy or to the touch loop")
    facts = rows[0]
    return {
        "commit": commit,
        "date": results["datetime"],
        "machine": {name: facts[name] for name in MACHINE if name in facts},
        "versions": {name: facts[name] for name in ("python", *PACKAGES) if name in facts},
        "ratios": found,
    }


def append_run(results: dict[str, Any], revision: str = "HEAD", path: Path = HISTORY) -> None:
    """Append the line of a run of the code of ``revision``.

    Raises
    ------
    ValueError
        The run is in the file already, or git knows no such revision.
    """
    command = ["git", "rev-parse", "--short", "--verify", f"{revision}^{{commit}}"]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if asked.returncode:
        raise ValueError(f"git knows no commit {revision!r} here: {asked.stderr.strip()}")
    line = line_of(results, asked.stdout.strip())
    before = path.read_text().splitlines() if path.exists() else []
    if any(json.loads(text)["date"] == line["date"] for text in before):
        raise ValueError(f"the run of {line['date']} is in {path.name} already")
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
