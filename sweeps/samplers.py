r"""Axes that are drawn instead of listed: distributions, and designs that draw several together.

A distribution turns a fraction :math:`u \in [0, 1)` into a value, a source turns (seed, dimension,
position) into a fraction. Neither keeps a state, so draw ``i`` of 2**40 is computed by itself, is
the same in every process, and does not change when ``n`` grows (except in a Latin hypercube, whose
strata depend on ``n``).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from fastopt.errors import SpecError
from sweeps.axes import MAX_LENGTH, Computed, Tied, as_axis, ends, kind_of, take
from sweeps.philox import philox, uniforms

__all__ = [
    "Distribution",
    "Draws",
    "choice",
    "draws",
    "latin_hypercube",
    "loguniform",
    "random_order",
    "randint",
    "sobol",
    "uniform",
]

# Streams of sweeps.philox; training uses the numbers below 16.
DRAWS, LATIN, SHIFT, ORDER = (np.uint64(k) for k in range(16, 20))

LOW, HALF = np.uint64(2**32 - 1), np.uint64(32)
SOBOL_BITS = 30
LATIN_MAX = 2**24
LOOKED_AT = 2**12
"""Draws whose extremes are checked before a sweep starts; any of them may be the extreme one."""


class Distribution:
    """What a drawn axis may hold; made by :func:`uniform` and its relatives.

    It becomes an axis with a number of draws (``uniform(0, 1, 20)``) or inside a design such as
    :func:`sobol`.
    """

    def values(self, u: np.ndarray) -> np.ndarray:
        """Return the value of every fraction in ``u`` ``(n,)``, each in ``[0, 1]``."""
        raise TypeError(f"{type(self).__name__} does not say what its values are")

    @property
    def ends(self) -> tuple[Any, Any]:
        """Smallest and largest value."""
        low, high = self.values(np.array([0.0, 1.0])).tolist()
        return low, high


@dataclass(frozen=True)
class Uniform(Distribution):
    """Evenly on an interval."""

    low: float
    high: float

    def values(self, u: np.ndarray) -> np.ndarray:
        return np.clip(self.low * (1.0 - u) + self.high * u, self.low, self.high)

    def __repr__(self) -> str:
        return f"uniform({self.low!r}, {self.high!r})"


@dataclass(frozen=True)
class LogUniform(Distribution):
    """Evenly in the logarithm."""

    low: float
    high: float

    def values(self, u: np.ndarray) -> np.ndarray:
        low, high = math.log(self.low), math.log(self.high)
        logs = (low * (1.0 - u) + high * u).tolist()
        # libm's exp, not NumPy's, whose last bit depends on the SIMD width of the machine.
        return np.clip(np.fromiter(map(math.exp, logs), float, len(logs)), self.low, self.high)

    @property
    def ends(self) -> tuple[float, float]:
        return self.low, self.high

    def __repr__(self) -> str:
        return f"loguniform({self.low!r}, {self.high!r})"


@dataclass(frozen=True)
class Choice(Distribution):
    """One of some values, all equally likely."""

    options: Sequence

    def values(self, u: np.ndarray) -> np.ndarray:
        k = len(self.options)
        return take(self.options, np.minimum((u * k).astype(np.int64), k - 1))

    @property
    def ends(self) -> tuple[Any, Any]:
        return ends(self.options)

    def __repr__(self) -> str:
        if isinstance(self.options, range):
            return f"randint({self.options.start}, {self.options.stop})"
        listed = isinstance(self.options, tuple)
        return f"choice({list(self.options) if listed else self.options!r})"


class Source(Protocol):
    """Where fractions come from: one dimension of a design."""

    def fractions(self, index: np.ndarray, n: int) -> np.ndarray:
        """Return the fractions at the positions ``index`` of ``n``."""


@dataclass(frozen=True)
class Independent:
    """Pseudo-random numbers: position ``i`` is counter ``i`` of Philox."""

    seed: int
    dimension: int = 0

    def fractions(self, index: np.ndarray, n: int) -> np.ndarray:
        return _uniforms(self.seed, DRAWS, self.dimension, index)


@dataclass(frozen=True)
class Latin:
    """A Latin hypercube: one draw in each of ``n`` equal strata, in random order."""

    seed: int
    dimension: int

    def fractions(self, index: np.ndarray, n: int) -> np.ndarray:
        stratum = _latin_order(n, self.seed, self.dimension)[index]
        return (stratum + _uniforms(self.seed, LATIN, self.dimension, index)) / n


@dataclass(frozen=True)
class Sobol:
    """A Sobol' sequence with a random digital shift, which keeps its nets."""

    seed: int
    dimension: int

    def fractions(self, index: np.ndarray, n: int) -> np.ndarray:
        shift = _uniforms(self.seed, SHIFT, self.dimension, np.zeros(1, np.int64)) * 2**SOBOL_BITS
        points = np.full(index.shape, shift.astype(np.int64)[0])
        gray = index ^ (index >> 1)
        for k, direction in enumerate(_directions(self.dimension, max(n - 1, 1).bit_length())):
            points ^= (gray >> k & 1) * direction
        return points / 2**SOBOL_BITS


