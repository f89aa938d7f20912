r"""NAdam: Adam with Nesterov's look-ahead, in torch's form with a momentum that warms up.

.. math::
    \mu_t &= \beta_1 (1 - 0.5 \cdot 0.96^{t \psi}), \qquad P_t = \prod_{i \le t} \mu_i \\
    p &\leftarrow p - \delta p - \alpha
        \frac{\frac{1 - \mu_t}{1 - P_t} g + \frac{\mu_{t+1}}{1 - P_{t+1}} m}
        {\sqrt{v} / \sqrt{1 - \beta_2^t} + \epsilon}

Three algorithms go by this name: optax's has no schedule of the momentum, and Keras's raises 0.96
to the power t itself.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM
from fastopt.rules.base import VANISHING, Real, Rule
from fastopt.rules.parts import bias, coupled, intake, lerp, mean_square
from fastopt.rules.sgd import DECAY

__all__ = ["NADAM"]


@inlinable
def nadam_clock(h):
    """Return the clock ``(t, product of momenta, b2^t, its error)`` before the first step."""
    return 0.0, 1.0, 1.0, 0.0


@inlinable
def nadam_momentum(beta1, momentum_decay, t):
    """Return the momentum of step ``t``."""
    return beta1 * (1.0 - 0.5 * 0.96 ** (t * momentum_decay))


@inlinable
def nadam_tick(h, clock):
    """Coefficients ``(s, l2, shrink, b1, 1-b1, b2, 1-b2, cg, cm, scale, eps)`` of :func:`nadam`."""
    lr, beta1, beta2, eps, momentum_decay, weight_decay, decoupled, maximize = h
    t, product, b2t, e2 = clock
    t = t + 1.0
    b2t, e2, bias2 = bias(b2t, e2, beta2)
    mu = nadam_momentum(beta1, momentum_decay, t)
    ahead = nadam_momentum(beta1, momentum_decay, t + 1.0)
    product = product * mu if product > VANISHING else 0.0
    cg, cm = lr * (1.0 - mu) / (1.0 - product), lr * ahead / (1.0 - product * ahead)
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    weights = beta1, 1.0 - beta1, beta2, 1.0 - beta2
    return (t, product, b2t, e2), (s, l2, shrink, *weights, cg, cm, 1.0 / math.sqrt(bias2), eps)


@inlinable
def nadam(c, g, x):
    """NAdam step of one element, ``x = (p, m, v)``.

    >>> nadam((1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.25, 0.5, 1.0, 0.0), 4.0, (1.0, 0.0, 0.0))
    (0.0, 2.0, 4.0)
    """
    _, _, shrink, b1, a1, b2, a2, cg, cm, scale, eps = c
    p, m, v = x
    m, v = lerp(m, g, b1, a1), mean_square(v, g, b2, a2)
    return p - shrink * p - (cg * g + cm * m) / (math.sqrt(v) * scale + eps), m, v


NADAM = Rule(
    name="nadam",
    hyper={
        **{name: ADAM.hyper[name] for name in ("lr", "beta1", "beta2", "eps")},
        "lr": Real(2e-3, summary="learning rate, about the size of a step"),
        "momentum_decay": Real(4e-3, summary="how fast the momentum warms up to beta1"),
        **DECAY,
    },
    slots=("exp_avg", "exp_avg_sq"),
    clock0=nadam_clock,
    tick=nadam_tick,
    update=coupled(nadam),
    formula=r"p \leftarrow p - \alpha (\bar g + \bar m) / (\sqrt{\hat v} + \epsilon)",
    source="T. Dozat, Incorporating Nesterov momentum into Adam, ICLR 2016 workshop",
    powers={"beta2": 2},
    corrected={"exp_avg_sq": "beta2"},
    accumulates={"mu_product": 1},
)
