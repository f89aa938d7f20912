r"""Adam, AdamW and AMSGrad: one formula, switches as coefficients.

With :math:`g' = s g + \ell p` (sign of ``maximize``, coupled decay) and :math:`\delta` the share
of the weights that decoupled decay takes away,

.. math::
    m &\leftarrow \beta_1 m + (1 - \beta_1) g' \\
    v &\leftarrow \beta_2 v + (1 - \beta_2) g'^2 \\
    p &\leftarrow p - \delta p - \frac{\alpha}{1 - \beta_1^t}
        \frac{m}{\sqrt{v} / \sqrt{1 - \beta_2^t} + \epsilon}

as in torch; optax and Keras place :math:`\epsilon` elsewhere. It is computed in the order of
section 2 of the paper, with :math:`\alpha` and :math:`\epsilon` times
:math:`\sqrt{1 - \beta_2^t}`: one rounding less an element, and one division less a step, of which
a trial of two parameters in a SIMD lane has no more than four.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import biases, coupled, intake, lerp, mean_square
from fastopt.rules.sgd import DECAY

__all__ = ["ADAM", "ADAMW", "AMSGRAD", "AMSGRADW", "BOTH_POWERS"]

BOTH_POWERS = {"beta1": 1, "beta2": 3}
"""Where :func:`adam_clock` has the powers of both decays."""


@inlinable
def adam_clock(h):
    """Return the clock ``(t, b1^t, its error, b2^t, its error)`` before the first step."""
    return 0.0, 1.0, 0.0, 1.0, 0.0


@inlinable
def adam_tick(h, clock):
    """Coefficients ``(s, l2, shrink, b1, 1-b1, b2, 1-b2, step, floor)`` of :func:`adam`."""
    lr, beta1, beta2, eps, weight_decay, decoupled, maximize = h
    now, bias1, bias2 = biases(clock, beta1, beta2)
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    weights, root = (beta1, 1.0 - beta1, beta2, 1.0 - beta2), math.sqrt(bias2)
    return now, (s, l2, shrink, *weights, lr * root / bias1, eps * root)


@inlinable
def moments(c, g, x):
    """Advance both moments of one element, ``g`` as seen; return ``m, v``."""
    _, _, _, b1, a1, b2, a2, _, _ = c
    m, v = x[1], x[2]
    return lerp(m, g, b1, a1), mean_square(v, g, b2, a2)


@inlinable
def descend(c, p, m, v):
    """Move one element against its first moment, scaled by the root of its second."""
    _, _, shrink, _, _, _, _, step, floor = c
    return p - shrink * p - step * m / (math.sqrt(v) + floor)


@inlinable
def adam(c, g, x):
    """Adam step of one element, ``x = (p, m, v)``.

    >>> h = (0.1, 0.9, 0.999, 1e-8, 0.0, 0.0, 0.0)
    >>> clock, c = adam_tick(h, adam_clock(h))
    >>> p, m, v = adam(c, 3.0, (1.0, 0.0, 0.0))
    >>> round(p, 6), round(m, 6), round(v, 6)  # the first step is lr, whatever the gradient
    (0.9, 0.3, 0.009)
    """
    m, v = moments(c, g, x)
    return descend(c, x[0], m, v), m, v


@inlinable
def amsgrad(c, g, x):
    """Adam step with the largest second moment so far, ``x = (p, m, v, vmax)``.

    A NaN in ``v`` stays there and is chosen over any number, so it cannot hide behind ``vmax``.
    """
    m, v = moments(c, g, x)
    vmax = x[3] if x[3] > v else v
    return descend(c, x[0], m, vmax), m, v, vmax


ADAM = Rule(
    name="adam",
    hyper={
        "lr": Real(1e-3, summary="learning rate, about the size of a step"),
        "beta1": Real(0.9, high=1.0, summary="decay of the first moment"),
        "beta2": Real(0.999, high=1.0, summary="decay of the second moment"),
        "eps": Real(1e-8, summary="added to the root of the second moment"),
        **DECAY,
    },
    slots=("exp_avg", "exp_avg_sq"),
    clock0=adam_clock,
    tick=adam_tick,
    update=coupled(adam),
    idle=("max_exp_avg_sq",),
    powers=BOTH_POWERS,
    corrected={"exp_avg": "beta1", "exp_avg_sq": "beta2"},
    formula=r"p \leftarrow p - \alpha \hat m / (\sqrt{\hat v} + \epsilon)",
    source="D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, arXiv:1412.6980",
)

ADAMW = ADAM.but("adamw", weight_decay=1e-2, decoupled=True)

AMSGRAD = ADAM.using(
    name="amsgrad",
    slots=("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    update=coupled(amsgrad),
    idle=(),
    formula=r"p \leftarrow p - \alpha \hat m / (\sqrt{\max_i \hat v_i} + \epsilon)",
    source="S. J. Reddi, S. Kale and S. Kumar, On the convergence of Adam and beyond, ICLR 2018",
)

AMSGRADW = AMSGRAD.but("amsgradw", weight_decay=1e-2, decoupled=True)
