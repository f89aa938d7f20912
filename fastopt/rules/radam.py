r"""RAdam: Adam that steps without the second moment until its variance is known well enough.

With :math:`\rho_\infty = 2 / (1 - \beta_2) - 1` and
:math:`\rho_t = \rho_\infty - 2 t \beta_2^t / (1 - \beta_2^t)`,

.. math::
    p \leftarrow p - \delta p - \alpha \hat m \begin{cases}
        r_t \sqrt{1 - \beta_2^t} / (\sqrt{v} + \epsilon) & \rho_t > 5 \\ 1 & \text{else,}
    \end{cases} \qquad
    r_t^2 = \frac{(\rho_t - 4) (\rho_t - 2) \rho_\infty}{(\rho_\infty - 4) (\rho_\infty - 2) \rho_t}

as in torch; the paper switches at 4, and optax adds :math:`\epsilon` after the bias correction.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM
from fastopt.rules.parts import biases, coupled, intake, lerp, mean_square

__all__ = ["RADAM"]


@inlinable
def rectification(beta2, t, b2t):
    """Return the factor of the adaptive step; zero while the variance is not tractable."""
    longest = 2.0 / (1.0 - beta2) - 1.0
    length = longest - 2.0 * t * b2t / (1.0 - b2t)
    if not length > 5.0:
        return 0.0
    known = (length - 4.0) * (length - 2.0) * longest
    return math.sqrt(known / ((longest - 4.0) * (longest - 2.0) * length))


@inlinable
def radam_tick(h, clock):
    """Coefficients ``(s, l2, shrink, b1, 1-b1, b2, 1-b2, plain, adaptive, eps)``.

    Of the two steps of :func:`radam`, one is zero.
    """
    lr, beta1, beta2, eps, weight_decay, decoupled, maximize = h
    now, bias1, bias2 = biases(clock, beta1, beta2)
    factor = rectification(beta2, now[0], now[3])
    plain = lr / bias1 if factor == 0.0 else 0.0
    adaptive = lr / bias1 * factor * math.sqrt(bias2)
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    weights = beta1, 1.0 - beta1, beta2, 1.0 - beta2
    return now, (s, l2, shrink, *weights, plain, adaptive, eps)


@inlinable
def radam(c, g, x):
    """RAdam step of one element, ``x = (p, m, v)``.

    >>> radam((1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.25, 0.0, 0.0), 4.0, (1.0, 0.0, 0.0))
    (0.5, 2.0, 4.0)
    """
    _, _, shrink, b1, a1, b2, a2, plain, adaptive, eps = c
    p, m, v = x
    m, v = lerp(m, g, b1, a1), mean_square(v, g, b2, a2)
    # A sum of both would be 0/0 where eps and v are zero and the plain step, or none, is meant.
    step = plain if adaptive == -adaptive else adaptive / (math.sqrt(v) + eps)
    return p - shrink * p - step * m, m, v


RADAM = ADAM.using(
    name="radam",
    tick=radam_tick,
    update=coupled(radam),
    idle=(),
    formula=r"p \leftarrow p - \alpha r_t \hat m / \sqrt{\hat v}",
    source="L. Liu et al., On the variance of the adaptive learning rate and beyond, "
    "arXiv:1908.03265",
)
