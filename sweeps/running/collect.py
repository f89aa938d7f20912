"""Collect the rows of a sweep in memory, and put them in the order of the trial numbers."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from sweeps.engine.chunks import Chunk, Chunks, Rows, best_of, better, launch_size
from sweeps.engine.plan import Plan
from sweeps.engine.tables import joined, parts_of


class Collector:
    """Collects the rows of a sweep, from any place and in any order.

    ``chunk_size``: trials of a chunk; by default as many as memory allows.

    * ``cost``, ``finished``, int: cost and number of the trials so far.
    * ``prepared`` (float, int): seconds of compiling before the first trial was sent, and functions
      compiled.
    * ``best``, float or None: the best metric so far.
    * ``diverged_at_start``, int: trials that DIVERGED at their start, before their first step.
    * ``reused``, int: finished trials that did not run, because a store had them.
    * ``errors``, dict of int to str: trial number -> why it FAILED in this run.
    """

    # The default executor; None runs one launch at a time, on all cores.
    executor: str | None = None
    # The share of all steps that trials take, about.
    share = 1.0

    def __init__(self, plan: Plan, chunk_size: int | None = None) -> None:
        self.plan, self._chunk_size = plan, chunk_size
        self.cost = self.finished = self.reused = 0
        self.prepared = 0.0, 0
        # Seconds of compiling, and those before its first trial, of each process, by its host and
        # number: processes compile side by side.
        self._compiling: dict[Any, tuple[float, float]] = {}
        self._compiled = 0
        self.best: float | None = None
        self.diverged_at_start = 0
        self.errors: dict[int, str] = {}
        self._rows: list[Rows] = []

    @property
    def size(self) -> int:
        """Number of trials to come in."""
        return self.plan.size

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to run."""
        return self.finished >= self.size

    def remaining(self) -> Iterable[Chunk | None]:
        """Return what is left to run: here all of it.

        None stands for chunks that depend on those that are under way.
        """
        return Chunks(self.plan.size, self._chunk_size or launch_size(self.plan))

    def add(self, chunk: Chunk, rows: Rows) -> Future | None:
        """Keep the rows of ``chunk``; if it was stopped, they are fewer than its trials.

        Returns a future that is done when they are kept, or None if they are already.
        """
        self._rows.append(rows)
        self.count(rows)
        return None

    def count(self, rows: Rows) -> None:
        """Count rows that have run."""
        self.cost += rows.cost
        self.finished += len(rows)
        self.errors |= rows.errors
        ended = rows.out[:, self.plan.results.index("diverged_step")]
        self.diverged_at_start += int((ended <= self.plan.first_look).sum())
        place = rows.facts.get("host"), rows.facts.get("pid")
        all_of_it, waiting = self._compiling.get(place, (0.0, 0.0))
        self._compiling[place] = (
            all_of_it + rows.facts.get("compile_seconds", 0.0),
            waiting + rows.facts.get("wait_seconds", 0.0),
        )
        self._compiled += rows.facts.get("compiled", 0)
        self.best = better(self.plan, self.best, best_of(self.plan, rows.state, rows.out))

    def info(self, seconds: float, interrupted: bool) -> dict[str, Any]:
        """Return the facts of this run: see :class:`sweeps.SweepResult`."""
        before, compiled = self.prepared
        compiling, waiting = map(max, zip((0.0, 0.0), *self._compiling.values()))
        running = max(seconds - before - waiting, 1e-9)
        return {
            "seconds": seconds,
            "compile_seconds": before + compiling,
            "compiled": compiled + self._compiled,
            "n_trials": self.plan.size,
            "interrupted": interrupted,
            "trials_per_second": (self.finished - self.reused) / running,
            "problem": self.plan.problem.name,
        }

    def result(self, seconds: float, interrupted: bool) -> Any:
        """Return the parts of a result: all rows in the order of the trial numbers."""
        rows = joined(self.plan, self._rows)
        return parts_of(self.plan, rows, self.info(seconds, interrupted))
