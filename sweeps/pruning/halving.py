"""Successive halving, and Hyperband, which is several of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.common.names import check_choice
from sweeps.pruning.base import Pruner, Round, Rounds, smallest_losses
from sweeps.pruning.rungs import MAX_RESOURCES, ROUNDINGS, Rung, halving_rungs, hyperband_brackets
from sweeps.space.designs import random_order
from sweeps.space.distributions import as_integer


@dataclass(frozen=True)
class SuccessiveHalving(Pruner):
    """Train all trials a little, go on with the best one in ``factor``, and so on.

    The rungs are those of :func:`sweeps.halving_rungs`, for as many candidates as the space has
    trials. What is left after the last of them, one trial in ``factor``, is trained to its end.

    Parameters
    ----------
    min_resources : int or "exhaust"
        Epochs or steps, whichever the sweep is given in, of the first rung. ``"exhaust"`` takes so
        much that the last rung uses as much as possible of the full length.
    factor : int
        One trial in ``factor`` goes on.
    aggressive_elimination : bool
        Repeat the first rung until ``factor`` candidates are within reach of the last.

    Notes
    -----
    Trials are ranked by the sweep's ``metric``; those that diverged lose, equal ones are in the
    order of their numbers. Names and numbers are scikit-learn's (``HalvingGridSearchCV``), which
    fits the winner on all data where we train it to its end.

    Raises
    ------
    SpecError
        A number is not an integer in its range.

    Examples
    --------
    >>> rounds = SuccessiveHalving(factor=2).rounds(n_trials=4, max_resources=8)
    >>> next(rounds)
    Round(bracket=0, rung=0, trials=array([0, 1, 2, 3]), n_resources=2)
    >>> rounds.send(np.array([0.3, 0.1, np.inf, 0.2]))
    Round(bracket=0, rung=1, trials=array([1, 3]), n_resources=4)
    >>> rounds.send(np.array([0.1, 0.0]))
    Round(bracket=0, rung=2, trials=array([3]), n_resources=8)

    References
    ----------
    K. Jamieson and A. Talwalkar, *Non-stochastic best arm identification and hyperparameter
    optimization*, AISTATS 2016.
    """

    min_resources: int | str = "exhaust"
    factor: int = 3
    aggressive_elimination: bool = False

    def __post_init__(self) -> None:
        if self.min_resources != "exhaust":
            as_integer('min_resources, if not "exhaust",', self.min_resources, 1, MAX_RESOURCES)
        as_integer("factor", self.factor, 2, MAX_RESOURCES)

    def rounds(self, n_trials: int, max_resources: int) -> Rounds:
        """Begin to decide: see :meth:`Pruner.rounds`."""
        rungs = halving_rungs(
            n_trials,
            self.min_resources,
            max_resources,
            self.factor,
            aggressive_elimination=self.aggressive_elimination,
        )
        if rungs[-1].n_resources < max_resources:
            left = -(-rungs[-1].n_candidates // self.factor)
            rungs = (*rungs, Rung(left, max_resources))
        return bracket_rounds(0, np.arange(n_trials), rungs)


@dataclass(frozen=True)
class Hyperband(Pruner):
    """Hedge the choice of halving's first rung: several brackets, from many short to few long.

    The brackets are those of :func:`sweeps.hyperband_brackets` with the full length of a trial for
    R. All trials of the space are dealt out to them at random, in proportion to the paper's
    numbers: a space of as many trials as the table has (143 for R = 81) follows it exactly; for
    that, sweep ``space.sample(143)``.

    Parameters
    ----------
    min_resources : int
        The least that a trial may use before it is judged, in epochs or steps, whichever the sweep
        is given in.
    factor : int
        One trial in ``factor`` goes on.
    rounding : {"ceil", "floor"}
        The journal's or the first version's numbers: see :func:`sweeps.hyperband_brackets`.
    seed : int
        Decides which trials are in which bracket.

    Notes
    -----
    Ranks as in :class:`SuccessiveHalving`.

    Raises
    ------
    SpecError
        A number is not an integer in its range, or the rounding is unknown.

    Examples
    --------
    >>> rounds = Hyperband().rounds(n_trials=143, max_resources=81)
    >>> [len(next(rounds).trials), *(len(rounds.send(np.arange(n)).trials) for n in (81, 27, 9))]
    [81, 27, 9, 3]

    References
    ----------
    L. Li, K. Jamieson, G. DeSalvo, A. Rostamizadeh and A. Talwalkar, *Hyperband: a novel
    bandit-based approach to hyperparameter optimization*, JMLR 2018.
    """

    min_resources: int = 1
    factor: int = 3
    rounding: str = "ceil"
    seed: int = 0

    def __post_init__(self) -> None:
        as_integer("min_resources", self.min_resources, 1, MAX_RESOURCES)
        as_integer("factor", self.factor, 2, MAX_RESOURCES)
        as_integer("seed", self.seed, 0, 2**64 - 1)
        check_choice("rounding", self.rounding, ROUNDINGS)

    def rounds(self, n_trials: int, max_resources: int) -> Rounds:
        """Begin to decide: see :meth:`Pruner.rounds`."""
        brackets = hyperband_brackets(
            max_resources,
            self.factor,
            rounding=self.rounding,
            min_resource=self.min_resources,
            n_trials=n_trials,
        )
        return self._all_brackets(brackets, random_order(n_trials, n_trials, self.seed))

    def _all_brackets(self, brackets: Mapping[int, Sequence[Rung]], order: np.ndarray) -> Rounds:
        for s, rungs in brackets.items():
            mine, order = np.split(order, [rungs[0].n_candidates])
            yield from bracket_rounds(s, np.sort(mine), rungs)


def bracket_rounds(number: int, trials: np.ndarray, rungs: Sequence[Rung]) -> Rounds:
    """Yield the rounds of one bracket: each rung has the best trials of the one before."""
    kept = [*(rung.n_candidates for rung in rungs[1:]), 0]
    for i, rung in enumerate(rungs):
        losses = yield Round(number, i, trials, rung.n_resources)
        trials = trials[smallest_losses(losses, kept[i])]
        if not trials.size:
            return
