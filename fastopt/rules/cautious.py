r"""Cautious AdamW and Lion: only elements whose step agrees with the gradient move.

With the step :math:`u` of the rule and the mask :math:`\phi = [u g > 0]` of an element,

.. math::
    p \leftarrow p - \delta p - \alpha \frac{\phi}{\max(\bar\phi, 10^{-3})} u

where :math:`\bar\phi` is the mean over the tensor, so a step depends on the whole tensor. Decay
comes first, as in AdamW; the authors' program for AdamW decays last.
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM, adam_tick, moments
from fastopt.rules.lion import LION, lion_tick
from fastopt.rules.parts import coupled, lerp, seen, signed

__all__ = ["CAUTIOUS_ADAMW", "CAUTIOUS_LION"]


@inlinable
def agreeing(step, product, zero):
    """Return ``step`` where ``product`` is positive, zero where it is not, NaN where it is NaN."""
    return step if product > zero else (zero if product <= zero else product)


@inlinable
def spread(sums, n):
    """Return the factor that makes up for the elements that stay: one over their mean mask."""
    return n / max(sums[0], 1e-3 * n) if n > 0 else 1.0


@inlinable
def cautious_adam_tick(h, clock):
    """Coefficients of Adam, then zero."""
    now, c = adam_tick(h, clock)
    return now, (*c, 0.0)


@inlinable
def cautious_adam_measure(c, g, x):
    """Count the elements whose first moment agrees with the gradient."""
    g = seen(c[0], c[1], g, x[0])
    m, _ = moments(c[:9], g, x)
    return (1.0 if m * g > 0.0 else 0.0), 0.0


@inlinable
def cautious_adam_trust(c, sums, n):
    """Stretch the step, the eighth coefficient."""
    return (*c[:7], c[7] * spread(sums, n), *c[8:])


@inlinable
def cautious_adam(c, g, x):
    """Cautious AdamW step of one element, ``x = (p, m, v)``.

    >>> c = (1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.25, 0.0, 0.0)
    >>> cautious_adam(c, 4.0, (1.0, 0.0, 0.0)), cautious_adam(c, 4.0, (1.0, -8.0, 0.0))
    ((0.75, 2.0, 4.0), (1.0, -2.0, 4.0))
    """
    _, _, shrink, _, _, _, _, step, floor, zero = c
    p = x[0]
    m, v = moments(c[:9], g, x)
    move = agreeing(step * m, m * g, zero)
    return p - shrink * p - move / (math.sqrt(v) + floor), m, v


@inlinable
def cautious_lion_tick(h, clock):
    """Coefficients of Lion, then zero."""
    now, c = lion_tick(h, clock)
    return now, (*c, 0.0)


@inlinable
def cautious_lion_measure(c, g, x):
    """Count the elements whose step agrees with the gradient."""
    s, l2, _, b1, a1, _, _, _, _ = c
    g = seen(s, l2, g, x[0])
    return (1.0 if lerp(x[1], g, b1, a1) * g > 0.0 else 0.0), 0.0


@inlinable
def cautious_lion_trust(c, sums, n):
    """Stretch the step, the eighth coefficient."""
    return (*c[:7], c[7] * spread(sums, n), c[8])


@inlinable
def cautious_lion(c, g, x):
    """Cautious Lion step of one element, ``x = (p, m)``.

    >>> c = (1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.25, 0.0)
    >>> cautious_lion(c, 4.0, (1.0, 0.0)), cautious_lion(c, 4.0, (1.0, -8.0))
    ((0.75, 1.0), (1.0, -5.0))
    """
    _, _, shrink, b1, a1, b2, a2, lr, zero = c
    p, m = x
    u = lerp(m, g, b1, a1)
    move = agreeing(signed(lr, u), u * g, zero)
    return p - shrink * p - move, lerp(m, g, b2, a2)


_SOURCE = "K. Liang et al., Cautious optimizers: improving training with one line of code, "
_SOURCE += "arXiv:2411.16085"

CAUTIOUS_ADAMW = ADAM.but("cautious_adamw", weight_decay=1e-2, decoupled=True).using(
    tick=cautious_adam_tick,
    update=coupled(cautious_adam),
    idle=(),
    measure=cautious_adam_measure,
    trust=cautious_adam_trust,
    formula=r"p \leftarrow p - \alpha \phi \hat m / (\bar\phi (\sqrt{\hat v} + \epsilon))",
    source=_SOURCE,
)

CAUTIOUS_LION = LION.but("cautious_lion").using(
    tick=cautious_lion_tick,
    update=coupled(cautious_lion),
    measure=cautious_lion_measure,
    trust=cautious_lion_trust,
    formula=r"p \leftarrow p - \alpha \phi / \bar\phi\; "
    r"\mathrm{sign}(\beta_1 m + (1 - \beta_1) g)",
    source=_SOURCE,
)
