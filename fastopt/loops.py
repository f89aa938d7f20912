"""Ways of running an update rule: each loop is written once and serves every rule.

A rule is three plain functions (see :mod:`fastopt.rules`); :mod:`fastopt.access` reads and writes
the state they work on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import prange

from fastopt.access import arrays_at, cast, load, put, store, take
from fastopt.compile import inlinable, jitable
from fastopt.rules import Rule
from fastopt.threads import Twins

__all__ = [
    "adapted", "cast", "flat", "flat_measured", "load", "put", "scattered", "scattered_measured",
    "step_parts", "stepper", "store", "take",
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


def ticks(clock0, tick):
    """Tick the clock of every active array once; the coefficients are the rows of a matrix.

    Nothing is written, and the position of the array is returned, if a step counter kept outside
    (torch's ``step``) does not agree with its clock; -1 when all of them do.
    """

    def run(like, like_h, hyper, groups, clocks, table, active):
        coefficients = np.empty((active.size, len(tick(like_h, clock0(like_h))[1])))
        for k in range(active.size):
            if table[0, active[k]] != 0:
                (counter,) = arrays_at(table, 0, active[k], 1, like)
                if counter[0] != np.float32(clocks[active[k], 0]):
                    return k, coefficients
        for k in range(active.size):
            s = active[k]
            h = load(hyper[groups[s]], like_h)
            now, c = tick(h, load(clocks[s], clock0(h)))
            store(clocks[s], now)
            store(coefficients[k], c)
            if table[0, s] != 0:
                (counter,) = arrays_at(table, 0, s, 1, like)
                counter[0] = now[0]
        return -1, coefficients

    return jitable(run)


def work_items(update):
    """Update what lies between the start of one work item and that of the next."""

    def run(item, like, c0, coefficients, sizes, table, active, segment, offset):
        for k in range(segment[item], segment[item + 1] + 1):
            low = offset[item] if k == segment[item] else 0
            high = offset[item + 1] if k == segment[item + 1] else sizes[active[k]]
            if low < high:
                c = cast(load(coefficients[k], c0), like[1])
                g = arrays_at(table, 1, active[k], high, like[1:2])
                x = arrays_at(table, 2, active[k], high, like[2:])
                for i in range(low, high):
                    put(x, i, update(c, take(g, i)[0], take(x, i)))

    return jitable(run)


def scattered(clock0, tick, update):
    """One step over separate arrays found by address, in one parallel region.

    ``table[:, s]`` holds the addresses of array ``s``: step counter (or 0), gradient, parameter,
    slots; ``like`` one empty array of the type of each. ``hyper[groups[s]]`` are its
    hyperparameters, ``clocks[s]`` its clock. Only arrays in ``active`` are touched. Work item ``k``
    goes from element ``offset[k]`` of ``active[segment[k]]`` to where item ``k + 1`` starts.
    """
    tick_all, work = ticks(clock0, tick), work_items(update)

    def step(like, like_h, hyper, groups, clocks, sizes, table, active, segment, offset):
        wrong, coefficients = tick_all(like[:1], like_h, hyper, groups, clocks, table, active)
        if wrong >= 0:
            return wrong
        c0 = tick(like_h, clock0(like_h))[1]
        for item in prange(segment.size - 1):
            work(item, like, c0, coefficients, sizes, table, active, segment, offset)
        return wrong

    return step


def scattered_measured(clock0, tick, measure, trust, update):
    """Like :func:`scattered`, for rules that adapt to sums over each array first.

    The sums have the chunks of :func:`flat_measured`, so that both give the same bits.
    """
    tick_all, work, over_chunk = ticks(clock0, tick), work_items(update), chunk_sums(measure)

    def step(like, like_h, hyper, groups, clocks, sizes, table, active, segment, offset):
        wrong, coefficients = tick_all(like[:1], like_h, hyper, groups, clocks, table, active)
        if wrong >= 0:
            return wrong
        c0 = tick(like_h, clock0(like_h))[1]
        first = np.zeros(active.size + 1, np.int64)
        for k in range(active.size):
            first[k + 1] = first[k] + (sizes[active[k]] + CHUNK - 1) // CHUNK
        left, right = np.zeros(first[-1]), np.zeros(first[-1])
        for chunk in prange(first[-1]):
            k = np.searchsorted(first, chunk, "right") - 1
            g = arrays_at(table, 1, active[k], sizes[active[k]], like[1:2])[0]
            x = arrays_at(table, 2, active[k], sizes[active[k]], like[2:])
            c = load(coefficients[k], c0)
            left[chunk], right[chunk] = over_chunk(c, g, x, (chunk - first[k]) * CHUNK)
        for k in range(active.size):
            a, b = 0.0, 0.0
            for chunk in range(first[k], first[k + 1]):
                a += left[chunk]
                b += right[chunk]
            store(coefficients[k], trust(load(coefficients[k], c0), (a, b), sizes[active[k]]))
        for item in prange(segment.size - 1):
            work(item, like, c0, coefficients, sizes, table, active, segment, offset)
        return wrong

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
