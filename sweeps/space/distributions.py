"""Distributions, and axes of draws from them.

A distribution turns a fraction of [0, 1) into a value; a source turns (seed, dimension, position)
into a fraction. Neither keeps a state, so draw ``i`` of 2**40 is computed by itself and is the same
in every process.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.common.limits import MAX_LENGTH, is_finite
from sweeps.common.philox import uniforms
from sweeps.space.axes import as_axis, ends, kind_of, take
from sweeps.space.points import Computed

# Streams of sweeps.common.philox for spaces begin here; training uses the numbers below.
DRAWS = np.uint64(16)

MOST_SAMPLED = 2**12
"""Draws whose extremes are checked before a sweep starts; any of them may be the extreme one."""


class Distribution(ABC):
    """What a drawn axis may hold; made by :func:`uniform` and its relatives.

    It becomes an axis with a number of draws (``uniform(0, 1, 20)``) or inside a design such as
    :func:`sobol`.
    """

    @abstractmethod
    def values(self, u: np.ndarray) -> np.ndarray:
        """Return the value of every fraction in ``u`` ``(n,)``, each in ``[0, 1]``."""

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
        """Return the values of these fractions."""
        return np.clip(self.low * (1.0 - u) + self.high * u, self.low, self.high)

    def __repr__(self) -> str:
        return f"uniform({self.low!r}, {self.high!r})"


@dataclass(frozen=True)
class LogUniform(Distribution):
    """Evenly in the logarithm."""

    low: float
    high: float

    def values(self, u: np.ndarray) -> np.ndarray:
        """Return the values of these fractions."""
        low, high = math.log(self.low), math.log(self.high)
        logs = (low * (1.0 - u) + high * u).tolist()
        # libm's exp, not NumPy's, whose last bit depends on the SIMD width of the machine.
        return np.clip(np.fromiter(map(math.exp, logs), float, len(logs)), self.low, self.high)

    @property
    def ends(self) -> tuple[float, float]:
        """The two ends of the interval, to the last bit."""
        return self.low, self.high

    def __repr__(self) -> str:
        return f"loguniform({self.low!r}, {self.high!r})"


@dataclass(frozen=True)
class Choice(Distribution):
    """One of some values, all equally likely."""

    options: Sequence

    def values(self, u: np.ndarray) -> np.ndarray:
        """Return the values of these fractions."""
        k = len(self.options)
        return take(self.options, np.minimum((u * k).astype(np.int64), k - 1))

    @property
    def ends(self) -> tuple[Any, Any]:
        """Smallest and largest option."""
        return ends(self.options)

    def __repr__(self) -> str:
        if isinstance(self.options, range):
            return f"randint({self.options.start}, {self.options.stop})"
        listed = isinstance(self.options, tuple)
        return f"choice({list(self.options) if listed else self.options!r})"


class Source(Protocol):
    """Numbers in [0, 1), one dimension of a design, that a distribution turns into values."""

    def fractions(self, index: np.ndarray, n: int) -> np.ndarray:
        """Return the fractions at the positions ``index`` of ``n``."""


@dataclass(frozen=True)
class Independent:
    """Pseudo-random numbers: position ``i`` is counter ``i`` of Philox."""

    seed: int
    dimension: int = 0

    def fractions(self, index: np.ndarray, n: int) -> np.ndarray:
        """Return the fractions at these positions."""
        return fractions(self.seed, DRAWS, self.dimension, index)


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

    @property
    def support(self) -> Sequence:
        """The options of a choice; of numbers from an interval, the draws themselves."""
        return self.distribution.options if isinstance(self.distribution, Choice) else self

    def representatives(self) -> np.ndarray:
        """Positions of the extremes, or of every name, among the first draws."""
        first = self.at(np.arange(min(self.n, MOST_SAMPLED)))
        if kind_of(first.tolist()[0]) in ("integer", "real"):
            return np.unique([first.argmin(), first.argmax()])
        cells = first.tolist()
        return np.unique([cells.index(value) for value in dict.fromkeys(cells)])

    def __repr__(self) -> str:
        return f"{self.n} draws of {self.distribution!r}"


@overload
def uniform(low: float, high: float, n: None = None, *, seed: int = 0) -> Distribution: ...
@overload
def uniform(low: float, high: float, n: int, *, seed: int = 0) -> Draws: ...
def uniform(
    low: float, high: float, n: int | None = None, *, seed: int = 0
) -> Draws | Distribution:
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


@overload
def loguniform(low: float, high: float, n: None = None, *, seed: int = 0) -> Distribution: ...
@overload
def loguniform(low: float, high: float, n: int, *, seed: int = 0) -> Draws: ...
def loguniform(
    low: float, high: float, n: int | None = None, *, seed: int = 0
) -> Draws | Distribution:
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
            "loguniform(low, high): the ends must be positive values (not exponents); got "
            f"{shortened(low)}"
        )
    return _axis(LogUniform(low, high), n, seed)


@overload
def randint(low: int, high: int, n: None = None, *, seed: int = 0) -> Distribution: ...
@overload
def randint(low: int, high: int, n: int, *, seed: int = 0) -> Draws: ...
def randint(low: int, high: int, n: int | None = None, *, seed: int = 0) -> Draws | Distribution:
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
            raise SpecError(f"randint(low, high): {name} must be an integer; got {shortened(end)}")
    if not 0 < high - low <= 2**53:
        raise SpecError(
            f"randint(low, high): high must exceed low, by at most 2**53; got {shortened(low)} "
            f"and {shortened(high)}"
        )
    return _axis(Choice(range(int(low), int(high))), n, seed)


@overload
def choice(options: Any, n: None = None, *, seed: int = 0) -> Distribution: ...
@overload
def choice(options: Any, n: int, *, seed: int = 0) -> Draws: ...
def choice(options: Any, n: int | None = None, *, seed: int = 0) -> Draws | Distribution:
    """One of some values, drawn with equal chances.

    Parameters
    ----------
    options : list, tuple, range, 1-D array, linspace or geomspace
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
    return _axis(Choice(as_axis("choice(options)", options)), n, seed)


