"""The trend of the benchmarks, ``fastopt bench --history``: ratios of run after run.

A ratio says how many times as long the other side took beside us in the same run, so that it can
be compared where times cannot; where it falls, fastopt became slower.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Group

from fastopt.errors import StoreError
from sweeps.analysis.export import draft_of
from sweeps.common.terminal import table
from sweeps.plots.style import NOTHING, colours_of, matplotlib, new_axes

FILE = Path("bench") / "history.jsonl"
KEYS = ("commit", "date", "machine", "versions", "ratios")
SHOWN = 4  # runs side by side: what a terminal of 100 columns has room for
DRAWN = 7  # lines that have a colour each


def read_history(path: Path | None = None) -> list[dict[str, Any]]:
    """Return the runs, oldest first; of ``bench/history.jsonl`` here if no path is given."""
    if path is None:
        places = (FILE, Path(__file__).parents[2] / FILE)
        path = next((place for place in places if place.is_file()), FILE)
    if not path.is_file():
        raise StoreError(
            f"there is no file {str(path)!r}: the history is kept in fastopt's repository, not in "
            f"the installed package; name the file: fastopt bench --history CLONE/{FILE}"
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise StoreError(f"{str(path)!r} is no text, so no history of benchmarks") from None
    runs = [_run_of(text, path, k) for k, text in enumerate(lines, 1) if text.strip()]
    if not runs:
        raise StoreError(f"{str(path)!r} is empty: it must hold one line a run")
    return runs


def _run_of(text: str, path: Path, number: int) -> dict[str, Any]:
    try:
        run = json.loads(text)
    except ValueError:
        run = None
    if not _is_run(run):
        raise StoreError(
            f"line {number} of {str(path)!r} is no run of the benchmarks; it must be one JSON "
            f"object with {', '.join(KEYS)} (positive numbers), as python -m bench.report "
            "--history writes it"
        )
    return run


def _is_run(run: Any) -> bool:
    if not isinstance(run, dict) or any(key not in run for key in KEYS):
        return False
    texts, tables = KEYS[:2], KEYS[2:]
    return (
        all(isinstance(run[key], str) for key in texts)
        and all(isinstance(run[key], dict) for key in tables)
        and all(isinstance(x, int | float) and x > 0 for x in run["ratios"].values())
    )


def changes(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Return by which share each ratio of the last run differs from the run before.

    >>> changes([{"ratios": {"a": 2.0, "b": 1.0}}, {"ratios": {"a": 1.5, "c": 3.0}}])
    {'a': -0.25}
    """
    if len(runs) < 2:
        return {}
    before, last = (run["ratios"] for run in runs[-2:])
    return {name: value / before[name] - 1.0 for name, value in last.items() if name in before}


def history_tables(runs: list[dict[str, Any]]) -> Group:
    """Lay out the last runs, what became slower first, and what each ran on."""
    shown, changed = runs[-SHOWN:], changes(runs)
    # Ratios without a change keep their order, behind those that have one.
    names = sorted(_names(shown), key=lambda name: changed.get(name, float("inf")))
    rows = (
        [
            name,
            *(f"{run['ratios'][name]:.3g}" if name in run["ratios"] else "-" for run in shown),
            f"{changed[name]:+.1%}" if name in changed else "-",
        ]
        for name in names
    )
    header = ["ratio", *(run["commit"] for run in shown), "change"]
    ratios = table("How many times as long others took, oldest run first", header, rows)
    facts = (
        [run["commit"], run["date"][:10], _listed(run["machine"]), _listed(run["versions"])]
        for run in shown
    )
    count = f"{len(runs)} run{'s' * (len(runs) != 1)} in all"
    note = f"{count}. Where a ratio falls, fastopt became slower; what fell most stands first."
    return Group(ratios, table("Runs", ["commit", "date", "machine", "versions"], facts), note)


def draw_history(runs: list[dict[str, Any]], out: Path, dpi: int = 150) -> None:
    """Draw each ratio over the runs, relative to the first run that has it.

    The ratios that changed most have a colour and a name, the others are grey.
    """
    matplotlib().use("agg")
    ax = new_axes(None, width=8.0)
    lines = {name: _relative(name, runs) for name in _names(runs)}
    order = sorted(lines, key=lambda name: abs(lines[name][1][-1] - 1.0), reverse=True)
    colours = colours_of(DRAWN, ordered=False)
    for k, name in reversed(list(enumerate(order))):
        style = {"color": colours[k], "label": name} if k < DRAWN else {"color": NOTHING}
        ax.plot(*lines[name], marker="o", ms=3, lw=1, **style)
    ax.set_xticks(range(len(runs)), [run["commit"] for run in runs], rotation=45, ha="right")
    ax.set_ylabel("ratio / that of its first run; lower: slower")
    ax.legend(fontsize="x-small", frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    with draft_of(out) as draft:
        figure: Any = ax.get_figure(root=True)
        figure.savefig(draft, dpi=dpi, format=out.suffix[1:], bbox_inches="tight")


def _names(runs: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run["ratios"]))


def _relative(name: str, runs: list[dict[str, Any]]) -> tuple[list[int], list[float]]:
    places = [k for k, run in enumerate(runs) if name in run["ratios"]]
    first = runs[places[0]]["ratios"][name]
    return places, [runs[k]["ratios"][name] / first for k in places]


def _listed(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())
