"""Norms, clipping and the finite check: reductions with the same bits for any number of threads.

A sum is cut in chunks of a fixed size; a chunk is summed in float64 in a fixed number of lanes, the
lanes are folded pairwise and the chunks in order. So the grouping depends on the length alone. The
lanes are written out because LLVM, allowed to reorder (``reassoc``), chose other groupings in the
serial and the parallel twin of the same loop.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from fastopt.arena import Buffer
from fastopt.compile import inlinable, jitable
from fastopt.errors import HyperparameterError, NonFiniteError, shortened
from fastopt.machine.arrays import check_array, check_disjoint, named
from fastopt.machine.threads import Twins, twins

# Eight registers of eight doubles hide the latency of loading, adding and storing each.
LANES = 64
CHUNK = 64 * LANES
# Below eight chunks two threads may differ by a chunk in four: too uneven to be worth a launch.
PARALLEL_FROM = 8 * CHUNK


@inlinable
def square(a, order):
    """Return the term of the Euclidean norm."""
    return a * a


@inlinable
def magnitude(a, order):
    """Return the term of the 1-norm and of the maximum norm."""
    return abs(a)


@inlinable
def magnitude_power(a, order):
    """Return the term of any other p-norm."""
    return abs(a) ** order


@inlinable
def nothing(a, order):
    """Return zero, or NaN when ``a`` is not finite; ``order`` is zero, unknown to the compiler."""
    return a * order


@inlinable
def add(total, term):
    """Fold a sum."""
    return total + term


@inlinable
def largest(total, term):
    """Fold a maximum in which a NaN wins and stays."""
    return term if term > total or term != term else total


def chunk_fold(term: Callable, fold: Callable) -> Callable:
    """Return ``over_chunk(a, order)``, which folds ``term(a[i], order)`` over one chunk."""

    @jitable
    def over_chunk(a, order):
        lanes = np.zeros(LANES)
        whole = a.size // LANES * LANES
        for start in range(0, whole, LANES):
            block = a[start : start + LANES]
            for lane in range(LANES):
                lanes[lane] = fold(lanes[lane], term(np.float64(block[lane]), order))
        for i in range(whole, a.size):
            lanes[i - whole] = fold(lanes[i - whole], term(np.float64(a[i]), order))
        width = LANES // 2
        while width > 0:
            for lane in range(width):
                lanes[lane] = fold(lanes[lane], lanes[lane + width])
            width //= 2
        return lanes[0]

    return over_chunk


def chunked(term: Callable, fold: Callable) -> Callable:
    """Fold ``term(a[i], order)`` over a flat array, chunk by chunk."""
    over_chunk = chunk_fold(term, fold)

    def reduce(a, order):
        chunks = (a.size + CHUNK - 1) // CHUNK
        partial = np.empty(chunks)
        for k in prange(chunks):
            partial[k] = over_chunk(a[k * CHUNK : (k + 1) * CHUNK], order)
        total = 0.0
        for k in range(chunks):
            total = fold(total, partial[k])
        return total

    return reduce


def scaled() -> Callable:
    """Multiply a flat array by a number of its own dtype, in place."""

    def scale(a, factor):
        for i in prange(a.size):
            a[i] = a[i] * factor[0]

    return scale


@functools.cache
def _reducer(term: Callable, fold: Callable) -> Twins:
    return twins(chunked, term, fold, threshold=PARALLEL_FROM)


@functools.cache
def _scaler() -> Twins:
    return twins(scaled, threshold=PARALLEL_FROM)


def _terms(order: float) -> tuple[Callable, Callable]:
    if order == 2.0:
        return square, add
    if order == math.inf:
        return magnitude, largest
    return (magnitude, add) if order == 1.0 else (magnitude_power, add)


def all_finite(a: np.ndarray) -> bool:
    """Tell whether no element of the flat array ``a`` is NaN or infinite.

    >>> all_finite(np.array([1.0, 2.0])), all_finite(np.array([1.0, -np.inf]))
    (True, False)
    """
    return _reducer(nothing, add)(a.size, a, 0.0) == 0.0


def _flat_arrays(where: str, arrays: Any, *, written: bool) -> list[np.ndarray]:
    """Check an array, a list or dict of arrays, or a Buffer's gradients; return flat views."""
    if isinstance(arrays, Buffer):
        arrays.check_views()
        return [arrays.flat_grad]
    items = [(path, a) for path, a in named(where, arrays) if a is not None]
    for path, a in items:
        check_array(path, a, written=written)
    if written:
        check_disjoint(items)
    return [a.view(np.ndarray).reshape(-1) for _, a in items]


def _order(norm_type: Any) -> float:
    try:
        order = float(norm_type)
    except (TypeError, ValueError, OverflowError):
        order = math.nan
    if not order > 0.0:
        raise HyperparameterError(
            f"norm_type must be a positive number or math.inf; got {shortened(norm_type)}"
        )
    return order


def _norm(flats: list[np.ndarray], order: float) -> float:
    term, fold = _terms(order)
    parts = [_reducer(term, fold)(a.size, a, order) for a in flats]
    total = functools.reduce(fold, parts, 0.0)
    if order == 2.0:
        return math.sqrt(total)
    if order in (1.0, math.inf):
        return total
    try:
        return total ** (1.0 / order)
    except OverflowError:
        return math.inf