def fractions(seed: int, stream: np.uint64, dimension: int, index: np.ndarray) -> np.ndarray:
    """Return the uniforms ``(n,)`` of 53 bits at these counters of a stream.

    >>> fractions(0, DRAWS, 0, np.arange(3)).shape
    (3,)
    """
    counters = index.astype(np.uint64)
    return uniforms(np.uint64(seed), stream, np.uint64(dimension), counters)[0]


def as_integer(where: str, value: Any, least: int, most: int) -> int:
    """Check that ``value`` is an integer in this range; return it as an int.

    Raises
    ------
    SpecError
        It is not an integer in ``[least, most]``.

    Examples
    --------
    >>> as_integer("n", 2.5, 1, 9)
    Traceback (most recent call last):
    fastopt.errors.SpecError: n must be an integer from 1 to 9; got 2.5
    """
    if kind_of(value) != "integer" or not least <= value <= most:
        raise SpecError(
            f"{where} must be an integer from {least} to {most}; got {shortened(value)}"
        )
    return int(value)


def _axis(distribution: Distribution, n: int | None, seed: int) -> Draws | Distribution:
    seed = as_integer("seed", seed, 0, 2**64 - 1)
    if n is None:
        return distribution
    return Draws(
        distribution, Independent(seed), as_integer("n, the number of draws,", n, 1, MAX_LENGTH)
    )


def _interval(helper: str, low: Any, high: Any) -> tuple[float, float]:
    for name, end in (("low", low), ("high", high)):
        if kind_of(end) not in ("integer", "real") or not is_finite(end):
            raise SpecError(
                f"{helper}(low, high): {name} must be a finite number; got {shortened(end)}"
            )
    if low > high:
        raise SpecError(
            f"{helper}(low, high): low must not exceed high; got {shortened(low)} and "
            f"{shortened(high)}"
        )
    return float(low), float(high)
