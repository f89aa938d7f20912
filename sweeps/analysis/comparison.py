"""Two values of an axis, compared trial by trial on common random numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps.analysis.stats import bca, check_fraction, mode_of, scores
from sweeps.analysis.table import Table
from sweeps.common.frames import configurations, pd
from sweeps.common.names import check_choice


@dataclass(frozen=True)
class Comparison:
    """Two values of an axis, compared trial by trial; made by :meth:`SweepResult.compare`.

    Parameters
    ----------
    axis, a, b, metric, mode
        What was compared.
    n_pairs : int
        Pairs that agree in every other axis and both count.
    n_dropped : int
        Pairs that do not count because a trial did not finish with a finite metric.
    mean_a, mean_b, difference : float
        Means over the pairs, and that of ``a - b``.
    ci_low, ci_high : float
        Bootstrap interval (BCa) of the mean difference; NaN for a single pair.
    wins, ties, losses : int
        Pairs in which ``a`` is better than, equal to, worse than ``b``.
    p_value : float
        Of Wilcoxon's signed-rank test, two-sided; 1 if all pairs are ties. Differences that are
        equal but for rounding share a rank.
    differences : (n_pairs,) array
        ``a - b`` of every pair.
    """

    axis: str
    a: Any
    b: Any
    metric: str
    mode: str
    n_pairs: int
    n_dropped: int
    mean_a: float
    mean_b: float
    difference: float
    ci_low: float
    ci_high: float
    wins: int
    ties: int
    losses: int
    p_value: float
    differences: np.ndarray = field(repr=False)

    @property
    def better(self) -> Any:
        """The value that is better with an interval clear of zero, or None."""
        if not (self.ci_low > 0.0 or self.ci_high < 0.0):
            return None
        return self.a if (self.difference < 0.0) == (self.mode == "min") else self.b


def compare(
    result: Table,
    axis: str,
    a: Any,
    b: Any,
    *,
    metric: str | None = None,
    diverged: str = "exclude",
    confidence: float = 0.95,
    n_resamples: int = 9999,
    random_state: int = 0,
) -> Comparison:
    """Compare two values of an axis over pairs of trials that agree in everything else.

    Trials of a pair share their seed, so they share initial parameters and minibatches, and what
    these contribute cancels in the difference.

    Parameters
    ----------
    axis : str
        For example ``"optimizer"``.
    a, b : value of the axis
    metric : str, optional
        That of the sweep by default.
    diverged : {"exclude", "worst"}
        A pair with a diverged trial is left out, or that trial counts as the worst of the sweep.
    confidence : float
        Level of the interval, between 0 and 1.
    n_resamples, random_state : int
        Resamples of the bootstrap and their seed.

    Returns
    -------
    Comparison
        With the mean difference ``a - b``, its bootstrap interval (BCa) and Wilcoxon's signed-rank
        test. Pairs over the other axes are not repetitions: the interval speaks about
        configurations such as those in the grid.

    Raises
    ------
    SpecError
        An axis, value, metric or option does not exist, or no pair of trials can be compared.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(6), "optimizer": np.array(["sgd", "adam"] * 3, object),
    ...            "seed": np.array([0, 0, 1, 1, 2, 2]), "state": np.zeros(6, int),
    ...            "loss": np.array([1.0, 0.5, 2.0, 1.25, 3.0, 2.0])}
    >>> found = SweepResult(columns, None, "loss", "min", {}).compare("optimizer", "adam", "sgd")
    >>> found.differences, found.difference, found.better, found.p_value
    (array([-0.5 , -0.75, -1.  ]), -0.75, 'adam', 0.25)

    References
    ----------
    X. Bouthillier et al., *Accounting for variance in machine learning benchmarks*, MLSys 2021.
    """
    metric = result.metric if metric is None else metric
    check_choice("axis", axis, result.axes)
    check_fraction("confidence", confidence)
    cells = scores(result, metric, diverged)
    first, second = _pairs(result, axis, a, b)
    x, y = cells[first], cells[second]
    both = ~(np.isnan(x) | np.isnan(y))
    if not both.any():
        raise SpecError(
            f"compare({axis!r}, {shortened(a)}, {shortened(b)}): no pair to compare. {len(x)} pairs"
            f" of trials agree in every other axis of {', '.join(result.axes)}, and in none "
            f"of them do both have a finite {metric}"
        )
    x, y = x[both], y[both]
    differences = x - y
    low, high = math.nan, math.nan
    if differences.size > 1:
        lows, highs = bca(differences[None], confidence, n_resamples, random_state)
        low, high = float(lows[0]), float(highs[0])
    mode = mode_of(result, metric)
    gain = differences if mode == "max" else -differences
    return Comparison(
        axis=axis,
        a=a,
        b=b,
        metric=metric,
        mode=mode,
        n_pairs=int(both.sum()),
        n_dropped=int((~both).sum()),
        mean_a=float(x.mean()),
        mean_b=float(y.mean()),
        difference=float(differences.mean()),
        ci_low=low,
        ci_high=high,
        wins=int((gain > 0.0).sum()),
        ties=int((gain == 0.0).sum()),
        losses=int((gain < 0.0).sum()),
        p_value=_wilcoxon(differences),
        differences=differences,
    )


def _pairs(result: Table, axis: str, a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the trials with ``a`` and of their partners with ``b``, of equal length."""
    column = np.asarray(result.columns[axis])
    sides = []
    codes = configurations(result.columns, [name for name in result.axes if name != axis])
    for value in (a, b):
        rows = np.flatnonzero(column == value)
        if rows.size == 0:
            there = list(dict.fromkeys(column.tolist()))
            names = list(map(str, there))
            near = "" if value in names else did_you_mean(value, names)
            raise SpecError(
                f"no trial has {axis} = {shortened(value)}{near}; there are "
                f"{', '.join(map(repr, there[:10]))}{', ...' if len(there) > 10 else ''}"
            )
        # Trials that an axis lists twice pair in the order of their numbers.
        again = pd.Series(codes[rows]).groupby(codes[rows]).cumcount().to_numpy()
        sides.append(pd.Series(rows, index=pd.MultiIndex.from_arrays([codes[rows], again])))
    paired = pd.concat(sides, axis=1, join="inner").sort_index().to_numpy()
    return paired[:, 0], paired[:, 1]


KEPT_BITS = 34
"""Of a difference that is ranked: ten digits, each pair's own, whatever the size of the others."""


def _wilcoxon(differences: np.ndarray) -> float:
    from scipy import stats

    # Of accuracies such as 0.9 - 0.8 and 0.8 - 0.7 the differences are equal, but for rounding.
    shares, exponents = np.frexp(differences)
    rounded = np.ldexp(np.round(shares * 2.0**KEPT_BITS), exponents - KEPT_BITS)
    return float(stats.wilcoxon(rounded).pvalue) if rounded.any() else 1.0
