"""Ways of running an update rule: each loop is written once and serves every rule.

A rule is three plain functions (see :mod:`fastopt.rules`); :mod:`fastopt.machine.access` reads and
writes the state they work on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import prange

from fastopt.compile import inlinable, jitable
from fastopt.machine.access import arrays_of, cast, count_at, load, put, store, take
from fastopt.machine.calls import call, picked
from fastopt.rules import Rule

# Sums are cut in chunks of a fixed size, each summed in float64 in a fixed number of lanes, so that
# the grouping depends on the length alone: the same bits for any number of threads.
LANES = 64
CHUNK = 64 * LANES


def chunk_sums(measure: Callable) -> Callable:
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


@functools.cache
def adapted(measure: Callable, trust: Callable) -> Callable:
    """Return ``adapt(c, g, x) -> c``: sum ``measure`` over the arrays, let ``trust`` adapt to it.

    Without ``measure`` it returns ``c`` as it is.
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


@functools.cache
def running(update: Callable) -> Callable:
    """Return ``run(c, g, x, low, high)``: update elements, the gradient ``g`` a tuple of one array.

    Of an update that is :func:`fastopt.rules.parts.coupled` there are two loops. They may fuse
    other products to sums, so everything that steps a rule has both: the same bits everywhere.
    """
    plain = getattr(update, "plain", None)

    def loop(c, g, x, low, high):
        for i in range(low, high):
            put(x, i, update(c, take(g, i)[0], take(x, i)))

    if plain is None:
        return jitable(loop)
    usual, other = running(plain), jitable(loop)

    def run(c, g, x, low, high):
        if c[0] == 1.0 and c[1] == 0.0:
            usual(c, g, x, low, high)
        else:
            other(c, g, x, low, high)

    return jitable(run)


@functools.cache
def contained(rule: Rule) -> Callable:
    """Return ``step(h, clock, g, x)`` of a rule, for compiled code that is to contain it.

    That is a user's own loop, and a sweep's; steps called from Python go by address.
    """
    clock0, tick = rule.clock0, rule.tick
    adapt, run = adapted(rule.measure, rule.trust), running(rule.update)

    def step(h, clock, g, x):
        now, c = tick(h, load(clock, clock0(h)))
        store(clock, now)
        run(cast(adapt(c, g, x), g), (g,), x, 0, g.size)

    return jitable(step)


def ticking(clock0: Callable, tick: Callable, n_hyper: int) -> Callable:
    """Template of ``tick_at(h, clock, c)``: advance the clock, write the coefficients."""
    like_h = (0,) * n_hyper

    def tick_at(h, clock, c):
        hyper = load(h, like_h)
        now, made = tick(hyper, load(clock, clock0(hyper)))
        store(clock, now)
        store(c, made)

    return tick_at


def spanning(update: Callable, n_coefficients: int, kinds: tuple[np.dtype, ...]) -> Callable:
    """Template of ``span(c, table, s, low, high)``: update some elements of array ``s``.

    ``kinds`` are the dtypes of gradient, parameter and slots.
    """
    gradient_at, arrays_at = arrays_of(kinds[:1]), arrays_of(kinds[1:])
    like_c, run = (0,) * n_coefficients, running(update)

    def span(c, table, s, low, high):
        g, x = gradient_at(table, 1, s, high), arrays_at(table, 2, s, high)
        run(cast(load(c, like_c), g[0]), g, x, low, high)

    return span


def summing(measure: Callable, n_coefficients: int, kinds: tuple[np.dtype, ...]) -> Callable:
    """Template of ``sums(c, table, s, size, low)``: measure one chunk of array ``s``."""
    gradient_at, arrays_at = arrays_of(kinds[:1]), arrays_of(kinds[1:])
    like_c, over_chunk = (0,) * n_coefficients, chunk_sums(measure)

    def sums(c, table, s, size, low):
        g, x = gradient_at(table, 1, s, size), arrays_at(table, 2, s, size)
        return over_chunk(load(c, like_c), g[0], x, low)

    return sums


def trusting(trust: Callable, n_coefficients: int) -> Callable:
    """Template of ``adapt(c, a, b, n)``: adapt the coefficients to the sums over ``n`` elements."""
    like_c = (0,) * n_coefficients

    def adapt(c, a, b, n):
        store(c, trust(load(c, like_c), (a, b), n))

    return adapt


# Where links are: how many coefficients there are, then addresses of what
# :func:`scattered` calls; the last four are 0 for a rule that measures nothing.
COEFFICIENTS, SCATTERED, TICK, SPAN, EACH, SPAN_ITEM, ADAPT, SUMS, SUMS_ITEM, TRUST = range(10)


def each() -> Callable:
    """Run all items of work, in the parallel twin in parallel: the one such region of all rules.

    What an item does is called by its address, which leaves so little that it compiles in a second;
    with the loop over elements in it, it took 2 to 3 s for each rule and dtype.
    """

    def run(item, n, order):
        for k in prange(n):
            call(item, None, (k, order))

    return run


