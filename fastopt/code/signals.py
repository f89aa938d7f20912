"""Ctrl-C while a kernel compiles or loads comes between two passes of Numba's, where it harms none.

Python raises KeyboardInterrupt between any two instructions of the main thread. In the middle of
Numba that does harm that lasts: what it was registering it lacks for good, LLVM frees twice what it
was just given, a lock that was just taken is kept. What a finalizer or a callback of llvmlite's
raises is lost, and the kernel compiled to its end; or it is taken for an answer, and the process
jumps to where there is no code. So signals are held meanwhile, and their handlers called before
each pass, which may raise: so does what a pass cannot compile. The longest, which lowers the kernel
of sweeps, takes 3 s; before LLVM's two parts of it, of 1.2 and 0.6 s, they are called, too.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from numba.core import event
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from fastopt.code.system import on_main_thread

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_handlers: dict[int, Any] = {}
_came: list[tuple[int, FrameType | None]] = []
_holding = threading.Event()


def _hold(number: int, frame: FrameType | None) -> None:
    """Note a signal, or hand it on: an exception may have left this in place."""
    if _holding.is_set():
        _came.append((number, frame))
    else:
        _handlers[number](number, frame)


def deliver_signals() -> None:
    """Call the handlers of signals that are held; they may raise."""
    while _came and on_main_thread():
        number, frame = _came.pop(0)
        try:
            _handlers[number](number, frame)
        finally:
            if _holding.is_set():  # some handlers take themselves away
                signal.signal(number, _hold)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM until Numba's next pass, or the block's end.

    On the main thread; elsewhere Python calls no handlers.

    >>> before = signal.signal(signal.SIGTERM, lambda number, frame: print("stopped"))
    >>> with signals_held():
    ...     signal.raise_signal(signal.SIGTERM)
    ...     print("in order")
    in order
    stopped
    >>> _ = signal.signal(signal.SIGTERM, before)
    """
    if _holding.is_set() or not on_main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    handlers = {n: handler for n, handler in handlers.items() if callable(handler)}
    try:
        _came.clear()
        _handlers.update((n, handler) for n, handler in handlers.items() if handler is not _hold)
        _holding.set()
        for number in handlers:
            signal.signal(number, _hold)
        yield
    finally:
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        finally:
            _holding.clear()
        deliver_signals()


class _BeforePasses(event.Listener):
    def on_start(self, event: Any) -> None:
        deliver_signals()

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:run_pass", _BeforePasses())


class _Library(JITCodeLibrary):
    def _optimize_final_module(self) -> None:
        deliver_signals()
        super()._optimize_final_module()
        deliver_signals()


class KernelCompiler(Compiler):
    """Numba's compiler, which a signal stops before LLVM optimizes a kernel, and after."""

    def __init__(
        self, typing: Any, target: Any, _: Any, args: Any, returns: Any, flags: Any, names: Any
    ) -> None:
        library = _Library(target.codegen(), "kernel")
        library.enable_object_caching()
        super().__init__(typing, target, library, args, returns, flags, names)
