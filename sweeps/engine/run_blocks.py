"""Run blocks of trials on this machine's cores: one compiled kernel, one BLAS thread a worker.

Each worker is a background thread of Python's that runs the kernel with the GIL released, so the
calling thread is free to draw progress and to receive Ctrl-C, which raises the kernel's stop flag.
Threads of Numba's would do the same, and cost a second kernel, parallel, beside the serial one that
workers of an executor need.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from typing import Any

import numba
import numpy as np
from threadpoolctl import ThreadpoolController

from fastopt.code.system import on_fork
from fastopt.compile import kernel
from fastopt.errors import SpecError, shortened
from fastopt.machine.calls import Callee
from sweeps.common.interrupt import check_interrupt, immediate_interrupts
from sweeps.common.threads import KeptThreads
from sweeps.engine import queue
from sweeps.engine.agenda import Agenda
from sweeps.engine.block import Block
from sweeps.engine.callees import tuple_type
from sweeps.problems.base import DataProblem
from sweeps.problems.landscapes import Landscape

Problem = DataProblem | Landscape

# Seconds between looks at the counters: short enough for Ctrl-C, long enough to cost nothing.
POLL = 0.05


class BlasLimit:
    """One BLAS thread a worker, while any sweep runs; the first one in and the last one out act.

    The setting belongs to the process: of two sweeps that overlap, each with a limit of its own,
    the one that ends last would restore what it found, the other one's limit, for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._limits: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._running == 0:
                self._limits = libraries(len(sys.modules)).limit(limits=1, user_api="blas")
            self._running += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._running -= 1
            if self._running == 0:
                self._limits.restore_original_limits()


@functools.lru_cache(maxsize=1)
def libraries(modules: int) -> ThreadpoolController:
    """Return the process's libraries with threads of their own, while it has so many modules.

    Looking for them took 2.4 ms of every sweep; a new one comes with a module.
    """
    return ThreadpoolController()


ONE_BLAS_THREAD = BlasLimit()


@functools.cache
def threads() -> KeptThreads:
    """Return the background threads, kept for the life of the process.

    A thread that ends unwinds its stack and holds libgcc's lock on the table of compiled code
    meanwhile, also after Python's join() has returned. A fork in that moment leaves the lock held
    for good in the child, which hangs at the next kernel it loads: 7 of 160 runs did on two busy
    cores.
    """
    return KeptThreads("fastopt-sweep")


on_fork(in_child=threads.cache_clear)


def worker_count(n_jobs: int) -> int:
    """Return the number of workers ``n_jobs`` means; -1 is one for each of Numba's threads."""
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int) or not (n_jobs >= 1 or n_jobs == -1):
        raise SpecError(
            f"n_jobs must be an integer >= 1, or -1 for all cores; got {shortened(n_jobs)}"
        )
    most = numba.get_num_threads()
    return most if n_jobs == -1 else min(n_jobs, most)


def runner(block: Block) -> Callable:
    """Return the (lazily compiled) work-queue kernel for these trials."""
    return kernel(queue.workers, *block.parts())


def compile_block(block: Block) -> None:
    """Compile the kernel, or load it from the disk cache, by running it on no trials at all."""
    with immediate_interrupts():
        runner(block)(*_no_trials(block), block.constants())


def _no_trials(block: Block) -> tuple:
    return queue.controls(), np.empty(0, np.int64), block.item_cost, block.table


def needed(block: Block) -> Iterator[Callee]:
    """Return all that :func:`compile_block` compiles; nothing if that was done in this process."""
    called = block.callees
    if all(some.compiled for some in called):
        return
    arguments = *map(numba.typeof, _no_trials(block)), tuple_type(block.links)
    yield Callee(runner(block), None, arguments, 7.0)
    for some in called:
        yield from some


def run_together(
    launches: Iterable[Sequence[Block]],
    workers: int,
    watch: Callable[[int, int], Any],
    stop: threading.Event | None = None,
) -> bool:
    """Run trials, filling their results; return False when interrupted.

    The longest are begun first: see :mod:`sweeps.engine.agenda`. Workers wait for each other once,
    at the end of the last launch.

    * ``launches``: compiled; those of one sequence by one kernel. While this is asked for the next
      ones, those before run, so it may compile them then. Their ``trials.out``, ``state`` and
      ``curves`` are written; unfinished trials stay PENDING.
    * ``workers``: threads to use.
    * ``watch``: called about 20 times a second with the cost and the number of trials done so far.
    * ``stop``: set from another thread, it ends the run as Ctrl-C does.
    """
    agenda, finished = Agenda(), False
    running: list[Future] = []
    stop = threading.Event() if stop is None else stop

    def look() -> None:
        watch(agenda.done(queue.COST), agenda.done(queue.DONE))

    def begin(blocks: Sequence[Block]) -> None:
        if not running and blocks[0].calls_blas:  # all blocks of a sweep do, or none
            limits.enter_context(ONE_BLAS_THREAD)
        agenda.add(runner(blocks[0]), blocks)
        while len(running) < workers:
            running.append(threads().submit(agenda.work))

    with contextlib.ExitStack() as limits:
        try:
            for blocks in itertools.takewhile(lambda blocks: not stop.is_set(), launches):
                begin(blocks)
            agenda.close()
            while wait(running, POLL).not_done and not stop.is_set():
                check_interrupt()
                look()
            look()
            finished = not stop.is_set()
        except KeyboardInterrupt:
            pass
        finally:
            agenda.stop()
            wait(running)
    for worker in running:
        worker.result()
    return finished
