"""Ways of running an update rule: each loop is written once and serves every rule.

A rule is three plain functions (see :mod:`fastopt.rules`). State travels as a tuple of 1-D arrays
``x = (p, *slots)``; :func:`take` and :func:`put` unroll over it at compile time, so one loop serves
any number of slots and LLVM still vectorises it (measured equal to loops written out by hand;
``to_fixed_tuple`` is 4-6x slower). They are intrinsics because recursive overloads compile one
function an element: 130 functions and 30 s for a sweep kernel instead of 60 and 12 s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import load_item, make_array, store_item

from fastopt.compile import inlinable, jitable
from fastopt.rules import Rule
from fastopt.threads import Twins

__all__ = [
    "adapted", "cast", "flat", "flat_measured", "load", "put", "step_parts", "stepper", "store", "take",
]  # fmt: skip


def _pointer(context, builder, kind, array, index):
    """Address of ``array[index]``; no wraparound, so nothing stands in the way of SIMD."""
    view = make_array(kind)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, kind, view, [index], wraparound=False)


def _index(context, builder, signature, args):
    return context.cast(builder, args[1], signature.args[1], types.intp)


@intrinsic
def take(typingctx, x, i):
    """Read element ``i`` of every array of the tuple ``x``: ``(x[0][i], x[1][i], ...)``."""

    def codegen(context, builder, signature, args):
        index = _index(context, builder, signature, args)
        values = []
        for k, kind in enumerate(signature.args[0]):
            array = builder.extract_value(args[0], k)
            pointer = _pointer(context, builder, kind, array, index)
            values.append(load_item(context, builder, kind, pointer))
        return context.make_tuple(builder, signature.return_type, values)

    return types.Tuple([a.dtype for a in x])(x, i), codegen


@intrinsic
def put(typingctx, x, i, values):
    """Write ``values[k]`` to ``x[k][i]`` for every array of the tuple ``x``."""

    def codegen(context, builder, signature, args):
        index = _index(context, builder, signature, args)
        for k, (kind, source) in enumerate(zip(signature.args[0], signature.args[2])):
            value = context.cast(builder, builder.extract_value(args[2], k), source, kind.dtype)
            array = builder.extract_value(args[0], k)
            pointer = _pointer(context, builder, kind, array, index)
            store_item(context, builder, kind, value, pointer)
        return context.get_dummy_value()

    return types.void(x, i, values), codegen


@intrinsic
def load(typingctx, a, like):
    """Read the 1-D array ``a`` as a tuple as long as the tuple ``like``."""

    def codegen(context, builder, signature, args):
        kind = signature.args[0]
        values = []
        for k in range(len(signature.args[1])):
            index = context.get_constant(types.intp, k)
            pointer = _pointer(context, builder, kind, args[0], index)
            values.append(load_item(context, builder, kind, pointer))
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(a.dtype, len(like))(a, like), codegen


@intrinsic
def store(typingctx, a, values):
    """Write the tuple ``values`` to the first elements of the 1-D array ``a``."""

    def codegen(context, builder, signature, args):
        kind = signature.args[0]
        for k, source in enumerate(signature.args[1]):
            value = context.cast(builder, builder.extract_value(args[1], k), source, kind.dtype)
            index = context.get_constant(types.intp, k)
            store_item(
                context, builder, kind, value, _pointer(context, builder, kind, args[0], index)
            )
        return context.get_dummy_value()

    return types.void(a, values), codegen


@intrinsic
def cast(typingctx, values, a):
    """Round every number of the tuple ``values`` to the dtype of the array ``a``."""

    def codegen(context, builder, signature, args):
        kind = signature.args[1].dtype
        rounded = [
            context.cast(builder, builder.extract_value(args[0], k), source, kind)
            for k, source in enumerate(signature.args[0])
        ]
        return context.make_tuple(builder, signature.return_type, rounded)

    return types.UniTuple(a.dtype, len(values))(values, a), codegen


def flat(clock0, tick, update):
    """One step over flat buffers: tick the clock once, then update every element in one pass."""

    def step(h, clock, g, x):
        now, c = tick(h, load(clock, clock0(h)))
        store(clock, now)
        c = cast(c, g)
        for i in prange(g.size):
            put(x, i, update(c, g[i], take(x, i)))

    return step


# Sums are cut in chunks of a fixed size, each summed in float64 in a fixed number of lanes, so that
# the grouping depends on the length alone: the same bits for any number of threads.
LANES = 64
CHUNK = 64 * LANES


def chunk_sums(measure):
    """Sum ``measure(c, g[i], x[i])``, a pair, over one chunk of the tensor, in float64."""

    @inlinable
    def at(c, g, x, i, like):
        return measure(c, np.float64(g[i]), cast(take(x, i), like))

    def over_chunk(c, g, x, low):
        high = min(low + CHUNK, g.size)
        left, right = np.zeros(LANES), np.zeros(LANES)
        whole = low + (high - low) // LANES * LANES
        for start in range(low, whole, LANES):
            for lane in range(LANES):
                a, b = at(c, g, x, start + lane, left)
                left[lane] += a
                right[lane] += b
        for i in range(whole, high):
            a, b = at(c, g, x, i, left)
            left[i - whole] += a
            right[i - whole] += b
        width = LANES // 2
        while width > 0:
            for lane in range(width):
                left[lane] += left[lane + width]
                right[lane] += right[lane + width]
            width //= 2
        return left[0], right[0]

    return jitable(over_chunk)


def flat_measured(clock0, tick, measure, trust, update):
    """One step that first sums ``measure`` over the tensor and lets ``trust`` adapt to the sums."""
    over_chunk = chunk_sums(measure)

    def step(h, clock, g, x):
        now, c = tick(h, load(clock, clock0(h)))
        store(clock, now)
        chunks = (g.size + CHUNK - 1) // CHUNK
        left, right = np.zeros(chunks), np.zeros(chunks)
        for k in prange(chunks):
            left[k], right[k] = over_chunk(c, g, x, k * CHUNK)
        a, b = 0.0, 0.0
        for k in range(chunks):
            a += left[k]
            b += right[k]
        c = cast(trust(c, (a, b), g.size), g)
        for i in prange(g.size):
            put(x, i, update(c, g[i], take(x, i)))

    return step


def adapted(measure, trust):
    """Return ``adapt(c, g, x) -> c`` of a rule, for a caller with a loop of its own (a sweep).

    Without ``measure`` it returns ``c`` as it is; with it, what :func:`flat_measured` computes.
    """
    if measure is None:
        return jitable(lambda c, g, x: c)
    over_chunk = chunk_sums(measure)

    def adapt(c, g, x):
        a, b = 0.0, 0.0
        for low in range(0, g.size, CHUNK):
            left, right = over_chunk(c, g, x, low)
            a += left
            b += right
        return trust(c, (a, b), g.size)

    return jitable(adapt)


# float32 on 2 cores the twins cross at 16 000 elements (AdamW), 24 000 (momentum), 32 000 (SGD).
PARALLEL_FROM = 20_000


def step_parts(rule: Rule) -> tuple[Callable, ...]:
    """Return the template of one step of ``rule`` and the functions it is to be closed over."""
    if rule.measure is None:
        return flat, rule.clock0, rule.tick, rule.update
    return flat_measured, rule.clock0, rule.tick, rule.measure, rule.trust, rule.update


@functools.cache
def stepper(rule: Rule) -> Twins:
    """Return the step kernel of ``rule``, called as ``stepper(rule)(n, h, clock, g, x)``.

    Parameters of the call
    ----------------------
    n : int
        Number of elements, which picks the serial or the parallel twin.
    h : tuple of float
        Hyperparameters from :meth:`fastopt.rules.Rule.pack`.
    clock : ndarray of float64
        The rule's clock; advanced by one step, in place.
    g : ndarray, shape (n,)
        Gradient; only read.
    x : tuple of ndarray, each of shape (n,)
        ``(p, *slots)``, C-contiguous, of the dtype of ``g``, not overlapping; updated in place.
    """
    return Twins(*step_parts(rule), threshold=PARALLEL_FROM)
