"""What a sweep returns: a table of finished trials, and all that can be asked of it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeps import extend as refine
from sweeps import plots, report, store
from sweeps.analysis import comparison as pairs
from sweeps.analysis import files, folds, stats
from sweeps.analysis import importance as anova
from sweeps.analysis.export import SUFFIXES, write
from sweeps.analysis.table import Table
from sweeps.common.names import RUNG_COLUMNS
from sweeps.common.resources import check_path
from sweeps.common.states import STATES
from sweeps.models import parameters, trained
from sweeps.report import notebook

__all__ = ["STATES", "SUFFIXES", "SweepResult"]


class SweepResult(Table):
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
        ``interrupted``, ``trials_per_second`` (since the first could begin), ``compile_seconds``
        (wall time; trials may run meanwhile), ``compiled`` (functions compiled, not loaded).
    space : Space, optional
        The trials' space, so that the frame of an interrupted sweep has the dtypes and
        categories of a finished one.
    plan : Plan, optional
        The checked sweep, which :meth:`replay`, :meth:`extend` and :meth:`zoom` run more of.
    counts : sequence of str
        Columns that hold whole numbers of steps: ``steps`` (``steps_taken`` beside an axis
        ``steps``), and ``steps_to_target`` and ``diverged_step``, less than zero or NaN for never,
        which are nullable integers in the frame. None if the names are the user's own.

    Raises
    ------
    SpecError
        The metric is not a column or the mode is unknown.

    Examples
    --------
    >>> import numpy as np
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

    over_seeds = stats.over_seeds
    over_folds = folds.over_folds
    edges = folds.edges
    compare = pairs.compare
    importance = anova.importance
    plot = property(plots.Plotter)
    report = report.report
    replay = refine.replay
    extend = refine.extend
    zoom = refine.zoom
    trials_weights = parameters.trials_weights
    model = trained.best_model
    models = trained.best_models

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], columns: Sequence[str] | None = None, filters: Any = None
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
        opened = files.open_file if files.is_file(path) else store.open_result_parts
        result = SweepResult(*opened(path, columns, filters))
        if "pruner" in result.info:  # where a trial came to is not what it measured
            result.metrics = tuple(name for name in result.metrics if name not in RUNG_COLUMNS)
        return result

    @property
    def best_params_(self) -> dict[str, Any]:
        """Axis values of the best trial, as plain Python values; absent axes are left out.

        With folds or several seeds of a setting, those of the setting whose mean over all of them
        is best, without fold and seed, as ``GridSearchCV``'s; ``best(1)`` has the best single
        trial. A setting of which a trial did not finish is none of those compared.
        """
        found = folds.best_setting(self)
        if found is None:
            return super().best_params_
        params = self._params(self._row_of(found.ids[0]))
        return {name: v for name, v in params.items() if name not in found.over}

    @property
    def best_score_(self) -> float:
        """Metric of the best trial; with folds or several seeds, the mean that is best."""
        found = folds.best_setting(self)
        return super().best_score_ if found is None else found.mean

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write :meth:`to_frame` to a ``.parquet`` or ``.csv`` file, whole or not at all.

        Curves are not in it: a store keeps them.

        Raises
        ------
        SpecError
            The file has another suffix.
        OSError
            The file cannot be written; a file that was there before is untouched.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> columns = {"trial_id": np.arange(2), "state": np.zeros(2, int), "loss": np.ones(2)}
        >>> result = SweepResult(columns, None, "loss", "min", {})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.save(f"{folder}/all.csv").read_text().split()
        ['trial_id,state,loss', '0,COMPLETE,1.0', '1,COMPLETE,1.0']
        """
        return write(self, check_path(path))

    def __repr__(self) -> str:
        planned = self.info.get("n_trials", len(self))
        states = ", ".join(f"{n} {state}" for state, n in self.counts.items() if n) or "none"
        lines = [f"SweepResult: {len(self)} of {planned} trials finished ({states})"]
        found = folds.best_setting(self)
        if found or self._ranking(1).size:
            over = folds.in_words(found.over) if found else ""
            what = f"mean {self.metric} over {over}" if found else self.metric
            error = f" (standard error {found.error:.2g})" if found else ""
            params = ", ".join(f"{name}={value!r}" for name, value in self.best_params_.items())
            lines.append(f"best {what} = {self.best_score_:.6g}{error} with {params or 'no axes'}")
        if "seconds" in self.info:
            rate = self.info.get("trials_per_second", math.nan)
            lines.append(f"{self.info['seconds']:.3g} s, {rate:,.4g} trials/s")
        if self.info.get("interrupted"):
            lines.append("interrupted: the other trials did not run")
        return "\n  ".join(lines)

    def _repr_html_(self) -> str:
        return notebook.cell(self)
