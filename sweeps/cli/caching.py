"""What ``fastopt cache`` does: look at the cache of compiled code, empty it, compile ahead."""

from __future__ import annotations

import importlib.util
import itertools
import re
import stat
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import fastopt
from fastopt.compile import cache_folder, compilations
from fastopt.errors import SpecError, did_you_mean
from fastopt.machine.calls import Callee
from fastopt.machine.steps import PARALLEL_FROM, callees_of, find_of
from fastopt.rules import RULES
from sweeps.cli.spec import read_spec
from sweeps.common.resources import format_bytes
from sweeps.common.text import format_duration
from sweeps.engine.ahead import Compiled, compile_missing, missing_of, process_count
from sweeps.engine.plan import Plan
from sweeps.engine.run_blocks import needed, worker_count
from sweeps.problems import PROBLEMS, Landscape
from sweeps.running.check import check

ALL = "all"
# Of fastopt.code.cache: compiled code, and what was being written when a process was killed; of
# sweeps.problems.prepared: datasets as they are split.
COMPILED = re.compile(r".+-[0-9a-f]{12}\.nbc")
DRAFT = re.compile(r".+-[0-9a-f]{12}\.\d+-[0-9a-f]{8}|\.data_.+\.npz\.\d+-[0-9a-f]{8}\.tmp")
DATA = re.compile(r"data_.+_[0-9a-f]{16}\.npz")
# Seconds after which nobody is writing a draft any more.
STALE = 3600.0


def own_files(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the files in the cache folder that we have written, each with its facts."""
    for path in sorted(folder.iterdir()):
        if any(kind.fullmatch(path.name) for kind in (COMPILED, DRAFT, DATA)):
            facts = path.lstat()
            if stat.S_ISREG(facts.st_mode):
                yield path, facts


def facts_of_cache(folder: Path) -> dict[str, Any]:
    """Return what there is in the cache folder: for ``fastopt cache info``."""
    files = list(own_files(folder))
    oldest = min((facts.st_mtime for _, facts in files), default=None)
    return {
        "folder": str(folder),
        "functions": sum(1 for path, _ in files if COMPILED.fullmatch(path.name)),
        "datasets": sum(1 for path, _ in files if DATA.fullmatch(path.name)),
        "files": len(files),
        "bytes": sum(facts.st_size for _, facts in files),
        "oldest": None
        if oldest is None
        else datetime.fromtimestamp(oldest).isoformat(" ", "seconds"),
    }


def cache_or_error() -> Path:
    """Return the folder of the cache."""
    folder = cache_folder()
    if folder is None:
        raise SpecError("there is no cache of compiled code: name a folder in NUMBA_CACHE_DIR")
    return folder


def clear_cache() -> str:
    """Delete our files in the cache folder; return a line about them."""
    folder, gone, size = cache_or_error(), 0, 0
    for path, facts in own_files(folder):
        if DRAFT.fullmatch(path.name) and time.time() - facts.st_mtime < STALE:
            continue
        path.unlink(missing_ok=True)
        gone, size = gone + 1, size + facts.st_size
    return f"Deleted {gone:,} files of {format_bytes(size)} in {folder}"


def compile_ahead(
    specs: Sequence[Path], problem: Sequence[str], optimizer: Sequence[str], jobs: int
) -> str:
    """Compile what sweeps and steps of these will need; return a line about it."""
    workers, folder = worker_count(jobs), cache_or_error()
    known, began = len(compilations()), time.perf_counter()
    rules = _names("optimizer", optimizer, RULES)
    plans = [read_spec(path).plan() for path in specs]
    for name in _names("problem", problem, PROBLEMS):
        plans.append(_plan_of_problem(name, rules or ["adam"]))
    callees = [
        *itertools.chain.from_iterable(map(_callees_of_plan, plans)),
        *_callees_of_steps(rules),
    ]
    missing = missing_of(callees)
    processes = process_count(missing, workers)
    done = _compile_with_bar(missing, processes)
    if rules:
        _take_steps()
    compiled = done.elsewhere + len(compilations()) - known
    there = len({(callee.kernel, callee.arguments) for callee in callees}) - len(missing)
    return (
        f"Compiled {compiled:,} functions in "
        f"{format_duration(time.perf_counter() - began)} ({processes} "
        f"process{'es' * (processes > 1)}), the longest of them in {done.longest:.1f} s of one "
        f"core; {there:,} were there. They are in {folder}"
    )


def _names(kind: str, given: Sequence[str], known: dict[str, Any]) -> list[str]:
    """Return the names that were given, all of them for ``all``."""
    for name in given:
        if name != ALL and name not in known:
            hint = did_you_mean(name, [*known, ALL])
            raise SpecError(f"no {kind} {name!r}{hint}; `fastopt list` has all names")
    return list(known) if ALL in given else list(dict.fromkeys(given))


def _plan_of_problem(name: str, rules: list[str]) -> Plan:
    problem = PROBLEMS[name]()
    length = "steps" if isinstance(problem, Landscape) else "epochs"
    return check(problem, {"optimizer": rules}, {length: 1})


def _callees_of_plan(plan: Plan) -> Iterator[Callee]:
    blocks = plan.blocks(plan.space.every_value(("optimizer",)), results=False)
    return itertools.chain.from_iterable(map(needed, blocks))


def _callees_of_steps(rules: Sequence[str]) -> Iterator[Callee]:
    """Yield what steps of optimizers on NumPy arrays and torch tensors call."""
    for rule in map(RULES.__getitem__, rules):
        for dtype in (np.float32, np.float64):
            yield from callees_of(rule, (np.dtype(dtype),) * (1 + len(rule.starts)))


def _take_steps() -> None:
    """Compile, or load, what the steps of all optimizers share, those of torch's among them."""
    for n in (1, PARALLEL_FROM):
        fastopt.SGD(np.ones(n, np.float32), lr=0.1).step(np.ones(n, np.float32))
    if importlib.util.find_spec("torch"):
        from fastopt.torch.memory import TENSORS

        find_of(TENSORS.locate)


def _compile_with_bar(missing: list[Callee], processes: int) -> Compiled:
    """Compile functions under a progress bar."""
    columns = TextColumn("compiling"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=len(missing))
        return compile_missing(missing, processes, lambda done: bar.update(task, completed=done))
