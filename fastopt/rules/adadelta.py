r"""Adadelta: steps in the units of the parameter, with no learning rate to choose.

.. math::
    v &\leftarrow \rho v + (1 - \rho) g^2, \qquad
    d = \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}} g \\
    u &\leftarrow \rho u + (1 - \rho) d^2, \qquad p \leftarrow p - \delta p - \alpha d
"""

from __future__ import annotations

import math

from fastopt.code.roles import inlinable
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import coupled, mean_square
from fastopt.rules.rmsprop import rmsprop_tick
from fastopt.rules.sgd import DECAY, counted

__all__ = ["ADADELTA"]


@inlinable
def adadelta(c, g, x):
    """Adadelta step of one element, ``x = (p, v, u)``, with the coefficients of RMSprop.

    >>> adadelta((1.0, 0.0, 0.0, 0.75, 0.25, 1.0, 0.0), 4.0, (1.0, 0.0, 1.0))
    (-1.0, 4.0, 1.75)
    """
    _, _, shrink, b, a, lr, eps = c
    p, v, u = x
    v = mean_square(v, g, b, a)
    d = math.sqrt(u + eps) / math.sqrt(v + eps) * g
    return p - shrink * p - lr * d, v, mean_square(u, d, b, a)


ADADELTA = Rule(
    name="adadelta",
    hyper={
        "lr": Real(1.0, summary="factor on the steps"),
        "rho": Real(0.9, high=1.0, open_high=False, summary="decay of both mean squares"),
        "eps": Real(1e-6, summary="added to both mean squares; sets the first steps"),
        **DECAY,
    },
    slots=("square_avg", "acc_delta"),
    clock0=counted,
    tick=rmsprop_tick,
    update=coupled(adadelta),
    formula=r"p \leftarrow p - \alpha g \sqrt{u + \epsilon} / \sqrt{v + \epsilon}",
    source="M. D. Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701",
)
