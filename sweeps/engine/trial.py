"""One trial: a whole training run, compiled from a problem, a rule and the schedule switch.

A trial reads its own row of the table of trials and writes its own row of the results, nothing
else, so it computes the same bits alone or among millions, on any thread.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastopt.compile import inlinable, jitable, kernel
from fastopt.loops import adapted, cast, load, put, store, take
from fastopt.rules import Rule
from fastopt.rules.base import begun
from fastopt.schedules import WIDTH, factor
from sweeps.engine.measures import (
    TALLIED,
    clipping,
    measuring_gradients,
    measuring_moves,
    next_check,
    tallied,
    worn_out,
)
from sweeps.engine.queue import STOP, peek
from sweeps.engine.rows import ONCE, gather, reorder, rows_like, rows_of

__all__ = [
    "COMPLETE",
    "COUNTS",
    "CURVE",
    "DIVERGED",
    "METRICS",
    "PENDING",
    "PRUNED",
    "RESULTS",
    "Trials",
    "parts",
    "trial_parts",
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

COUNTS = ("steps", "steps_to_target", "diverged_step")  # whole numbers; NaN where there is none

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
    sizes: np.ndarray  # int64: n_params, largest batch, length of work
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

    x: tuple  # theta and the rule's slots
    answer: np.ndarray  # theta to evaluate with, where that is not x[0]
    grad: np.ndarray
    order: np.ndarray
    X: np.ndarray
    y: np.ndarray
    work: np.ndarray
    sums: np.ndarray  # float64 (COUNTERS,)
    mean: np.ndarray  # float64: mean gradient since the last check, where it is measured
    before: np.ndarray  # parameters before the step, where it is measured


@inlinable
def at_lr(h, scale):
    """Return the hyperparameters with the learning rate, their first, scaled."""
    return (h[0] * scale,) + h[1:]  # noqa: RUF005


def answering(answer: Callable | None) -> Callable:
    """Return ``answered(h, x, spare)``: the parameters to evaluate with, ``x[0]`` or ``spare``."""
    if answer is None:
        return jitable(lambda h, x, spare: x[0])

    def answered(h, x, spare):
        for j in range(spare.size):
            spare[j] = answer(h, take(x, j))
        return spare

    return jitable(answered)


def trial_parts(
    init, loss_and_grad, evaluate, clock0, tick, adapt, update, answer, n_hyper, starts
) -> tuple:
    """Close the two functions of :func:`sweeps.engine.queue.workers` over a problem and a rule."""
    like, like_h, answered = (0,) * len(starts), (0,) * n_hyper, answering(answer)
    # What depends on neither is compiled, and cached, apart.
    order_rows, record, clip = kernel(ordering), kernel(recording), kernel(clipping)
    note_gradient, note_move = kernel(measuring_gradients), kernel(measuring_moves)

    @jitable
    def scratch(t):
        n_params, batch, work = t.sizes[0], t.sizes[1], t.sizes[2]
        # Rows padded to 64 bytes, so that every slot starts on a cache line.
        table = np.empty((len(like), (n_params + 15) // 16 * 16), t.X.dtype)
        return Scratch(
            rows_of(table, like, n_params),
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

    @jitable
    def start(i, s, t, aux):
        """Set parameters, slots and results to what they are before the first step."""
        for j in range(s.grad.size):
            s.x[0][j] = 0.0
        if t.theta0.size:
            for j in range(t.theta0.size):
                s.x[0][j] = t.theta0[j]
        else:
            init(s.x[0], aux, np.uint64(t.plan[i, SEED]))
        scale = t.extra[i, INIT_SCALE]
        if scale != 1.0:
            for j in range(s.grad.size):
                s.x[0][j] *= scale
        h = load(t.h[i], like_h)
        for k in range(1, len(s.x)):
            for j in range(s.grad.size):
                s.x[k][j] = begun(starts[k], h, s.x[0][j])
        for k in range(s.sums.size):
            s.sums[k] = 0.0
        s.sums[LOW], s.sums[LAST] = t.X.shape[0], np.nan
        s.sums[BEST] = -np.inf
        s.sums[DUE] = min(max(t.plan[i, EVERY], 1), t.plan[i, STEPS])
        for j in range(s.mean.size):
            s.mean[j] = 0.0
        t.out[i, BEST_LOSS] = np.inf
        return clock0(h)

    @jitable
    def pause(i, s, t, clock):
        """Copy what the next stretch of the run needs to the trial's ``words`` and ``memory``."""
        words, n = t.words[i], s.grad.size
        for k in range(COUNTERS):
            words[k] = s.sums[k]
        for k in range(t.out.shape[1]):
            words[COUNTERS + k] = t.out[i, k]
        store(words[COUNTERS + t.out.shape[1] :], clock)
        for j in range(s.mean.size):
            words[words.size - s.mean.size + j] = s.mean[j]
        for k in range(len(s.x)):
            for j in range(n):
                t.memory[i, k * n + j] = s.x[k][j]

    @jitable
    def resume(i, s, t):
        """Copy it back; only the order of the rows is made again, as it was made before."""
        words, n = t.words[i], s.grad.size
        for k in range(COUNTERS):
            s.sums[k] = words[k]
        for k in range(t.out.shape[1]):
            t.out[i, k] = words[COUNTERS + k]
        for j in range(s.mean.size):
            s.mean[j] = words[words.size - s.mean.size + j]
        for k in range(len(s.x)):
            for j in range(n):
                s.x[k][j] = t.memory[i, k * n + j]
        if t.plan[i, BATCH] < t.X.shape[0]:
            kind = t.plan[i, SHUFFLE]
            epoch = 0 if kind == ONCE else int(s.sums[EPOCH]) - 1
            order_rows(s.order, kind, t.plan[i, SEED], epoch)
        return load(words[COUNTERS + t.out.shape[1] :], clock0(load(t.h[i], like_h)))

    @jitable
    def minibatch(s, t, aux, low, high):
        """Loss and gradient of rows ``low:high`` of the epoch's order."""
        if high - low == t.X.shape[0]:  # the full batch needs no copy, and no order
            return loss_and_grad(s.x[0], t.X, t.y, aux, s.grad, s.work)
        gather(s, t.X, t.y, low, high)
        rows = high - low
        return loss_and_grad(s.x[0], s.X[:rows], s.y[:rows], aux, s.grad, s.work)

    @jitable
    def descend(s, c):
        for j in range(s.grad.size):
            put(s.x, j, update(c, s.grad[j], take(s.x, j)))

    @jitable
    def measure(i, s, t, aux, train):
        """Evaluate the current parameters; write the loss and accuracy, return the loss."""
        column = TRAIN_LOSS if train else TEST_LOSS
        X, y = (t.X, t.y) if train else (t.X_test, t.y_test)
        theta = answered(load(t.h[i], like_h), s.x, s.answer)
        loss, accuracy = evaluate(theta, X, y, aux, s.grad, s.work)
        t.out[i, column], t.out[i, column + 1] = loss, accuracy
        return loss

    @jitable
    def check(i, s, t, aux, step):
        """Look at the trial; return the step of the next check, or 0 if it ends here."""
        for train in range(2):
            if t.watch[CHECK_TEST + train] != 0.0:
                measure(i, s, t, aux, train == 1)
        return record(i, step, s.sums, s.mean, t.plan, t.watch, t.out, t.curves)

    @jitable
    def finish(i, s, t, aux, step, last, ended):
        """Evaluate the parameters; at the end, a loss that is not finite is a divergence."""
        for train in range(2):
            if train == 1 or t.X_test.shape[0]:
                loss = measure(i, s, t, aux, train == 1)
        if ended and not abs(loss) < np.inf:
            return diverge(i, t, step, last)
        t.out[i, STEPS_DONE] = step
        t.state[i] = COMPLETE if ended else PRUNED
        return True

    @jitable
    def item(i, s, control, t, aux):
        batch, steps, limit = t.plan[i, BATCH], t.plan[i, STEPS], t.extra[i, CLIP_NORM]
        seed, kind = t.plan[i, SEED], t.plan[i, SHUFFLE]
        until = t.until[i] if t.until.shape[0] else steps
        paused = t.words.shape[0] > 0 and t.words[i, DONE] > 0.0
        clock = resume(i, s, t) if paused else start(i, s, t, aux)
        h, a = load(t.h[i], like_h), load(t.schedule[i], NO_SCHEDULE)
        rows, low = t.X.shape[0], int(s.sums[LOW])
        epoch, last, due = int(s.sums[EPOCH]), s.sums[LAST], int(s.sums[DUE])
        done = step = int(s.sums[DONE])
        measured = t.watch[GRAD_NORM] >= 0.0 or t.watch[GRAD_VARIANCE] >= 0.0
        for step in range(done + 1, until + 1):
            if peek(control, STOP) != 0:
                return False
            if low >= rows:
                if batch < rows:
                    order_rows(s.order, kind, seed, epoch)
                low, epoch = 0, epoch + 1
            high = min(low + batch, rows)
            loss = minibatch(s, t, aux, low, high)
            if not abs(loss) <= t.watch[LIMIT]:  # false for NaN as well
                return diverge(i, t, step, last)
            last = loss
            s.sums[SUM] += loss * (high - low)
            s.sums[SEEN] += high - low
            if measured:
                note_gradient(s.sums, s.mean, s.grad, high - low)
            if limit < np.inf:
                clip(s.grad, limit)
            scale = factor(t.plan[i, SCHEDULE], float(step - 1), a)
            clock, c = tick(at_lr(h, scale), clock)
            for j in range(s.before.size):
                s.before[j] = s.x[0][j]
            descend(s, cast(adapt(c, s.grad, s.x), s.grad))
            if s.before.size:
                note_move(s.sums, s.before, s.x[0])
            low = high
            if step == due:
                due = check(i, s, t, aux, step)
                if due == 0:
                    break
        ended = due == 0 or step == steps
        if not ended:
            s.sums[DONE], s.sums[LOW], s.sums[EPOCH] = step, low, epoch
            s.sums[LAST], s.sums[DUE] = last, due
            pause(i, s, t, clock)
        return finish(i, s, t, aux, step, last, ended)

    return scratch, item


def ordering():
    """Template of :func:`reorder`."""
    return lambda order, kind, seed, epoch: reorder(order, kind, seed, epoch)


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


@functools.cache
def parts(init: Callable, loss_and_grad: Callable, evaluate: Callable, rule: Rule) -> tuple:
    """Return :func:`trial_parts` of a problem's functions and a rule, the same object each time."""
    adapt = adapted(rule.measure, rule.trust)
    own = rule.clock0, rule.tick, adapt, rule.update, rule.answer, len(rule.hyper), rule.starts
    return trial_parts(init, loss_and_grad, evaluate, *own)
