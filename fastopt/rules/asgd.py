r"""Averaged SGD: a decaying learning rate, and a running mean of the parameters beside them.

.. math::
    p &\leftarrow p - \lambda \eta_t p - \eta_t g, \qquad a \leftarrow a + \mu_t (p - a) \\
    \eta_{t+1} &= \alpha / (1 + \lambda \alpha t)^\kappa, \qquad
    \mu_{t+1} = 1 / \max(1, t - t_0)

starting from :math:`\eta_1 = \alpha, \mu_1 = 1`. As in torch, :math:`\eta` is computed a step
ahead, so a new learning rate acts one step late. The mean ``ax`` is kept for you to read.
"""

from __future__ import annotations

from fastopt.code.roles import inlinable
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import coupled, intake, lerp
from fastopt.rules.sgd import DECAY

__all__ = ["ASGD"]


@inlinable
def asgd_clock(h):
    """Return the clock ``(t, eta, mu)`` before the first step."""
    return 0.0, h[0], 1.0


@inlinable
def asgd_tick(h, clock):
    """Coefficients ``(s, l2, fade, eta, mu, 1-mu)`` of :func:`asgd`."""
    lr, lambd, alpha, t0, weight_decay, decoupled, maximize = h
    t, eta, mu = clock
    # Until the first step lr may still change, as in torch, which sets eta then.
    eta = lr if t == 0.0 else eta
    t = t + 1.0
    s, l2, shrink = intake(lr, weight_decay, decoupled, maximize)
    now = t, lr / (1.0 + lambd * lr * t) ** alpha, 1.0 / max(1.0, t - t0)
    return now, (s, l2, lambd * eta + shrink, eta, mu, 1.0 - mu)


@inlinable
def asgd(c, g, x):
    """Averaged SGD step of one element, ``x = (p, mean)``.

    >>> asgd((1.0, 0.0, 0.25, 0.5, 0.5, 0.5), 1.0, (4.0, 0.5))
    (2.5, 1.5)
    """
    _, _, fade, eta, mu, rest = c
    p, mean = x
    p = p - fade * p - eta * g
    return p, lerp(mean, p, rest, mu)


ASGD = Rule(
    name="asgd",
    hyper={
        "lr": Real(1e-2, summary="learning rate"),
        "lambd": Real(1e-4, summary="decay of the parameter and of the learning rate"),
        "alpha": Real(0.75, summary="power of the decay of the learning rate"),
        "t0": Real(1e6, summary="step from which parameters are averaged"),
        **DECAY,
    },
    slots=("ax",),
    clock0=asgd_clock,
    tick=asgd_tick,
    update=coupled(asgd),
    formula=r"p \leftarrow (1 - \lambda \eta_t) p - \eta_t g,\quad a \leftarrow a + \mu_t (p - a)",
    source="B. T. Polyak and A. B. Juditsky, Acceleration of stochastic approximation by "
    "averaging, SIAM J. Control Optim. 30, 1992",
    accumulates={"eta": 1, "mu": 2},
)
