"""Seeds of trials that are to be independent: mixed with what the trial is, not with its number.

So a trial has the same seed alone, in any subset and in any larger grid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

# The constants of splitmix64: G. L. Steele, D. Lea and C. H. Flood, *Fast splittable pseudorandom
# number generators*, OOPSLA 2014.
GAMMA, FIRST, SECOND = (
    np.array(c, np.uint64) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def splitmix64(z: np.ndarray) -> np.ndarray:
    """Return the next output of splitmix64 for every state (uint64).

    The first output for the seed 1234567, as published with the algorithm:

    >>> splitmix64(np.array([1234567], np.uint64))
    array([6457827717110365317], dtype=uint64)
    """
    z = z + GAMMA
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    return z ^ (z >> np.uint64(31))


def hashed(name: str) -> int:
    """Return 64 bits of a name, the same in every process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def mixed_seeds(names: Sequence[str], tables: Sequence[np.ndarray]) -> np.ndarray:
    """Return a seed for each trial, of all that it is.

    ``names`` (n,): what tells trials apart beside numbers, such as the optimizer and the layers.
    ``tables`` (n, k): its numbers, the user's seed among them. Seeds lie in [0, 2**63).

    >>> seeds = mixed_seeds(["sgd", "sgd", "adam"], [np.array([[0.1], [0.2], [0.1]])])
    >>> len(set(seeds.tolist()))
    3
    >>> bool((mixed_seeds(["adam"], [np.array([[0.1]])]) == seeds[2:]).all())
    True
    """
    known = {name: hashed(name) for name in dict.fromkeys(names)}
    state = splitmix64(np.array([known[name] for name in names], np.uint64))
    for table in tables:
        for column in np.asarray(table).T:
            # Zero has two signs and is one value.
            bits = np.ascontiguousarray(column + 0.0, np.float64).view(np.uint64)
            if column.dtype.kind == "i":  # past 2**53 neighbours, as seeds are, share a float
                bits = np.where(np.abs(column) < 2**53, bits, column.view(np.uint64) * SECOND)
            state = splitmix64(state ^ bits)
    return (state >> np.uint64(1)).astype(np.int64)
