r"""Activations of hidden layers: each two functions of a number and a row of :data:`ACTIVATIONS`.

``value(x)`` is the activation and ``back(kept, e)`` is ``e`` times its slope. What is kept of a
layer is its output where the slope follows from that, so that nothing else need be stored, or its
input. A network is compiled for one activation: the loops of all take longer to compile than the
rest of it (8 s the six from ``elu`` to ``sigmoid``).

The formulas and constants are those of ``torch.nn.functional``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from fastopt import maths
from fastopt.compile import inlinable, jitable
from fastopt.maths.bits import rectified
from sweeps.common.names import check_choice
from sweeps.problems.matrices import elementwise, flat

# Of Klambauer et al., Self-normalizing neural networks, NeurIPS 2017.
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
LEAK = 0.01
ROOT_HALF, ROOT_TWO_PI = math.sqrt(0.5), math.sqrt(2.0 * math.pi)
GELU_CUBE, GELU_SCALE = 0.044715, math.sqrt(2.0 / math.pi)


class Activation(NamedTuple):
    """An activation.

    * ``value``: ``value(x)``; a NaN stays a NaN.
    * ``back``: ``back(kept, e)``: ``e`` times the slope where it was ``kept``.
    * ``keeps_inputs``: whether the inputs of layers are kept for the slope, not the outputs.
    * ``code``: its number, which stands in ``aux`` of a network.
    """

    value: Callable
    back: Callable
    keeps_inputs: bool
    code: int


@inlinable
def relu_back(a, e):
    """Pass the error on where the output is positive."""
    zero = type(a)(0)
    return e if a > zero else zero * e


@inlinable
def tanh_back(a, e):
    """Multiply the error by the slope, 1 - a^2."""
    return e * (type(a)(1) - a * a)


@inlinable
def identity(x):
    """Return the input: layers without activation."""
    return x


@inlinable
def identity_back(a, e):
    """Pass the error on."""
    return e


@inlinable
def leaky_relu(x):
    """Return the input, a hundredth of it below zero."""
    return type(x)(LEAK) * x if x < 0 else x


@inlinable
def leaky_relu_back(a, e):
    """Multiply the error by 1, or a hundredth."""
    return e if a > 0 else type(a)(LEAK) * e


@inlinable
def expm1(x):
    """Return e^x - 1 of x <= 0, which loses nothing near 0."""
    one, half = type(x)(1), type(x)(0.5)
    small = maths.tanh(half * x)
    # 2 tanh(x/2) / (1 - tanh(x/2))
    return (small + small) / (one - small)


@inlinable
def elu(x):
    """Return x, or e^x - 1 below zero."""
    zero = type(x)(0)
    return x if x > zero else expm1(x)


@inlinable
def elu_back(a, e):
    """Multiply the error by 1, or e^x = a + 1."""
    one = type(a)(1)
    return e if a > 0 else e * (a + one)


@inlinable
def selu(x):
    """Return the scaled ELU."""
    scale, alpha = type(x)(SELU_SCALE), type(x)(SELU_ALPHA)
    return scale * (x if x > 0 else alpha * expm1(x))


@inlinable
def selu_back(a, e):
    """Multiply the error by its slope."""
    scale, low = type(a)(SELU_SCALE), type(a)(SELU_SCALE * SELU_ALPHA)
    return e * (scale if a > 0 else a + low)


@inlinable
def softplus(x):
    """Return log(1 + e^x) without overflow, for all x (torch's is x from 20 on)."""
    one, zero = type(x)(1), type(x)(0)
    tail = maths.exp(-abs(x))
    sum_ = one + tail
    # The rounding error of the sum, which is most of a small tail, comes back to first order.
    return (zero if x < zero else x) + (maths.log(sum_) + (tail - (sum_ - one)) / sum_)


@inlinable
def softplus_back(a, e):
    """Multiply the error by the slope: the sigmoid of x is 1 - e^-a."""
    return e * -expm1(-a)


@inlinable
def sigmoid_back(a, e):
    """Multiply the error by the slope, a (1 - a)."""
    return e * (a * (type(a)(1) - a))


@inlinable
def gelu(x):
    """Return x times the normal distribution function of x."""
    half, one = type(x)(0.5), type(x)(1)
    return half * x * (one + maths.erf(x * type(x)(ROOT_HALF)))


@inlinable
def gelu_back(x, e):
    """Multiply the error by its slope."""
    half, one = type(x)(0.5), type(x)(1)
    below = half * (one + maths.erf(x * type(x)(ROOT_HALF)))
    return e * (below + x * maths.exp(-half * x * x) * type(x)(1.0 / ROOT_TWO_PI))


@inlinable
def gelu_tanh(x):
    """Return the GELU by its approximation with a hyperbolic tangent."""
    half, one = type(x)(0.5), type(x)(1)
    inner = type(x)(GELU_SCALE) * (x + type(x)(GELU_CUBE) * x * x * x)
    return half * x * (one + maths.tanh(inner))


@inlinable
def gelu_tanh_back(x, e):
    """Multiply the error by its slope."""
    half, one = type(x)(0.5), type(x)(1)
    scale, cube = type(x)(GELU_SCALE), type(x)(GELU_CUBE)
    t = maths.tanh(scale * (x + cube * x * x * x))
    slope = scale * (one + type(x)(3) * cube * x * x)
    return e * (half * (one + t) + half * x * (one - t * t) * slope)


@inlinable
def silu(x):
    """Return x times its sigmoid."""
    return x * maths.sigmoid(x)


@inlinable
def silu_back(x, e):
    """Multiply the error by its slope."""
    one, s = type(x)(1), maths.sigmoid(x)
    return e * (s * (one + x * (one - s)))


@inlinable
def mish(x):
    """Return x tanh(softplus(x))."""
    return x * maths.tanh(softplus(x))


@inlinable
def mish_back(x, e):
    """Multiply the error by its slope."""
    t = maths.tanh(softplus(x))
    return e * (t + x * (type(x)(1) - t * t) * maths.sigmoid(x))


class Layers(NamedTuple):
    """The loops of an activation over a layer: see :func:`layers_of`."""

    activate: Callable
    backpropagate: Callable
    keeps_inputs: bool


@functools.cache
def layers_of(name: str) -> Layers:
    """Return ``activate(z)`` and ``backpropagate(kept, error)`` of an activation.

    The first turns the inputs ``z`` into activations, the second what was kept of a layer into the
    error times the slope, in place.
    """
    value, back, keeps_inputs, _ = find_activation(name)

    @jitable
    def backpropagate(kept, error):
        numbers, e = flat(kept), flat(error)
        for i in range(numbers.size):
            numbers[i] = back(numbers[i], e[i])

    return Layers(elementwise(value), backpropagate, keeps_inputs)


def find_activation(name: Any) -> Activation:
    """Return the row of an activation.

    Raises SpecError if there is none of this name.

    >>> find_activation("relu").keeps_inputs, find_activation("gelu").keeps_inputs
    (False, True)
    """
    check_choice("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(rectified, relu_back, False, 0),
    "tanh": Activation(maths.tanh, tanh_back, False, 1),
    "identity": Activation(identity, identity_back, False, 2),
    "leaky_relu": Activation(leaky_relu, leaky_relu_back, False, 3),
    "elu": Activation(elu, elu_back, False, 4),
    "selu": Activation(selu, selu_back, False, 5),
    "softplus": Activation(softplus, softplus_back, False, 6),
    "sigmoid": Activation(maths.sigmoid, sigmoid_back, False, 7),
    "gelu": Activation(gelu, gelu_back, True, 8),
    "gelu_tanh": Activation(gelu_tanh, gelu_tanh_back, True, 9),
    "silu": Activation(silu, silu_back, True, 10),
    "mish": Activation(mish, mish_back, True, 11),
}
"""Name -> activation."""
