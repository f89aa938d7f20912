"""What happens to a trial beside descending: its gradient is clipped and measured, it is looked at.

Nothing here depends on the problem or the rule, so each function is a kernel of its own, compiled
once for all of them: inside the kernels of trials they took a quarter of the time to compile.
"""

from __future__ import annotations

import math

import numpy as np

from fastopt.compile import jitable
from fastopt.norms import CHUNK, add, chunk_fold, clip_coefficient, square

MEASURES = ("grad_norm", "grad_variance", "update_norm")
"""What ``measure=`` of a sweep may name, in the order of their columns."""

square_sum = chunk_fold(square, add)


@jitable
def norm(a):
    """Euclidean norm of a flat array, the bits of :func:`fastopt.global_norm`."""
    total = 0.0
    for low in range(0, a.size, CHUNK):
        total += square_sum(a[low : low + CHUNK], 2.0)
    return math.sqrt(total)


def stretching():
    """Template of ``stretch(theta, scale)``: multiply the first parameters, in place."""

    def stretch(theta, scale):
        for j in range(theta.size):
            theta[j] *= scale

    return stretch


def clipping():
    """Template of ``clip(g, limit)``: scale as :func:`fastopt.clip_grad_norm_` does, in place."""

    def clip(g, limit):
        coefficient = clip_coefficient(norm(g), limit)
        if coefficient != 1.0:
            factor = g.dtype.type(coefficient)
            for j in range(g.size):
                g[j] *= factor

    return clip


def measuring_gradients():
    """Template of ``note(now, mean, g, rows)``: count the gradient of a minibatch.

    Its norm counts, and by Welford's update its distance to the mean gradient. A minibatch counts
    by its rows, so that a smaller last one does not raise the variance.
    """

    def note(now, mean, g, rows):
        now.gradients += 1
        now.gradient_rows += rows
        now.gradient_norms += norm(g)
        share = rows / now.gradient_rows
        for j in range(mean.size):
            away = g[j] - mean[j]
            mean[j] += share * away
            now.spread += rows * away * (g[j] - mean[j])

    return note


def measuring_moves():
    """Template of ``note(now, before, theta)``: count the length of the step."""

    def note(now, before, theta):
        square = 0.0
        for j in range(theta.size):
            step = np.float64(theta[j]) - np.float64(before[j])
            square += step * step
        now.moves += 1
        now.move_lengths += math.sqrt(square)

    return note


@jitable
def pop_measures(now, mean, batch):
    """Return the :data:`MEASURES` since the last check, and begin anew."""
    count = now.gradients
    variance = now.spread / (batch * (count - 1.0)) if count > 1 else np.nan
    measured = now.gradient_norms / count, variance, now.move_lengths / now.moves
    begin_tally(now, mean)
    return measured


@jitable
def begin_tally(now, mean):
    """Set the sums of the measures to zero."""
    now.gradients = now.gradient_rows = now.moves = 0
    now.gradient_norms = now.spread = now.move_lengths = 0.0
    for j in range(mean.size):
        mean[j] = 0.0


@jitable
def next_check(step, every):
    """Return the first step after ``step`` at which a trial is looked at.

    A multiple of ``every``; with 0, about ten steps a decade.

    >>> steps = [0]
    >>> for _ in range(16):
    ...     steps.append(next_check(steps[-1], 0))
    >>> steps
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 33, 41]
    >>> next_check(7, 5)
    10
    """
    if every > 0:
        return (step // every + 1) * every
    at = 1
    while at <= step:
        at += max(1, at // 4)
    return at


@jitable
def update_patience(score, best, stale, patience):
    """Compare a check with the best one so far; return the best, checks since, and whether to end.

    >>> update_patience(0.5, 0.7, 1, 2), update_patience(0.8, 0.7, 1, 2)
    ((0.7, 2, True), (0.8, 0, False))
    >>> update_patience(0.5, 0.7, 1, 0)
    (0.7, 2, False)
    """
    if score > best:
        return score, 0, False
    return best, stale + 1, 0 < patience <= stale + 1
