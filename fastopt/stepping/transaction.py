"""A step is one transaction: no other thread, and nothing it calls itself, gets in between.

A fork waits for the steps and compilations of other threads, since a lock that one of them held
would be held in the child for ever, and half a step would stay half done there.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from llvmlite.binding import ffi
from numba.core.compiler_lock import global_compiler_lock

from fastopt.code.system import on_fork
from fastopt.errors import ReentryError

_all: weakref.WeakSet[Transaction] = weakref.WeakSet()


class Transaction:
    """Two locks for one thread at a time, and for each but once: ``with t.lock, t.alone():``.

    Both are C's own, which no signal's exception (Ctrl-C) comes in between: a context in Python had
    it between its lock and its first line, or before its last, and stayed locked for ever.

    ``lock``, RLock: who calls nothing of a user's may take it alone.

    >>> transaction = Transaction("SGD")
    >>> with transaction.lock, transaction.alone():
    ...     transaction.alone()
    Traceback (most recent call last):
        ...
    fastopt.errors.ReentryError: SGD: a step was asked for, ... Nothing was changed by it.
    """

    __slots__ = ("__weakref__", "_inner", "_name", "lock")

    def __init__(self, name: str) -> None:
        self._name = name
        self.make_locks()
        _all.add(self)

    def make_locks(self) -> None:
        """Have locks that nobody holds."""
        self.lock, self._inner = threading.RLock(), threading.Lock()

    def alone(self) -> threading.Lock:
        """Return the inner lock, to be taken by who holds the outer one.

        Raises ReentryError if it is taken, which can only be by the same thread.
        """
        if self._inner.locked():
            raise ReentryError(
                f"{self._name}: a step was asked for, or the optimizer changed, from inside a step "
                "of the same optimizer (from its schedule, say, or a property of an option). Do so "
                "before or after the step. Nothing was changed by it."
            )
        return self._inner


# A thread that waits for the one that forks would wait for ever.
_PATIENCE = 10.0
_held: list[Any] = []


def _before_fork() -> None:
    locks = [global_compiler_lock._lock, ffi.lib._lock._lock, *(each.lock for each in list(_all))]
    _held[:] = [lock for lock in locks if lock.acquire(timeout=_PATIENCE)]


def _after_fork() -> None:
    while _held:
        _held.pop().release()


def _after_fork_in_child() -> None:
    if global_compiler_lock._lock not in _held:
        global_compiler_lock._lock = threading.RLock()
    for each in _all:
        if each.lock not in _held:
            each.make_locks()
    _after_fork()


on_fork(before=_before_fork, in_parent=_after_fork, in_child=_after_fork_in_child)
