"""Median stopping, in waves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.pruning.base import Pruner, Round, Rounds
from sweeps.pruning.rungs import MAX_RESOURCES
from sweeps.space.designs import random_order
from sweeps.space.distributions import as_integer


@dataclass(frozen=True)
class MedianStopping(Pruner):
    """Stop a trial whose best result so far is worse than the median of earlier trials there.

    Trials come in waves, in a random order: first ``n_startup_trials``, then each time as many as
    all before, so that those of a wave run in parallel. At every check, a trial stops if the best
    it had at this check or one before is worse than the median of what the COMPLETE trials of
    earlier waves had at this check.

    Parameters
    ----------
    n_startup_trials : int
        Trials that run to their end, and COMPLETE trials needed to judge others.
    n_warmup_steps : int
        The first check, in epochs or steps, whichever the sweep is given in; 0 for
        ``interval_steps``.
    interval_steps : int
        From one check to the next. Each check costs about a millisecond a wave.
    seed : int
        Decides the order of the trials.

    Notes
    -----
    Names and rule are those of Optuna's ``MedianPruner``, which compares with whatever trials
    happen to be complete. ``bracket`` of a trial is the number of its wave.

    Raises
    ------
    SpecError
        A number is not an integer in its range.

    Examples
    --------
    >>> rounds = MedianStopping(n_startup_trials=2).rounds(n_trials=4, max_resources=2)
    >>> next(rounds)
    Round(bracket=0, rung=0, trials=array([2, 3]), n_resources=1)
    >>> rounds.send(np.array([0.3, 0.5])).n_resources
    2
    >>> rounds.send(np.array([0.1, 0.2]))
    Round(bracket=1, rung=0, trials=array([1, 0]), n_resources=1)
    >>> rounds.send(np.array([0.41, 0.39]))
    Round(bracket=1, rung=1, trials=array([0]), n_resources=2)

    References
    ----------
    D. Golovin, B. Solnik, S. Moitra, G. Kochanski, J. Karro and D. Sculley, *Google Vizier: a
    service for black-box optimization*, KDD 2017.
    """

    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        as_integer("n_startup_trials", self.n_startup_trials, 1, MAX_RESOURCES)
        as_integer("n_warmup_steps", self.n_warmup_steps, 0, MAX_RESOURCES)
        as_integer("interval_steps", self.interval_steps, 1, MAX_RESOURCES)
        as_integer("seed", self.seed, 0, 2**64 - 1)

    def rounds(self, n_trials: int, max_resources: int) -> Rounds:
        """Begin to decide: see :meth:`Pruner.rounds`."""
        first = self.n_warmup_steps or self.interval_steps
        stops = [*range(first, max_resources, self.interval_steps), max_resources]
        return self._waves(random_order(n_trials, n_trials, self.seed), stops)

    def _waves(self, order: np.ndarray, stops: Sequence[int]) -> Rounds:
        complete = [np.empty(0) for _ in stops]
        low, high = 0, self.n_startup_trials
        for number in itertools.count():
            yield from self._wave(number, order[low:high], stops, complete)
            if high >= len(order):
                return
            low, high = high, 2 * high

    def _wave(
        self, number: int, trials: np.ndarray, stops: Sequence[int], complete: list[np.ndarray]
    ) -> Rounds:
        """Run one wave; add what its COMPLETE trials had at each stop to ``complete``."""
        best, seen = np.full(len(trials), np.inf), np.empty((0, len(trials)))
        judged = len(complete[-1]) >= self.n_startup_trials
        for rung, stop in enumerate(stops):
            losses = yield Round(number, rung, trials, stop)
            best, seen = np.minimum(best, losses), np.vstack([seen, losses])
            keep = np.isfinite(losses)
            if judged and stop < stops[-1]:
                keep &= best <= np.median(complete[rung])
            trials, best, seen = trials[keep], best[keep], seen[:, keep]
            if not trials.size:
                return
        for rung, losses in enumerate(seen):
            complete[rung] = np.append(complete[rung], losses)
