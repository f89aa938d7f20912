"""What a sweep says beyond its best trial: how metrics spread over seeds, and where to look next.

Functions of a :class:`~sweeps.results.SweepResult`, which has each as a method. SciPy does the
inference; it is imported when first needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from sweeps.analysis.table import Table
from sweeps.common.frames import configurations, pd
from sweeps.common.names import check_choice, refuse_repeated
from sweeps.common.states import State
from sweeps.problems.metrics import METRICS

MODE_WORDS = {
    "max": re.compile(r"(?<![a-z])(accuracy|accuracies)(?![a-z])"),
    "min": re.compile(r"(?<![a-z])(loss|losses|steps|distance|path_length|errors?)(?![a-z])"),
}
"""Words in names of metrics that tell the mode; only whole words: not the loss in glossiness."""

INTERVALS = ("student", "bca")
DIVERGED_AS = ("exclude", "worst")
# Numbers that a vectorised bootstrap holds at once: 64 MB.
BOOTSTRAP_NUMBERS = 1 << 23


def mode_of(result: Table, metric: str) -> str:
    """Tell whether a small or a large value of a metric is good: ``"min"`` or ``"max"``.

    The sweep says so for its own metric and, where a name does not tell, for all.

    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(1), "state": np.zeros(1, int), "train_loss": np.ones(1),
    ...            "test_accuracy": np.ones(1), "reward": np.ones(1)}
    >>> result = SweepResult(columns, None, "train_loss", "min", {})
    >>> [mode_of(result, name) for name in result.metrics]
    ['min', 'max', 'min']
    """
    if metric != result.metric:
        measured = metric.partition("_")[2]
        if measured in METRICS:
            return METRICS[measured].mode
        for mode, names in MODE_WORDS.items():
            if names.search(metric):
                return mode
    return result.mode


def scores(result: Table, metric: str, diverged: str = "exclude") -> np.ndarray:
    """Return a metric of every trial, NaN where it does not count.

    A trial that is DIVERGED, or COMPLETE without a finite metric, does not count, or counts as the
    worst that counts. PRUNED and FAILED trials never count.

    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(3), "state": np.array([0, 0, 1]),
    ...            "loss": np.array([0.5, 2.0, np.inf])}
    >>> scores(SweepResult(columns, None, "loss", "min", {}), "loss", "worst").tolist()
    [0.5, 2.0, 2.0]
    """
    check_choice("metric", metric, result.metrics)
    check_choice("diverged", diverged, DIVERGED_AS)
    counts = result.counting(metric)
    cells = np.where(counts, np.asarray(result.columns[metric], np.float64), math.nan)
    if diverged == "worst" and counts.any():
        worst = np.nanmax(cells) if mode_of(result, metric) == "min" else np.nanmin(cells)
        cells[~counts & (np.asarray(result.columns["state"]) <= State.DIVERGED)] = worst
    return cells


def group_means(cells: np.ndarray, codes: np.ndarray, size: int) -> np.ndarray:
    """Return the mean of the cells with each code, ``(size,)``; NaN cells do not count.

    >>> group_means(np.array([1.0, 3.0, np.nan]), np.array([0, 0, 1]), 2)
    array([ 2., nan])
    """
    counts = ~np.isnan(cells)
    n = np.bincount(codes[counts], minlength=size)
    sums = np.bincount(codes[counts], weights=cells[counts], minlength=size)
    return np.divide(sums, n, out=np.full(size, math.nan), where=n > 0)


def best_first(score: np.ndarray, mode: str) -> np.ndarray:
    """Return the positions of scores that are known, the best first, and of equal ones the first.

    >>> best_first(np.array([1.0, np.nan, 2.0, 2.0]), "max")
    array([2, 3, 0])
    """
    known = np.flatnonzero(~np.isnan(score))
    return known[np.argsort(score[known] if mode == "min" else -score[known], kind="stable")]


def over_seeds(
    result: Table,
    *,
    axis: str | Sequence[str] = "seed",
    metrics: Sequence[str] | None = None,
    interval: str = "student",
    confidence: float = 0.95,
    n_resamples: int = 9999,
    random_state: int = 0,
) -> pd.DataFrame:
    r"""Summarise each configuration over its seeds.

    Parameters
    ----------
    axis : str or list of str
        The axis to summarise over, or several.
    metrics : list of str, optional
        All by default.
    interval : {"student", "bca"}
        Confidence interval of the mean: :math:`\bar x \pm t_{n-1}\, s / \sqrt n`, right for
        normal numbers, or SciPy's bias-corrected and accelerated bootstrap.
    confidence : float
        Its level, between 0 and 1.
    n_resamples, random_state : int
        Resamples of the bootstrap and their seed.

    Returns
    -------
    pandas.DataFrame
        One row a configuration, in the order of their first trials: the other axes, ``n_trials``
        and ``n_diverged`` (finished and diverged), then for every metric ``mean_``, ``std_``
        (of ``n - 1``), ``min_``, ``max_``, ``n_``, ``ci_low_`` and ``ci_high_``. Only COMPLETE
        trials with a finite metric count, ``n_`` of them; a single one has no spread (NaN).

    Raises
    ------
    SpecError
        An axis, metric or option does not exist, or one is called like a column of the summary.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "lr": np.array([0.1, 0.1, 1.0, 1.0]),
    ...            "seed": np.array([0, 1, 0, 1]), "state": np.array([0, 0, 0, 1]),
    ...            "loss": np.array([1.0, 3.0, 5.0, np.nan])}
    >>> table = SweepResult(columns, None, "loss", "min", {}).over_seeds()
    >>> table[["lr", "n_trials", "n_diverged", "mean_loss", "std_loss", "n_loss"]]
        lr  n_trials  n_diverged  mean_loss  std_loss  n_loss
    0  0.1         2           0        2.0  1.414214       2
    1  1.0         2           1        5.0       NaN       1

    References
    ----------
    B. Efron, *Better bootstrap confidence intervals*, J. Am. Stat. Assoc. 1987.
    """
    over = axes_of(result, axis)
    check_choice("interval", interval, INTERVALS)
    check_fraction("confidence", confidence)
    rest = [name for name in result.axes if name not in over]
    codes = configurations(result.columns, rest)
    _, first = np.unique(codes, return_index=True)
    size = len(first)
    diverged = np.asarray(result.columns["state"]) == State.DIVERGED
    made = [
        ("n_trials", np.bincount(codes, minlength=size)),
        ("n_diverged", np.bincount(codes[diverged], minlength=size)),
    ]
    bootstrap = (n_resamples, random_state) if interval == "bca" else None
    for metric in listed(result, metrics):
        found = summarize_groups(scores(result, metric), codes, size, confidence, bootstrap)
        made += [(f"{name}_{metric}", column) for name, column in found.items()]
    names = [*rest, *(name for name, _ in made)]
    refuse_repeated("axis or metric", names, "the summary over seeds")
    # At once: pandas warns of the hundredth column that is added by itself, 14 metrics have more.
    return pd.concat([result._frame(first)[rest], pd.DataFrame(dict(made))], axis=1)


def axes_of(result: Table, axis: str | Sequence[str]) -> list[str]:
    """Return the axes that are meant, one by its name too."""
    names = [axis] if isinstance(axis, str) or not isinstance(axis, Sequence) else list(axis)
    for name in names:
        check_choice("axis", name, result.axes)
    return names


def listed(result: Table, metrics: str | Sequence[str] | None) -> Sequence[str]:
    """Return the metrics that are meant, one by its name too, or all."""
    if metrics is None:
        return result.metrics
    return [metrics] if isinstance(metrics, str) else metrics


def summarize_groups(
    cells: np.ndarray,
    codes: np.ndarray,
    size: int,
    confidence: float = 0.95,
    bootstrap: tuple[int, int] | None = None,
) -> dict[str, np.ndarray]:
    """Return mean, spread and confidence interval of the cells with each code.

    NaN does not count; ``bootstrap`` is ``(n_resamples, random_state)``, and without it the
    interval is Student's.

    >>> summarize_groups(np.array([1.0, 3.0, np.nan]), np.array([0, 0, 0]), 1)["mean"]
    array([2.])
    """
    spread = spread_of_groups(cells, codes, size)
    if bootstrap is None:
        low, high = _student(spread, confidence)
    else:
        low, high = _bca(cells, codes, size, confidence, *bootstrap)
    return {**spread, "ci_low": low, "ci_high": high}


def spread_of_groups(cells: np.ndarray, codes: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Return ``mean``, ``std``, ``min``, ``max`` and ``n`` of the cells with each code."""
    grouped = pd.Series(cells).groupby(codes).agg(["mean", "std", "min", "max", "count"])
    grouped = grouped.reindex(range(size)).rename(columns={"count": "n"})
    return {str(name): grouped[name].to_numpy() for name in grouped}


