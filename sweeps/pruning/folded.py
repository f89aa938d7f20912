"""With folds a pruner decides about settings, each by its mean over all of its folds."""

from __future__ import annotations

import numpy as np

from fastopt.errors import SpecError
from sweeps.common.frames import configurations, pd
from sweeps.pruning.base import Pruner, Rounds, next_round
from sweeps.space.space import Space


class OverFolds(Pruner):
    """Has another pruner decide about settings, whose trials, one a fold, go on or stop together.

    ``settings`` (settings, folds): numbers of their trials.
    """

    def __init__(self, pruner: Pruner, settings: np.ndarray) -> None:
        self.pruner, self.settings = pruner, settings

    def rounds(self, n_trials: int, max_resources: int) -> Rounds:
        """Begin to decide: see :meth:`Pruner.rounds`."""
        rounds, losses = self.pruner.rounds(len(self.settings), max_resources), None
        while (round_ := next_round(rounds, losses)) is not None:
            trials = self.settings[round_.trials]
            told = yield round_._replace(trials=trials.ravel())
            losses = told.reshape(trials.shape).mean(axis=1)


def over_folds(pruner: Pruner, space: Space) -> Pruner:
    """Return a pruner of the trials of a space that does not compare those of different folds.

    One fold is easier than another, so the best trials of all are those of the easiest fold. Raises
    SpecError if a setting lacks a fold that another one has.

    >>> from sweeps.pruning import SuccessiveHalving
    >>> space = Space({"lr": [0.1, 0.2, 0.3], "fold": [0, 1]})
    >>> rounds = over_folds(SuccessiveHalving(1), space).rounds(n_trials=6, max_resources=3)
    >>> next(rounds).trials, rounds.send(np.array([1.0, 9.0, 2.0, 3.0, 4.0, 2.0])).trials
    (array([0, 1, 2, 3, 4, 5]), array([2, 3]))
    """
    if "fold" not in space.names or not space.size:
        return pruner
    columns = space.columns(np.arange(space.size))
    others = configurations(columns, [name for name in space.names if name != "fold"])
    folds = configurations(columns, ["fold"])
    # Of an axis that lists a value twice, each copy is a setting.
    copies = pd.Series(folds).groupby([others, folds]).cumcount().to_numpy()
    codes = configurations({"others": others, "copy": copies}, ["others", "copy"])
    order, n = np.lexsort((folds, codes)), int(folds.max()) + 1
    counts = np.bincount(codes)
    if (short := np.flatnonzero(counts != n)).size:
        trial = int(np.flatnonzero(codes == short[0])[0])
        raise SpecError(
            f"a pruner compares settings by their means over folds, of which there are {n}, and "
            f"that of trial {trial}, {space[trial]}, has {counts[short[0]]}: give each setting all "
            'folds, once, such as {"lr": loguniform(1e-4, 1, 50), "fold": range(5)}'
        )
    return OverFolds(pruner, order.reshape(-1, n))
