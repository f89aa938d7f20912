"""ASHA, with the decisions of one worker."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.pruning.base import Pruner, Round, Rounds
from sweeps.pruning.rungs import MAX_RESOURCES
from sweeps.space.designs import random_order
from sweeps.space.distributions import as_integer


@dataclass(frozen=True)
class ASHA(Pruner):
    r"""Asynchronous successive halving with one worker: promote as soon as a trial qualifies.

    Rung :math:`k` lies at :math:`r \eta^k`, the last at the full length. A trial is promoted as
    soon as it is among the best :math:`\max(1, \lfloor m / \eta \rfloor)` of the :math:`m` trials
    that have come to its rung, at the latest after the last has; a promotion goes before a new
    trial. So it promotes all that :class:`SuccessiveHalving` would, and some that turn out later
    not to be among the best: it trains a little more, and errs less.

    Trials come in a random order. In that of a grid, which may go from bad to good, each would be
    the best so far and all would be promoted.

    Parameters
    ----------
    min_resources : int
        :math:`r`, in epochs or steps, whichever the sweep is given in. From the full length on
        there is one rung: nothing is pruned, and the sweep is that of the grid.
    factor : int
        :math:`\eta`.
    seed : int
        Decides the order of the trials.

    Notes
    -----
    Who comes to a rung, and in which order, depends on the rung below alone. So the decisions of
    one worker are replayed rung by rung while the trials of a rung run in parallel: the outcome
    depends on no thread and no clock. Taking the best of fewer than :math:`\eta` trials, too, is
    Optuna's change: otherwise a small sweep trains no trial to its end.

    Ranks as in :class:`SuccessiveHalving`, equal ones in the order in which they come.

    Raises
    ------
    SpecError
        A number is not an integer in its range.

    Examples
    --------
    >>> rounds = ASHA(min_resources=4, factor=2).rounds(n_trials=5, max_resources=8)
    >>> next(rounds)
    Round(bracket=0, rung=0, trials=array([2, 3, 1, 4, 0]), n_resources=4)
    >>> rounds.send(np.array([0.5, 0.6, 0.4, 0.3, 0.7]))
    Round(bracket=0, rung=1, trials=array([2, 1, 4]), n_resources=8)

    References
    ----------
    L. Li, K. Jamieson, A. Rostamizadeh, E. Gonina, J. Ben-tzur, M. Hardt, B. Recht and
    A. Talwalkar, *A system for massively parallel hyperparameter tuning*, MLSys 2020, algorithm 2.
    """

    min_resources: int = 1
    factor: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        as_integer("min_resources", self.min_resources, 1, MAX_RESOURCES)
        as_integer("factor", self.factor, 2, MAX_RESOURCES)
        as_integer("seed", self.seed, 0, 2**64 - 1)

    def rounds(self, n_trials: int, max_resources: int) -> Rounds:
        """Begin to decide: see :meth:`Pruner.rounds`."""
        return self._rungs(random_order(n_trials, n_trials, self.seed), max_resources)

    def _rungs(self, trials: np.ndarray, most: int) -> Rounds:
        resources = min(self.min_resources, most)
        for rung in itertools.count():
            losses = yield Round(0, rung, trials, resources)
            trials = trials[promotions(losses.tolist(), self.factor)]
            if resources == most or not trials.size:
                return
            resources = min(resources * self.factor, most)


def promotions(losses: Sequence[float], factor: int) -> list[int]:
    """Return which trials of a rung one worker of ASHA promotes, in that order.

    Parameters
    ----------
    losses : list of float
        In the order in which the trials came to the rung; infinite ones are never promoted.
    factor : int

    Returns
    -------
    list of int
        Positions in ``losses``.

    Examples
    --------
    >>> promotions([3.0, 1.0, 2.0, 0.5, 4.0, 5.0], factor=3)
    [0, 1, 3]
    """
    best: list[tuple[float, int]] = []  # negated, so that the worst of them comes first
    rest: list[tuple[float, int]] = []
    chosen: dict[int, None] = {}  # for its order
    for m, loss in enumerate(losses):
        if loss < math.inf:
            heapq.heappush(rest, (loss, m))
        # With each loss there is one more place, or one better trial: at most one is promoted.
        if len(best) >= max(1, (m + 1) // factor) and rest and rest[0] < _negate(best[0]):
            heapq.heappush(rest, _negate(heapq.heappop(best)))
        if len(best) < max(1, (m + 1) // factor) and rest:
            entered = heapq.heappop(rest)
            heapq.heappush(best, _negate(entered))
            chosen[entered[1]] = None
    return list(chosen)


def _negate(entry: tuple[float, int]) -> tuple[float, int]:
    return -entry[0], -entry[1]
