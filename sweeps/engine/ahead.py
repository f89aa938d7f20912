"""Compile what trials need in as many processes as may work, into the cache that all share.

Numba compiles under one lock, so threads take turns. Other processes are new interpreters, which
work wherever a sweep is started from: they take a second to start, 0.5 s more than a fork, which in
a process with threads of Numba's, BLAS's or a notebook's may hang. What they compile this process
loads; what they do not, because one died, say, it compiles itself, and so all goes on without them.
"""

from __future__ import annotations

import contextlib
import itertools
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from typing import Any, NamedTuple

from numba.core.registry import cpu_target

from fastopt.code.origins import USERS, origin
from fastopt.code.uncompilable import in_two_lines
from fastopt.compile import cache_folder, is_compiled, recipe_of
from fastopt.errors import ExecutorError
from fastopt.machine.calls import Callee
from sweeps.common.interrupt import POLL, check_interrupt, deferred_interrupts, immediate_interrupts
from sweeps.common.pickling import pack, unpack
from sweeps.common.workers import Worker
from sweeps.engine.block import Block
from sweeps.engine.run_blocks import needed, threads

# Seconds of compiling that a process must find to be worth its start, which takes half as long.
START = 2.0
# Seconds to wait for a process that does not die, nor end what it compiles: longer than any takes.
PATIENCE = 300.0
# Functions of these are sent by value.
_SCRIPTS = ("__main__", "__mp_main__")


class Compiled(NamedTuple):
    """What several processes have compiled."""

    elsewhere: int  # functions that other processes compiled
    longest: float  # seconds of one core that the longest took: no number of cores is faster


def compile_together(blocks: Iterable[Block], workers: int) -> int:
    """Compile what is in no cache in up to ``workers`` processes, this one among them.

    More processes than this one work where it saves time. Returns how many functions others
    compiled. Where there are none, nothing is compiled here, but by
    :func:`sweeps.engine.run_blocks.compile_block`.
    """
    if workers < 2:
        return 0
    # Networks of many widths call the same functions: what they need is looked up once, 0.5 ms.
    distinct = {block.callees: block for block in blocks}.values()
    missing = missing_of(itertools.chain.from_iterable(map(needed, distinct)))
    processes = process_count(missing, workers)
    if processes == 1 or cache_folder() is None:
        return 0
    return compile_missing(missing, processes).elsewhere


def missing_of(callees: Iterable[Callee]) -> list[Callee]:
    """Return those that are in no cache, each once."""
    distinct = {(callee.kernel, callee.arguments): callee for callee in callees}
    return [c for c in distinct.values() if not is_compiled(c.kernel, c.arguments)]


def compile_missing(
    missing: Sequence[Callee], processes: int, watch: Callable[[int], Any] = bool
) -> Compiled:
    """Compile functions in so many processes.

    ``watch`` is called on this thread, now and then, with the number of functions compiled so far.
    """
    team = _Team(missing, watch)
    with deferred_interrupts():
        try:
            team.start(processes - 1)
            team.work()
        finally:
            team.end()
    return Compiled(team.compiled_elsewhere, team.longest)


def process_count(missing: Sequence[Callee], workers: int) -> int:
    """Return how many processes should compile these functions.

    >>> process_count([Callee(None, None, (), seconds) for seconds in (7.0, 0.5)], 64)
    1
    """
    seconds = [callee.seconds for callee in missing]
    beside_the_longest = sum(seconds) - max(seconds, default=0.0)
    return 1 + max(0, min(workers - 1, int(beside_the_longest / START)))


class _Team:
    """Processes, the one here among them, at one list of functions, the longest first.

    What cannot be sent is left to the process here. So is what another fails to do, of which
    nothing more is asked: it died, or the function cannot be compiled, or is not on disk then.
    """

    def __init__(self, missing: Sequence[Callee], watch: Callable[[int], Any]) -> None:
        self._watch = watch
        # The last are taken first.
        self._left = sorted(missing, key=lambda callee: callee.seconds)
        self._left_here: list[Callee] = []
        self._at_work = 0
        self._changed = threading.Condition()
        self._workers: list[Worker] = []
        self._leading: list[Future] = []
        self.compiled_elsewhere = self._compiled_here = 0
        self.longest = 0.0

    def start(self, n: int) -> None:
        """Start ``n`` other processes, if the system allows that many."""
        # Where this process keeps its compiled code, whatever it has been told since it began.
        there = {"NUMBA_CACHE_DIR": str(cache_folder().parent)}  # type: ignore[union-attr]
        with contextlib.suppress(OSError, ValueError):
            for _ in range(n):
                self._workers.append(Worker(there, quiet=True))
                self._leading.append(threads().submit(self._lead, self._workers[-1]))

    def work(self) -> None:
        """Compile here what is left, until all is compiled, here or there."""
        waited = 0.0
        while waited < PATIENCE:
            check_interrupt()
            self._watch(self.compiled_elsewhere + self._compiled_here)
            with self._changed:
                left = self._left_here or self._left
                if not left and not self._at_work:
                    return
                callee = left.pop() if left else None
                if callee is None:
                    waited = 0.0 if self._changed.wait(POLL) else waited + POLL
            if callee is not None:
                began = time.thread_time()
                with immediate_interrupts(), in_two_lines():
                    callee.kernel.compile(callee.arguments)
                self.longest = max(self.longest, time.thread_time() - began)
                self._compiled_here += 1

    def end(self) -> None:
        """End the other processes, whatever they do."""
        for worker in self._workers:
            worker.kill()
        wait(self._leading)
        for worker in self._workers:
            worker.reap()

    def _lead(self, worker: Worker) -> None:
        """Have a process compile one function after the other; a thread of its own."""
        with contextlib.suppress(EOFError, OSError):
            worker.ask(pickle.dumps((_fill_registries, (), {})))
            while self._have_compiled(worker):
                pass

    def _have_compiled(self, worker: Worker) -> bool:
        """Have a process compile the next function; return whether to go on with it."""
        with self._changed:
            if not self._left:
                return False
            callee = self._left.pop()
            self._at_work += 1
        done = is_sent = False
        try:
            payload = _packed(callee)
            is_sent = True
            returned, took = pickle.loads(worker.ask(pickle.dumps((_compile, (payload,), {}))))
            done = returned and is_compiled(callee.kernel, callee.arguments)
            self.longest = max(self.longest, took if done else 0.0)
        except ExecutorError:  # it cannot be sent
            return not is_sent
        finally:
            with self._changed:
                self._at_work -= 1
                self.compiled_elsewhere += done
                if not done:
                    self._left_here.append(callee)
                self._changed.notify()
        return done


def _packed(callee: Callee) -> bytes:
    """Pack a function for another process, which may import none of the user's modules for it.

    What such a module does when it is imported, a sweep of its own perhaps, it would do there, too.
    """
    payload = pack((recipe_of(callee.kernel), callee.arguments))
    named = [name for name in _user_modules() if name.encode() in payload]
    if named:
        raise ExecutorError(f"another process would import {', '.join(named)}")
    return payload


def _user_modules() -> list[str]:
    loaded = [(name, module) for name, module in sys.modules.items() if name not in _SCRIPTS]
    return [name for name, module in loaded if module and origin(module) == USERS]


def _fill_registries() -> None:
    """Have Numba learn what it can compile, for which it takes 0.3 s."""
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


def _compile(payload: bytes) -> float:
    recipe, arguments = unpack(payload)
    began = time.thread_time()
    recipe.make().compile(arguments)
    return time.thread_time() - began
