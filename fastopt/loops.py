"""Ways of running an update rule: each loop is written once and serves every rule.

A rule is three plain functions (see :mod:`fastopt.rules`); :mod:`fastopt.access` reads and writes
the state they work on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import prange

from fastopt.access import arrays_of, cast, load, put, store, take
from fastopt.calls import call
from fastopt.compile import inlinable, jitable
from fastopt.rules import Rule
from fastopt.threads import Twins

__all__ = [
    "adapted", "cast", "flat", "flat_measured", "load", "put", "scattered", "spanning",
    "step_parts", "stepper", "store", "summing", "take", "ticking", "trusting",
]  # fmt: skip


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
        return measure(c, cast(take((g,), i), like)[0], cast(take(x, i), like))

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


@functools.cache
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


def ticking(clock0, tick, n_hyper):
    """Template of ``tick_at(h, clock, c)``: advance the clock, write the coefficients."""
    like_h = (0,) * n_hyper

    def tick_at(h, clock, c):
        hyper = load(h, like_h)
        now, made = tick(hyper, load(clock, clock0(hyper)))
        store(clock, now)
        store(c, made)

    return tick_at


def spanning(update, n_coefficients, kinds):
    """Template of ``span(c, table, s, low, high)``: update some elements of array ``s``.

    ``kinds`` are the dtypes of gradient, parameter and slots.
    """
    gradient_at, arrays_at = arrays_of(kinds[:1]), arrays_of(kinds[1:])
    like_c = (0,) * n_coefficients

    def span(c, table, s, low, high):
        g, x = gradient_at(table, 1, s, high), arrays_at(table, 2, s, high)
        now = cast(load(c, like_c), g[0])
        for i in range(low, high):
            put(x, i, update(now, take(g, i)[0], take(x, i)))

    return span


def summing(measure, n_coefficients, kinds):
    """Template of ``sums(c, table, s, size, low)``: measure one chunk of array ``s``."""
    gradient_at, arrays_at = arrays_of(kinds[:1]), arrays_of(kinds[1:])
    like_c, over_chunk = (0,) * n_coefficients, chunk_sums(measure)

    def sums(c, table, s, size, low):
        g, x = gradient_at(table, 1, s, size), arrays_at(table, 2, s, size)
        return over_chunk(load(c, like_c), g[0], x, low)

    return sums


def trusting(trust, n_coefficients):
    """Template of ``adapt(c, a, b, n)``: adapt the coefficients to the sums over ``n`` elements."""
    like_c = (0,) * n_coefficients

    def adapt(c, a, b, n):
        store(c, trust(load(c, like_c), (a, b), n))

    return adapt


# Where :func:`scattered` finds what it calls; there are no sums to take if SUMS is 0.
TICK, SPAN, SUMS, TRUST = range(4)


def scattered():
    """One step over separate arrays found by address, in one parallel region.

    ``table[:, s]`` holds the addresses of array ``s``: step counter (or 0), gradient, parameter,
    slots. ``hyper[groups[s]]`` are its hyperparameters, ``clocks[s]`` its clock. Only arrays in
    ``active`` are touched. Work item ``k`` is from element ``offset[k]`` of ``active[segment[k]]``
    to where item ``k + 1`` starts. What depends on the rule is called by the addresses ``links``:
    :func:`ticking`, :func:`spanning`, :func:`summing`, :func:`trusting`; sums are taken in the
    chunks of :func:`flat_measured`, so that both give the same bits.

    Nothing is written, and the position of the array in ``active`` is returned, if a step counter
    kept outside (torch's ``step``) does not agree with its clock; -1 when all of them do.
    """
    counter_at = arrays_of((np.dtype(np.float32),))

    def step(links, n_coefficients, hyper, groups, clocks, sizes, table, active, segment, offset):
        for k in range(active.size):
            if table[0, active[k]] != 0:
                (counter,) = counter_at(table, 0, active[k], 1)
                if counter[0] != np.float32(clocks[active[k], 0]):
                    return k
        c = np.empty((active.size, n_coefficients))
        for k in range(active.size):
            s = active[k]
            call(links[TICK], None, (hyper[groups[s]], clocks[s], c[k]))
            if table[0, s] != 0:
                (counter,) = counter_at(table, 0, s, 1)
                counter[0] = clocks[s, 0]
        if links[SUMS] != 0:
            first = np.zeros(active.size + 1, np.int64)
            for k in range(active.size):
                first[k + 1] = first[k] + (sizes[active[k]] + CHUNK - 1) // CHUNK
            left, right = np.zeros(first[-1]), np.zeros(first[-1])
            for chunk in prange(first[-1]):
                k = np.searchsorted(first, chunk, "right") - 1
                where = c[k], table, active[k], sizes[active[k]], (chunk - first[k]) * CHUNK
                left[chunk], right[chunk] = call(links[SUMS], (0.0, 0.0), where)
            for k in range(active.size):
                a, b = 0.0, 0.0
                for chunk in range(first[k], first[k + 1]):
                    a += left[chunk]
                    b += right[chunk]
                call(links[TRUST], None, (c[k], a, b, sizes[active[k]]))
        for item in prange(segment.size - 1):
            for k in range(segment[item], segment[item + 1] + 1):
                low = offset[item] if k == segment[item] else 0
                high = offset[item + 1] if k == segment[item + 1] else sizes[active[k]]
                if low < high:
                    call(links[SPAN], None, (c[k], table, active[k], low, high))
        return -1

    return step


# float32 on 2 cores the twins cross at 16 000 elements (AdamW), 24 000 (momentum), 32 000 (SGD).
PARALLEL_FROM = 20_000


def step_parts(rule: Rule) -> tuple[Callable, ...]:
    """Return the template of one step of ``rule`` and the functions it is to be closed over."""
    if rule.measure is None or rule.trust is None:
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
