"""Call a Python function with the trials that a study hands out, on any executor."""

from __future__ import annotations

import inspect
import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from fastopt.errors import ExecutorError, SpecError, SweepWarning, shortened
from sweeps.common.interrupt import deferred_interrupts
from sweeps.common.progress import Progress
from sweeps.engine.chunks import Chunk
from sweeps.engine.run_blocks import worker_count
from sweeps.running.dispatch import run_on_executor
from sweeps.running.jobs import Answers, FunctionJob
from sweeps.running.reasons import warn_of_failures


def _refuse_other_arguments(function: Callable) -> None:
    """Raise if every call with one dict would fail, or return a generator."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise SpecError(
            f"the objective must return numbers, and {shortened(function)} yields: return the last"
        )
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of C functions there may be none
        return
    try:
        signature.bind({})
    except TypeError as error:
        raise SpecError(
            f"the objective is called with one dict, the axes by name, and {shortened(function)} "
            f"takes {signature} ({error}): give lambda config: function(**config), or the like"
        ) from None


class StudyRun:
    """One run over the next trials of a study.

    ``study`` is told what each trial came to, on this thread, in any order: ``judge(answer)``.
    ``size``: how many trials; there are as many.
    """

    def __init__(
        self, study: Any, function: Callable, judge: Callable, size: int, progress: bool
    ) -> None:
        if not callable(function):
            raise SpecError(
                f"the objective must be a function of one dict; got {shortened(function)}"
            )
        awaited = function, type(function).__call__, getattr(function, "func", None)
        if any(map(inspect.iscoroutinefunction, awaited)):
            raise SpecError(
                f"the objective must return numbers, and {shortened(function)} returns a "
                "coroutine: give lambda config: asyncio.run(function(config))"
            )
        _refuse_other_arguments(function)
        self._study, self._size = study, size
        self._job = FunctionJob(function, study.space, judge)
        self._bar = Progress(size, size, enabled=progress)
        self._asked: list[int] = []
        self._told = 0
        self._errors: dict[int, str] = {}

    def run(self, executor: Any, n_jobs: int, stacklevel: int) -> dict[str, Any]:
        """Run all trials; return the facts of this run: see :class:`sweeps.SweepResult`.

        ``stacklevel``: how many calls up the line is that warnings are for. Raises ExecutorError if
        the executor does not work, and no trial is finished.
        """
        # May be more than there are cores: functions may wait for something else.
        workers = max(worker_count(n_jobs), n_jobs)
        where, began = "threads" if executor is None else executor, time.perf_counter()
        try:
            with deferred_interrupts(), self._bar:
                run_on_executor(where, workers, self._job, self._chunks(), self._keep)
        except KeyboardInterrupt:
            pass
        except ExecutorError as error:
            if not self._told:
                raise
            early = f"the sweep ended early: {error}"
            warnings.warn(early, SweepWarning, stacklevel=stacklevel + 1)
        finally:
            self._study._return_trials(self._asked)
        self._study._warn_of_remarks(stacklevel + 2)
        warn_of_failures(self._errors, self._told, stacklevel + 2)
        seconds = time.perf_counter() - began
        return {
            "seconds": seconds,
            "compile_seconds": 0.0,
            "compiled": 0,
            "interrupted": self._told < self._size,
            "trials_per_second": self._told / max(seconds, 1e-9),
        }

    def _chunks(self) -> Iterator[Chunk]:
        for i in itertools.islice(self._study._next_trials(), self._size):
            self._asked.append(i)
            yield Chunk(i, np.array([i]))

    def _keep(self, chunk: Chunk, answers: Answers) -> None:
        self._errors |= self._study._record_answers(answers)
        self._told += len(answers)
        self._bar.update(self._told, self._told, self._study.best_value)
