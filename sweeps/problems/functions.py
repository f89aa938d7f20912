r"""Test functions of optimization: formulas with exact gradients, starts and optima.

Each is a constructor in :data:`FUNCTIONS`. To add one, write its function on scalars (or, for any
number of them, on a tuple, by :mod:`sweeps.problems.unrolled`) and its constructor here, and a row
in :mod:`sweeps.common.known`; sweeps, specs, tests and documentation follow from the row.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from fastopt import maths
from fastopt.compile import inlinable
from fastopt.errors import SpecError, shortened
from sweeps.common.known import TEST_FUNCTIONS
from sweeps.problems.landscapes import MOST_SCALARS, Landscape, landscape
from sweeps.problems.quadratics import ellipse, noisy_quadratic, random_quadratic
from sweeps.problems.unrolled import added, each, scaled, separable, total

__all__ = [
    "FUNCTIONS",
    "ackley",
    "beale",
    "double_well",
    "ellipse",
    "himmelblau",
    "noisy_quadratic",
    "random_quadratic",
    "rastrigin",
    "ravine",
    "rosenbrock",
    "styblinski_tang",
]

TWO_PI = 2.0 * math.pi


@functools.cache
def valley(dim: int) -> Callable:
    """Rosenbrock's function of the last ``dim`` coordinates: the first pair, then the rest."""

    @inlinable
    def pair(x, y):
        a, b = 1.0 - x, y - x * x
        return a * a + 100.0 * b * b, -2.0 * a - 400.0 * x * b, 200.0 * b

    if dim == 2:

        def first(*x):
            value, gx, gy = pair(x[0], x[1])
            return value, (gx, gy)

        return inlinable(first)
    rest = valley(dim - 1)

    def f(*x):
        value, gx, gy = pair(x[0], x[1])
        more, g = rest(*x[1:])
        return value + more, (gx, gy + g[0]) + g[1:]  # noqa: RUF005

    return inlinable(f)


def rosenbrock(
    dim: int = 2, start: tuple[float, ...] | None = None, dtype: str = "float64"
) -> Landscape:
    r"""Rosenbrock's banana valley.

    .. math:: f(x) = \sum_{i=1}^{n-1} \left[100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2\right]

    with its minimum 0 at :math:`(1, \ldots, 1)`; with four coordinates and more there is a local
    one near :math:`(-1, 1, \ldots, 1)`. Starts at :math:`(-1.2, 1, -1.2, 1, \ldots)`.

    Parameters
    ----------
    dim : int
        Number of coordinates, 2 or more; two are called ``x`` and ``y``, more ``x1``, ``x2``, ...
    start : tuple of float, optional
        Another start.
    dtype : {"float64", "float32"}
        Of the arithmetic.

    Examples
    --------
    >>> rosenbrock()(0.0, 0.0)
    (1.0, (-2.0, 0.0))

    References
    ----------
    H. H. Rosenbrock, *An automatic method for finding the greatest or least value of a function*,
    The Computer Journal 3, 1960.
    """
    return _plain("rosenbrock", valley(_dim(dim, 2)), start or _cycle((-1.2, 1.0), dim),
                  (1.0,) * dim, dtype)  # fmt: skip


def rastrigin(
    dim: int = 2, start: tuple[float, ...] | None = None, dtype: str = "float64"
) -> Landscape:
    r"""Rastrigin's egg box: a bowl with a local minimum near every integer point.

    .. math:: f(x) = \sum_i \left[10 + x_i^2 - 10 \cos 2 \pi x_i\right]

    with its minimum 0 at the origin. Starts at :math:`(-2, 3.5, -2, \ldots)`. Parameters as for
    :func:`rosenbrock`.

    Examples
    --------
    >>> rastrigin()(0.0, 0.0)
    (0.0, (0.0, 0.0))

    References
    ----------
    L. A. Rastrigin, *Systems of extremal control*, 1974.
    """
    f = separable(egg_box, egg_box_slope, _dim(dim, 1))
    return _plain("rastrigin", f, start or _cycle((-2.0, 3.5), dim), (0.0,) * dim, dtype)


@inlinable
def egg_box(x):
    """One coordinate of Rastrigin's function."""
    return 10.0 + x * x - 10.0 * maths.cos(TWO_PI * x)


