"""The interface of pruners: pure functions of losses that say which trials are trained how far."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np

from sweeps.common.states import State

MOST_TRIALS = 1 << 27
"""Trials that may be compared: they are kept in memory."""


class Round(NamedTuple):
    """Trials to train until each has used ``n_resources``, or has ended.

    ``trials`` ``(k,)`` are in the order in which they came to this rung.
    """

    bracket: int
    rung: int
    trials: np.ndarray
    n_resources: int


Rounds = Generator[Round, np.ndarray, None]
"""Yields a round, and is sent the losses of its trials ``(k,)`` float64.

The smaller the better; infinity stands for DIVERGED and for a metric that is not finite.
"""


class Pruner(ABC):
    """Decides which trials of a sweep go on."""

    @abstractmethod
    def rounds(self, n_trials: int, max_resources: int) -> Rounds:
        """Begin to decide about trials ``0 .. n_trials - 1``.

        Parameters
        ----------
        n_trials : int
        max_resources : int
            The full length of a trial: epochs or steps, whichever the sweep counts in.

        Returns
        -------
        generator
            See :data:`Rounds`.

        Raises
        ------
        SpecError
            The pruner's arguments do not fit these numbers.
        """


def next_round(rounds: Rounds, losses: np.ndarray | None) -> Round | None:
    """Return the round that follows on these losses, or the first on None; None at the end."""
    try:
        return rounds.send(losses)  # type: ignore[arg-type]
    except StopIteration:
        return None


def losses_of(state: np.ndarray, metric: np.ndarray, mode: str) -> np.ndarray:
    """Return what a pruner is told of trials: see :data:`Rounds`."""
    lost = (state == State.DIVERGED) | ~np.isfinite(metric)
    return np.where(lost, np.inf, -metric if mode == "max" else metric)


def play_rounds(rounds: Rounds, train: Callable[[Round], np.ndarray | None]) -> bool:
    """Play all rounds; return False if it was stopped.

    ``train``: ``train(round) -> losses`` of its trials, or None to stop.
    """
    losses = None
    while (round_ := next_round(rounds, losses)) is not None:
        losses = train(round_)
        if losses is None:
            return False
    return True


def smallest_losses(losses: np.ndarray, n: int) -> np.ndarray:
    """Return the positions of the ``n`` smallest finite losses, in increasing order.

    >>> smallest_losses(np.array([0.2, np.inf, 0.1, 0.2, 0.3]), 2)
    array([0, 2])
    """
    order = np.argsort(losses, kind="stable")
    return np.sort(order[np.isfinite(losses[order])][:n])


class PruningEstimate(NamedTuple):
    """Of pruning random losses: the share of all steps, and the most trials paused at a time."""

    share: float
    paused: int


def estimate_pruning(pruner: Pruner, n_trials: int, max_resources: int) -> PruningEstimate:
    """Estimate the steps and the memory of a pruned sweep, by pruning random losses.

    >>> from sweeps.pruning import SuccessiveHalving
    >>> share, paused = estimate_pruning(SuccessiveHalving(1), n_trials=81, max_resources=81)
    >>> round(share, 3), paused
    (0.045, 81)
    """
    losses, used = np.random.default_rng(0).random(n_trials), np.zeros(n_trials, np.int64)
    paused = [0]

    def train(round_: Round) -> np.ndarray:
        used[round_.trials] = round_.n_resources
        if round_.n_resources < max_resources:
            paused.append(len(round_.trials))
        return losses[round_.trials]

    play_rounds(pruner.rounds(n_trials, max_resources), train)
    return PruningEstimate(float(used.mean() / max_resources), max(paused))
