"""State of a block of lanes, and what happens to it between steps: loading, recording, closing.

Nothing here depends on the function or the rule; :mod:`sweeps.engine.lanes` has what does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastopt.compile import inlinable, jitable
from fastopt.machine.access import load
from fastopt.machine.calls import call
from fastopt.norms import clip_coefficient
from fastopt.schedules import SCHEDULES
from sweeps.engine.monitoring import next_check, worn_out
from sweeps.engine.trial import (
    CLIP_NORM,
    COMPLETE,
    EVERY,
    NO_SCHEDULE,
    PATIENCE,
    PRUNED,
    SCHEDULE,
    SEED,
    STEPS,
)
from sweeps.engine.trial import DIVERGED as DIVERGED_STATE

__all__ = [
    "COUNTERS", "MEASURES", "METRICS", "RESULTS", "STRIDE", "WIDTH", "LaneTrials", "Lanes",
    "attend", "clipping", "comparing", "load_block", "pause", "record", "resume", "scaling",
]  # fmt: skip

WIDTH = 32
# Steps between looks at the stop flag and at whether a block has diverged altogether.
STRIDE = 128
# What there is of each lane: lane `k` of a quantity is element `QUANTITY + k` of `v` of Lanes.
# The hyperparameters follow from H on, and after them the clock.
LOSS, LAST, BEST, PATH, MOVED, SCALE, REACHED, DIVERGED, CLIP, TOP, H = range(0, 11 * WIDTH, WIDTH)
# And of `r`: the trial, -1 once it has ended; the trial, which lanes without one share with the
# first lane; its seed; whether its schedule is that of the lane before; the step of its next check,
# how many there have been, and how many since the best one.
ROW, SOURCE, SEEDED, SAME, DUE, CHECKS, STALE, WHOLE = range(0, 8 * WIDTH, WIDTH)

CONSTANT = list(SCHEDULES).index("constant")
NEVER = -1.0

RESULTS = (
    "train_loss", "best_loss", "distance", "path_length",
    "steps", "steps_to_target", "diverged_step",
)  # fmt: skip
TRAIN_LOSS, BEST_LOSS, DISTANCE, PATH_LENGTH, STEPS_DONE, STEPS_TO_TARGET, DIVERGED_STEP = range(7)
METRICS = RESULTS[:4]
MEASURES = ("grad_norm", "update_norm")
"""What ``measure=`` of a sweep over a landscape may name, in the order of their columns."""

# Columns of what all trials are watched for.
SIGN, TARGET, LIMIT, BY_DISTANCE, BY_BEST, ENDS_AT_TARGET, GRAD_NORM, UPDATE_NORM = range(8)

# Words of a paused trial, before its clock: steps done, then what there is of it in `v` and `r`.
DONE = 0
KEPT = LOSS, LAST, BEST, PATH, REACHED, TOP
KEPT_WHOLE = DUE, CHECKS, STALE
COUNTERS = 1 + len(KEPT) + len(KEPT_WHOLE)


class LaneTrials(NamedTuple):
    """Everything a chunk of landscape trials reads and writes, in the order the kernel takes it."""

    h: np.ndarray  # float64 (n, len(rule.hyper))
    plan: np.ndarray  # int64 (n, PLAN_WIDTH): columns as in sweeps.engine.trial
    extra: np.ndarray  # float64 (n, 2): columns as in sweeps.engine.trial
    schedule: np.ndarray  # float64 (n, 6): the schedule's parameters
    start: np.ndarray  # (n, dim) of the dtype of the arithmetic
    sizes: np.ndarray  # int64 (2,): rows of the parameter and its slots, length of the clock
    optima: np.ndarray  # float64 (m, dim); no rows when unknown
    bounds: np.ndarray  # (2, dim) of the dtype of the arithmetic: lows, highs
    lanes: np.ndarray  # int64 (blocks * WIDTH,): the trial in each lane, -1 for none
    # float64 (8,): SIGN (+1 max, -1 min), TARGET, ..., and the columns of `out` for MEASURES or -1
    watch: np.ndarray
    out: np.ndarray  # float64: results, then the final coordinates, then measures
    state: np.ndarray  # int8 (n,)
    curves: np.ndarray  # float64: (n, points) times step, loss, coordinates, measures
    until: np.ndarray  # int64 (n,): step to pause at; no rows when trials run to their end
    words: np.ndarray  # float64 (n, k): counters and clock of paused trials, or no rows
    memory: np.ndarray  # (n, (slots + 2) * dim) of the arithmetic's dtype, or no rows


class Lanes(NamedTuple):
    """State of one block.

    ``x`` are rows of ``dim * WIDTH`` numbers: the coordinates where gradients are taken, the rule's
    slots, the gradient, and the coordinates where the loss is measured, which are the first ones
    unless the rule says otherwise. Lane ``k`` of coordinate ``d`` is element ``d * WIDTH + k``.
    """

    x: np.ndarray  # of the dtype of the arithmetic
    v: np.ndarray  # float64: LOSS, ..., hyperparameters, clock; of WIDTH each
    r: np.ndarray  # int64: ROW, ...; of WIDTH each


@jitable
def load_block(b, s, t):
    """Copy trials to lanes; return whether any has a schedule that changes, or clips."""
    x, v, r = s
    varies, clips = False, False
    for k in range(WIDTH):
        row = t.lanes[b * WIDTH + k]
        i = row if row >= 0 else t.lanes[b * WIDTH]
        r[ROW + k], r[SOURCE + k], r[SEEDED + k] = row, i, t.plan[i, SEED]
        for a in range(t.h.shape[1]):
            v[H + a * WIDTH + k] = t.h[i, a]
        for d in range(t.start.shape[1]):
            x[0, d * WIDTH + k] = t.start[i, d]
        v[LOSS + k], v[LAST + k], v[BEST + k] = np.nan, np.nan, np.inf
        v[PATH + k], v[MOVED + k], v[SCALE + k] = 0.0, 0.0, 1.0
        v[REACHED + k] = v[DIVERGED + k] = NEVER
        v[CLIP + k], v[TOP + k] = t.extra[i, CLIP_NORM], -np.inf
        r[DUE + k], r[CHECKS + k], r[STALE + k] = 0, 0, 0
        clips = clips or v[CLIP + k] < np.inf
        before = r[SOURCE + max(k - 1, 0)]
        same = k > 0 and t.plan[i, SCHEDULE] == t.plan[before, SCHEDULE]
        for a in range(t.schedule.shape[1]):
            same = same and t.schedule[i, a] == t.schedule[before, a]
        r[SAME + k] = same
        varies = varies or t.plan[i, SCHEDULE] != CONSTANT
    return varies, clips


def clipping():
    """Template of ``clip(g, v, n)``: scale the gradient of every lane that clips, in place.

    As :func:`fastopt.clip_grad_norm_` does, of ``n`` coordinates.
    """

    def clip(g, v, n):
        for k in range(WIDTH):
            if v[CLIP + k] < np.inf:
                c = g.dtype.type(clip_coefficient(norm_of(g, k, n), v[CLIP + k]))
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
    """Copy the state of the lanes that pause to their rows of ``words`` and ``memory``.

    Those of a block pause at one step, its last: a lane that is closed keeps computing.
    """
    x, v, r = s
    clock, n = H + t.h.shape[1] * WIDTH, t.start.shape[1]
    for k in range(WIDTH):
        i = t.lanes[b * WIDTH + k]
        if i < 0 or t.state[i] != PRUNED:
            continue
        words, memory = t.words[i], t.memory[i]
        words[DONE], at = step, 1
        for quantity in KEPT:
            words[at], at = v[quantity + k], at + 1
        for quantity in KEPT_WHOLE:
            words[at], at = r[quantity + k], at + 1
        for a in range(words.size - COUNTERS):
            words[COUNTERS + a] = v[clock + a * WIDTH + k]
        for m in range(x.shape[0]):
            for d in range(n):
                memory[m * n + d] = x[m, d * WIDTH + k]


@jitable
def resume(b, s, t):
    """Copy the state of paused lanes back; return the step they paused at, -1 if they are new."""
    x, v, r = s
    clock, n = H + t.h.shape[1] * WIDTH, t.start.shape[1]
    first = t.lanes[b * WIDTH]
    if t.words.shape[0] == 0 or t.words[first, DONE] == 0.0:
        return -1
    for k in range(WIDTH):
        words, memory = t.words[r[SOURCE + k]], t.memory[r[SOURCE + k]]
        at = 1
        for quantity in KEPT:
            v[quantity + k], at = words[at], at + 1
        for quantity in KEPT_WHOLE:
            r[quantity + k], at = int(words[at]), at + 1
        for a in range(words.size - COUNTERS):
            v[clock + a * WIDTH + k] = words[COUNTERS + a]
        for m in range(x.shape[0]):
            for d in range(n):
                x[m, d * WIDTH + k] = memory[m * n + d]
    return int(t.words[first, DONE])


def scaling():
    """Template of ``scale(factor, v, r, plan, schedule, step)``: evaluate the schedules.

    Once for neighbours that share one, by the function at the address ``factor``.
    """

    def scale(factor, v, r, plan, schedule, step):
        for k in range(WIDTH):
            if r[SAME + k] == 1:
                v[SCALE + k] = v[SCALE + k - 1]
            else:
                i = r[SOURCE + k]
                a = load(schedule[i], NO_SCHEDULE)
                v[SCALE + k] = call(factor, 0.0, (plan[i, SCHEDULE], step, a))

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
    diverged, best = v[DIVERGED + k], v[BEST + k]
    # `abs(NaN) <= limit` is false as well.
    checked = diverged if abs(loss) <= limit else now
    diverged = checked if diverged < 0.0 else diverged
    lower = loss if loss < best else best
    v[DIVERGED + k], v[LOSS + k] = diverged, loss
    v[LAST + k] = loss if diverged < 0.0 else v[LAST + k]
    v[BEST + k] = lower if diverged < 0.0 else best
    v[PATH + k] += math.sqrt(v[MOVED + k])


def comparing():
    """Template of ``compare(q, v, r, optima, watch, now)``: note which lanes reach the target.

    It returns 1 if one of them ends here, because it has; else 0.
    """

    def compare(q, v, r, optima, watch, now):
        sign, target = watch[SIGN], watch[TARGET]
        by_distance = watch[BY_DISTANCE] != 0.0
        for k in range(WIDTH):
            score = distance(q, optima, k) if by_distance else v[LOSS + k]
            hit = now if sign * score >= sign * target else NEVER
            hit = hit if v[DIVERGED + k] < 0.0 else NEVER
            v[REACHED + k] = hit if v[REACHED + k] < 0.0 else v[REACHED + k]
        ends = 0
        if watch[ENDS_AT_TARGET] != 0.0:
            for k in range(WIDTH):
                ends |= v[REACHED + k] == now and r[ROW + k] >= 0
        return ends

    return compare


@inlinable
def finish(s, t, k, step, complete):
    """Write the results of lane ``k``, at its end or after its divergence, and close it."""
    x, v, r = s
    i = r[ROW + k]
    diverged = v[DIVERGED + k] >= 0.0
    t.out[i, BEST_LOSS] = v[BEST + k]
    t.out[i, STEPS_TO_TARGET] = v[REACHED + k] if v[REACHED + k] >= 0.0 else np.nan
    if diverged:
        t.out[i, TRAIN_LOSS] = v[LAST + k]
        t.out[i, STEPS_DONE] = t.out[i, DIVERGED_STEP] = v[DIVERGED + k]
    else:
        q = x[x.shape[0] - 1]
        t.out[i, TRAIN_LOSS], t.out[i, STEPS_DONE] = v[LOSS + k], step
        t.out[i, DISTANCE], t.out[i, PATH_LENGTH] = distance(q, t.optima, k), v[PATH + k]
        for d in range(t.start.shape[1]):
            t.out[i, len(RESULTS) + d] = q[d * WIDTH + k]
        measure(s, t, k)
    ended = COMPLETE if complete else PRUNED
    t.state[i] = DIVERGED_STATE if diverged else ended
    r[ROW + k] = -1


@inlinable
def draw_curve(s, t, k, step):
    """Write one point of the curve of lane ``k``."""
    x, curves, out = s.x, t.curves, t.out
    i, dim, at, q = s.r[ROW + k], t.start.shape[1], s.r[CHECKS + k], x.shape[0] - 1
    curves[i, at, 0], curves[i, at, 1] = step, s.v[LOSS + k]
    for d in range(dim):
        curves[i, at, 2 + d] = x[q, d * WIDTH + k]
    if out.shape[1] > len(RESULTS) + dim:
        measure(s, t, k)
    for m in range(len(RESULTS) + dim, out.shape[1]):
        curves[i, at, 2 + m - len(RESULTS)] = out[i, m]


@inlinable
def measure(s, t, k):
    """Write the norms of lane ``k`` that are wanted, of its gradient here and of its last step."""
    i, g = s.r[ROW + k], s.x[s.x.shape[0] - 2]
    if t.watch[GRAD_NORM] >= 0.0:
        t.out[i, int(t.watch[GRAD_NORM])] = norm_of(g, k, t.start.shape[1])
    if t.watch[UPDATE_NORM] >= 0.0:
        t.out[i, int(t.watch[UPDATE_NORM])] = math.sqrt(s.v[MOVED + k])


@inlinable
def check(s, t, k, step):
    """Look at lane ``k``: its curve, and whether its patience has come to an end."""
    x, v, r = s
    i = r[ROW + k]
    if t.curves.shape[1] > 0:
        draw_curve(s, t, k, step)
    score = v[BEST + k] if t.watch[BY_BEST] != 0.0 else v[LOSS + k]
    score = distance(x[x.shape[0] - 1], t.optima, k) if t.watch[BY_DISTANCE] != 0.0 else score
    r[CHECKS + k] += 1
    r[DUE + k] = next_check(step, t.plan[i, EVERY])
    v[TOP + k], r[STALE + k], worn = worn_out(
        t.watch[SIGN] * score, v[TOP + k], r[STALE + k], t.plan[i, PATIENCE]
    )
    return worn


@inlinable
def attend(s, t, step):
    """Close the lanes that end here and draw curves; return the step of the next event, or -1."""
    _, v, r = s
    following = -1
    for k in range(WIDTH):
        i = r[ROW + k]
        if i < 0:
            continue
        looked_at = t.curves.shape[1] > 0 or t.plan[i, PATIENCE] > 0
        hit = t.watch[ENDS_AT_TARGET] != 0.0 and v[REACHED + k] >= 0.0
        ends = v[DIVERGED + k] >= 0.0 or step == t.plan[i, STEPS] or hit
        if looked_at and v[DIVERGED + k] < 0.0 and (ends or step == r[DUE + k]):
            ends = check(s, t, k, step) or ends
        until = t.until[i] if t.until.shape[0] else t.plan[i, STEPS]
        if ends or step == until:
            finish(s, t, k, step, ends)
            continue
        event = min(until, step + STRIDE)
        if looked_at:
            event = min(event, r[DUE + k])
        following = event if following < 0 else min(following, event)
    return following
