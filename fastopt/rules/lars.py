r"""LARS: momentum whose learning rate, tensor by tensor, follows the parameter's length.

.. math::
    v \leftarrow \mu v + \alpha \frac{\eta \lVert p \rVert}
        {\lVert g \rVert + \lambda \lVert p \rVert + \epsilon} (g + \lambda p), \qquad
    p \leftarrow p - v

where the ratio is 1 if either norm is zero. optax divides by the norm of
:math:`g + \lambda p`, and Adam-like programs keep the learning rate outside :math:`v`.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.base import Real, Rule
from fastopt.rules.sgd import DECAY, MOMENTUM, counted

__all__ = ["LARS"]


@inlinable
def lars_tick(h, clock):
    """Coefficients ``(s, decay, mu, lr, trust coefficient, eps)`` of :func:`lars`."""
    lr, mu, trust_coefficient, eps, weight_decay, maximize = h
    c = 1.0 - 2.0 * maximize, weight_decay, mu, lr, trust_coefficient, eps
    return (clock[0] + 1.0,), c


@inlinable
def lars_measure(c, g, x):
    """Squares of the parameter and of the gradient."""
    g = c[0] * g
    return x[0] * x[0], g * g


@inlinable
def lars_trust(c, sums, n):
    """Multiply the learning rate by the local one."""
    s, fade, mu, lr, coefficient, eps = c
    p, g = math.sqrt(sums[0]), math.sqrt(sums[1])
    local = 1.0 if p == 0.0 or g == 0.0 else coefficient * p / (g + fade * p + eps)
    return s, fade, mu, lr * local, coefficient, eps


@inlinable
def lars(c, g, x):
    """LARS step of one element, ``x = (p, v)``.

    >>> lars((1.0, 0.5, 0.5, 0.25, 0.001, 0.0), 1.0, (2.0, 1.0))
    (1.0, 1.0)
    """
    s, fade, mu, lr, _, _ = c
    p, v = x
    v = mu * v + lr * (s * g + fade * p)
    return p - v, v


LARS = Rule(
    name="lars",
    hyper={
        "lr": Real(1.0, summary="learning rate, before the local one"),
        "momentum": MOMENTUM.hyper["momentum"],
        "trust_coefficient": Real(1e-3, summary="share of a parameter's norm that a step may be"),
        "eps": Real(0.0, summary="added to the norm of the gradient"),
        "weight_decay": Real(5e-4, summary="decay of the weights, coupled"),
        "maximize": DECAY["maximize"],
    },
    slots=("momentum_buffer",),
    clock0=counted,
    tick=lars_tick,
    update=lars,
    formula=r"v \leftarrow \mu v + \alpha \eta \lVert p \rVert / \lVert g \rVert\; g,\quad "
    r"p \leftarrow p - v",
    source="Y. You, I. Gitman and B. Ginsburg, Large batch training of convolutional networks, "
    "arXiv:1708.03888",
    measure=lars_measure,
    trust=lars_trust,
)
