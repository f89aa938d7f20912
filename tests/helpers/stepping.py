"""One step of flat arrays by the path of the optimizers, in either twin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastopt.machine.many import single
from fastopt.rules import Rule


def step_arrays(
    rule: Rule,
    h: tuple[float, ...],
    clock: np.ndarray,
    g: np.ndarray,
    x: Sequence[np.ndarray],
    *,
    parallel: bool | None = None,
) -> None:
    """Advance ``clock`` and update ``x = (p, *slots)`` with the gradient ``g``, in place.

    The guard picks the twin, or ``parallel`` does.
    """
    launch = single(rule, np.array([h], np.float64), clock[None], g, x)
    if parallel is None:
        assert launch.run() is None
    else:
        assert launch._run(launch._order(parallel), len(launch.batches), launch._at) == -1
