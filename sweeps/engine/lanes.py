"""A block of trials side by side: whole runs on a landscape, one trial a SIMD lane.

Every step is a handful of short loops over the lanes - tick the clocks, update each coordinate,
evaluate, record - which LLVM turns into vector code for any elementwise rule and any function of
scalars. Between two events (the end of a trial, a point of a curve) nothing branches: a trial that
has ended or diverged keeps computing in its lane and nobody reads it, and a block whose trials
have all ended stops. A lane reads and writes its own column of the state only, so a trial has the
same bits in any lane, in any company.

What knows the function and the rule is one function, the stretch of steps between two events. The
kernel that runs the blocks takes its address, and is compiled once for each dtype: with stretches
inside, a user's new function took 13 s to compile.

Measured with Rosenbrock, Adam and float64: blocks of 16, 32 and 64 lanes are equally fast, and one
loop over everything is a tenth slower than the short ones.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types

from fastopt.compile import inlinable, jitable, kernel
from fastopt.machine.access import cast, put, take
from fastopt.machine.calls import address_of, call, unpacked, words_of
from fastopt.rules import Rule
from fastopt.rules.base import begun
from sweeps.engine.callees import NUMBERS, WORDS, at_lr, scale_address
from sweeps.engine.data_order import rows_of
from sweeps.engine.lane_state import (
    LIMIT,
    MEASURES,
    METRICS,
    MOVED,
    RESULTS,
    SCALE,
    SEEDED,
    STRIDE,
    TARGET,
    WHOLE,
    WIDTH,
    H,
    Lanes,
    LaneTrials,
    attend,
    clipping,
    comparing,
    load_block,
    pause,
    record,
    resume,
    scaling,
)
from sweeps.engine.queue import DONE, STOP, fetch_add, peek
from sweeps.engine.simd import column, put_column, stacked
from sweeps.problems.landscapes import Landscape

__all__ = ["MEASURES", "METRICS", "RESULTS", "STRIDE", "WIDTH", "LaneTrials", "linked", "parts"]

# Where the links are; the words of the landscape's constants follow.
FACTOR, SCALING, CLIPPING, COMPARING, BEGIN, TICKING, STRETCH, CONSTANTS = range(8)
# What is true of some lane of a block: its schedule changes, its gradient is clipped.
VARIES, CLIPS = 1, 2
ONE, ENDS, THREE = (0,), (0, 0), (0, 0, 0)


@functools.cache
def parts() -> tuple:
    """Return the two functions of :func:`sweeps.engine.queue.workers` that run blocks of lanes."""

    @jitable
    def scratch(t):
        rows, clock, n = t.sizes[0], t.sizes[1], t.start.shape[1]
        x = np.zeros((rows + 2, n * WIDTH), t.start.dtype)
        return Lanes(x, np.zeros(H + (t.h.shape[1] + clock) * WIDTH), np.zeros(WHOLE, np.int64))

    @jitable
    def stretch(s, t, links, step, following, flags):
        looked_at = t.bounds, t.optima, t.watch, t.plan, t.schedule
        return call(links[STRETCH], 0, (s.x, s.v, s.r, *looked_at, links, step, following, flags))

    @jitable
    def item(b, s, control, t, links):
        varies, clips = load_block(b, s, t)
        flags = (VARIES if varies else 0) + (CLIPS if clips else 0)
        step = resume(b, s, t)
        if step < 0:
            if varies:  # what starts from the learning rate starts from that of the first step
                scheduled = links[FACTOR], s.v, s.r, t.plan, t.schedule, 0.0
                call(links[SCALING], None, scheduled)
            call(links[BEGIN], None, (s.x, s.v))
            step = stretch(s, t, links, -1, 0, flags)
        following = attend(s, t, step)
        while following >= 0:
            if peek(control, STOP) != 0:
                return False
            step = stretch(s, t, links, step, following, flags)
            following = attend(s, t, step)
        if t.words.shape[0]:
            pause(b, s, t, step)
        filled = 0
        for k in range(WIDTH):
            filled += t.lanes[b * WIDTH + k] >= 0
        fetch_add(control, DONE, filled - 1)  # the queue counts the item itself as one
        return True

    return scratch, item


def beginning(clock0, starts, n_hyper):
    """Template of ``begin(x, v)``: set clocks and slots to what they are at the first step."""
    like, like_h, clocks = (0,) * len(starts), (0,) * n_hyper, H + n_hyper * WIDTH

    def begin(table, v):
        x = rows_of(table, like, table.shape[1])
        for k in range(WIDTH):
            h = at_lr(column(v, H + k, WIDTH, like_h), v[SCALE + k])
            put_column(v, clocks + k, WIDTH, clock0(h))
            for m in range(1, len(x)):
                for j in range(k, table.shape[1], WIDTH):
                    x[m][j] = begun(starts[m], h, x[0][j])

    return begin


def ticking(tick, n_hyper, n_clock):
    """Template of ``tick(v, c)``: advance the clock of every lane, write its coefficients to ``c``.

    It knows the rule alone, so a new function does not compile it again.
    """
    like_h, like_clock = (0,) * n_hyper, (0,) * n_clock
    clocks = H + n_hyper * WIDTH

    def run(v, c):
        for k in range(WIDTH):
            h = at_lr(column(v, H + k, WIDTH, like_h), v[SCALE + k])
            clock, now = tick(h, column(v, clocks + k, WIDTH, like_clock))
            put_column(v, clocks + k, WIDTH, clock)
            put_column(c, k, WIDTH, now)

    return run


def stretching(
    evaluate, unpack, adapt, update, answer, n_slots,
    dim, n_hyper, n_clock, n_coefficients, bounded,
):  # fmt: skip
    """Template of ``stretch(x, v, r, ..., step, following, flags)``: steps until ``following``.

    It returns the step it came to, which is earlier if a trial ends at its target. From -1 to 0
    it only evaluates the start. ``dim`` is the number of coordinates, 0 for functions of an array,
    which have any.
    """
    like, like_h, like_c = (0,) * n_slots, (0,) * n_hyper, (0,) * n_coefficients
    clocks = H + n_hyper * WIDTH
    size, numbers, coefficients = dim * WIDTH, clocks + n_clock * WIDTH, n_coefficients * WIDTH
    elsewhere = answer is not None

    @inlinable
    def advance(x, g, c, v, bounds, n):
        """One step of every lane, after the tick: update each coordinate, project."""
        for k in range(WIDTH):
            if adapt is not None:
                now = column(c, k, WIDTH, like_c)
                put_column(c, k, WIDTH, adapt(now, g, x, k, n, v))
            v[MOVED + k] = 0.0
        point, gradient = x[:1], (g,)
        for d in range(n):
            low, high = bounds[0, d], bounds[1, d]
            for k in range(WIDTH):
                # take and put: an index into an array may be negative, which SIMD cannot bear.
                j = d * WIDTH + k
                before = take(x, j)
                put(x, j, update(column(c, k, WIDTH, like_c), take(gradient, j)[0], before))
                p = take(x, j)[0]
                if bounded:
                    # Written so that NaN passes: a divergence must show.
                    p = low if p < low else p
                    p = high if p > high else p
                    put(point, j, (p,))
                step = p - before[0]
                v[MOVED + k] += step * step

    @inlinable
    def look(x, g, q, spare, v, r, limit, aux, ends, n, now):
        """Take gradients, and the loss, there or where the rule says."""
        step = cast((now,), g)[0]
        if elsewhere:
            point = (q,)
            for k in range(WIDTH):
                evaluate(x[0], g, k, step, np.uint64(r[SEEDED + k]), aux, ends)
            for d in range(n):
                for k in range(WIDTH):
                    j = d * WIDTH + k
                    put(point, j, (answer(column(v, H + k, WIDTH, like_h), take(x, j)),))
            for k in range(WIDTH):
                loss = evaluate(q, spare, k, step, np.uint64(r[SEEDED + k]), aux, ends)
                record(v, k, loss, now, limit)
        else:
            for k in range(WIDTH):
                loss = evaluate(x[0], g, k, step, np.uint64(r[SEEDED + k]), aux, ends)
                record(v, k, loss, now, limit)

    @inlinable
    def run(x, more, v, r, bounds, optima, watch, plan, schedule, links, step, following, flags, n):
        q, g, spare = more
        q = q if elsewhere else x[0]
        (c,), (mine,) = stacked(ONE, g, coefficients), stacked(ONE, v, numbers)
        for j in range(numbers):
            mine[j] = v[j]
        aux, limit, aimed = unpack(links[CONSTANTS:]), watch[LIMIT], not math.isnan(watch[TARGET])
        ends = np.empty((2, 0 if dim else n), g.dtype)
        while step < following:
            if step >= 0:
                if flags & VARIES:
                    scheduled = links[FACTOR], mine, r, plan, schedule, float(step)
                    call(links[SCALING], None, scheduled)
                if flags & CLIPS:
                    call(links[CLIPPING], None, (g, mine, n))
                call(links[TICKING], None, (mine, c))
                advance(x, g, c, mine, bounds, n)
            step += 1
            look(x, g, q, spare, mine, r, limit, aux, ends, n, float(step))
            if aimed and call(links[COMPARING], 0, (q, mine, r, optima, watch, float(step))) != 0:
                break
        # The hyperparameters between them are as they were.
        for j in range(H):
            v[j] = mine[j]
        for j in range(clocks, numbers):
            v[j] = mine[j]
        return step

    def on_stack(table, v, r, bounds, optima, watch, plan, schedule, links, step, following, flags):
        x, more = stacked(like, table, size), stacked(THREE, table, size)
        for m in range(len(x)):
            for j in range(size):
                x[m][j] = table[m, j]
        for j in range(size):
            more[1][j] = table[len(x), j]
        seen = bounds, optima, watch, plan, schedule, links
        step = run(x, more, v, r, *seen, step, following, flags, dim)
        for m in range(len(x)):
            for j in range(size):
                table[m, j] = x[m][j]
        for j in range(size):
            table[len(x), j] = more[1][j]
            table[len(x) + 1, j] = more[0][j] if elsewhere else x[0][j]
        return step

    def on_heap(table, v, r, bounds, optima, watch, plan, schedule, links, step, following, flags):
        n = table.shape[1] // WIDTH
        x, (g, q) = rows_of(table, like, n * WIDTH), rows_of(table[len(like) :], ENDS, n * WIDTH)
        spare = np.empty(n * WIDTH if elsewhere else 0, g.dtype)
        seen = bounds, optima, watch, plan, schedule, links
        step = run(x, (q, g, spare), v, r, *seen, step, following, flags, n)
        if not elsewhere:
            for j in range(n * WIDTH):
                q[j] = x[0][j]
        return step

    return on_stack if dim else on_heap


def at_scalars(value_and_grad: Callable, dim: int) -> Callable:
    """Evaluate a function of scalars in one lane, straight from and to the block's state."""
    like = (0,) * dim

    @inlinable
    def evaluate(p, g, k, now, seed, aux, ends):
        value, grad = value_and_grad(column(p, k, WIDTH, like), now, seed, aux)
        put_column(g, k, WIDTH, grad)
        return value

    return evaluate


