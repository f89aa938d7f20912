"""The functions: what Python calls, the kernels that overload them, and their constants.

A kernel is a template closed over the constants of one dtype, and holds only multiply-adds,
selects and the intrinsics of :mod:`fastopt.maths.bits`.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fastopt.compile import name_by_content
from fastopt.maths.bits import (
    FORMATS,
    Format,
    copysign,
    decompose,
    fma,
    halves,
    horner,
    quiet,
    turned,
)

# Set explicitly, or the caller's flags are inherited and may fuse or reorder what must not be.
_STRICT = {"fastmath": False, "error_model": "numpy", "forceinline": True}


def exp(x: Any) -> Any:
    """Return e to the power ``x``.

    >>> float(exp(0.0)), float(exp(1000.0)), float(exp(-1000.0))
    (1.0, inf, 0.0)
    """
    return quiet(np.exp, x)


def log(x: Any) -> Any:
    """Return the natural logarithm of ``x``; -inf at 0, NaN below.

    >>> float(log(1.0)), float(log(0.0)), float(log(-1.0))
    (0.0, -inf, nan)
    """
    return quiet(np.log, x)


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent of ``x``.

    >>> float(tanh(0.0)), float(tanh(-50.0))
    (0.0, -1.0)
    """
    return quiet(np.tanh, x)


def sigmoid(x: Any) -> Any:
    r"""Return the logistic function :math:`1 / (1 + e^{-x})` without overflow.

    >>> float(sigmoid(0.0)), float(sigmoid(-1000.0)), float(sigmoid(1000.0))
    (0.5, 0.0, 1.0)
    """
    e = exp(-np.abs(x))
    return np.where(np.greater_equal(x, 0), 1, e)[()] / (1 + e)


def sin(x: Any) -> Any:
    """Return the sine of ``x`` radians; compiled, ``|x|`` must stay below 1e5 or 1e12.

    >>> float(sin(0.0)), float(sin(math.inf))
    (0.0, nan)
    """
    return quiet(np.sin, x)


def cos(x: Any) -> Any:
    """Return the cosine of ``x`` radians; compiled, ``|x|`` must stay below 1e5 or 1e12.

    >>> float(cos(0.0)), float(cos(math.inf))
    (1.0, nan)
    """
    return quiet(np.cos, x)


def erf(x: Any) -> Any:
    r"""Return the error function :math:`2 / \sqrt{\pi} \int_0^x e^{-t^2} dt`.

    >>> float(erf(0.0)), float(erf(-math.inf)), erf(np.float32(0.5))
    (0.0, -1.0, np.float32(0.5204999))
    """
    kind = np.result_type(x)
    rounded = np.asarray(quiet(_erf, x), kind if kind.kind == "f" else np.float64)
    return rounded[()]


_erf = np.frompyfunc(math.erf, 1, 1)  # NumPy has none


def _reduced(x):
    """Return ``q, s1, s2`` with ``exp(x) = (1 + q) s1 s2``, q = expm1 of ``|r| <= ln(2)/2``."""


def _circle(x):
    """Return ``sin r, cos r, magic + k`` with ``x = r + k pi/2`` and ``|r| <= pi/4``."""


def _ratio(top, top_low, bottom, bottom_low):
    """Return ``(top + top_low) / (bottom + bottom_low)``, the low parts being rounding errors."""


def _compiled(function: Callable) -> Callable:
    """Make ``template(constants of the dtype)`` what ``function`` is inside kernels."""

    def register(template: Callable) -> Callable:
        @overload(function, jit_options=_STRICT)
        def choose(x):
            if isinstance(x, types.Integer):
                return name_by_content(lambda x: function(float(x)))
            return template(CONSTANTS[x]) if x in CONSTANTS else None

        return template

    return register


@overload(_ratio, jit_options=_STRICT)
def _ratio_kernel(top, top_low, bottom, bottom_low):
    one = CONSTANTS[top].one

    def ratio(top, top_low, bottom, bottom_low):
        inverse = one / bottom
        y = top * inverse
        return y + (fma(-y, bottom, top) + fma(-y, bottom_low, top_low)) * inverse

    return ratio


@_compiled(_reduced)
def _reduced_kernel(k):
    def reduced(x):
        shifted = fma(x, k.log2e, k.magic)
        n = shifted - k.magic
        r = fma(-n, k.ln2_low, fma(-n, k.ln2, x))
        s1, s2 = halves(shifted)
        return fma(r * r, horner(r, k.exp), r), s1, s2

    return reduced


