"""What a sweep with folds says: each configuration by its mean over the folds, not by its luck."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sweeps.analysis.stats import (
    axes_of,
    best_first,
    listed,
    mode_of,
    over_seeds,
    scores,
    spread_of_groups,
)
from sweeps.analysis.table import Table
from sweeps.common.frames import configurations, pd
from sweeps.common.names import SEED, UNORDERED, refuse_repeated
from sweeps.space.axes import ends

ADDED = ("rank", "within_one_se")


def over_folds(
    result: Table, *, axis: str | Sequence[str] = "fold", metrics: Sequence[str] | None = None
) -> pd.DataFrame:
    r"""Summarise each configuration over its folds, and rank configurations.

    Parameters
    ----------
    axis : str or list of str
        The axis of the folds, or several: ``["fold", "seed"]``.
    metrics : list of str, optional
        Those of the summary; all by default. The sweep's own is always among them.

    Returns
    -------
    pandas.DataFrame
        One row a configuration, the best first: the other axes, ``n_trials`` and ``n_diverged``;
        for every metric ``mean_``, ``std_`` (of ``n - 1``), ``se_`` (standard error,
        :math:`s / \sqrt n`) and ``n_``; ``rank``, 1 for the best mean of the sweep's metric,
        missing where a trial did not finish, or there is none of a fold; and ``within_one_se``,
        whether that mean is no worse than the best one by more than the best one's standard error:
        of these, take the simplest.

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
    over = axes_of(result, axis)
    refuse_repeated("axis", (*result.axes, *ADDED), "the summary over folds")
    own = result.metric
    measured = list(dict.fromkeys((*listed(result, metrics), own)))
    table = _with_errors(over_seeds(result, axis=over, metrics=measured), measured)
    mean, whole = table[f"mean_{own}"], pd.Series(_settings(result, over).whole)
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


class Settings(NamedTuple):
    """Trials by their settings: what they have in common but for the axes that repeat them.

    * ``codes`` (trials,): the setting of each trial.
    * ``mean``, ``std``, ``n`` (settings,): of the sweep's metric over the trials that count.
    * ``whole`` (settings,) of bool: whether all of its trials do, and there is one of every fold.
    """

    codes: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    n: np.ndarray
    whole: np.ndarray


def _settings(result: Table, over: Sequence[str]) -> Settings:
    codes = configurations(result.columns, [name for name in result.axes if name not in over])
    score, size = scores(result, result.metric), int(codes.max(initial=-1)) + 1
    spread = spread_of_groups(score, codes, size)
    whole = spread["n"] == np.bincount(codes, minlength=size)
    counts = ~np.isnan(score)  # where an axis lists a value twice, so do its folds
    partial = len(codes) < result.info.get("n_trials", 0)  # interrupted, filtered or reduced
    for name in over:
        # Any seeds are as good as others if none is to come; folds are harder or easier.
        if name != SEED or partial:
            cells = pd.Series(result.columns[name])
            known = cells[counts].groupby(codes[counts]).nunique()
            whole &= known.reindex(range(size), fill_value=0).to_numpy() == cells.nunique()
    return Settings(codes, spread["mean"], spread["std"], spread["n"], whole)


def repeats_of(result: Table) -> list[str]:
    """Return the axes by which trials repeat a setting: folds, and seeds if a setting has several.

    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(2), "lr": np.array([0.1, 1.0]), "seed": np.arange(2),
    ...            "state": np.zeros(2, int), "loss": np.ones(2)}
    >>> repeats_of(SweepResult(columns, None, "loss", "min", {}))
    []
    """
    over = [name for name in ("fold", SEED) if name in result.axes and len(result)]
    if SEED in over:
        rest = [name for name in result.axes if name != SEED]
        settings = int(configurations(result.columns, rest).max()) + 1
        given = pd.Series(result.columns[SEED]).dropna()  # of a user's function it may be anything
        are_whole = (pd.to_numeric(given, errors="coerce") % 1 == 0).all()
        if settings == len(result) or not are_whole:
            over.remove(SEED)
    return over


def in_words(over: Sequence[str]) -> str:
    """Return what a mean is taken over.

    >>> in_words(["fold", "seed"])
    'folds and seeds'
    """
    return " and ".join(f"{name}s" for name in over)


