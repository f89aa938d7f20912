"""State of a block of lanes, and what happens to it between steps: loading, recording, closing.

Nothing here depends on the function or the rule; :mod:`sweeps.engine.lanes` has what does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastopt.access import load
from fastopt.compile import inlinable, jitable
from fastopt.norms import clip_coefficient
from fastopt.schedules import SCHEDULES, factor
from sweeps.engine.measures import next_check, worn_out
from sweeps.engine.trial import (
    CLIP_NORM,
    COMPLETE,
    DIVERGED,
    EVERY,
    NO_SCHEDULE,
    PATIENCE,
    PRUNED,
    SCHEDULE,
    SEED,
    STEPS,
)

__all__ = [
    "COUNTERS", "MEASURES", "METRICS", "RESULTS", "STRIDE", "WIDTH", "LaneTrials", "Lanes",
    "attend", "clip_lanes", "compare", "load_block", "pause", "record", "resume", "scale_rates",
]  # fmt: skip

WIDTH = 32
# Steps between looks at the stop flag and at whether a block has diverged altogether.
STRIDE = 128
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

# Words of a paused trial, before its clock.
DONE, LOSS, LAST, BEST, PATH, REACHED, TOP, DUE, CHECKS, STALE = range(10)
COUNTERS = 10


class LaneTrials(NamedTuple):
    """Everything a chunk of landscape trials reads and writes, in the order the kernel takes it."""

    h: np.ndarray  # float64 (n, len(rule.hyper))
    plan: np.ndarray  # int64 (n, PLAN_WIDTH): columns as in sweeps.engine.trial
    extra: np.ndarray  # float64 (n, 2): columns as in sweeps.engine.trial
    schedule: np.ndarray  # float64 (n, 6): the schedule's parameters
    start: np.ndarray  # (n, dim) of the dtype of the arithmetic
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
    clip: np.ndarray  # largest norm of the gradient, or infinity
    top: np.ndarray  # best score at a check
    row: np.ndarray  # int64: the trial, -1 once it has ended
    source: np.ndarray  # int64: the trial; lanes without one copy the first lane's
    seed: np.ndarray  # int64
    same: np.ndarray  # int64: 1 where the schedule is that of the lane before
    due: np.ndarray  # int64: step of the next check
    checks: np.ndarray  # int64: how many there have been
    stale: np.ndarray  # int64: how many since the best one


@jitable
def load_block(b, s, t):
    """Copy trials to lanes; return whether any has a schedule that changes, or clips."""
    varies, clips = False, False
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
        s.clip[k], s.top[k] = t.extra[i, CLIP_NORM], -np.inf
        s.due[k], s.checks[k], s.stale[k] = 0, 0, 0
        clips = clips or s.clip[k] < np.inf
        before = s.source[max(k - 1, 0)]
        same = k > 0 and t.plan[i, SCHEDULE] == t.plan[before, SCHEDULE]
        for a in range(t.schedule.shape[1]):
            same = same and t.schedule[i, a] == t.schedule[before, a]
        s.same[k] = same
        varies = varies or t.plan[i, SCHEDULE] != CONSTANT
    return varies, clips


@jitable
def clip_lanes(s, n):
    """Scale the gradient of every lane that clips, as :func:`fastopt.clip_grad_norm_` does."""
    for k in range(WIDTH):
        if s.clip[k] < np.inf:
            c = s.g.dtype.type(clip_coefficient(norm_of(s.g, k, n), s.clip[k]))
            for j in range(k, k + n * WIDTH, WIDTH):
                s.g[j] *= c


@jitable
def norm_of(g, k, n):
    """Euclidean norm of the ``n`` coordinates of lane ``k``."""
    square = 0.0
    for j in range(k, k + n * WIDTH, WIDTH):
        square += np.float64(g[j]) * np.float64(g[j])
    return math.sqrt(square)


@jitable
def pause(b, s, x, t, n, step):
    """Copy the state of the lanes that pause to their rows of ``words`` and ``memory``.

    Those of a block pause at one step, its last: a lane that is closed keeps computing.
    """
    for k in range(WIDTH):
        i = t.lanes[b * WIDTH + k]
        if i < 0 or t.state[i] != PRUNED:
            continue
        words, memory = t.words[i], t.memory[i]
        words[DONE], words[LOSS], words[LAST] = step, s.loss[k], s.last[k]
        words[BEST], words[PATH], words[REACHED] = s.best[k], s.path[k], s.reached[k]
        words[TOP], words[DUE] = s.top[k], s.due[k]
        words[CHECKS], words[STALE] = s.checks[k], s.stale[k]
        for a in range(words.size - COUNTERS):
            words[COUNTERS + a] = s.clock[a * WIDTH + k]
        for d in range(n):
            for m in range(len(x)):
                memory[m * n + d] = x[m][d * WIDTH + k]
            memory[len(x) * n + d] = s.g[d * WIDTH + k]
            memory[(len(x) + 1) * n + d] = s.q[d * WIDTH + k]


@jitable
def resume(b, s, x, t, n):
    """Copy the state of paused lanes back; return the step they paused at, 0 if they are new."""
    first = t.lanes[b * WIDTH]
    if t.words.shape[0] == 0 or t.words[first, DONE] == 0.0:
        return 0
    for k in range(WIDTH):
        words, memory = t.words[s.source[k]], t.memory[s.source[k]]
        s.loss[k], s.last[k] = words[LOSS], words[LAST]
        s.best[k], s.path[k], s.reached[k] = words[BEST], words[PATH], words[REACHED]
        s.top[k], s.due[k] = words[TOP], int(words[DUE])
        s.checks[k], s.stale[k] = int(words[CHECKS]), int(words[STALE])
        for a in range(words.size - COUNTERS):
            s.clock[a * WIDTH + k] = words[COUNTERS + a]
        for d in range(n):
            for m in range(len(x)):
                x[m][d * WIDTH + k] = memory[m * n + d]
            s.g[d * WIDTH + k] = memory[len(x) * n + d]
            s.q[d * WIDTH + k] = memory[(len(x) + 1) * n + d]
    return int(t.words[first, DONE])


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
def record(s, k, loss, now, limit):
    """Take note of the loss of lane ``k`` after ``now`` steps: divergence, best loss and path."""
    diverged, best = s.diverged[k], s.best[k]
    # `abs(NaN) <= limit` is false as well.
    checked = diverged if abs(loss) <= limit else now
    diverged = checked if diverged < 0.0 else diverged
    lower = loss if loss < best else best
    s.diverged[k], s.loss[k] = diverged, loss
    s.last[k] = loss if diverged < 0.0 else s.last[k]
    s.best[k] = lower if diverged < 0.0 else best
    s.path[k] += math.sqrt(s.moved[k])


@inlinable
def compare(s, t, now):
    """Take note of the lanes that reach the target, if there is one, after ``now`` steps.

    Return whether one of them ends here, because it has.
    """
    sign, target = t.watch[SIGN], t.watch[TARGET]
    if math.isnan(target):
        return False
    by_distance = t.watch[BY_DISTANCE] != 0.0
    for k in range(WIDTH):
        score = distance(s, t, k) if by_distance else s.loss[k]
        hit = now if sign * score >= sign * target else NEVER
        hit = hit if s.diverged[k] < 0.0 else NEVER
        s.reached[k] = hit if s.reached[k] < 0.0 else s.reached[k]
    ends = False
    if t.watch[ENDS_AT_TARGET] != 0.0:
        for k in range(WIDTH):
            ends = ends or (s.reached[k] == now and s.row[k] >= 0)
    return ends


@jitable
def finish(s, t, k, step, complete):
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
        measure(s, t, k)
    ended = COMPLETE if complete else PRUNED
    t.state[i] = DIVERGED if diverged else ended
    s.row[k] = -1


@jitable
def draw_curve(s, t, k, step):
    """Write one point of the curve of lane ``k``."""
    i, dim = s.row[k], t.start.shape[1]
    point = t.curves[i, s.checks[k]]
    point[0], point[1] = step, s.loss[k]
    for d in range(dim):
        point[2 + d] = s.q[d * WIDTH + k]
    measure(s, t, k)
    for m in range(len(RESULTS) + dim, t.out.shape[1]):
        point[2 + m - len(RESULTS)] = t.out[i, m]


@jitable
def measure(s, t, k):
    """Write the norms of lane ``k`` that are wanted, of its gradient here and of its last step."""
    for column, norm in (
        (int(t.watch[GRAD_NORM]), norm_of(s.g, k, t.start.shape[1])),
        (int(t.watch[UPDATE_NORM]), math.sqrt(s.moved[k])),
    ):
        if column >= 0:
            t.out[s.row[k], column] = norm


@jitable
def check(s, t, k, step):
    """Look at lane ``k``: its curve, and whether its patience has come to an end."""
    i = s.row[k]
    if t.curves.shape[1] > 0:
        draw_curve(s, t, k, step)
    score = s.best[k] if t.watch[BY_BEST] != 0.0 else s.loss[k]
    score = distance(s, t, k) if t.watch[BY_DISTANCE] != 0.0 else score
    s.checks[k] += 1
    s.due[k] = next_check(step, t.plan[i, EVERY])
    s.top[k], s.stale[k], worn = worn_out(
        t.watch[SIGN] * score, s.top[k], s.stale[k], t.plan[i, PATIENCE]
    )
    return worn


@jitable
def attend(s, t, step):
    """Close the lanes that end here and draw curves; return the step of the next event, or -1."""
    following = -1
    for k in range(WIDTH):
        i = s.row[k]
        if i < 0:
            continue
        looked_at = t.curves.shape[1] > 0 or t.plan[i, PATIENCE] > 0
        hit = t.watch[ENDS_AT_TARGET] != 0.0 and s.reached[k] >= 0.0
        ends = s.diverged[k] >= 0.0 or step == t.plan[i, STEPS] or hit
        if looked_at and s.diverged[k] < 0.0 and (ends or step == s.due[k]):
            ends = check(s, t, k, step) or ends
        until = t.until[i] if t.until.shape[0] else t.plan[i, STEPS]
        if ends or step == until:
            finish(s, t, k, step, ends)
            continue
        event = min(until, step + STRIDE)
        if looked_at:
            event = min(event, s.due[k])
        following = event if following < 0 else min(following, event)
    return following
