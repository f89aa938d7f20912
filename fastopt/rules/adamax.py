r"""Adamax: Adam with a decaying maximum in place of the second moment.

.. math::
    m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
    u \leftarrow \max(\beta_2 u, |g| + \epsilon), \quad
    p \leftarrow p - \delta p - \frac{\alpha}{1 - \beta_1^t} \frac{m}{u}

Keras adds :math:`\epsilon` to :math:`u` in the quotient instead.
"""

from __future__ import annotations

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import bias, coupled, intake, larger, lerp

__all__ = ["ADAMAX"]


@inlinable
def adamax_clock(h):
    """Return the clock ``(t, b1^t, its error)`` before the first step."""
    return 0.0, 1.0, 0.0


@inlinable
def adamax_tick(h, clock):
    """Coefficients ``(s, l2, shrink, b1, 1-b1, b2, step, eps)`` of :func:`adamax`."""
    lr, beta1, beta2, eps, weight_decay, decoupled, maximize = h
    t, b1t, e1 = clock
    b1t, e1, bias1 = bias(b1t, e1, beta1)
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    return (t + 1.0, b1t, e1), (s, l2, shrink, beta1, 1.0 - beta1, beta2, lr / bias1, eps)


@inlinable
def adamax(c, g, x):
    """Adamax step of one element, ``x = (p, m, u)``.

    >>> adamax((1.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.25, 0.0), -4.0, (1.0, 0.0, 2.0))
    (1.125, -2.0, 4.0)
    """
    _, _, shrink, b1, a1, b2, step, eps = c
    p, m, u = x
    m, u = lerp(m, g, b1, a1), larger(b2 * u, abs(g) + eps)
    return p - shrink * p - step * m / u, m, u


ADAMAX = Rule(
    name="adamax",
    hyper={**ADAM.hyper, "lr": Real(2e-3, summary="learning rate, about the size of a step")},
    slots=("exp_avg", "exp_inf"),
    clock0=adamax_clock,
    tick=adamax_tick,
    update=coupled(adamax),
    powers={"beta1": 1},
    corrected={"exp_avg": "beta1"},
    formula=r"p \leftarrow p - \alpha \hat m / \max(\beta_2 u, |g| + \epsilon)",
    source="D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, arXiv:1412.6980",
)