def flat_norm(flats: list[np.ndarray]) -> float:
    """Return the Euclidean norm of checked flat arrays taken as one vector; see `global_norm`."""
    return _norm(flats, 2.0)


@inlinable
def clip_coefficient(norm: float, max_norm: float) -> float:
    r"""Return :math:`\min(1, \mathrm{max\_norm} / (\lVert g \rVert + 10^{-6}))`; NaN stays NaN.

    >>> clip_coefficient(0.5, 1.0), round(clip_coefficient(4.0, 1.0), 5)
    (1.0, 0.25)
    """
    coefficient = max_norm / (norm + 1e-6)
    return 1.0 if coefficient >= 1.0 else coefficient


def global_norm(arrays: Any, norm_type: float = 2.0) -> float:
    r"""Return the norm of all elements taken as one vector, :math:`(\sum_i |a_i|^q)^{1/q}`.

    Parameters
    ----------
    arrays : ndarray, list or dict of ndarray, or Buffer
        float32 or float64, C-contiguous; None items are left out; a Buffer stands for its
        gradients. Only read.
    norm_type : float
        The order q, positive; ``math.inf`` for the largest magnitude.

    Returns
    -------
    float
        Accumulated in float64; NaN if an element is NaN. The same bits for any number of threads.

    Raises
    ------
    ArrayTypeError, ArrayError
        An array is of another kind or layout.
    HyperparameterError
        ``norm_type`` is not positive.

    Examples
    --------
    >>> global_norm([np.array([3.0]), np.array([0.0, 4.0])])
    5.0
    """
    return _norm(_flat_arrays("arrays", arrays, written=False), _order(norm_type))


def clip_grad_norm_(
    grads: Any, max_norm: float, norm_type: float = 2.0, *, error_if_nonfinite: bool = False
) -> float:
    r"""Scale gradients in place so that their global norm is at most ``max_norm``.

    :math:`g \leftarrow \min(1, \mathrm{max\_norm} / (\lVert g \rVert + 10^{-6}))\, g`, as
    ``torch.nn.utils.clip_grad_norm_`` does; a NaN norm makes every gradient NaN.

    Parameters
    ----------
    grads : ndarray, list or dict of ndarray, or Buffer
        Gradients, scaled in place; None items are left out.
    max_norm : float
        Largest norm allowed, not negative.
    norm_type : float
        Order of the norm; see :func:`global_norm`.
    error_if_nonfinite : bool
        Raise, and change nothing, when the norm is NaN or infinite.

    Returns
    -------
    float
        The norm before clipping.

    Raises
    ------
    ArrayTypeError, ArrayError
        An array is of another kind or layout, or read-only.
    HyperparameterError
        ``max_norm`` is negative or not a number, or ``norm_type`` is not positive.
    NonFiniteError
        The norm is not finite and ``error_if_nonfinite`` is set.

    Examples
    --------
    >>> g = np.array([3.0, 4.0])
    >>> clip_grad_norm_(g, 1.0)
    5.0
    >>> g.round(5)
    array([0.6, 0.8])

    References
    ----------
    R. Pascanu, T. Mikolov and Y. Bengio, *On the difficulty of training recurrent neural networks*,
    arXiv:1211.5063.
    """
    limit = _not_negative("max_norm", max_norm)
    order = _order(norm_type)
    flats = _flat_arrays("grads", grads, written=True)
    norm = _norm(flats, order)
    if error_if_nonfinite and not math.isfinite(norm):
        raise NonFiniteError(
            f"the gradients' norm of order {order:g} is {norm}, so they cannot be clipped; "
            "nothing was changed. Lower the learning rate, skip the step, or pass "
            "error_if_nonfinite=False to scale by it all the same."
        )
    coefficient = clip_coefficient(norm, limit)
    if coefficient == 1.0:
        return norm
    for a in flats:
        _scaler()(a.size, a, np.array([coefficient], a.dtype))
    return norm


def clip_grad_value_(grads: Any, clip_value: float) -> None:
    """Limit each element of the gradients to ``[-clip_value, clip_value]``, in place.

    Parameters
    ----------
    grads : ndarray, list or dict of ndarray, or Buffer
        Gradients, changed in place; None items are left out; NaN stays NaN.
    clip_value : float
        Largest magnitude allowed, not negative.

    Raises
    ------
    ArrayTypeError, ArrayError
        An array is of another kind or layout, or read-only.
    HyperparameterError
        ``clip_value`` is negative or not a number.

    Examples
    --------
    >>> g = np.array([-3.0, 0.5])
    >>> clip_grad_value_(g, 1.0)
    >>> g
    array([-1. ,  0.5])
    """
    limit = _not_negative("clip_value", clip_value)
    for a in _flat_arrays("grads", grads, written=True):
        bound = limit if limit <= float(np.finfo(a.dtype).max) else math.inf  # as in torch
        np.clip(a, -bound, bound, out=a)


def _not_negative(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # no number, or an integer that is no float
        number = math.nan
    if not number >= 0.0:
        raise HyperparameterError(f"{name} must be a number, zero or more; got {shortened(value)}")
    return number
