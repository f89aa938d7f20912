"""What a number, a text and a name may be: 64 bits, finite, and text that a file can hold."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened, writable

MAX_LENGTH = 2**63 - 1
"""Trial numbers are int64."""


def is_finite(number: Any) -> bool:
    """Tell whether a float can hold a number, which for an integer is a question of its length.

    >>> is_finite(0.1), is_finite(10**400), is_finite(math.nan)
    (True, False, False)
    """
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def is_whole(number: Any, least: int, most: float) -> bool:
    """Tell whether something is a whole number from ``least`` to ``most``, a float of one too.

    >>> is_whole(3.0, 1, 5), is_whole(True, 1, 5), is_whole(math.nan, 1, 5), is_whole("3", 1, 5)
    (True, False, False, False)
    """
    # An axis of a union has gaps, so its whole numbers come as floats. NaN and infinity are out of
    # the range, so int() is not asked for them.
    is_number = isinstance(number, numbers.Real) and not isinstance(number, bool | np.bool_)
    return is_number and least <= number <= most and number == int(number)


def check_range(where: str, given: range) -> None:
    """Refuse a range whose numbers, or whose length, which Python cannot tell, exceed 64 bits."""
    check_int64(where, given[:1], given[-1:], [given.step])
    count = (given[-1] - given[0]) // given.step + 1 if given else 0
    if count > MAX_LENGTH:
        raise SpecError(f"{where} has {count:,} values; an axis has at most 2**63 - 1")


def check_int64(where: str, *runs: Sequence[int]) -> None:
    """Refuse an integer that 64 bits cannot hold.

    >>> check_int64("axis 'seed'", [1, 2**63])
    Traceback (most recent call last):
    fastopt.errors.SpecError: axis 'seed' holds 9223372036854775808; integers must fit in 64 bits
    """
    for item in itertools.chain(*runs):
        if not -(2**63) <= item < 2**63:
            raise SpecError(f"{where} holds {shortened(item)}; integers must fit in 64 bits")


def check_writable(where: str, text: str) -> None:
    r"""Refuse a text that no file can hold, since half of a surrogate pair is in it.

    >>> check_writable("axis 'name'", "caf\ud83d")
    Traceback (most recent call last):
    fastopt.errors.SpecError: axis 'name' holds 'caf\ud83d', which is no text that can be written...
    """
    if writable(text) != text:
        raise SpecError(
            f"{where} holds {shortened(text)}, which is no text that can be written to a file: it "
            "has half of a surrogate pair in it. Decode it with the encoding that it was written in"
        )


def check_name(name: Any, what: str = "an axis") -> None:
    """Refuse what can be no name of an axis, a metric, ..."""
    if not isinstance(name, str) or not name:
        raise SpecError(f"{what} is named by a non-empty string; got {shortened(name)}")
    check_writable(f"the name of {what}", name)


def spaced_ids(size: int, most: int) -> np.ndarray:
    """Return evenly spaced numbers of trials, at most so many, the first and the last included.

    >>> spaced_ids(5, 3), spaced_ids(2, 3), spaced_ids(2**63 - 1, 2).tolist()
    (array([0, 2, 4]), array([0, 1]), [0, 9223372036854775806])
    """
    even = np.linspace(0, size - 1, min(size, most))
    # Past 2**53 a float may lie beyond the last trial, and past 2**63 there is no integer.
    whole = np.minimum(even, np.nextafter(2.0**63, 0.0)).astype(np.int64)
    return np.unique(np.append(np.minimum(whole, size - 1)[:-1], size - 1)) if size else whole
