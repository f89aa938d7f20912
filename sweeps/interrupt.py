"""What the command line does about Ctrl-C and SIGTERM: the first stops the work, the second all."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["INTERRUPTED", "check", "command", "interruptible"]

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_PRESSED = threading.Event()


def check() -> None:
    """Raise KeyboardInterrupt again if the first one was lost; long work calls this now and then.

    An exception that a signal raises inside a callback of C code or of the garbage collector is
    printed and forgotten by Python: one Ctrl-C of seven at random moments was.

    >>> check()  # nobody has pressed anything
    """
    if _PRESSED.is_set():
        raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and end the process at the second.

    For programs, on their main thread: what to do about signals is not for a library to say.

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
        if _PRESSED.is_set():
            for worker in multiprocessing.active_children():
                worker.kill()
            os._exit(INTERRUPTED)
        _PRESSED.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _PRESSED.clear()


def command() -> str:
    """Return the command that started this process, as one would type it.

    >>> "python" in command()
    True
    """
    python, *words = sys.orig_argv
    installed = words and Path(words[0]).name == "fastopt"
    return shlex.join(["fastopt", *words[1:]] if installed else [python, *words])
