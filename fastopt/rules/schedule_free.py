r"""Schedule-free SGD and AdamW: an average of the iterates in place of a schedule.

The parameter holds the point :math:`y` where gradients are taken; :math:`z` is the sequence of
plain steps, and the point to evaluate at is :math:`x = y + (1 - 1 / \beta) (z - y)`
(:func:`averaged`). With the direction :math:`d = g + \lambda y` (AdamW:
:math:`g / (\sqrt{\hat v} + \epsilon) + \lambda y`),

.. math::
    w_t &= t^r (\max_{i \le t} \alpha_i)^q, \qquad c_t = w_t / \sum_{i \le t} w_i \\
    y &\leftarrow y + c_t (z - y) - \alpha_t (1 - \beta (1 - c_t)) d, \qquad
    z \leftarrow z - \alpha_t d

where :math:`\alpha_t` grows linearly over ``warmup_steps``.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import bias, lerp, mean_square
from fastopt.rules.sgd import DECAY

__all__ = ["SCHEDULE_FREE_ADAMW", "SCHEDULE_FREE_SGD", "averaged"]


@inlinable
def averaged(beta, p, z, forward):
    """Move from ``y`` to the averaged point ``x`` (``forward`` true) or back, one element.

    >>> averaged(0.5, 1.0, 2.0, True), averaged(0.5, 0.0, 2.0, False)
    (0.0, 1.0)
    """
    return p + (1.0 - 1.0 / beta) * (z - p) if forward else p + (1.0 - beta) * (z - p)


@inlinable
def average(h, x):
    """Return the averaged point of one element, ``x = (y, z, ...)``, to evaluate the model at."""
    return averaged(h[1], x[0], x[1], True)


@inlinable
def weighting(lr, warmup_steps, r, weight_lr_power, clock):
    """Return ``(lr now, c_t, clock)``; the clock is ``(t, sum of weights, largest lr)``."""
    t, total, largest = clock
    t = t + 1.0
    lr = lr * min(1.0, t / warmup_steps) if warmup_steps > 0.0 else lr
    largest = max(lr, largest)
    weight = t**r * largest**weight_lr_power
    total = total + weight
    return lr, (weight / total if total > 0.0 else 0.0), (t, total, largest)


@inlinable
def schedule_free_sgd_clock(h):
    """Return the clock ``(t, sum of weights, largest lr)`` before the first step."""
    return 0.0, 0.0, 0.0


@inlinable
def schedule_free_sgd_tick(h, clock):
    """Coefficients ``(s, decay, c, 1-c, cy, lr)`` of :func:`schedule_free_sgd`."""
    lr, beta, warmup_steps, r, weight_lr_power, weight_decay, maximize = h
    lr, share, now = weighting(lr, warmup_steps, r, weight_lr_power, clock)
    cy = lr * (1.0 - beta * (1.0 - share))
    return now, (1.0 - 2.0 * maximize, weight_decay, share, 1.0 - share, cy, lr)


@inlinable
def schedule_free_sgd(c, g, x):
    """Schedule-free SGD step of one element, ``x = (y, z)``.

    >>> schedule_free_sgd((1.0, 0.0, 0.5, 0.5, 0.25, 0.5), 4.0, (1.0, 3.0))
    (1.0, 1.0)
    """
    s, fade, share, rest, cy, lr = c
    y, z = x
    d = s * g + fade * y
    return lerp(y, z, rest, share) - cy * d, z - lr * d


@inlinable
def schedule_free_adamw_clock(h):
    """Return the clock ``(t, sum of weights, largest lr, b2^t, its error)``."""
    return 0.0, 0.0, 0.0, 1.0, 0.0


@inlinable
def schedule_free_adamw_tick(h, clock):
    """Coefficients ``(s, decay, c, 1-c, cy, lr, b2, 1-b2, scale, eps)``."""
    lr, beta1, beta2, eps, warmup_steps, r, weight_lr_power, weight_decay, maximize = h
    rest = lr, beta1, warmup_steps, r, weight_lr_power, weight_decay, maximize
    now, c = schedule_free_sgd_tick(rest, clock[:3])
    b2t, e2, bias2 = bias(clock[3], clock[4], beta2)
    return (*now, b2t, e2), (*c, beta2, 1.0 - beta2, 1.0 / math.sqrt(bias2), eps)


@inlinable
def schedule_free_adamw(c, g, x):
    """Schedule-free AdamW step of one element, ``x = (y, z, v)``.

    >>> c = (1.0, 0.0, 0.5, 0.5, 0.25, 0.5, 0.75, 0.25, 1.0, 0.0)
    >>> schedule_free_adamw(c, 4.0, (1.0, 3.0, 0.0))
    (1.5, 2.0, 4.0)
    """
    s, fade, share, rest, cy, lr, b2, a2, scale, eps = c
    y, z, v = x
    g = s * g
    v = mean_square(v, g, b2, a2)
    d = g / (math.sqrt(v) * scale + eps) + fade * y
    return lerp(y, z, rest, share) - cy * d, z - lr * d, v


_WEIGHTS = {
    "warmup_steps": Real(0.0, summary="steps in which the learning rate grows from zero"),
    "r": Real(0.0, summary="power of the step in the weights of the average"),
    "weight_lr_power": Real(2.0, summary="power of the learning rate in those weights"),
    "weight_decay": Real(0.0, summary="decay of the weights, at y"),
    "maximize": DECAY["maximize"],
}
_WEIGHT_SUMS = {"weight_sum": 1, "lr_max": 2}
_SOURCE = "A. Defazio et al., The road less scheduled, arXiv:2405.15682"

SCHEDULE_FREE_SGD = Rule(
    name="schedule_free_sgd",
    hyper={
        "lr": Real(1.0, summary="learning rate"),
        "momentum": Real(0.9, high=1.0, summary="where gradients are taken between z and x"),
        **_WEIGHTS,
    },
    slots=("z",),
    clock0=schedule_free_sgd_clock,
    tick=schedule_free_sgd_tick,
    update=schedule_free_sgd,
    accumulates=_WEIGHT_SUMS,
    formula=r"y \leftarrow y + c_t (z - y) - \alpha (1 - \beta (1 - c_t)) g,\quad "
    r"z \leftarrow z - \alpha g",
    source=_SOURCE,
    start={"z": "p"},
    answer=average,
)

SCHEDULE_FREE_ADAMW = Rule(
    name="schedule_free_adamw",
    hyper={
        "lr": Real(2.5e-3, summary="learning rate, about the size of a step"),
        "beta1": Real(0.9, high=1.0, summary="where gradients are taken between z and x"),
        "beta2": Real(0.999, high=1.0, summary="decay of the second moment"),
        "eps": Real(1e-8, summary="added to the root of the second moment"),
        **_WEIGHTS,
    },
    slots=("z", "exp_avg_sq"),
    clock0=schedule_free_adamw_clock,
    tick=schedule_free_adamw_tick,
    update=schedule_free_adamw,
    powers={"beta2": 3},
    corrected={"exp_avg_sq": "beta2"},
    accumulates=_WEIGHT_SUMS,
    formula=r"y \leftarrow y + c_t (z - y) - \alpha (1 - \beta_1 (1 - c_t)) d,\quad "
    r"d = g / (\sqrt{\hat v} + \epsilon)",
    source=_SOURCE,
    start={"z": "p"},
    answer=average,
)
