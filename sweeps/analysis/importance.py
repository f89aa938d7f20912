"""How much of the spread of a metric each axis explains: functional analysis of variance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError
from sweeps.analysis.stats import group_means, scores
from sweeps.analysis.table import Table
from sweeps.common.frames import configurations, pd
from sweeps.space.axes import Tied


def importance(
    result: Table, metric: str | None = None, *, diverged: str = "worst"
) -> pd.DataFrame:
    r"""Return the share of the variance over the grid that each axis and each pair explains.

    Every point of the grid weighs the same. With :math:`\bar y` the mean over the grid,
    :math:`f_j(a) = E[y \mid x_j = a] - \bar y` and
    :math:`f_{jk}(a, b) = E[y \mid x_j = a, x_k = b] - f_j(a) - f_k(b) - \bar y`, an effect's share
    is the mean of :math:`f^2` divided by the variance of :math:`y`. On a full grid this is exact:
    the shares of all orders sum to one. The share of ``seed`` and of its pairs is noise.

    Parameters
    ----------
    metric : str, optional
        That of the sweep by default.
    diverged : {"worst", "exclude"}
        A diverged trial counts as the worst of the sweep, so that an axis which decides about
        divergence matters; or it leaves a hole. Axis values with holes, the most torn first, are
        taken out until the rest is a full grid. PRUNED and FAILED trials always leave holes.

    Returns
    -------
    pandas.DataFrame
        ``effect`` (``"lr"``, ``"lr x beta1"``, ``"higher orders"``), ``order`` (1, 2, 3 for three
        and more), ``variance`` and ``share``, largest first. Tied axes are one, ``"lr&beta1"``;
        axes of one value are left out. ``.attrs["dropped"]`` tells the axis values taken out.

    Raises
    ------
    SpecError
        The trials are not a full grid (a union, conditional axes, an interrupted sweep, one axis
        drawn for each trial), nothing is left of it, or a name does not exist.

    Examples
    --------
    Of ``y = a + 2 b`` on two axes of -1 and 1, ``b`` explains four fifths:

    >>> from sweeps import SweepResult
    >>> columns = {"trial_id": np.arange(4), "a": np.array([-1, -1, 1, 1]),
    ...            "b": np.array([-1, 1, -1, 1]), "state": np.zeros(4, int),
    ...            "loss": np.array([-3.0, 1.0, -1.0, 3.0])}
    >>> SweepResult(columns, None, "loss", "min", {}).importance()
      effect  order  variance  share
    0      b      1       4.0    0.8
    1      a      1       1.0    0.2
    2  a x b      2       0.0    0.0

    References
    ----------
    F. Hutter, H. Hoos and K. Leyton-Brown, *An efficient approach for assessing hyperparameter
    importance*, ICML 2014.
    """
    cells = scores(result, result.metric if metric is None else metric, diverged)
    factors = _factors(result)
    grid, levels = _grid(result, cells, factors)
    grid, dropped = _without_holes(grid, levels)
    names = ["&".join(factor) for factor in factors]
    # Squares of losses of 1e200 are infinite; scaling by a power of two changes no digit.
    size = int(np.frexp(np.abs(grid).max())[1])
    grid = np.ldexp(grid, -size)
    rows, total = decompose(grid), float(np.mean(_centred(grid) ** 2))
    with np.errstate(over="ignore", under="ignore"):
        variances = np.ldexp(list(rows.values()), 2 * size)
    frame = pd.DataFrame(
        {
            "effect": [" x ".join(names[k] for k in e) or "higher orders" for e in rows],
            "order": [len(e) or 3 for e in rows],
            "variance": variances,
            "share": [v / total if total > 0.0 else 0.0 for v in rows.values()],
        }
    )
    frame = frame.sort_values("share", ascending=False, kind="stable", ignore_index=True)
    frame.attrs["dropped"] = {names[k]: values for k, values in dropped.items()}
    return frame


def decompose(grid: np.ndarray) -> dict[tuple[int, ...], float]:
    """Return the variance of each main effect and pairwise interaction of a full grid.

    Returns axes of the effect -> mean square; ``()`` holds the higher orders of three axes or more.

    >>> decompose(np.array([[1.0, 2.0], [3.0, 4.0]]))
    {(0,): 1.0, (1,): 0.25, (0, 1): 0.0}
    """
    every = range(grid.ndim)
    centred = _centred(grid)

    def marginal(*kept: int) -> np.ndarray:
        return centred.mean(axis=tuple(k for k in every if k not in kept), keepdims=True)

    variances: dict[tuple[int, ...], float]
    variances = {(k,): float(np.mean(marginal(k) ** 2)) for k in every}
    for j, k in itertools.combinations(every, 2):
        effect = marginal(j, k) - marginal(j) - marginal(k)
        variances[j, k] = float(np.mean(effect**2))
    if grid.ndim > 2:
        # Rounding may make it slightly negative.
        variances[()] = max(0.0, float(np.mean(centred**2)) - sum(variances.values()))
    return variances


def _centred(grid: np.ndarray) -> np.ndarray:
    """Return deviations from the mean, of equal numbers zeros: their mean may be an ulp off."""
    above = grid - grid.flat[0]
    return above - above.mean()


def _factors(result: Table) -> list[tuple[str, ...]]:
    """Return the axes that vary, tied ones together."""
    parts = () if result.space is None else result.space.parts
    part = parts[0] if len(parts) == 1 else {}
    factors: dict[tuple[str, ...], list[str]] = {}
    for name in result.axes:
        axis = part.get(name)
        factors.setdefault(axis.group if isinstance(axis, Tied) else (name,), []).append(name)
    varied = [
        tuple(names)
        for names in factors.values()
        if len(result) and configurations(result.columns, names).max() > 0
    ]
    if not varied:
        raise SpecError("importance needs an axis with two values or more among the trials")
    return varied


def _grid(
    result: Table, cells: np.ndarray, factors: Sequence[tuple[str, ...]]
) -> tuple[np.ndarray, list[list[Any]]]:
    """Return the mean of every grid point, NaN where no trial counts, and the levels' values."""
    codes = [configurations(result.columns, factor) for factor in factors]
    shape = [int(code.max()) + 1 for code in codes]
    names = [name for factor in factors for name in factor]
    points = int(configurations(result.columns, names).max()) + 1
    if points != math.prod(shape):
        sizes = " x ".join(f"{'&'.join(f)} ({n})" for f, n in zip(factors, shape))
        raise SpecError(
            f"importance needs a full grid: {sizes} make {math.prod(shape)} points, and the trials "
            f"cover {points}. Sweep a product of axes, without unions and conditions, to its end"
        )
    where = np.ravel_multi_index(codes, shape)
    grid = group_means(cells, where, points).reshape(shape)
    levels = []
    for code, factor in zip(codes, factors):
        _, first = np.unique(code, return_index=True)
        rows = zip(*(np.asarray(result.columns[name])[first].tolist() for name in factor))
        levels.append([row[0] if len(row) == 1 else row for row in rows])
    return grid, levels


def _without_holes(
    grid: np.ndarray, levels: list[list[Any]]
) -> tuple[np.ndarray, dict[int, list[Any]]]:
    """Remove levels until no point is missing, first those with the most missing points."""
    dropped: dict[int, list[Any]] = {}
    levels = [list(values) for values in levels]
    while (holes := np.isnan(grid)).any():
        worst = [
            holes.mean(axis=tuple(j for j in range(grid.ndim) if j != k)) for k in range(grid.ndim)
        ]
        k = int(np.argmax([shares.max() for shares in worst]))
        level = int(worst[k].argmax())
        dropped.setdefault(k, []).append(levels[k].pop(level))
        grid = np.delete(grid, level, axis=k)
    if grid.size == 0:
        raise SpecError(
            'importance: no full grid of finished trials is left; use diverged="worst" to count '
            "diverged trials as the worst"
        )
    return grid, dropped
