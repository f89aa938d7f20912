"""The one place that calls Numba: options, names, digests and the disk cache.

A *template* is a plain function that closes a loop over its *parts* (update rules, losses,
schedules - plain functions too) and returns it; :func:`kernel` compiles that loop.

Numba's own cache does not notice an edited part in another file, nor changed jit options: it
silently runs the old machine code (measured; numba#6264, numba#6845). So a digest of everything
the kernel is made of goes into its ``__qualname__``, which names its cache files.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.utils import _dynamic_modname, _dynamic_module
from numba.extending import register_jitable

from fastopt.errors import CacheWarning

__all__ = ["cache_folder", "inlinable", "jitable", "kernel", "registration", "told_apart"]

# contract allows a*b + c to become one FMA. Never `True`: nnan/ninf delete NaN checks (numba#2919).
FASTMATH = frozenset({"contract"})
# Nor `reassoc` for sums: serial and parallel twins then differ in bits (measured), so norms.py adds
# in explicit lanes instead.

_OWN_PACKAGES = ("fastopt", "sweeps")

# Cached code of a function whose module cannot be imported - typed in a notebook, made by exec -
# names this one, which Numba imports when it loads the code, and does not find.
sys.modules.setdefault(_dynamic_modname, _dynamic_module)
_MARK = "__fastopt_registration__"


def inlinable(function: Callable) -> Callable:
    """Register a small plain function that kernels inline; returns the same plain function."""
    named = _marked(told_apart(function), "inlinable")
    return register_jitable(error_model="numpy", fastmath=set(FASTMATH), forceinline=True)(named)


def jitable(function: Callable) -> Callable:
    """Register a plain function that kernels call; LLVM decides whether to inline it."""
    named = _marked(told_apart(function), "jitable")
    return register_jitable(error_model="numpy", fastmath=set(FASTMATH))(named)


def registration(function: Callable) -> str | None:
    """Return which of ``inlinable`` and ``jitable`` a function was registered by, or None.

    >>> registration(jitable(lambda x: x)), registration(lambda x: x)
    ('jitable', None)
    """
    return getattr(function, _MARK, None)


def _marked(function: Callable, name: str) -> Callable:
    # Numba's registry ends with the process. A function that is sent to another one needs its entry
    # again there, so it has to know that it had one.
    setattr(function, _MARK, name)
    return function


def told_apart(function: Callable) -> Callable:
    """Name an inner function after what it is made of, in place; return it.

    Numba tells two functions of one name apart by a counter, which starts anew in every process: of
    two kernels cached by two processes and loaded by a third, one called the inner function of the
    other (measured: the finite check returned the sum of squares).
    """
    if "<locals>" in function.__qualname__:
        ending = f"_{fingerprint(function)}"
        function.__qualname__ = function.__qualname__.removesuffix(ending) + ending
    return function


@functools.cache
def kernel(template: Callable, *parts: Any, parallel: bool = False, nogil: bool = True) -> Any:
    """Compile ``template(*parts)`` lazily, cached on disk under a name that says what it is.

    Parameters
    ----------
    template : callable
        Plain function that returns the loop to compile, closed over ``parts``.
    *parts : hashable
        Plain functions (registered by :func:`inlinable` or :func:`jitable`) and constants.
    parallel : bool
        Compile ``prange`` as a parallel region; otherwise it is ``range`` (the serial twin).
    nogil : bool
        Release the GIL while it runs.

    Returns
    -------
    numba.core.registry.CPUDispatcher
        The same object for the same arguments. Nothing compiles before the first call.

    Examples
    --------
    >>> import numpy as np
    >>> def scaled(rule):
    ...     def loop(c, x):
    ...         for i in range(x.size):
    ...             x[i] = rule(c, x[i])
    ...     return loop
    >>> @inlinable
    ... def times(c, x):
    ...     return c * x
    >>> x = np.ones(3)
    >>> kernel(scaled, times)(2.0, x)
    >>> x
    array([2., 2., 2.])
    """
    function = template(*parts)
    options = {"parallel": parallel, "nogil": nogil, "fastmath": set(FASTMATH)}
    digest = fingerprint(template, *parts, tuple(sorted(map(repr, options.items()))))
    names = [getattr(part, "__name__", str(part)) for part in (template, *parts)]
    label = "_".join([*names, "parallel" if parallel else "serial"])
    # File names end at 255 bytes; the digest alone identifies, the label is for profilers.
    function.__qualname__ = f"{label[:120]}_{digest}"
    dispatcher = numba.njit(error_model="numpy", **options)(function)
    _attach_cache(dispatcher, function)
    return dispatcher


def fingerprint(*parts: Any) -> str:
    """Hash everything that decides what machine code ``parts`` compile to.

    Functions count with their bytecode, constants, defaults, closures and every function they
    can reach by name; functions of our own packages also with their whole source file, because
    ``@overload`` bodies are not reachable by name.
    """
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:2]}".encode())
    for item in _walk(parts, set()):
        digest.update(item)
    return digest.hexdigest()[:16]


def _walk(values: Any, seen: set[int]) -> Iterator[bytes]:
    for value in values:
        function = getattr(value, "py_func", None) or getattr(value, "_defn", None) or value
        if isinstance(function, types.FunctionType):
            if id(function) in seen:
                continue
            seen.add(id(function))
            yield from _walk_function(function, seen)
        elif isinstance(value, tuple | list | frozenset):
            yield from _walk(
                sorted(value, key=repr) if isinstance(value, frozenset) else value, seen
            )
        elif isinstance(value, types.ModuleType | type):
            yield value.__name__.encode()
        elif hasattr(value, "tobytes"):
            yield repr((value.dtype, value.shape)).encode() + value.tobytes()
        else:
            # Addresses in a default repr would change in every process.
            yield (
                repr(value) if "object at 0x" not in repr(value) else type(value).__name__
            ).encode()


def _walk_function(function: types.FunctionType, seen: set[int]) -> Iterator[bytes]:
    module = function.__module__ or ""
    if module.split(".")[0] in _OWN_PACKAGES:
        yield _source_hash(module)
    names: list[str] = []
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        yield code.co_code
        names += code.co_names
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                codes.append(constant)
            else:
                yield repr(constant).encode()
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    yield from _walk([function.__defaults__ or (), *cells], seen)
    reachable = {name: function.__globals__[name] for name in names if name in function.__globals__}
    # `maths.exp` names the module in globals, and the function only inside the module.
    for module in [value for value in reachable.values() if _is_own_module(value)]:
        inside = [name for name in names if name in vars(module)]
        reachable |= {f"{module.__name__}.{name}": vars(module)[name] for name in inside}
    for name in sorted(reachable):
        yield name.encode()
        yield from _walk([reachable[name]], seen)


def _is_own_module(value: Any) -> bool:
    return isinstance(value, types.ModuleType) and value.__name__.split(".")[0] in _OWN_PACKAGES


@functools.cache
def _source_hash(module: str) -> bytes:
    file = getattr(sys.modules.get(module), "__file__", None)
    try:
        return hashlib.sha256(Path(file).read_bytes()).digest() if file else b""
    except OSError:  # zip imports: the package version below is all there is
        return b""


class KernelCache(FunctionCache):
    """Numba's disk cache, keyed by our digest, one index a signature, never fatal.

    Numba's index is read, changed and rewritten without a lock, so two processes that save two
    signatures of one function can mix them up (numba#10128, numba#4807): here each signature has
    an index of its own. A truncated file raises EOFError on every call (numba#10434), a full disk
    raises from the kernel call: here both are a warning, and the kernel is compiled in memory.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the stored code for ``sig``, or None when there is none that can be read."""
        try:
            self._use_index_of(sig)
            return super().load_overload(sig, target_context)
        except Exception as error:
            self._warn("read from", error)
            with contextlib.suppress(Exception):
                self._cache_file.flush()  # saving reads the index first: mend it, or it stays bad
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store the code for ``sig``; failing that, warn and go on."""
        try:
            self._use_index_of(sig)
            super().save_overload(sig, data)
        except Exception as error:
            self._warn("written to", error)

    def _use_index_of(self, sig: Any) -> None:
        base = f"{self._impl.filename_base}-{hashlib.sha256(repr(sig).encode()).hexdigest()[:12]}"
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=base,
            source_stamp=self._py_func.__qualname__,
        )

    def _index_key(self, sig: Any, codegen: Any) -> tuple:
        # Numba pickles the closure here, which differs between processes for functions pickled by
        # value; the digest in the name already covers all of it.
        return (sig, codegen.magic_tuple(), self._py_func.__qualname__)

    def _warn(self, verb: str, error: Exception) -> None:
        warnings.warn(
            f"compiled code could not be {verb} the cache folder {self._cache_path} "
            f"({type(error).__name__}: {error}); the kernel works but is compiled again in every "
            "process. Free or unlock the folder, or name another one in NUMBA_CACHE_DIR.",
            CacheWarning,
            stacklevel=2,
        )


@functools.cache
def cache_folder() -> Path | None:
    """Return the folder that compiled code is cached in, None if there is none."""
    cache = getattr(kernel(_any_loop), "_cache", None)
    folder = getattr(cache, "_cache_path", None)
    return None if folder is None else Path(folder)


def _any_loop() -> Callable:
    """Stand in for a template: all kernels of this package have one folder."""
    return lambda: None


def _attach_cache(dispatcher: Any, function: Callable) -> None:
    typed_in = function.__code__.co_filename.startswith("<")  # a prompt or a doctest: no file
    if numba.config.DISABLE_JIT or typed_in:
        return
    try:
        dispatcher._cache = KernelCache(function)
    except (RuntimeError, OSError) as error:  # no locator: read-only home, zip, notebook
        warnings.warn(
            f"no folder to cache compiled code in ({error}); kernels work but are compiled again "
            "in every process. Name a writable folder in NUMBA_CACHE_DIR.",
            CacheWarning,
            stacklevel=2,
        )
