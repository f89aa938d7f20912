"""Rows for training, choosing and judging: scikit-learn's own, disjoint, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import model_selection as sk

from fastopt.errors import FastoptError, SpecError, SweepWarning
from sweeps import problems
from sweeps.problems.splits import split_rows

RNG = np.random.default_rng(0)
N = 60
LABELS = RNG.permutation(np.repeat(["a", "b", "c"], [30, 18, 12]))
TARGETS = RNG.normal(size=N)
GROUPS = RNG.integers(0, 12, N)
DAYS = RNG.integers(0, 50, N)


def same(parts, expected, rest=None):
    """The parts are those that a splitter makes of the rows that are left."""
    rest = np.arange(N) if rest is None else rest
    expected = [(rest[train], rest[held]) for train, held in expected]
    assert len(parts) == len(expected)
    for pair, other in zip(parts, expected):
        for rows, those in zip(pair, other):
            np.testing.assert_array_equal(rows, those)


@pytest.mark.parametrize("seed", [0, 3])
def test_folds_are_those_of_the_splitter_that_fits_the_data(seed):
    fits = [
        (LABELS, True, {}, sk.StratifiedKFold(5, shuffle=True, random_state=seed)),
        (TARGETS, False, {}, sk.KFold(5, shuffle=True, random_state=seed)),
        (LABELS, True, {"groups": GROUPS}, sk.GroupKFold(5, shuffle=True, random_state=seed)),
    ]
    for y, labels, more, splitter in fits:
        got = split_rows(y, classification=labels, folds=5, seed=seed, **more)
        same(got.parts, splitter.split(y, y, more.get("groups")))
        assert not len(got.test)


def test_folds_of_time_are_those_of_the_rows_in_its_order():
    got = split_rows(TARGETS, classification=False, folds=4, time=DAYS, test=10)
    order = np.argsort(DAYS, kind="stable")
    np.testing.assert_array_equal(got.test, order[-10:])
    same(got.parts, sk.TimeSeriesSplit(4).split(order[:-10]), order[:-10])
    for train, chosen_by in got.parts:
        assert DAYS[train].max() <= DAYS[chosen_by].min() <= DAYS[got.test].min()


SPLITTERS = [
    sk.KFold(3), sk.StratifiedKFold(4), sk.GroupKFold(3), sk.TimeSeriesSplit(3), sk.LeaveOneOut(),
    sk.LeaveOneGroupOut(), sk.StratifiedGroupKFold(2), sk.RepeatedKFold(n_splits=2, n_repeats=2,
    random_state=1), sk.ShuffleSplit(2, random_state=1), sk.PredefinedSplit(GROUPS % 3),
]  # fmt: skip


@pytest.mark.parametrize("splitter", SPLITTERS, ids=lambda s: type(s).__name__)
@pytest.mark.filterwarnings("ignore:class .* has no training rows")
def test_a_splitter_makes_the_same_folds_here_and_in_scikit_learn(splitter):
    groups = GROUPS if "Group" in type(splitter).__name__ else None
    got = split_rows(LABELS, classification=True, folds=splitter, groups=groups)
    same(got.parts, splitter.split(np.zeros(N), LABELS, groups))
    pairs = list(splitter.split(np.zeros(N), LABELS, groups))
    same(split_rows(LABELS, classification=True, folds=iter(pairs)).parts, pairs)


def test_held_out_rows_are_those_of_train_test_split():
    for y, labels in ((LABELS, LABELS), (TARGETS, None)):
        got = split_rows(y, classification=labels is not None, test=0.2, validation=0.25, seed=7)
        rest, test = sk.train_test_split(
            np.arange(N), test_size=0.2, stratify=labels, random_state=7
        )
        train, chosen_by = sk.train_test_split(
            rest, test_size=15, random_state=7, stratify=None if labels is None else labels[rest]
        )
        same(got.parts, [(train, chosen_by)])
        np.testing.assert_array_equal(got.test, test)
    by_number = split_rows(y, classification=False, test=12, validation=15, seed=7)
    np.testing.assert_array_equal(by_number.test, test)


def test_groups_are_held_out_whole():
    got = split_rows(TARGETS, classification=False, test=0.25, validation=0.25, groups=GROUPS)
    splitter = sk.GroupShuffleSplit(1, test_size=0.25, random_state=0)
    _, test = next(splitter.split(TARGETS, groups=GROUPS))
    np.testing.assert_array_equal(got.test, test)
    ((train, chosen_by),) = got.parts
    kept = [set(GROUPS[rows]) for rows in (train, chosen_by, test)]
    assert [len(each) for each in kept] == [6, 3, 3]
    assert sum(map(len, kept)) == len(set.union(*kept))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(LABELS, True), (TARGETS, False)]),
    st.sampled_from([{}, {"groups": GROUPS}, {"time": DAYS}]),
    st.sampled_from([{"folds": 2}, {"folds": 4}, {"validation": 0.2}, {"validation": 0.4}, {}]),
    st.sampled_from([0, 0.1, 0.3]),
    st.integers(0, 2**32 - 1),
)
@pytest.mark.filterwarnings("ignore:class .* has no training rows")
def test_every_row_is_in_one_part(targets, kind, inner, test, seed):
    y, classification = targets
    got = split_rows(y, classification=classification, test=test, seed=seed, **inner, **kind)
    for train, chosen_by in got.parts:
        used = np.concatenate([train, chosen_by, got.test])
        assert len(set(used)) == len(used)
        if not ("time" in kind and "folds" in inner):
            assert len(used) == N
    again = split_rows(y, classification=classification, test=test, seed=seed, **inner, **kind)
    same(again.parts, got.parts)


def test_rows_are_given_by_number_or_by_mask():
    mask = np.arange(N) % 5 == 0
    by_mask = split_rows(LABELS, classification=True, test=mask, validation=[1, 2, 3])
    by_number = split_rows(
        LABELS, classification=True, test=np.flatnonzero(mask), validation=[1, 2, 3]
    )
    same(by_mask.parts, by_number.parts)
    np.testing.assert_array_equal(by_mask.test, np.flatnonzero(mask))
    assert len(by_mask.parts[0][0]) == N - 12 - 3


RARE = np.array(["a"] * 20 + ["b"] * 3)
WRONG = {
    "rare class": ({"y": RARE, "folds": 5}, "folds=5: class 'b' has 3 rows .* needs 5"),
    "a class of one row": (
        {"y": np.array([0] * 9 + [1]), "test": 0.2}, "test=0.2: class 1 has 1 row .* needs 2",
    ),
    "fewer rows than classes": ({"test": 2}, "splits 60 rows into 58 and 2; both need a row of"),
    "both": ({"folds": 3, "validation": 0.2}, "folds and validation both say"),
    "overlap": (
        {"folds": [([0, 1, 2], [2, 3])]}, "row 2 the first, are training and validation rows",
    ),
    "overlap with the test": (
        {"folds": [([0, 1], [2, 3])], "test": [3, 4]}, "row 3 the first, are validation and test",
    ),
    "one row twice": ({"test": [5, 6], "validation": [6]}, "row 6 of validation is a test row"),
    "outside": ({"folds": [([0, 1], [60])]}, "fold 0 .validation. has row 60; the 60 rows"),
    "negative": ({"test": [-1]}, "test has row -1"),
    "a mask of others": ({"test": np.ones(5, bool)}, "test is a mask of shape .5,.; there are 60"),
    "fractions": ({"test": [0.5, 2.0]}, "test must be numbers of rows"),
    "nothing to train on": ({"folds": [([], [1])]}, "fold 0 has no training rows"),
    "nothing to choose by": ({"folds": [([1], [])]}, "fold 0 has no validation rows"),
    "no folds": ({"folds": []}, "has no folds"),
    "not pairs": ({"folds": [(1, 2, 3)]}, "fold 0 is"),
    "text": ({"folds": "5"}, "folds must be a whole number from 2"),
    "one fold": ({"folds": 1}, "folds must be a whole number from 2"),
    "true": ({"folds": True}, "folds must be a whole number from 2"),
    "more folds than rows": ({"folds": 61, "classification": False}, "needs 61 rows or more"),
    "more folds than groups": ({"folds": 13, "groups": GROUPS}, "needs 13 groups .* there are 12"),
    "short groups": ({"folds": 3, "groups": [1, 2]}, "groups must have one entry .* shape .2,."),
    "missing groups": ({"folds": 3, "groups": [None] * N}, "groups.0. is None"),
    "missing times": ({"folds": 3, "time": [np.nan] * N}, "time.0. is missing"),
    "groups in time": ({"folds": 3, "groups": GROUPS, "time": DAYS}, "groups and time are both"),
    "rows of groups": ({"test": 12, "groups": GROUPS}, "counts rows, and groups stay whole"),
    "all": ({"test": 60}, "holds 60 of 60 rows out"),
    "all, by number": ({"test": range(60)}, "holds all 60 rows"),
    "a large share": ({"test": 1.0}, "a share in .0, 1."),
    "nan": ({"validation": np.nan}, "a share in .0, 1."),
    "less than none": ({"validation": -3}, "a share in .0, 1."),
    "a word": ({"validation": "some"}, "a share in .0, 1."),
    "a share of pairs": ({"folds": [([0], [1])], "test": 0.2}, "test must be, too; got test=0.2"),
    "a seed": ({"test": 0.2, "seed": -1}, "split seeds are in"),
    "no seed": ({"test": 0.2, "seed": None}, "split seeds are whole numbers"),
    "of scikit-learn's": (
        {"folds": sk.StratifiedKFold(3), "y": TARGETS, "classification": False}, "folds=Strat",
    ),
    "other rows each time": (
        {"folds": sk.ShuffleSplit(2)}, "draws other rows each time; give it a random_state",
    ),
    "of a generator": (
        {"folds": sk.KFold(3, shuffle=True, random_state=np.random.RandomState(0))}, "draws other",
    ),
    "too many": (
        {"folds": sk.RepeatedKFold(n_splits=3, n_repeats=4000), "y": np.ones(3)}, "than 10,000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_bad_splits_are_refused(case):
    wrong, message = WRONG[case]
    options = {"y": LABELS, "classification": True, **wrong}
    with pytest.raises(FastoptError, match=message):
        split_rows(options.pop("y"), **options)


def test_a_class_that_is_never_trained_on_is_told():
    with pytest.warns(SweepWarning, match="class 'b' has no training rows in fold 1"):
        split_rows(
            np.array(["a", "b", "a", "b"]),
            classification=True,
            folds=[([0, 1], [2, 3]), ([0, 2], [1, 3])],
        )


def test_errors_are_of_specs():
    with pytest.raises(SpecError):
        split_rows(LABELS, classification=True, test=2.5)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["cat"] * 9 + ["dog"] * 9 + ["owl"], "class 'owl' has 1 row .* by their numbers$"),
        ([3] * 9 + [-6] + [7] * 9, "class -6 has 1 row .*squared_error. makes it a regression$"),
    ],
)
@pytest.mark.parametrize("split", [{"validation": 0.2}, {"test": 0.2}, {"folds": 3}], ids=str)
def test_classes_are_called_what_their_labels_say(labels, says, split):
    X = np.arange(19.0)[:, None]
    with pytest.raises(SpecError, match=says):
        problems.mlp(X, labels, **split)


def test_a_class_that_is_not_trained_on_is_called_by_its_label():
    X, labels = np.arange(18.0)[:, None], ["cat"] * 9 + ["dog"] * 9
    with pytest.warns(SweepWarning, match="class 'dog' has no training rows in fold 0"):
        problems.mlp(X, labels, folds=[(np.arange(9), np.arange(9, 18))])