@dataclass(frozen=True)
class Draws(Computed):
    """An axis of ``n`` draws from a distribution, each computed when it is looked at."""

    distribution: Distribution
    source: Source
    n: int

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: Any) -> Any:
        """Return draw ``i`` as a plain Python value, or a tuple of draws."""
        i = range(self.n)[i]
        if isinstance(i, range):
            return tuple(self[k] for k in i)
        return self.at(np.array([i])).tolist()[0]

    def at(self, digits: np.ndarray) -> np.ndarray:
        """Return the draws at these positions."""
        return self.distribution.values(self.source.fractions(digits, self.n))

    @property
    def ends(self) -> tuple[Any, Any]:
        """Smallest and largest value of the distribution."""
        return self.distribution.ends

    def telling(self) -> np.ndarray:
        """Positions of the extremes, or of every name, among the first draws."""
        first = self.at(np.arange(min(self.n, LOOKED_AT)))
        if kind_of(first.tolist()[0]) in ("integer", "real"):
            return np.unique([first.argmin(), first.argmax()])
        cells = first.tolist()
        return np.unique([cells.index(value) for value in dict.fromkeys(cells)])

    def __repr__(self) -> str:
        return f"{self.n} draws of {self.distribution!r}"


def uniform(low: float, high: float, n: int | None = None, *, seed: int = 0) -> Any:
    """Numbers drawn evenly between ``low`` and ``high``.

    Parameters
    ----------
    low, high : float
        Finite, ``low <= high``.
    n : int, optional
        Number of draws, which makes it an axis; leave it out inside a design.
    seed : int
        Decides the draws.

    Returns
    -------
    Draws or Distribution
        With and without ``n``.

    Raises
    ------
    SpecError
        An end is not finite, the ends are the wrong way round, or ``n`` or ``seed`` is not an
        integer in its range.

    Examples
    --------
    >>> axis = uniform(0.8, 1.0, 3, seed=7)
    >>> len(axis), all(0.8 <= value <= 1.0 for value in axis)
    (3, True)
    >>> uniform(0, 1)
    uniform(0.0, 1.0)
    """
    return _axis(Uniform(*_interval("uniform", low, high)), n, seed)


def loguniform(low: float, high: float, n: int | None = None, *, seed: int = 0) -> Any:
    """Numbers whose logarithms are drawn evenly between those of ``low`` and ``high``.

    Parameters
    ----------
    low, high : float
        Finite and positive, ``low <= high``; values, not exponents.
    n, seed : int
        As for :func:`uniform`.

    Raises
    ------
    SpecError
        As for :func:`uniform`, or an end is not positive.

    Examples
    --------
    >>> axis = loguniform(1e-5, 1.0, 2**40)
    >>> len(axis), 1e-5 <= axis[2**39] <= 1.0
    (1099511627776, True)
    """
    low, high = _interval("loguniform", low, high)
    if low <= 0.0:
        raise SpecError(
            f"loguniform(low, high): the ends must be positive values (not exponents); got {low!r}"
        )
    return _axis(LogUniform(low, high), n, seed)


def randint(low: int, high: int, n: int | None = None, *, seed: int = 0) -> Any:
    """Integers drawn from ``low`` to ``high - 1`` (as in :meth:`numpy.random.Generator.integers`).

    Parameters
    ----------
    low, high : int
        ``low < high``, at most 2**53 apart.
    n, seed : int
        As for :func:`uniform`.

    Raises
    ------
    SpecError
        An end is not an integer of 64 bits, or the range is empty or too long.

    Examples
    --------
    >>> set(randint(3, 5, 64))
    {3, 4}
    """
    for name, end in (("low", low), ("high", high)):
        if kind_of(end) != "integer" or not -(2**63) <= end < 2**63:
            raise SpecError(f"randint(low, high): {name} must be an integer; got {end!r}")
    if not 0 < high - low <= 2**53:
        raise SpecError(
            f"randint(low, high): high must exceed low, by at most 2**53; got {low!r} and {high!r}"
        )
    return _axis(Choice(range(int(low), int(high))), n, seed)


