"""The disk cache of compiled code: one checked file for each kernel and signature.

Numba unpickles what it finds, and pickles run code: so nothing is unpickled that this user did not
write. A file counts only if it is the user's own, as is the folder, and nobody else may write to
either; and if its digest is that of its content under its own key. A flipped bit, a file cut short
or under another's name is compiled anew; someone who may write there could make a digest too, which
is why the owner is asked.

Numba's index is read, changed and rewritten without a lock, so two processes that save two
signatures of one function can mix them up (numba#10128, numba#4807); here there is none.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache

from fastopt.code.system import BINARY, NO_LINK
from fastopt.code.turns import Turns
from fastopt.errors import CacheWarning
from fastopt.late import collector_paused

# Digest of key and content, before the content.
_DIGEST = hashlib.sha256().digest_size

_HAS_USERS = hasattr(os, "geteuid")


@functools.cache
def cache_folder() -> Path | None:
    """Return the folder that compiled code is cached in, made if need be; None if there is none.

    It is in ``NUMBA_CACHE_DIR`` if that is set, else beside the package if one may write there,
    else the user's own in ``XDG_CACHE_HOME`` or ``~/.cache``. Warns CacheWarning if there is none,
    or the one in ``NUMBA_CACHE_DIR`` is not private.
    """
    named = numba.config.CACHE_DIR
    for folder in _candidates(named):
        made = private_folder(folder)
        if made is not None:
            return made
        if named and folder.parent == Path(named):
            warnings.warn(
                f"{folder} is not a folder that only this user may write to, so no code is loaded "
                "from it, nor kept there; give NUMBA_CACHE_DIR a folder of this user's own",
                CacheWarning,
                stacklevel=2,
            )
    warnings.warn(
        "no folder to cache compiled code in: none can be made that only this user may write to; "
        "kernels work but are compiled again in every process. Name a writable folder in "
        "NUMBA_CACHE_DIR.",
        CacheWarning,
        stacklevel=2,
    )
    return None


def _candidates(named: str) -> Iterator[Path]:
    # One for each user: a cluster's machines, or a root and a user, may share the folder around.
    name = f"fastopt-kernels-{os.geteuid()}" if _HAS_USERS else "fastopt-kernels"
    if named:
        yield Path(named, name)
    yield Path(__file__).parents[1] / "__pycache__" / name
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    yield Path(home, "fastopt", name)


def private_folder(path: Path) -> Path | None:
    """Make a folder that only this user may write to, unless it is there; None if it cannot be.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folder = private_folder(Path(parent, "own"))
    ...     oct(folder.stat().st_mode & 0o777)
    '0o700'
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        facts = path.lstat()  # a link may lead to a folder of another's choice
    except OSError:
        return None
    return path if stat.S_ISDIR(facts.st_mode) and is_private(facts) and _writable(path) else None


def is_private(facts: os.stat_result) -> bool:
    """Whether a file or folder is this user's, and nobody else may write to it."""
    if not _HAS_USERS:  # no such owners and modes: the user's profile is private
        return True
    return facts.st_uid == os.geteuid() and not facts.st_mode & 0o022


def _writable(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK | os.X_OK)


class _Place(CompileResultCacheImpl):
    """What Numba asks of a cache beside its files: how to take compiled code apart."""

    def __init__(self, name: str) -> None:
        self._lineno, self._locator = 0, self
        self._filename_base, self._py_file = name, name

    def ensure_cache_path(self) -> None:
        """Do nothing: the folder is there."""


