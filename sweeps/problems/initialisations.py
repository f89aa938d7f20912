r"""Initial parameters of networks: random weights, biases that are zero, norms that do nothing.

Weights of a layer of ``n`` inputs and ``m`` outputs are ``gain`` times numbers of standard
deviation :math:`\sqrt{2/(n+m)}` (Glorot), :math:`\sqrt{2/n}` (He) or :math:`\sqrt{1/n}` (LeCun),
uniform or normal; or they are a random orthogonal matrix times ``gain``. Number ``i`` of ``theta``
comes from counter ``i`` of the trial's seed, whoever draws it.

References
----------
X. Glorot and Y. Bengio, *Understanding the difficulty of training deep feedforward neural
networks*, AISTATS 2010.
K. He et al., *Delving deep into rectifiers*, ICCV 2015.
Y. LeCun et al., *Efficient backprop*, 1998.
A. M. Saxe, J. L. McClelland and S. Ganguli, *Exact solutions to the nonlinear dynamics of learning
in deep linear neural networks*, ICLR 2014.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastopt.compile import inlinable, jitable
from fastopt.errors import SpecError, shortened
from sweeps.common.names import check_choice
from sweeps.common.philox import fill_normal, fill_uniform


@inlinable
def glorot(n, m, times):
    """Return ``times`` the variance that keeps those of outputs and gradients."""
    return times * 2.0 / (n + m)


@inlinable
def he(n, m, times):
    """Return ``times`` the variance that keeps that of outputs of ReLUs."""
    return times * 2.0 / n


@inlinable
def lecun(n, m, times):
    """Return ``times`` the variance that keeps that of outputs."""
    return times / n


def uniform(variance: Callable) -> Callable:
    """Draw from U(-r, r) with this variance, a third of r^2."""

    @jitable
    def fill(w, n, m, gain, seed, offset):
        r = gain * math.sqrt(variance(n, m, 3.0))
        fill_uniform(w, -r, r, seed, offset)

    return fill


def normal(variance: Callable) -> Callable:
    """Draw from the normal distribution with this variance."""

    @jitable
    def fill(w, n, m, gain, seed, offset):
        fill_normal(w, gain * math.sqrt(variance(n, m, 1.0)), seed, offset)

    return fill


@jitable
def orthogonal(w, n, m, gain, seed, offset):
    """Draw an orthogonal matrix: its rows are orthonormal, or its columns if those are fewer."""
    fill_normal(w, 1.0, seed, offset)
    a = w.reshape(n, m)
    if n <= m:
        orthonormalise(a)
    else:
        orthonormalise(a.T)
    for k in range(w.size):
        w[k] *= gain


@jitable
def orthonormalise(a):
    """Make the rows of ``a`` orthonormal, one after the other (Gram and Schmidt, each row twice).

    Of rows of normal numbers this gives every orthogonal matrix the same chance.
    """
    rows, columns = a.shape
    for i in range(rows):
        for again in range(2 * i):
            k, dot = again % i, 0.0
            for j in range(columns):
                dot += a[i, j] * a[k, j]
            for j in range(columns):
                a[i, j] -= dot * a[k, j]
        square = 0.0
        for j in range(columns):
            square += a[i, j] * a[i, j]
        for j in range(columns):
            a[i, j] /= math.sqrt(square)


@functools.lru_cache(maxsize=64)
def initialisation(
    name: str = "glorot_uniform",
    gain: float = 1.0,
    layer_norm: bool = False,
    base_width: float = 0.0,
) -> Callable:
    """Return ``init(theta, aux, seed)`` of networks, which writes their initial parameters.

    * ``name``: a row of :data:`INITIALISATIONS`.
    * ``gain``: what the weights are multiplied by, > 0.
    * ``layer_norm``: whether hidden layers have norms, whose gains are 1.
    * ``base_width``: if it is not 0, the variance of the last layer's weights is multiplied by this
      over its inputs, if those are hidden units: see :mod:`sweeps.problems.lr_multipliers`.

    >>> theta = np.ones(8)
    >>> initialisation("orthogonal", 2.0)(theta, (np.array([1, 2, 1]),), np.uint64(0))
    >>> float(np.hypot(*theta[:2])), theta[2:4]
    (2.0, array([0., 0.]))
    """
    check_choice("init", name, INITIALISATIONS)
    number = isinstance(gain, int | float | np.number) and not isinstance(gain, bool)
    if not number or not 0 < gain < math.inf:
        raise SpecError(f"gain must be a number > 0; got {shortened(gain)}")
    fill, times, base = INITIALISATIONS[name], float(gain), float(base_width)

    @jitable
    def init(theta: Any, aux: Any, seed: Any) -> None:
        sizes = aux[0]
        offset = 0
        for j in range(theta.size):
            theta[j] = 0
        for layer in range(sizes.size - 1):
            n, m = sizes[layer], sizes[layer + 1]
            scaled = times
            if base > 0.0 and layer == sizes.size - 2:
                scaled *= math.sqrt(base / n)
            fill(theta[offset : offset + n * m], n, m, scaled, seed, offset)
            offset += (n + 1) * m
        if layer_norm:
            for layer in range(1, sizes.size - 1):
                for j in range(offset, offset + sizes[layer]):
                    theta[j] = 1
                offset += 2 * sizes[layer]

    return init


INITIALISATIONS: dict[str, Callable] = {
    "glorot_uniform": uniform(glorot),
    "glorot_normal": normal(glorot),
    "he_uniform": uniform(he),
    "he_normal": normal(he),
    "lecun_uniform": uniform(lecun),
    "lecun_normal": normal(lecun),
    "orthogonal": orthogonal,
}
"""Name -> what fills the weights of a layer."""
