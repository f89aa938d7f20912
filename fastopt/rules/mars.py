r"""MARS-AdamW: AdamW on gradients whose variance is reduced by those of the step before.

.. math::
    c_t = g_t + \gamma \frac{\beta_1}{1 - \beta_1} (g_t - g_{t-1}), \qquad
    \tilde c_t = c_t / \max(1, \lVert c_t \rVert)

and AdamW on :math:`\tilde c_t`, with the norm over the tensor and :math:`g_0 = 0`. This is the
approximate form of the paper (the previous gradient is not computed anew on the current batch),
which treats all tensors alike. By default its authors' program, and timm, use AdamW for tensors
that are not matrices: that form is ``MARS_OF_MATRICES``. timm also takes the first gradient as it
is, :math:`\tilde c_1 = g_1`: ``plain_start``.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM, BOTH_POWERS, adam_clock, adam_tick, descend
from fastopt.rules.base import Flag, Real, Rule
from fastopt.rules.parts import lerp, mean_square, seen
from fastopt.rules.sgd import DECAY

__all__ = ["MARS"]


@inlinable
def mars_tick(h, clock):
    """Coefficients of Adam, then ``(correction, clip, limit of the norm)``."""
    lr, beta1, beta2, eps, gamma, clip, plain_start, weight_decay, decoupled, maximize = h
    now, c = adam_tick((lr, beta1, beta2, eps, weight_decay, decoupled, maximize), clock)
    corrects = 0.0 if plain_start == 1.0 and clock[0] == 0.0 else 1.0
    limit = 1.0 if clip * corrects == 1.0 else math.inf
    return now, (*c, corrects * gamma * beta1 / (1.0 - beta1), 1.0, limit)


@inlinable
def mars_gradient(c, g, x):
    """Return the gradient, and the one of reduced variance before it is clipped."""
    g = seen(c[0], c[1], g, x[0])
    return g, g + c[9] * (g - x[3])


@inlinable
def mars_measure(c, g, x):
    """Square of the reduced gradient."""
    _, reduced = mars_gradient(c, g, x)
    return reduced * reduced, 0.0


@inlinable
def mars_trust(c, sums, n):
    """Set the factor that brings the reduced gradient's norm to its limit, the last number."""
    norm, limit = math.sqrt(sums[0]), c[11]
    clip = 1.0 if norm <= limit or limit == math.inf else limit / norm
    return (*c[:10], clip, limit)


@inlinable
def mars(c, g, x):
    """MARS-AdamW step of one element, ``x = (p, m, v, last g)``.

    >>> c = (1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.5, 0.0, 0.5, 1.0, 1.0)
    >>> mars(c, 4.0, (1.0, 0.0, 0.0, 4.0))
    (0.5, 2.0, 4.0, 4.0)
    """
    b1, a1, b2, a2 = c[3], c[4], c[5], c[6]
    p, m, v, _ = x
    g, reduced = mars_gradient(c, g, x)
    reduced = c[10] * reduced
    m, v = lerp(m, reduced, b1, a1), mean_square(v, reduced, b2, a2)
    return descend(c[:9], p, m, v), m, v, g


MARS = Rule(
    name="mars_adamw",
    hyper={
        "lr": Real(3e-3, summary="learning rate, about the size of a step"),
        "beta1": Real(0.95, high=1.0, summary="decay of the first moment"),
        "beta2": Real(0.99, high=1.0, summary="decay of the second moment"),
        "eps": ADAM.hyper["eps"],
        "gamma": Real(0.025, summary="weight of the variance reduction"),
        "clip": Flag(True, "limit the norm of the reduced gradient to one"),
        "plain_start": Flag(summary="take the first gradient as it is, as in timm"),
        **DECAY,
    },
    slots=("exp_avg", "exp_avg_sq", "last_grad"),
    clock0=adam_clock,
    tick=mars_tick,
    update=mars,
    powers=BOTH_POWERS,
    corrected=ADAM.corrected,
    formula=r"c = g_t + \gamma \beta_1 / (1 - \beta_1)\, (g_t - g_{t-1}),\quad "
    r"p \leftarrow p - \alpha \hat m / (\sqrt{\hat v} + \epsilon)",
    source="H. Yuan et al., MARS: unleashing the power of variance reduction for training large "
    "models, arXiv:2411.10438",
    measure=mars_measure,
    trust=mars_trust,
).but("mars_adamw", decoupled=True)


def mars_of_vectors(h: tuple[float, ...]) -> tuple[float, ...]:
    """Return the hyperparameters with which MARS is AdamW: nothing is corrected, nothing limited.

    >>> mars_of_vectors((0.1, 0.9, 0.99, 1e-8, 0.025, 1.0, 0.0, 0.0, 1.0, 0.0))
    (0.1, 0.9, 0.99, 1e-08, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    """
    return (*h[:4], 0.0, 0.0, *h[6:])


MARS_OF_MATRICES = MARS.using(name="mars_adamw+matrices", vectors=mars_of_vectors)
