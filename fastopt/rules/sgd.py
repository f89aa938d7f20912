r"""Stochastic gradient descent, plain and with momentum in three forms.

One formula serves them all: a switch is a coefficient that vanishes. With :math:`g' = s g + \ell p`
(:math:`s = \pm 1`, :math:`\ell` the coupled decay) and :math:`\delta` the share of the weights that
decoupled decay takes away,

.. math::  v \leftarrow \mu v + a g', \qquad  p \leftarrow p - \delta p - (c_g g' + c_v v).

Written :math:`p - \delta p`, the decay is an FMA with one rounding; the factor :math:`1 - \delta`
rounded to float32 is off by the same amount in every step, and 1 000 steps of AdamW drift five
times further from float64 (in float64: twenty times).
"""

from __future__ import annotations

from fastopt.code.roles import inlinable
from fastopt.rules.base import Choice, Flag, Real, Rule
from fastopt.rules.parts import coupled, intake

__all__ = ["MOMENTUM", "NESTEROV", "SGD"]


@inlinable
def counted(h):
    """Return the clock of rules that need only the step count."""
    return (0.0,)


@inlinable
def sgd_tick(h, clock):
    """Coefficients ``(s, l2, shrink, lr)`` of :func:`sgd`."""
    lr, weight_decay, decoupled, maximize = h
    return (clock[0] + 1.0,), (*intake(lr, weight_decay, decoupled, maximize), lr)


@inlinable
def sgd(c, g, x):
    r"""Gradient step of one element, :math:`p \leftarrow p - \delta p - \alpha g'`.

    >>> sgd((1.0, 0.0, 0.0, 0.5), 2.0, (1.0,))
    (0.0,)
    """
    _, _, shrink, lr = c
    (p,) = x
    return (p - shrink * p - lr * g,)


@inlinable
def momentum_tick(h, clock):
    """Coefficients ``(s, l2, shrink, mu, a, cg, cv)`` of :func:`momentum` in each of its forms."""
    lr, mu, dampening, nesterov, form, weight_decay, decoupled, maximize = h
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    ahead = mu if nesterov == 1.0 else 1.0
    if form == 0.0:  # heavy ball; like torch, the first step fills the buffer undamped
        a = 1.0 if clock[0] == 0.0 else 1.0 - dampening
        cg, cv = lr * nesterov, lr * ahead
    elif form == 1.0:  # exponential moving average
        a = 1.0 - mu
        cg, cv = lr * nesterov * a, lr * ahead
    else:  # velocity: the learning rate is inside v, so changing it acts with a delay
        a = -lr
        cg, cv = lr * nesterov, -ahead
    return (clock[0] + 1.0,), (s, l2, shrink, mu, a, cg, cv)


@inlinable
def momentum(c, g, x):
    r"""Momentum step of one element, in any form.

    .. math::  v \leftarrow \mu v + a g', \qquad  p \leftarrow p - \delta p - (c_g g' + c_v v).

    >>> momentum((1.0, 0.0, 0.0, 0.25, 1.0, 0.0, 0.5), 2.0, (1.0, 4.0))
    (-0.5, 3.0)
    """
    _, _, shrink, mu, a, cg, cv = c
    p, v = x
    v = mu * v + a * g
    return p - shrink * p - (cg * g + cv * v), v


DECAY: dict[str, Real | Flag | Choice] = {
    "weight_decay": Real(0.0, summary="decay of the weights"),
    "decoupled": Flag(summary="shrink the weights themselves instead of adding to the gradient"),
    "maximize": Flag(summary="ascend instead of descend"),
}

SGD = Rule(
    name="sgd",
    hyper={"lr": Real(1e-3, summary="learning rate"), **DECAY},
    slots=(),
    clock0=counted,
    tick=sgd_tick,
    update=coupled(sgd),
    idle=("momentum_buffer",),
    formula=r"p \leftarrow p - \alpha g",
    source="H. Robbins and S. Monro, A stochastic approximation method, 1951",
)

MOMENTUM = Rule(
    name="momentum",
    hyper={
        "lr": Real(1e-3, summary="learning rate"),
        "momentum": Real(0.9, high=1.0, open_high=False, summary="decay of the velocity"),
        "dampening": Real(0.0, high=1.0, open_high=False, summary="damping of new gradients"),
        "nesterov": Flag(summary="look one step ahead"),
        "form": Choice("heavy_ball", ("heavy_ball", "ema", "velocity"), "which v is kept"),
        **DECAY,
    },
    slots=("momentum_buffer",),
    clock0=counted,
    tick=momentum_tick,
    update=coupled(momentum),
    formula=r"v \leftarrow \mu v + (1 - d) g,\quad p \leftarrow p - \alpha v",
    source="B. T. Polyak, Some methods of speeding up the convergence of iteration methods, 1964",
)

NESTEROV = MOMENTUM.but("nesterov", nesterov=True)
