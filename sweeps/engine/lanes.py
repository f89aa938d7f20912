"""A block of trials side by side: whole runs on a landscape, one trial a SIMD lane.

Every step is a handful of short loops over the lanes - tick the clocks, update each coordinate,
evaluate, record - which LLVM turns into vector code for any elementwise rule and any function of
scalars. Between two events (the end of a trial, a point of a curve) nothing branches: a trial that
has ended or diverged keeps computing in its lane and nobody reads it, and a block whose trials
have all ended stops. A lane reads and writes its own column of the state only, so a trial has the
same bits in any lane, in any company.

Measured with Rosenbrock, Adam and float64: 16 to 64 lanes do the same, 8 and 128 do worse.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastopt.access import cast, load, put, take
from fastopt.compile import inlinable, jitable, kernel
from fastopt.rules import Rule
from fastopt.rules.base import begun
from fastopt.schedules import SCHEDULES, factor
from sweeps.engine.columns import column, put_column, stacked
from sweeps.engine.queue import DONE, STOP, fetch_add, peek
from sweeps.engine.trial import (
    COMPLETE,
    DIVERGED,
    EVERY,
    NO_SCHEDULE,
    SCHEDULE,
    SEED,
    STEPS,
    at_lr,
    rows_of,
)

__all__ = ["METRICS", "RESULTS", "WIDTH", "LaneTrials", "lane_parts", "parts"]

WIDTH = 32
# Steps between looks at the stop flag and at whether a block has diverged altogether.
STRIDE = 128
CONSTANT = list(SCHEDULES).index("constant")
ONE, TWO, THREE, FOUR, EIGHT = ((0,) * count for count in (1, 2, 3, 4, 8))
NEVER = -1.0

RESULTS = (
    "train_loss", "best_loss", "distance", "path_length",
    "steps", "steps_to_target", "diverged_step",
)  # fmt: skip
TRAIN_LOSS, BEST_LOSS, DISTANCE, PATH_LENGTH, STEPS_DONE, STEPS_TO_TARGET, DIVERGED_STEP = range(7)
METRICS = RESULTS[:4]

# Columns of what all trials are watched for.
SIGN, TARGET, LIMIT, BY_DISTANCE = range(4)


class LaneTrials(NamedTuple):
    """Everything a chunk of landscape trials reads and writes, in the order the kernel takes it."""

    h: np.ndarray  # float64 (n, len(rule.hyper))
    plan: np.ndarray  # int64 (n, 6): columns as in sweeps.engine.trial
    schedule: np.ndarray  # float64 (n, 6): the schedule's parameters
    start: np.ndarray  # (n, dim) of the dtype of the arithmetic
    optima: np.ndarray  # float64 (m, dim); no rows when unknown
    bounds: np.ndarray  # (2, dim) of the dtype of the arithmetic: lows, highs
    lanes: np.ndarray  # int64 (blocks * WIDTH,): the trial in each lane, -1 for none
    watch: np.ndarray  # float64 (4,): SIGN (+1 max, -1 min), TARGET, LIMIT, BY_DISTANCE
    out: np.ndarray  # float64 (n, len(RESULTS) + dim): results, then the final coordinates
    state: np.ndarray  # int8 (n,)
    curves: np.ndarray  # float64 (n, points, 2 + dim): step, loss, coordinates


class Lanes(NamedTuple):
    """State of one block; lane ``k`` of quantity ``q`` is element ``q * WIDTH + k``."""

    p: np.ndarray  # coordinates (dim * WIDTH,), where gradients are taken
    q: np.ndarray  # coordinates where the loss is measured: p, or another point if the rule says so
    g: np.ndarray  # gradient
    spare: np.ndarray  # a gradient that nobody reads
    c: np.ndarray  # coefficients of the step
    h: np.ndarray  # from here on float64
    clock: np.ndarray
    loss: np.ndarray  # from here on (WIDTH,)
    last: np.ndarray  # last loss before the divergence
    best: np.ndarray
    path: np.ndarray
    moved: np.ndarray  # square of the length of the last step
    scale: np.ndarray  # factor of the schedule
    reached: np.ndarray  # step of the target, or NEVER
    diverged: np.ndarray  # step of the divergence, or NEVER
    row: np.ndarray  # int64: the trial, -1 once it has ended
    source: np.ndarray  # int64: the trial; lanes without one copy the first lane's
    seed: np.ndarray  # int64
    same: np.ndarray  # int64: 1 where the schedule is that of the lane before


class Scratch(NamedTuple):
    """What one worker reuses for all of its blocks, for functions of an array."""

    x: tuple
    more: tuple  # q, g and spare of Lanes
    point: np.ndarray  # (dim,): coordinates of one trial
    slope: np.ndarray


@jitable
def load_block(b, s, t):
    """Copy trials to lanes; return whether any has a schedule that changes."""
    varies = False
    for k in range(WIDTH):
        row = t.lanes[b * WIDTH + k]
        i = row if row >= 0 else t.lanes[b * WIDTH]
        s.row[k], s.source[k], s.seed[k] = row, i, t.plan[i, SEED]
        for a in range(t.h.shape[1]):
            s.h[a * WIDTH + k] = t.h[i, a]
        for d in range(t.start.shape[1]):
            s.p[d * WIDTH + k] = t.start[i, d]
        s.last[k], s.best[k], s.path[k], s.moved[k], s.scale[k] = np.nan, np.inf, 0.0, 0.0, 1.0
        s.reached[k] = s.diverged[k] = NEVER
        before = s.source[max(k - 1, 0)]
        same = k > 0 and t.plan[i, SCHEDULE] == t.plan[before, SCHEDULE]
        for a in range(t.schedule.shape[1]):
            same = same and t.schedule[i, a] == t.schedule[before, a]
        s.same[k] = same
        varies = varies or t.plan[i, SCHEDULE] != CONSTANT
    return varies


@jitable
def scale_rates(s, t, step):
    """Evaluate the schedules, once for neighbours that share one."""
    for k in range(WIDTH):
        if s.same[k] == 1:
            s.scale[k] = s.scale[k - 1]
        else:
            i = s.source[k]
            a = load(t.schedule[i], NO_SCHEDULE)
            s.scale[k] = factor(t.plan[i, SCHEDULE], float(step), a)


@inlinable
def distance(s, t, k):
    """Distance of lane ``k`` to the nearest optimum; NaN if none is known."""
    nearest = np.nan
    for m in range(t.optima.shape[0]):
        square = 0.0
        for d in range(t.optima.shape[1]):
            away = s.q[d * WIDTH + k] - t.optima[m, d]
            square += away * away
        nearest = nearest if nearest <= square else square
    return math.sqrt(nearest)


@inlinable
def record(s, t, step):
    """Take note of the losses after ``step`` steps: divergence, best, path and target."""
    limit, now = t.watch[LIMIT], float(step)
    for k in range(WIDTH):
        loss, diverged, best = s.loss[k], s.diverged[k], s.best[k]
        # `abs(NaN) <= limit` is false as well.
        checked = diverged if abs(loss) <= limit else now
        diverged = checked if diverged < 0.0 else diverged
        lower = loss if loss < best else best
        s.diverged[k] = diverged
        s.last[k] = loss if diverged < 0.0 else s.last[k]
        s.best[k] = lower if diverged < 0.0 else best
        s.path[k] += math.sqrt(s.moved[k])
    sign, target = t.watch[SIGN], t.watch[TARGET]
    if not math.isnan(target):
        by_distance = t.watch[BY_DISTANCE] != 0.0
        for k in range(WIDTH):
            score = distance(s, t, k) if by_distance else s.loss[k]
            hit = now if sign * score >= sign * target else NEVER
            hit = hit if s.diverged[k] < 0.0 else NEVER
            s.reached[k] = hit if s.reached[k] < 0.0 else s.reached[k]


@jitable
def finish(s, t, k, step):
    """Write the results of lane ``k``, at its end or after its divergence, and close it."""
    i = s.row[k]
    diverged = s.diverged[k] >= 0.0
    t.out[i, BEST_LOSS] = s.best[k]
    t.out[i, STEPS_TO_TARGET] = s.reached[k] if s.reached[k] >= 0.0 else np.nan
    if diverged:
        t.out[i, TRAIN_LOSS] = s.last[k]
        t.out[i, STEPS_DONE] = t.out[i, DIVERGED_STEP] = s.diverged[k]
    else:
        t.out[i, TRAIN_LOSS], t.out[i, STEPS_DONE] = s.loss[k], step
        t.out[i, DISTANCE], t.out[i, PATH_LENGTH] = distance(s, t, k), s.path[k]
        for d in range(t.start.shape[1]):
            t.out[i, len(RESULTS) + d] = s.q[d * WIDTH + k]
    t.state[i] = DIVERGED if diverged else COMPLETE
    s.row[k] = -1


@jitable
def draw_curve(s, t, k, step):
    """Write one point of the curve of lane ``k``."""
    i, every, steps = s.row[k], t.plan[s.row[k], EVERY], t.plan[s.row[k], STEPS]
    if step % every == 0 or step == steps:
        point = (step + every - 1) // every
        t.curves[i, point, 0], t.curves[i, point, 1] = step, s.loss[k]
        for d in range(t.start.shape[1]):
            t.curves[i, point, 2 + d] = s.q[d * WIDTH + k]


@jitable
def attend(s, t, step):
    """Close the lanes that end here and draw curves; return the step of the next event, or -1."""
    following = -1
    drawn = t.curves.shape[1] > 0
    for k in range(WIDTH):
        i = s.row[k]
        if i < 0:
            continue
        if drawn and s.diverged[k] < 0.0:
            draw_curve(s, t, k, step)
        if s.diverged[k] >= 0.0 or step == t.plan[i, STEPS]:
            finish(s, t, k, step)
            continue
        event = min(t.plan[i, STEPS], step + STRIDE)
        if drawn:
            event = min(event, (step // t.plan[i, EVERY] + 1) * t.plan[i, EVERY])
        following = event if following < 0 else min(following, event)
    return following


def loading():
    """Template of :func:`load_block`."""
    return lambda b, s, t: load_block(b, s, t)


def scaling():
    """Template of :func:`scale_rates`."""
    return lambda s, t, step: scale_rates(s, t, step)


def attending():
    """Template of :func:`attend`."""
    return lambda s, t, step: attend(s, t, step)


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
    # What does not depend on the function is compiled, and cached, apart: a user's new function
    # would otherwise take 10 s instead of 3.
    load_lanes, scale_lanes, attend_lanes = kernel(loading), kernel(scaling), kernel(attending)

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
    def evaluate_lanes(s, x, n, aux, w, step):
        now = cast((float(step),), s.g)[0]
        for k in range(WIDTH):
            s.loss[k] = evaluate(s.p, s.g, k, now, np.uint64(s.seed[k]), aux, w)

    @inlinable
    def evaluate_answers(s, x, n, aux, w, step):
        evaluate_lanes(s, x, n, aux, w, step)
        now, point = cast((float(step),), s.g)[0], (s.q,)
        for d in range(n):
            for k in range(WIDTH):
                j = d * WIDTH + k
                put(point, j, (answer(column(s.h, k, WIDTH, like_h), take(x, j)),))
        for k in range(WIDTH):
            s.loss[k] = evaluate(s.q, s.spare, k, now, np.uint64(s.seed[k]), aux, w)

    look = evaluate_lanes if answer is None else evaluate_answers

    @inlinable
    def run(b, s, x, n, w, control, t, aux):
        varies = load_lanes(b, s, t)
        begin_slots(s, x, n)
        look(s, x, n, aux, w, 0)
        record(s, t, 0)
        step, following = 0, attend_lanes(s, t, 0)
        while following >= 0:
            if peek(control, STOP) != 0:
                return False
            while step < following:
                if varies:
                    scale_lanes(s, t, step)
                advance(s, x, t, n)
                step += 1
                look(s, x, n, aux, w, step)
                record(s, t, step)
            following = attend_lanes(s, t, step)
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
        v, rows = stacked(EIGHT, t.h, WIDTH), stacked(FOUR, t.lanes, WIDTH)
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
        v, rows = stacked(EIGHT, t.h, WIDTH), stacked(FOUR, t.lanes, WIDTH)
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
    if measure is None:
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
def parts(value_and_grad: Callable, vector: bool, bounded: bool, dim: int, rule: Rule) -> tuple:
    """Return :func:`lane_parts` of a landscape and a rule, the same object each time."""
    evaluate = at_array(value_and_grad) if vector else at_scalars(value_and_grad, dim)
    h = rule.pack()
    clock = rule.clock0(h)
    sizes = 0 if vector else dim, len(h), len(clock), len(rule.tick(h, clock)[1])
    adapt = adapted_lane(rule.measure, rule.trust)
    own = rule.clock0, rule.tick, rule.update, rule.answer
    return lane_parts(evaluate, adapt, *own, *sizes, rule.starts, bounded)
