"""State of a block of lanes, and what happens to it between steps: loading, recording, closing.

Nothing here depends on the function or the rule; :mod:`sweeps.engine.lanes` has what does.
"""

from __future__ import annotations

import math

import numpy as np

from fastopt.compile import inlinable, jitable
from fastopt.machine.access import load
from fastopt.machine.calls import call
from fastopt.norms import clip_coefficient
from fastopt.schedules import SCHEDULES
from sweeps.common.states import State
from sweeps.engine.lane_records import (
    BEST_LOSS,
    DISTANCE,
    DIVERGED_STEP,
    NEVER,
    NUMBERS,
    PATH_LENGTH,
    RESULTS,
    STEPS_DONE,
    STEPS_TO_TARGET,
    STRIDE,
    TRAIN_LOSS,
    WIDTH,
    H,
)
from sweeps.engine.monitoring import next_check, update_patience
from sweeps.engine.records import NO_SCHEDULE
from sweeps.engine.simd import record_in

numbers_in = record_in(NUMBERS)

CONSTANT = list(SCHEDULES).index("constant")


@jitable
def load_block(b, s, t):
    """Copy trials to lanes.

    Returns whether any has a schedule that changes, whether any clips, whether all have one clock.
    """
    v, r = numbers_in(s.v), s.r[0]
    varies, clips, alike = False, False, t.powers.size > 0
    for k in range(WIDTH):
        row = t.lanes[b * WIDTH + k]
        i = row if row >= 0 else t.lanes[b * WIDTH]
        trial = t.settings[i]
        r.row[k], r.source[k], r.seed[k] = row, i, trial.seed
        r.due[k], r.checks[k], r.stale[k] = 0, 0, 0
        r.same[k] = k > 0 and share_schedule(t, i, r.source[max(k - 1, 0)])
        v.loss[k], v.last[k], v.best[k] = np.nan, np.nan, np.inf
        v.path[k], v.moved[k], v.scale[k] = 0.0, 0.0, 1.0
        v.reached[k] = v.diverged[k] = NEVER
        v.clip[k], v.top[k] = trial.clip_norm, -np.inf
        clips = clips or trial.clip_norm < np.inf
        varies = varies or trial.schedule != CONSTANT
        for place in t.powers:
            alike = alike and t.h[i, place] == t.h[r.source[0], place]
        put_lane(s.v[H:], k, t.h[i])
        put_lane(s.x[0], k, t.start[i])
    return varies, clips, alike


@jitable
def share_schedule(t, i, j):
    """Whether two trials have one schedule."""
    same = t.settings[i].schedule == t.settings[j].schedule
    for a in range(t.schedule.shape[1]):
        same = same and t.schedule[i, a] == t.schedule[j, a]
    return same


@jitable
def put_lane(flat, k, values):
    """Copy numbers to lane ``k`` of an array that has WIDTH of each."""
    for d in range(values.size):
        flat[d * WIDTH + k] = values[d]


@jitable
def get_lane(values, flat, k):
    """Copy them back."""
    for d in range(values.size):
        values[d] = flat[d * WIDTH + k]


def clipping():
    """Template of ``clip(g, v, n)``: scale the gradient of every lane that clips, in place.

    As :func:`fastopt.clip_grad_norm_` does, of ``n`` coordinates.
    """

    def clip(g, v, n):
        for k in range(WIDTH):
            if v.clip[k] < np.inf:
                c = g.dtype.type(clip_coefficient(norm_of(g, k, n), v.clip[k]))
                for j in range(k, k + n * WIDTH, WIDTH):
                    g[j] *= c

    return clip


@jitable
def norm_of(g, k, n):
    """Euclidean norm of the ``n`` coordinates of lane ``k``."""
    square = 0.0
    for j in range(k, k + n * WIDTH, WIDTH):
        square += np.float64(g[j]) * np.float64(g[j])
    return math.sqrt(square)


