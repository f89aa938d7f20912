r"""LaProp: Adam that scales each gradient before averaging instead of the average.

.. math::
    v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
    m \leftarrow \beta_1 m + (1 - \beta_1) \frac{g}{\sqrt{v} / \sqrt{1 - \beta_2^t} + \epsilon},
    \quad p \leftarrow p - \delta p - \frac{\alpha}{1 - \beta_1^t} m

The authors' program keeps the learning rate inside :math:`m`; the paper does not.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM
from fastopt.rules.parts import biases, coupled, intake, lerp, mean_square

__all__ = ["LAPROP"]


@inlinable
def laprop_tick(h, clock):
    """Coefficients ``(s, l2, shrink, b1, 1-b1, b2, 1-b2, step, scale, eps)`` of :func:`laprop`."""
    lr, beta1, beta2, eps, weight_decay, decoupled, maximize = h
    now, bias1, bias2 = biases(clock, beta1, beta2)
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    weights = beta1, 1.0 - beta1, beta2, 1.0 - beta2
    return now, (s, l2, shrink, *weights, lr / bias1, 1.0 / math.sqrt(bias2), eps)


@inlinable
def laprop(c, g, x):
    """LaProp step of one element, ``x = (p, m, v)``.

    >>> laprop((1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.5, 1.0, 0.0), 4.0, (1.0, 0.0, 0.0))
    (0.5, 1.0, 4.0)
    """
    _, _, shrink, b1, a1, b2, a2, step, scale, eps = c
    p, m, v = x
    v = mean_square(v, g, b2, a2)
    m = lerp(m, g / (math.sqrt(v) * scale + eps), b1, a1)
    return p - shrink * p - step * m, m, v


LAPROP = ADAM.but("laprop", lr=4e-4, eps=1e-15, decoupled=True).using(
    tick=laprop_tick,
    update=coupled(laprop),
    idle=(),
    formula=r"p \leftarrow p - \alpha \hat m,\quad "
    r"m = \mathrm{EMA}(g / (\sqrt{\hat v} + \epsilon))",
    source="L. Ziyin, Z. T. Wang and M. Ueda, LaProp: separating momentum and adaptivity in Adam, "
    "arXiv:2002.04839",
)
