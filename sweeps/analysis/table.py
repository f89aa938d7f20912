"""The table of a sweep's finished trials, on which statistics, pictures and reports are built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.common.frames import as_python, pd
from sweeps.common.names import STEP_COUNTS, STEPS_TAKEN, check_choice
from sweeps.common.states import STATES, State
from sweeps.engine.plan import Plan
from sweeps.running.reasons import no_best
from sweeps.space.axes import common_kind, kind_of
from sweeps.space.categories import uncategorised
from sweeps.space.distributions import as_integer
from sweeps.space.space import Space

MOST_ROWS = 2**63 - 1

NO_CURVES = (
    "curves were not recorded, or not kept: sweep(..., curves=True) records them, and a store "
    "keeps them, but no file that save() writes"
)

NULLABLE: dict[str, Any] = {"integer": "Int64", "real": "Float64", "boolean": "boolean"}
"""Sort of value -> pandas dtype of a column with gaps."""


class Table:
    """Columns of finished trials, and how they rank: the data of a :class:`sweeps.SweepResult`.

    Parameters
    ----------
    columns, curves, metric, mode, info, space, plan, counts
        As for :class:`sweeps.SweepResult`.

    Raises
    ------
    SpecError
        The metric is not a column or the mode is unknown.

    Examples
    --------
    >>> columns = {"trial_id": np.arange(2), "lr": np.array([0.1, 1.0]),
    ...            "state": np.array([0, 0]), "loss": np.array([0.5, 0.2])}
    >>> Table(columns, None, "loss", "min", {}).best_params_
    {'lr': 1.0}
    """

    def __init__(
        self,
        columns: Mapping[str, np.ndarray],
        curves: Mapping[str, np.ndarray] | None,
        metric: str,
        mode: str,
        info: Mapping[str, Any],
        space: Space | None = None,
        plan: Plan | None = None,
        counts: Sequence[str] = STEP_COUNTS,
    ) -> None:
        names = list(columns)
        measured = [name for name in names[names.index("state") + 1 :] if name != "error"]
        check_choice("metric", metric, measured)
        if mode not in ("min", "max"):
            raise SpecError(f"mode must be 'min' or 'max'; got {shortened(mode)}")
        # A store's columns stay in their files: each is read when it is first used.
        self.columns = columns if hasattr(columns, "select") else dict(columns)
        self.metric, self.mode, self.info = metric, mode, dict(info)
        self.axes = tuple(names[1 : names.index("state")])
        self.metrics = tuple(measured)
        self.step_columns = tuple(name for name in counts if name in measured)
        self._curves = curves
        self.space = space
        self.plan = plan

    def __len__(self) -> int:
        height = getattr(self.columns, "height", None)
        return len(self.columns["trial_id"]) if height is None else height

    def to_frame(self) -> pd.DataFrame:
        """Return all finished trials as a DataFrame, one row a trial.

        Returns
        -------
        pandas.DataFrame
            ``trial_id`` int64; axes float64, int64, bool or Categorical (names), or their
            nullable twins where a union leaves gaps; ``state`` Categorical over :data:`STATES`;
            losses and accuracies as measured; ``steps_to_target`` and ``diverged_step`` nullable
            Int64; ``error`` str. The dtypes do not depend on how many trials finished.

        Examples
        --------
        >>> columns = {"trial_id": np.arange(2), "lr": np.array([0.1, 1.0]),
        ...            "state": np.array([0, 1]), "loss": np.array([0.5, np.nan])}
        >>> table = Table(columns, None, "loss", "min", {})
        >>> table.to_frame()
           trial_id   lr     state  loss
        0         0  0.1  COMPLETE   0.5
        1         1  1.0  DIVERGED   NaN
        """
        return self._frame(slice(None))

    def best(self, n: int = 1) -> pd.DataFrame:
        """Return the ``n`` best COMPLETE trials with a finite metric, best first.

        Equal trials are in the order of their numbers. They are single trials, with folds those of
        the easiest: the best settings are at the head of :meth:`sweeps.SweepResult.over_folds`.

        Examples
        --------
        >>> columns = {"trial_id": np.arange(2), "lr": np.array([0.1, 1.0]),
        ...            "state": np.array([0, 1]), "loss": np.array([0.5, np.nan])}
        >>> table = Table(columns, None, "loss", "min", {})
        >>> table.best(5)["lr"].tolist(), table.best_params_, table.best_score_, len(table)
        ([0.1], {'lr': 0.1}, 0.5, 2)
        """
        ranking = self._ranking(as_integer("best(n)", n, 0, MOST_ROWS))
        return self._frame(ranking).reset_index(drop=True)

    @property
    def best_params_(self) -> dict[str, Any]:
        """Axis values of the best trial, as plain Python values; absent axes are left out."""
        return self._params(self._winner())

    def _row_of(self, trial_id: int) -> int:
        return int(np.flatnonzero(np.asarray(self.columns["trial_id"]) == trial_id)[0])

    def _params(self, row: int) -> dict[str, Any]:
        cells = {name: as_python(self.columns[name][row]) for name in self.axes}
        return {k: uncategorised(c) for k, c in cells.items() if c is not None and c == c}

    @property
    def best_score_(self) -> float:
        """Metric of the best trial."""
        return float(self.columns[self.metric][self._winner()])

    @property
    def counts(self) -> dict[str, int]:
        """Number of finished trials by state."""
        counted = getattr(self.columns, "states", None)  # a store has counted them
        if counted is None:
            states = np.asarray(self.columns["state"], np.int64)
            counted = np.bincount(states, minlength=len(STATES))
        return dict(zip(STATES, counted.tolist()))

    def curves(self) -> pd.DataFrame:
        """Return the recorded training curves, one row a trial and point.

        Raises
        ------
        SpecError
            The sweep did not record curves.

        Examples
        --------
        >>> nan = np.nan
        >>> curves = {"trial_id": np.array([0, 4]), "step": np.array([[0, 9], [0, -1]]),
        ...           "loss": np.array([[2.0, 1.0], [2.0, nan]])}
        >>> columns = {"trial_id": np.array([0]), "state": np.array([0]), "loss": np.array([1.0])}
        >>> Table(columns, curves, "loss", "min", {}).curves()
           trial_id  step  loss
        0         0     0   2.0
        1         0     9   1.0
        2         4     0   2.0
        """
        if self._curves is None:
            raise SpecError(NO_CURVES)
        steps = np.asarray(self._curves["step"])
        kept = steps >= 0  # False for NaN, too
        rows = np.nonzero(kept)[0]
        points = {name: a[kept] for name, a in self._curves.items() if name != "trial_id"}
        points["step"] = points["step"].astype(np.int64)
        return pd.DataFrame({"trial_id": np.asarray(self._curves["trial_id"])[rows], **points})

    def frames(self, rows: int = 1 << 16) -> Iterator[pd.DataFrame]:
        """Yield :meth:`to_frame` in pieces of ``rows`` rows; of a store, one piece is in memory.

        Examples
        --------
        >>> columns = {"trial_id": np.arange(5), "state": np.zeros(5, int), "loss": np.ones(5)}
        >>> [len(piece) for piece in Table(columns, None, "loss", "min", {}).frames(2)]
        [2, 2, 1]
        """
        as_integer("frames(rows)", rows, 1, MOST_ROWS)
        cuts = [slice(low, low + rows) for low in range(0, max(len(self), 1), rows)]
        if hasattr(self.columns, "select"):
            yield from (self._frame(cut) for cut in cuts)
        else:
            whole = self.to_frame()
            yield from (whole.iloc[cut] for cut in cuts)

    def counting(self, metric: str) -> np.ndarray:
        """Tell which trials are COMPLETE and have a finite value of ``metric``: bool ``(n,)``.

        Examples
        --------
        >>> columns = {"trial_id": np.arange(2), "lr": np.array([0.1, 1.0]),
        ...            "state": np.array([0, 1]), "loss": np.array([0.5, np.nan])}
        >>> table = Table(columns, None, "loss", "min", {})
        >>> table.counting("loss"), table.counts["DIVERGED"]
        (array([ True, False]), 1)
        """
        score = np.asarray(self.columns[metric], np.float64)
        fit = np.isfinite(score) & (np.asarray(self.columns["state"]) == State.COMPLETE)
        return fit & (score >= 0) if metric in self.step_columns else fit

    def _ranking(self, n: int | None = None) -> np.ndarray:
        """Rows of the trials that can be compared, best first; the ``n`` best, or all."""
        rows = np.flatnonzero(self.counting(self.metric))
        score = np.asarray(self.columns[self.metric], np.float64)[rows]
        score = score if self.mode == "min" else -score
        if n is not None and 0 < n < len(rows):
            # Sorting 10^7 trials takes seconds; only few of them can be among the best n.
            few = score <= np.partition(score, n - 1)[n - 1]
            rows, score = rows[few], score[few]
        ids = np.asarray(self.columns["trial_id"])[rows]
        return rows[np.lexsort((ids, score))][:n]

    def _winner(self) -> int:
        ranking = self._ranking(1)
        if ranking.size == 0:
            raise SpecError(no_best(self.columns, self.metric, self.counts))
        return int(ranking[0])

    def _frame(self, rows: Any) -> pd.DataFrame:
        if hasattr(self.columns, "select"):
            cells = self.columns.select(rows)
        else:
            cells = {name: np.asarray(column)[rows] for name, column in self.columns.items()}
        return pd.DataFrame({name: self._typed(name, a) for name, a in cells.items()})

    def _typed(self, name: str, cells: np.ndarray) -> Any:
        """Give a column the pandas dtype that fits all trials of the sweep, not just these."""
        if name == "state":
            return pd.Categorical.from_codes(
                cells.astype(np.int8), categories=pd.Index(STATES, dtype=object)
            )
        if name in STEPS_TAKEN and name in self.step_columns:
            return cells.astype(np.int64) if np.isfinite(cells).all() else cells
        if name in self.step_columns:
            never = ~(cells >= 0)  # True for NaN, too
            return pd.arrays.IntegerArray(np.where(never, 0, cells).astype(np.int64), never)
        if name == "error":
            return pd.array(cells, dtype="str")
        if cells.dtype != object:
            return cells
        kind, distinct = self._sort_of(name, cells)
        if kind != "name":
            return pd.array(cells, dtype=NULLABLE[kind])
        labels = list(dict.fromkeys(str(value) for value in distinct))
        codes = {value: labels.index(str(value)) for value in distinct}
        # One look-up for each distinct value, not each cell: 0.02 s instead of 0.5 for 10^6 trials.
        places, present = pd.factorize(cells)
        code_of = np.array([*(codes.get(value, -1) for value in present), -1], np.int32)
        return pd.Categorical.from_codes(code_of[places], categories=pd.Index(labels, dtype=object))

    def _sort_of(self, name: str, cells: np.ndarray) -> tuple[str, list[Any]]:
        """Return the sort of an object column's values and, if they are names, which there are."""
        if self.space is not None and name in self.space.names:
            kind = self.space.kinds[name]
            return kind, list(self.space.values_of(name)) if kind == "name" else []
        distinct = [value for value in dict.fromkeys(cells) if value is not None]
        kinds = {str(kind_of(value)) for value in distinct} or {"name"}
        return common_kind(f"column {shortened(name)}", kinds), distinct
