"""Adapters to executors: any object with ``submit``, and names for the usual ones.

To add one write a function of the number of workers that returns an :class:`ExecutorAdapter`, and a
row in :data:`EXECUTORS`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from fastopt.errors import ExecutorError, SpecError, did_you_mean, shortened
from sweeps.common.interrupt import wait_for
from sweeps.common.pickling import pack_job
from sweeps.common.workers import block_sigint, init_worker
from sweeps.engine.run_blocks import threads
from sweeps.running.processes import Processes

# Chunks in flight on an executor that does not say how many workers it has.
DEFAULT_CAPACITY = 256
# Seconds between looks at how many workers a cluster has now.
LOOK = 2.0


class ExecutorAdapter:
    """What the dispatcher needs of an executor; this one, of any executor with ``submit``."""

    # In flight, for each worker: one runs, the next waits in the executor's queue.
    chunks_per_worker = 2

    def __init__(self, executor: Any) -> None:
        self.executor = executor

    def submit(self, function: Callable, *args: Any) -> Future:
        """Hand a call to the executor."""
        return self.executor.submit(function, *args)

    def cancel(self, future: Future) -> None:
        """Cancel a call that does not run yet."""
        future.cancel()

    def capacity(self) -> int:
        """Return how many chunks may be in flight: not 10^6, which would flood a scheduler."""
        for name in ("_max_workers", "max_workers", "num_workers"):
            width = getattr(self.executor, name, None)
            if isinstance(width, int) and width > 0:
                return self.chunks_per_worker * width
        return DEFAULT_CAPACITY

    def payload(self, job: Any, by_value: bool = False) -> Any:
        """Return the job as each call carries it to another process: pickled."""
        return pack_job(job, by_value)

    def restart(self) -> bool:
        """Replace lost workers; return False where only the executor's owner can."""
        return False

    def close(self, now: bool) -> None:
        """Release the executor; with ``now``, do not wait for the calls that it still runs."""


class OwnProcesses(ExecutorAdapter):
    """The executor ``"processes"``: :class:`sweeps.running.processes.Processes`."""

    def __init__(self, n: int) -> None:
        super().__init__(Processes(n))

    def close(self, now: bool) -> None:
        """End the workers, whatever they run: after the last chunk, that is nothing."""
        self.executor.shutdown(cancel_futures=True)


class Loky(ExecutorAdapter):
    """The executor ``"loky"``: a pool of that library."""

    def __init__(self, n: int) -> None:
        self._n, self._loky = n, _import("loky", "loky")
        super().__init__(self._pool())

    def _pool(self) -> Executor:
        return self._loky.ProcessPoolExecutor(
            self._n, initializer=init_worker, initargs=(os.getpid(),)
        )

    def submit(self, function: Callable, *args: Any) -> Future:
        """Hand a call to the pool, which may start workers."""
        with block_sigint():
            return super().submit(function, *args)

    def cancel(self, future: Future) -> None:
        """Do nothing, since :meth:`close` ends it: loky's thread fails on cancelled calls."""

    def restart(self) -> bool:
        """Replace a broken pool by a new one."""
        self.close(now=True)
        self.executor = self._pool()
        return True

    def close(self, now: bool) -> None:
        """End the workers."""
        self.executor.shutdown(wait=True, kill_workers=now)


class Threads(ExecutorAdapter):
    """The executor ``"threads"``: threads of this process, which live as long as it does."""

    # None waits in a queue: there are as many threads as there are calls.
    chunks_per_worker = 1

    def __init__(self, n: int) -> None:
        super().__init__(threads())
        self._n = n

    def capacity(self) -> int:
        """Return the number of workers."""
        return self._n


