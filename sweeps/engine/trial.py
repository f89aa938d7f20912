"""One trial: a whole training run, in a kernel that knows neither the problem nor the rule.

What it calls of them it is given by address (see :mod:`sweeps.engine.callees`), so it is compiled
once for each dtype and kind of targets. With problem and rule inside, the kernel of a small network
and Adam took 28 s to compile, and the next rule took as long again.

A trial reads its own row of the table of trials and writes its own row of the results, nothing
else, so it computes the same bits alone or among millions, on any thread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastopt.compile import jitable
from fastopt.machine.access import load
from fastopt.machine.calls import call
from fastopt.rules import Rule
from fastopt.schedules import WIDTH
from sweeps.engine import callees as linking
from sweeps.engine.callees import (
    ADVANCE,
    ANSWER,
    BEGIN,
    CLIP,
    CONSTANTS,
    EVALUATE,
    INIT,
    LOSS,
    NOTE_GRADIENT,
    NOTE_MOVE,
    ORDER,
    RECORD,
    SCALE,
)
from sweeps.engine.data_order import ONCE, copy_rows, rows_like
from sweeps.engine.monitoring import TALLIED, next_check, tallied, worn_out
from sweeps.engine.queue import STOP, peek
from sweeps.problems.base import DataProblem

__all__ = [
    "COMPLETE",
    "CURVE",
    "DIVERGED",
    "METRICS",
    "PENDING",
    "PRUNED",
    "RESULTS",
    "Trials",
    "linked",
    "parts",
]

# Columns of the integer plan of a trial.
BATCH, STEPS, EVERY, SCHEDULE, SEED, SHUFFLE, PATIENCE = range(7)
PLAN_WIDTH = 7
LOG_SPACED = 0  # what EVERY says of checks at log-spaced steps
# Columns of its real numbers.
CLIP_NORM, INIT_SCALE = range(2)
NO_SCHEDULE = (0.0,) * WIDTH  # as many parameters as every schedule has

# Columns of what all trials are watched for.
METRIC, SIGN, TARGET, LIMIT, CHECK_TEST, CHECK_TRAIN, ENDS_AT_TARGET = range(7)
GRAD_NORM, GRAD_VARIANCE, UPDATE_NORM = range(7, 10)  # as MEASURES

# Lengths of what a worker allocates: parameters, the largest batch, work, rows of x, the clock.
N_PARAMS, MOST_ROWS, WORK, ROWS, CLOCK = range(5)

# States of a trial; the order is that of the categories in the frame.
PENDING, COMPLETE, DIVERGED, PRUNED = -1, 0, 1, 2

# What a trial counts as it goes: sum of minibatch losses and rows seen since the last check, checks
# done, the best score at one and how many there have been since; before them, what is measured.
# While it is paused: steps done, place in the epoch, epochs begun, last loss, step of next check.
DONE = 0
SUM, SEEN, CHECKS, BEST, STALE, LOW, EPOCH, LAST, DUE = range(TALLIED, TALLIED + 9)
COUNTERS = TALLIED + 9

RESULTS = (
    "train_loss", "train_accuracy", "test_loss", "test_accuracy",
    "best_loss", "steps", "steps_to_target", "diverged_step",
)  # fmt: skip
TRAIN_LOSS, TRAIN_ACCURACY, TEST_LOSS, TEST_ACCURACY = 0, 1, 2, 3
BEST_LOSS, STEPS_DONE, STEPS_TO_TARGET, DIVERGED_STEP = 4, 5, 6, 7

# Metrics a target can be set on; the number is the column of the results it is found in.
METRICS = {name: RESULTS.index(name) for name in RESULTS[:4]}
CURVE = ("step", *RESULTS[:4])


class Trials(NamedTuple):
    """Everything a chunk of trials reads and writes, in the order the kernel takes it."""

    h: np.ndarray  # float64 (n, len(rule.hyper))
    plan: np.ndarray  # int64 (n, PLAN_WIDTH): BATCH, STEPS, EVERY, ...
    extra: np.ndarray  # float64 (n, 2): CLIP_NORM, INIT_SCALE
    schedule: np.ndarray  # float64 (n, WIDTH): the schedule's parameters
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    theta0: np.ndarray  # (n_params,) or (0,): draw from the seed
    sizes: np.ndarray  # int64 (5,): N_PARAMS, MOST_ROWS, WORK, ROWS, CLOCK
    # float64 (10,): METRIC, SIGN (+1 max, -1 min), TARGET, LIMIT, ..., and the column of `out`
    # for each of MEASURES, -1 for none
    watch: np.ndarray
    out: np.ndarray  # float64 (n, len(RESULTS) + measures)
    state: np.ndarray  # int8 (n,)
    curves: np.ndarray  # float64 (n, points, len(CURVE) + measures); no points if not recorded
    until: np.ndarray  # int64 (n,): step to pause at; no rows when trials run to their end
    words: np.ndarray  # float64 (n, k): what is kept of paused trials, or no rows
    memory: np.ndarray  # (n, slots * n_params) of the dtype of X: parameters and slots, or no rows


class Scratch(NamedTuple):
    """What one worker reuses for all of its trials."""

    x: np.ndarray  # rows of n_params and some more: theta and the rule's slots
    clock: np.ndarray  # float64
    answer: np.ndarray  # theta to evaluate with, where that is not x[0]
    grad: np.ndarray
    order: np.ndarray
    X: np.ndarray
    y: np.ndarray
    work: np.ndarray
    sums: np.ndarray  # float64 (COUNTERS,)
    mean: np.ndarray  # float64: mean gradient since the last check, where it is measured
    before: np.ndarray  # parameters before the step, where it is measured


@jitable
def scratch(t):
    """Allocate what a worker needs for any of the trials ``t``."""
    n_params, batch, work = t.sizes[N_PARAMS], t.sizes[MOST_ROWS], t.sizes[WORK]
    # Rows padded to 64 bytes, so that every slot starts on a cache line.
    return Scratch(
        np.empty((t.sizes[ROWS], (n_params + 15) // 16 * 16), t.X.dtype),
        np.empty(t.sizes[CLOCK]),
        np.empty(n_params, t.X.dtype),
        np.empty(n_params, t.X.dtype),
        np.empty(t.X.shape[0], np.int64),
        rows_like(batch, t.X),
        rows_like(batch, t.y),
        np.empty(work, t.X.dtype),
        np.zeros(COUNTERS),
        np.zeros(n_params if t.watch[GRAD_VARIANCE] >= 0.0 else 0),
        np.empty(n_params if t.watch[UPDATE_NORM] >= 0.0 else 0, t.X.dtype),
    )


def scratch_bytes(sizes: Sequence[int], X: np.ndarray, y: np.ndarray, watch: np.ndarray) -> int:
    """Return how many bytes :func:`scratch` allocates, in Python's integers, which have no end."""
    n_params, batch, work, rows, clock = sizes
    before = n_params if watch[UPDATE_NORM] >= 0.0 else 0
    mean = n_params if watch[GRAD_VARIANCE] >= 0.0 else 0
    numbers = rows * ((n_params + 15) // 16 * 16) + 2 * n_params + work + before
    reals = clock + COUNTERS + mean
    copied = batch * sum(a[:1].nbytes for a in (X, y))
    return X.itemsize * numbers + 8 * (reals + len(X)) + copied


@jitable
def start(i, s, t, links):
    """Set parameters, slots and results to what they are before the first step."""
    theta = s.x[0][: s.grad.size]
    for j in range(theta.size):
        theta[j] = 0.0
    if t.theta0.size:
        for j in range(t.theta0.size):
            theta[j] = t.theta0[j]
    else:
        seed = np.uint64(t.plan[i, SEED])
        call(links[INIT], None, (theta, links[CONSTANTS:], seed))
    scale = t.extra[i, INIT_SCALE]
    if scale != 1.0:
        for j in range(theta.size):
            theta[j] *= scale
    # What starts from the learning rate starts from that of the first step.
    first = call(links[SCALE], 0.0, (t.plan[i, SCHEDULE], 0.0, load(t.schedule[i], NO_SCHEDULE)))
    call(links[BEGIN], None, (t.h[i], first, s.clock, s.x, theta.size))
    for k in range(s.sums.size):
        s.sums[k] = 0.0
    s.sums[LOW], s.sums[LAST] = t.X.shape[0], np.nan
    s.sums[BEST] = -np.inf
    s.sums[DUE] = min(max(t.plan[i, EVERY], 1), t.plan[i, STEPS])
    for j in range(s.mean.size):
        s.mean[j] = 0.0
    t.out[i, BEST_LOSS] = np.inf


@jitable
def pause(i, s, t):
    """Copy what the next stretch of the run needs to the trial's ``words`` and ``memory``."""
    words, n = t.words[i], s.grad.size
    for k in range(COUNTERS):
        words[k] = s.sums[k]
    for k in range(t.out.shape[1]):
        words[COUNTERS + k] = t.out[i, k]
    for k in range(s.clock.size):
        words[COUNTERS + t.out.shape[1] + k] = s.clock[k]
    for j in range(s.mean.size):
        words[words.size - s.mean.size + j] = s.mean[j]
    for k in range(s.x.shape[0]):
        for j in range(n):
            t.memory[i, k * n + j] = s.x[k, j]


@jitable
def resume(i, s, t, links):
    """Copy it back; only the order of the rows is made again, as it was made before."""
    words, n = t.words[i], s.grad.size
    for k in range(COUNTERS):
        s.sums[k] = words[k]
    for k in range(t.out.shape[1]):
        t.out[i, k] = words[COUNTERS + k]
    for k in range(s.clock.size):
        s.clock[k] = words[COUNTERS + t.out.shape[1] + k]
    for j in range(s.mean.size):
        s.mean[j] = words[words.size - s.mean.size + j]
    for k in range(s.x.shape[0]):
        for j in range(n):
            s.x[k, j] = t.memory[i, k * n + j]
    if t.plan[i, BATCH] < t.X.shape[0]:
        kind = t.plan[i, SHUFFLE]
        epoch = 0 if kind == ONCE else int(s.sums[EPOCH]) - 1
        call(links[ORDER], None, (s.order, kind, t.plan[i, SEED], epoch))


@jitable
def minibatch(s, t, links, low, high):
    """Loss and gradient of rows ``low:high`` of the epoch's order."""
    X, y, rows = t.X, t.y, high - low
    if rows < X.shape[0]:  # the full batch needs no copy, and no order
        copy_rows(s.X, X, s.order, low, high)
        copy_rows(s.y, y, s.order, low, high)
        X, y = s.X[:rows], s.y[:rows]
    theta = s.x[0][: s.grad.size]
    return call(links[LOSS], 0.0, (theta, X, y, links[CONSTANTS:], s.grad, s.work))


@jitable
def measure(i, s, t, links, train):
    """Evaluate the current parameters; write the loss and accuracy, return the loss."""
    column = TRAIN_LOSS if train else TEST_LOSS
    X, y = (t.X, t.y) if train else (t.X_test, t.y_test)
    theta = s.x[0][: s.grad.size]
    if links[ANSWER] != 0:
        call(links[ANSWER], None, (t.h[i], s.x, s.answer))
        theta = s.answer
    arguments = theta, X, y, links[CONSTANTS:], s.grad, s.work
    loss, accuracy = call(links[EVALUATE], (0.0, 0.0), arguments)
    t.out[i, column], t.out[i, column + 1] = loss, accuracy
    return loss


@jitable
def check(i, s, t, links, step):
    """Look at the trial; return the step of the next check, or 0 if it ends here."""
    for train in range(2):
        if t.watch[CHECK_TEST + train] != 0.0:
            measure(i, s, t, links, train == 1)
    arguments = i, step, s.sums, s.mean, t.plan, t.watch, t.out, t.curves
    return call(links[RECORD], 0, arguments)


@jitable
def finish(i, s, t, links, step, last, ended):
    """Evaluate the parameters; at the end, a loss that is not finite is a divergence."""
    for train in range(2):
        if train == 1 or t.X_test.shape[0]:
            loss = measure(i, s, t, links, train == 1)
    if ended and not abs(loss) < np.inf:
        return diverge(i, t, step, last)
    t.out[i, STEPS_DONE] = step
    t.state[i] = COMPLETE if ended else PRUNED
    return True


@jitable
def item(i, s, control, t, links):
    """Train trial ``i`` to its end or its pause; return whether it got there before a stop."""
    batch, steps, limit = t.plan[i, BATCH], t.plan[i, STEPS], t.extra[i, CLIP_NORM]
    seed, kind = t.plan[i, SEED], t.plan[i, SHUFFLE]
    until = t.until[i] if t.until.shape[0] else steps
    if t.words.shape[0] > 0 and t.words[i, DONE] > 0.0:
        resume(i, s, t, links)
    else:
        start(i, s, t, links)
    a = load(t.schedule[i], NO_SCHEDULE)
    rows, low = t.X.shape[0], int(s.sums[LOW])
    epoch, last, due = int(s.sums[EPOCH]), s.sums[LAST], int(s.sums[DUE])
    done = step = int(s.sums[DONE])
    measured = t.watch[GRAD_NORM] >= 0.0 or t.watch[GRAD_VARIANCE] >= 0.0
    for step in range(done + 1, until + 1):
        if peek(control, STOP) != 0:
            return False
        if low >= rows:
            if batch < rows:
                call(links[ORDER], None, (s.order, kind, seed, epoch))
            low, epoch = 0, epoch + 1
        high = min(low + batch, rows)
        loss = minibatch(s, t, links, low, high)
        if not abs(loss) <= t.watch[LIMIT]:  # false for NaN as well
            return diverge(i, t, step, last)
        last = loss
        s.sums[SUM] += loss * (high - low)
        s.sums[SEEN] += high - low
        if measured:
            call(links[NOTE_GRADIENT], None, (s.sums, s.mean, s.grad, high - low))
        if limit < np.inf:
            call(links[CLIP], None, (s.grad, limit))
        scale = call(links[SCALE], 0.0, (t.plan[i, SCHEDULE], float(step - 1), a))
        for j in range(s.before.size):
            s.before[j] = s.x[0, j]
        call(links[ADVANCE], None, (t.h[i], scale, s.clock, s.grad, s.x))
        if s.before.size:
            call(links[NOTE_MOVE], None, (s.sums, s.before, s.x[0][: s.grad.size]))
        low = high
        if step == due:
            due = check(i, s, t, links, step)
            if due == 0:
                break
    ended = due == 0 or step == steps
    if not ended:
        s.sums[DONE], s.sums[LOW], s.sums[EPOCH] = step, low, epoch
        s.sums[LAST], s.sums[DUE] = last, due
        pause(i, s, t)
    return finish(i, s, t, links, step, last, ended)


def parts() -> tuple:
    """Return the two functions of :func:`sweeps.engine.queue.workers` that run trials."""
    return scratch, item


def recording():
    """Template of the part of a check that knows neither problem nor rule."""

    def record(i, step, sums, mean, plan, watch, out, curves):
        """Write means, measures, curve and target; return the step of the next check, or 0."""
        out[i, TRAIN_LOSS] = sums[SUM] / sums[SEEN]
        out[i, BEST_LOSS] = min(out[i, BEST_LOSS], out[i, TRAIN_LOSS])
        sums[SUM], sums[SEEN] = 0.0, 0.0
        if out.shape[1] > len(RESULTS):
            measured = tallied(sums, mean, plan[i, BATCH])
            for k in range(len(measured)):
                if watch[GRAD_NORM + k] >= 0.0:
                    out[i, int(watch[GRAD_NORM + k])] = measured[k]
        point = int(sums[CHECKS])
        sums[CHECKS] += 1.0
        if point < curves.shape[1]:
            curves[i, point, 0] = step
            for k in range(BEST_LOSS):
                curves[i, point, 1 + k] = out[i, k]
            for k in range(len(RESULTS), out.shape[1]):
                curves[i, point, len(CURVE) + k - len(RESULTS)] = out[i, k]
        score = watch[SIGN] * out[i, int(watch[METRIC])]
        reached = score >= watch[SIGN] * watch[TARGET]
        if reached and math.isnan(out[i, STEPS_TO_TARGET]):
            out[i, STEPS_TO_TARGET] = step
        best, stale, worn = worn_out(score, sums[BEST], sums[STALE], plan[i, PATIENCE])
        sums[BEST], sums[STALE] = best, stale
        if worn or (reached and watch[ENDS_AT_TARGET] != 0.0):
            return 0
        return min(next_check(step, plan[i, EVERY]), plan[i, STEPS])

    return record


@jitable
def diverge(i, t, step, last):
    """Mark trial ``i`` as diverged at ``step``, with its last finite minibatch loss."""
    t.out[i, TRAIN_LOSS] = last
    t.out[i, STEPS_DONE] = step
    t.out[i, DIVERGED_STEP] = step
    for k in range(TRAIN_ACCURACY, TEST_ACCURACY + 1):
        t.out[i, k] = np.nan
    t.state[i] = DIVERGED
    return True


def linked(problem: DataProblem, rule: Rule) -> np.ndarray:
    """Return what the kernel takes beside the trials of this problem and rule; compile it first."""
    return linking.linked(recording, problem, rule)
