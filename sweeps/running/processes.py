"""An executor of processes, each with a pipe of its own.

Not a pool of the standard library: its workers share one pipe for results, and when one is killed
while it sends, its manager waits for the rest for good, and so does the process at its end (the
first of 40 tries did, with results of 30 MB). Here the death of a worker is the end of its pipe, at
whatever moment, and concerns the call that it ran and no other.

Nor processes of multiprocessing: those run the script of their parent again, so that it needs a
guard and a file, and a worker of a ``multiprocessing.Pool`` may not have any. What these run
travels by value (:mod:`sweeps.common.pickling`), and they need neither.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from concurrent.futures import wait as wait_for
from multiprocessing import spawn
from multiprocessing.connection import Connection, Pipe
from typing import Any

from sweeps.common.interrupt import CHILDREN
from sweeps.engine.run_blocks import threads

__all__ = ["Processes", "block_sigint", "init_worker", "serve"]

# Seconds between looks at whether a parent is alive.
LOOK = 2.0

# A new interpreter, because a forked one inherits locks of OpenMP.
PROGRAM = (
    "import sys; sys.path = {path}; "
    "from sweeps.running.processes import serve; serve({pipe}, {parent})"
)


@contextlib.contextmanager
def block_sigint() -> Iterator[None]:
    """Start processes that do not receive Ctrl-C, which a terminal sends to all of them.

    One that did, before :func:`init_worker` has run, would print a traceback of its imports.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def init_worker(parent: int) -> None:
    """Prepare a worker process: it ignores Ctrl-C, which its parent handles, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    # A pool whose parent was killed waits for its queue for good (python/cpython#111873).
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


def serve(handle: int, parent: int) -> None:
    """Answer calls until the pipe with this file descriptor ends."""
    init_worker(parent)
    os.set_inheritable(handle, False)  # programs that calls start would keep the pipe open
    with contextlib.suppress(EOFError, OSError), Connection(handle) as pipe:
        while True:
            answer = _run_call(pipe.recv_bytes())
            with contextlib.suppress(AttributeError, ValueError):  # there is none, or it is closed
                sys.stdout.flush()  # what a call prints is there although its worker is killed
            pipe.send_bytes(answer)


def _run_call(call: bytes) -> bytes:
    """Run a pickled call; return whether it returned, and what it returned or raised, pickled."""
    try:
        function, args, kwargs = pickle.loads(call)
        return pickle.dumps((True, function(*args, **kwargs)))
    except Exception as error:
        try:
            answer = pickle.dumps((False, error))
            pickle.loads(answer)
        except Exception:  # some exceptions hold what cannot travel, or cannot be made again
            answer = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
        return answer


class _Worker:
    """A process that waits for calls."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        path = [folder for folder in sys.path if isinstance(folder, str)]
        program = PROGRAM.format(path=path, pipe=theirs.fileno(), parent=os.getpid())
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        with block_sigint(), theirs:
            self._process = subprocess.Popen(
                [spawn.get_executable(), *flags, "-c", program],
                # The rest of a script may come from there.
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        CHILDREN.add(self._process)

    def ask(self, call: bytes) -> bytes:
        """Have it run a call; return the answer, or raise EOFError or OSError if it ends first."""
        self._pipe.send_bytes(call)
        return self._pipe.recv_bytes()

    def kill(self) -> None:
        self._process.kill()

    def reap(self) -> None:
        """End the process, collect its exit status and close its pipe."""
        self._process.kill()
        self._process.wait()
        CHILDREN.discard(self._process)
        self._pipe.close()


class Processes(Executor):
    """Processes, each started when a call needs it, and replaced when it has died.

    Parameters
    ----------
    n : int
        How many of them at a time.
    """

    def __init__(self, n: int) -> None:
        self.max_workers = n
        # A place for each worker; None until a call needs it.
        self._places: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        for _ in range(n):
            self._places.put(None)
        self._calls: set[Future] = set()
        self._workers: set[_Worker] = set()
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

    def _start_worker(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise CancelledError
            worker = _Worker()
            self._workers.add(worker)
        return worker

    def _reap(self, worker: _Worker) -> None:
        with self._lock:
            worker.reap()
            self._workers.discard(worker)
