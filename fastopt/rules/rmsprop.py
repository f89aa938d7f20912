r"""RMSprop: gradients scaled by their root mean square, or (centered) by their deviation.

.. math::
    v &\leftarrow \rho v + (1 - \rho) g^2, \qquad a \leftarrow \rho a + (1 - \rho) g \\
    d &= g / (\sqrt{v} + \epsilon) \quad\text{or, centered,}\quad g / (\sqrt{v - a^2} + \epsilon) \\
    b &\leftarrow \mu b + d, \qquad p \leftarrow p - \delta p - \alpha b

Each buffer is a row of its own. In optax and Keras :math:`\epsilon` is under the root,
:math:`\rho = 0.9`, and the learning rate is inside the momentum.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import coupled, intake, lerp, mean_square
from fastopt.rules.sgd import DECAY, MOMENTUM, counted

__all__ = ["RMSPROP", "RMSPROP_CENTERED", "RMSPROP_CENTERED_MOMENTUM", "RMSPROP_MOMENTUM"]


@inlinable
def rmsprop_tick(h, clock):
    """Coefficients ``(s, l2, shrink, rho, 1-rho, lr, eps)`` of :func:`rmsprop`."""
    lr, alpha, eps, weight_decay, decoupled, maximize = h
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    return (clock[0] + 1.0,), (s, l2, shrink, alpha, 1.0 - alpha, lr, eps)


@inlinable
def rmsprop_momentum_tick(h, clock):
    """Coefficients of :func:`rmsprop`, then the momentum."""
    now, c = rmsprop_tick(h[:6], clock)
    return now, (*c, h[6])


@inlinable
def deviation(v, a):
    """Root of the variance ``v - a**2``, which is not negative but for rounding.

    torch takes the root of what is left: for a constant gradient that is NaN sooner or later.
    """
    variance = v - a * a
    return math.sqrt(variance - variance if variance < -variance else variance)


@inlinable
def rmsprop(c, g, x):
    """RMSprop step of one element, ``x = (p, v)``.

    >>> rmsprop((1.0, 0.0, 0.0, 0.75, 0.25, 0.5, 0.0), 4.0, (1.0, 0.0))
    (0.0, 4.0)
    """
    _, _, shrink, b, a, lr, eps = c
    p, v = x
    v = mean_square(v, g, b, a)
    return p - shrink * p - lr * (g / (math.sqrt(v) + eps)), v


@inlinable
def rmsprop_momentum(c, g, x):
    """RMSprop step with momentum, ``x = (p, v, buffer)``."""
    _, _, shrink, b, a, lr, eps, mu = c
    p, v, buffer = x
    v = mean_square(v, g, b, a)
    buffer = mu * buffer + g / (math.sqrt(v) + eps)
    return p - shrink * p - lr * buffer, v, buffer


@inlinable
def rmsprop_centered(c, g, x):
    """Centered RMSprop step, ``x = (p, v, mean)``."""
    _, _, shrink, b, a, lr, eps = c
    p, v, mean = x
    v, mean = mean_square(v, g, b, a), lerp(mean, g, b, a)
    return p - shrink * p - lr * (g / (deviation(v, mean) + eps)), v, mean


@inlinable
def rmsprop_centered_momentum(c, g, x):
    """Centered RMSprop step with momentum, ``x = (p, v, mean, buffer)``."""
    _, _, shrink, b, a, lr, eps, mu = c
    p, v, mean, buffer = x
    v, mean = mean_square(v, g, b, a), lerp(mean, g, b, a)
    buffer = mu * buffer + g / (deviation(v, mean) + eps)
    return p - shrink * p - lr * buffer, v, mean, buffer


_HYPER = {
    "lr": Real(1e-2, summary="learning rate, about the size of a step"),
    "alpha": Real(0.99, high=1.0, open_high=False, summary="decay of the mean square"),
    "eps": Real(1e-8, summary="added to the root of the mean square"),
    **DECAY,
}
_HYPER_MOMENTUM = {**_HYPER, "momentum": MOMENTUM.hyper["momentum"]}
_CENTERED = "A. Graves, Generating sequences with recurrent neural networks, arXiv:1308.0850"

RMSPROP = Rule(
    name="rmsprop",
    hyper=_HYPER,
    slots=("square_avg",),
    clock0=counted,
    tick=rmsprop_tick,
    update=coupled(rmsprop),
    idle=("grad_avg", "momentum_buffer"),
    formula=r"p \leftarrow p - \alpha g / (\sqrt{v} + \epsilon)",
    source="T. Tieleman and G. Hinton, Neural networks for machine learning, lecture 6e, 2012",
)

RMSPROP_MOMENTUM = RMSPROP.using(
    name="rmsprop_momentum",
    hyper=_HYPER_MOMENTUM,
    slots=("square_avg", "momentum_buffer"),
    tick=rmsprop_momentum_tick,
    update=coupled(rmsprop_momentum),
    idle=("grad_avg",),
    formula=r"b \leftarrow \mu b + g / (\sqrt{v} + \epsilon),\quad p \leftarrow p - \alpha b",
)

RMSPROP_CENTERED = RMSPROP.using(
    name="rmsprop_centered",
    slots=("square_avg", "grad_avg"),
    update=coupled(rmsprop_centered),
    idle=("momentum_buffer",),
    formula=r"p \leftarrow p - \alpha g / (\sqrt{v - a^2} + \epsilon)",
    source=_CENTERED,
)

RMSPROP_CENTERED_MOMENTUM = RMSPROP_MOMENTUM.using(
    name="rmsprop_centered_momentum",
    slots=("square_avg", "grad_avg", "momentum_buffer"),
    update=coupled(rmsprop_centered_momentum),
    idle=(),
    formula=r"b \leftarrow \mu b + g / (\sqrt{v - a^2} + \epsilon),\quad p \leftarrow p - \alpha b",
    source=_CENTERED,
)
