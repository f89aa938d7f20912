"""Hand chunks to workers and take rows back, whatever happens to the workers.

A chunk may run any number of times and anywhere, so what is lost is simply sent again. What keeps
failing is cut in half, and what then fails again in half, until the trials that are to blame stand
alone; they become FAILED, with the reason, and all others have their results.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import queue
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastopt.errors import CompileError, ExecutorError, SpecError
from sweeps.common.interrupt import POLL, check_interrupt, wait_for
from sweeps.common.pickling import unpack
from sweeps.engine.chunks import Chunk
from sweeps.running.executors import Crew, crew_of
from sweeps.running.jobs import Job

__all__ = ["Dispatcher", "hello", "run_elsewhere", "work"]

# Times a chunk is sent before it is suspected: a pool that breaks takes the innocent along.
TRIES = 3
# Times a trial must fail alone: once may be somebody's kill.
SURE = 2
# Failed trials without a single finished one: then it is not the trials.
HOPELESS = 64
# Seconds that threads of this process get to hand over what they have finished.
GRACE = 0.5

WAY_OUT = (
    "Workers need fastopt; a script that makes a pool of processes needs its work behind\n"
    'if __name__ == "__main__":; a pool that was shut down or lost a worker has to be made anew. '
    'executor="processes" and "threads" need none of this'
)

Deliver = Callable[[Chunk, Any], Future | None]

# Jobs that this process runs: its own threads need no copy of them, and can be told to stop.
_HERE: dict[str, tuple[Job, threading.Event]] = {}


def work(key: str, parcel: bytes, ids: np.ndarray) -> Any:
    """Run trials in a worker: on one thread.

    Parameters
    ----------
    key : str
        Name of the sweep.
    parcel : bytes
        The job, by :func:`sweeps.common.pickling.pack`; not looked at in the process of the sweep.
    ids : ndarray of int64, shape (n,)
        Trial numbers, increasing.

    Raises
    ------
    ExecutorError
        The job cannot be unpacked here.
    """
    job, stop = _HERE.get(key) or (unpack(parcel), None)
    return job.run(ids, stop)


def run_elsewhere(
    executor: Any,
    workers: int,
    job: Job,
    chunks: Iterable[Chunk],
    deliver: Deliver,
) -> None:
    """Run chunks on an executor.

    Parameters
    ----------
    executor : str or object
        As for :func:`sweeps.running.executors.crew_of`.
    workers : int
        How many, where they are ours.
    job, chunks
        What to run.
    deliver : callable
        ``deliver(chunk, rows)``, called on this thread as chunks come in, in any order. What it
        returns is None, or a future that is done when the chunk is stored.

    Raises
    ------
    SpecError, ImportError
        There is no such executor.
    ExecutorError
        The executor does not work.
    """
    crew = crew_of(executor, workers)
    ended = False
    try:
        job.prepare()
        Dispatcher(crew, job, deliver).run(chunks)
        ended = True
    finally:
        crew.close(now=not ended)


def versions() -> dict[str, str]:
    """Return the versions of what decides the bits of a result.

    >>> sorted(versions())
    ['fastopt', 'numba', 'numpy', 'python']
    """
    names = ("fastopt", "numba", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return found | {"python": ".".join(platform.python_version_tuple()[:2])}


def hello(key: str, pid: int) -> tuple[dict[str, str], bool]:
    """Return the versions of a worker, and whether it is a thread of the process of the sweep.

    A process that was forked there has the job, too, but not for long: others will take its place.
    """
    return versions(), key in _HERE and os.getpid() == pid


@dataclass(eq=False)
class _Whole:
    """A chunk, what has come in of it, and how many of its trials have not."""

    chunk: Chunk
    missing: int
    parts: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class _Task:
    """Trials of a chunk that are sent together, and what has happened to them."""

    whole: _Whole
    ids: np.ndarray
    losses: int = 0
    faults: int = 0
    sent_to: Any = None


class Dispatcher:
    """Runs chunks of one sweep on one crew.

    Parameters
    ----------
    crew : Crew
    job : Job
    deliver : callable
        ``deliver(chunk, rows)``, called on this thread when all trials of a chunk are in. A chunk
        is under way until the future that it may return is done, so that a kill costs each worker
        one chunk and no more.
    """

    def __init__(self, crew: Crew, job: Job, deliver: Deliver) -> None:
        self._crew, self._job, self._deliver = crew, job, deliver
        self._fresh: Iterator[Chunk] = iter(())
        self._again: deque[_Task] = deque()
        # Left for the end, when each runs with no other that could be to blame.
        self._suspects: deque[_Task] = deque()
        self._alone: _Task | None = None
        self._running: dict[Future, _Task] = {}
        self._storing: set[Future] = set()
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._finished = self._failed = 0
        self._key, self._parcel = "", b""
        self._is_here = False

    def run(self, chunks: Iterable[Chunk]) -> None:
        """Run all chunks; return when the last one is delivered.

        After an exception, Ctrl-C among them, what is finished by then is delivered, chunks that
        are finished in part with those trials.

        Raises
        ------
        ExecutorError
            Workers run other versions, cannot unpack the sweep, or are lost for good.
        """
        self._fresh = iter(chunks)
        with _here(self._job) as (self._key, stop):
            try:
                self._greet()
                while self._fill():
                    self._take()
            except BaseException:
                stop.set()
                self._rescue()
                raise

    def _fill(self) -> bool:
        """Send as many tasks as there is room for; return whether any are under way."""
        while len(self._running) + len(self._storing) < self._crew.room():
            task = self._next()
            if task is None:
                break
            future = self._send(work, self._key, self._parcel, task.ids)
            task.sent_to = self._crew.executor
            self._running[future] = task
            future.add_done_callback(self._done.put)
        return bool(self._running or self._storing)

    def _next(self) -> _Task | None:
        if self._alone is not None:
            return None
        if self._again:
            return self._again.popleft()
        chunk = next(self._fresh, None)
        if chunk is not None:
            return _Task(_Whole(chunk, len(chunk.ids)), chunk.ids)
        if self._suspects and not self._running:
            self._alone = self._suspects.popleft()
        return self._alone

    def _send(self, function: Callable, *args: Any) -> Future:
        for attempt in range(TRIES):
            try:
                future = self._crew.submit(function, *args)
                break
            except Exception as error:
                if attempt + 1 == TRIES or not isinstance(error, BrokenExecutor):
                    said = f"the executor takes no more work: {_said(error)}. {WAY_OUT}"
                    raise ExecutorError(said) from error
                self._crew.mend()
        if isinstance(future, Future):
            return future
        raise ExecutorError(
            "the executor's submit() must return a concurrent.futures.Future; that of "
            f"{self._crew.executor!r} returned {future!r}"
        )

    def _greet(self) -> None:
        """Wait for a worker to answer, so that what is wrong with all of them shows here."""
        for attempt in range(TRIES):
            future = self._send(hello, self._key, os.getpid())
            error = _failure(wait_for(future))
            if error is None:
                break
            if attempt + 1 == TRIES or not _is_lost(error) or not self._crew.mend():
                raise ExecutorError(f"no worker answers: {_said(error)}. {WAY_OUT}") from error
        theirs, self._is_here = future.result()
        if theirs != versions():
            raise ExecutorError(
                f"workers have {theirs} and this process has {versions()}; results would "
                "differ in their last bits. Install the same versions"
            )
        self._parcel = b"" if self._is_here else self._crew.parcel(self._job)

    def _take(self) -> None:
        """Wait a while for a task to end, and take it."""
        check_interrupt()
        try:
            future = self._done.get(timeout=POLL)
        except queue.Empty:
            return
        if future in self._storing:
            self._storing.remove(future)
            return
        self._settle(self._running.pop(future), future)

    def _settle(self, task: _Task, future: Future) -> None:
        """Keep what a task came to, or send it again."""
        alone = task is self._alone
        self._alone = None if alone else self._alone
        error = _failure(future)
        if error is None:
            self._gather(task, future.result())
        # What no other worker does better.
        elif isinstance(error, CompileError | ExecutorError | SpecError):
            raise error
        elif not _is_lost(error):
            self._blame(task, error, self._again)
        else:
            self._mend(task, error)
            task.losses += 1
            if alone:
                self._blame(task, error, self._suspects)
            else:
                (self._again if task.losses < TRIES else self._suspects).append(task)

    def _mend(self, task: _Task, error: BaseException) -> None:
        # Of all that a broken pool ran, the first to be heard of replaces it.
        broken = isinstance(error, BrokenExecutor)
        if (task.sent_to is self._crew.executor or not broken) and self._crew.mend():
            self._greet()

    def _blame(self, task: _Task, error: BaseException, tasks: deque[_Task]) -> None:
        """Cut in half what failed by its own fault; fail a trial that did so alone."""
        middle = len(task.ids) // 2
        if middle:
            tasks.extend(_Task(task.whole, ids) for ids in (task.ids[:middle], task.ids[middle:]))
            return
        task.faults += 1
        if task.faults < SURE:
            tasks.append(task)
            return
        self._failed += 1
        if self._failed >= HOPELESS and not self._finished:
            raise ExecutorError(f"{self._failed} trials failed and none finished: {_said(error)}")
        self._gather(task, self._job.failed(task.ids, _said(error)))

    def _gather(self, task: _Task, rows: Any) -> None:
        whole = task.whole
        whole.parts.append(rows)
        whole.missing -= len(rows)
        self._finished += len(rows) - len(rows.errors)
        if whole.missing:
            return
        stored = self._deliver(whole.chunk, self._job.joined(whole.parts))
        if stored is not None:
            self._storing.add(stored)
            stored.add_done_callback(self._done.put)

    def _rescue(self) -> None:
        """Deliver what is finished, drop what is not."""
        for future in self._running:
            self._crew.drop(future)
        if self._is_here:
            wait(self._running, GRACE)
        tasks = [*self._running.values(), *self._again, *self._suspects]
        for future, task in self._running.items():
            if future.done() and _failure(future) is None:
                self._gather(task, future.result())
        for whole in dict.fromkeys(task.whole for task in tasks):
            if whole.parts and whole.missing:
                self._deliver(whole.chunk, self._job.joined(whole.parts))


@contextmanager
def _here(job: Job) -> Iterator[tuple[str, threading.Event]]:
    """Let threads of this process find the job under the name this gives it."""
    key, stop = uuid.uuid4().hex, threading.Event()
    _HERE[key] = job, stop
    try:
        yield key, stop
    finally:
        del _HERE[key]


def _failure(future: Future) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as cancelled:
        return cancelled


def _is_lost(error: BaseException) -> bool:
    """Whether the worker or its connection is to blame rather than what it ran."""
    module = type(error).__module__
    return isinstance(error, BrokenExecutor | CancelledError) or module.startswith("distributed.")


def _said(error: BaseException | None) -> str:
    """Return the reason in one line, without the names of workers, which differ each time."""
    if error is not None and _is_lost(error):
        return f"its worker was lost ({type(error).__name__})"
    return f"{type(error).__name__}: {str(error).strip()}".split("\n")[0]