@inlinable
def egg_box_slope(x):
    """Return the derivative of :func:`egg_box`."""
    return 2.0 * x + 10.0 * TWO_PI * maths.sin(TWO_PI * x)


def styblinski_tang(
    dim: int = 2, start: tuple[float, ...] | None = None, dtype: str = "float64"
) -> Landscape:
    r"""Styblinski and Tang's function, with two minima along every coordinate.

    .. math:: f(x) = \tfrac12 \sum_i (x_i^4 - 16 x_i^2 + 5 x_i)

    with its minimum :math:`-39.166166\,n` at :math:`x_i = -2.903534`. Starts at the origin.
    Parameters as for :func:`rosenbrock`.

    Examples
    --------
    >>> styblinski_tang()(0.0, 1.0)
    (-5.0, (2.5, -11.5))

    References
    ----------
    M. A. Styblinski and T. S. Tang, *Experiments in nonconvex optimization*, Neural Networks 3,
    1990.
    """
    f = separable(two_wells, two_wells_slope, _dim(dim, 1))
    lowest = (-2.9035340277711783,) * dim  # the lowest root of 2 x^3 - 16 x + 5/2
    return _plain("styblinski_tang", f, start or (0.0,) * dim, lowest, dtype)


@inlinable
def two_wells(x):
    """One coordinate of Styblinski and Tang's function."""
    square = x * x
    return 0.5 * (square * square - 16.0 * square + 5.0 * x)


@inlinable
def two_wells_slope(x):
    """Return the derivative of :func:`two_wells`."""
    return 2.0 * x * x * x - 16.0 * x + 2.5


def ackley(
    dim: int = 2, start: tuple[float, ...] | None = None, dtype: str = "float64"
) -> Landscape:
    r"""Ackley's function: a nearly flat, rippled plain with a hole.

    .. math::
        f(x) = 20 + e - 20 \exp\Bigl(-\tfrac15 \sqrt{\tfrac1n \sum_i x_i^2}\Bigr)
            - \exp\Bigl(\tfrac1n \sum_i \cos 2 \pi x_i\Bigr)

    with its minimum 0 at the origin, a cone's tip, where the gradient here is 0. Starts at
    :math:`(-2, 3.5, -2, \ldots)`. Parameters as for :func:`rosenbrock`.

    Examples
    --------
    >>> value, grad = ackley()(0.0, 0.0)
    >>> abs(value) < 1e-14, grad
    (True, (0.0, 0.0))

    References
    ----------
    D. H. Ackley, *A connectionist machine for genetic hillclimbing*, 1987.
    """
    f = hole(_dim(dim, 1))
    return _plain("ackley", f, start or _cycle((-2.0, 3.5), dim), (0.0,) * dim, dtype)


@functools.cache
def hole(dim: int) -> Callable:
    """Ackley's function of ``dim`` coordinates."""
    add, scale = total(dim), scaled(dim)
    squares = each(inlinable(lambda x: x * x), dim)
    waves = each(inlinable(lambda x: maths.cos(TWO_PI * x)), dim)
    slopes = each(inlinable(lambda x: maths.sin(TWO_PI * x)), dim)
    plus = added(dim)

    def f(*x):
        radius = math.sqrt(add(squares(x)) / dim)
        cone, ripple = 20.0 * maths.exp(-0.2 * radius), maths.exp(add(waves(x)) / dim)
        steep = 0.2 * cone / (dim * (radius if radius > 0.0 else 1.0))
        grad = plus(scale(steep, x), scale(TWO_PI / dim * ripple, slopes(x)))
        return 20.0 + math.e - cone - ripple, grad

    return f


def double_well(start: tuple[float, ...] = (-3.0,), dtype: str = "float64") -> Landscape:
    r"""Two wells on a line, :math:`f = 0.1 x^4 - 3 x^2 + x`.

    Minima at :math:`-3.953771` (the lower) and :math:`3.786794`, a barrier at :math:`0.166977`.
    Starts in the lower well.

    Examples
    --------
    >>> double_well()(1.0)
    (-1.9, (-4.6,))
    """
    lowest = (-3.9537713245344417,)  # the lowest root of 0.4 x^3 - 6 x + 1
    return _plain("double_well", _wells, start, lowest, dtype)