def at_array(value_and_grad: Callable) -> Callable:
    """Evaluate a function of an array in one lane, on a copy of its coordinates."""

    @inlinable
    def evaluate(p, g, k, now, seed, aux, ends):
        point, slope = ends[0], ends[1]
        for d in range(point.size):
            point[d] = p[d * WIDTH + k]
        value = value_and_grad(point, slope, now, seed, aux)
        for d in range(point.size):
            g[d * WIDTH + k] = slope[d]
        return value

    return evaluate


def adapted_lane(measure: Callable | None, trust: Callable | None) -> Callable | None:
    """Return ``adapt(c, g, x, k, n, like) -> c`` of a rule for lane ``k``, None if it has none.

    Its ``n`` coordinates count as one tensor. ``like`` is an array of float64.
    """
    if measure is None or trust is None:
        return None

    @inlinable
    def adapt(c, g, x, k, n, like):
        left, right = 0.0, 0.0
        for j in range(k, k + n * WIDTH, WIDTH):
            a, b = measure(c, cast(take((g,), j), like)[0], cast(take(x, j), like))
            left += a
            right += b
        return trust(c, (left, right), n)

    return adapt


@functools.cache
def stretch_of(
    value_and_grad: Callable, constants: Any, dim: int, bounded: bool, rule: Rule
) -> tuple[Any, Any, Any]:
    """Return the (lazily compiled) beginning and tick of a rule, and its stretch of a function.

    ``constants`` is the Numba type of what the function takes besides; ``dim`` is 0 for functions
    of an array.
    """
    evaluate = at_scalars(value_and_grad, dim) if dim else at_array(value_and_grad)
    h = rule.pack()
    clock = rule.clock0(h)
    sizes = dim, len(h), len(clock), len(rule.tick(h, clock)[1])
    adapt = adapted_lane(rule.measure, rule.trust)
    own = rule.update, rule.answer, len(rule.starts)
    return (
        kernel(beginning, rule.clock0, rule.starts, len(h)),
        kernel(ticking, rule.tick, len(h), len(clock)),
        kernel(stretching, evaluate, unpacked(constants), adapt, *own, *sizes, bounded),
    )


