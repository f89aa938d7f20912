"""Is a user's gradient that of the user's function? Finite differences say so, on first use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

# Central differences agree with a right gradient to about 1e-10; a wrong one is off by far more.
CLOSE, TINY = 1e-4, 1e-6
WIDTH = 1e-5
# Up to so many coordinates are looked at one by one, more in as many groups.
GROUPS = 64
# Where gradients are checked: the start, and points this far from it.
JITTERS = (0.0, 0.0703125, -0.1640625)


class Wrong(NamedTuple):
    """A component of a gradient that is not the slope of its function."""

    coordinate: int
    given: float
    found: float


def points_near(start: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the points at which a gradient is checked: ``start`` ``(n,)`` and two others.

    >>> [point.tolist() for point in points_near(np.zeros(1))]
    [[0.0], [0.0703125], [-0.1640625]]
    """
    for jitter in JITTERS:
        point = start.astype(float)
        point += jitter * (1.0 + 0.25 * np.sin(np.arange(start.size))) * (1.0 + np.abs(point))
        yield point


def wrong_component(
    value_and_grad: Callable[[np.ndarray], tuple[float, np.ndarray]], point: np.ndarray
) -> Wrong | None:
    r"""Return the first component of a gradient that finite differences contradict.

    The slope along a direction d is :math:`(f(x + hd) - f(x - hd)) / 2h` and should be
    :math:`g^T d`. Directions are coordinates, or groups of them that are halved where they are
    wrong until one coordinate is left. Nothing is said of a point where differences of several
    widths disagree (noise, float32, a kink near by), and at a kink every slope between those of
    its sides is right.

    ``value_and_grad``: ``value_and_grad(x) -> value, gradient`` with ``x`` and gradient ``(n,)`` of
    float64. ``point``: of shape (n,).

    >>> wrong_component(lambda x: (x[0] * x[1], np.array([x[1], 2.0 * x[0]])), np.array([1.0, 3.0]))
    Wrong(coordinate=1, given=2.0, found=1.0)
    """
    value, grad = value_and_grad(point)
    if not math.isfinite(value):
        return None
    groups = np.array_split(np.arange(point.size), min(point.size, GROUPS))
    located = (_locate(value_and_grad, point, grad, group) for group in groups)
    return next((wrong for wrong in located if wrong is not None), None)


def _locate(f: Callable, point: np.ndarray, grad: np.ndarray, group: np.ndarray) -> Wrong | None:
    """Return the first wrong component of a group."""
    direction = np.zeros_like(point)
    # Signs without a pattern, so that errors which add up to nothing are unlikely.
    direction[group] = np.where(np.sin(group * group + 1.0) > 0.0, 1.0, -1.0)
    direction[group] *= np.maximum(1.0, np.abs(point[group]))
    given = float(grad[group] @ direction[group])
    found = _contradiction(lambda h: float(f(point + h * direction)[0]), given)
    if found is None:
        return None
    if len(group) == 1:
        (j,) = group.tolist()
        # Of the differences nine digits are right.
        return Wrong(j, float(grad[j]), float(f"{found / direction[j]:.9g}"))
    halves = np.array_split(group, 2)
    located = (_locate(f, point, grad, half) for half in halves)
    return next((wrong for wrong in located if wrong is not None), None)


def _contradiction(f: Callable[[float], float], given: float) -> float | None:
    """Return the slope of ``f`` at 0 if ``given`` is surely another one."""
    above, below = f(WIDTH), f(-WIDTH)
    found = (above - below) / (2.0 * WIDTH)
    size = TINY * (1.0 + max(abs(above), abs(below)))

    def near(a: float, b: float) -> bool:
        return abs(a - b) <= CLOSE * max(abs(a), abs(b)) + size

    if not math.isfinite(found) or near(given, found):
        return None
    middle = f(0.0)
    for h in (0.25 * WIDTH, 4.0 * WIDTH):
        right, left = (f(h) - middle) / h, (middle - f(-h)) / h
        if not near(0.5 * (left + right), found):
            return None
        low, high = min(left, right), max(left, right)
        if low <= given <= high:
            return None
    return found
