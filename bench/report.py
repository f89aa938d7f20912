"""Turn benchmark JSON into the tables of the documents, between ``<!-- bench:... -->`` markers.

python -m pytest bench --benchmark-enable --benchmark-json=bench/results.json
python -m bench.report bench/results.json --history

With ``--history`` the run becomes a line of ``bench/history.jsonl``, see :mod:`bench.history`.
:data:`HEADLINES` chooses the rows of the README, :data:`PAGES` says which tables stand where.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.history import append_run

ROOT = Path(__file__).parents[1]
Row = dict[str, Any]
FLOOR = "touch"  # moves the same bytes and does nothing else: a bound, not a rival

HEADLINES = {
    "a step of AdamW, 1,000 tensors of 1,000 numbers": (
        "many", "1,000 tensors of 1 000, `fastopt.torch`",
    ),
    "a step of AdamW, the tensors of GPT-2 small": ("shapes", "GPT-2 small"),
    "a step of AdamW, one NumPy array of 1,000 numbers": ("adamw", "1,000"),
    "a step of Adam, a network on digits, in a sweep": ("sweep", "batch 32"),
    "a step of Adam, Rosenbrock's function, in a sweep": (
        "lanes", "Adam, Rosenbrock, 8,192 x 2,000 steps",
    ),
    "a grid search of `MLPClassifier`, 100 settings x 5 folds": (
        "search", "digits, 100 settings x 5 folds, 20 epochs",
    ),
}  # fmt: skip
"""The rows of the README, where we lose among them: what they say, and the table and case shown."""


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


def sweep_rows(rows: list[Row]) -> list[Row]:
    """Return the rows of digits, one a minibatch: each pair of sides was measured by itself."""
    cases: dict[str, Row] = {}
    for row in rows:
        if row["table"] != "sweep":
            continue
        new = {"table": "sweep", "case": row["case"], "seconds": {"ours": row["ours"]}}
        entry = cases.setdefault(row["case"], new)
        # Each pair has its own time for us: scale the other side so that the ratio is the pair's.
        entry["seconds"][row["baseline"]] = row["ratio"] * entry["seconds"]["ours"]
    return list(cases.values())


def headline_table(rows: list[Row]) -> str:
    """Table of the ``headlines`` marker: the chosen rows, each with its fastest rival."""
    apart = [row for row in rows if row["table"] != "sweep"]
    known = {(row["table"], row["case"]): row for row in (*apart, *sweep_rows(rows))}
    body = []
    for title, place in HEADLINES.items():
        if place not in known:
            continue
        times = known[place]["seconds"]
        rivals = {side: t for side, t in times.items() if side not in ("ours", FLOOR)}
        rival = min(rivals, key=rivals.__getitem__)
        against = ratio(rivals[rival] / times["ours"])
        body.append([title, seconds(times["ours"]), rival, seconds(rivals[rival]), against])
    header = ["what takes how long", "ours", "fastest rival", "its time", "rival / ours"]
    return markdown(header, body) if body else ""


def peak_table(rows: list[Row]) -> str:
    """Table of how much of a core training takes, by the machine's own matrix product."""
    body = [
        [row["case"], *(f"{row[name] / row['sgemm']:.0%}" for name in ("sgd", "adam"))]
        for row in rows
        if row["table"] == "peak"
    ]
    caption = (
        "Networks on digits, whole trials in one thread: floating-point operations a second of the "
        "matrix products of training, as a share of those of `sgemm` of 1024 x 1024 in one thread."
    )
    return f"{caption}\n\n{markdown(['network', 'by SGD', 'by Adam'], body)}" if body else ""


SWEEP_PARTS = {
    "lanes": (
        "trials",
        "Landscapes in SIMD lanes, float64: time of one step of one trial, whole sweeps.",
    ),
    "search": (
        "search",
        "`SweepSearchCV` and scikit-learn's `GridSearchCV` on all cores, both over "
        "`MLPClassifier` 64-32-10: whole searches.",
    ),
    "overhead": (
        "trials",
        "The engine's own work: whole sweeps of trials of one step, time of a trial.",
    ),
}
"""Tables of sweeps: what their first column holds, and their captions."""


