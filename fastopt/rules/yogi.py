r"""Yogi: Adam whose second moment changes by an amount that does not depend on itself.

.. math::
    m &\leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
    v \leftarrow v - (1 - \beta_2)\, \mathrm{sign}(v - g^2)\, g^2 \\
    p &\leftarrow p - \delta p - \frac{\alpha}{1 - \beta_1^t}
        \frac{m}{\sqrt{v} / \sqrt{1 - \beta_2^t} + \epsilon}

with the bias corrections of Adam, as in optax; both moments start at a small number, not at zero.
"""

from __future__ import annotations

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM, adam_tick, descend
from fastopt.rules.base import Real
from fastopt.rules.parts import coupled, lerp, signed

__all__ = ["YOGI"]


@inlinable
def yogi_tick(h, clock):
    """Coefficients of Adam; the value that the moments start at is not needed any more."""
    return adam_tick(h[:7], clock)


@inlinable
def yogi(c, g, x):
    """Yogi step of one element, ``x = (p, m, v)``, with the coefficients of Adam.

    >>> yogi((1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.5, 0.0), 4.0, (1.0, 0.0, 0.0))
    (0.5, 2.0, 4.0)
    """
    _, _, _, b1, a1, _, a2, _, _ = c
    p, m, v = x
    m, square = lerp(m, g, b1, a1), g * g
    v = v - signed(a2 * square, v - square)
    return descend(c, p, m, v), m, v


_ADAM = ADAM.but("yogi", lr=1e-2, eps=1e-3)

YOGI = _ADAM.using(
    hyper={
        **_ADAM.hyper,
        "initial_accumulator_value": Real(1e-6, summary="what the accumulators start at"),
    },
    tick=yogi_tick,
    update=coupled(yogi),
    idle=(),
    corrected={"exp_avg": "beta1"},
    formula=r"v \leftarrow v - (1 - \beta_2)\, \mathrm{sign}(v - g^2)\, g^2",
    source="M. Zaheer et al., Adaptive methods for nonconvex optimization, NeurIPS 2018",
    start={
        "exp_avg": "initial_accumulator_value",
        "exp_avg_sq": "initial_accumulator_value",
    },
)
