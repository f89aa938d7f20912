"""Tables of Hyperband and successive halving, against the papers and scikit-learn itself."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import HalvingGridSearchCV, KFold

from fastopt.errors import SpecError
from sweeps import halving_rungs, hyperband_brackets

JOURNAL = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(34, 3), (11, 9), (3, 27), (1, 81)],
    2: [(15, 9), (5, 27), (1, 81)],
    1: [(8, 27), (2, 81)],
    0: [(5, 81)],
}
FIRST_VERSION = {
    4: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    3: [(27, 3), (9, 9), (3, 27), (1, 81)],
    2: [(9, 9), (3, 27), (1, 81)],
    1: [(6, 27), (2, 81)],
    0: [(5, 81)],
}


@pytest.mark.parametrize(("rounding", "table"), [("ceil", JOURNAL), ("floor", FIRST_VERSION)])
def test_the_table_of_the_paper(rounding, table):
    brackets = hyperband_brackets(81, 3, rounding=rounding)
    assert list(brackets) == list(table)
    assert {s: [tuple(rung) for rung in rungs] for s, rungs in brackets.items()} == table


@given(st.integers(1, 10**9), st.integers(2, 10))
def test_brackets_are_the_formulas_in_fractions(R, eta):
    brackets = hyperband_brackets(R, eta)
    last = max(brackets)
    assert eta**last <= R < eta ** (last + 1)
    for s, rungs in brackets.items():
        n = math.ceil(Fraction(last + 1, s + 1) * eta**s)
        assert [tuple(rung) for rung in rungs] == [
            (math.floor(Fraction(n, eta**i)), math.floor(R * Fraction(eta) ** (i - s)))
            for i in range(s + 1)
        ]
        assert rungs[-1].n_resources == R


@pytest.mark.parametrize("eta", [2, 3, 5, 10])
def test_exact_powers_have_all_their_brackets(eta):
    """Floating point takes log(243, 3) for 4.999... and would lose a bracket."""
    for k in range(12):
        assert max(hyperband_brackets(eta**k, eta)) == k
        assert max(hyperband_brackets(eta**k + 1, eta)) == (k if eta**k + 1 < eta ** (k + 1) else 1)


class Nothing(BaseEstimator):
    """An estimator that knows its score, so that only the bookkeeping of the search is left."""

    def __init__(self, quality=0, budget=1):
        self.quality, self.budget = quality, budget

    def fit(self, X, y):
        return self

    def score(self, X, y):
        return self.quality


def scikit_learn(n, min_resources, max_resources, factor, aggressive):
    search = HalvingGridSearchCV(
        Nothing(),
        {"quality": list(range(n))},
        resource="budget",
        min_resources=min_resources,
        max_resources=max_resources,
        factor=factor,
        aggressive_elimination=aggressive,
        cv=KFold(2),
        refit=False,
    )
    search.fit(np.zeros((4, 1)), np.zeros(4))
    return list(zip(search.n_candidates_, search.n_resources_))


@pytest.mark.parametrize("aggressive", [False, True])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("least", [1, 20, "exhaust"])
@pytest.mark.parametrize(("n", "most"), [(1, 50), (6, 1000), (9, 40), (10, 81), (28, 100)])
def test_rungs_are_scikit_learns(n, least, most, factor, aggressive):
    expected = scikit_learn(n, least, most, factor, aggressive)
    rungs = halving_rungs(n, least, most, factor, aggressive_elimination=aggressive)
    assert [tuple(rung) for rung in rungs] == expected


@pytest.mark.parametrize(
    ("least", "most", "aggressive", "resources"),
    [
        (20, 1000, False, [20, 40, 80]),
        ("exhaust", 1000, False, [250, 500, 1000]),
        (20, 40, True, [20, 20, 40]),
        (20, 40, False, [20, 40]),
    ],
)
def test_the_examples_of_scikit_learns_user_guide(least, most, aggressive, resources):
    rungs = halving_rungs(6, least, most, 2, aggressive_elimination=aggressive)
    assert [rung.n_resources for rung in rungs] == resources
    assert [rung.n_candidates for rung in rungs] == [6, 3, 2][: len(resources)]


def test_exact_powers_have_all_their_rungs():
    assert [rung.n_candidates for rung in halving_rungs(243, 1, 10**6, 3)] == [243, 81, 27, 9, 3, 1]


@given(
    st.integers(1, 10**6),
    st.integers(1, 10**4),
    st.integers(1, 10**6),
    st.integers(2, 9),
    st.booleans(),
)
def test_rungs_shrink_and_grow(n, least, most, factor, aggressive):
    assume(least <= most)
    rungs = halving_rungs(n, least, most, factor, aggressive_elimination=aggressive)
    assert rungs[0].n_candidates == n
    surplus = aggressive and len(rungs) < len(halving_rungs(2**53, least, most, factor))
    assert (rungs[0].n_resources > least) == surplus
    for before, after in itertools.pairwise(rungs):
        assert after.n_candidates == math.ceil(before.n_candidates / factor)
        assert after.n_resources in (before.n_resources, before.n_resources * factor)
    assert rungs[-1].n_resources <= most
    if aggressive:
        assert rungs[-1].n_candidates <= factor


def test_exhaust_takes_no_less_than_the_smallest():
    assert halving_rungs(81, "exhaust", 100, 3, smallest=30)[0].n_resources == 30
    assert halving_rungs(81, "exhaust", 100, 3)[0].n_resources == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hyperband_brackets(0), "max_resource must be an integer from 1 to .* got 0"),
        (lambda: hyperband_brackets(81.0), "max_resource must be an integer .* got 81.0"),
        (lambda: hyperband_brackets(81, 1), "factor must be an integer from 2 to .* got 1"),
        (lambda: hyperband_brackets(81, rounding="up"), "one of ceil, floor; got 'up'"),
        (lambda: halving_rungs(0, 1, 9), "n_candidates must be an integer from 1"),
        (lambda: halving_rungs(9, 10, 9), "min_resources must be an integer from 1 to 9; got 10"),
        (lambda: halving_rungs(9, "all", 9), r'an integer or "exhaust"; got .all'),
        (lambda: halving_rungs(9, 1, True), "max_resources must be an integer"),
        (lambda: halving_rungs(9, 1, 9, 1.5), "factor must be an integer from 2"),
        (lambda: halving_rungs(9, "exhaust", 9, smallest=0), "smallest must be an integer"),
    ],
)
def test_wrong_numbers_are_refused(call, message):
    with pytest.raises(SpecError, match=message):
        call()
