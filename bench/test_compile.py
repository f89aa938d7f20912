"""How long one waits for compiled code: the first and the second process of a fresh machine."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

import pytest

from bench.compile_stages import PROGRAMS
from bench.conftest import HERE
from bench.machine import facts

OF_RULES = "then "
"""How stages begin that are shown as one row, with their median."""


def run(program: str, cache: Any, quick: bool) -> list[dict[str, Any]]:
    """Run a program in a new interpreter; return its stages."""
    command = [sys.executable, "-m", "bench.compile_stages", program, *["--quick"] * quick]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        command, env=environment, cwd=HERE.parent, capture_output=True, text=True, check=True
    )
    return gathered(json.loads(done.stdout.splitlines()[-1]))


def gathered(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the stages, those of all other rules as one."""
    rules = [stage for stage in stages if stage["what"].startswith(OF_RULES)]
    others = [stage for stage in stages if stage not in rules]
    if rules:
        middle = {
            key: statistics.median(s[key] for s in rules) for key in stages[0] if key != "what"
        }
        others.append({"what": f"each of {len(rules)} rules after that, the median", **middle})
    return others


@pytest.mark.parametrize("program", PROGRAMS)
def test_waiting(benchmark, program, tmp_path, quick):
    """Every stage of a program twice: with nothing in the cache, and with everything."""
    cold, warm = (run(program, tmp_path, quick) for _ in range(2))
    rows = [
        [one["what"], one["seconds"], two["seconds"], one["functions"], one["bytes"]]
        for one, two in zip(cold, warm, strict=True)
    ]
    assert not any(stage["functions"] for stage in warm)
    benchmark.extra_info.update(facts(), table="compile", case=program, stages=rows)
    benchmark.pedantic(lambda: None)