class KernelCache(FunctionCache):
    """Numba's disk cache, keyed by our digest, one checked file a signature, never fatal.

    A truncated file raises EOFError on every call in Numba's own (numba#10434), a full disk raises
    from the kernel call: here both are a warning, and the kernel is compiled in memory.

    ``name``: of the kernel, with a digest of all that it is made of. ``folder``: from
    :func:`cache_folder`.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder
        self._cache_path = str(folder)
        self._impl = _Place(name)
        self._turns, self._places = _turns(folder), set[int]()
        self.enable()

    def holds(self, sig: Any, codegen: Any) -> bool:
        """Whether there is a file for ``sig``, which need not be whole."""
        return self._path(self._key(sig, codegen)).exists()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the stored code for ``sig``, or None when there is none that can be read.

        What another process compiles at this moment is waited for. After None it is our turn to
        compile, until :meth:`save_overload` or :meth:`give_up`.
        """
        with collector_paused():
            target_context.refresh()  # which fills Numba's registries, once
        key = self._key(sig, target_context.codegen())
        path, place = self._path(key), _place(key)
        self._places.add(place)
        self._turns.take(place, path.exists)
        try:
            content = _checked(path, key)
            found = content and self._impl.rebuild(target_context, pickle.loads(content))
        except Exception as error:
            _warn_once(self._folder, "read from", error)
            found = None
        if found:
            self.give_up()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store the code for ``sig``; failing that, warn and go on."""
        try:
            # Code that holds addresses, of an array of more than 1 MB, is of this process alone.
            lifted = any(not loop.can_cache for loop in data.lifted)
            if not (lifted or data.library.has_dynamic_globals):
                key = self._key(sig, data.codegen)
                path = self._path(key)
                _replace(path, key, numba.core.caching.dumps(self._impl.reduce(data)))
                self._turns.note(path.name)
        except Exception as error:
            _warn_once(self._folder, "written to", error)
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Let other processes compile what this one would have: it is done, or cannot be."""
        while self._places:
            self._turns.give_back(self._places.pop())

    def flush(self) -> None:
        """Do nothing: what is out of date has another name."""

    def _key(self, sig: Any, codegen: Any) -> bytes:
        """Return what the code is: kernel, signature, machine and version, as text."""
        return repr((self._name, sig, codegen.magic_tuple(), numba.__version__)).encode()

    def _path(self, key: bytes) -> Path:
        return self._folder / f"{self._name}-{hashlib.sha256(key).hexdigest()[:12]}.nbc"


_turns = functools.cache(Turns)


def _place(key: bytes) -> int:
    return int.from_bytes(hashlib.sha256(key).digest()[:7], "big")


def _checked(path: Path, key: bytes) -> bytes | None:
    """Return the content of a file, None if there is none; raise if it is not what was written."""
    try:
        with open(path, "rb", opener=_no_link) as file:
            if not is_private(os.fstat(file.fileno())):
                raise PermissionError(f"{path.name} is another user's, or others may write to it")
            digest, content = file.read(_DIGEST), file.read()
    except FileNotFoundError:
        return None
    if digest != _digest(key, content):
        raise ValueError(f"{path.name} is damaged")
    return content


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | NO_LINK)


def _digest(key: bytes, content: bytes) -> bytes:
    digest = hashlib.sha256(key + b"\0")
    digest.update(content)
    return digest.digest()


def _replace(path: Path, key: bytes, content: bytes) -> None:
    """Write a file whole or not at all."""
    draft = path.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}")
    try:
        new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY
        with open(os.open(draft, new, 0o600), "wb") as file:
            file.write(_digest(key, content) + content)
        os.replace(draft, path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


@functools.cache
def _warned(folder: Path, verb: str) -> list[Exception]:
    return []


def _warn_once(folder: Path, verb: str, error: Exception) -> None:
    """Warn of the first file of this process; where one is damaged, a hundred may be."""
    found = _warned(folder, verb)
    found.append(error)
    if len(found) > 1:
        return
    warnings.warn(
        f"compiled code could not be {verb} the cache folder {folder} "
        f"({type(error).__name__}: {error}); the kernel works but is compiled again, and so is any "
        "other like it. Free or unlock the folder, or name another one in NUMBA_CACHE_DIR.",
        CacheWarning,
        stacklevel=2,
    )
