"""Axes whose values are computed one at a time, or many at once: evenly spaced points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_EXACT = 2**53
"""Integers below this are floats as well."""


class Computed(Sequence):
    """An axis whose values are computed one at a time, so that its length costs nothing.

    Subclasses say how: :class:`Points` and :class:`sweeps.space.designs.Draws`.
    """

    def at(self, digits: np.ndarray) -> np.ndarray:
        """Return the values at these positions ``(n,)``."""
        return np.fromiter((self[k] for k in digits.tolist()), object, digits.size)

    @property
    def ends(self) -> tuple[Any, Any]:
        """Bounds of the values, in any order."""
        return self[0], self[-1]

    @property
    def support(self) -> Sequence:
        """The values that the axis can take."""
        return self

    def representatives(self) -> np.ndarray:
        """Positions ``(k,)`` whose values represent all of them when a range is checked."""
        return np.unique([0, len(self) - 1])


@dataclass(frozen=True)
class Points(Computed):
    """Evenly spaced points, computed one at a time; made by :func:`linspace`, :func:`geomspace`."""

    low: float
    high: float
    n: int
    log: bool = False

    def __len__(self) -> int:
        return self.n

    @property
    def _exponents(self) -> tuple[float, float]:
        return math.log10(self.low), math.log10(self.high)

    def __getitem__(self, i: Any) -> Any:
        """Return point ``i``; the first and the last are the ends to the last bit."""
        i = range(self.n)[i]
        if isinstance(i, range):
            return tuple(self[k] for k in i)
        if i in (0, self.n - 1):
            return self.high if i else self.low
        last = self.n - 1
        if not self.log:
            t = i / last
            return self.low * (1.0 - t) + self.high * t
        # libm's pow, not NumPy's, whose last bit depends on the SIMD width of the machine. Divided
        # last, so that powers of ten are those that people write: 0.001, not 0.000999999999999999.
        return math.pow(10.0, (self._exponents[0] * (last - i) + self._exponents[1] * i) / last)

    def at(self, digits: np.ndarray) -> np.ndarray:
        """Return the points at these positions ``(n,)``, with the bits of :meth:`__getitem__`."""
        last = self.n - 1
        if last >= MOST_EXACT:  # floats no longer hold every position
            return np.array([self[k] for k in digits.tolist()], np.float64)
        if self.log:
            low, high = self._exponents
            exponents = (low * (last - digits) + high * digits) / max(last, 1)
            powers = map(math.pow, itertools.repeat(10.0), exponents.tolist())
            points = np.fromiter(powers, np.float64, digits.size)
        else:
            t = digits / max(last, 1)
            points = self.low * (1.0 - t) + self.high * t
        return np.where(digits == 0, self.low, np.where(digits == last, self.high, points))

    def __repr__(self) -> str:
        return f"{'geomspace' if self.log else 'linspace'}({self.low!r}, {self.high!r}, {self.n})"
