r"""LAMB: Adam steps whose length, tensor by tensor, follows that of the parameter.

.. math::
    u = \frac{\hat m}{\sqrt{\hat v} + \epsilon} + \lambda p, \qquad
    p \leftarrow p - \alpha \frac{\lVert p \rVert}{\lVert u \rVert} u

where the ratio is 1 if either norm is zero. As in optax, norms are not clipped, and the moments
are corrected for their bias. The default decay is the paper's; optax's is 0.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM, BOTH_POWERS, adam_clock
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import biases, lerp, mean_square
from fastopt.rules.sgd import DECAY

__all__ = ["LAMB"]


@inlinable
def lamb_tick(h, clock):
    """Coefficients ``(s, decay, b1, 1-b1, b2, 1-b2, correction, scale, eps, lr)``."""
    lr, beta1, beta2, eps, weight_decay, maximize = h
    now, bias1, bias2 = biases(clock, beta1, beta2)
    corrections = 1.0 / bias1, 1.0 / math.sqrt(bias2)
    weights = beta1, 1.0 - beta1, beta2, 1.0 - beta2
    return now, (1.0 - 2.0 * maximize, weight_decay, *weights, *corrections, eps, lr)


@inlinable
def lamb_direction(c, g, x):
    """Return the direction ``u`` of one element and its new moments."""
    s, fade, b1, a1, b2, a2, correction, scale, eps, _ = c
    p, m, v = x
    g = s * g
    m, v = lerp(m, g, b1, a1), mean_square(v, g, b2, a2)
    return fade * p + correction * m / (math.sqrt(v) * scale + eps), m, v


@inlinable
def lamb_measure(c, g, x):
    """Squares of the parameter and of the direction."""
    u, _, _ = lamb_direction(c, g, x)
    return x[0] * x[0], u * u


@inlinable
def lamb_trust(c, sums, n):
    """Multiply the learning rate, the last coefficient, by the ratio of the norms."""
    p, u = math.sqrt(sums[0]), math.sqrt(sums[1])
    ratio = 1.0 if p == 0.0 or u == 0.0 else p / u
    return (*c[:9], c[9] * ratio)


@inlinable
def lamb(c, g, x):
    """LAMB step of one element, ``x = (p, m, v)``.

    >>> lamb((1.0, 0.5, 0.5, 0.5, 0.75, 0.25, 1.0, 1.0, 0.0, 0.5), 4.0, (1.0, 0.0, 0.0))
    (0.25, 2.0, 4.0)
    """
    u, m, v = lamb_direction(c, g, x)
    return x[0] - c[9] * u, m, v


LAMB = Rule(
    name="lamb",
    hyper={
        **{name: ADAM.hyper[name] for name in ("lr", "beta1", "beta2")},
        "eps": Real(1e-6, summary="added to the root of the second moment"),
        "weight_decay": Real(1e-2, summary="decay of the weights, part of the direction"),
        "maximize": DECAY["maximize"],
    },
    slots=("exp_avg", "exp_avg_sq"),
    clock0=adam_clock,
    tick=lamb_tick,
    update=lamb,
    powers=BOTH_POWERS,
    corrected=ADAM.corrected,
    formula=r"p \leftarrow p - \alpha \lVert p \rVert / \lVert u \rVert\; u",
    source="Y. You et al., Large batch optimization for deep learning: training BERT in 76 "
    "minutes, arXiv:1904.00962",
    measure=lamb_measure,
    trust=lamb_trust,
)
