"""Pieces of update formulas that several families share, without literals and without branches."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from fastopt.code.roles import inlinable
from fastopt.rules.base import power


@inlinable
def intake(lr, weight_decay, decoupled, maximize):
    """Return ``(s, l2, shrink)``: sign of the gradient, coupled decay, decoupled share."""
    return 1.0 - 2.0 * maximize, weight_decay * (1.0 - decoupled), lr * weight_decay * decoupled


@inlinable
def seen(s, l2, g, p):
    """Return the gradient that a rule works with, ``s g + l2 p``; see :func:`intake`.

    >>> seen(-1.0, 0.5, 3.0, 4.0)
    -1.0
    """
    return s * g + l2 * p


@functools.cache
def coupled(plain: Callable) -> Callable:
    """Return the update of a rule that is written for the gradient as :func:`seen`.

    ``c`` starts with ``(s, l2)``. Loops run ``plain`` itself, the attribute of that name, where
    they are one and zero, as is usual: of AdamW in the caches, those two operations are 8 %.

    >>> update = coupled(inlinable(lambda c, g, x: (x[0] - c[2] * g,)))
    >>> update((-1.0, 0.5, 0.25), 3.0, (4.0,)), update.plain((-1.0, 0.5, 0.25), 3.0, (4.0,))
    ((4.25,), (3.25,))
    """

    def update(c, g, x):
        return plain(c, seen(c[0], c[1], g, x[0]), x)

    vars(update)["plain"] = plain  # before its fingerprint is taken, or other processes have others
    return inlinable(update)


@inlinable
def bias(high, low, beta):
    """Advance ``beta**t`` (see :func:`fastopt.rules.base.power`); return ``1 - beta**t`` too."""
    high, low = power(high, low, beta)
    return high, low, 1.0 - high


@inlinable
def biases(clock, beta1, beta2):
    """Advance a clock of two powers by a step; return it, ``1 - b1^t`` and ``1 - b2^t``."""
    t, b1t, e1, b2t, e2 = clock
    b1t, e1, bias1 = bias(b1t, e1, beta1)
    b2t, e2, bias2 = bias(b2t, e2, beta2)
    return (t + 1.0, b1t, e1, b2t, e2), bias1, bias2


@inlinable
def lerp(m, g, b, a):
    """Average, ``b m + a g`` for ``a + b = 1``, using the smaller of the two weights only.

    Rounded to float32, ``b`` and ``a = 1 - b`` no longer add up to one (for 0.999 the sum of all
    weights is off by 1.3e-5), and the error has the same sign in every step. So only the smaller
    of the two is used: 1 000 steps of Adam then drift half as far from float64 as ``b m + a g``.

    >>> lerp(1.0, 3.0, 0.75, 0.25)
    1.5
    """
    return m + a * (g - m) if a < b else g + b * (m - g)


@inlinable
def mean_square(v, g, b, a):
    """Average of squares, ``b v + a g**2`` for ``a + b = 1``; the weights as in :func:`lerp`.

    >>> mean_square(4.0, 2.0, 0.5, 0.5)
    4.0
    """
    # An infinite v (g * g overflowed) stays infinite: inf - inf, the only NaN that numbers can make
    # here, would turn the parameter to NaN where torch leaves it alone.
    less = v - a * v
    kept = (less if less == less else v) if a < b else b * v
    return kept + a * g * g


@inlinable
def larger(a, b):
    """Return the larger of two numbers; a NaN wins.

    >>> larger(1.0, 2.0), larger(float("nan"), 2.0), larger(2.0, float("nan"))
    (2.0, nan, nan)
    """
    return a if a > b or a != a else b


@inlinable
def signed(size, u):
    """Return ``size`` with the sign of ``u``: zero where ``u`` is zero, NaN where it is NaN.

    >>> signed(0.5, 3.0), signed(0.5, -3.0), signed(0.5, 0.0)
    (0.5, -0.5, 0.0)
    """
    return size if u > -u else (-size if u < -u else u)


@inlinable
def root_mean(total, n):
    """Return the root of a mean square from the sum over ``n`` elements; zero for none."""
    return math.sqrt(total / n) if n > 0 else 0.0
