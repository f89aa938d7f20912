r"""What networks are given by chance while they train: dropout and noisy inputs.

Dropout multiplies every hidden unit of every row of a minibatch by 0 with probability ``p``, else
by :math:`1/(1-p)`, so that its mean is what an evaluation, which leaves no unit out, has there.
Noisy inputs are those of the minibatch plus normal numbers of a given standard deviation. Which
units, and which numbers, follows from the trial's seed, the step and the place in the minibatch:
the same bits on any thread, in any company, after any pause.

A block of the generator makes four numbers, which lie a quarter of the array apart, so that loops
over blocks write side by side and become SIMD code. Arrays are as long as a multiple of four.

References
----------
N. Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting*, JMLR 15
(2014).
C. M. Bishop, *Training with noise is equivalent to Tikhonov regularization*, Neural Computation 7
(1995).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastopt import maths
from fastopt.compile import inlinable, jitable
from fastopt.errors import SpecError, shortened
from sweeps.common.philox import DROPOUT, NOISE, words

NOISES = ("dropout", "input_noise")
"""Settings of a network: the share of hidden units that is left out, and the noise of inputs."""

_WORDS = 2.0**32
_TURN = 2.0 * math.pi


@inlinable
def whole_blocks(n):
    """Return the least multiple of four that is ``n`` or more."""
    return (n + 3) // 4 * 4


@jitable
def draw_masks(masks, rate, seed, step):
    """Fill ``masks`` with 0 for a share ``rate`` of units, 1 / (1 - rate) for the others."""
    quarter, limit = masks.size // 4, np.uint64(rate * _WORDS)
    kept, left_out = masks.dtype.type(1.0 / (1.0 - rate)), masks.dtype.type(0)
    for k in range(quarter):
        drawn = words(seed, DROPOUT, np.uint64(step), np.uint64(k))
        for j in range(4):
            masks[k + j * quarter] = kept if drawn[j] >= limit else left_out


@inlinable
def normal_pair(first, second, like):
    """Return two normal numbers, in the type of ``like``, of two words of 32 bits (Box-Muller)."""
    kind = type(like)
    radius = math.sqrt(kind(-2.0) * maths.log(kind((first + 1.0) / _WORDS)))
    angle = kind(second * (_TURN / _WORDS))
    return radius * maths.cos(angle), radius * maths.sin(angle)


@jitable
def add_noise(noisy, X, deviation, seed, step):
    """Write the numbers of ``X`` to the flat array ``noisy``, with noise of this deviation."""
    quarter, scale = noisy.size // 4, noisy.dtype.type(deviation)
    for k in range(quarter):
        w0, w1, w2, w3 = words(seed, NOISE, np.uint64(step), np.uint64(k))
        noisy[k], noisy[k + quarter] = normal_pair(w0, w1, scale)
        noisy[k + 2 * quarter], noisy[k + 3 * quarter] = normal_pair(w2, w3, scale)
    flat = X.reshape(X.size)
    for k in range(flat.size):
        noisy[k] = flat[k] + scale * noisy[k]


def noises_of(axes: Mapping[str, Any]) -> np.ndarray:
    """Return dropout and noise of inputs, checked, as the functions of a network take them.

    ``axes``: of a problem: ``dropout``, ``input_noise`` and ``hidden``.

    >>> noises_of({"hidden": (8,), "dropout": 0.5, "input_noise": 0})
    array([0.5, 0. ])
    """
    for name, top, says in (
        ("dropout", 1.0, "a share of hidden units, from 0 to less than 1"),
        ("input_noise", math.inf, "a standard deviation, a finite number >= 0"),
    ):
        value = axes[name]
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not 0 <= value < top:
            raise SpecError(f"{name} must be {says}; got {shortened(value)}")
    if axes["dropout"] and not axes["hidden"]:
        raise SpecError(
            f"dropout={shortened(axes['dropout'])} leaves out hidden units, and hidden=() has "
            "none; leave it out, or give the network hidden layers"
        )
    return np.array([float(axes[name]) for name in NOISES])
