"""What several files need of the operating system, and what is done where it does not have it.

Linux is where the tests run. Files of which each is alone with such a need have a fallback of their
own; ``tests/test_house.py`` has the list of both.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

BINARY = getattr(os, "O_BINARY", 0)
"""Flag of :func:`os.open`: Windows would else write each newline as two bytes."""
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""Flag of :func:`os.open`: to refuse a symbolic link; where there is none, to follow it."""
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
"""Flag of :func:`os.open`: not to wait for the other end of a pipe."""

_IS_POSIX = os.name == "posix"


def on_fork(
    *,
    before: Callable[[], object] | None = None,
    in_parent: Callable[[], object] | None = None,
    in_child: Callable[[], object] | None = None,
) -> None:
    """Have functions called at each fork of this process; without effect where nothing forks."""
    given = {"before": before, "after_in_parent": in_parent, "after_in_child": in_child}
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**{name: call for name, call in given.items() if call is not None})


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can be asked for that.

    Windows opens no folder, and some network file systems cannot sync one: they keep names in order
    by themselves.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def is_running(pid: int) -> bool | None:
    """Whether there is a process of this number; None where one cannot ask.

    >>> is_running(os.getpid()), is_running(2**70)
    (True, False)
    """
    if not _IS_POSIX:  # there the question would be Ctrl-C, or the end of the process
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # there are no such numbers
        return False
    except PermissionError:
        return True
    return True


def on_main_thread() -> bool:
    """Tell whether this is the thread on which Python calls the handlers of signals."""
    return threading.current_thread() is threading.main_thread()
