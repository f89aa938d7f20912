"""One trial: a whole training run, in a kernel that knows neither the problem nor the rule.

What it calls of them it is given by address (see :mod:`sweeps.engine.callees`), and arrays of the
trial's dtype and targets raw, as int32: it is compiled once. With problem and rule inside, the
kernel of a small network and Adam took 28 s to compile, and the next rule took as long again; for
each dtype and kind of targets it took 5 s.

A trial reads its own row of the table of trials and writes its own row of the results, nothing
else, so it computes the same bits alone or among millions, on any thread.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastopt.compile import inlinable, jitable
from fastopt.machine.access import load
from fastopt.machine.calls import Callees, call, raw, raw_rows
from fastopt.rules import Rule
from sweeps.common.states import State
from sweeps.engine import callees
from sweeps.engine.data_order import ONCE, copy_rows
from sweeps.engine.monitoring import begin_tally, next_check, pop_measures, update_patience
from sweeps.engine.queue import STOP, peek
from sweeps.engine.records import (
    BEST_LOSS,
    COUNTERS,
    CURVE,
    DIVERGED_STEP,
    NO_SCHEDULE,
    RESULTS,
    STEPS_DONE,
    STEPS_TO_TARGET,
    TEST_ACCURACY,
    TEST_LOSS,
    TRAIN_ACCURACY,
    TRAIN_LOSS,
    Scratch,
    Sizes,
    Trials,
    Watch,
)
from sweeps.engine.simd import copy, copy_record
from sweeps.problems.base import DataProblem

TEST, VAL, TRAIN = range(3)
"""Parts of the rows, in the order in which they are evaluated."""


@jitable
def scratch(t):
    """Allocate what a worker needs for any of the trials ``t``."""
    sizes, width = t.sizes, t.sizes.width
    n_params = sizes.n_params * width
    # Rows padded to 64 bytes, so that every slot starts on a cache line.
    return Scratch(
        room((sizes.rows, (n_params + 15) // 16 * 16)),
        np.empty(sizes.clock),
        room(n_params),
        room(n_params),
        np.empty(t.X.shape[0], np.int64),
        room((sizes.batch, t.X.shape[1])),
        room((sizes.batch, t.y.shape[1])),
        room(sizes.work * width),
        np.empty(1, t.kept.counters.dtype),
        np.empty(sizes.n_params if t.watch.grad_variance >= 0 else 0),
        room(sizes.before * width),
        room(n_params if t.watch.restores_best else 0),
        room((sizes.outputs[0], sizes.outputs[1] * width)),
    )


@jitable
def room(shape):
    """Allocate a raw array."""
    return np.empty(shape, np.int32)


def scratch_bytes(sizes: Sizes, X: np.ndarray, y: np.ndarray, watch: Watch) -> int:
    """Return how many bytes :func:`scratch` allocates, in Python's integers, which have no end."""
    copies = sizes.before + sizes.n_params * watch.restores_best
    mean = sizes.n_params if watch.grad_variance >= 0 else 0
    table = sizes.rows * ((sizes.n_params + 15) // 16 * 16)
    numbers = table + 2 * sizes.n_params + sizes.work + math.prod(sizes.outputs) + copies
    copied = sizes.batch * sum(a[:1].nbytes for a in (X, y))
    return X.itemsize * numbers + 8 * (sizes.clock + mean + len(X)) + COUNTERS.itemsize + copied


def raw_trials(t: Trials) -> Trials:
    """Return trials as the kernel takes them: the same memory, targets and rows in two dimensions.

    Of these arrays it knows no dtype.
    """
    made: dict[str, Any] = {name: raw_rows(getattr(t, name)) for name in ROWS}
    made |= {name: raw(getattr(t, name)) for name in ("theta0", "multipliers", "theta")}
    kept = t.kept._replace(x=raw(t.kept.x), best=raw(t.kept.best))
    return t._replace(kept=kept, **made)


ROWS = "X", "y", "X_test", "y_test", "X_val", "y_val"


@jitable
def start(i, s, t, links):
    """Set parameters, slots and results to what they are before the first step."""
    trial, now, theta = t.settings[i], s.counters[0], s.x[0][: s.grad.size]
    for j in range(theta.size):
        theta[j] = 0
    if t.theta0.size:
        copy(theta, t.theta0)
    else:
        call(links.init, None, (theta, links.words, np.uint64(trial.seed)))
    if trial.init_scale != 1.0:
        call(links.stretch, None, (theta, trial.init_scale))
    # What starts from the learning rate starts from that of the first step.
    first = call(links.scale, 0.0, (trial.schedule, 0.0, load(t.schedule[i], NO_SCHEDULE)))
    call(links.begin, None, (t.h[i], first, s.clock, s.grad, s.x))
    now.done = now.checks = now.stale = now.epoch = now.rows_seen = 0
    now.low, now.due = t.X.shape[0], min(max(trial.every, 1), trial.steps)
    now.loss_sum, now.last, now.best = 0.0, np.nan, -np.inf
    begin_tally(now, s.mean)
    t.out[i, BEST_LOSS] = np.inf


@jitable
def pause(i, s, t):
    """Keep what the next stretch of the run needs."""
    copy_record(t.kept.counters[i], s.counters[0])
    copy(t.kept.out[i], t.out[i])
    copy(t.kept.clock[i], s.clock)
    copy(t.kept.mean[i], s.mean)
    copy(t.kept.best[i], s.best)
    for k in range(s.x.shape[0]):
        copy(t.kept.x[i, k], s.x[k])


@jitable
def resume(i, s, t, links):
    """Copy it back; only the order of the rows is made again, as it was made before."""
    trial, now = t.settings[i], s.counters[0]
    copy_record(now, t.kept.counters[i])
    copy(t.out[i], t.kept.out[i])
    copy(s.clock, t.kept.clock[i])
    copy(s.mean, t.kept.mean[i])
    copy(s.best, t.kept.best[i])
    for k in range(s.x.shape[0]):
        copy(s.x[k][: s.grad.size], t.kept.x[i, k])
    if trial.batch < t.X.shape[0]:
        epoch = 0 if trial.shuffle == ONCE else now.epoch - 1
        call(links.order, None, (s.order, trial.shuffle, trial.seed, epoch))


# Inlined, as `descend` is: a call hands over some 190 words, 0.1 us of a step of 3.
@inlinable
def minibatch(i, s, t, links, step):
    """Loss and gradient of the next rows of an epoch, which may begin here; how many they are."""
    trial, now, X, y = t.settings[i], s.counters[0], t.X, t.y
    if now.low >= X.shape[0]:
        if trial.batch < X.shape[0]:
            call(links.order, None, (s.order, trial.shuffle, trial.seed, now.epoch))
        now.low, now.epoch = 0, now.epoch + 1
    low = now.low
    now.low = min(low + trial.batch, X.shape[0])
    rows = now.low - low
    if rows < X.shape[0]:  # the full batch needs no copy, and no order
        copy_rows(s.X, X, s.order, low, low + rows)
        copy_rows(s.y, y, s.order, low, low + rows)
        X, y = s.X[:rows], s.y[:rows]
    theta = s.x[0][: s.grad.size]
    drawn_by = np.uint64(trial.seed), step
    loss = call(links.loss, 0.0, (theta, X, y, links.words, s.grad, s.work, *drawn_by))
    if trial.l2 > 0.0:
        call(links.penalize, None, (s.grad, theta, trial.l2, links.penalised))
    return loss, rows


@inlinable
def descend(i, s, t, links, step, rows):
    """Take a step by the gradient of ``rows`` rows; measure it and the gradient, where asked to."""
    trial, now = t.settings[i], s.counters[0]
    if t.watch.grad_norm >= 0 or t.watch.grad_variance >= 0:
        call(links.note_gradient, None, (now, s.mean, s.grad, rows))
    if trial.clip_norm < np.inf:
        call(links.clip, None, (s.grad, trial.clip_norm))
    a = load(t.schedule[i], NO_SCHEDULE)
    scale = call(links.scale, 0.0, (trial.schedule, float(step - 1), a))
    copy(s.before, s.x[0])
    call(links.advance, None, (t.h[i], scale, s.clock, s.grad, s.x))
    if t.multipliers.size:
        call(links.rescale, None, (s.before, s.x, t.multipliers))
    if trial.l1 > 0.0:
        call(links.shrink, None, (s.x, t.h[i, 0] * scale * trial.l1, links.penalised))
    if t.watch.update_norm >= 0:
        call(links.note_move, None, (now, s.before, s.x[0][: s.grad.size]))


@jitable
def answered(i, s, t, links):
    """Return the parameters to evaluate with, which for some rules are not those being stepped."""
    theta = s.x[0][: s.grad.size]
    if links.answer != 0:
        call(links.answer, None, (t.h[i], s.answer, s.x))
        theta = s.answer
    return theta


@jitable
def measure(i, s, t, links, theta, part):
    """Evaluate parameters on the rows of a part; write what is measured, return the loss."""
    watch = t.watch
    X, y, column, scores = t.X, t.y, TRAIN_LOSS, watch.train_scores
    if part == TEST:
        X, y, column, scores = t.X_test, t.y_test, TEST_LOSS, watch.test_scores
    elif part == VAL:
        X, y, column, scores = t.X_val, t.y_val, watch.val, watch.val_scores
    arguments = theta, X, y, links.words, s.grad, s.work
    loss, accuracy = call(links.evaluate, (0.0, 0.0), arguments)
    t.out[i, column], t.out[i, column + 1] = loss, accuracy
    if scores >= 0:
        out = t.out[i, scores : scores + watch.n_scores]
        call(links.score, None, (theta, X, y, links.words, s.work, s.outputs[: X.shape[0]], out))
    return loss


@jitable
def check(i, s, t, links, step):
    """Look at the trial; return the step of the next check, or 0 if it ends here."""
    theta, now = answered(i, s, t, links), s.counters[0]
    for part, wanted in enumerate((t.watch.check_test, t.watch.check_val, t.watch.check_train)):
        if wanted:
            measure(i, s, t, links, theta, part)
    best = now.best
    arguments = i, step, now, s.mean, t.settings[i], t.watch, t.out, t.curves
    due = call(links.record, 0, arguments)
    if now.best > best:
        copy(s.best, theta)
    return due


@jitable
def finish(i, s, t, links, step, ended):
    """Evaluate the parameters; at the end, a loss that is not finite is a divergence."""
    theta = answered(i, s, t, links)
    if ended and t.watch.restores_best and s.counters[0].best > -np.inf:
        theta = s.best
    for part, rows in enumerate((t.X_test.shape[0], t.X_val.shape[0], t.X.shape[0])):
        if rows > 0:
            loss = measure(i, s, t, links, theta, part)
    if ended and not abs(loss) < np.inf:
        return diverge(i, s, t, step)
    if t.theta.shape[0]:
        copy(t.theta[i], theta)
    t.out[i, STEPS_DONE] = step
    t.state[i] = State.COMPLETE if ended else State.PRUNED
    return True


@jitable
def item(i, s, control, t, links):
    """Train trial ``i`` to its end or its pause; return whether it got there before a stop."""
    steps, now = t.settings[i].steps, s.counters[0]
    if t.kept.counters.shape[0] > 0 and t.kept.counters[i].done > 0:
        resume(i, s, t, links)
    else:
        start(i, s, t, links)
    step = now.done
    for step in range(now.done + 1, (t.until[i] if t.until.shape[0] else steps) + 1):
        if peek(control, STOP) != 0:
            return False
        loss, rows = minibatch(i, s, t, links, step)
        if not abs(loss) <= t.watch.limit:  # false for NaN as well
            return diverge(i, s, t, step)
        now.last = loss
        now.loss_sum += loss * rows
        now.rows_seen += rows
        descend(i, s, t, links, step, rows)
        if step == now.due:
            now.due = check(i, s, t, links, step)
            if now.due == 0:
                break
    ended = now.due == 0 or step == steps
    now.done = step
    if not ended:
        pause(i, s, t)
    return finish(i, s, t, links, step, ended)


def parts() -> tuple:
    """Return the two functions of :func:`sweeps.engine.queue.workers` that run trials."""
    return scratch, item


def recording():
    """Template of the part of a check that knows neither problem nor rule."""

    def record(i, step, now, mean, trial, watch, out, curves):
        """Write means, measures, curve and target; return the step of the next check, or 0."""
        out[i, TRAIN_LOSS] = now.loss_sum / now.rows_seen
        out[i, BEST_LOSS] = min(out[i, BEST_LOSS], out[i, TRAIN_LOSS])
        now.loss_sum, now.rows_seen = 0.0, 0
        if watch.grad_norm >= 0 or watch.grad_variance >= 0 or watch.update_norm >= 0:
            measured = pop_measures(now, mean, trial.batch)
            columns = watch.grad_norm, watch.grad_variance, watch.update_norm
            for k in range(len(measured)):
                if columns[k] >= 0:
                    out[i, columns[k]] = measured[k]
        point = now.checks
        now.checks += 1
        if point < curves.shape[1]:
            curves[i, point, 0] = step
            for k in range(BEST_LOSS):
                curves[i, point, 1 + k] = out[i, k]
            for k in range(len(RESULTS), out.shape[1]):
                curves[i, point, len(CURVE) + k - len(RESULTS)] = out[i, k]
        score = watch.sign * out[i, watch.metric]
        reached = score >= watch.sign * watch.target
        if reached and math.isnan(out[i, STEPS_TO_TARGET]):
            out[i, STEPS_TO_TARGET] = step
        now.best, now.stale, exhausted = update_patience(score, now.best, now.stale, trial.patience)
        if exhausted or (reached and watch.ends_at_target):
            return 0
        return min(next_check(step, trial.every), trial.steps)

    return record


@jitable
def diverge(i, s, t, step):
    """Mark trial ``i`` as diverged at ``step``, with its last finite minibatch loss."""
    t.out[i, TRAIN_LOSS] = s.counters[0].last
    t.out[i, STEPS_DONE] = step
    t.out[i, DIVERGED_STEP] = step
    for k in range(TRAIN_ACCURACY, TEST_ACCURACY + 1):
        t.out[i, k] = np.nan
    for k in range(t.watch.extra, t.out.shape[1]):
        t.out[i, k] = np.nan
    t.state[i] = State.DIVERGED
    return True


def callees_of(
    problem: DataProblem, rule: Rule, settings: np.ndarray, watch: Watch
) -> tuple[Callees, ...]:
    """Return what the kernel calls for these trials."""
    does = {
        "stretch": (settings["init_scale"] != 1.0).any(),
        "clip": (settings["clip_norm"] < np.inf).any(),
        "note_gradient": watch.grad_norm >= 0 or watch.grad_variance >= 0,
        "note_move": watch.update_norm >= 0,
        "penalize": settings["l2"].any(),
        "shrink": settings["l1"].any(),
        "rescale": problem.lr_multipliers.size > 0,
    }
    used = frozenset(name for name, some in does.items() if some)
    return callees.callees_of(recording, problem, rule, used)
