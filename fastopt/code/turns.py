"""One process compiles a kernel; others that want the same at that moment wait, and load it.

A turn is a lock on a byte of a file in the cache folder, which byte is the kernel's digest. The
system gives it back with the process, however that ends; a child does not inherit it. Kernels call
kernels in one direction, so nobody waits in a circle. Who has waited for :data:`PATIENCE` in vain,
for a process that is stopped or very slow, compiles and waits for nobody again. Where files cannot
be locked nobody waits: what two processes compile at once is the same.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from fastopt.code.cached import cached_property
from fastopt.code.signals import deliver_signals
from fastopt.code.system import BINARY, NO_LINK

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

# Three times as long as the longest kernel takes on a busy machine, seconds.
PATIENCE = 60.0
_PAUSE = 0.01


class Turns:
    r"""The turns in one folder; Numba compiles in one thread of a process at a time.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     turns = Turns(Path(folder))
    ...     turns.take(7, lambda: False)
    ...     turns.note("the seventh")
    ...     turns.give_back(7)
    ...     Path(folder, "turns").read_text()
    'the seventh\n'
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._patient = folder, fcntl is not None

    @cached_property
    def _file(self) -> int:
        # Open until the process ends: to close it would give back every turn.
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | BINARY | NO_LINK
        return os.open(self._folder / "turns", how, 0o600)

    def take(self, place: int, is_done: Callable[[], bool]) -> None:
        """Return when it is our turn at ``place``, or what another does there is done.

        ``place``: which byte, from 0 to 2^62. ``is_done``: whether what is waited for is there.
        """
        end = time.monotonic() + PATIENCE
        try:
            while self._patient and not is_done() and not self._is_ours(place):
                deliver_signals()
                self._patient = time.monotonic() < end
                time.sleep(_PAUSE)
        except OSError:  # a folder that cannot be written to, a file system without locks
            self._patient = False

    def _is_ours(self, place: int) -> bool:
        file = self._file
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # another's: POSIX allows either
            return False
        return True

    def give_back(self, place: int) -> None:
        """Let the next one have ``place``; without effect where it was not taken."""
        if fcntl and "_file" in vars(self):
            with contextlib.suppress(OSError):
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def note(self, name: str) -> None:
        """Add a line to the file: what was compiled, so that what is compiled twice is seen."""
        with contextlib.suppress(OSError):
            os.write(self._file, f"{name}\n".encode())
