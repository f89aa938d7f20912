"""Serial and parallel twins of a kernel, and the guard that chooses between them.

Both twins compute the same bits, so the choice is invisible but for speed. The guard keeps three
things from happening: a second thread entering Numba's ``workqueue`` layer (the process would
abort, numba#8563), a forked child entering its parent's OpenMP pool (the child would be killed),
and a parallel launch for an array that one core finishes sooner.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock
from numba.core.pythonapi import PythonAPI
from numba.np.ufunc import parallel as numba_parallel

from fastopt.code.system import on_fork
from fastopt.compile import kernel

_THREADSAFE_LAYERS = ("omp", "tbb")
# Elements from which a parallel region pays under workqueue, whose threads sleep in between: 0.2 ms
# for one, against 5 us.
COSTLY = 500_000
_lock = threading.Lock()
_serial_only = False
# Known to be allowed to any thread at any time: nothing else has to be asked then. Asking Numba for
# its number of threads alone takes 2 us, and 8 to 20 when a backward pass has emptied the caches.
_is_free = False


def _after_fork_in_child() -> None:
    """Give the child its own lock, and no parallel regions if the parent's pool was running."""
    global _lock, _serial_only, _is_free
    _lock = threading.Lock()
    _serial_only = _serial_only or numba_parallel._is_initialized
    _is_free = False
    _layer.cache_clear()


on_fork(in_child=_after_fork_in_child)


@functools.cache
def _layer() -> str:
    return numba.threading_layer()


def _layer_is_threadsafe() -> bool:
    # Before the first launch nobody knows which layer Numba will take: treat it as unsafe.
    return numba_parallel._is_initialized and _layer() in _THREADSAFE_LAYERS


def _is_costly() -> bool:
    return numba_parallel._is_initialized and not _layer_is_threadsafe()


def enter_parallel(n: int, threshold: int) -> threading.Lock | bool:
    """Ask for a parallel region: False, or a token for :func:`leave_parallel`.

    False also where one core finishes ``n`` elements sooner, as it does below ``threshold``. Under
    ``workqueue`` only one Python thread at a time gets a region; the others run serially, since
    waiting would cost more than the second core gains.
    """
    global _is_free
    if n < threshold:
        return False
    if _is_free:
        return True
    if _serial_only or (n < COSTLY and _is_costly()) or numba.get_num_threads() == 1:
        return False
    if _layer_is_threadsafe():
        _is_free = True
        return True
    lock = _lock
    return lock if lock.acquire(blocking=False) else False


def leave_parallel(token: threading.Lock | bool) -> None:
    """Give back what :func:`enter_parallel` returned."""
    if token is not True and token is not False:
        token.release()


_GIL = ("gil_ensure", "gil_release", "save_thread", "restore_thread")


@contextlib.contextmanager
def gil_kept() -> Iterator[None]:
    """Compile parallel regions that keep the GIL.

    Numba's release it, in ``build_gufunc_kernel``, whatever ``nogil`` says: then another thread can
    free the memory that the region works on (seen: a segmentation fault within seconds). Threads of
    the region need no GIL. Kernels compiled here must be told apart by ``nogil=False``.
    """
    with global_compiler_lock:
        methods = {name: getattr(PythonAPI, name) for name in _GIL}
        try:
            for name in _GIL:
                setattr(PythonAPI, name, lambda *_: None)
            yield
        finally:
            for name, method in methods.items():
                setattr(PythonAPI, name, method)


class Twins:
    """A loop in two forms: serial for small arrays, parallel for large ones.

    ``serial``, ``parallel``: take the same arguments and compute the same bits. ``threshold``:
    number of elements from which the parallel twin is faster.
    """

    def __init__(self, serial: Callable, parallel: Callable, threshold: int) -> None:
        self.serial, self.parallel, self.threshold = serial, parallel, threshold

    def __call__(self, n: int, *args: Any) -> Any:
        """Run the twin that is faster for ``n`` elements and allowed right now."""
        token = enter_parallel(n, self.threshold)
        if token is False:
            return self.serial(*args)
        try:
            return self.parallel(*args)
        finally:
            leave_parallel(token)


def twins(template: Callable, *parts: Any, threshold: int) -> Twins:
    """Return both forms of a template; arguments as for :func:`fastopt.compile.kernel`."""
    serial, parallel = (kernel(template, *parts, parallel=spread) for spread in (False, True))
    return Twins(serial, parallel, threshold)
