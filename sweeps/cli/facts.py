"""The tables that the command line prints at once: what a spec can name, how far a store is.

They wait for neither Numba nor pandas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES
from sweeps.common.known import DATASETS, TEST_FUNCTIONS
from sweeps.common.resources import format_bytes
from sweeps.common.terminal import pair_table, table
from sweeps.common.text import format_duration, format_number

_PROBLEMS = {**DATASETS, **TEST_FUNCTIONS}


def status_table(facts: Mapping[str, Any]) -> Table:
    """Show the progress of a stored sweep; ``facts`` come from :mod:`sweeps.store.status`."""
    states = ", ".join(f"{n:,} {state}" for state, n in facts["states"].items() if n) or "none"
    share = facts["finished"] / facts["trials"]
    of_all = "" if facts["chunks"] is None else f" of {facts['chunks']:,}"
    rows = {
        "problem": facts["problem"],
        "ranked by": f"{facts['metric']} ({facts['mode']})",
        "trials": f"{facts['finished']:,} of {facts['trials']:,} finished ({share:.0%})",
        "states": states,
        **_rungs(facts),
        "chunks": f"{facts['chunks_done']:,}{of_all}, in {facts['parts']:,} parts",
        "time of all cores": format_duration(facts["core_seconds"]),
        "machines": ", ".join(facts["hosts"]) or "none",
        "on disk": format_bytes(facts["bytes"]),
        "extended": f"{facts['sweeps'] - 1} times",
        "set aside as damaged": ", ".join(facts["bad"]) or "nothing",
    }
    return pair_table(facts["store"], rows)


def _rungs(facts: Mapping[str, Any]) -> dict[str, str]:
    """Say how far each rung of a pruned sweep is."""
    rungs = facts.get("rungs", ())
    several = len({rung["bracket"] for rung in rungs}) > 1
    found = {}
    for rung in rungs:
        name = (
            f"bracket {rung['bracket']}, rung {rung['rung']}" if several else f"rung {rung['rung']}"
        )
        found[name] = (
            f"{rung['finished']:,} of {rung['trials']:,} trials, trained to {rung['n_resources']:,}"
        )
    return found


def optimizers() -> Table:
    """Lay out :data:`fastopt.rules.RULES`: names, defaults, sources."""
    rows = ((rule.name, _defaults(rule.hyper), rule.source) for rule in RULES.values())
    return table("Optimizers", ("optimizer", "hyperparameters and defaults", "source"), rows)


def schedules() -> Table:
    """Lay out :data:`fastopt.schedules.SCHEDULES`: names, defaults, torch's name for the same."""
    rows = ((name, _defaults(row.params), row.torch) for name, row in SCHEDULES.items())
    return table("Schedules", ("schedule", "parameters and defaults", "in torch"), rows)


def hyperparameters() -> Table:
    """Lay out what every hyperparameter of any optimizer or schedule means and may be."""
    kinds: dict[str, Any] = {}
    for params in (*(r.hyper for r in RULES.values()), *(r.params for r in SCHEDULES.values())):
        kinds |= {name: kind for name, kind in params.items() if name not in kinds}
    rows = ((name, kind.range, kind.summary) for name, kind in kinds.items())
    return table("Hyperparameters", ("name", "range", "meaning"), rows)


def problems() -> Table:
    """Lay out what :data:`sweeps.problems.PROBLEMS` has, each problem in a line."""
    return table("Problems", ("problem", "data"), _PROBLEMS.items())


def names() -> dict[str, Any]:
    """Return what the tables of optimizers, schedules and problems say, for JSON.

    A hyperparameter without a default, or one that is the length of the run, has ``None``.

    >>> names()["optimizers"]["sgd"]["hyperparameters"]["lr"]
    {'default': 0.001, 'range': '[0.0, inf)'}
    """

    def said(params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: {
                "default": None if kind.default != kind.default else kind.default,
                "range": str(kind.range),
            }
            for name, kind in params.items()
        }

    return {
        "optimizers": {
            rule.name: {"hyperparameters": said(rule.hyper), "source": rule.source}
            for rule in RULES.values()
        },
        "schedules": {name: {"parameters": said(row.params)} for name, row in SCHEDULES.items()},
        "problems": _PROBLEMS,
    }


def _defaults(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_default(kind)}" for name, kind in params.items()) or "-"


def _default(kind: Any) -> str:
    if getattr(kind, "run_length", False):
        return "the run's length"
    required = isinstance(kind.default, float) and math.isnan(kind.default)
    return "required" if required else format_number(kind.default)
