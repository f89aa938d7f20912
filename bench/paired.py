"""Ratios that survive a drifting machine: all sides alternate, and medians are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def paired(
    sides: Mapping[str, Callable[[], object]], rounds: int = 15, least: float = 2e-3
) -> dict[str, float]:
    """Return the median seconds of one call of each side.

    Parameters
    ----------
    sides : dict of str to callable
        Called in turn, A B A B ...; each call should leave things ready for the next.
    rounds : int
        Turns that are counted, after one that is not.
    least : float
        Seconds a turn should last: short calls are repeated within a turn until they do, so that
        the clock and the switch between sides do not count.

    Examples
    --------
    >>> times = paired({"a": lambda: sum(range(10)), "b": lambda: sum(range(100))}, rounds=3)
    >>> list(times)
    ['a', 'b']
    """
    repeats = {}
    for name, call in sides.items():
        call()
        start = time.perf_counter()
        call()
        once = max(time.perf_counter() - start, 1e-7)
        repeats[name] = max(1, round(least / once))
    turns: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, call in sides.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            seconds = (time.perf_counter() - start) / repeats[name]
            if turn:
                turns[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in turns.items()}