def sweep_tables(rows: list[Row]) -> str:
    """Tables of the ``sweep`` marker."""
    caption = (
        "Digits MLP 64-32-10, Adam, float32: time of one minibatch step of a sweep on all cores. "
        "Peers are one process, but where the column says otherwise; JAX uses all cores too."
    )
    digits = sweep_rows(rows)
    texts = [f"{caption}\n\n{against_ours(digits, 'minibatch')}" if digits else ""]
    texts.append(peak_table(rows))
    for table, (first, caption) in SWEEP_PARTS.items():
        own = [row for row in rows if row["table"] == table]
        texts.append(f"{caption}\n\n{against_ours(own, first)}" if own else "")
    for row in rows:
        if row["table"] == "frame":
            texts.append(f"A result to a DataFrame, {row['case']}: {seconds(row['seconds'])}.")
        if row["table"] == "memory":
            grown = f"{row['bytes'] / 1e6:.0f} MB"
            texts.append(f"Memory that {row['case']} add, a histogram being kept: {grown}.")
        if row["table"] == "efficiency":
            texts.append(f"Parallel efficiency, {row['case']}: {row['efficiency']:.0%}.")
        if row["table"] == "executors":
            texts.append(
                f"Two workers of {row['baseline']}, {row['case']} (0.5 s): {row['share']:.0%} "
                f"of the throughput of two threads; {row['share_with_start']:.0%} with their start."
            )
    return "\n\n".join(text for text in texts if text)


def compile_table(rows: list[Row]) -> str:
    """Table of the ``compile`` marker: what is waited for once, and what in every process."""
    body = [
        [what, seconds(cold), seconds(warm), f"{functions:.3g}", f"{size / 1e3:,.0f} kB"]
        for row in rows
        if row["table"] == "compile"
        for what, cold, warm, functions, size in row["stages"]
    ]
    caption = (
        "Programs on a fresh machine, stage by stage, each in a new interpreter with an empty "
        "cache of compiled code, then once more with what the first has left there."
    )
    header = ["first ...", "fresh machine", "second process", "functions", "cache"]
    return f"{caption}\n\n{markdown(header, body)}" if body else ""


TABLES: dict[str, Callable[[list[Row]], str]] = {
    "headlines": headline_table,
    "step": step_tables,
    "sweep": sweep_tables,
    "compile": compile_table,
}
PAGES = {"README.md": ["headlines"], "docs/performance.md": ["step", "sweep", "compile"]}


def rows_of(results: dict[str, Any]) -> list[Row]:
    """Return what the benchmarks stored, in the order they ran."""
    return [b["extra_info"] for b in results["benchmarks"] if "table" in b["extra_info"]]


def check_measured(results: dict[str, Any]) -> None:
    """Refuse what ``--quick`` stored: its numbers mean nothing.

    Raises
    ------
    ValueError
    """
    if any(row.get("quick") for row in rows_of(results)):
        raise ValueError("these are results of --quick, which measures nothing; run without it")


def machine_line(row: Row) -> str:
    """One line about the machine.

    >>> machine_line({"cpu": "X", "cores": 2, "layer": "omp", "numpy": "2.4", "numba": "0.68"})
    'Measured on X, 2 cores, Numba threads by omp; numpy 2.4, numba 0.68.'
    """
    packages = ("numpy", "numba", "scikit-learn", "torch")
    versions = ", ".join(f"{name} {row[name]}" for name in packages if name in row)
    threads = f"{row['cores']} cores, Numba threads by {row['layer']}"
    return f"Measured on {row['cpu']}, {threads}; {versions}."


def write(results: dict[str, Any], text: str, names: Sequence[str]) -> str:
    """Return ``text`` with these tables replaced, each between its markers.

    Raises
    ------
    ValueError
        A marker is missing.
    """
    rows = rows_of(results)
    for name in names:
        pattern = re.compile(rf"(<!-- bench:{name} -->\n).*?(<!-- /bench:{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"no <!-- bench:{name} --> ... <!-- /bench:{name} --> in the text")
        body = TABLES[name](rows)
        if body:
            note = machine_line(rows[0]) + "\n\n" if name == names[0] else ""
            block = note + body
            text = pattern.sub(lambda m, b=block: f"{m[1]}\n{b}\n\n{m[2]}", text)
    return text


def slim(results: dict[str, Any]) -> dict[str, Any]:
    """Return what the tables are made of, without host names and single timings."""
    kept = [{key: b[key] for key in ("name", "extra_info")} for b in results["benchmarks"]]
    return {"datetime": results["datetime"], "benchmarks": kept}


def main(results: str, revision: str | None = None) -> None:
    """Rewrite the tables of all pages from the JSON file ``results``, and slim that file.

    With a revision, that of the code that was measured, append the run to the history.
    """
    source = Path(results)
    stored = slim(json.loads(source.read_text()))
    check_measured(stored)
    if revision is not None:
        append_run(stored, revision)
    for page, names in PAGES.items():
        path = ROOT / page
        path.write_text(write(stored, path.read_text(), names))
    source.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.report")
    parser.add_argument("results", help="what --benchmark-json wrote")
    parser.add_argument(
        "--history", nargs="?", const="HEAD", metavar="COMMIT",
        help="append the run to bench/history.jsonl, as one of this commit's code (HEAD)",
    )  # fmt: skip
    given = parser.parse_args()
    main(given.results, given.history)
