r"""AdEMAMix: Adam with a second, slow mean of the gradients.

.. math::
    m_1 &\leftarrow \beta_1 m_1 + (1 - \beta_1) g, \quad
    m_2 \leftarrow \beta_{3,t} m_2 + (1 - \beta_{3,t}) g, \quad
    v \leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
    p &\leftarrow p - \delta p - \alpha \frac{m_1 / (1 - \beta_1^t) + a_t m_2}
        {\sqrt{v} / \sqrt{1 - \beta_2^t} + \epsilon}

:math:`a_t` and :math:`\beta_{3,t}` warm up over a number of steps: the one linearly from zero, the
other from :math:`\beta_1` so that its half-life grows linearly. The slow mean is not corrected for
its bias. The default ``alpha`` is that of the authors' program; optax's is 6.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM, BOTH_POWERS, adam_clock
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import biases, coupled, intake, lerp, mean_square
from fastopt.rules.sgd import DECAY

__all__ = ["ADEMAMIX"]


@inlinable
def slow_weight(beta1, beta3, share):
    """Return ``1 - beta3`` after a ``share`` of the warm-up from beta1, linear in the half-life."""
    if share >= 1.0 or beta1 == 0.0 or beta3 == 0.0:
        return 1.0 - beta3
    return -math.expm1(1.0 / ((1.0 - share) / math.log(beta1) + share / math.log(beta3)))


@inlinable
def ademamix_tick(h, clock):
    """Coefficients ``(_, _, shrink, b1, a1, b2, a2, b3, a3, fast, slow, scale, eps)``."""
    lr, beta1, beta2, beta3, alpha, alpha_warmup, beta3_warmup = h[:7]
    eps, weight_decay, decoupled, maximize = h[7:]
    now, bias1, bias2 = biases(clock, beta1, beta2)
    t = now[0]
    a3 = slow_weight(beta1, beta3, t / beta3_warmup if beta3_warmup > t else 1.0)
    alpha = alpha * t / alpha_warmup if alpha_warmup > t else alpha
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    weights = beta1, 1.0 - beta1, beta2, 1.0 - beta2, 1.0 - a3, a3
    steps = lr / bias1, lr * alpha, 1.0 / math.sqrt(bias2)
    return now, (s, l2, shrink, *weights, *steps, eps)


@inlinable
def ademamix(c, g, x):
    """AdEMAMix step of one element, ``x = (p, m1, m2, v)``.

    >>> c = (1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.75, 0.25, 0.5, 1.0, 1.0, 0.0)
    >>> ademamix(c, 4.0, (1.0, 0.0, 0.0, 0.0))
    (0.0, 2.0, 1.0, 4.0)
    """
    _, _, shrink, b1, a1, b2, a2, b3, a3, fast, slow, scale, eps = c
    p, m1, m2, v = x
    m1, m2, v = lerp(m1, g, b1, a1), lerp(m2, g, b3, a3), mean_square(v, g, b2, a2)
    return p - shrink * p - (fast * m1 + slow * m2) / (math.sqrt(v) * scale + eps), m1, m2, v


ADEMAMIX = Rule(
    name="ademamix",
    hyper={
        **{name: ADAM.hyper[name] for name in ("lr", "beta1", "beta2")},
        "beta3": Real(0.9999, high=1.0, summary="decay of the slow first moment"),
        "alpha": Real(2.0, summary="weight of the slow first moment"),
        "alpha_warmup": Real(0.0, summary="steps in which alpha grows from zero"),
        "beta3_warmup": Real(0.0, summary="steps in which beta3 grows from beta1"),
        "eps": ADAM.hyper["eps"],
        **DECAY,
    },
    slots=("exp_avg_fast", "exp_avg_slow", "exp_avg_sq"),
    clock0=adam_clock,
    tick=ademamix_tick,
    update=coupled(ademamix),
    powers=BOTH_POWERS,
    corrected={"exp_avg_fast": "beta1", "exp_avg_sq": "beta2"},
    formula=r"p \leftarrow p - \alpha (\hat m_1 + a m_2) / (\sqrt{\hat v} + \epsilon)",
    source="M. Pagliardini, P. Ablin and D. Grangier, The AdEMAMix optimizer: better, faster, "
    "older, arXiv:2409.03137",
).but("ademamix", decoupled=True)
