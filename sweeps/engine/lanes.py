"""A block of trials side by side: whole runs on a landscape, one trial a SIMD lane.

Every step is a handful of short loops over the lanes - tick the clocks, update each coordinate,
evaluate, record - which LLVM turns into vector code for any elementwise rule and any function of
scalars. Between two events (the end of a trial, a point of a curve) nothing branches: a trial that
has ended or diverged keeps computing in its lane and nobody reads it, and a block whose trials
have all ended stops. A lane reads and writes its own column of the state only, so a trial has the
same bits in any lane, in any company.

Measured with Rosenbrock, Adam and float64: blocks of 16, 32 and 64 lanes are equally fast, and one
loop over everything is a tenth slower than the short ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastopt.access import cast, put, take
from fastopt.compile import inlinable, jitable, kernel
from fastopt.rules import Rule
from fastopt.rules.base import begun
from sweeps.engine.block import (
    LIMIT,
    MEASURES,
    METRICS,
    RESULTS,
    STRIDE,
    WIDTH,
    Lanes,
    LaneTrials,
    attend,
    clip_lanes,
    compare,
    load_block,
    pause,
    record,
    resume,
    scale_rates,
)
from sweeps.engine.columns import column, put_column, stacked
from sweeps.engine.queue import DONE, STOP, fetch_add, peek
from sweeps.engine.rows import rows_of
from sweeps.engine.trial import at_lr

__all__ = ["MEASURES", "METRICS", "RESULTS", "STRIDE", "WIDTH", "LaneTrials", "lane_parts", "parts"]

ONE, TWO, THREE, SEVEN, TEN = ((0,) * count for count in (1, 2, 3, 7, 10))


class Scratch(NamedTuple):
    """What one worker reuses for all of its blocks, for functions of an array."""

    x: tuple
    more: tuple  # q, g and spare of Lanes
    point: np.ndarray  # (dim,): coordinates of one trial
    slope: np.ndarray


def loading():
    """Template of :func:`load_block`."""
    return lambda b, s, t: load_block(b, s, t)


def scaling():
    """Template of :func:`scale_rates`."""
    return lambda s, t, step: scale_rates(s, t, step)


def clipping():
    """Template of :func:`clip_lanes`."""
    return lambda s, n: clip_lanes(s, n)


def attending():
    """Template of :func:`attend`."""
    return lambda s, t, step: attend(s, t, step)


def pausing():
    """Template of :func:`pause`."""
    return lambda b, s, x, t, n, step: pause(b, s, x, t, n, step)


def resuming():
    """Template of :func:`resume`."""
    return lambda b, s, x, t, n: resume(b, s, x, t, n)


def lane_parts(
    evaluate, adapt, clock0, tick, update, answer,
    dim, n_hyper, n_clock, n_coefficients, starts, bounded,
) -> tuple:  # fmt: skip
    """Close the two functions of :func:`sweeps.engine.queue.workers` over a landscape and a rule.

    ``dim`` is the number of coordinates, 0 for functions of an array, which have any.
    """
    like, like_h, like_clock = (0,) * len(starts), (0,) * n_hyper, (0,) * n_clock
    like_c = (0,) * n_coefficients
    size, most = dim * WIDTH, max(n_hyper, n_clock, n_coefficients) * WIDTH
    # What does not depend on the function is compiled, and cached, apart: with it a user's new
    # function took 10 s instead of 5 in a fresh process.
    load_lanes, scale_lanes, attend_lanes = kernel(loading), kernel(scaling), kernel(attending)
    pause_lanes, resume_lanes, shorten = kernel(pausing), kernel(resuming), kernel(clipping)

    @inlinable
    def begin_slots(s, x, n):
        """Set the clocks and slots to what they are before the first step."""
        for k in range(WIDTH):
            put_column(s.clock, k, WIDTH, clock0(column(s.h, k, WIDTH, like_h)))
        for m in range(1, len(x)):
            for j in range(n * WIDTH):
                x[m][j] = begun(starts[m], column(s.h, j % WIDTH, WIDTH, like_h), s.p[j])

    @inlinable
    def advance(s, x, t, n):
        """One step of every lane: tick, update each coordinate, project."""
        for k in range(WIDTH):
            h = at_lr(column(s.h, k, WIDTH, like_h), s.scale[k])
            clock, c = tick(h, column(s.clock, k, WIDTH, like_clock))
            put_column(s.clock, k, WIDTH, clock)
            put_column(s.c, k, WIDTH, adapt(c, s.g, x, k, n, s.loss))
            s.moved[k] = 0.0
        point, gradient = (s.p,), (s.g,)
        for d in range(n):
            low, high = t.bounds[0, d], t.bounds[1, d]
            for k in range(WIDTH):
                # take and put: an index into an array may be negative, which SIMD cannot bear.
                j = d * WIDTH + k
                before = take(x, j)
                c = column(s.c, k, WIDTH, like_c)
                put(x, j, update(c, take(gradient, j)[0], before))
                p = take(x, j)[0]
                if bounded:
                    # Written so that NaN passes: a divergence must show.
                    p = low if p < low else p
                    p = high if p > high else p
                    put(point, j, (p,))
                step = p - before[0]
                s.moved[k] += step * step

    @inlinable
    def evaluate_lanes(s, x, t, n, aux, w, now):
        step, limit = cast((now,), s.g)[0], t.watch[LIMIT]
        for k in range(WIDTH):
            loss = evaluate(s.p, s.g, k, step, np.uint64(s.seed[k]), aux, w)
            record(s, k, loss, now, limit)

    @inlinable
    def evaluate_answers(s, x, t, n, aux, w, now):
        step, limit, point = cast((now,), s.g)[0], t.watch[LIMIT], (s.q,)
        for k in range(WIDTH):
            evaluate(s.p, s.g, k, step, np.uint64(s.seed[k]), aux, w)
        for d in range(n):
            for k in range(WIDTH):
                j = d * WIDTH + k
                put(point, j, (answer(column(s.h, k, WIDTH, like_h), take(x, j)),))
        for k in range(WIDTH):
            loss = evaluate(s.q, s.spare, k, step, np.uint64(s.seed[k]), aux, w)
            record(s, k, loss, now, limit)

    look = evaluate_lanes if answer is None else evaluate_answers

    @inlinable
    def run(b, s, x, n, w, control, t, aux):
        (varies, clips), step = load_lanes(b, s, t), resume_lanes(b, s, x, t, n)
        if step == 0:
            begin_slots(s, x, n)
            look(s, x, t, n, aux, w, 0.0)
            compare(s, t, 0.0)
        following = attend_lanes(s, t, step)
        while following >= 0:
            if peek(control, STOP) != 0:
                return False
            while step < following:
                if varies:
                    scale_lanes(s, t, step)
                if clips:
                    shorten(s, n)
                advance(s, x, t, n)
                step += 1
                look(s, x, t, n, aux, w, float(step))
                if compare(s, t, float(step)):
                    break
            following = attend_lanes(s, t, step)
        if t.words.shape[0]:
            pause_lanes(b, s, x, t, n, step)
        filled = 0
        for k in range(WIDTH):
            filled += t.lanes[b * WIDTH + k] >= 0
        fetch_add(control, DONE, filled - 1)  # the queue counts the item itself as one
        return True

    @jitable
    def no_scratch(t):
        return 0

    @jitable
    def on_stack(b, w, control, t, aux):
        x, (q, g, spare) = stacked(like, t.start, size), stacked(THREE, t.start, size)
        q = x[0] if answer is None else q
        c, h = stacked(ONE, t.start, most), stacked(TWO, t.h, most)
        v, rows = stacked(TEN, t.h, WIDTH), stacked(SEVEN, t.lanes, WIDTH)
        s = Lanes(x[0], q, g, spare, *c, *h, *v, *rows)
        return run(b, s, x, dim, w, control, t, aux)

    @jitable
    def scratch(t):
        n = t.start.shape[1]
        table = np.empty((len(like) + 3, n * WIDTH), t.start.dtype)
        ends = np.empty((2, n), t.start.dtype)
        x = rows_of(table, like, n * WIDTH)
        more = rows_of(table[len(like) :], THREE, n * WIDTH)
        return Scratch(x, more, ends[0], ends[1])

    @jitable
    def on_heap(b, w, control, t, aux):
        q, g, spare = w.more
        q = w.x[0] if answer is None else q
        c, h = stacked(ONE, t.start, most), stacked(TWO, t.h, most)
        v, rows = stacked(TEN, t.h, WIDTH), stacked(SEVEN, t.lanes, WIDTH)
        s = Lanes(w.x[0], q, g, spare, *c, *h, *v, *rows)
        return run(b, s, w.x, t.start.shape[1], w, control, t, aux)

    return (no_scratch, on_stack) if dim else (scratch, on_heap)


def at_scalars(value_and_grad: Callable, dim: int) -> Callable:
    """Evaluate a function of scalars in one lane, straight from and to the block's state."""
    like = (0,) * dim

    @inlinable
    def evaluate(p, g, k, now, seed, aux, w):
        value, grad = value_and_grad(column(p, k, WIDTH, like), now, seed, aux)
        put_column(g, k, WIDTH, grad)
        return value

    return evaluate