@_compiled(exp)
def _exp_kernel(k):
    def exp(x):
        # Compared this way round, NaN passes through the clamps.
        x = k.exp_low if x < k.exp_low else x
        x = k.exp_high if x > k.exp_high else x
        q, s1, s2 = _reduced(x)
        return (k.one + q) * s1 * s2

    return exp


@_compiled(tanh)
def _tanh_kernel(k):
    def tanh(x):
        a = abs(x)
        a = k.tanh_high if a > k.tanh_high else a
        q, s1, s2 = _reduced(-(a + a))
        s = s1 * s2
        # With E = exp(-2a): (1 - E)/(1 + E) loses nothing near 0, 1 - 2E/(1 + E) nothing near 1.
        small = a < k.half
        offset = s - k.one if small else s
        top = fma(s, q, offset)
        bottom = fma(s, q, s + k.one)
        ratio = _ratio(top, fma(s, q, offset - top), bottom, fma(s, q, (s + k.one) - bottom))
        near_one = k.one - (ratio + ratio)
        return copysign(-ratio if small else near_one, x)

    return tanh


@_compiled(sigmoid)
def _sigmoid_kernel(k):
    def sigmoid(x):
        e = exp(-abs(x))
        bottom = k.one + e
        return _ratio(k.one if x >= k.zero else e, k.zero, bottom, (k.one - bottom) + e)

    return sigmoid


@_compiled(log)
def _log_kernel(k):
    def log(x):
        subnormal = x < k.normal
        scaled = x * k.lift
        e, m = decompose(scaled if subnormal else x)
        e = e - (k.lifted if subnormal else k.zero)
        # log m = 2 artanh s = f - f^2/2 + s (f^2/2 + R), exact in the leading term f.
        f = m - k.one
        s = f / (f + k.two)
        z = s * s
        h = k.half * f * f
        tail = fma(s, fma(z, horner(z, k.log), h), e * k.ln2_low)
        y = fma(e, k.ln2, f - (h - tail))
        y = y if x < k.inf else x
        edge = -k.inf if x == k.zero else k.nan
        return y if x > k.zero else edge

    return log


@_compiled(_circle)
def _circle_kernel(k):
    def circle(x):
        x = x if abs(x) <= k.circle_high else x - x
        shifted = fma(x, k.two_over_pi, k.magic)
        n = shifted - k.magic
        # The first difference is exact; the second is kept as high + low, or the leading digits
        # that cancel near a multiple of pi/2 would leave only rounding errors.
        r = fma(-n, k.half_pi[0], x)
        p = n * k.half_pi[1]
        high = r - p
        back = high - r
        low = (r - (high - back)) - (p + back)
        low = low - fma(n, k.half_pi[2], fma(n, k.half_pi[1], -p))
        z = high * high
        s = high + fma(high * z, horner(z, k.sin), low)
        w = k.half * z
        c = k.one - w
        c = c + fma(z * z, horner(z, k.cos), ((k.one - c) - w) - high * low)
        return s, c, shifted

    return circle


@_compiled(sin)
def _sin_kernel(k):
    def sin(x):
        s, c, shifted = _circle(x)
        y = turned(s, c, shifted)
        return x if x == k.zero else y  # keeps the sign of zero

    return sin


@_compiled(cos)
def _cos_kernel(k):
    def cos(x):
        s, c, shifted = _circle(x)
        return turned(s, c, shifted + k.one)

    return cos


@_compiled(erf)
def _erf_kernel(k):
    def erf(x):
        a = abs(x)
        a = k.erf_high if a > k.erf_high else a
        # Near 0 a polynomial keeps all digits; from 1 on, 1 - e^-Q of one that is -log erfc.
        small = fma(a, horner(a * a, k.erf), a)
        q, s1, s2 = _reduced(-horner(a, k.erfc))
        s = s1 * s2
        large = fma(-s, q, k.one - s)
        return copysign(small if a < k.one else large, x)

    return erf


# What the kernels close over, in their own dtype: a Python literal would be a float64.
Constants = namedtuple(
    "Constants",
    "zero half one two inf nan magic normal lift lifted log2e two_over_pi ln2 ln2_low half_pi "
    "exp_low exp_high tanh_high circle_high erf_high exp log sin cos erf erfc",
)


