"""Memory and disk that a sweep needs, and that there are: what cannot fit is refused at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastopt.errors import SpecError, StoreError, shortened, writable

# Copies of the results in memory while chunks are put together: 308 bytes for 152, measured.
RESULT_COPIES = 2
# So few bytes are always free; asking how many are took 0.8 ms of every sweep.
ALWAYS_FREE = 1 << 24
# What a process can address on x86-64, and on ARM as systems run it.
ADDRESSABLE = 1 << 47
MEMINFO = Path("/proc/meminfo")
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Files with the limit of a container and what it uses, in both versions of control groups."""


def free_memory() -> int:
    """Return how many bytes this process can still take: of the machine, and of its container.

    Where a system says nothing of that it is what can be addressed: what is not known refuses
    no sweep that some machine could hold.

    >>> free_memory() > 2**20
    True
    """
    return min(_free_memory(), default=ADDRESSABLE)


def _free_memory() -> Iterator[int]:
    with contextlib.suppress(AttributeError, ValueError, OSError):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _read_text(MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024
    for files in CGROUPS:
        limit, used = (_read_text(Path(file)).strip() for file in files)
        # Pages of files count as used, and give way; the machine has them as available already.
        if limit.isdigit() and used.isdigit():
            yield int(limit) - int(used) + _file_pages(Path(files[0]).parent)


def _file_pages(folder: Path) -> int:
    stat = dict(line.split() for line in _read_text(folder / "memory.stat").splitlines())
    return int(stat.get("inactive_file", 0))


def _read_text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def free_disk(folder: str | os.PathLike[str]) -> int:
    """Return how many bytes can still be written to a folder, which need not exist yet.

    >>> free_disk("a folder/that is not/there") == free_disk(".")
    True
    """
    path = check_path(folder).absolute()
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    return shutil.disk_usage(there).free


def used_disk(folder: str | os.PathLike[str]) -> int:
    """Return the bytes of all files in a folder, 0 if there is none."""
    files = (Path(where, name) for where, _, names in os.walk(folder) for name in names)
    return sum(size_of(file) for file in files)


def size_of(path: Path) -> int:
    """Return how many bytes a file has, 0 if it is gone or none.

    >>> size_of(Path("nowhere")), size_of(Path("."))
    (0, 0)
    """
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_size if stat.S_ISREG(found.st_mode) else 0
    return 0


def check_fits(trials: int, needed: int, disk: int, store: str | os.PathLike[str] | None) -> None:
    """Raise unless the results fit in memory or, with a store, on its disk.

    ``needed``, ``disk``: bytes that the results of all trials take, in memory and in a store.

    >>> check_fits(2**40, 2**40 * 144, 2**40 * 80, None)
    Traceback (most recent call last):
    fastopt.errors.SpecError: the results of 1,099,511,627,776 trials take 158 TB of memory, ...
    """
    gathered = RESULT_COPIES * needed
    if store is None and gathered > ALWAYS_FREE and gathered > (free := free_memory()):
        raise SpecError(
            f"the results of {trials:,} trials take {format_bytes(needed)} of memory, twice that "
            f"while they are put together, and {format_bytes(free)} are free. Keep them on disk "
            "with store=... (--store), record no curves, or run fewer trials: a slice or a sample "
            "of the space"
        )
    # What is there already from an earlier run needs no more room.
    if store is not None and disk > (free := free_disk(store)) and disk > free + used_disk(store):
        raise SpecError(
            f"the results of {trials:,} trials take about {format_bytes(disk)} of disk, and "
            f"{format_bytes(free)} are free at {shortened(os.fspath(store))}. Name a folder on a "
            "larger disk, "
            "record no curves, or run fewer trials: a slice or a sample of the space"
        )


def check_model(problem: Any, needed: int, workers: int = 1) -> None:
    """Raise unless so many workers can train a model at a time.

    ``needed``: bytes that each of them allocates: parameters, slots, gradient and scratch.

    >>> from sweeps import problems
    >>> check_model(problems.iris(hidden=(8,)), 10**15, 2)
    Traceback (most recent call last):
    fastopt.errors.SpecError: hidden=8: iris has 67 parameters and takes 1e+03 TB of memory ...
    """
    if needed * workers > ALWAYS_FREE and needed * workers > (free := free_memory()):
        layers = f"hidden={'-'.join(map(str, problem.hidden))}: " if problem.hidden else ""
        times = f", times {workers} for trials that are trained at a time" if workers > 1 else ""
        fewer = "fewer workers (n_jobs, --jobs), " if workers > 1 else ""
        raise SpecError(
            f"{layers}{problem.name} has {problem.n_params:,} parameters and takes "
            f"{format_bytes(needed)} of memory to train{times}, and {format_bytes(free)} are free: "
            f"for parameters, optimizer state, gradient and scratch. Use {fewer}narrower layers "
            "(hidden) or smaller batches (batch_size)"
        )


def check_curve(points: int, columns: int) -> None:
    """Raise unless memory can hold the curve of one trial.

    >>> check_curve(10**15, 5)
    Traceback (most recent call last):
    fastopt.errors.SpecError: the 1,000,000,000,000,000 points of the curve of a trial take ...
    """
    check_memory(
        8 * points * columns,
        f"the {points:,} points of the curve of a trial take",
        "Set eval_every (a number of steps, or 'log') to record fewer, or record no curves",
    )


def check_memory(needed: int, what: str, remedy: str) -> None:
    """Raise unless so many bytes are free; ``what`` ends in a verb, ``remedy`` is a sentence.

    >>> check_memory(10**15, "data take", "Use fewer rows")
    Traceback (most recent call last):
    fastopt.errors.SpecError: data take 1e+03 TB of memory, and ... are free. Use fewer rows
    """
    if needed > ALWAYS_FREE and needed > (free := free_memory()):
        raise SpecError(
            f"{what} {format_bytes(needed)} of memory, and {format_bytes(free)} are free. {remedy}"
        )


LONGEST_NAME = 255
"""Bytes of a file's name, on Linux, macOS and Windows alike."""


def check_path(path: str | os.PathLike[str]) -> Path:
    """Return a path that every library here can open, or say why it is none.

    None is a name too long for any file system, one with bytes that are no text (Parquet's library
    knows no other names), or with a NUL.

    >>> check_path("runs/digits")
    PosixPath('runs/digits')
    >>> check_path("")
    Traceback (most recent call last):
    fastopt.errors.StoreError: '' of type str is no path
    """
    if not isinstance(path, str | bytes | os.PathLike) or path == "":  # not the folder one is in
        raise StoreError(f"{shortened(path)} of type {type(path).__name__} is no path")
    text = os.fspath(path)
    names = text.replace(os.sep, "/").split("/") if isinstance(text, str) else []
    if any(len(os.fsencode(name)) > LONGEST_NAME for name in names if writable(name) == name):
        raise StoreError(f"{shortened(text)}: a name of more than {LONGEST_NAME} bytes is in it")
    if not isinstance(text, str) or "\0" in text or writable(text) != text:
        raise StoreError(
            f"{shortened(text)}: results cannot be kept there, since this name is no text that "
            "UTF-8 can write. Choose another; if it looks right in your terminal, the locale is "
            "wrong: set LC_ALL=C.UTF-8 or PYTHONUTF8=1"
        )
    return Path(text)


def format_bytes(count: float) -> str:
    """Write a number of bytes in decimal units.

    >>> [format_bytes(b) for b in (12, 3400, 5.6e7, 2e12, 3e16)]
    ['12 B', '3.4 kB', '56 MB', '2 TB', '3e+04 TB']
    """
    count = min(count, 1e300)  # what no float can hold is as much, for a reader
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g} {unit}"
