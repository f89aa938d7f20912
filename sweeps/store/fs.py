"""Everything that changes a store on disk, one function an operation.

Nothing else in this package touches files for writing, so a test can end the process before each
operation in turn, or drop what was not yet synced, and see what the next run makes of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fastopt.code import system
from fastopt.code.system import BINARY, NO_LINK, NO_WAIT
from fastopt.errors import StoreError

# A draft that another machine has not finished in this time (s) belongs to nobody.
ABANDONED = 24 * 3600.0
DRAFT = re.compile(r"\..+\.(?P<host>[\w-]+)\.(?P<pid>[0-9]+)\.[0-9a-f]+\.draft")


class NotAFile(OSError):
    """A path names a folder, a pipe, a device, or a link to nowhere instead of a file."""


def publish(path: Path, data: bytes) -> None:
    """Write a file atomically: whatever happens, all of it is under its name, or nothing.

    It is written under another name, synced, read back, renamed, and the folder is synced. If that
    fails nothing has changed.
    """
    try:
        try:
            _publish(path, data)
        except FileNotFoundError:
            # Machines that share a name, as containers do, may take each other's drafts for dead.
            if not path.parent.is_dir():
                raise
            _publish(path, data)
    except OSError as error:
        raise write_error(error, path, len(data)) from error


def _publish(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.{host()}.{os.getpid()}.{secrets.token_hex(4)}.draft")
    try:
        _write_new(draft, data)
        if read(draft) != data:
            raise OSError(errno.EIO, "what was written is not what is read")
        replace(draft, path)
        sync_folder(path.parent)
    except BaseException:  # Ctrl-C as well leaves nothing behind
        with contextlib.suppress(OSError):
            remove(draft)
        raise


def _write_new(path: Path, data: bytes) -> None:
    # A function: what is raised at the start of a nested try, before anything of it ran, passes by
    # the handlers around it (CPython 3.11).
    file = create(path)
    try:
        write(file, data)
        sync(file)
    finally:
        os.close(file)


def move(path: Path, folder: Path) -> Path:
    """Move a file to another folder of the store, under a name that is free there.

    Gone already is as good. Returns where it is now.
    """
    names = (path.name, *(f"{path.name}.{secrets.token_hex(4)}" for _ in range(3)))
    to = next(to for name in names if not os.path.lexists(to := folder / name))
    try:
        replace(path, to)
        sync_folder(folder)
        sync_folder(path.parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise write_error(error, to) from error
    return to


def create(path: Path) -> int:
    """Open a new file for writing."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY | NO_LINK, 0o666)


def write(file: int, data: bytes) -> None:
    """Write all of ``data``."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def sync(file: int) -> None:
    """Wait until what was written is on the disk."""
    os.fsync(file)


def replace(path: Path, to: Path) -> None:
    """Rename a file atomically."""
    os.replace(path, to)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    system.sync_folder(folder)


def remove(path: Path) -> None:
    """Remove a file; gone already is as good."""
    path.unlink(missing_ok=True)


def append(path: Path, data: bytes) -> None:
    """Add a line to a file of facts, whose loss would not matter: not synced."""
    with open(path, "ab", buffering=0) as file:
        file.write(data)


def make_folder(path: Path) -> None:
    """Make a folder, those it lies in included, and sync their names."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        try:
            make_one_folder(folder)
            sync_folder(folder.parent)
        except OSError as error:
            raise write_error(error, folder) from error


def make_one_folder(folder: Path) -> None:
    """Make one folder; there already is as good."""
    folder.mkdir(exist_ok=True)


def read(path: Path, most: int | None = None) -> bytes:
    """Return the bytes of a file, of which it may have ``most``.

    Raises NotAFile if it is none: reading a pipe, or ``/dev/zero``, might never end.
    """
    with _open(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise NotAFile(errno.EFBIG, f"it has {size:,} bytes, of which {most:,} are allowed")
        return file.read()


def read_end(path: Path, count: int) -> bytes:
    """Return the last bytes of a file, ``count`` of them if it is as long as that."""
    with _open(path) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - count))
        return file.read(count)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        # Not to wait for the other end, if it is a pipe.
        number = os.open(path, os.O_RDONLY | BINARY | NO_WAIT)
    except FileNotFoundError:
        if not path.is_symlink():
            raise
        raise NotAFile(errno.ENOENT, "it is a link to nowhere") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # ENXIO: a socket
            raise NotAFile(error.errno, f"it is no file ({error.strerror})") from None
        raise
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, number)
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise NotAFile(errno.EINVAL, "it is a folder, a pipe or a device, and no file")
        stack.pop_all()
        yield stack.enter_context(os.fdopen(number, "rb"))


def host() -> str:
    """Return this machine's name, of characters that a file name may have."""
    return re.sub(r"[^\w-]", "-", socket.gethostname())[:64]


def remove_dead_drafts(folder: Path) -> None:
    """Remove drafts of processes that are gone."""
    for path in folder.glob(".*.draft"):
        owner = DRAFT.fullmatch(path.name)
        if owner and _is_gone(path, owner["host"], int(owner["pid"])):
            with contextlib.suppress(OSError):
                remove(path)


def _is_gone(path: Path, owner: str, pid: int) -> bool:
    runs = system.is_running(pid) if owner == host() else None
    if runs is not None:
        return not runs
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime > ABANDONED
    return False


def write_error(error: OSError, path: Path, size: int = 0) -> StoreError:
    """Return an error that says which file, what it needs and what to do.

    >>> print(write_error(OSError(errno.EACCES, "Permission denied"), Path("runs/digits")))
    runs/digits cannot be written: Permission denied. Make it writable, or name another folder for
    the store. What is stored already is intact
    """
    need = f" ({size:,} bytes)" if size else ""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        need = f": it needs {size:,} bytes, and {_free_bytes(path):,} are free on that disk"
    remedy = _REMEDIES.get(error.errno or 0, "See to it, or name another folder for the store")
    return StoreError(
        error.errno,
        f"{path} cannot be written{need}: {error.strerror or error}. {remedy}. "
        "What is stored already is intact",
    )


def _free_bytes(path: Path) -> int:
    folder = next(folder for folder in path.absolute().parents if folder.is_dir())
    return shutil.disk_usage(folder).free


_AGAIN = "and run the same command again: it goes on where it stopped"
_REMEDIES = {
    errno.ENOSPC: f"Free some space {_AGAIN}",
    errno.EDQUOT: f"Free some of your quota {_AGAIN}",
    errno.EFBIG: f"Raise the limit on file sizes (ulimit -f) {_AGAIN}",
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "Make it writable, or name another folder for the store",
    ),
    **dict.fromkeys(
        (errno.ENOTDIR, errno.EEXIST),
        "A file is where a folder should be: name another folder for the store",
    ),
    errno.ENOENT: "The folder is gone: has it been removed or unmounted?",
}
