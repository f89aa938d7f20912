"""What a sweep with folds says: each configuration by its mean over the folds, not by its luck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sweeps.analysis.stats import listed, mode_of, over_seeds, scores
from sweeps.analysis.table import Table
from sweeps.common.frames import configurations, pd
from sweeps.common.names import UNORDERED, check_choice, refuse_repeated
from sweeps.space.axes import ends

ADDED = ("rank", "within_one_se")


def over_folds(
    result: Table, *, axis: str = "fold", metrics: Sequence[str] | None = None
) -> pd.DataFrame:
    r"""Summarise each configuration over its folds, and rank configurations.

    Parameters
    ----------
    axis : str
        The axis of the folds.
    metrics : list of str, optional
        Those of the summary; all by default. The sweep's own is always among them.

    Returns
    -------
    pandas.DataFrame
        One row a configuration, the best first: the other axes, ``n_trials`` and ``n_diverged``;
        for every metric ``mean_``, ``std_`` (of ``n - 1``), ``se_`` (standard error,
        :math:`s / \sqrt n`) and ``n_``; ``rank``, 1 for the best mean of the sweep's metric,
        missing where a fold did not finish; and ``within_one_se``, whether that mean is no worse
        than the best one by more than the best one's standard error: of these, take the simplest.

    Raises
    ------
    SpecError
        The sweep has no such axis, or no such metric.

    References
    ----------
    L. Breiman et al., *Classification and Regression Trees*, 1984, section 3.4.3: the
    one-standard-error rule.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "lr": np.array([0.1, 0.1, 1.0, 1.0]),
    ...            "fold": np.array([0, 1, 0, 1]), "state": np.zeros(4, int),
    ...            "val_loss": np.array([1.0, 3.0, 1.0, 2.0])}
    >>> table = SweepResult(columns, None, "val_loss", "min", {}).over_folds()
    >>> table[["lr", "mean_val_loss", "se_val_loss", "rank", "within_one_se"]]
        lr  mean_val_loss  se_val_loss  rank  within_one_se
    0  1.0            1.5          0.5     1           True
    1  0.1            2.0          1.0     2           True
    """
    check_choice("axis", axis, result.axes)
    refuse_repeated("axis", (*result.axes, *ADDED), "the summary over folds")
    own = result.metric
    measured = list(dict.fromkeys((*listed(result, metrics), own)))
    table = _with_errors(over_seeds(result, axis=axis, metrics=measured), measured)
    mean, n_folds = table[f"mean_{own}"], pd.Series(result.columns[axis]).nunique()
    codes = configurations(result.columns, [name for name in result.axes if name != axis])
    counts = ~np.isnan(scores(result, own))  # where an axis lists a value twice, so do its folds
    whole = pd.Series(result.columns[axis])[counts].groupby(codes[counts]).nunique() == n_folds
    whole = whole.reindex(range(len(table)), fill_value=False)
    sign = 1.0 if mode_of(result, own) == "min" else -1.0
    score = (sign * mean).where(whole)
    table["rank"] = score.rank(method="first").astype("Int64")
    if not whole.any():
        table["within_one_se"] = False
        return table
    best = int(score.argmin())
    # One fold has no spread, and a best all the same.
    error = table[f"se_{own}"].fillna(0.0).iloc[best]
    table["within_one_se"] = score <= score.iloc[best] + error
    return table.sort_values("rank", kind="stable").reset_index(drop=True)


def _with_errors(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return a summary over seeds with standard errors in place of ranges and intervals."""
    left_out = {f"{end}_{name}" for end in ("min", "max", "ci_low", "ci_high") for name in metrics}
    spreads = {f"std_{name}": name for name in metrics}
    columns: dict[str, Any] = {}
    for title in map(str, table.columns):
        if title not in left_out:
            columns[title] = table[title]
        if title in spreads:
            name = spreads[title]
            columns[f"se_{name}"] = table[title] / np.sqrt(table[f"n_{name}"])
    return pd.DataFrame(columns)


