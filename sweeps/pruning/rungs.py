"""The rungs of successive halving and Hyperband: how many trials, and how far, exactly."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from fastopt.errors import SpecError, shortened
from sweeps.common.names import check_choice
from sweeps.space.distributions import as_integer

MAX_RESOURCES = 2**53
ROUNDINGS = ("ceil", "floor")


class Rung(NamedTuple):
    """One round: ``n_candidates`` trials, each trained until it has used ``n_resources``."""

    n_candidates: int
    n_resources: int


def hyperband_brackets(
    max_resource: int,
    factor: int = 3,
    *,
    rounding: str = "ceil",
    min_resource: int = 1,
    n_trials: int | None = None,
) -> dict[int, tuple[Rung, ...]]:
    r"""Return the rungs of every bracket of Hyperband.

    With :math:`s_{max} = \lfloor \log_\eta R / r \rfloor`, bracket
    :math:`s = s_{max} \dots 0` begins with
    :math:`n = \lceil (s_{max} + 1)\, \eta^s / (s + 1) \rceil` trials; rung :math:`i` keeps
    :math:`\lfloor n \eta^{-i} \rfloor` of them until :math:`\lfloor R\, \eta^{i - s} \rfloor`.

    Parameters
    ----------
    max_resource : int
        :math:`R`, what a trial may use at most, in any unit (epochs, steps).
    factor : int
        :math:`\eta \ge 2`: one trial in ``factor`` goes on.
    rounding : {"ceil", "floor"}
        The formula above is the journal's. The table of the paper's first version rounds earlier,
        :math:`n = \lfloor (s_{max} + 1) / (s + 1) \rfloor \eta^s`.
    min_resource : int
        :math:`r`, what a trial may use at least; 1 in the paper, where it is the unit of :math:`R`.
    n_trials : int, optional
        Deal out this many trials instead, in the proportions of the brackets above: of ``total``
        trials, bracket ``s`` has those from ``n_trials * before // total``, if the brackets before
        it have ``before``. Each rung keeps at least one; a bracket without trials is left out.

    Returns
    -------
    dict of int to tuple of Rung
        By :math:`s`, the most exploratory bracket first. All arithmetic is in integers.

    Raises
    ------
    SpecError
        A number is not an integer in its range, or the rounding is unknown.

    Examples
    --------
    >>> for s, rungs in hyperband_brackets(81, 3).items():
    ...     print(s, *map(tuple, rungs))
    4 (81, 1) (27, 3) (9, 9) (3, 27) (1, 81)
    3 (34, 3) (11, 9) (3, 27) (1, 81)
    2 (15, 9) (5, 27) (1, 81)
    1 (8, 27) (2, 81)
    0 (5, 81)
    >>> {s: rungs[0] for s, rungs in hyperband_brackets(81, n_trials=20).items()}[4]
    Rung(n_candidates=11, n_resources=1)

    References
    ----------
    L. Li, K. Jamieson, G. DeSalvo, A. Rostamizadeh and A. Talwalkar, *Hyperband: a novel
    bandit-based approach to hyperparameter optimization*, JMLR 2018.
    """
    max_resource = as_integer("max_resource", max_resource, 1, MAX_RESOURCES)
    factor = as_integer("factor", factor, 2, MAX_RESOURCES)
    check_choice("rounding", rounding, ROUNDINGS)
    last = _floor_log(
        max_resource // as_integer("min_resource", min_resource, 1, max_resource), factor
    )
    sizes = {}
    for s in range(last, -1, -1):
        if rounding == "ceil":
            sizes[s] = -(-(last + 1) * factor**s // (s + 1))
        else:
            sizes[s] = (last + 1) // (s + 1) * factor**s
    if n_trials is not None:
        sizes = _apportion(sizes, as_integer("n_trials", n_trials, 1, MAX_RESOURCES))
    return {
        s: tuple(
            Rung(max(n // factor**i, 1), max_resource // factor ** (s - i)) for i in range(s + 1)
        )
        for s, n in sizes.items()
        if n
    }


def _apportion(sizes: dict[int, int], n: int) -> dict[int, int]:
    """Split ``n`` in the proportions of ``sizes``."""
    ends = list(itertools.accumulate(sizes.values(), initial=0))
    bounds = [n * end // ends[-1] for end in ends]
    return {s: high - low for s, (low, high) in zip(sizes, itertools.pairwise(bounds))}


def halving_rungs(
    n_candidates: int,
    min_resources: int | str,
    max_resources: int,
    factor: int = 3,
    *,
    aggressive_elimination: bool = False,
    smallest: int = 1,
) -> tuple[Rung, ...]:
    """Return the rungs of successive halving, with scikit-learn's meaning of every option.

    Each rung keeps the best ``ceil(n / factor)`` of the one before and gives them ``factor`` times
    as much, up to ``max_resources``; there is no rung after one of at most ``factor`` candidates.

    Parameters
    ----------
    n_candidates : int
        Trials of the first rung.
    min_resources : int or "exhaust"
        What each trial of the first rung may use. ``"exhaust"`` takes the most with which the last
        rung still fits, so that it uses as much of ``max_resources`` as possible.
    max_resources : int
        What a trial may use at most.
    factor : int
        At least 2.
    aggressive_elimination : bool
        If there are too few resources to get down to ``factor`` candidates, play the first rungs
        with ``min_resources`` again and again instead of stopping early with many. If there are
        more resources than needed, begin with a multiple of ``min_resources``; so does
        scikit-learn.
    smallest : int
        The least that ``"exhaust"`` may take.

    Returns
    -------
    tuple of Rung
        ``n_candidates_`` and ``n_resources_`` of scikit-learn's ``HalvingGridSearchCV``, except
        that logarithms are exact: scikit-learn takes ``log(243, 3)`` for less than 5.

    Raises
    ------
    SpecError
        A number is not an integer in its range, or ``min_resources`` exceeds ``max_resources``.

    Examples
    --------
    >>> [tuple(rung) for rung in halving_rungs(6, 20, 1000, factor=2)]
    [(6, 20), (3, 40), (2, 80)]
    >>> [r.n_resources for r in halving_rungs(6, "exhaust", 1000, factor=2)]
    [250, 500, 1000]
    >>> [r.n_resources for r in halving_rungs(6, 20, 40, factor=2, aggressive_elimination=True)]
    [20, 20, 40]

    References
    ----------
    K. Jamieson and A. Talwalkar, *Non-stochastic best arm identification and hyperparameter
    optimization*, AISTATS 2016.
    """
    n = as_integer("n_candidates", n_candidates, 1, MAX_RESOURCES)
    factor = as_integer("factor", factor, 2, MAX_RESOURCES)
    most = as_integer("max_resources", max_resources, 1, MAX_RESOURCES)
    required = 1 + _floor_log(n, factor)
    if min_resources == "exhaust":
        least = max(as_integer("smallest", smallest, 1, most), most // factor ** (required - 1))
    elif isinstance(min_resources, str):
        raise SpecError(
            f'min_resources must be an integer or "exhaust"; got {shortened(min_resources)}'
        )
    else:
        least = as_integer("min_resources", min_resources, 1, most)
    possible = 1 + _floor_log(most // least, factor)
    rungs = []
    for i in range(required if aggressive_elimination else min(possible, required)):
        power = max(0, i - required + possible) if aggressive_elimination else i
        rungs.append(Rung(n, min(factor**power * least, most)))
        n = -(-n // factor)
    return tuple(rungs)


def _floor_log(x: int, base: int) -> int:
    """Largest ``k`` with ``base**k <= x``; floating point gets exact powers wrong."""
    k = 0
    while base ** (k + 1) <= x:
        k += 1
    return k
