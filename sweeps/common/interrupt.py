"""Where Ctrl-C may land, and what the command line does about it and SIGTERM.

Python raises KeyboardInterrupt between any two instructions of the main thread: between the start
of a process and the line that notes it down, say, or while a lock is taken. No code is safe against
that, so what starts workers, sends, stores and ends workers runs in :func:`deferred_interrupts`,
where exceptions come from :func:`check_interrupt` alone. Compiling, which takes seconds and leaves
nothing half done, runs in :func:`immediate_interrupts`: see :mod:`fastopt.code.signals`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from types import FrameType

from fastopt.code.system import on_main_thread

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds of waiting between looks.
POLL = 0.1
CHILDREN: set[subprocess.Popen] = set()
"""Processes of our own that run now."""


class _State:
    """Whether Ctrl-C was pressed, and what is to happen then; only the main thread uses it."""

    # Inside of deferred_interrupts(); a signal has come.
    deferred = pressed = False
    # The next check_interrupt() raises: the exception was deferred, or it was raised and may have
    # been lost, as in a callback of C code or the garbage collector: 1 of 7 at random moments was.
    due = False


_NOW = _State()


def check_interrupt() -> None:
    """Raise the KeyboardInterrupt that was deferred or lost; long work calls this now and then.

    >>> check_interrupt()  # nobody has pressed anything
    """
    if _NOW.due and on_main_thread():
        _NOW.due = False
        raise KeyboardInterrupt


def wait_for(future: Future) -> Future:
    """Wait until a future is done, and return it; Ctrl-C ends the wait."""
    while not wait([future], POLL).done:
        check_interrupt()
    return future


@contextlib.contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Defer the first KeyboardInterrupt until the next :func:`check_interrupt`, or the block's end.

    On the main thread; elsewhere Python raises none. Where nobody has set a handler of their own,
    one is set meanwhile, as :class:`asyncio.Runner` does. The second Ctrl-C is not deferred.

    >>> try:
    ...     with deferred_interrupts():
    ...         signal.raise_signal(signal.SIGINT)
    ...         print("in order")
    ... except KeyboardInterrupt:
    ...     print("stopped")
    in order
    stopped
    """
    if not on_main_thread():
        yield
        return
    outer, usual = _NOW.deferred, signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if usual:
            _NOW.pressed = _NOW.due = False
            signal.signal(signal.SIGINT, _defer)
        _NOW.deferred = True
        yield
    finally:
        # In this order: what comes in between is raised, by a handler that takes itself away.
        _NOW.deferred = outer
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if not outer:
        check_interrupt()


def _defer(number: int, frame: FrameType | None) -> None:
    first = not _NOW.pressed
    _NOW.pressed = _NOW.due = True
    if not (_NOW.deferred and first):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt


@contextlib.contextmanager
def immediate_interrupts() -> Iterator[None]:
    """Let Ctrl-C raise at once, inside of :func:`deferred_interrupts`."""
    if not on_main_thread():
        yield
        return
    check_interrupt()
    outer = _NOW.deferred
    try:
        _NOW.deferred = False
        yield
    finally:
        _NOW.deferred = outer


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and end the process at the second.

    For programs, on their main thread: what SIGTERM means is not for a library to say.

    >>> with interruptible():
    ...     try:
    ...         signal.raise_signal(signal.SIGTERM)
    ...     except KeyboardInterrupt:
    ...         print("stopped")
    stopped
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if _NOW.pressed:
            for worker in CHILDREN:
                worker.kill()
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(INTERRUPTED)
        _NOW.pressed = _NOW.due = True
        if not _NOW.deferred:
            raise KeyboardInterrupt

    _NOW.pressed = _NOW.due = False
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _NOW.pressed = _NOW.due = False


def command_line() -> str:
    """Return the command that started this process, as one would type it.

    >>> "python" in command_line()
    True
    """
    python, *words = sys.orig_argv
    installed = words and Path(words[0]).name == "fastopt"
    return shlex.join(["fastopt", *words[1:]] if installed else [python, *words])
