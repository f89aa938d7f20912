"""What a sweep returns: columns of finished trials, as tidy pandas DataFrames."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps import extend as refine
from sweeps import plots, report
from sweeps.analysis import comparison as pairs
from sweeps.analysis import files, stats
from sweeps.analysis import importance as anova
from sweeps.analysis.export import SUFFIXES, write
from sweeps.common.names import COUNTS
from sweeps.common.resources import check_path
from sweeps.engine.tables import STATES
from sweeps.running.reasons import no_best
from sweeps.space.axes import common_kind, kind_of
from sweeps.space.categories import uncategorised
from sweeps.space.space import Space

if TYPE_CHECKING:
    from sweeps.engine.plan import Plan

__all__ = ["STATES", "SUFFIXES", "SweepResult"]

NULLABLE: dict[str, Any] = {
    "integer": pd.Int64Dtype(),
    "real": pd.Float64Dtype(),
    "boolean": pd.BooleanDtype(),
}
"""Sort of value -> pandas dtype of a column with gaps."""


class SweepResult:
    """The finished trials of a sweep, one row a trial, in the order of their numbers.

    Parameters
    ----------
    columns : dict of str to (n,) array
        ``trial_id``, the axes, ``state`` (positions in :data:`STATES`), then what was measured,
        and ``error`` (a reason or None) if trials can fail.
    curves : dict of str to array or None
        ``trial_id`` ``(m,)``; ``step`` and every measured quantity ``(m, points)``. Past the end
        of a run ``step`` is negative or NaN.
    metric : str
        Column by which trials are compared.
    mode : {"min", "max"}
        Whether a small or a large metric is good.
    info : dict
        Facts of this run, not of its results: ``seconds``, ``n_trials`` (planned),
        ``interrupted``, ``trials_per_second``, ``compile_seconds``.
    space : Space, optional
        The trials' space, so that the frame of an interrupted sweep has the dtypes and
        categories of a finished one.
    plan : Plan, optional
        The checked sweep, which :meth:`replay`, :meth:`extend` and :meth:`zoom` run more of.
    counts : sequence of str
        Columns that hold whole numbers of steps: ``steps`` taken, and ``steps_to_target`` and
        ``diverged_step``, less than zero or NaN for never, which are nullable integers in the
        frame. None of them if the names are the user's own.

    Raises
    ------
    SpecError
        The metric is not a column or the mode is unknown.

    Examples
    --------
    >>> result = SweepResult(
    ...     {"trial_id": np.arange(3), "lr": np.array([0.1, 1.0, 9.0]),
    ...      "state": np.array([0, 0, 1]), "train_loss": np.array([0.5, 0.2, np.inf])},
    ...     None, "train_loss", "min", {})
    >>> result.best_params_, result.best_score_
    ({'lr': 1.0}, 0.2)
    >>> result.counts
    {'COMPLETE': 2, 'DIVERGED': 1, 'PRUNED': 0, 'FAILED': 0}
    >>> result.to_frame()
       trial_id   lr     state  train_loss
    0         0  0.1  COMPLETE         0.5
    1         1  1.0  COMPLETE         0.2
    2         2  9.0  DIVERGED         inf
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
        counts: Sequence[str] = COUNTS,
    ) -> None:
        names = list(columns)
        measured = [name for name in names[names.index("state") + 1 :] if name != "error"]
        if metric not in measured:
            raise SpecError(
                f"metric must be one of {', '.join(measured)}; "
                f"got {shortened(metric)}{did_you_mean(metric, measured)}"
            )
        if mode not in ("min", "max"):
            raise SpecError(f"mode must be 'min' or 'max'; got {shortened(mode)}")
        # A store's columns stay where they are: each is read when it is looked at.
        self.columns = columns if hasattr(columns, "select") else dict(columns)
        self.metric, self.mode, self.info = metric, mode, dict(info)
        self.axes = tuple(names[1 : names.index("state")])
        self.metrics = tuple(measured)
        self.step_columns = tuple(name for name in counts if name in measured)
        self._curves = curves
        self.space = space
        self.plan = plan

    over_seeds = stats.over_seeds
    edges = stats.edges
    compare = pairs.compare
    importance = anova.importance
    plot = property(plots.Plotter)
    report = report.report
    replay = refine.replay
    extend = refine.extend
    zoom = refine.zoom

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        columns: Sequence[str] | None = None,
        filters: Any = None,
    ) -> SweepResult:
        """Open the folder that was given as ``store``, whether its sweep is finished or runs yet.

        Parameters
        ----------
        path : path-like
            The folder, or a Parquet file that :meth:`save` wrote. It is not changed.
        columns : sequence of str, optional
            Columns wanted, beside the numbers, states and metric of the trials; all by default.
            Either way, only what is looked at is read.
        filters : optional
            Which trials, as for :func:`pyarrow.parquet.read_table`, for example
            ``[("lr", "<", 0.1), ("state", "==", "COMPLETE")]``. They are read at once.

        Returns
        -------
        SweepResult
            Its frame equals that of :func:`sweeps.sweep`, except that it cannot
            :meth:`replay`, :meth:`extend` or :meth:`zoom`.

        Raises
        ------
        StoreError
            The folder is missing, holds no sweep, or is damaged.
        SpecError
            There is no such file or column, or the filter makes no sense.

        Examples
        --------
        >>> import tempfile
        >>> from sweeps import problems, sweep
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = sweep(problems.ellipse(), {"lr": [0.1, 0.01]}, steps=2, store=folder)
        ...     SweepResult.open(folder).best_params_
        {'lr': 0.1}
        """
        from sweeps.store.reader import open_result

        is_file = files.is_file(path)
        return (files.open_file if is_file else open_result)(path, columns, filters)

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
        >>> result = SweepResult(columns, None, "loss", "min", {})
        >>> result.to_frame()
           trial_id   lr     state  loss
        0         0  0.1  COMPLETE   0.5
        1         1  1.0  DIVERGED   NaN
        """
        return self._frame(slice(None))

    def best(self, n: int = 1) -> pd.DataFrame:
        """Return the ``n`` best COMPLETE trials with a finite metric, best first.

        Equal trials are in the order of their numbers.

        Examples
        --------
        >>> columns = {"trial_id": np.arange(2), "lr": np.array([0.1, 1.0]),
        ...            "state": np.array([0, 1]), "loss": np.array([0.5, np.nan])}
        >>> result = SweepResult(columns, None, "loss", "min", {})
        >>> result.best(5)["lr"].tolist(), result.best_params_, result.best_score_, len(result)
        ([0.1], {'lr': 0.1}, 0.5, 2)
        """
        return self._frame(self._ranking(n)).reset_index(drop=True)

    @property
    def best_params_(self) -> dict[str, Any]:
        """Axis values of the best trial, as plain Python values; absent axes are left out."""
        row = self._winner()
        cells = {name: self.columns[name][row] for name in self.axes}
        plain = {k: c.item() if isinstance(c, np.generic) else c for k, c in cells.items()}
        return {k: uncategorised(c) for k, c in plain.items() if c is not None and c == c}

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
        >>> SweepResult(columns, curves, "loss", "min", {}).curves()
           trial_id  step  loss
        0         0     0   2.0
        1         0     9   1.0
        2         4     0   2.0
        """
        if self._curves is None:
            raise SpecError("curves were not recorded; run sweep(..., curves=True) to have them")
        steps = np.asarray(self._curves["step"])
        kept = steps >= 0  # False for NaN, too
        rows = np.nonzero(kept)[0]
        points = {name: a[kept] for name, a in self._curves.items() if name != "trial_id"}
        points["step"] = points["step"].astype(np.int64)
        return pd.DataFrame({"trial_id": np.asarray(self._curves["trial_id"])[rows], **points})

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write :meth:`to_frame` to a ``.parquet`` or ``.csv`` file, whole or not at all.

        Raises
        ------
        SpecError
            The file has another suffix.
        OSError
            The file cannot be written; a file that was there before is untouched.

        Examples
        --------
        >>> import tempfile
        >>> columns = {"trial_id": np.arange(2), "state": np.zeros(2, int), "loss": np.ones(2)}
        >>> result = SweepResult(columns, None, "loss", "min", {})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.save(f"{folder}/all.csv").read_text().split()
        ['trial_id,state,loss', '0,COMPLETE,1.0', '1,COMPLETE,1.0']
        """
        return write(self, check_path(path))

    def frames(self, rows: int = 1 << 16) -> Iterator[pd.DataFrame]:
        """Yield :meth:`to_frame` in pieces of ``rows`` rows; of a store, one piece is in memory.

        Examples
        --------
        >>> columns = {"trial_id": np.arange(5), "state": np.zeros(5, int), "loss": np.ones(5)}
        >>> [len(piece) for piece in SweepResult(columns, None, "loss", "min", {}).frames(2)]
        [2, 2, 1]
        """
        cuts = [slice(low, low + rows) for low in range(0, max(len(self), 1), rows)]
        if hasattr(self.columns, "select"):
            yield from (self._frame(cut) for cut in cuts)
        else:
            whole = self.to_frame()
            yield from (whole.iloc[cut] for cut in cuts)

    def __repr__(self) -> str:
        planned = self.info.get("n_trials", len(self))
        states = ", ".join(f"{n} {state}" for state, n in self.counts.items() if n) or "none"
        lines = [f"SweepResult: {len(self)} of {planned} trials finished ({states})"]
        if self._ranking(1).size:
            params = ", ".join(f"{name}={value!r}" for name, value in self.best_params_.items())
            lines.append(f"best {self.metric} = {self.best_score_:.6g} with {params or 'no axes'}")
        if "seconds" in self.info:
            rate = self.info.get("trials_per_second", math.nan)
            lines.append(f"{self.info['seconds']:.3g} s, {rate:,.4g} trials/s")
        if self.info.get("interrupted"):
            lines.append("interrupted: the other trials did not run")
        return "\n  ".join(lines)

    def _repr_html_(self) -> str:
        from sweeps.report import notebook

        return notebook.cell(self)

    def counting(self, metric: str) -> np.ndarray:
        """Tell which trials are COMPLETE and have a finite value of ``metric``: bool ``(n,)``.

        Examples
        --------
        >>> columns = {"trial_id": np.arange(2), "lr": np.array([0.1, 1.0]),
        ...            "state": np.array([0, 1]), "loss": np.array([0.5, np.nan])}
        >>> result = SweepResult(columns, None, "loss", "min", {})
        >>> result.counting("loss"), result.counts["DIVERGED"]
        (array([ True, False]), 1)
        """
        score = np.asarray(self.columns[metric], np.float64)
        fit = np.isfinite(score) & (np.asarray(self.columns["state"]) == 0)
        return fit & (score >= 0) if metric in self.step_columns else fit

    def _ranking(self, n: int | None = None) -> np.ndarray:
        """Rows of the trials that can be compared, best first; the ``n`` best, or all."""
        rows = np.flatnonzero(self.counting(self.metric))
        score = np.asarray(self.columns[self.metric], np.float64)[rows]
        score = score if self.mode == "min" else -score
        if n is not None and 0 < n < len(rows):
            # Sorting 10^7 trials takes seconds; all that can be among the first n are few.
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
        if name == "steps" and name in self.step_columns:
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
        # A dict is asked once a distinct value, not a cell: 0.02 s instead of 0.5 for 10^6 trials.
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
