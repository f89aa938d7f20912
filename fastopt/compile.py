"""The one place that calls Numba: options, names, digests and the disk cache.

A *template* is a plain function that closes a loop over its *parts* (update rules, losses,
schedules - plain functions too) and returns it; :func:`kernel` compiles that loop.

Numba's own cache does not notice an edited part in another file, nor changed jit options: it
silently runs the old machine code (measured; numba#6264, numba#6845). And a compiled function keeps
what it read when it was compiled. So a kernel is known by the fingerprint of everything it is made
of, in memory and on disk, and it is made of copies that nothing can change
(:mod:`fastopt.code.fingerprint`, :mod:`fastopt.code.frozen`, :mod:`fastopt.code.cache`).
"""

from __future__ import annotations

import contextlib
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numba
from llvmlite import binding
from numba.core.compiler_lock import global_compiler_lock
from numba.core.utils import _dynamic_modname, _dynamic_module

from fastopt.code.cache import KernelCache, cache_folder
from fastopt.code.contained import calls_python
from fastopt.code.fingerprint import fingerprint, is_settled
from fastopt.code.frozen import fingerprint_and_warn, frozen, frozen_loop
from fastopt.code.registration import (
    FASTMATH,
    adopted,
    inlinable,
    jitable,
    name_by_content,
    registration,
)
from fastopt.code.signals import KernelCompiler, signals_held
from fastopt.code.target import check_host, mode
from fastopt.errors import CompileError
from fastopt.late import collector_paused

__all__ = [
    "Options", "Recipe", "addressed", "adopted", "cache_folder", "compilations", "fingerprint",
    "fingerprint_and_warn", "frozen", "inlinable", "is_compiled", "jitable", "kernel",
    "name_by_content", "recipe_of", "registration",
]  # fmt: skip

if mode() == "portable":
    check_host(binding.get_host_cpu_features())

# Cached code of a function whose module cannot be imported - typed in a notebook, made by exec -
# names this one, which Numba imports when it loads the code, and does not find.
sys.modules.setdefault(_dynamic_modname, _dynamic_module)

_kernels: dict[tuple, Any] = {}
_compiled_names: list[str] = []


class Options(NamedTuple):
    """How a kernel is compiled: see :func:`kernel`."""

    parallel: bool = False
    nogil: bool = True
    by_address: bool = False


class Recipe(NamedTuple):
    """What a kernel is made from: arguments of :func:`kernel`."""

    template: Callable
    parts: tuple
    options: Options

    def make(self) -> Any:
        """Return the kernel."""
        return kernel(self.template, *self.parts, **self.options._asdict())


