r"""AdaBelief: Adam whose second moment is that of the gradient's distance from its mean.

.. math::
    m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad
    s \leftarrow \beta_2 s + (1 - \beta_2) (g - m)^2 + \epsilon, \quad
    p \leftarrow p - \delta p - \frac{\alpha}{1 - \beta_1^t}
        \frac{m}{\sqrt{s} / \sqrt{1 - \beta_2^t} + \epsilon}

As in the paper :math:`\epsilon` enters twice; optax has a number for each place.
"""

from __future__ import annotations

from fastopt.code.roles import inlinable
from fastopt.rules.adam import ADAM, adam_tick, descend
from fastopt.rules.parts import coupled, lerp, mean_square

__all__ = ["ADABELIEF"]


@inlinable
def adabelief_tick(h, clock):
    """Coefficients of Adam, then ``eps``."""
    now, c = adam_tick(h, clock)
    return now, (*c, h[3])


@inlinable
def adabelief(c, g, x):
    """AdaBelief step of one element, ``x = (p, m, s)``.

    >>> adabelief((1.0, 0.0, 0.0, 0.5, 0.5, 0.75, 0.25, 0.5, 0.0, 0.0), 4.0, (1.0, 0.0, 0.0))
    (0.0, 2.0, 1.0)
    """
    _, _, _, b1, a1, b2, a2, _, _, eps = c
    p, m, s = x
    m = lerp(m, g, b1, a1)
    s = mean_square(s, g - m, b2, a2) + eps
    return descend(c[:9], p, m, s), m, s


ADABELIEF = ADAM.but("adabelief", eps=1e-16, decoupled=True).using(
    slots=("exp_avg", "exp_avg_var"),
    tick=adabelief_tick,
    update=coupled(adabelief),
    idle=(),
    corrected={"exp_avg": "beta1", "exp_avg_var": "beta2"},
    formula=r"p \leftarrow p - \alpha \hat m / (\sqrt{\hat s} + \epsilon)",
    source="J. Zhuang et al., AdaBelief optimizer: adapting stepsizes by the belief in observed "
    "gradients, arXiv:2010.07468",
)
