"""Quadratic test functions: a bowl, random ones in many dimensions, and one with noise."""

from __future__ import annotations

import math

import numpy as np

from fastopt import maths
from fastopt.errors import SpecError, shortened
from sweeps.common.philox import uniforms
from sweeps.common.resources import check_memory
from sweeps.problems.landscapes import Landscape, landscape

TWO_PI = 2.0 * math.pi
NOISE = np.uint64(4)  # a stream of sweeps.common.philox of its own


def ellipse(
    condition: float = 10.0, start: tuple[float, float] = (10.0, 1.0), dtype: str = "float64"
) -> Landscape:
    r"""Elliptical bowl :math:`f = \tfrac12 x^2 + \tfrac\kappa2 y^2`, the smallest real problem.

    Its curvatures are 1 and :math:`\kappa`, so gradient descent is stable below
    :math:`2 / \kappa` and heavy ball below :math:`(2 + 2 \mu) / \kappa`.

    Parameters
    ----------
    condition : float
        The :math:`\kappa`.
    start : (float, float)
        Where trials start.
    dtype : {"float64", "float32"}
        Of the arithmetic.

    Examples
    --------
    >>> ellipse()(10.0, 1.0)
    (55.0, (10.0, 10.0))
    """
    if not (condition > 0.0 and math.isfinite(condition)):
        raise SpecError(
            f"ellipse: condition must be a finite number > 0; got {shortened(condition)}"
        )
    aux = (np.array([condition], dtype),)
    return landscape(_bowl, start, (0.0, 0.0), name="ellipse", dtype=dtype, aux=aux)


def _bowl(x, y, aux):
    k = aux[0][0]
    return 0.5 * x * x + 0.5 * k * y * y, (x, k * y)


def random_quadratic(
    dim: int = 10, condition: float = 100.0, seed: int = 0, dtype: str = "float64"
) -> Landscape:
    r"""Quadratic :math:`f = \tfrac12 (x - c)^T A (x - c)` with a random symmetric matrix.

    The eigenvalues of :math:`A` are spaced evenly on a log scale from 1 to ``condition``, its
    eigenvectors uniformly distributed, and the minimum :math:`c` is drawn from a normal
    distribution. Starts at the origin. Neither a new size nor a new seed compiles anything.

    Parameters
    ----------
    dim : int
        Number of coordinates, ``x1``, ``x2``, ...
    condition : float
        Largest over smallest curvature.
    seed : int
        Of NumPy's generator, which draws the problem.
    dtype : {"float64", "float32"}
        Of the arithmetic.

    Examples
    --------
    >>> problem = random_quadratic(3, condition=10.0, seed=1)
    >>> round(problem(*problem.optima[0])[0], 12)
    0.0
    """
    if not (condition >= 1.0 and math.isfinite(condition)) or dim < 1:
        raise SpecError(
            "random_quadratic: dim must be >= 1 and condition a finite number >= 1; "
            f"got {shortened(dim)} and {shortened(condition)}"
        )
    # The matrix, its two factors and what LAPACK works in.
    check_memory(
        4 * 8 * dim * dim,
        f"random_quadratic: matrices of dim={shortened(dim)} take",
        "Use fewer dimensions",
    )
    rng = np.random.default_rng(seed)
    q, r = np.linalg.qr(rng.normal(size=(dim, dim)))
    q *= np.sign(np.diag(r))  # without this the distribution is not uniform
    matrix = (q * np.geomspace(1.0, condition, dim)) @ q.T
    centre = rng.normal(size=dim)
    aux = (((matrix + matrix.T) / 2.0).astype(dtype).ravel(), centre.astype(dtype))
    return landscape(
        _quadratic, np.zeros(dim), aux[1], None, "random_quadratic", dtype, vector=True, aux=aux
    )


def _quadratic(x, grad, aux):
    matrix, centre = aux
    n = x.size
    value = 0.0
    for i in range(n):
        slope = 0.0
        for j in range(n):
            slope += matrix[i * n + j] * (x[j] - centre[j])
        grad[i] = slope
        value += 0.5 * slope * (x[i] - centre[i])
    return value


def noisy_quadratic(
    condition: float = 10.0,
    noise: float = 1.0,
    start: tuple[float, float] = (10.0, 1.0),
    dtype: str = "float64",
) -> Landscape:
    r"""Elliptical bowl whose centre jumps about: a model of minibatch noise.

    .. math::
        f_t = \tfrac12 (x - \sigma \epsilon_t)^2 + \tfrac\kappa2 (y - \sigma \epsilon'_t)^2

    with new independent normal :math:`\epsilon_t, \epsilon'_t` every step, drawn from the trial's
    seed and the number of the step: trials that share a seed see the same noise. The gradient has
    standard deviations :math:`\sigma` and :math:`\kappa\sigma`. Losses are those of the moment,
    ``distance`` is that to the mean centre (0, 0).

    Parameters
    ----------
    condition : float
        The :math:`\kappa`.
    noise : float
        The :math:`\sigma`.
    start : (float, float)
        Where trials start.
    dtype : {"float64", "float32"}
        Of the arithmetic.

    Examples
    --------
    >>> noisy_quadratic(noise=0.0)(10.0, 1.0) == ellipse()(10.0, 1.0)
    True

    References
    ----------
    G. Zhang et al., *Which algorithmic choices matter at which batch sizes? Insights from a noisy
    quadratic model*, NeurIPS 2019.
    """
    if not (condition > 0.0 and noise >= 0.0 and math.isfinite(condition + noise)):
        raise SpecError(
            "noisy_quadratic: condition must be > 0 and noise >= 0, both finite; "
            f"got {shortened(condition)} and {shortened(noise)}"
        )
    aux = (np.array([condition, noise], dtype),)
    return landscape(
        _jumping_bowl, start, (0.0, 0.0), name="noisy_quadratic", dtype=dtype,
        timed=True, seeded=True, aux=aux,
    )  # fmt: skip


def _jumping_bowl(x, y, t, seed, aux):
    u, w = uniforms(seed, NOISE, np.uint64(t), np.uint64(0))
    # Box-Muller: one pair of uniforms gives one pair of normals.
    size = aux[0][1] * math.sqrt(-2.0 * maths.log(1.0 - u))
    dx, dy = x - size * maths.cos(TWO_PI * w), y - size * maths.sin(TWO_PI * w)
    k = aux[0][0]
    return 0.5 * dx * dx + 0.5 * k * dy * dy, (dx, k * dy)