class BestSetting(NamedTuple):
    """The setting that is best over all folds and seeds.

    * ``ids``: its trials, one a fold, that of its best seed, in the order of their numbers.
    * ``mean``, ``error``: of the sweep's metric over all of its trials, and its standard error.
    * ``over``: the axes that are averaged over.
    """

    ids: list[int]
    mean: float
    error: float
    over: list[str]


def best_setting(result: Table) -> BestSetting | None:
    """Return the setting of which the mean over all folds and seeds is best, as pictures show it.

    None if nothing is repeated, or no setting finished on all folds and with all seeds.

    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "lr": np.array([0.1, 0.1, 1.0, 1.0]),
    ...            "fold": np.array([0, 1, 0, 1]), "state": np.zeros(4, int),
    ...            "val_loss": np.array([1.0, 3.0, 1.0, 2.0])}
    >>> best_setting(SweepResult(columns, None, "val_loss", "min", {}))
    BestSetting(ids=[2, 3], mean=1.5, error=0.5, over=['fold'])
    """
    over = repeats_of(result)
    if not over:
        return None
    found = _settings(result, over)
    order = _ranked(result, found)
    if not len(order):
        return None
    k = int(order[0])
    folds = len({*result.columns["fold"].tolist()}) if "fold" in over else 1
    error = float(found.std[k] / np.sqrt(found.n[k]))
    return BestSetting(
        sorted(_trials_of(result, found, k)[:folds]), float(found.mean[k]), error, over
    )


def _ranked(result: Table, found: Settings) -> np.ndarray:
    """Return the numbers of the settings that can be compared, the best first."""
    return best_first(np.where(found.whole, found.mean, np.nan), result.mode)


def _trials_of(result: Table, found: Settings, k: int) -> list[int]:
    """Return the numbers of a setting's trials: that of the best seed on each fold, then others."""
    rows = np.flatnonzero(found.codes == k)
    score = scores(result, result.metric)[rows]
    folds = result.columns["fold"][rows] if "fold" in result.axes else np.zeros(len(rows))
    frame = pd.DataFrame({"id": result.columns["trial_id"][rows], "fold": folds})
    frame["place"] = (
        pd.Series(score if result.mode == "min" else -score).groupby(folds).rank("first")
    )
    return [int(i) for i in frame.sort_values(["place", "id"])["id"]]


def trials_by_settings(result: Table, n: int) -> list[int]:
    """Return the numbers of ``n`` trials: all of the best setting, then those of the next.

    Fewer if not as many have finished on all folds; where nothing is repeated, the best trials.

    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "lr": np.array([0.1, 0.1, 1.0, 1.0]),
    ...            "fold": np.array([0, 1, 0, 1]), "state": np.zeros(4, int),
    ...            "val_loss": np.array([1.0, 3.0, 1.0, 2.0])}
    >>> trials_by_settings(SweepResult(columns, None, "val_loss", "min", {}), 3)
    [2, 3, 0]
    """
    over = repeats_of(result)
    found = _settings(result, over)
    order = _ranked(result, found)
    if not (over and len(order)):
        return np.asarray(result.columns["trial_id"])[result._ranking(n)].tolist()
    ids: list[int] = []
    for k in order:
        if len(ids) >= n:
            break
        ids += _trials_of(result, found, int(k))
    return ids[:n]


def best_row(result: Table) -> int:
    """Return the row of the best trial; of a setting that is repeated, of :func:`best_setting`.

    The best trial of all has the best settings, or the easiest fold, or a lucky seed.
    """
    found = best_setting(result)
    return result._winner() if found is None else result._row_of(found.ids[0])


def edges(result: Table) -> pd.DataFrame:
    """Return the axes whose best value is an end of the grid: better values may lie beyond.

    Returns
    -------
    pandas.DataFrame
        ``axis``, ``value`` and ``end`` (``"low"`` or ``"high"``), one row an axis, none if there is
        no best trial. Axes of one or two values have no inside, names, seeds and folds have no
        order, so they do not count; the best is that of all folds and seeds. In a union the grid
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
