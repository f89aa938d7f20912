"""The bit work: what Numba cannot say in a float's own width, in LLVM's words.

Numba promotes int32 to int64, which does not vectorise beside float32; so integers appear only
inside intrinsics here, and everything that goes in and comes out is a float.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def quiet(function: Callable, x: Any) -> Any:
    """Evaluate a NumPy function without its warnings: inf and NaN are answers here.

    The Python forms of all functions go through it, which also makes the digest of a kernel that
    uses one (:func:`fastopt.compile.fingerprint`) cover this file.
    """
    with np.errstate(all="ignore"):
        return function(x)


class Format(NamedTuple):
    """Layout of a binary floating-point number and the constants that exploit it."""

    real: type[np.floating]
    bits: int
    mantissa: int
    bias: int

    @property
    def integer(self) -> ir.IntType:
        """LLVM's integer of the same width."""
        return ir.IntType(self.bits)

    @property
    def magic(self) -> float:
        """1.5 * 2**mantissa: adding it rounds to an integer, left in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa

    def pattern(self, value: float) -> int:
        """Return the bits of ``value`` as an integer."""
        return int(np.array(value, self.real).view(f"i{self.bits // 8}"))


FORMATS = {
    types.float32: Format(np.float32, bits=32, mantissa=23, bias=127),
    types.float64: Format(np.float64, bits=64, mantissa=52, bias=1023),
}


@intrinsic
def fma(typingctx, a, b, c):
    """Multiply ``a`` by ``b`` and add ``c``, rounded once."""

    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return a(a, a, a), codegen


@intrinsic
def horner(typingctx, z, coefficients):
    """Evaluate the polynomial with ``coefficients`` (lowest order first) at ``z``."""

    def codegen(context, builder, signature, args):
        *rest, total = cgutils.unpack_tuple(builder, args[1])
        for coefficient in reversed(rest):
            total = builder.fma(total, args[0], coefficient)
        return total

    return z(z, coefficients), codegen


@intrinsic
def copysign(typingctx, x, sign):
    """Return ``x`` with the sign of ``sign``."""

    def codegen(context, builder, signature, args):
        real = args[0].type
        declared = ir.FunctionType(real, [real, real])
        function = builder.module.declare_intrinsic("llvm.copysign", [real], declared)
        return builder.call(function, args)

    return x(x, x), codegen


@intrinsic
def rectified(typingctx, x):
    """Return ``x``, or zero if ``x`` is not above it; a NaN stays one.

    Where the result is stored over ``x`` itself, LLVM takes a choice between the two for a masked
    store of zeros, which costs AMD's processors ten times as much. The sum is another number to it.
    """

    def codegen(context, builder, signature, args):
        zero = args[0].type(0.0)
        number = builder.fadd(args[0], zero)
        return builder.select(builder.fcmp_ordered("<", number, zero), zero, number)

    return x(x), codegen


@intrinsic
def halves(typingctx, shifted):
    """Return two powers of two whose product is 2**k, for ``shifted = magic + k``.

    Each is a normal number even where 2**k overflows or is subnormal, so that multiplying by one
    after the other rounds once and gives 0, a subnormal number or inf by itself.
    """
    form = FORMATS[shifted]

    def codegen(context, builder, signature, args):
        integer = form.integer
        bits = builder.bitcast(args[0], integer)
        biased = builder.add(bits, integer(2 * form.bias - form.pattern(form.magic)))
        first = builder.lshr(biased, integer(1))
        pair = [
            builder.bitcast(builder.shl(exponent, integer(form.mantissa)), args[0].type)
            for exponent in (first, builder.sub(biased, first))
        ]
        return context.make_tuple(builder, signature.return_type, pair)

    return types.UniTuple(shifted, 2)(shifted), codegen


@intrinsic
def decompose(typingctx, x):
    """Return ``(e, m)``, both floats, with ``x = 2**e m`` and m in [sqrt(1/2), sqrt(2))."""
    form = FORMATS[x]

    def codegen(context, builder, signature, args):
        integer, real = form.integer, args[0].type
        # One more than the bias keeps the biased exponent of every normal number positive.
        bias = form.bias + 1
        origin = (bias << form.mantissa) - form.pattern(math.sqrt(0.5))
        bits = builder.bitcast(args[0], integer)
        exponent = builder.lshr(builder.add(bits, integer(origin)), integer(form.mantissa))
        # Or-ing an integer into the magic number's low bits converts it, on any vector unit.
        shifted = builder.or_(exponent, integer(form.pattern(form.magic)))
        e = builder.fsub(builder.bitcast(shifted, real), real(form.magic + bias))
        scale = builder.shl(builder.sub(exponent, integer(bias)), integer(form.mantissa))
        m = builder.bitcast(builder.sub(bits, scale), real)
        return context.make_tuple(builder, signature.return_type, [e, m])

    return types.UniTuple(x, 2)(x), codegen


@intrinsic
def turned(typingctx, s, c, shifted):
    """Sine of r + k pi/2 from ``s = sin r``, ``c = cos r`` and ``shifted = magic + k``."""
    form = FORMATS[s]

    def codegen(context, builder, signature, args):
        integer = form.integer
        k = builder.bitcast(args[2], integer)
        odd = builder.trunc(k, ir.IntType(1))
        value = builder.select(odd, args[1], args[0])
        sign = builder.shl(builder.and_(k, integer(2)), integer(form.bits - 2))
        return builder.bitcast(builder.xor(builder.bitcast(value, integer), sign), value.type)

    return s(s, s, s), codegen
