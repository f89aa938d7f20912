r"""ADOPT: the gradient is divided by the second moment of the steps before, then averaged.

.. math::
    m \leftarrow \beta_1 m + (1 - \beta_1)\,
        \mathrm{clip}\bigl(g / \max(\sqrt{v}, \epsilon), \pm (t - 1)^q\bigr), \quad
    p \leftarrow p - \delta p - \alpha m, \quad
    v \leftarrow \beta_2 v + (1 - \beta_2) g^2

The first step only sets :math:`v = g^2`. The paper's power :math:`q` is 1/4, timm's 0.333. Without
``clip`` it is the first version of the paper.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM
from fastopt.rules.base import Flag, Real, Rule
from fastopt.rules.parts import coupled, intake, larger, lerp, mean_square
from fastopt.rules.sgd import DECAY, counted

__all__ = ["ADOPT"]


@inlinable
def adopt_tick(h, clock):
    """Coefficients ``(s, l2, shrink, b1, 1-b1, b2, 1-b2, lr, eps, limit)`` of :func:`adopt`."""
    lr, beta1, beta2, eps, clip, clip_exp, weight_decay, decoupled, maximize = h
    t = clock[0]
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    moves = 0.0 if t == 0.0 else 1.0
    a1, a2 = moves * (1.0 - beta1), 1.0 - moves * beta2
    # The limit of the first step is zero, so that nothing enters m.
    limit = 0.0 if t == 0.0 else (t**clip_exp if clip == 1.0 else math.inf)
    weights = 1.0 - a1, a1, moves * beta2, a2
    return (t + 1.0,), (s, l2, moves * shrink, *weights, moves * lr, eps, limit)


@inlinable
def adopt(c, g, x):
    """ADOPT step of one element, ``x = (p, m, v)``.

    >>> adopt((1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.5, 0.0, 1.0), 4.0, (1.0, 0.0, 4.0))
    (0.75, 0.5, 7.0)
    """
    _, _, shrink, b1, a1, b2, a2, lr, eps, limit = c
    p, m, v = x
    n = g / larger(math.sqrt(v), eps)
    n = limit if n > limit else (-limit if n < -limit else n)
    m = lerp(m, n, b1, a1)
    return p - shrink * p - lr * m, m, mean_square(v, g, b2, a2)


ADOPT = Rule(
    name="adopt",
    hyper={
        **{name: ADAM.hyper[name] for name in ("lr", "beta1")},
        "beta2": Real(0.9999, high=1.0, summary="decay of the second moment"),
        "eps": Real(1e-6, summary="smallest root of the second moment"),
        "clip": Flag(True, "limit the scaled gradient to a power of the step"),
        "clip_exp": Real(0.25, summary="that power: 0.25 in the paper, 0.333 in timm"),
        **DECAY,
    },
    slots=("exp_avg", "exp_avg_sq"),
    clock0=counted,
    tick=adopt_tick,
    update=coupled(adopt),
    formula=r"p \leftarrow p - \alpha m,\quad "
    r"m = \mathrm{EMA}(g_t / \max(\sqrt{v_{t-1}}, \epsilon))",
    source="S. Taniguchi et al., ADOPT: modified Adam can converge with any beta2 with the "
    "optimal rate, arXiv:2411.02853",
)
