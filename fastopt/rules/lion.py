r"""Lion and Signum: steps of one size, in the direction of a sign.

.. math::
    p \leftarrow p - \delta p - \alpha\, \mathrm{sign}(\beta_1 m + (1 - \beta_1) g), \qquad
    m \leftarrow \beta_2 m + (1 - \beta_2) g

and Signum is the same with :math:`\beta_1 = \beta_2`, the sign of the new :math:`m`. The sign of
zero is zero, that of NaN is NaN. optax's Lion decays by 1e-3 by default, its author's by 0.
"""

from __future__ import annotations

from fastopt.code.roles import inlinable
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import coupled, intake, lerp, signed
from fastopt.rules.sgd import DECAY, counted

__all__ = ["LION", "SIGNUM"]


@inlinable
def lion_tick(h, clock):
    """Coefficients ``(s, l2, shrink, b1, 1-b1, b2, 1-b2, lr)`` of :func:`lion`."""
    lr, beta1, beta2, weight_decay, decoupled, maximize = h
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    weights = beta1, 1.0 - beta1, beta2, 1.0 - beta2
    return (clock[0] + 1.0,), (s, l2, shrink, *weights, lr)


@inlinable
def lion(c, g, x):
    """Lion step of one element, ``x = (p, m)``.

    >>> lion((1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.25), -4.0, (1.0, 8.0))
    (0.75, 5.0)
    """
    _, _, shrink, b1, a1, b2, a2, lr = c
    p, m = x
    return p - shrink * p - signed(lr, lerp(m, g, b1, a1)), lerp(m, g, b2, a2)


@inlinable
def signum_tick(h, clock):
    """Coefficients ``(s, l2, shrink, mu, 1-mu, lr)`` of :func:`signum`."""
    lr, mu, weight_decay, decoupled, maximize = h
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    return (clock[0] + 1.0,), (s, l2, shrink, mu, 1.0 - mu, lr)


@inlinable
def signum(c, g, x):
    """Signum step of one element, ``x = (p, m)``.

    >>> signum((1.0, 0.0, 0.0, 0.5, 0.5, 0.25), -4.0, (1.0, 8.0))
    (0.75, 2.0)
    """
    _, _, shrink, b, a, lr = c
    p, m = x
    m = lerp(m, g, b, a)
    return p - shrink * p - signed(lr, m), m


LION = Rule(
    name="lion",
    hyper={
        "lr": Real(1e-4, summary="learning rate, the size of a step"),
        "beta1": Real(0.9, high=1.0, summary="weight of the mean in the step"),
        "beta2": Real(0.99, high=1.0, summary="decay of the mean"),
        **DECAY,
    },
    slots=("exp_avg",),
    clock0=counted,
    tick=lion_tick,
    update=coupled(lion),
    formula=r"p \leftarrow p - \alpha\, \mathrm{sign}(\beta_1 m + (1 - \beta_1) g)",
    source="X. Chen et al., Symbolic discovery of optimization algorithms, arXiv:2302.06675",
).but("lion", decoupled=True)

SIGNUM = Rule(
    name="signum",
    hyper={
        "lr": Real(1e-4, summary="learning rate, the size of a step"),
        "momentum": Real(0.9, high=1.0, summary="decay of the mean"),
        **DECAY,
    },
    slots=("momentum_buffer",),
    clock0=counted,
    tick=signum_tick,
    update=coupled(signum),
    formula=r"p \leftarrow p - \alpha\, \mathrm{sign}(m)",
    source="J. Bernstein et al., signSGD: compressed optimisation for non-convex problems, "
    "arXiv:1802.04434",
)
