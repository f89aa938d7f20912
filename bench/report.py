"""Turn benchmark JSON into the tables of README.md, between its ``<!-- bench:... -->`` markers.

python -m pytest bench --benchmark-enable --benchmark-json=bench/results.json
python -m bench.report bench/results.json README.md
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
FLOOR = "touch"  # moves the same bytes and does nothing else: a bound, not a rival


def seconds(value: float) -> str:
    """Format a time with three digits and the unit that suits it.

    >>> seconds(2.9e-06), seconds(0.0054), seconds(12.0)
    ('2.9 us', '5.4 ms', '12 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def ratio(value: float, side: str = "") -> str:
    """Format how many times as long the other side took; below 1 we lose, which stands out.

    >>> ratio(28.04), ratio(1.034), ratio(0.9), ratio(0.9, FLOOR)
    ('28', '1.03', '**0.90**', '0.90')
    """
    text = f"{value:.3g}" if value >= 10 else f"{value:.2f}"
    return f"**{text}**" if value < 1 and side != FLOOR else text


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table, numbers to the right.

    >>> print(markdown(["n", "ours"], [["1", "2 us"]]))
    | n | ours |
    |---|---:|
    | 1 | 2 us |
    """
    ruler = "|---|" + "---:|" * (len(header) - 1)
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, *rows)]
    return "\n".join([lines[0], ruler, *lines[1:]])


def against_ours(rows: list[Row], first: str) -> str:
    """Table of our time, and of every other side's as a ratio to it."""
    others = list(dict.fromkeys(name for row in rows for name in row["seconds"] if name != "ours"))
    body = []
    for row in rows:
        times = row["seconds"]
        ratios = [ratio(times[o] / times["ours"], o) if o in times else "-" for o in others]
        body.append([row["case"], seconds(times["ours"]), *ratios])
    return markdown([first, "ours", *(f"{name} / ours" for name in others)], body)


def step_tables(rows: list[Row]) -> str:
    """Tables of the ``step`` marker."""
    parts = [
        ("adamw", "elements", "AdamW, float32, one buffer; *touch* only moves the same bytes."),
        ("rules", "optimizer", "Every rule, 10 million float32 elements."),
        ("many", "tensors", "AdamW, float32, small tensors."),
        ("fused", "step", "AdamW with extras in the same pass, 10 million float32 elements."),
        ("shapes", "model", "AdamW over the tensors of models by `fastopt.torch`, float32."),
        ("subnormal", "moments", "AdamW with subnormal moments against normal ones."),
    ]  # fmt: skip
    tables = []
    for table, first, caption in parts:
        own = [row for row in rows if row["table"] == table]
        if own:
            tables.append(f"{caption}\n\n{against_ours(own, first)}")
    return "\n\n".join(tables)


def sweep_tables(rows: list[Row]) -> str:
    """Tables of the ``sweep`` marker."""
    own = [row for row in rows if row["table"] == "sweep"]
    cases: dict[str, Row] = {}
    for row in own:
        entry = cases.setdefault(
            row["case"], {"case": row["case"], "seconds": {"ours": row["ours"]}}
        )
        # Each pair has its own time for us: scale the other side so that the ratio is the pair's.
        entry["seconds"][row["baseline"]] = row["ratio"] * entry["seconds"]["ours"]
    caption = (
        "Digits MLP 64-32-10, Adam, float32: time of one minibatch step of a sweep on all cores. "
        "Peers are one process, but where the column says otherwise; JAX uses all cores too."
    )
    text = f"{caption}\n\n{against_ours(list(cases.values()), 'minibatch')}" if cases else ""
    lanes = [row for row in rows if row["table"] == "lanes"]
    if lanes:
        caption = "Landscapes in SIMD lanes, float64: time of one step of one trial, whole sweeps."
        text += f"\n\n{caption}\n\n{against_ours(lanes, 'trials')}"
    overhead = [row for row in rows if row["table"] == "overhead"]
    if overhead:
        caption = "The engine's own work: whole sweeps of trials of one step, time of a trial."
        text += f"\n\n{caption}\n\n{against_ours(overhead, 'trials')}"
    for row in rows:
        if row["table"] == "frame":
            text += f"\n\nA result to a DataFrame, {row['case']}: {seconds(row['seconds'])}."
        if row["table"] == "memory":
            grown = f"{row['bytes'] / 1e6:.0f} MB"
            text += f"\n\nMemory that {row['case']} add, a histogram being kept: {grown}."
        if row["table"] == "efficiency":
            text += f"\n\nParallel efficiency, {row['case']}: {row['efficiency']:.0%}."
        if row["table"] == "executors":
            text += (
                f"\n\nTwo workers of {row['baseline']}, {row['case']} (0.5 s): {row['share']:.0%} "
                f"of the throughput of two threads; {row['share_with_start']:.0%} with their start."
            )
    return text


TABLES: dict[str, Callable[[list[Row]], str]] = {"step": step_tables, "sweep": sweep_tables}


def rows_of(results: dict[str, Any]) -> list[Row]:
    """Return what the benchmarks stored, in the order they ran."""
    return [b["extra_info"] for b in results["benchmarks"] if "table" in b["extra_info"]]


def machine_line(row: Row) -> str:
    """One line about the machine.

    >>> machine_line({"cpu": "X", "cores": 2, "layer": "omp", "numpy": "2.4", "numba": "0.68"})
    'Measured on X, 2 cores, Numba threads by omp; numpy 2.4, numba 0.68.'
    """
    packages = ("numpy", "numba", "scikit-learn", "torch")
    versions = ", ".join(f"{name} {row[name]}" for name in packages if name in row)
    threads = f"{row['cores']} cores, Numba threads by {row['layer']}"
    return f"Measured on {row['cpu']}, {threads}; {versions}."


def write(results: dict[str, Any], text: str) -> str:
    """Return ``text`` with the tables between its markers replaced.

    Raises
    ------
    ValueError
        A marker is missing.
    """
    rows = rows_of(results)
    for name, table in TABLES.items():
        pattern = re.compile(rf"(<!-- bench:{name} -->\n).*?(<!-- /bench:{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"no <!-- bench:{name} --> ... <!-- /bench:{name} --> in the text")
        body = table(rows)
        if body:
            note = machine_line(rows[0]) + "\n\n" if name == next(iter(TABLES)) else ""
            block = note + body
            text = pattern.sub(lambda m, b=block: f"{m[1]}\n{b}\n\n{m[2]}", text)
    return text


def slim(results: dict[str, Any]) -> dict[str, Any]:
    """Return what the tables are made of, without host names and single timings."""
    kept = [{key: b[key] for key in ("name", "extra_info")} for b in results["benchmarks"]]
    return {"datetime": results["datetime"], "benchmarks": kept}


def main(results: str, target: str) -> None:
    """Rewrite the tables in ``target`` from the JSON file ``results``, and slim that file."""
    source, path = Path(results), Path(target)
    stored = slim(json.loads(source.read_text()))
    path.write_text(write(stored, path.read_text()))
    source.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