def at_array(value_and_grad: Callable) -> Callable:
    """Evaluate a function of an array in one lane, on a copy of its coordinates."""

    @inlinable
    def evaluate(p, g, k, now, seed, aux, w):
        for d in range(w.point.size):
            w.point[d] = p[d * WIDTH + k]
        value = value_and_grad(w.point, w.slope, now, seed, aux)
        for d in range(w.point.size):
            g[d * WIDTH + k] = w.slope[d]
        return value

    return evaluate


def adapted_lane(measure: Callable | None, trust: Callable | None) -> Callable:
    """Return ``adapt(c, g, x, k, n, like) -> c`` of a rule for lane ``k``.

    Its ``n`` coordinates count as one tensor. ``like`` is an array of float64.
    """
    if measure is None or trust is None:
        return inlinable(lambda c, g, x, k, n, like: c)

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
def parts(value_and_grad: Callable, dim: int, bounded: bool, rule: Rule) -> tuple:
    """Return :func:`lane_parts` of a landscape and a rule, the same object each time.

    ``dim`` is 0 for functions of an array.
    """
    evaluate = at_scalars(value_and_grad, dim) if dim else at_array(value_and_grad)
    h = rule.pack()
    clock = rule.clock0(h)
    sizes = dim, len(h), len(clock), len(rule.tick(h, clock)[1])
    adapt = adapted_lane(rule.measure, rule.trust)
    own = rule.clock0, rule.tick, rule.update, rule.answer
    return lane_parts(evaluate, adapt, *own, *sizes, rule.starts, bounded)
