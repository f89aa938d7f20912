r"""StableAdamW: AdamW that takes shorter steps, tensor by tensor, when gradients are a surprise.

.. math::
    m &\leftarrow \hat\beta_1 m + (1 - \hat\beta_1) g, \qquad
    v \leftarrow \hat\beta_2 v + (1 - \hat\beta_2) g^2, \qquad
    \hat\beta = \beta \frac{1 - \beta^{t-1}}{1 - \beta^t} \\
    \alpha_t &= \alpha / \max\bigl(1, \sqrt{\mathrm{mean}(g^2 / \max(v, \epsilon^2))}\bigr), \qquad
    p \leftarrow p - \alpha_t \lambda p - \alpha_t m / (\sqrt{v} + \epsilon)

so the moments that are kept need no correction of their bias.
"""

from __future__ import annotations

import math
import sys

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM, BOTH_POWERS, adam_clock
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import biases, lerp, mean_square, root_mean
from fastopt.rules.sgd import DECAY

__all__ = ["STABLE_ADAMW"]

SMALLEST = sys.float_info.min
"""Below it the square of an eps vanishes: 0 / 0 for one element would make the whole tensor NaN."""


@inlinable
def stable_tick(h, clock):
    """Coefficients ``(s, decay, b1, 1-b1, b2, 1-b2, eps, lr)`` of :func:`stable_adamw`."""
    lr, beta1, beta2, eps, weight_decay, maximize = h
    now, bias1, bias2 = biases(clock, beta1, beta2)
    a1, a2 = (1.0 - beta1) / bias1, (1.0 - beta2) / bias2
    return now, (1.0 - 2.0 * maximize, weight_decay, 1.0 - a1, a1, 1.0 - a2, a2, eps, lr)


@inlinable
def stable_measure(c, g, x):
    """Square of the gradient relative to the second moment."""
    g = c[0] * g
    v = mean_square(x[2], g, c[4], c[5])
    least = max(c[6] * c[6], SMALLEST)
    return g * g / (least if v < least else v), 0.0


@inlinable
def stable_trust(c, sums, n):
    """Divide the learning rate, the last coefficient, by the surprise if that is above one."""
    surprise = root_mean(sums[0], n)
    lr = c[7] if surprise <= 1.0 else c[7] / surprise
    return (*c[:7], lr)


@inlinable
def stable_adamw(c, g, x):
    """StableAdamW step of one element, ``x = (p, m, v)``.

    >>> stable_adamw((1.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.0, 0.5), 4.0, (1.0, 0.0, 0.0))
    (0.5, 2.0, 4.0)
    """
    s, fade, b1, a1, b2, a2, eps, lr = c
    p, m, v = x
    g = s * g
    m, v = lerp(m, g, b1, a1), mean_square(v, g, b2, a2)
    return p - lr * (fade * p + m / (math.sqrt(v) + eps)), m, v


STABLE_ADAMW = Rule(
    name="stable_adamw",
    hyper={
        **{name: ADAM.hyper[name] for name in ("lr", "beta1")},
        "beta2": Real(0.99, high=1.0, summary="decay of the second moment"),
        "eps": Real(1e-6, summary="added to the root of the second moment"),
        "weight_decay": Real(1e-2, summary="decay of the weights"),
        "maximize": DECAY["maximize"],
    },
    slots=("exp_avg", "exp_avg_sq"),
    clock0=adam_clock,
    tick=stable_tick,
    update=stable_adamw,
    powers=BOTH_POWERS,
    formula=r"p \leftarrow p - \alpha / \max(1, \mathrm{RMS})\; m / (\sqrt{v} + \epsilon)",
    source="M. Wortsman et al., Stable and low-precision training for large-scale vision-language "
    "models, arXiv:2304.13013",
    measure=stable_measure,
    trust=stable_trust,
)