def trials_by_folds(result: Table, n: int) -> list[int]:
    """Return the numbers of ``n`` trials: all folds of the best setting, then those of the next.

    Fewer if not as many have finished on all folds, none if there are no folds.

    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "lr": np.array([0.1, 0.1, 1.0, 1.0]),
    ...            "fold": np.array([0, 1, 0, 1]), "state": np.zeros(4, int),
    ...            "val_loss": np.array([1.0, 3.0, 1.0, 2.0])}
    >>> trials_by_folds(SweepResult(columns, None, "val_loss", "min", {}), 3)
    [2, 3, 0]
    """
    if "fold" not in result.axes or not len(result):
        return []
    table = over_folds(result, metrics=[result.metric])
    settings = table[table["rank"].notna()].to_dict("records")
    frame = result.to_frame()
    found: list[int] = []
    for setting in settings:
        if len(found) >= n:
            break
        found += _trials_of(result, frame, setting)
    return found[:n]


def _trials_of(result: Table, frame: pd.DataFrame, setting: Any) -> list[int]:
    """Return the numbers of the trials of a setting, the first of each fold."""
    alike = np.ones(len(frame), bool)
    for name in result.axes:
        if name != "fold":
            value = setting[name]
            alike &= frame[name].isna() if pd.isna(value) else frame[name] == value
    trials = frame[alike].sort_values("trial_id").drop_duplicates("fold")
    return [int(i) for i in trials["trial_id"]]


class BestOfFolds(NamedTuple):
    """The configuration that is best over all folds.

    Parameters
    ----------
    ids : list of int
        Its trials, one a fold, in the order of their numbers.
    mean, error : float
        Of the sweep's metric over them, and its standard error.
    """

    ids: list[int]
    mean: float
    error: float


def best_of_folds(result: Table) -> BestOfFolds | None:
    """Return the configuration of rank 1 in :func:`over_folds`.

    None if there are no folds, or no configuration finished on all of them.

    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "lr": np.array([0.1, 0.1, 1.0, 1.0]),
    ...            "fold": np.array([0, 1, 0, 1]), "state": np.zeros(4, int),
    ...            "val_loss": np.array([1.0, 3.0, 1.0, 2.0])}
    >>> best_of_folds(SweepResult(columns, None, "val_loss", "min", {}))
    BestOfFolds(ids=[2, 3], mean=1.5, error=0.5)
    """
    own = result.metric
    if "fold" not in result.axes or not len(result):
        return None
    best = over_folds(result, metrics=[own]).iloc[0]
    if best["rank"] is pd.NA:
        return None
    ids = _trials_of(result, result.to_frame(), best)
    return BestOfFolds(ids, float(best[f"mean_{own}"]), float(best[f"se_{own}"]))


def best_row(result: Table) -> int:
    """Return the row of the best trial; with folds, of the first one of :func:`best_of_folds`.

    The best trial of all has the best settings, or the easiest fold.
    """
    found = best_of_folds(result)
    return result._winner() if found is None else result._row_of(found.ids[0])


def edges(result: Table) -> pd.DataFrame:
    """Return the axes whose best value is an end of the grid: better values may lie beyond.

    Returns
    -------
    pandas.DataFrame
        ``axis``, ``value`` and ``end`` (``"low"`` or ``"high"``), one row an axis, none if there is
        no best trial. Axes of one or two values have no inside, names, seeds and folds have no
        order, so they do not count; with folds, the best is that of all folds. In a union the grid
        is the best trial's own part.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(3), "lr": np.array([0.01, 0.1, 1.0]),
    ...            "state": np.zeros(3, int), "loss": np.array([3.0, 2.0, 1.0])}
    >>> SweepResult(columns, None, "loss", "min", {}).edges()
      axis value   end
    0   lr   1.0  high
    """
    found = edges_of(result, best_row(result)) if result.counting(result.metric).any() else []
    return pd.DataFrame.from_records(found, columns=["axis", "value", "end"]).astype(object)


def edges_of(result: Table, row: int) -> list[tuple[str, float, str]]:
    """Return the axes of which a trial has an end: name, value, and "low" or "high"."""
    found = []
    trial = int(result.columns["trial_id"][row])
    part = {} if result.space is None else result.space.part_of(trial)
    for name, value in result._params(row).items():
        if name in UNORDERED or isinstance(value, bool) or not isinstance(value, int | float):
            continue
        axis = part[name] if part else _present(result.columns[name])
        low, high = sorted(ends(axis))
        if len(axis) > 2 and value in (low, high):
            found.append((name, value, "low" if value == low else "high"))
    return found


def _present(column: np.ndarray) -> list[Any]:
    """Return the distinct values of an axis, without the gaps of a union."""
    return [cell for cell in {*column.tolist()} if cell is not None and cell == cell]
