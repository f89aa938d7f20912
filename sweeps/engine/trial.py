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
from numba.extending import overload

from fastopt.compile import inlinable, jitable
from fastopt.loops import adapted, cast, load, put, store, take
from fastopt.rules import Rule
from fastopt.rules.base import begun
from fastopt.schedules import WIDTH, factor
from sweeps.engine.queue import STOP, peek
from sweeps.philox import DRAW, permute, uniforms

__all__ = [
    "COMPLETE",
    "COUNTS",
    "CURVE",
    "DIVERGED",
    "METRICS",
    "PENDING",
    "PRUNED",
    "RESULTS",
    "SHUFFLES",
    "Trials",
    "parts",
    "trial_parts",
]

# Columns of the integer plan of a trial.
BATCH, STEPS, EVERY, SCHEDULE, SEED, SHUFFLE = range(6)
PLAN_WIDTH = 6
NO_SCHEDULE = (0.0,) * WIDTH  # as many parameters as every schedule has
SHUFFLES = {"epoch": 0, "once": 1, "none": 2, "replacement": 3}
ONCE, NONE, REPLACEMENT = SHUFFLES["once"], SHUFFLES["none"], SHUFFLES["replacement"]

# Columns of what all trials are watched for.
METRIC, SIGN, TARGET, LIMIT, CHECK_TEST, CHECK_TRAIN = range(6)

# States of a trial; the order is that of the categories in the frame.
PENDING, COMPLETE, DIVERGED, PRUNED = -1, 0, 1, 2

# What a trial counts as it goes: sum of minibatch losses and rows seen since the last check, checks
# done; and, while it is paused, steps done, place in the epoch, epochs begun, last loss.
DONE, SUM, SEEN, CHECKS, LOW, EPOCH, LAST = range(7)
COUNTERS = 7

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
    plan: np.ndarray  # int64 (n, 6): BATCH, STEPS, EVERY, SCHEDULE, SEED, SHUFFLE
    schedule: np.ndarray  # float64 (n, WIDTH): the schedule's parameters
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    theta0: np.ndarray  # (n_params,) or (0,): draw from the seed
    sizes: np.ndarray  # int64: n_params, largest batch, length of work
    watch: np.ndarray  # float64 (6,): METRIC, SIGN (+1 max, -1 min), TARGET, LIMIT, CHECK_*
    out: np.ndarray  # float64 (n, len(RESULTS))
    state: np.ndarray  # int8 (n,)
    curves: np.ndarray  # float64 (n, points, len(CURVE)); zero points when not recorded
    until: np.ndarray  # int64 (n,): step to pause at; no rows when trials run to their end
    words: np.ndarray  # float64 (n, k): counters, results and clock of paused trials, or no rows
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


def rows_of(table, like, n):
    """Split a matrix into a tuple of its first ``len(like)`` rows, each cut to ``n`` elements."""
    return tuple(table[k, :n] for k in range(len(like)))


@overload(rows_of)
def _rows_of(table, like, n):
    if len(like) == 1:
        return lambda table, like, n: (table[0][:n],)
    return lambda table, like, n: (table[0][:n],) + rows_of(table[1:], like[1:], n)  # noqa: RUF005


def rows_like(n, a):
    """Allocate ``n`` rows shaped like those of ``a``."""
    return np.empty((n, *a.shape[1:]), a.dtype)


@overload(rows_like)
def _rows_like(n, a):
    if a.ndim == 1:
        return lambda n, a: np.empty(n, a.dtype)
    return lambda n, a: np.empty((n, a.shape[1]), a.dtype)


def copy_row(target, i, source, j):
    """Copy row ``j`` of ``source`` to row ``i`` of ``target`` (or one element, in 1-D)."""
    target[i] = source[j]


@overload(copy_row)
def _copy_row(target, i, source, j):
    if target.ndim == 1:

        def copy_element(target, i, source, j):
            target[i] = source[j]

        return copy_element

    def copy_columns(target, i, source, j):
        for k in range(source.shape[1]):
            target[i, k] = source[j, k]

    return copy_columns


@jitable
def reorder(order, kind, seed, epoch):
    """Write the order in which the rows are visited in this epoch."""
    n = order.size
    if kind == REPLACEMENT:
        for i in range(n):
            u = uniforms(np.uint64(seed), DRAW, np.uint64(epoch), np.uint64(i))[0]
            order[i] = int(u * n)
    elif kind == NONE:
        for i in range(n):
            order[i] = i
    elif kind != ONCE or epoch == 0:
        permute(order, np.uint64(seed), np.uint64(epoch))