def _wells(x):
    square = x * x
    return 0.1 * square * square - 3.0 * square + x, (0.4 * square * x - 6.0 * x + 1.0,)


def beale(start: tuple[float, float] = (1.0, 1.0), dtype: str = "float64") -> Landscape:
    r"""Beale's function: a flat valley between sharp walls.

    .. math:: f = (1.5 - x + xy)^2 + (2.25 - x + xy^2)^2 + (2.625 - x + xy^3)^2

    with its minimum 0 at (3, 0.5).

    Examples
    --------
    >>> beale()(0.0, 0.0)
    (14.203125, (-12.75, 0.0))

    References
    ----------
    E. M. L. Beale, *On an iterative method for finding a local minimum of a function of more than
    one variable*, 1958.
    """
    return _plain("beale", _beale, start, (3.0, 0.5), dtype)


def _beale(x, y):
    y2 = y * y
    y3 = y2 * y
    a, b, c = 1.5 - x + x * y, 2.25 - x + x * y2, 2.625 - x + x * y3
    gx = 2.0 * (a * (y - 1.0) + b * (y2 - 1.0) + c * (y3 - 1.0))
    return a * a + b * b + c * c, (gx, 2.0 * x * (a + 2.0 * b * y + 3.0 * c * y2))


def himmelblau(start: tuple[float, float] = (0.0, 0.0), dtype: str = "float64") -> Landscape:
    r"""Himmelblau's function :math:`f = (x^2 + y - 11)^2 + (x + y^2 - 7)^2`, with four minima of 0.

    Examples
    --------
    >>> himmelblau()(3.0, 2.0)
    (0.0, (0.0, 0.0))

    References
    ----------
    D. M. Himmelblau, *Applied nonlinear programming*, 1972.
    """
    minima = (
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.283185991286170),
        (3.584428340330492, -1.848126526964404),
    )
    return _plain("himmelblau", _himmelblau, start, minima, dtype)


def _himmelblau(x, y):
    a, b = x * x + y - 11.0, x + y * y - 7.0
    return a * a + b * b, (4.0 * x * a + 2.0 * b, 2.0 * a + 4.0 * y * b)


def ravine(start: tuple[float, float] = (-1.0, 1.0)) -> Landscape:
    r"""Narrow ravine with flat shoulders, given without a gradient: central differences.

    .. math::
        f = 1 - \exp\bigl(-\tfrac12 (2 y)^2\bigr) \exp\bigl(-\tfrac12 ((x - 0.7) / 2)^2\bigr)

    with its minimum 0 at (0.7, 0).

    Examples
    --------
    >>> ravine()(0.7, 0.0)[0]
    0.0
    """
    return landscape(_ravine, start, (0.7, 0.0), name="ravine")


def _ravine(x, y):
    a, b = 2.0 * y, (x - 0.7) / 2.0
    return 1.0 - maths.exp(-0.5 * (a * a + b * b))


def _plain(
    name: str, f: Callable, start: Sequence[float], optimum: Sequence, dtype: str
) -> Landscape:
    dim = np.atleast_2d(optimum).shape[1]
    if np.shape(start) != (dim,):
        raise SpecError(f"{name}: start must have {dim} coordinates; got {shortened(start)}")
    named = _of_two(f) if dim == 2 and f.__code__.co_argcount == 0 else f
    return landscape(named, start, optimum, name=name, dtype=dtype)


@functools.cache
def _of_two(f: Callable) -> Callable:
    """Name the coordinates of a function of ``*x``."""
    f = inlinable(f)

    def of_two(x, y):
        return f(x, y)

    return of_two


def _cycle(values: Sequence[float], n: int) -> tuple[float, ...]:
    return tuple(itertools.islice(itertools.cycle(values), n))


def _dim(dim: int, least: int) -> int:
    if isinstance(dim, bool) or not isinstance(dim, int) or not least <= dim <= MOST_SCALARS:
        raise SpecError(
            f"dim must be an integer from {least} to {MOST_SCALARS}; got {shortened(dim)}"
        )
    return dim


FUNCTIONS: dict[str, Callable[..., Landscape]] = {name: globals()[name] for name in TEST_FUNCTIONS}
"""Test functions by name; every constructor has defaults for all of its arguments."""