@functools.cache
def addresses(begin: Any, tick: Any, stretch: Any, dtype: Any) -> tuple[int, ...]:
    """Return all links of a stretch over coordinates of this Numba type."""
    flat, table, none = types.Array(dtype, 1, "C"), types.Array(dtype, 2, "C"), types.none
    whole, real = types.int64, types.float64
    plan, numbers = types.Array(whole, 2, "C"), types.Array(real, 2, "C")
    looked_at = table, numbers, NUMBERS, plan, numbers
    return (
        scale_address(),
        address_of(kernel(scaling), none, whole, NUMBERS, WORDS, plan, numbers, real),
        address_of(kernel(clipping), none, flat, NUMBERS, whole),
        address_of(kernel(comparing), whole, flat, NUMBERS, WORDS, numbers, NUMBERS, real),
        address_of(begin, none, table, NUMBERS),
        address_of(tick, none, NUMBERS, flat),
        address_of(stretch, whole, table, NUMBERS, WORDS, *looked_at, WORDS, whole, whole, whole),
    )


def linked(problem: Landscape, rule: Rule) -> np.ndarray:
    """Return what the kernel takes beside trials of this problem and rule; compile it first."""
    dim = 0 if problem.vector else problem.dim
    constants, bounded = numba.typeof(problem.aux), problem.bounds is not None
    own = stretch_of(problem.value_and_grad, constants, dim, bounded, rule)
    links = addresses(*own, numba.from_dtype(problem.dtype))
    return np.concatenate([np.array(links, np.int64), words_of(problem.aux)])
