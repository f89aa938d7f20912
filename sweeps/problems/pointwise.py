"""Losses of one output and its target, which know nothing of rows: a value and its slope.

:func:`of_each_output` makes of each a loss as in :mod:`sweeps.problems.losses`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastopt import maths
from fastopt.compile import inlinable, jitable
from sweeps.problems.rows import target_of, weighed


def of_each_output(unit: Callable, averaged: bool) -> Callable:
    """Make a loss of ``unit(output, target, constants) -> (loss, slope)``, over all outputs."""

    @jitable
    def loss(z, y, weights, constants):
        rows, outputs = z.shape
        share = z.dtype.type(1.0 / outputs)
        total = 0.0
        for i in range(rows):
            for j in range(outputs):
                value, slope = unit(z[i, j], target_of(y, i, j), constants)
                total += weighed(value, weights, i)
                if averaged:
                    slope = slope * share
                z[i, j] = weighed(slope, weights, i)
        return total / outputs if averaged else total

    return loss


@inlinable
def squared(z, y, constants):
    """Squared error :math:`(z - y)^2`, torch's ``MSELoss``."""
    d = z - y
    return d * d, d + d


@inlinable
def absolute(z, y, constants):
    """Absolute error :math:`|z - y|`; its slope is zero where they agree (torch's ``L1Loss``)."""
    d, one = z - y, type(z)(1)
    return abs(d), one if d > 0 else (-one if d < 0 else d)


@inlinable
def huber(z, y, constants):
    r"""Huber's loss: :math:`d^2/2` up to ``delta``, :math:`\delta (|d| - \delta/2)` beyond.

    torch's ``HuberLoss``. scikit-learn's ``HuberRegressor`` has a scale beside its ``epsilon``.
    """
    d, delta, half = z - y, type(z)(constants[0]), type(z)(0.5)
    size = abs(d)
    value = half * d * d if size <= delta else delta * (size - half * delta)
    return value, delta if d > delta else (-delta if d < -delta else d)


@inlinable
def pinball(z, y, constants):
    r"""Pinball loss of the quantile q: :math:`q d` of :math:`d = y - z > 0`, else :math:`(q-1) d`.

    ``mean_pinball_loss`` and ``QuantileRegressor`` of scikit-learn.
    """
    d, above, below = y - z, type(z)(constants[0]), type(z)(1.0 - constants[0])
    value = above * d if d > 0 else -below * d
    return value, -above if d > 0 else (below if d < 0 else d)


@inlinable
def poisson(z, y, constants):
    r"""Half the Poisson deviance of :math:`\mu = e^z`: :math:`y \log(y/\mu) - y + \mu`.

    The objective of scikit-learn's ``PoissonRegressor``.
    """
    mean, positive = maths.exp(z), y if y > 0 else type(z)(1)
    return y * (maths.log(positive) - z) - y + mean, mean - y


@inlinable
def gamma(z, y, constants):
    r"""Half the gamma deviance of :math:`\mu = e^z`: :math:`\log(\mu/y) + y/\mu - 1`.

    The objective of scikit-learn's ``GammaRegressor``.
    """
    one = type(z)(1)
    ratio = y * maths.exp(-z)
    return z - maths.log(y) + ratio - one, one - ratio


@inlinable
def tweedie(z, y, constants):
    r"""Half the Tweedie deviance of power p of :math:`\mu = e^z`.

    :math:`\frac{\max(y, 0)^{2-p}}{(1-p)(2-p)} - \frac{y \mu^{1-p}}{1-p} + \frac{\mu^{2-p}}{2-p}`,
    half the squared error at p = 0, Poisson's at 1, gamma's at 2: the objective of scikit-learn's
    ``TweedieRegressor`` with a log link.
    """
    p, one, two = type(z)(constants[0]), type(z)(1), type(z)(2)
    if p == one:
        return poisson(z, y, constants)
    if p == two:
        return gamma(z, y, constants)
    a, b = one - p, two - p
    ratio, power = y * maths.exp(a * z), maths.exp(b * z)
    own = y * y if p == 0 else (maths.exp(b * maths.log(y)) if y > 0 else type(z)(0))
    return own / (a * b) - ratio / a + power / b, power - ratio


@inlinable
def logistic(z, y, constants):
    r"""Binary cross-entropy, :math:`\log(1 + e^z) - y z`."""
    one, zero = type(z)(1), type(z)(0)
    tail = math.exp(-abs(z))
    value = max(z, zero) - y * z + math.log1p(tail)
    right = one / (one + tail)
    return value, (right if z > zero else one - right) - y


@inlinable
def hinge(z, y, constants):
    r"""Hinge loss :math:`\max(0, 1 - s z)` of the sign s: 1 for class 1, -1 for class 0.

    scikit-learn's ``hinge_loss`` and ``LinearSVC(loss="hinge")``.
    """
    one, zero = type(z)(1), type(z)(0)
    sign = one if y == 1 else -one
    lack = one - sign * z
    # Compared this way round, NaN stays NaN.
    return (zero, zero) if lack < zero else (lack, -sign if lack > zero else lack)


@inlinable
def squared_hinge(z, y, constants):
    r"""Squared hinge loss :math:`\max(0, 1 - s z)^2`: that of scikit-learn's ``LinearSVC``."""
    lack, slope = hinge(z, y, constants)
    return lack * lack, (lack + lack) * slope


@inlinable
def smoothed_hinge(z, y, constants):
    r"""Hinge loss whose corner is a parabola as wide as ``smoothing``, below ``margin``.

    With the lack :math:`d = m - s z` of the sign s, 1 for class 1 and -1 for class 0: 0 for
    :math:`d \le 0`, :math:`d^2 / (2 \gamma)` up to :math:`\gamma`, :math:`d - \gamma / 2` beyond.
    scikit-learn's ``modified_huber`` is four times that of :math:`\gamma = 2`.

    References
    ----------
    S. Shalev-Shwartz and T. Zhang, *Stochastic dual coordinate ascent methods for regularized loss
    minimization*, JMLR 2013 (margin 1).
    """
    one, zero, half = type(z)(1), type(z)(0), type(z)(0.5)
    margin, width = type(z)(constants[0]), type(z)(constants[1])
    sign = one if y == 1 else -one
    lack = margin - sign * z
    if lack < zero:
        return zero, zero
    # Compared this way round, NaN stays NaN.
    share = one if lack > width else lack / width
    return share * (lack - half * width * share), -sign * share
