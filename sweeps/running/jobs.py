"""Jobs for workers: to train by a compiled kernel, or to call a Python function.

A job runs trials by their numbers, any number of times and anywhere. :mod:`sweeps.running.dispatch`
sends jobs and knows nothing else of them.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from fastopt.compile import compilations
from sweeps.common.states import State
from sweeps.engine.ahead import compile_together
from sweeps.engine.checkpoints import Paused, Stretch
from sweeps.engine.chunks import Rows, run_chunk
from sweeps.engine.plan import Plan
from sweeps.engine.run_blocks import compile_block
from sweeps.engine.tables import joined
from sweeps.space.space import Space


class Job(Protocol):
    """The methods that a dispatcher calls.

    Results of trials, of whatever type, have a length, the number of trials, and ``errors``: number
    of a trial that the dispatcher gave up -> why it FAILED.
    """

    def prepare(self, workers: int) -> int:
        """Do, in the process of the sweep, what need not be done again in each worker.

        Up to ``workers`` processes may work on it. Returns how many functions were compiled.
        """

    def run(self, ids: np.ndarray, stop: threading.Event | None, stretch: Any = None) -> Any:
        """Run trials in a worker, and return their results; stop early once ``stop`` is set.

        ``stretch`` says how far they go, where chunks have one.
        """

    def join(self, parts: list[Any]) -> Any:
        """Join the results of the parts of a chunk."""

    def fail_trials(self, ids: np.ndarray, reason: str) -> Any:
        """Return results that say that these trials FAILED, and why."""


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """Trials of a checked sweep.

    ``threads``: that run a chunk: more than one where there are fewer chunks than cores of this
    machine.
    """

    plan: Plan
    threads: int = 1

    def prepare(self, workers: int) -> int:
        """Compile: errors show here, and workers of this machine load it from the disk cache."""
        known = len(compilations())
        blocks = self.plan.blocks(self.plan.space.every_value(("optimizer",)), results=False)
        elsewhere = compile_together(blocks, workers)
        for block in blocks:
            compile_block(block)
        return len(compilations()) - known + elsewhere

    def run(
        self, ids: np.ndarray, stop: threading.Event | None, stretch: Stretch | None = None
    ) -> Rows:
        """Train, on one thread or those of the job."""
        return run_chunk(self.plan, ids, self.threads, stop=stop, stretch=stretch)

    def join(self, parts: list[Rows]) -> Rows:
        """Join rows; the facts of a chunk are those of its last part."""
        paused = Paused()
        for part in parts:
            paused.take_over(part.paused or Paused())
        return dataclasses.replace(joined(self.plan, parts), facts=parts[-1].facts, paused=paused)

    def fail_trials(self, ids: np.ndarray, reason: str) -> Rows:
        """Return rows with NaN for every number."""
        n = len(ids)
        return Rows(
            ids,
            np.full(n, State.FAILED, np.int8),
            np.full((n, len(self.plan.results)), np.nan),
            np.full((n, 0, len(self.plan.curve)), np.nan),
            0,
            dict.fromkeys(ids.tolist(), reason),
        )


@dataclass(frozen=True)
class Answers:
    """The outcomes of calls."""

    outcomes: Mapping[int, Any] = field(default_factory=dict)
    errors: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.outcomes) + len(self.errors)


@dataclass(frozen=True, eq=False)
class FunctionJob:
    """Calls of a Python function, one a trial.

    ``judge(answer)``: what an answer, or an exception, means. It is asked where the function runs,
    because many an answer (a tensor on a device, an exception) cannot travel.
    """

    function: Callable[[dict[str, Any]], Any]
    space: Space
    judge: Callable[[Any], Any]

    def prepare(self, workers: int) -> int:
        """Do nothing."""
        return 0

    def run(self, ids: np.ndarray, stop: threading.Event | None, stretch: None = None) -> Answers:
        """Call the function with each trial."""
        return Answers({i: self._outcome(i) for i in ids.tolist()})

    def _outcome(self, i: int) -> Any:
        try:
            answer = self.function(self.space[i])
        except KeyboardInterrupt:  # the user's, where calls run on the main thread
            raise
        except BaseException as error:  # sys.exit() ends a trial, not a worker
            answer = error
        return self.judge(answer)

    def join(self, parts: list[Answers]) -> Answers:
        """Join outcomes and errors."""
        outcomes = {i: outcome for part in parts for i, outcome in part.outcomes.items()}
        return Answers(outcomes, {i: why for part in parts for i, why in part.errors.items()})

    def fail_trials(self, ids: np.ndarray, reason: str) -> Answers:
        """Return errors instead of outcomes."""
        return Answers({}, dict.fromkeys(ids.tolist(), reason))
