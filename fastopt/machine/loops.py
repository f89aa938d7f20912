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
from fastopt.machine.access import cast, load, put, store, take, word_at
from fastopt.machine.calls import call, count_at
from fastopt.machine.orders import FIND, STEP, WORDS, arrays_of, length, reads, rows, writes
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
    """Template of ``tick_at(order, k, s)``: advance the clock of array ``s``, the ``k``-th active.

    The coefficients go to row ``k`` of ``c``.
    """
    like_h, group = (0,) * n_hyper, reads("groups")
    hyper, clocks, coefficients = map(rows, ("hyper", "clocks", "c"))

    def tick_at(order, k, s):
        h, clock = load(hyper(order, group(order, s)), like_h), clocks(order, s)
        now, made = tick(h, load(clock, clock0(h)))
        store(clock, now)
        store(coefficients(order, k), made)

    return tick_at


def spanning(update: Callable, n_coefficients: int, kinds: tuple[np.dtype, ...]) -> Callable:
    """Template of ``span(order, k, s, low, high)``: update some elements of array ``s``.

    ``kinds`` are the dtypes of gradient, parameter and slots.
    """
    gradient_at, arrays_at, coefficients = arrays_of(kinds[:1]), arrays_of(kinds[1:]), rows("c")
    like_c, run = (0,) * n_coefficients, running(update)

    def span(order, k, s, low, high):
        g, x = gradient_at(order, 1, s, high), arrays_at(order, 2, s, high)
        run(cast(load(coefficients(order, k), like_c), g[0]), g, x, low, high)

    return span


def summing(measure: Callable, n_coefficients: int, kinds: tuple[np.dtype, ...]) -> Callable:
    """Template of ``sums(order, k, s, size, low)``: measure one chunk of array ``s``."""
    gradient_at, arrays_at, coefficients = arrays_of(kinds[:1]), arrays_of(kinds[1:]), rows("c")
    like_c, over_chunk = (0,) * n_coefficients, chunk_sums(measure)

    def sums(order, k, s, size, low):
        g, x = gradient_at(order, 1, s, size), arrays_at(order, 2, s, size)
        return over_chunk(load(coefficients(order, k), like_c), g[0], x, low)

    return sums


def trusting(trust: Callable, n_coefficients: int) -> Callable:
    """Template of ``adapt(order, k, a, b, n)``: adapt coefficients to sums over ``n`` elements."""
    like_c, coefficients = (0,) * n_coefficients, rows("c")

    def adapt(order, k, a, b, n):
        c = coefficients(order, k)
        store(c, trust(load(c, like_c), (a, b), n))

    return adapt


# Where links are: how many coefficients there are, then addresses of what
# :func:`scattered` calls; the last four are 0 for a rule that measures nothing.
COEFFICIENTS, SCATTERED, TICK, SPAN, EACH, SPAN_ITEM, ADAPT, SUMS, SUMS_ITEM, TRUST = range(10)


def each() -> Callable:
    """Run all items of work in parallel: the one such region of all rules.

    What an item does is called by its address, which leaves so little that it compiles in a second;
    with the loop over elements in it, it took 2 to 3 s for each rule and dtype.
    """

    def run(item, n, order):
        for k in prange(n):
            call(item, None, (order, k))

    return run


_links = reads("links")


@jitable
def run_items(order, item, n):
    """Call ``item`` for each of ``n`` items of work, by :func:`each` where the order has it."""
    if _links(order, EACH) != 0:
        call(_links(order, EACH), None, (item, n, order))
    else:
        for k in range(n):
            call(item, None, (order, k))


def span_item() -> Callable:
    """Item ``k`` of updates: from element ``items[1, k]`` of array ``items[0, k]`` to the next."""
    sizes, active, items = map(reads, ("sizes", "active", "items"))

    def run(order, k):
        first, last = items(order, 0, k), items(order, 0, k + 1)
        for n in range(first, last + 1):
            low = items(order, 1, k) if n == first else 0
            high = items(order, 1, k + 1) if n == last else sizes(order, active(order, n))
            if low < high:
                call(_links(order, SPAN), None, (order, n, active(order, n), low, high))

    return run


def sums_item() -> Callable:
    """Item ``k`` of sums: the chunk from element ``chunks[1, k]`` of array ``chunks[0, k]`` on."""
    sizes, active, chunks, note = *map(reads, ("sizes", "active", "chunks")), writes("sums")

    def run(order, k):
        n = chunks(order, 0, k)
        s = active(order, n)
        where = order, n, s, sizes(order, s), chunks(order, 1, k)
        a, b = call(_links(order, SUMS), (0.0, 0.0), where)
        note(order, 0, k, a)
        note(order, 1, k, b)

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
    sizes, active, sums = map(reads, ("sizes", "active", "sums"))
    count, count_chunks = length("active"), length("chunks")

    def adapt(order):
        run_items(order, _links(order, SUMS_ITEM), count_chunks(order))
        chunk = 0
        for k in range(count(order)):
            size, a, b = sizes(order, active(order, k)), 0.0, 0.0
            for _ in range(0, size, CHUNK):
                a += sums(order, 0, chunk)
                b += sums(order, 1, chunk)
                chunk += 1
            call(_links(order, TRUST), None, (order, k, a, b, size))

    return adapt


def scattered() -> Callable:
    """One step over separate arrays found by address, in one parallel region.

    ``table[:, s]`` holds the addresses of array ``s``: step counter (or 0), gradient, parameter,
    slots. ``hyper[groups[s]]`` are its hyperparameters, ``clocks[s]`` its clock. Only arrays in
    ``active`` are touched; ``c`` has room for the coefficients of each of them. Work item ``k`` is
    from element ``items[1, k]`` of ``active[items[0, k]]`` to where item ``k + 1`` starts. What
    depends on the rule, and what runs items in parallel (or 0), is called by the addresses
    ``links``: :func:`ticking`, :func:`spanning`, :func:`each`, :func:`span_item`,
    :func:`measuring`, :func:`summing`, :func:`sums_item`, :func:`trusting`.
    """
    counter_at = arrays_of((np.dtype(np.float32),))
    clocks, table, active = map(reads, ("clocks", "table", "active"))
    count, count_ends = length("active"), length("items")

    def step(order):
        for k in range(count(order)):
            s = active(order, k)
            call(_links(order, TICK), None, (order, k, s))
            if table(order, 0, s) != 0:
                (counter,) = counter_at(order, 0, s, 1)
                counter[0] = clocks(order, s, 0)
        if _links(order, ADAPT) != 0:
            call(_links(order, ADAPT), None, (order,))
        run_items(order, _links(order, SPAN_ITEM), count_ends(order) - 1)

    return step


def launched() -> Callable:
    """Look up all arrays of all batches, then step them: all of a step, in one call.

    ``orders`` is the address of ``n`` orders, one a batch: of what :func:`.lookup.finding` and
    :func:`scattered` take. If anything is not as it should be, nothing is written, and
    ``n * fault + batch`` comes back; -1 when all is well. At the address ``count`` steps are
    counted; if it is 0, nothing is written either way.
    """

    def launch(orders, n, count):
        for b in range(n):
            order = orders + 8 * WORDS * b
            fault = call(word_at(order + 8 * FIND), 0, (order,))
            if fault >= 0:
                return n * fault + b
        if count:
            for b in range(n):
                order = orders + 8 * WORDS * b
                call(word_at(order + 8 * STEP), None, (order,))
            count_at(count)
        return -1

    return launch


# Pieces of an array start on whole cache lines.
LINE = 64