def choice(options: Any, n: int | None = None, *, seed: int = 0) -> Any:
    """One of some values, drawn with equal chances.

    Parameters
    ----------
    options : list, tuple, range, 1-D array, linspace or logspace
        What to draw from.
    n, seed : int
        As for :func:`uniform`.

    Raises
    ------
    SpecError
        As for an axis of :class:`sweeps.Space`.

    Examples
    --------
    >>> sorted(set(choice(["sgd", "adam"], 64)))
    ['adam', 'sgd']
    """
    return _axis(Choice(_options("choice(options)", options)), n, seed)


def draws(axes: Mapping[str, Any], n: int, *, seed: int = 0) -> dict[str, Tied]:
    """Random search: ``n`` trials, every axis drawn anew for each.

    Parameters
    ----------
    axes : dict
        Axis name -> a distribution without ``n``, or a list to choose from.
    n : int
        Number of trials.
    seed : int
        Decides the draws.

    Returns
    -------
    dict of str to Tied
        To be unpacked into a dict of axes with ``**``.

    Raises
    ------
    SpecError
        There are no axes, or ``n`` or ``seed`` is not an integer in its range.

    Examples
    --------
    >>> from sweeps import Space
    >>> axes = {"optimizer": ["sgd", "adam"], "lr": loguniform(1e-4, 1.0)}
    >>> len(Space({**draws(axes, 100, seed=1), "seed": range(3)}))
    300

    References
    ----------
    J. Bergstra and Y. Bengio, *Random search for hyper-parameter optimization*, JMLR 2012.
    """
    return _design("draws", Independent, axes, n, seed, MAX_LENGTH)


def latin_hypercube(axes: Mapping[str, Any], n: int, *, seed: int = 0) -> dict[str, Tied]:
    """Latin hypercube: each axis is cut into ``n`` equal strata and each stratum is drawn once.

    Parameters
    ----------
    axes, n, seed
        As for :func:`draws`; ``n`` at most 2**24, since the order of the strata is kept.

    Returns
    -------
    dict of str to Tied
        To be unpacked into a dict of axes with ``**``.

    Raises
    ------
    SpecError
        As for :func:`draws`.

    Examples
    --------
    >>> sorted(int(10 * x) for x in latin_hypercube({"x": uniform(0, 1)}, 10)["x"])
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

    References
    ----------
    M. D. McKay et al., *A comparison of three methods for selecting values of input variables*,
    Technometrics 1979.
    """
    return _design("latin_hypercube", Latin, axes, n, seed, LATIN_MAX)


def sobol(axes: Mapping[str, Any], n: int, *, seed: int = 0) -> dict[str, Tied]:
    r"""Sobol' points: they fill the box evenly, best where ``n`` is a power of two.

    Every aligned block of :math:`2^k` trials has one draw in each :math:`2^{-k}` of every axis.
    The points are those of :class:`scipy.stats.qmc.Sobol`, unscrambled, plus a random digital
    shift an axis.

    Parameters
    ----------
    axes, n, seed
        As for :func:`draws`; ``n`` at most 2**30. The first look at a point takes time of order
        ``n`` (about a nanosecond each), later ones do not.

    Returns
    -------
    dict of str to Tied
        To be unpacked into a dict of axes with ``**``.

    Raises
    ------
    SpecError
        As for :func:`draws`.

    Examples
    --------
    >>> points = sobol({"x": uniform(0, 1), "y": uniform(0, 1)}, 8, seed=3)
    >>> sorted(int(8 * y) for y in points["y"])
    [0, 1, 2, 3, 4, 5, 6, 7]

    References
    ----------
    I. M. Sobol', USSR Comput. Math. Math. Phys. 1967; S. Joe and F. Y. Kuo, *Constructing Sobol
    sequences with better two-dimensional projections*, SIAM J. Sci. Comput. 2008.
    """
    return _design("sobol", Sobol, axes, n, seed, 2**SOBOL_BITS)
