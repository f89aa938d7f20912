r"""Adan: Adam with Nesterov's look-ahead made of differences of gradients.

.. math::
    d_t &= g_t - g_{t-1}, \quad m \leftarrow \beta_1 m + (1 - \beta_1) g_t, \quad
    w \leftarrow \beta_2 w + (1 - \beta_2) d_t \\
    v &\leftarrow \beta_3 v + (1 - \beta_3) (g_t + \beta_2 d_t)^2 \\
    p &\leftarrow \Bigl(p - \alpha \frac{m / (1 - \beta_1^t) + \beta_2 w / (1 - \beta_2^t)}
        {\sqrt{v} / \sqrt{1 - \beta_3^t} + \epsilon}\Bigr) / (1 + \alpha \lambda)

with :math:`d_1 = 0`; ``no_prox`` shrinks :math:`p` by :math:`1 - \alpha \lambda` beforehand
instead. The betas are what the paper calls :math:`1 - \beta`, as in its authors' program; optax has
:math:`1 - \beta_2` where both have :math:`\beta_2` in the sums.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM
from fastopt.rules.base import Flag, Real, Rule
from fastopt.rules.parts import bias, lerp, mean_square
from fastopt.rules.sgd import DECAY

__all__ = ["ADAN"]


@inlinable
def adan_clock(h):
    """Return the clock ``(t, b1^t, its error, b2^t, its error, b3^t, its error)``."""
    return 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0


@inlinable
def adan_tick(h, clock):
    """Coefficients ``(s, shrink, b1, a1, b2, a2, b3, a3, on, cm, cw, scale, eps)``."""
    lr, beta1, beta2, beta3, eps, weight_decay, no_prox, maximize = h
    t, b1t, e1, b2t, e2, b3t, e3 = clock
    b1t, e1, bias1 = bias(b1t, e1, beta1)
    b2t, e2, bias2 = bias(b2t, e2, beta2)
    b3t, e3, bias3 = bias(b3t, e3, beta3)
    on = 0.0 if t == 0.0 else 1.0
    fade = lr * weight_decay
    keep = 1.0 if no_prox == 1.0 else 1.0 / (1.0 + fade)
    weights = beta1, 1.0 - beta1, beta2, 1.0 - beta2, beta3, 1.0 - beta3
    steps = keep * lr / bias1, keep * lr * beta2 / bias2, 1.0 / math.sqrt(bias3)
    now = t + 1.0, b1t, e1, b2t, e2, b3t, e3
    return now, (1.0 - 2.0 * maximize, keep * fade, *weights, on, *steps, eps)


@inlinable
def adan(c, g, x):
    """Adan step of one element, ``x = (p, m, w, v, last g)``.

    >>> c = (1.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.75, 0.25, 1.0, 0.5, 1.0, 1.0, 0.0)
    >>> adan(c, 4.0, (1.0, 0.0, 0.0, 0.0, 4.0))
    (0.5, 2.0, 0.0, 4.0, 4.0)
    """
    s, shrink, b1, a1, b2, a2, b3, a3, on, cm, cw, scale, eps = c
    p, m, w, v, last = x
    g = s * g
    d = on * (g - last)
    m, w, v = lerp(m, g, b1, a1), lerp(w, d, b2, a2), mean_square(v, g + b2 * d, b3, a3)
    return p - shrink * p - (cm * m + cw * w) / (math.sqrt(v) * scale + eps), m, w, v, g


ADAN = Rule(
    name="adan",
    hyper={
        "lr": ADAM.hyper["lr"],
        "beta1": Real(0.98, high=1.0, summary="decay of the first moment"),
        "beta2": Real(0.92, high=1.0, summary="decay of the mean difference"),
        "beta3": Real(0.99, high=1.0, summary="decay of the second moment"),
        "eps": ADAM.hyper["eps"],
        "weight_decay": DECAY["weight_decay"],
        "no_prox": Flag(summary="decay the weights before the step instead of proximally"),
        "maximize": DECAY["maximize"],
    },
    slots=("exp_avg", "exp_avg_diff", "exp_avg_sq", "previous_grad"),
    clock0=adan_clock,
    tick=adan_tick,
    update=adan,
    powers={"beta1": 1, "beta2": 3, "beta3": 5},
    corrected={"exp_avg": "beta1", "exp_avg_diff": "beta2", "exp_avg_sq": "beta3"},
    formula=r"p \leftarrow (p - \alpha (\hat m + \beta_2 \hat w) / (\sqrt{\hat v} + \epsilon)) "
    r"/ (1 + \alpha \lambda)",
    source="X. Xie et al., Adan: adaptive Nesterov momentum algorithm for faster optimizing deep "
    "models, arXiv:2208.06677",
)
