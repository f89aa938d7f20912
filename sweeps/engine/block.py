"""State of a block of lanes, and what happens to it between steps: loading, recording, closing.

Nothing here depends on the function or the rule; :mod:`sweeps.engine.lanes` has what does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fastopt.access import load
from fastopt.compile import inlinable, jitable
from fastopt.schedules import SCHEDULES, factor
from sweeps.engine.trial import (
    COMPLETE,
    DIVERGED,
    EVERY,
    NO_SCHEDULE,
    PRUNED,
    SCHEDULE,
    SEED,
    STEPS,
)

__all__ = [
    "COUNTERS", "METRICS", "RESULTS", "STRIDE", "WIDTH", "LaneTrials", "Lanes", "attend", "compare",
    "load_block", "pause", "record", "resume", "scale_rates",
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

# Columns of what all trials are watched for.
SIGN, TARGET, LIMIT, BY_DISTANCE = range(4)

# Words of a paused trial, before its clock.
DONE, LOSS, LAST, BEST, PATH, REACHED = range(6)
COUNTERS = 6


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
    row: np.ndarray  # int64: the trial, -1 once it has ended
    source: np.ndarray  # int64: the trial; lanes without one copy the first lane's
    seed: np.ndarray  # int64
    same: np.ndarray  # int64: 1 where the schedule is that of the lane before


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
    """Take note of the lanes that reach the target, if there is one, after ``now`` steps."""
    sign, target = t.watch[SIGN], t.watch[TARGET]
    if math.isnan(target):
        return
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
    ended = COMPLETE if step == t.plan[i, STEPS] else PRUNED
    t.state[i] = DIVERGED if diverged else ended
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
        until = t.until[i] if t.until.shape[0] else t.plan[i, STEPS]
        if s.diverged[k] >= 0.0 or step == until:
            finish(s, t, k, step)
            continue
        event = min(until, step + STRIDE)
        if drawn:
            event = min(event, (step // t.plan[i, EVERY] + 1) * t.plan[i, EVERY])
        following = event if following < 0 else min(following, event)
    return following
