"""What a pruned sweep returns, and what it cost to prune: regret against the full grid."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from fastopt.errors import SpecError
from sweeps.common.frames import pd
from sweeps.common.names import RUNG_COLUMNS, steps_taken
from sweeps.common.states import State
from sweeps.pruning import Round
from sweeps.pruning.rungs import Rung
from sweeps.results import SweepResult
from sweeps.tracing.trace import history


class PrunedResult(SweepResult):
    """The trials of a sweep with a pruner.

    ``state`` is PRUNED where a trial was stopped; its metrics are those of its last step, ``steps``
    says which. Two more columns tell how far it came: ``bracket`` (0 if there is only one) and
    ``rung``. Figures of COMPLETE trials are those of the sweep without a pruner, bit for bit.

    Parameters
    ----------
    result : SweepResult
        The last row of each trial.
    places : ndarray of int64, shape (n, 2)
        Bracket and rung of each row.
    played : list of (Round, ndarray)
        Every round, with the metric of each of its trials then.

    Examples
    --------
    >>> from sweeps import SuccessiveHalving, problems, sweep
    >>> result = sweep(
    ...     problems.ellipse(), {"lr": [0.001, 0.01, 0.05, 0.1]}, optimizer="sgd", steps=40,
    ...     pruner=SuccessiveHalving(factor=2))
    >>> result.n_candidates_, result.n_resources_
    ([4, 2, 1], [10, 20, 40])
    >>> result.to_frame()[["lr", "state", "steps", "rung"]]
          lr     state  steps  rung
    0  0.001    PRUNED     10     0
    1  0.010    PRUNED     10     0
    2  0.050    PRUNED     20     1
    3  0.100  COMPLETE     40     2
    """

    def __init__(
        self, result: SweepResult, places: np.ndarray, played: Sequence[tuple[Round, np.ndarray]]
    ) -> None:
        columns = {**result.columns, **dict(zip(RUNG_COLUMNS, places.T))}
        known = result.space, result.plan, result.step_columns
        super().__init__(columns, result._curves, result.metric, result.mode, result.info, *known)
        self.metrics = result.metrics  # where a trial came to is not what it measured
        self._played = list(played)

    def rungs(self) -> pd.DataFrame:
        """Return every round, one row a trial and rung.

        Returns
        -------
        pandas.DataFrame
            ``trial_id``, ``bracket``, ``rung``, ``n_resources`` (epochs or steps that a trial might
            use by then), the metric then, and ``promoted``: whether the trial was in the next rung.
        """
        tables = []
        following = [*self._played[1:], None]
        for (round_, values), after in zip(self._played, following):
            promoted = np.zeros(len(round_.trials), bool)
            if after is not None and after[0].bracket == round_.bracket:
                promoted = np.isin(round_.trials, after[0].trials)
            columns = {
                "trial_id": round_.trials,
                "bracket": np.full(len(promoted), round_.bracket),
                "rung": np.full(len(promoted), round_.rung),
                "n_resources": np.full(len(promoted), round_.n_resources),
                self.metric: values,
                "promoted": promoted,
            }
            tables.append(pd.DataFrame(columns).sort_values("trial_id"))
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    @property
    def brackets_(self) -> dict[int, tuple[Rung, ...]]:
        """Every bracket's rungs as they were played: ``(n_candidates, n_resources)`` each."""
        rounds = [round_ for round_, _ in self._played]
        return {
            bracket: tuple(Rung(len(round_.trials), round_.n_resources) for round_ in group)
            for bracket, group in itertools.groupby(rounds, lambda round_: round_.bracket)
        }

    @property
    def n_candidates_(self) -> list[int] | dict[int, list[int]]:
        """Trials of each rung; of several brackets, a dict of such lists."""
        return self._by_rung(0)

    @property
    def n_resources_(self) -> list[int] | dict[int, list[int]]:
        """Epochs or steps that a trial of each rung may use; of several brackets, a dict."""
        return self._by_rung(1)

    @property
    def n_iterations_(self) -> int:
        """Number of rounds that were played, of all brackets."""
        return len(self._played)

    @property
    def share_of_steps_(self) -> float:
        """Training steps taken, over those of the same trials at their full length."""
        return _total_steps(self) / max(self.info["n_steps_full"], 1)

    def regret(self, full: SweepResult) -> Regret:
        """Return what pruning lost: see :func:`sweeps.regret`."""
        return regret(self, full)

    def replay(self, trial_id: int, *, vectors: bool = False) -> pd.DataFrame:
        """Run one trial again, alone, and return every internal at every step.

        As :meth:`SweepResult.replay`; of a PRUNED trial, as far as it came.
        """
        row = np.flatnonzero(self.columns["trial_id"] == trial_id)
        if row.size != 1 or self.columns["state"][row[0]] != State.PRUNED or self.plan is None:
            return super().replay(trial_id, vectors=vectors)
        frame = history(self.plan, trial_id, vectors)
        return frame[frame["step"] <= self.columns[steps_taken(self.columns)][row[0]]]

    def extend(
        self, axes: Mapping[str, Any], *, n_jobs: int = -1, progress: bool = True
    ) -> NoReturn:
        """Refuse: trials that are added would have been compared with those that are pruned.

        Raises
        ------
        SpecError
            Always.
        """
        raise SpecError(
            "extend: a pruned sweep does not grow, because new trials would change which of the "
            "old ones go on; sweep the larger space with the same pruner"
        )

    def zoom(
        self, axis: str | None = None, factor: int = 4, *, n_jobs: int = -1, progress: bool = True
    ) -> NoReturn:
        """Refuse, as :meth:`extend` does.

        Raises
        ------
        SpecError
            Always.
        """
        self.extend({} if axis is None else {axis: []}, n_jobs=n_jobs, progress=progress)

    def __repr__(self) -> str:
        share = f"{self.share_of_steps_:.3g} of the steps of full-length trials"
        return f"{super().__repr__()}\n  {self.info['pruner']}: {share}"

    def _by_rung(self, field: int) -> list[int] | dict[int, list[int]]:
        found = {s: [rung[field] for rung in rungs] for s, rungs in self.brackets_.items()}
        return found if len(found) > 1 else next(iter(found.values()), [])