@jitable
def pause(b, s, t, step):
    """Keep the state of the lanes that pause.

    Those of a block pause at one step, its last: a lane that is closed keeps computing.
    """
    v, r, clock = numbers_in(s.v), s.r[0], s.v[H + t.h.shape[1] * WIDTH :]
    for k in range(WIDTH):
        i = t.lanes[b * WIDTH + k]
        if i < 0 or t.state[i] != State.PRUNED:
            continue
        kept = t.kept.counters[i]
        kept.done, kept.loss, kept.last = step, v.loss[k], v.last[k]
        kept.best, kept.path, kept.reached = v.best[k], v.path[k], v.reached[k]
        kept.top, kept.due, kept.checks, kept.stale = v.top[k], r.due[k], r.checks[k], r.stale[k]
        get_lane(t.kept.clock[i], clock, k)
        for m in range(s.x.shape[0]):
            get_lane(t.kept.x[i, m], s.x[m], k)


@jitable
def resume(b, s, t):
    """Copy the state of paused lanes back; return the step they paused at, -1 if they are new."""
    v, r, clock = numbers_in(s.v), s.r[0], s.v[H + t.h.shape[1] * WIDTH :]
    first = t.lanes[b * WIDTH]
    if t.kept.counters.shape[0] == 0 or t.kept.counters[first].done == 0:
        return -1
    for k in range(WIDTH):
        i = r.source[k]
        kept = t.kept.counters[i]
        v.loss[k], v.last[k], v.best[k] = kept.loss, kept.last, kept.best
        v.path[k], v.reached[k], v.top[k] = kept.path, kept.reached, kept.top
        r.due[k], r.checks[k], r.stale[k] = kept.due, kept.checks, kept.stale
        put_lane(clock, k, t.kept.clock[i])
        for m in range(s.x.shape[0]):
            put_lane(s.x[m], k, t.kept.x[i, m])
    return t.kept.counters[first].done


def scaling():
    """Template of ``scale(factor, v, r, settings, schedule, step)``: evaluate the schedules.

    Once for neighbours that share one, by the function at the address ``factor``.
    """

    def scale(factor, v, r, settings, schedule, step):
        for k in range(WIDTH):
            if r.same[k] == 1:
                v.scale[k] = v.scale[k - 1]
            else:
                i = r.source[k]
                a = load(schedule[i], NO_SCHEDULE)
                v.scale[k] = call(factor, 0.0, (settings[i].schedule, step, a))

    return scale


@inlinable
def distance(q, optima, k):
    """Distance of lane ``k`` to the nearest optimum; NaN if none is known."""
    nearest = np.nan
    for m in range(optima.shape[0]):
        square = 0.0
        for d in range(optima.shape[1]):
            away = q[d * WIDTH + k] - optima[m, d]
            square += away * away
        nearest = nearest if nearest <= square else square
    return math.sqrt(nearest)


@inlinable
def record(v, k, loss, now, limit):
    """Take note of the loss of lane ``k`` after ``now`` steps: divergence, best loss and path."""
    diverged, best = v.diverged[k], v.best[k]
    # `abs(NaN) <= limit` is false as well.
    checked = diverged if abs(loss) <= limit else now
    diverged = checked if diverged < 0.0 else diverged
    lower = loss if loss < best else best
    v.diverged[k], v.loss[k] = diverged, loss
    v.last[k] = loss if diverged < 0.0 else v.last[k]
    v.best[k] = lower if diverged < 0.0 else best
    v.path[k] += math.sqrt(v.moved[k])


def comparing():
    """Template of ``compare(q, v, r, optima, watch, now)``: note which lanes reach the target.

    It returns 1 if one of them ends here, because it has; else 0.
    """

    def compare(q, v, r, optima, watch, now):
        sign, target = watch.sign, watch.target
        for k in range(WIDTH):
            score = distance(q, optima, k) if watch.by_distance else v.loss[k]
            hit = now if sign * score >= sign * target else NEVER
            hit = hit if v.diverged[k] < 0.0 else NEVER
            v.reached[k] = hit if v.reached[k] < 0.0 else v.reached[k]
        ends = 0
        if watch.ends_at_target:
            for k in range(WIDTH):
                ends |= v.reached[k] == now and r.row[k] >= 0
        return ends

    return compare


