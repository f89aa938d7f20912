"""Where chunks run beside this process: any executor with ``submit``, and names for the usual ones.

To add one write a function of the number of workers that returns a :class:`Crew`, and a row in
:data:`EXECUTORS`.
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
from sweeps.common.pickling import pack
from sweeps.engine.run_blocks import threads
from sweeps.running.processes import Processes, begin, deaf

__all__ = ["EXECUTORS", "Crew", "crew_of"]

# Chunks in flight with an executor that does not say how many workers it has.
UNKNOWN = 256
# Seconds between looks at how many workers a cluster has now.
LOOK = 2.0


class Crew:
    """Somebody's executor, and what is done with it beside ``submit``: here, nothing.

    Parameters
    ----------
    executor : object
        With ``submit(function, *args)`` that returns a :class:`concurrent.futures.Future`.
    """

    # Chunks in flight for each worker: one runs, one waits for it to end.
    ahead = 2

    def __init__(self, executor: Any) -> None:
        self.executor = executor

    def submit(self, function: Callable, *args: Any) -> Future:
        """Hand a call to the executor."""
        return self.executor.submit(function, *args)

    def drop(self, future: Future) -> None:
        """Cancel a call, if it does not run yet."""
        future.cancel()

    def room(self) -> int:
        """Return how many chunks may be in flight: few, so that 10^6 do not flood a scheduler."""
        for name in ("_max_workers", "max_workers", "num_workers"):
            width = getattr(self.executor, name, None)
            if isinstance(width, int) and width > 0:
                return self.ahead * width
        return UNKNOWN

    def parcel(self, job: Any) -> Any:
        """Return the job in the form that goes with each call to another process."""
        return pack(job)

    def mend(self) -> bool:
        """Make it work again after workers were lost; False if that is not ours to do."""
        return False

    def close(self, now: bool) -> None:
        """Let go of the executor; if ``now``, without waiting for what it still runs."""


class Spawned(Crew):
    """Processes of our own.

    Parameters
    ----------
    n : int
        How many of them.
    """

    def __init__(self, n: int) -> None:
        super().__init__(Processes(n))

    def close(self, now: bool) -> None:
        """End the workers: in good time they have nothing left to run."""
        self.executor.shutdown(cancel_futures=True)


class Loky(Crew):
    """A pool of loky's.

    Parameters
    ----------
    n : int
        How many workers.
    """

    def __init__(self, n: int) -> None:
        self._n, self._loky = n, _imported("loky", "loky")
        super().__init__(self._pool())

    def _pool(self) -> Executor:
        return self._loky.ProcessPoolExecutor(self._n, initializer=begin, initargs=(os.getpid(),))

    def submit(self, function: Callable, *args: Any) -> Future:
        """Hand a call to the pool, which may start workers."""
        with deaf():
            return super().submit(function, *args)

    def drop(self, future: Future) -> None:
        """Leave it to :meth:`close`: loky's thread stumbles over calls that were cancelled."""

    def mend(self) -> bool:
        """Put a new pool in the place of a broken one."""
        self.close(now=True)
        self.executor = self._pool()
        return True

    def close(self, now: bool) -> None:
        """End the workers."""
        self.executor.shutdown(wait=True, kill_workers=now)


class Threads(Crew):
    """Threads of this process, which live as long as it does.

    Parameters
    ----------
    n : int
        How many of them at a time.
    """

    # Of two chunks that wait for each other's cores both run: these threads are not a fixed number.
    ahead = 1

    def __init__(self, n: int) -> None:
        super().__init__(threads())
        self._n = n

    def room(self) -> int:
        """Return the number of workers."""
        return self._n