def _student(spread: dict[str, np.ndarray], confidence: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy import stats

    n = np.where(spread["n"] > 1, spread["n"], math.nan)
    half = stats.t.ppf(0.5 + confidence / 2.0, n - 1.0) * spread["std"] / np.sqrt(n)
    return spread["mean"] - half, spread["mean"] + half


def _bca(
    cells: np.ndarray,
    codes: np.ndarray,
    size: int,
    confidence: float,
    n_resamples: int,
    random_state: int,
) -> tuple[np.ndarray, np.ndarray]:
    """BCa intervals of the means, all configurations with equally many trials at once."""
    kept = np.flatnonzero(~np.isnan(cells))
    kept = kept[np.argsort(codes[kept], kind="stable")]
    counts = np.bincount(codes[kept], minlength=size)
    starts = np.cumsum(counts) - counts
    low, high = np.full(size, math.nan), np.full(size, math.nan)
    for n in np.unique(counts[counts > 1]).tolist():
        rows = np.flatnonzero(counts == n)
        samples = cells[kept[starts[rows, None] + np.arange(n)]]
        low[rows], high[rows] = bca(samples, confidence, n_resamples, random_state)
    return low, high


def bca(
    samples: np.ndarray, confidence: float, n_resamples: int, random_state: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return bootstrap intervals (BCa) of the means of rows, as two arrays ``(k,)``.

    ``samples`` (k, n): ``n > 1``. A row of equal numbers has no spread to resample; its interval is
    that number. Rows of one call share their resamples.

    >>> low, high = bca(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]), 0.95, 999, 0)
    >>> bool(1.0 <= low[0] < 2.0 < high[0] <= 3.0), low[1], high[1]
    (True, np.float64(5.0), np.float64(5.0))
    """
    from scipy import stats

    low, high = samples[:, 0].copy(), samples[:, 0].copy()
    spread = np.flatnonzero(np.ptp(samples, axis=1) > 0.0)
    at_once = max(1, BOOTSTRAP_NUMBERS // (samples.shape[1] * n_resamples))
    for start in range(0, spread.size, at_once):
        rows = spread[start : start + at_once]
        found = stats.bootstrap(
            (samples[rows],),
            np.mean,
            axis=1,
            confidence_level=confidence,
            n_resamples=n_resamples,
            method="BCa",
            batch=max(1, BOOTSTRAP_NUMBERS // samples[rows].size),
            rng=np.random.default_rng(random_state),
        ).confidence_interval
        low[rows], high[rows] = found.low, found.high
    return low, high


def check_fraction(what: str, given: Any) -> None:
    """Raise unless ``given`` lies between 0 and 1.

    >>> check_fraction("confidence", 95)
    Traceback (most recent call last):
    fastopt.errors.SpecError: confidence must lie between 0 and 1; got 95
    """
    if not (isinstance(given, int | float) and 0.0 < given < 1.0):
        raise SpecError(f"{what} must lie between 0 and 1; got {shortened(given)}")
