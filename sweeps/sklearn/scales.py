r"""The scale of ``HuberRegressor``, which is estimated beside its weights.

Its objective is convex in both. At one scale :math:`\sigma` the rest of it is Huber's loss with
:math:`\delta = \epsilon \sigma`, which is trained compiled; at given residuals the best scale has a
closed form. So the scale is the root of an equation in one number, whose side each training tells:
all candidates on all folds look for theirs at once, by the secant through the last two points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from sweeps.sklearn.launches import Job, Ran
from sweeps.sklearn.linear import LEAST_SCALE, coefficients, epsilon_of, huber

MOST_ROUNDS = 20
CLOSE = 1e-8
"""Relative error of a scale that is not looked at further: it enters the objective squared."""

PERFECT = 1e-7
"""Share of the largest scale below which a fit is perfect, and its scale means nothing: 0 is best,
and each round would come a little nearer."""


class Root:
    """A search for where a falling function of one number is zero.

    >>> root = Root(3.0)
    >>> while abs(2.0 - root.at) > 1e-6:
    ...     root.move(2.0 - math.exp(root.at - 2.0) - root.at + 1.0)
    >>> round(root.at, 6)
    2.0
    """

    def __init__(self, at: float) -> None:
        self.start, self.at, self.low, self.high = at, at, -math.inf, math.inf
        self.last: tuple[float, float] | None = None

    def move(self, value: float) -> None:
        """Go on to the next point, by the value here: also a step that leads to the root alone."""
        here = self.at
        self.low, self.high = (self.low, here) if value < 0 else (here, self.high)
        self.at = here + value
        if self.last is not None and self.last[1] != value:
            secant = here - value * (here - self.last[0]) / (value - self.last[1])
            self.at = secant if self.low < secant < self.high else self.at
        self.last = here, value


def best_scale(residuals: np.ndarray, weights: np.ndarray, epsilon: float) -> float:
    r"""Return the scale at which :math:`\sum_i w_i \min(r_i^2/\sigma^2, \epsilon^2) = \sum_i w_i`.

    >>> best_scale(np.array([1.0, -1.0, 1.0]), np.ones(3), 1.35)
    1.0
    """
    order = np.argsort(np.abs(residuals))
    a, w = np.abs(residuals)[order], weights[order]
    inside = np.concatenate([[0.0], np.cumsum(w * a * a)])
    outside = np.concatenate([np.cumsum(w[::-1])[::-1], [0.0]])
    total = outside[0]
    # With a scale of a[k] / epsilon, the k + 1 least residuals are inside.
    with np.errstate(divide="ignore", invalid="ignore"):
        sums = epsilon**2 * (inside[1:] / (a * a) + outside[1:])
    found = np.flatnonzero(sums <= total)
    k = int(found[0]) if len(found) else len(a)
    left = total - epsilon**2 * outside[k]
    return math.sqrt(inside[k] / left) if left > 0 else 0.0


def with_best_scales(
    jobs: Sequence[Job],
    estimators: Sequence[Any],
    launch: Callable[[Sequence[Job]], Iterable[tuple[int, Ran]]],
) -> list[Job]:
    """Return jobs at the scales that are best with the weights that they come to.

    ``jobs``: at the largest scales that they may have. ``estimators``: the candidate of each job.
    """
    made = list(jobs)
    scales = [float(job.trial["delta"]) / epsilon_of(e) for job, e in zip(jobs, estimators)]
    roots = [Root(math.log(scale)) for scale in scales]
    active = list(range(len(made)))
    for _ in range(MOST_ROUNDS):
        going = []
        for k, ran in launch([made[i] for i in active]):
            i = active[k]
            if not ran.trial.diverged and move_to_best_scale(roots[i], ran, estimators[i]):
                going.append(i)
        active = going
        for i in active:
            fold = made[i].fold
            model, trial = huber(estimators[i], {}, fold, math.exp(roots[i].at))
            made[i] = Job(model, trial, fold)
        if not active:
            break
    return made


def move_to_best_scale(root: Root, ran: Ran, estimator: Any) -> bool:
    """Move to the next scale, unless this one is right."""
    fold = ran.job.fold
    weight, bias = coefficients(ran.problem, ran.trial)
    residuals = fold.rows.y[fold.kept, 0] - fold.features() @ weight[:, 0] - bias[0]
    best = best_scale(residuals, fold.weights(), epsilon_of(estimator))
    step = math.log(max(best, LEAST_SCALE)) - root.at
    if abs(step) <= CLOSE or root.at < root.start + math.log(PERFECT):
        return False
    root.move(step)
    return True