class Dask(Crew):
    """Workers of a dask cluster.

    Parameters
    ----------
    client : distributed.Client
    ours : bool
        Whether to close the client in the end.
    """

    # Chunks travel from the scheduler's machine to a worker's while two others keep it busy.
    ahead = 3

    def __init__(self, client: Any, ours: bool = False) -> None:
        # Not pure: a chunk that failed and is sent again is not what it was before.
        super().__init__(client.get_executor(pure=False))
        self._client, self._ours = client, ours
        self._looked, self._width = -LOOK, 0

    def room(self) -> int:
        """Return how many chunks the threads of all workers may have in flight at present."""
        if time.monotonic() - self._looked >= LOOK:
            self._width = sum(self._client.nthreads().values())
            self._looked = time.monotonic()
        return self.ahead * max(1, self._width)

    def parcel(self, job: Any) -> Any:
        """Send the job once to each worker that needs it, not with each chunk.

        As a task and not scattered: if its worker dies, the scheduler has it made again.
        """
        return self._client.submit(bytes, pack(job), pure=False)

    def mend(self) -> bool:
        """Leave it to dask, which replaces workers by itself."""
        return True

    def close(self, now: bool) -> None:
        """Let go of the client, and close it if it is ours; workers finish what they run."""
        if self._ours:
            self._client.close()


def _dask(n: int) -> Crew:
    distributed = _imported("distributed", "dask")
    try:
        client = distributed.get_client()
    except ValueError:
        raise SpecError(
            'executor="dask" is the current dask client, and there is none: create one with '
            "distributed.Client(...), or give the address of the scheduler, such as "
            'executor="tcp://10.0.0.1:8786"'
        ) from None
    return _dask_of(client)


def _dask_of(client: Any) -> Crew:
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


def _dask_at(address: str) -> Crew:
    distributed = _imported("distributed", "dask")
    connecting = threads().submit(distributed.Client, address, set_as_default=False)
    try:
        client = wait_for(connecting).result()
    except (OSError, ValueError) as error:
        raise SpecError(f"there is no dask scheduler at {shortened(address)}: {error}") from None
    except KeyboardInterrupt:
        connecting.add_done_callback(lambda late: late.exception() or late.result().close())
        raise
    return Dask(client, ours=True)


def _imported(module: str, extra: str) -> Any:
    with contextlib.suppress(ModuleNotFoundError):
        return __import__(module)
    raise ImportError(
        f'this executor needs {module}, which is not installed: pip install "fastopt[{extra}]"'
    )


def crew_of(executor: Any, workers: int) -> Crew:
    """Return the crew that ``executor=`` stands for.

    Parameters
    ----------
    executor : str or object
        A name in :data:`EXECUTORS`, the address of a dask scheduler (``"tcp://host:port"``), a
        dask client, or an object with ``submit``, which is used and not shut down.
    workers : int
        How many, for those that are made here.

    Raises
    ------
    SpecError
        It is none of these, or there is no dask client or scheduler.
    ExecutorError
        The dask client is closed.
    ImportError
        The library it needs is not installed.

    Examples
    --------
    >>> crew_of("threads", 2).room()
    2
    >>> crew_of("thread", 2)
    Traceback (most recent call last):
    fastopt.errors.SpecError: executor must be ...; got 'thread'; did you mean 'threads'?
    """
    if isinstance(executor, str) and executor in EXECUTORS:
        return EXECUTORS[executor](workers)
    if isinstance(executor, str) and "://" in executor:
        return _dask_at(executor)
    if not isinstance(executor, str | type):
        if callable(getattr(executor, "get_executor", None)):
            return _dask_of(executor)
        if callable(getattr(executor, "submit", None)):
            return Crew(executor)
    hint = did_you_mean(executor, EXECUTORS)
    if isinstance(executor, type):
        hint = f"; that is a class: make one of it, {executor.__name__}(...)"
    elif callable(getattr(executor, "apply_async", None)):
        hint = "; pools of multiprocessing have no submit(): use ProcessPoolExecutor"
    raise SpecError(
        f"executor must be one of {', '.join(EXECUTORS)}, the address of a dask scheduler or an "
        f"object with submit(), as those of concurrent.futures; got {shortened(executor)}{hint}"
    )


EXECUTORS: dict[str, Callable[[int], Crew]] = {
    "threads": Threads,
    "processes": Spawned,
    "loky": Loky,
    "dask": _dask,
}
"""Name -> the crew of so many workers."""
