"""Which trials go on: successive halving, Hyperband, ASHA and median stopping.

A pruner asks for rounds - these trials, trained until each has used so much - and is told their
losses; from these alone it decides who is in the next round. It knows nothing of threads, time or
kernels, so a pruned sweep has one outcome. Imports common, space, engine and running.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps.pruning.asha import ASHA
from sweeps.pruning.base import Pruner, Round, Rounds, estimate_pruning, play_rounds
from sweeps.pruning.halving import Hyperband, SuccessiveHalving
from sweeps.pruning.median import MedianStopping

__all__ = [
    "ASHA", "PRUNERS", "Hyperband", "MedianStopping", "Pruner", "Round", "Rounds",
    "SuccessiveHalving", "as_pruner", "estimate_pruning", "play_rounds",
]  # fmt: skip

PRUNERS: dict[str, Callable[..., Pruner]] = {
    "successive_halving": SuccessiveHalving,
    "hyperband": Hyperband,
    "asha": ASHA,
    "median": MedianStopping,
}
"""Pruners by name, for specs and the command line."""


def as_pruner(given: Any) -> Pruner:
    """Return the pruner that a name, a dict or an object stands for.

    >>> as_pruner("asha"), as_pruner({"name": "hyperband", "factor": 4}).factor
    (ASHA(min_resources=1, factor=3, seed=0), 4)
    """
    if isinstance(given, Pruner):
        return given
    options = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = options.pop("name", None)
    if not isinstance(name, str) or name not in PRUNERS:
        raise SpecError(
            f"a pruner is an object of sweeps.pruning, or one of {', '.join(PRUNERS)}; "
            f"got {shortened(given)}{did_you_mean(name, PRUNERS) if isinstance(name, str) else ''}"
        )
    fields = list(PRUNERS[name].__dataclass_fields__)  # type: ignore[attr-defined]
    for option in options:
        if option not in fields:
            raise SpecError(
                f"pruner {shortened(name)} has no option "
                f"{shortened(option)}{did_you_mean(option, fields)}; "
                f"there are {', '.join(fields)}"
            )
    return PRUNERS[name](**options)
