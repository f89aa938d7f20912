"""Hand chunks to workers and take rows back, whatever happens to the workers.

A chunk may run any number of times and anywhere, so one that is lost is simply sent again. One that
keeps failing is halved, and so are its halves, until each trial that is to blame runs alone; such a
trial becomes FAILED, with the reason, and all others have their results.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastopt.code.target import VARIABLE, mode
from fastopt.errors import CompileError, ExecutorError, SpecError
from sweeps.common.interrupt import POLL, check_interrupt, wait_for
from sweeps.common.pickling import OtherCode, unpack
from sweeps.engine.chunks import Chunk
from sweeps.running.executors import ExecutorAdapter, adapter_of
from sweeps.running.jobs import Job

# Times a task is sent before it is suspected of breaking the pool that it runs in: with a pool, the
# tasks of all its workers are lost.
TRIES = 3
# Times a trial must fail alone to be FAILED: once may be somebody's kill.
FAULTS_TO_FAIL = 2
# So many failed trials, and none finished, end the sweep: the fault is not in the trials.
MOST_FAILED = 64
# Seconds that threads of this process get, at the end, to return what they have finished.
GRACE = 0.5

REMEDY = (
    "Workers need fastopt; a script that makes a pool of processes needs its work behind\n"
    'if __name__ == "__main__":; a pool that was shut down or lost a worker has to be made anew. '
    'executor="processes" and "threads" need none of this'
)

Deliver = Callable[[Chunk, Any], Future | None]

# Jobs of sweeps that this process started: its own threads need no copy, and can be told to stop.
_HERE: dict[str, tuple[Job, threading.Event]] = {}


def run_trials(key: str, payload: bytes, ids: np.ndarray, stretch: Any = None) -> Any:
    """Run trials in a worker: on one thread.

    ``payload``: the job, packed; not looked at in the process of the sweep. ``ids``: increasing.
    """
    job, stop = _HERE.get(key) or (unpack(payload), None)
    return job.run(ids, stop, stretch)


def run_on_executor(
    executor: Any, workers: int, job: Job, chunks: Iterable[Chunk | None], deliver: Deliver
) -> tuple[float, int]:
    """Run chunks on an executor; return the seconds of compiling beforehand, and the functions.

    ``chunks``: None stands for those that depend on others that are under way. ``deliver(chunk,
    rows)`` is called on this thread as chunks come in, in any order; what it returns is None, or a
    future that is done when the chunk is stored.
    """
    adapter = adapter_of(executor, workers)
    ended = False
    try:
        began = time.perf_counter()
        compiled = job.prepare(workers)
        seconds = time.perf_counter() - began
        Dispatcher(adapter, job, deliver).run(chunks)
        ended = True
    finally:
        adapter.close(now=not ended)
    return seconds, compiled


def versions() -> dict[str, str]:
    """Return the versions, and the mode, of what decides the bits of a result.

    >>> sorted(versions())
    ['FASTOPT_CPU', 'fastopt', 'numba', 'numpy', 'python']
    """
    names = ("fastopt", "numba", "numpy")
    found = {name: importlib.metadata.version(name) for name in names}
    return found | {"python": ".".join(platform.python_version_tuple()[:2]), VARIABLE: mode()}


def report_versions(key: str, pid: int) -> tuple[dict[str, str], bool]:
    """Return a worker's versions, and whether it is a thread of the process that runs the sweep.

    A process forked from that one has the job, too, but the next one in its place may not.
    """
    return versions(), key in _HERE and os.getpid() == pid


@dataclass(eq=False)
class _PendingChunk:
    """A chunk, the parts of it that have come in, and how many of its trials are missing."""

    chunk: Chunk
    missing: int
    parts: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class _Task:
    """Trials of a chunk that are sent together, and what has happened to them."""

    pending: _PendingChunk
    ids: np.ndarray
    times_lost: int = 0
    times_failed: int = 0
    sent_to: Any = None


class Dispatcher:
    """Runs the chunks of one sweep on one executor.

    ``deliver``: ``deliver(chunk, rows)``, called on this thread when all trials of a chunk are in.
    A chunk is under way until the future that it may return is done, so that a kill costs each
    worker one chunk and no more.
    """

    def __init__(self, adapter: ExecutorAdapter, job: Job, deliver: Deliver) -> None:
        self._adapter, self._job, self._deliver = adapter, job, deliver
        self._new_chunks: Iterator[Chunk | None] = iter(())
        self._retries: deque[_Task] = deque()
        # Run at the end, one at a time: if the pool breaks then, it is clear which one did it.
        self._suspects: deque[_Task] = deque()
        self._lone_suspect: _Task | None = None
        self._running: dict[Future, _Task] = {}
        self._storing: set[Future] = set()
        self._done: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._finished = self._failed = 0
        self._key, self._payload = "", b""
        self._is_here = self._by_value = False

    def run(self, chunks: Iterable[Chunk | None]) -> None:
        """Run all chunks; return when the last one is delivered.

        After an exception, Ctrl-C among them, what is finished by then is delivered, chunks that
        are finished in part with those trials. Raises ExecutorError if workers run other versions,
        cannot unpack the sweep, or are lost for good.
        """
        self._new_chunks = iter(chunks)
        with _registered_job(self._job) as (self._key, stop):
            try:
                self._probe_workers()
                while self._send_tasks():
                    self._await_task()
            except BaseException:
                stop.set()
                self._deliver_finished()
                raise

    def _send_tasks(self) -> bool:
        """Send as many tasks as there is room for; return whether any are under way."""
        while len(self._running) + len(self._storing) < self._adapter.capacity():
            task = self._next_task()
            if task is None:
                break
            stretch = task.pending.chunk.stretch
            more = () if stretch is None else (stretch,)
            future = self._send(run_trials, self._key, self._payload, task.ids, *more)
            task.sent_to = self._adapter.executor
            self._running[future] = task
            future.add_done_callback(self._done.put)
        return bool(self._running or self._storing)

    def _next_task(self) -> _Task | None:
        if self._lone_suspect is not None:
            return None
        if self._retries:
            return self._retries.popleft()
        chunk = next(self._new_chunks, None)
        if chunk is not None:
            return _Task(_PendingChunk(chunk, len(chunk.ids)), chunk.ids)
        if self._suspects and not self._running:
            self._lone_suspect = self._suspects.popleft()
        return self._lone_suspect

    def _send(self, function: Callable, *args: Any) -> Future:
        for attempt in range(TRIES):
            try:
                future = self._adapter.submit(function, *args)
                break
            except Exception as error:
                if attempt + 1 == TRIES or not isinstance(error, BrokenExecutor):
                    said = f"the executor takes no more work: {_reason(error)}. {REMEDY}"
                    raise ExecutorError(said) from error
                self._adapter.restart()
        if isinstance(future, Future):
            return future
        raise ExecutorError(
            "the executor's submit() must return a concurrent.futures.Future; that of "
            f"{self._adapter.executor!r} returned {future!r}"
        )

    def _probe_workers(self) -> None:
        """Wait for a worker to answer, so that what is wrong with all of them shows here."""
        for attempt in range(TRIES):
            future = self._send(report_versions, self._key, os.getpid())
            error = _failure(wait_for(future))
            if error is None:
                break
            if attempt + 1 == TRIES or not _is_lost(error) or not self._adapter.restart():
                raise ExecutorError(f"no worker answers: {_reason(error)}. {REMEDY}") from error
        theirs, self._is_here = future.result()
        if theirs != versions():
            raise ExecutorError(
                f"workers have {theirs} and this process has {versions()}; results would "
                "differ in their last bits. Install the same versions"
            )
        self._payload = b"" if self._is_here else self._adapter.payload(self._job, self._by_value)

    def _await_task(self) -> None:
        """Wait a while for a task to end, and take it."""
        check_interrupt()
        try:
            future = self._done.get(timeout=POLL)
        except queue.Empty:
            return
        if future in self._storing:
            self._storing.remove(future)
            return
        self._handle_outcome(self._running.pop(future), future)

    def _handle_outcome(self, task: _Task, future: Future) -> None:
        """Keep the results of a task, or have it sent again."""
        alone = task is self._lone_suspect
        self._lone_suspect = None if alone else self._lone_suspect
        error = _failure(future)
        if error is None:
            self._add_part(task, future.result())
        elif isinstance(error, OtherCode):
            if not self._by_value:
                self._by_value = True
                self._payload = self._adapter.payload(self._job, by_value=True)
            self._retries.append(task)
        # These errors would be the same in any worker.
        elif isinstance(error, CompileError | ExecutorError | SpecError):
            raise error
        elif not _is_lost(error):
            self._split_or_fail(task, error, self._retries)
        else:
            self._restart_workers(task, error)
            task.times_lost += 1
            if alone:
                self._split_or_fail(task, error, self._suspects)
            else:
                (self._retries if task.times_lost < TRIES else self._suspects).append(task)

    def _restart_workers(self, task: _Task, error: BaseException) -> None:
        # All tasks of a broken pool fail; the first of them to come back replaces the pool.
        broken = isinstance(error, BrokenExecutor)
        if (task.sent_to is self._adapter.executor or not broken) and self._adapter.restart():
            self._probe_workers()

    def _split_or_fail(self, task: _Task, error: BaseException, tasks: deque[_Task]) -> None:
        """Halve a task that failed by its own fault; give up a single trial that did."""
        middle = len(task.ids) // 2
        if middle:
            tasks.extend(_Task(task.pending, ids) for ids in (task.ids[:middle], task.ids[middle:]))
            return
        task.times_failed += 1
        if task.times_failed < FAULTS_TO_FAIL:
            tasks.append(task)
            return
        self._failed += 1
        if self._failed >= MOST_FAILED and not self._finished:
            raise ExecutorError(f"{self._failed} trials failed and none finished: {_reason(error)}")
        self._add_part(task, self._job.fail_trials(task.ids, _reason(error)))

    def _add_part(self, task: _Task, rows: Any) -> None:
        pending = task.pending
        pending.parts.append(rows)
        pending.missing -= len(rows)
        self._finished += len(rows) - len(rows.errors)
        if pending.missing:
            return
        stored = self._deliver(pending.chunk, self._job.join(pending.parts))
        if stored is not None:
            self._storing.add(stored)
            stored.add_done_callback(self._done.put)

    def _deliver_finished(self) -> None:
        """Cancel what is under way; deliver what is finished."""
        for future in self._running:
            self._adapter.cancel(future)
        if self._is_here:
            wait(self._running, GRACE)
        tasks = [*self._running.values(), *self._retries, *self._suspects]
        for future, task in self._running.items():
            if future.done() and _failure(future) is None:
                self._add_part(task, future.result())
        for pending in dict.fromkeys(task.pending for task in tasks):
            if pending.parts and pending.missing:
                self._deliver(pending.chunk, self._job.join(pending.parts))


@contextmanager
def _registered_job(job: Job) -> Iterator[tuple[str, threading.Event]]:
    """Register a job under a new key, by which threads of this process find it."""
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


def _reason(error: BaseException | None) -> str:
    """Return the reason in one line, without the names of workers, which differ each time."""
    if error is not None and _is_lost(error):
        return f"its worker was lost ({type(error).__name__})"
    return f"{type(error).__name__}: {str(error).strip()}".split("\n")[0]
