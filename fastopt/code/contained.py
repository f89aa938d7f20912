"""Functions that kernels contain are compiled as far as that takes: half of the way.

Numba optimizes every function that a kernel calls and makes machine code of it, and then again as a
part of the kernel. Nobody calls the former.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


def calls_python(library: Any) -> bool:
    """Tell whether compiled code takes the GIL and gives it back: to print, or in ``objmode``."""
    # What calls BLAS takes it, too, but never gives it back: to abort, should BLAS refuse.
    return any(f.name == "numba_gil_release" for f in library._final_module.functions)


class _ContainedLibrary(JITCodeLibrary):
    """Code as it was lowered, which kernels link, optimize and make machine code of."""

    def _optimize_functions(self, module: Any) -> None:
        module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        if calls_python(self):
            super()._finalize_final_module()
            return
        self._finalize_dynamic_globals()
        self._finalized = True


class ContainedCompiler(Compiler):
    """Numba's compiler, for functions that only compiled code calls, which contains them."""

    def __init__(
        self, typing: Any, target: Any, _: Any, args: Any, returns: Any, flags: Any, names: Any
    ) -> None:
        library = _ContainedLibrary(target.codegen(), "contained")
        flags.no_cfunc_wrapper = True
        super().__init__(typing, target, library, args, returns, flags, names)
        target = self.state.targetctx
        target.get_executable = functools.partial(_executable, target.get_executable)


def _executable(made: Callable, library: Any, *args: Any) -> Any:
    if isinstance(library, _ContainedLibrary) and not calls_python(library):
        # Numba knows what it has compiled by a built-in function of its own, never called here.
        return library.__sizeof__
    # A block in object mode, which Python calls; or code that calls Python, with objects that Numba
    # gives to machine code alone (without, print waited for a GIL that it held).
    return made(library, *args)
