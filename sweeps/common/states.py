"""How a trial can end."""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    """How a trial can end, as kernels, frames and stores write it; PENDING has not ended yet."""

    PENDING = -1
    COMPLETE = 0
    DIVERGED = 1
    PRUNED = 2
    FAILED = 3


STATES = tuple(state.name for state in State if state >= 0)
"""How a trial can end; the ``state`` column of a result holds positions in this tuple."""