def span_item() -> Callable:
    """Item ``k`` of updates: from element ``items[1, k]`` of array ``items[0, k]`` to the next."""
    pick = picked("links", "sizes", "table", "active", "items", "c")

    def run(k, order):
        links, sizes, table, active, items, c = pick(order)
        for s in range(items[0, k], items[0, k + 1] + 1):
            low = items[1, k] if s == items[0, k] else 0
            high = items[1, k + 1] if s == items[0, k + 1] else sizes[active[s]]
            if low < high:
                call(links[SPAN], None, (c[s], table, active[s], low, high))

    return run


def sums_item() -> Callable:
    """Item ``k`` of sums: the chunk from element ``chunks[1, k]`` of array ``chunks[0, k]`` on."""
    pick = picked("links", "sizes", "table", "active", "c", "chunks", "sums")

    def run(k, order):
        links, sizes, table, active, c, chunks, sums = pick(order)
        s = chunks[0, k]
        where = c[s], table, active[s], sizes[active[s]], chunks[1, k]
        sums[0, k], sums[1, k] = call(links[SUMS], (0.0, 0.0), where)

    return run


def chunks_of(sizes: np.ndarray) -> np.ndarray:
    """Return the chunks that arrays of these sizes are summed in: numbers of arrays, and firsts.

    They are those of :func:`adapted`, so that both give the same bits.

    >>> chunks_of(np.array([CHUNK + 1, 0, 5])).tolist()
    [[0, 0, 2], [0, 4096, 0]]
    """
    counts = -(-sizes // CHUNK)
    array = np.repeat(np.arange(sizes.size), counts)
    return np.array([array, CHUNK * (np.arange(array.size) - (np.cumsum(counts) - counts)[array])])


def measuring() -> Callable:
    """Template of ``adapt(order)``: adapt the coefficients to the sums over each array."""
    pick = picked("links", "sizes", "active", "c", "chunks", "sums")

    def adapt(order):
        links, sizes, active, c, chunks, sums = pick(order)
        call(links[EACH], None, (links[SUMS_ITEM], chunks.shape[1], order))
        n = 0
        for k in range(active.size):
            a, b = 0.0, 0.0
            for _ in range(0, sizes[active[k]], CHUNK):
                a += sums[0, n]
                b += sums[1, n]
                n += 1
            call(links[TRUST], None, (c[k], a, b, sizes[active[k]]))

    return adapt


def scattered() -> Callable:
    """One step over separate arrays found by address, in one parallel region.

    ``table[:, s]`` holds the addresses of array ``s``: step counter (or 0), gradient, parameter,
    slots. ``hyper[groups[s]]`` are its hyperparameters, ``clocks[s]`` its clock. Only arrays in
    ``active`` are touched; ``c`` has room for the coefficients of each of them. Work item ``k`` is
    from element ``items[1, k]`` of ``active[items[0, k]]`` to where item ``k + 1`` starts. What
    depends on the rule, and whether items run in parallel, is called by the addresses ``links``:
    :func:`ticking`, :func:`spanning`, :func:`each`, :func:`span_item`, :func:`measuring`,
    :func:`summing`, :func:`sums_item`, :func:`trusting`.
    """
    counter_at = arrays_of((np.dtype(np.float32),))

    pick = picked("links", "hyper", "groups", "clocks", "table", "active", "items", "c")

    def step(order):
        links, hyper, groups, clocks, table, active, items, c = pick(order)
        for k in range(active.size):
            s = active[k]
            call(links[TICK], None, (hyper[groups[s]], clocks[s], c[k]))
            if table[0, s] != 0:
                (counter,) = counter_at(table, 0, s, 1)
                counter[0] = clocks[s, 0]
        if links[ADAPT] != 0:
            call(links[ADAPT], None, (order,))
        call(links[EACH], None, (links[SPAN_ITEM], items.shape[1] - 1, order))

    return step


def launched() -> Callable:
    """Look up all arrays of all batches, then step them: all of a step, in one call.

    ``orders`` has a row a batch: the addresses of :func:`fastopt.machine.lookup.finding` and of
    :func:`scattered`, then the words of what they take. If anything is not as it should be, nothing
    is written, and ``batches * fault + batch`` comes back; -1 when all is well. At the address
    ``count`` steps are counted; if it is 0, nothing is written either way.
    """

    def launch(orders, count):
        for b in range(len(orders)):
            fault = call(orders[b, 0], 0, (orders[b],))
            if fault >= 0:
                return len(orders) * fault + b
        if count:
            for b in range(len(orders)):
                call(orders[b, 1], None, (orders[b],))
            count_at(count)
        return -1

    return launch


# Pieces of an array start on whole cache lines.
LINE = 64
