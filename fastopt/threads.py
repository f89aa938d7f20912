"""Serial and parallel twins of a kernel, and the guard that chooses between them.

Both twins compute the same bits, so the choice is invisible but for speed. The guard keeps three
things from happening: a second thread entering Numba's ``workqueue`` layer (the process would
abort, numba#8563), a forked child entering its parent's OpenMP pool (the child would be killed),
and a parallel launch for an array that one core finishes sooner.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

import numba
from numba.np.ufunc import parallel as numba_parallel

from fastopt.compile import kernel

__all__ = ["Twins", "enter_parallel", "leave_parallel", "twins"]

_THREADSAFE_LAYERS = ("omp", "tbb")
# Elements from which a parallel region pays under workqueue, whose threads sleep in between: 0.2 ms
# for one, against 5 us.
COSTLY = 500_000
_lock = threading.Lock()
_serial_only = False


def _after_fork_in_child() -> None:
    """Give the child its own lock, and no parallel regions if the parent's pool was running."""
    global _lock, _serial_only
    _lock = threading.Lock()
    _serial_only = _serial_only or numba_parallel._is_initialized
    _layer.cache_clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


@functools.cache
def _layer() -> str:
    return numba.threading_layer()


def _layer_is_threadsafe() -> bool:
    # Before the first launch nobody knows which layer Numba will take: treat it as unsafe.
    return numba_parallel._is_initialized and _layer() in _THREADSAFE_LAYERS


def _is_costly() -> bool:
    return numba_parallel._is_initialized and not _layer_is_threadsafe()


def enter_parallel() -> threading.Lock | bool:
    """Ask for a parallel region: False, or a token for :func:`leave_parallel`.

    Under ``workqueue`` only one Python thread at a time gets one; the others run serially, since
    waiting would cost more than the second core gains.
    """
    if _serial_only:
        return False
    if _layer_is_threadsafe():
        return True
    lock = _lock
    return lock if lock.acquire(blocking=False) else False


def leave_parallel(token: threading.Lock | bool) -> None:
    """Give back what :func:`enter_parallel` returned."""
    if token is not True and token is not False:
        token.release()


class Twins:
    """A loop in two forms: serial for small arrays, parallel for large ones.

    Parameters
    ----------
    serial, parallel : callable
        Take the same arguments and compute the same bits.
    threshold : int
        Number of elements from which the parallel twin is faster.
    """

    def __init__(self, serial: Callable, parallel: Callable, threshold: int) -> None:
        self.serial, self.parallel, self.threshold = serial, parallel, threshold

    def __call__(self, n: int, *args: Any) -> Any:
        """Run the twin that is faster for ``n`` elements and allowed right now."""
        if n < self.threshold or (n < COSTLY and _is_costly()) or numba.get_num_threads() == 1:
            return self.serial(*args)
        token = enter_parallel()
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