@dataclass(frozen=True)
class Regret:
    """What pruning lost and saved, measured against the full grid.

    Parameters
    ----------
    metric : str
    best, chosen : float
        Metric of the full grid's best trial, and of the one that pruning chose, at its full length.
    regret : float
        How much worse the chosen one is; at least 0.
    rank : int
        Its place in the full grid, 1 for the best.
    n_trials : int
        COMPLETE trials of the full grid.
    share : float
        Steps that the pruned sweep took, over those of the full one.

    Examples
    --------
    >>> from sweeps import SuccessiveHalving, problems, regret, sweep
    >>> space, settings = {"lr": [0.01, 0.03, 0.1]}, {"optimizer": "sgd", "steps": 30}
    >>> full = sweep(problems.ellipse(), space, progress=False, **settings)
    >>> pruner = SuccessiveHalving(min_resources=10)
    >>> pruned = sweep(problems.ellipse(), space, progress=False, pruner=pruner, **settings)
    >>> regret(pruned, full).rank
    1
    """

    metric: str
    best: float
    chosen: float
    regret: float
    rank: int
    n_trials: int
    share: float

    def __str__(self) -> str:
        return (
            f"regret {self.regret:.4g}: {self.metric} {self.chosen:.6g} is number {self.rank} of "
            f"{self.n_trials}, whose best is {self.best:.6g}; {self.share:.1%} of the steps"
        )


def regret(pruned: SweepResult, full: SweepResult) -> Regret:
    """Compare the trial that a pruned sweep chose with the best one of the whole grid.

    Parameters
    ----------
    pruned : SweepResult
        From ``sweep(..., pruner=...)``.
    full : SweepResult
        From the same call without a pruner.

    Returns
    -------
    Regret
        It prints as one line.

    Raises
    ------
    SpecError
        The two are not of the same space and metric, or one of them has no best trial.

    Examples
    --------
    >>> from sweeps import problems, regret, sweep
    >>> grid = {"lr": [0.001, 0.01, 0.05, 0.1]}, {"optimizer": "sgd", "steps": 40}
    >>> full = sweep(problems.ellipse(), grid[0], **grid[1])
    >>> pruned = sweep(problems.ellipse(), grid[0], **grid[1], pruner="successive_halving")
    >>> print(regret(pruned, full))
    regret 0: train_loss 0.0109237 is number 1 of 4, whose best is 0.0109237; 65.6% of the steps
    """
    if (pruned.metric, pruned.mode) != (full.metric, full.mode):
        raise SpecError(
            f"regret: {pruned.metric} ({pruned.mode}) and {full.metric} ({full.mode}) differ"
        )
    winner = pruned._winner()
    i = int(pruned.columns["trial_id"][winner])
    ranking = full._ranking()
    ranked = np.asarray(full.columns["trial_id"])[ranking]
    place = np.flatnonzero(ranked == i)
    if not place.size or not _are_same_trial(pruned, winner, full, int(ranking[place[0]])):
        raise SpecError(
            f"regret: trial {i}, which the pruned sweep chose, is not a COMPLETE trial of the full "
            "one with the same values: sweep the same space without the pruner"
        )
    best, chosen = (float(full.columns[full.metric][ranking[k]]) for k in (0, place[0]))
    steps = [_total_steps(result) for result in (pruned, full)]
    return Regret(
        metric=full.metric,
        best=best,
        chosen=chosen,
        regret=abs(chosen - best),
        rank=int(place[0]) + 1,
        n_trials=len(ranking),
        share=steps[0] / max(steps[1], 1.0),
    )


def _total_steps(result: SweepResult) -> float:
    """Return how many steps all trials took."""
    return float(result.columns[steps_taken(result.columns)].sum())


def _are_same_trial(a: SweepResult, i: int, b: SweepResult, j: int) -> bool:
    cells = [(a.columns[name][i], b.columns[name][j]) for name in a.axes if name in b.axes]
    # Where a part of a union has no such axis, both are NaN.
    return a.axes == b.axes and all(x == y or (x != x and y != y) for x, y in cells)
