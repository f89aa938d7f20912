"""Steps of a block of lanes between two events: the part that knows the function and the rule.

Every template is compiled by itself and called by address. State that a step reads and writes is on
the stack of the function that steps, because LLVM must know that it does not overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fastopt.compile import inlinable
from fastopt.machine.access import cast, put, take
from fastopt.machine.calls import call
from sweeps.engine.callees import at_lr, slots_begun
from sweeps.engine.data_order import rows_of
from sweeps.engine.lane_records import WIDTH, H
from sweeps.engine.lane_state import numbers_in, record
from sweeps.engine.simd import column, copy, merging, put_column, stacked

ONE, ENDS, THREE = (0,), (0, 0), (0, 0, 0)


def beginning(clock0, starts, n_hyper):
    """Template of ``begin(s)``: set clocks and slots to what they are at the first step."""
    like_h, clocks, begin_slots = (0,) * n_hyper, H + n_hyper * WIDTH, slots_begun(starts)

    def begin(s):
        x = s.x
        for k in range(WIDTH):
            h = at_lr(column(s.v, H + k, WIDTH, like_h), numbers_in(s.v).scale[k])
            put_column(s.v, clocks + k, WIDTH, clock0(h))
            begin_slots(h, x, k, x.shape[1], WIDTH)

    return begin


def ticking(tick, n_hyper, n_clock, common):
    """Template of ``tick(v, c, alike)``: advance the clock of every lane, write coefficients to c.

    It knows the rule alone, so a new function does not compile it again. ``common``: which
    hyperparameters are the same in all lanes of a block that is ``alike``, those that decide what
    its clocks are. Their powers and roots are computed once there, to the same bits: divisions and
    roots are what a step waits for (Adam on Rosenbrock's function: 12 % of it).
    """
    like_h, like_clock = (0,) * n_hyper, (0,) * n_clock
    clocks, merge = H + n_hyper * WIDTH, merging(common)

    @inlinable
    def hyper_of(v, k):
        return at_lr(column(v, H + k, WIDTH, like_h), numbers_in(v).scale[k])

    def each(v, c, alike):
        for k in range(WIDTH):
            clock, now = tick(hyper_of(v, k), column(v, clocks + k, WIDTH, like_clock))
            put_column(v, clocks + k, WIDTH, clock)
            put_column(c, k, WIDTH, now)

    each_lane = inlinable(each)

    def once(v, c, alike):
        if not alike:
            each_lane(v, c, alike)
            return
        h, before = hyper_of(v, 0), column(v, clocks, WIDTH, like_clock)
        clock, _ = tick(h, before)
        for k in range(WIDTH):
            put_column(v, clocks + k, WIDTH, clock)
            put_column(c, k, WIDTH, tick(merge(h, hyper_of(v, k)), before)[1])

    return once if any(common) else each


def advancing(adapt, update, n_coefficients, bounded):
    """Return ``advance``: one step of every lane, after the tick."""
    like_c = (0,) * n_coefficients

    @inlinable
    def advance(x, g, c, v, bounds, n):
        """Update each of ``n`` coordinates, project."""
        now = numbers_in(v)
        for k in range(WIDTH):
            if adapt is not None:
                own = column(c, k, WIDTH, like_c)
                put_column(c, k, WIDTH, adapt(own, g, x, k, n, v))
            now.moved[k] = 0.0
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
                now.moved[k] += step * step

    return advance


def looking(evaluate, answer, n_hyper):
    """Return ``look``: take gradients, and the loss, there or where the rule says."""
    like_h = (0,) * n_hyper

    @inlinable
    def look(x, g, q, spare, v, r, limit, aux, ends, n, now):
        step = cast((now,), g)[0]
        if answer is None:
            for k in range(WIDTH):
                loss = evaluate(x[0], g, k, step, np.uint64(r.seed[k]), aux, ends)
                record(numbers_in(v), k, loss, now, limit)
        else:
            point = (q,)
            for k in range(WIDTH):
                evaluate(x[0], g, k, step, np.uint64(r.seed[k]), aux, ends)
            for d in range(n):
                for k in range(WIDTH):
                    j = d * WIDTH + k
                    put(point, j, (answer(column(v, H + k, WIDTH, like_h), take(x, j)),))
            for k in range(WIDTH):
                loss = evaluate(q, spare, k, step, np.uint64(r.seed[k]), aux, ends)
                record(numbers_in(v), k, loss, now, limit)

    return look


def running(advance, look, unpack, dim, n_hyper, n_clock, n_coefficients):
    """Return ``run``: steps of every lane until ``following``, on state that nothing aliases."""
    numbers, coefficients = H + (n_hyper + n_clock) * WIDTH, n_coefficients * WIDTH

    @inlinable
    def run(x, q, g, spare, s, inputs, step, following, n):
        (c,), (v,) = stacked(ONE, g, coefficients), stacked(ONE, s.v, numbers)
        copy(v, s.v)
        r, links, now = s.r[0], inputs.links, numbers_in(v)
        bounds, optima, watch = inputs.bounds, inputs.optima, inputs.watch
        aux, limit, aimed = unpack(links.words), watch.limit, not math.isnan(watch.target)
        ends = np.empty((2, 0 if dim else n), g.dtype)
        while step < following:
            if step >= 0:
                if inputs.varies:
                    scheduled = links.factor, now, r, inputs.settings, inputs.schedule, float(step)
                    call(links.scale, None, scheduled)
                if inputs.clips:
                    call(links.clip, None, (g, now, n))
                call(links.tick, None, (v, c, inputs.alike))
                advance(x, g, c, v, bounds, n)
            step += 1
            look(x, g, q, spare, v, r, limit, aux, ends, n, float(step))
            if aimed and call(links.compare, 0, (q, now, r, optima, watch, float(step))) != 0:
                break
        copy(s.v, v)
        return step

    return run


def on_stack(run, elsewhere, n_slots, dim):
    """Return ``stretch`` for ``dim`` coordinates, which are copied to the stack and back."""
    like, size = (0,) * n_slots, dim * WIDTH

    def stretch(s, inputs, step, following):
        table = s.x
        x, (q, g, spare) = stacked(like, table, size), stacked(THREE, table, size)
        for m in range(len(x)):
            for j in range(size):
                x[m][j] = table[m, j]
        for j in range(size):
            g[j] = table[len(x), j]
        q = q if elsewhere else x[0]
        step = run(x, q, g, spare, s, inputs, step, following, dim)
        for m in range(len(x)):
            for j in range(size):
                table[m, j] = x[m][j]
        for j in range(size):
            table[len(x), j] = g[j]
            table[len(x) + 1, j] = q[j]
        return step

    return stretch


def on_heap(run, elsewhere, n_slots, dim):
    """Return ``stretch`` for any number of coordinates."""
    like = (0,) * n_slots

    def stretch(s, inputs, step, following):
        width = s.x.shape[1]
        x, (g, last) = rows_of(s.x, like, width), rows_of(s.x[len(like) :], ENDS, width)
        spare = np.empty(width if elsewhere else 0, g.dtype)
        q = last if elsewhere else x[0]
        step = run(x, q, g, spare, s, inputs, step, following, width // WIDTH)
        if not elsewhere:
            copy(last, q)
        return step

    return stretch


def stretching(
    evaluate, unpack, adapt, update, answer, n_slots,
    dim, n_hyper, n_clock, n_coefficients, bounded,
):  # fmt: skip
    """Template of ``stretch(s, inputs, step, following)``: steps until ``following``.

    It returns the step it came to, which is earlier if a trial ends at its target. From -1 to 0
    it only evaluates the start. ``dim`` is the number of coordinates, 0 for functions of an array,
    which have any.
    """
    advance = advancing(adapt, update, n_coefficients, bounded)
    look = looking(evaluate, answer, n_hyper)
    run = running(advance, look, unpack, dim, n_hyper, n_clock, n_coefficients)
    return (on_stack if dim else on_heap)(run, answer is not None, n_slots, dim)


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
