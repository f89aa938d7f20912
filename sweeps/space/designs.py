"""Designs: several axes drawn together, and random orders of trials.

Draw ``i`` is computed from its position, so a design of 2**40 trials has a length and costs
nothing, and it does not change when ``n`` grows (except a Latin hypercube, whose strata are
``1/n`` wide).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.common.limits import MAX_LENGTH
from sweeps.common.philox import philox
from sweeps.space.axes import Tied, as_axis
from sweeps.space.distributions import (
    Choice,
    Distribution,
    Draws,
    Independent,
    Source,
    as_integer,
    fractions,
)
from sweeps.space.points import Points

# Streams of sweeps.common.philox; 16 belongs to sweeps.space.distributions.
STRATA, LATIN, SHIFT, ORDER = (np.uint64(k) for k in range(17, 21))

LOW, HALF = np.uint64(2**32 - 1), np.uint64(32)
SOBOL_BITS = 30
LATIN_MAX = 2**24


@dataclass(frozen=True)
class Latin:
    """A Latin hypercube: one draw in each of ``n`` equal strata, in random order."""

    seed: int
    dimension: int

    def fractions(self, index: np.ndarray, n: int) -> np.ndarray:
        """Return the fractions at these positions."""
        stratum = _strata(n, self.seed, self.dimension)[index]
        return (stratum + fractions(self.seed, LATIN, self.dimension, index)) / n


@dataclass(frozen=True)
class Sobol:
    """A Sobol' sequence with a random digital shift, which keeps its nets."""

    seed: int
    dimension: int

    def fractions(self, index: np.ndarray, n: int) -> np.ndarray:
        """Return the fractions at these positions."""
        shift = fractions(self.seed, SHIFT, self.dimension, np.zeros(1, np.int64)) * 2**SOBOL_BITS
        points = np.full(index.shape, shift.astype(np.int64)[0])
        gray = index ^ (index >> 1)
        for k, direction in enumerate(_directions(self.dimension, max(n - 1, 1).bit_length())):
            points ^= (gray >> k & 1) * direction
        return points / 2**SOBOL_BITS


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
    >>> from sweeps import Space, loguniform
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
    >>> from sweeps import uniform
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
        ``n``, later ones do not.

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
    >>> from sweeps import uniform
    >>> points = sobol({"x": uniform(0, 1), "y": uniform(0, 1)}, 8, seed=3)
    >>> sorted(int(8 * y) for y in points["y"])
    [0, 1, 2, 3, 4, 5, 6, 7]

    References
    ----------
    I. M. Sobol', USSR Comput. Math. Math. Phys. 1967; S. Joe and F. Y. Kuo, *Constructing Sobol
    sequences with better two-dimensional projections*, SIAM J. Sci. Comput. 2008.
    """
    return _design("sobol", Sobol, axes, n, seed, 2**SOBOL_BITS)


def random_order(n: int, size: int, seed: int) -> np.ndarray:
    """Return the first ``n`` numbers of a random order of ``range(size)``.

    They are distinct, and take time and memory by ``n``, not ``size``; the order of a smaller ``n``
    is its beginning while ``size`` exceeds ``2 n``.

    >>> sorted(random_order(5, 5, seed=0).tolist())
    [0, 1, 2, 3, 4]
    """
    n = as_integer("the size of a sample", n, 0, size)
    seed = as_integer("seed", seed, 0, 2**64 - 1)
    if size <= max(2 * n, 2**16):
        return np.argsort(_random_words(seed, ORDER, 0, np.arange(size)), kind="stable")[:n]
    # Words past the last multiple of size are left out, or small numbers would be likelier.
    fair = np.uint64(2**64 // size * size - 1)
    drawn = np.empty(0, np.int64)
    first = 0
    while drawn.size < n:
        words = _random_words(seed, ORDER, 1, np.arange(first, first + n))
        first += n
        drawn = np.concatenate([drawn, (words[words <= fair] % np.uint64(size)).astype(np.int64)])
        _, earliest = np.unique(drawn, return_index=True)
        drawn = drawn[np.sort(earliest)]
    return drawn[:n]


def _random_words(seed: int, stream: np.uint64, dimension: int, index: np.ndarray) -> np.ndarray:
    """Random words of 64 bits at these counters of a stream."""
    counters, key = index.astype(np.uint64), np.uint64(seed)
    w0, w1, _, _ = philox(
        counters & LOW, counters >> HALF, np.uint64(dimension), stream, key & LOW, key >> HALF
    )
    return w0 << HALF | w1


@functools.lru_cache(maxsize=16)
def _strata(n: int, seed: int, dimension: int) -> np.ndarray:
    return np.argsort(_random_words(seed, STRATA, dimension, np.arange(n)), kind="stable")


@functools.lru_cache(maxsize=256)
def _directions(dimension: int, bits: int) -> tuple[int, ...]:
    """Direction numbers of one dimension, each the XOR of two neighbours of SciPy's sequence.

    Point ``i`` is the XOR of the numbers whose bits are set in the Gray code of ``i``; points
    ``2**k - 1`` and ``2**k`` differ in bit ``k`` alone.
    """
    from scipy.stats import qmc  # slow to import, and rarely needed

    engine = qmc.Sobol(dimension + 1, scramble=False, bits=SOBOL_BITS)
    found = []
    for k in range(bits):
        engine.reset()
        if k > 0:
            engine.fast_forward(2**k - 1)
        low, high = (engine.random(2)[:, dimension] * 2**SOBOL_BITS).astype(np.int64).tolist()
        found.append(low ^ high)
    return tuple(found)


def _design(
    helper: str,
    source: Callable[[int, int], Source],
    axes: Mapping[str, Any],
    n: int,
    seed: int,
    most: int,
) -> dict[str, Tied]:
    if not isinstance(axes, Mapping) or not axes:
        raise SpecError(
            f"{helper}(axes, n): axes must be a dict of one axis or more; got {shortened(axes)}"
        )
    n = as_integer(f"{helper}(axes, n): n", n, 1, most)
    seed = as_integer(f"{helper}(axes, n): seed", seed, 0, 2**64 - 1)
    columns = {name: _distribution(helper, name, given) for name, given in axes.items()}
    return {
        name: Tied(Draws(column, source(seed, k), n), tuple(columns))
        for k, (name, column) in enumerate(columns.items())
    }


def _distribution(helper: str, name: str, given: Any) -> Distribution:
    if isinstance(given, Distribution):
        return given
    options = as_axis(f"axis {shortened(name)}", given)
    if not isinstance(options, tuple | range | Points):
        raise SpecError(
            f"{helper}(axes, n): axis {shortened(name)} is {shortened(given)}; allowed are a "
            "list to choose from and "
            "distributions without n, such as uniform(low, high): the design says how many"
        )
    return Choice(options)
