"""Where Ctrl-C may land, and what the command line does about it and SIGTERM.

Python raises KeyboardInterrupt between any two instructions of the main thread: between the start
of a process and the line that notes it down, say, or while a lock is taken. No code is safe against
that, so what starts workers, sends, stores and ends workers runs in :func:`held`, where exceptions
come from :func:`check` alone. What takes seconds and holds nothing, compiling, is :func:`exposed`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

__all__ = [
    "CHILDREN", "INTERRUPTED", "POLL", "awaited", "check", "command", "exposed", "held",
    "interruptible",
]  # fmt: skip

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds of waiting between looks.
POLL = 0.1
CHILDREN: set[subprocess.Popen] = set()
"""Processes of our own that run now."""


class _State:
    """What has been pressed, and what the handlers do about it; the main thread's alone."""

    held = pressed = False
    # An exception to raise at the next check: it was put off, or it was raised and may be lost, as
    # one is in a callback of C code or the garbage collector: 1 of 7 at random moments was.
    due = False


_NOW = _State()


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def check() -> None:
    """Raise the KeyboardInterrupt that was put off or lost; long work calls this now and then.

    >>> check()  # nobody has pressed anything
    """
    if _NOW.due and _is_main():
        _NOW.due = False
        raise KeyboardInterrupt


def awaited(future: Future) -> Future:
    """Return a future when it is done, however long that takes, but for Ctrl-C."""
    while not wait([future], POLL).done:
        check()
    return future


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Put the first KeyboardInterrupt off until the next :func:`check`, or to the end of this.

    On the main thread; elsewhere Python raises none. Where nobody has set a handler of their own,
    one is set meanwhile, as :class:`asyncio.Runner` does. The second Ctrl-C is not put off.

    Examples
    --------
    >>> try:
    ...     with held():
    ...         signal.raise_signal(signal.SIGINT)
    ...         print("in order")
    ... except KeyboardInterrupt:
    ...     print("stopped")
    in order
    stopped
    """
    if not _is_main():
        yield
        return
    outer, usual = _NOW.held, signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if usual:
            _NOW.pressed = _NOW.due = False
            signal.signal(signal.SIGINT, _put_off)
        _NOW.held = True
        yield
    finally:
        # In this order: what comes in between is raised, by a handler that takes itself away.
        _NOW.held = outer
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if not outer:
        check()


def _put_off(number: int, frame: Any) -> None:
    first = not _NOW.pressed
    _NOW.pressed = _NOW.due = True
    if not (_NOW.held and first):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt


@contextlib.contextmanager
def exposed() -> Iterator[None]:
    """Let Ctrl-C raise at once again, inside of :func:`held`."""
    if not _is_main():
        yield
        return
    check()
    outer = _NOW.held
    try:
        _NOW.held = False
        yield
    finally:
        _NOW.held = outer


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and end the process at the second.

    For programs, on their main thread: what SIGTERM means is not for a library to say.

    Examples
    --------
    >>> with interruptible():
    ...     try:
    ...         signal.raise_signal(signal.SIGTERM)
    ...     except KeyboardInterrupt:
    ...         print("stopped")
    stopped
    """

    def handle(number: int, frame: Any) -> None:
        if _NOW.pressed:
            for worker in CHILDREN:
                worker.kill()
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(INTERRUPTED)
        _NOW.pressed = _NOW.due = True
        if not _NOW.held:
            raise KeyboardInterrupt

    _NOW.pressed = _NOW.due = False
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _NOW.pressed = _NOW.due = False


def command() -> str:
    """Return the command that started this process, as one would type it.

    >>> "python" in command()
    True
    """
    python, *words = sys.orig_argv
    installed = words and Path(words[0]).name == "fastopt"
    return shlex.join(["fastopt", *words[1:]] if installed else [python, *words])