@inlinable
def finish(s, t, k, step, complete):
    """Write the results of lane ``k``, at its end or after its divergence, and close it."""
    x, v, r = s.x, numbers_in(s.v), s.r[0]
    i = r.row[k]
    diverged = v.diverged[k] >= 0.0
    t.out[i, BEST_LOSS] = v.best[k]
    t.out[i, STEPS_TO_TARGET] = v.reached[k] if v.reached[k] >= 0.0 else np.nan
    if diverged:
        t.out[i, TRAIN_LOSS] = v.last[k]
        t.out[i, STEPS_DONE] = t.out[i, DIVERGED_STEP] = v.diverged[k]
    else:
        q = x[x.shape[0] - 1]
        t.out[i, TRAIN_LOSS], t.out[i, STEPS_DONE] = v.loss[k], step
        t.out[i, DISTANCE], t.out[i, PATH_LENGTH] = distance(q, t.optima, k), v.path[k]
        for d in range(t.start.shape[1]):
            t.out[i, len(RESULTS) + d] = q[d * WIDTH + k]
        measure(s, t, k)
    ended = State.COMPLETE if complete else State.PRUNED
    t.state[i] = State.DIVERGED if diverged else ended
    r.row[k] = -1


@inlinable
def draw_curve(s, t, k, step):
    """Write one point of the curve of lane ``k``."""
    x, curves, out = s.x, t.curves, t.out
    i, dim, at, q = s.r[0].row[k], t.start.shape[1], s.r[0].checks[k], x.shape[0] - 1
    curves[i, at, 0], curves[i, at, 1] = step, numbers_in(s.v).loss[k]
    for d in range(dim):
        curves[i, at, 2 + d] = x[q, d * WIDTH + k]
    if out.shape[1] > len(RESULTS) + dim:
        measure(s, t, k)
    for m in range(len(RESULTS) + dim, out.shape[1]):
        curves[i, at, 2 + m - len(RESULTS)] = out[i, m]


@inlinable
def measure(s, t, k):
    """Write the norms of lane ``k`` that are wanted, of its gradient here and of its last step."""
    i, g = s.r[0].row[k], s.x[s.x.shape[0] - 2]
    if t.watch.grad_norm >= 0:
        t.out[i, t.watch.grad_norm] = norm_of(g, k, t.start.shape[1])
    if t.watch.update_norm >= 0:
        t.out[i, t.watch.update_norm] = math.sqrt(numbers_in(s.v).moved[k])


@inlinable
def check(s, t, k, step):
    """Look at lane ``k``: its curve, and whether its patience has come to an end."""
    x, v, r = s.x, numbers_in(s.v), s.r[0]
    i = r.row[k]
    if t.curves.shape[1] > 0:
        draw_curve(s, t, k, step)
    score = v.best[k] if t.watch.by_best else v.loss[k]
    score = distance(x[x.shape[0] - 1], t.optima, k) if t.watch.by_distance else score
    r.checks[k] += 1
    r.due[k] = next_check(step, t.settings[i].every)
    v.top[k], r.stale[k], exhausted = update_patience(
        t.watch.sign * score, v.top[k], r.stale[k], t.settings[i].patience
    )
    return exhausted


@inlinable
def handle_events(s, t, step):
    """Close the lanes that end here and draw curves; return the step of the next event, or -1."""
    v, r = numbers_in(s.v), s.r[0]
    following = -1
    for k in range(WIDTH):
        i = r.row[k]
        if i < 0:
            continue
        looked_at = t.curves.shape[1] > 0 or t.settings[i].patience > 0
        hit = t.watch.ends_at_target and v.reached[k] >= 0.0
        ends = v.diverged[k] >= 0.0 or step == t.settings[i].steps or hit
        if looked_at and v.diverged[k] < 0.0 and (ends or step == r.due[k]):
            ends = check(s, t, k, step) or ends
        until = t.until[i] if t.until.shape[0] else t.settings[i].steps
        if ends or step == until:
            finish(s, t, k, step, ends)
            continue
        event = min(until, step + STRIDE)
        if looked_at:
            event = min(event, r.due[k])
        following = event if following < 0 else min(following, event)
    return following