@jitable
def gather(s, X, y, low, high):
    """Copy rows ``order[low:high]`` to the front of the minibatch buffers."""
    for i in range(low, high):
        copy_row(s.X, i - low, X, s.order[i])
        copy_row(s.y, i - low, y, s.order[i])


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
        h = load(t.h[i], like_h)
        for k in range(1, len(s.x)):
            for j in range(s.grad.size):
                s.x[k][j] = begun(starts[k], h, s.x[0][j])
        for k in range(s.sums.size):
            s.sums[k] = 0.0
        s.sums[LOW], s.sums[LAST] = t.X.shape[0], np.nan
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
        for k in range(len(s.x)):
            for j in range(n):
                s.x[k][j] = t.memory[i, k * n + j]
        if t.plan[i, BATCH] < t.X.shape[0]:
            kind = t.plan[i, SHUFFLE]
            epoch = 0 if kind == ONCE else int(s.sums[EPOCH]) - 1
            reorder(s.order, kind, t.plan[i, SEED], epoch)
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
        """Record the mean minibatch loss since the last check, the curve and the target."""
        metric = int(t.watch[METRIC])
        for train in range(2):
            if t.watch[CHECK_TEST + train] != 0.0:
                measure(i, s, t, aux, train == 1)
        mean = s.sums[SUM] / s.sums[SEEN]
        s.sums[SUM], s.sums[SEEN] = 0.0, 0.0
        t.out[i, TRAIN_LOSS] = mean
        t.out[i, BEST_LOSS] = min(t.out[i, BEST_LOSS], mean)
        point = int(s.sums[CHECKS])
        s.sums[CHECKS] += 1.0
        if point < t.curves.shape[1]:
            t.curves[i, point, 0] = step
            for k in range(4):
                t.curves[i, point, 1 + k] = t.out[i, k]
        reached = t.watch[SIGN] * t.out[i, metric] >= t.watch[SIGN] * t.watch[TARGET]
        if reached and math.isnan(t.out[i, STEPS_TO_TARGET]):
            t.out[i, STEPS_TO_TARGET] = step

    @jitable
    def finish(i, s, t, aux, step, last):
        """Evaluate the parameters; at the end, a loss that is not finite is a divergence."""
        for train in range(2):
            if train == 1 or t.X_test.shape[0]:
                loss = measure(i, s, t, aux, train == 1)
        ended = step == t.plan[i, STEPS]
        if ended and not abs(loss) < np.inf:
            return diverge(i, t, step, last)
        t.out[i, STEPS_DONE] = step
        t.state[i] = COMPLETE if ended else PRUNED
        return True

    @jitable
    def item(i, s, control, t, aux):
        batch, steps, every = t.plan[i, BATCH], t.plan[i, STEPS], t.plan[i, EVERY]
        seed, kind = t.plan[i, SEED], t.plan[i, SHUFFLE]
        until = t.until[i] if t.until.shape[0] else steps
        paused = t.words.shape[0] > 0 and t.words[i, DONE] > 0.0
        clock = resume(i, s, t) if paused else start(i, s, t, aux)
        h, a = load(t.h[i], like_h), load(t.schedule[i], NO_SCHEDULE)
        rows, done, low = t.X.shape[0], int(s.sums[DONE]), int(s.sums[LOW])
        epoch, last = int(s.sums[EPOCH]), s.sums[LAST]
        for step in range(done + 1, until + 1):
            if peek(control, STOP) != 0:
                return False
            if low >= rows:
                if batch < rows:
                    reorder(s.order, kind, seed, epoch)
                low, epoch = 0, epoch + 1
            high = min(low + batch, rows)
            loss = minibatch(s, t, aux, low, high)
            if not abs(loss) <= t.watch[LIMIT]:  # false for NaN as well
                return diverge(i, t, step, last)
            last = loss
            s.sums[SUM] += loss * (high - low)
            s.sums[SEEN] += high - low
            scale = factor(t.plan[i, SCHEDULE], float(step - 1), a)
            clock, c = tick(at_lr(h, scale), clock)
            descend(s, cast(adapt(c, s.grad, s.x), s.grad))
            low = high
            if step % every == 0 or step == steps:
                check(i, s, t, aux, step)
        if until < steps:
            s.sums[DONE], s.sums[LOW], s.sums[EPOCH], s.sums[LAST] = until, low, epoch, last
            pause(i, s, t, clock)
        return finish(i, s, t, aux, until, last)

    return scratch, item


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
