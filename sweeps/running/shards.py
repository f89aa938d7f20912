"""A sweep in shards: jobs that share a folder and nothing else."""

from __future__ import annotations

import re
from typing import Any

from fastopt.errors import SpecError, shortened

WHOLE_SWEEP = (0, 1)
"""The only shard of one: all chunks."""


def parse_shard(shard: Any, store: Any) -> tuple[int, int]:
    """Return ``(i, n)``: this job runs chunks ``i``, ``i + n``, ``i + 2 n``, ...

    ``shard``: ``"i/n"`` or ``(i, n)`` with ``0 <= i < n``; None is everything.

    >>> parse_shard("2/8", "runs/digits"), parse_shard(None, None)
    ((2, 8), (0, 1))
    >>> parse_shard((8, 8), "runs/digits")
    Traceback (most recent call last):
    fastopt.errors.SpecError: shard must be i/n with 0 <= i < n, as in 0/8 to 7/8; got (8, 8)
    """
    if shard is None:
        return WHOLE_SWEEP
    pair = re.fullmatch(r"(\d+)/(\d+)", shard) if isinstance(shard, str) else None
    i, n = map(int, pair.groups()) if pair else _pair(shard)
    if not 0 <= i < n:
        raise SpecError(
            f"shard must be i/n with 0 <= i < n, as in 0/8 to 7/8; got {shortened(shard)}"
        )
    if store is None:
        raise SpecError("shards meet in a folder: give store=... (--store), the same for all")
    return i, n


def _pair(shard: Any) -> tuple[int, int]:
    whole = isinstance(shard, tuple | list) and len(shard) == 2
    if whole and all(isinstance(k, int) and not isinstance(k, bool) for k in shard):
        return shard[0], shard[1]
    return -1, 0
