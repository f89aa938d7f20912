"""An executor of processes, each with a pipe of its own.

Not a pool of the standard library: its workers share one pipe for results, and when one is killed
while it sends, its manager waits for the rest for good, and so does the process at its end (the
first of 40 tries did, with results of 30 MB). Here the death of a worker is the end of its pipe, at
whatever moment, and concerns the call that it ran and no other.
"""

from __future__ import annotations

import pickle
import queue
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from concurrent.futures import wait as wait_for
from typing import Any

from sweeps.common.workers import Worker
from sweeps.engine.run_blocks import threads


class Processes(Executor):
    """Processes, each started when a call needs it, and replaced when it has died."""

    def __init__(self, n: int) -> None:
        self.max_workers = n
        # A place for each worker; None until a call needs it.
        self._places: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()
        for _ in range(n):
            self._places.put(None)
        self._calls: set[Future] = set()
        self._workers: set[Worker] = set()
        self._closed = False
        # Processes start and are waited for one at a time: of two threads that wait for children,
        # one may learn nothing of a death that the other has heard of.
        self._lock = threading.Lock()

    def submit(self, function: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """Have a worker run a call; if the worker dies, the future raises BrokenExecutor."""
        call = threads().submit(self._run, pickle.dumps((function, args, kwargs)))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers and wait for that; with ``cancel_futures`` whatever they still run."""
        if not cancel_futures:
            wait_for(list(self._calls))
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.kill()
        wait_for(list(self._calls))
        for worker in list(self._workers):
            self._reap(worker)

    def _run(self, call: bytes) -> Any:
        worker = self._places.get()
        try:
            worker = worker or self._start_worker()
            answer = worker.ask(call)
        except (EOFError, OSError) as error:
            if worker is not None:
                self._reap(worker)
            worker = None
            raise BrokenExecutor("a worker died") from error
        finally:
            self._places.put(worker)
        returned, value = pickle.loads(answer)
        if returned:
            return value
        raise value

    def _start_worker(self) -> Worker:
        with self._lock:
            if self._closed:
                raise CancelledError
            worker = Worker()
            self._workers.add(worker)
        return worker

    def _reap(self, worker: Worker) -> None:
        with self._lock:
            worker.reap()
            self._workers.discard(worker)
