r"""Adagrad: steps scaled by the root of the sum of all squared gradients.

.. math::
    s \leftarrow s + g^2, \qquad
    p \leftarrow p - \delta p - \frac{\alpha}{1 + (t - 1) \eta} \frac{g}{\sqrt{s} + \epsilon}

In optax and Keras :math:`\epsilon` (1e-7) is under the root and :math:`s` starts at 0.1.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import coupled, intake
from fastopt.rules.sgd import DECAY, counted

__all__ = ["ADAGRAD"]


@inlinable
def adagrad_tick(h, clock):
    """Coefficients ``(s, l2, shrink, step, eps)`` of :func:`adagrad`."""
    lr, lr_decay, _, eps, weight_decay, decoupled, maximize = h
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    return (clock[0] + 1.0,), (s, l2, shrink, lr / (1.0 + clock[0] * lr_decay), eps)


@inlinable
def adagrad(c, g, x):
    """Adagrad step of one element, ``x = (p, sum)``.

    >>> adagrad((1.0, 0.0, 0.0, 0.5, 0.0), 4.0, (1.0, 9.0))
    (0.6, 25.0)
    """
    _, _, shrink, step, eps = c
    p, total = x
    total = total + g * g
    return p - shrink * p - step * (g / (math.sqrt(total) + eps)), total


ADAGRAD = Rule(
    name="adagrad",
    hyper={
        "lr": Real(1e-2, summary="learning rate"),
        "lr_decay": Real(0.0, summary="decay of the learning rate with the steps"),
        "initial_accumulator_value": Real(0.0, summary="what the accumulators start at"),
        "eps": Real(1e-10, summary="added to the root of the sum of squares"),
        **DECAY,
    },
    slots=("sum",),
    clock0=counted,
    tick=adagrad_tick,
    update=coupled(adagrad),
    formula=r"p \leftarrow p - \alpha g / (\sqrt{\sum_i g_i^2} + \epsilon)",
    source="J. Duchi, E. Hazan and Y. Singer, Adaptive subgradient methods for online learning "
    "and stochastic optimization, JMLR 2011",
    start={"sum": "initial_accumulator_value"},
)