class Dask(ExecutorAdapter):
    """Workers of a dask cluster.

    ``ours``: whether to close the client in the end.
    """

    # Chunks travel from the scheduler's machine to a worker's while two others keep it busy.
    chunks_per_worker = 3

    def __init__(self, client: Any, ours: bool = False) -> None:
        # Not pure: a chunk that failed and is sent again must not be answered from memory.
        super().__init__(client.get_executor(pure=False))
        self._client, self._ours = client, ours
        self._looked, self._width = -LOOK, 0

    def capacity(self) -> int:
        """Return how many chunks the threads of all workers may have in flight at present."""
        if time.monotonic() - self._looked >= LOOK:
            self._width = sum(self._client.nthreads().values())
            self._looked = time.monotonic()
        return self.chunks_per_worker * max(1, self._width)

    def payload(self, job: Any, by_value: bool = False) -> Any:
        """Return a task whose result is the pickled job: dask sends it once to each worker.

        Not scattered: if the worker that holds it dies, the scheduler runs the task again.
        """
        return self._client.submit(bytes, pack_job(job, by_value), pure=False)

    def restart(self) -> bool:
        """Leave it to dask, which replaces workers by itself."""
        return True

    def close(self, now: bool) -> None:
        """Let go of the client, and close it if it is ours; workers finish what they run."""
        if self._ours:
            self._client.close()


def _current_dask(n: int) -> ExecutorAdapter:
    distributed = _import("distributed", "dask")
    try:
        client = distributed.get_client()
    except ValueError:
        raise SpecError(
            'executor="dask" is the current dask client, and there is none: create one with '
            "distributed.Client(...), or give the address of the scheduler, such as "
            'executor="tcp://10.0.0.1:8786"'
        ) from None
    return _adapt_dask(client)


def _adapt_dask(client: Any) -> ExecutorAdapter:
    if getattr(client, "asynchronous", False):
        raise SpecError(
            f"{shortened(client)} is asynchronous, and a sweep is not: give the address of its "
            f"scheduler, executor={client.scheduler.address!r}"
        )
    if getattr(client, "status", "running") == "closed":
        raise ExecutorError(
            f"{shortened(client)} is closed: make a new one with distributed.Client(...)"
        )
    return Dask(client)


def _connect_dask(address: str) -> ExecutorAdapter:
    distributed = _import("distributed", "dask")
    connecting = threads().submit(distributed.Client, address, set_as_default=False)
    try:
        client = wait_for(connecting).result()
    except (OSError, ValueError) as error:
        raise SpecError(f"there is no dask scheduler at {shortened(address)}: {error}") from None
    except KeyboardInterrupt:
        connecting.add_done_callback(lambda late: late.exception() or late.result().close())
        raise
    return Dask(client, ours=True)


def _import(module: str, extra: str) -> Any:
    with contextlib.suppress(ModuleNotFoundError):
        return __import__(module)
    raise ImportError(
        f'this executor needs {module}, which is not installed: pip install "fastopt[{extra}]"'
    )


def adapter_of(executor: Any, workers: int) -> ExecutorAdapter:
    """Return the adapter to what ``executor=`` names.

    What is made here has so many ``workers``; an object with ``submit`` is used and not shut down.

    >>> adapter_of("threads", 2).capacity()
    2
    >>> adapter_of("thread", 2)
    Traceback (most recent call last):
    fastopt.errors.SpecError: executor must be ...; got 'thread' (did you mean 'threads'?)
    """
    check_executor(executor)
    if isinstance(executor, str):
        return EXECUTORS[executor](workers) if executor in EXECUTORS else _connect_dask(executor)
    is_client = callable(getattr(executor, "get_executor", None))
    return _adapt_dask(executor) if is_client else ExecutorAdapter(executor)


def check_executor(executor: Any) -> None:
    """Raise unless ``executor=`` is something that :func:`adapter_of` adapts; nothing is started.

    >>> check_executor("threads")
    """
    if isinstance(executor, str):
        known = executor in EXECUTORS or "://" in executor
    else:
        methods = (getattr(executor, name, None) for name in ("get_executor", "submit"))
        known = not isinstance(executor, type) and any(map(callable, methods))
    if known:
        return
    hint = did_you_mean(executor, EXECUTORS)
    if isinstance(executor, type):
        hint = f"; that is a class: make one of it, {executor.__name__}(...)"
    elif callable(getattr(executor, "apply_async", None)):
        hint = "; pools of multiprocessing have no submit(): use ProcessPoolExecutor"
    raise SpecError(
        f"executor must be one of {', '.join(EXECUTORS)}, the address of a dask scheduler or an "
        f"object with submit(), as those of concurrent.futures; got {shortened(executor)}{hint}"
    )


EXECUTORS: dict[str, Callable[[int], ExecutorAdapter]] = {
    "threads": Threads,
    "processes": OwnProcesses,
    "loky": Loky,
    "dask": _current_dask,
}
"""Name -> adapter, as a function of the number of workers."""