def _constants(form: Format, **values: Any) -> Constants:
    row = {
        "zero": 0.0,
        "half": 0.5,
        "one": 1.0,
        "two": 2.0,
        "inf": math.inf,
        "nan": math.nan,
        "log2e": 1.4426950408889634,
        "two_over_pi": 0.6366197723675814,
        "magic": form.magic,
        "normal": 2.0 ** (1 - form.bias),
        "lift": 2.0 ** (form.mantissa + 1),
        "lifted": form.mantissa + 1,
        **values,
    }
    for name, value in row.items():
        row[name] = tuple(map(form.real, value)) if isinstance(value, tuple) else form.real(value)
    return Constants(**row)


# Polynomials: minimax by Remez's exchange in 50 digits, rounded to the dtype, for
# (expm1 r - r)/r^2, (2 artanh s / s - 2)/s^2, (sin r / r - 1)/r^2, (cos r - 1 + r^2/2)/r^4,
# erf a / a - 1 in a^2 and -log erfc a in a, the latter in multiples of erf a / erfc a.
CONSTANTS: dict[types.Float, Constants] = {
    types.float32: _constants(
        FORMATS[types.float32],
        ln2=0.6931471824645996,
        ln2_low=-1.9046542121259336e-09,
        half_pi=(1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
        exp_low=-104.0,
        exp_high=89.0,
        tanh_high=10.0,
        circle_high=1e5,
        erf_high=4.0,
        exp=(
            0.5, 0.1666666716337204, 0.041666463017463684, 0.00833328627049923,
            0.001393368816934526, 0.00019907621026504785,
        ),
        log=(0.6666677594184875, 0.39977580308914185, 0.29870930314064026),
        sin=(-0.16666655242443085, 0.008332190103828907, -0.00019518405315466225),
        cos=(0.04166664555668831, -0.00138873013202101, 2.4430670237052254e-05),
        erf=(
            0.12837916612625122, -0.3761262595653534, 0.1128358542919159,
            -0.026853814721107483, 0.005188330542296171, -0.0008010202436707914,
            7.853849820094183e-05,
        ),
        erfc=(
            0.0003415228857193142, 1.1270891427993774, 0.638144850730896,
            0.10310675203800201, -0.02183806337416172, 0.0029476583003997803,
            -0.00018637916946318,
        ),
    ),
    types.float64: _constants(
        FORMATS[types.float64],
        ln2=0.6931471805599453,
        ln2_low=2.3190468138462996e-17,
        half_pi=(1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
        exp_low=-746.0,
        exp_high=710.0,
        tanh_high=20.0,
        circle_high=1e12,
        erf_high=6.0,
        exp=(
            0.5, 0.1666666666666667, 0.041666666666666685, 0.008333333333326112,
            0.0013888888888874357, 0.00019841269874902988, 2.4801587347446753e-05,
            2.7557255296201254e-06, 2.755725280405117e-07, 2.510526017232058e-08,
            2.092162745087559e-09,
        ),
        log=(
            0.6666666666666734, 0.3999999999941642, 0.2857142874211116, 0.22222198593865336,
            0.18183563548947843, 0.15314064393661334, 0.1479586134887594,
        ),
        sin=(
            -0.16666666666666632, 0.008333333333322455, -0.00019841269829813437,
            2.7557313687587704e-06, -2.505075671756465e-08, 1.5896682076585264e-10,
        ),
        cos=(
            0.0416666666666666, -0.0013888888888874441, 2.4801587289636327e-05,
            -2.755731438747843e-07, 2.0875727060723553e-09, -1.1359802587221603e-11,
        ),
        erf=(
            0.1283791670955126, -0.3761263890318375, 0.11283791670954858,
            -0.02686617064507296, 0.00522397762478137, -0.0008548326978765149,
            0.00012055331037551108, -1.4925593518728226e-05, 1.6460972954153765e-06,
            -1.635002619207727e-07, 1.4657883530919653e-08, -1.136567067182716e-09,
            5.945255584223488e-11,
        ),
        erfc=(
            2.7801558043568375e-08, 1.1283789157358985, 0.6366207340693775,
            0.10277081619838858, -0.01912804601028877, -0.00020230230043859253,
            0.0016749616193210224, -0.0005523561698558782, -2.2012696183676363e-05,
            0.00011078722195335494, -6.476314449361026e-05, 2.4281126537580537e-05,
            -6.784433161303947e-06, 1.4697773947374835e-06, -2.481528707805779e-07,
            3.21967111828994e-08, -3.1083901157660057e-09, 2.1054160832257025e-10,
            -8.929511381364011e-12, 1.784025826619601e-13,
        ),
    ),
}  # fmt: skip