def kernel(
    template: Callable,
    *parts: Any,
    parallel: bool = False,
    nogil: bool = True,
    by_address: bool = False,
) -> Any:
    """Compile ``template(*parts)`` lazily, cached on disk under a name that says what it is.

    Returns the same object as long as nothing changes that the loop is made of. Nothing compiles
    before the first call.

    * ``template``: plain function that returns the loop to compile, closed over ``parts``.
    * ``*parts``, hashable: plain functions and constants. Functions are compiled as they are at
      this call.
    * ``parallel``: compile ``prange`` as a parallel region; otherwise it is ``range`` (the serial
      twin).
    * ``nogil``: release the GIL while it runs. Without it, it may run in other threads than the
      one that holds the GIL, so that it cannot call Python.
    * ``by_address``: it is called by its address alone (:func:`fastopt.machine.calls.address_of`).
      What takes it apart for Python, which then cannot call it, is not compiled: 20 ms.

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
    parts, options = frozen(parts), Options(parallel, nogil, by_address)
    if is_settled(template) and all(isinstance(part, _KNOWN_BY_IDENTITY) for part in parts):  # type: ignore[arg-type]
        return _settled(template, options, *parts)
    return _current(template, options, *parts)


def _current(template: Any, options: Options, *parts: Any) -> Any:
    """Return the kernel of frozen parts by its fingerprint, which takes some 0.1 ms."""
    digest = fingerprint(template, *parts, *options)
    made = _kernels.get((template.__qualname__, digest))
    if made is None:
        made = compiled(template, parts, digest, options)
        made = _kernels.setdefault((template.__qualname__, digest), made)
    return made


addressed = functools.partial(kernel, by_address=True)
"""Compile a kernel that is called by its address alone: see :func:`kernel`."""

# Where nothing can change the objects themselves will do: 1 us.
_settled = functools.lru_cache(maxsize=None, typed=True)(_current)
_KNOWN_BY_IDENTITY = (types.FunctionType, int, type(None))


def _cache_info() -> Any:
    """Return how many kernels are kept, in the words of :func:`functools.cache`."""
    return _settled.cache_info()._replace(currsize=len(_kernels))


vars(kernel)["cache_info"] = _cache_info


@contextlib.contextmanager
def _enabled() -> Iterator[None]:
    """Compile though ``NUMBA_DISABLE_JIT`` is set: a kernel works on addresses, Python cannot."""
    with signals_held(), global_compiler_lock, collector_paused():
        before, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, 0
        try:
            yield
        finally:
            numba.config.DISABLE_JIT = before


def _watch_compiling(dispatcher: Any, holds_gil: bool) -> None:
    """Note what compiles; of what cannot, let other processes try, which wait for this one."""
    compiles = dispatcher._compiler.compile

    def watched(*args: Any) -> Any:
        try:
            with _enabled():
                made = compiles(*args)
                if holds_gil and calls_python(made.library):
                    raise CompileError(
                        "a rule's functions cannot call Python (print, objmode): while a step runs "
                        "Python waits, and its threads would wait for Python. They are plain ones: "
                        "call them from Python to look into them, as rule.update(c, g, x)"
                    )
        except BaseException:
            if isinstance(dispatcher._cache, KernelCache):
                dispatcher._cache.give_up()
            raise
        _compiled_names.append(dispatcher.__qualname__)
        return made

    dispatcher._compiler.compile = watched


def compilations() -> tuple[str, ...]:
    """Return the names of the kernels that this process has compiled, not loaded, until now.

    A kernel is there once for each signature.
    """
    return tuple(_compiled_names)


def _ignore(*_: Any) -> None:
    pass


def _refuse_call(*_: Any, **__: Any) -> None:
    raise TypeError("this kernel is called by its address alone; make one without by_address=True")


def recipe_of(made: Any) -> Recipe:
    """Return what a kernel was made from, with which another process makes the same.

    >>> recipe_of(kernel(lambda: lambda x: x + 1)).options.parallel
    False
    """
    return made.recipe


def is_compiled(made: Any, arguments: tuple) -> bool:
    """Whether a kernel's machine code for these Numba types is in this process or on disk.

    >>> made = kernel(lambda: lambda x: x + 2)
    >>> is_compiled(made, (numba.int64,)), made(1), is_compiled(made, (numba.int64,))
    (False, 3, True)
    """
    if arguments in made.overloads:
        return True
    on_disk = isinstance(made._cache, KernelCache)
    return on_disk and made._cache.holds(arguments, made.targetctx.codegen())


def compiled(template: Callable, parts: tuple, digest: str, options: Options) -> Any:
    """Make the dispatcher of a kernel anew."""
    function: Any = frozen_loop(template(*parts))
    parallel, nogil, by_address = options
    numbas = {
        "parallel": parallel, "nogil": nogil, "error_model": "numpy", "fastmath": set(FASTMATH),
        "no_cfunc_wrapper": True, "no_cpython_wrapper": by_address,
        "pipeline_class": KernelCompiler,
    }  # fmt: skip
    names = [getattr(part, "__name__", str(part)) for part in (template, *parts)]
    label = "_".join([*names, "parallel" if parallel else "serial"])
    # File names end at 255 bytes; the digest alone identifies, the label is for profilers.
    function.__qualname__ = f"{label[:120]}_{digest}"
    with _enabled():
        dispatcher = numba.njit(**numbas)(function)
    dispatcher.recipe = Recipe(template, parts, options)
    _watch_compiling(dispatcher, holds_gil=not nogil)
    dispatcher.compile = signals_held()(dispatcher.compile)
    if by_address:  # Numba would jump to an entry that is not there
        dispatcher._insert, dispatcher._compile_for_args = _ignore, _refuse_call
    typed_in = template.__code__.co_filename.startswith("<")  # a prompt or a doctest
    folder = None if typed_in else cache_folder()
    if folder is not None:
        dispatcher._cache = KernelCache(function.__qualname__, folder)
    return dispatcher
