r"""Rprop: a step size for each element, which grows while the gradient keeps its sign.

.. math::
    \eta \leftarrow \mathrm{clip}\Bigl(\eta \cdot \begin{cases}
        \eta^+ & g_t g_{t-1} > 0 \\ \eta^- & g_t g_{t-1} < 0 \\ 1 & \text{else}
    \end{cases}\Bigr), \qquad
    p \leftarrow p - \mathrm{sign}(g_t) \eta

where :math:`g_t` counts as zero when the sign has turned. For full batches. A NaN gradient makes
the parameter NaN; torch, whose sign of NaN is zero, hides it.
"""

from __future__ import annotations

from fastopt.code.roles import inlinable
from fastopt.rules.base import Real, Rule
from fastopt.rules.parts import signed
from fastopt.rules.sgd import DECAY, counted

__all__ = ["RPROP"]


@inlinable
def rprop_tick(h, clock):
    """Coefficients ``(s, eta-, eta+, smallest, largest, 0)`` of :func:`rprop`."""
    _, etaminus, etaplus, smallest, largest, maximize = h
    return (clock[0] + 1.0,), (1.0 - 2.0 * maximize, etaminus, etaplus, smallest, largest, 0.0)


@inlinable
def rprop(c, g, x):
    """Rprop step of one element, ``x = (p, previous gradient, step size)``.

    >>> c = (1.0, 0.5, 1.5, 0.01, 50.0, 0.0)
    >>> rprop(c, 2.0, (1.0, 3.0, 0.5)), rprop(c, 2.0, (1.0, -3.0, 0.5))
    ((0.25, 2.0, 0.75), (1.0, 0.0, 0.25))
    """
    s, etaminus, etaplus, smallest, largest, zero = c
    p, last, size = x
    g = s * g
    turn = g * last
    size = size * etaplus if turn > zero else (size * etaminus if turn < zero else size)
    size = smallest if size < smallest else size
    size = largest if size > largest else size  # the last word, as in torch, if they are exchanged
    g = zero if turn < zero else g
    return p - signed(size, g), g, size


RPROP = Rule(
    name="rprop",
    hyper={
        "lr": Real(1e-2, summary="step size at the start"),
        "etaminus": Real(0.5, high=1.0, summary="factor on the step size when the sign turns"),
        "etaplus": Real(1.2, low=1.0, summary="factor on the step size while the sign stays"),
        "step_size_min": Real(1e-6, summary="smallest step size"),
        "step_size_max": Real(50.0, summary="largest step size"),
        "maximize": DECAY["maximize"],
    },
    slots=("prev", "step_size"),
    clock0=counted,
    tick=rprop_tick,
    update=rprop,
    formula=r"p \leftarrow p - \mathrm{sign}(g) \eta",
    source="M. Riedmiller and H. Braun, A direct adaptive method for faster backpropagation "
    "learning: the RPROP algorithm, ICNN 1993",
    start={"step_size": "lr"},
)
