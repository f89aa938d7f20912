"""Tables and labels as data scientists have them: scikit-learn's numbers, and its refusals."""

from __future__ import annotations

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import LabelEncoder, StandardScaler

from fastopt.errors import ArrayError, ArrayTypeError, SpecError, SweepWarning
from sweeps import problems

SOME = np.arange(8.0).reshape(4, 2) ** 2
TARGETS = np.array([0.5, 1.5, 0.25, 2.0])
NAMES = np.array(["no", "yes", "no", "yes"])


def column(draw, rows):
    """One feature: of any scale, constant, nearly so, time stamps, counts or booleans."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale, offset = (
        10.0 ** draw(st.integers(-30, 30)),
        draw(st.sampled_from([0.0, 1.0, 1.7e9, 1e8])),
    )
    kind = draw(
        st.sampled_from(["normal", "offset", "constant", "nearly", "time", "count", "bool"])
    )
    drawn = rng.normal(size=rows)
    return {
        "normal": drawn * scale,
        "offset": (drawn + offset) * scale,
        "constant": np.full(rows, draw(st.sampled_from([0.0, 0.1, 1e8, scale]))),
        "nearly": 0.1 + np.spacing(0.1) * rng.integers(-9, 10, rows),
        "time": 1.7e9 + rng.integers(0, 10**6, rows),
        "count": rng.integers(-5, 50, rows),
        "bool": rng.random(rows) < 0.5,
    }[kind]


def nullable(a):
    return pd.array(a, {"b": "boolean", "i": "Int64", "f": "Float64"}[a.dtype.kind])


def arrow(a):
    return pd.array(a, {"b": "bool", "i": "int64", "f": "double"}[a.dtype.kind] + "[pyarrow]")


FORMS = {
    "array": np.column_stack,
    "Fortran": lambda columns: np.asfortranarray(np.column_stack(columns)),
    "list": lambda columns: np.column_stack(columns).tolist(),
    "object": lambda columns: np.column_stack([a.astype(object) for a in columns]),
    "masked, of nothing": lambda columns: np.ma.masked_array(np.column_stack(columns), mask=False),
    "read-only view": lambda columns: np.lib.stride_tricks.sliding_window_view(
        np.column_stack(columns), (1, len(columns))
    )[:, 0, 0, :],
    "DataFrame": lambda columns: pd.DataFrame(dict(enumerate(columns))),
    "nullable": lambda columns: pd.DataFrame({k: nullable(a) for k, a in enumerate(columns)}),
    "arrow": lambda columns: pd.DataFrame({k: arrow(a) for k, a in enumerate(columns)}),
    "categories": lambda columns: pd.DataFrame(
        {k: pd.Categorical(a.tolist()) for k, a in enumerate(columns)}
    ),
    "text": lambda columns: np.column_stack([a.astype(float).astype(str) for a in columns]),
}


@st.composite
def tables(draw):
    rows = draw(st.integers(2, 40))
    columns = [column(draw, rows) for _ in range(draw(st.integers(1, 4)))]
    return FORMS[draw(st.sampled_from(list(FORMS)))](columns)


@settings(max_examples=60, deadline=None)
@given(tables())
@example(1.7e9 + np.arange(60.0)[:, None])
@example(1e8 + np.random.default_rng(0).normal(size=(60, 1)))
@example(np.full((20, 1), 0.1))
def test_features_are_those_of_the_standard_scaler(X):
    scaler = StandardScaler().fit(X)
    expected = scaler.transform(X)
    n = len(expected)
    for dtype, rtol in (("float32", 1e-6), ("float64", 1e-15)):
        problem = problems.mlp(X, np.linspace(0, 1, n), X, np.ones(n), hidden=(), dtype=dtype)
        np.testing.assert_allclose(problem.X, expected, rtol=rtol, atol=1e-38)
        np.testing.assert_array_equal(problem.X, problem.X_test)
    np.testing.assert_array_equal(problem.mean, scaler.mean_)
    np.testing.assert_array_equal(problem.scale, scaler.scale_)


def test_a_constant_column_stays_what_it_is_in_test_rows():
    problem = problems.mlp(np.full((20, 1), 0.1), np.linspace(0, 1, 20), [[0.2]], [1.0])
    assert problem.X_test[0, 0] == np.float32(0.1)


LABELS = {
    "text": ["no", "yes", "perhaps", "no"],
    "text array": np.array(["no", "yes", "perhaps", "no"]),
    "text objects": np.array(["no", "yes", "perhaps", "no"], object),
    "bytes": np.array([b"a", b"b", b"a", b"c"]),
    "booleans": [True, False, False, True],
    "boolean objects": np.array([True, False, True, True], object),
    "gaps": [0, 1000, 2000, 0],
    "one-based": [1, 2, 3, 1],
    "negative": [-1, 1, 1, -1],
    "large": [2**62, 2**62 + 1, 2**62, 2**62],
    "uint8": np.array([7, 3, 3, 7], np.uint8),
    "uint64": np.array([2**64 - 1, 3, 3, 7], np.uint64),
    "integer objects": np.array([3, 1, 1, 2], object),
    "Series": pd.Series([5, 3, 3, 5], index=[9, 8, 7, 6]),
    "Int64": pd.Series([5, 3, 3, 5], dtype="Int64"),
    "boolean": pd.Series([True, False, True, True], dtype="boolean"),
    "string": pd.Series(["b", "a", "a", "c"], dtype="string"),
    "arrow": pd.Series(["b", "a", "a", "c"], dtype="string[pyarrow]"),
    "arrow integers": pd.Series([4, 2, 2, 4], dtype="int64[pyarrow]"),
    "categories": pd.Series(["b", "a", "a", "b"], dtype="category"),
    "unused category": pd.Series(pd.Categorical([1, 3, 3, 1], categories=[3, 2, 1])),
    "categories of floats": pd.Series([1.5, 1.0, 1.0, 1.5], dtype="category").cat.codes,
    "Index": pd.Index(["x", "y", "y", "z"]),
    "days": np.array(["2020-01-01", "2021-01-01", "2020-01-01", "2020-01-01"], "M8[D]"),
}


@pytest.mark.parametrize("name", LABELS)
def test_classes_are_those_of_the_label_encoder(name):
    y = LABELS[name]
    encoder = LabelEncoder().fit(y)
    order = [3, 0, 1]
    test = y.iloc[order] if isinstance(y, pd.Series) else np.asarray(y)[order]
    problem = problems.mlp(SOME, y, SOME[:3], test, hidden=(4,))
    np.testing.assert_array_equal(problem.classes, encoder.classes_)
    np.testing.assert_array_equal(problem.y, encoder.transform(y))
    np.testing.assert_array_equal(problem.y_test, encoder.transform(y)[order])
    np.testing.assert_array_equal(problem.classes[problem.y], np.asarray(y))
    assert problem.n_params == 4 * 3 + 5 * len(encoder.classes_)


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=30),
        st.lists(st.booleans(), min_size=2, max_size=30),
        st.lists(st.text(st.characters(exclude_characters="\x00"), max_size=5), min_size=2),
        st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=30),
    ).filter(lambda y: len(set(y)) > 1),
    st.sampled_from([np.asarray, list, lambda y: np.array(y, object), pd.Series]),
)
def test_labels_are_numbered_like_scikit_learns(y, form):
    encoder = LabelEncoder().fit(y)
    problem = problems.softmax_regression(np.ones((len(y), 1)), form(y))
    np.testing.assert_array_equal(problem.y, encoder.transform(y))
    np.testing.assert_array_equal(problem.classes, encoder.classes_)


MASKED = np.ma.masked_array(SOME, mask=np.isin(SOME, SOME[2, 1]))
LONG = np.longdouble(10) ** 400

REFUSED = {
    "masked": ({"X": MASKED}, ArrayError, r"X\[2, 1\] is masked \(1 of 8 values\)"),
    "masked test": ({"X_test": MASKED, "y_test": TARGETS}, ArrayError, r"X_test\[2, 1\] is masked"),
    "masked y": ({"y": np.ma.masked_equal(TARGETS, 1.5)}, ArrayError, r"y\[1\] is masked"),
    "NA": (
        {"X": pd.DataFrame({"a": pd.array([1, 2, None, 4], "Int64")})},
        ArrayError,
        r"X\[2, 0\]",
    ),
    "None": ({"X": np.array([[1, None]] * 4, object)}, ArrayError, r"X\[0, 1\] is nan.*Imputer"),
    "NaT": ({"X": np.array([["NaT"]] * 4, "M8[s]")}, ArrayTypeError, "dates and durations are no"),
    "days alone": ({"X": np.ones((4, 1), "M8[D]")}, ArrayTypeError, "dates and durations are no"),
    "durations": (
        {"X": pd.DataFrame({"t": pd.to_timedelta(TARGETS)})},
        ArrayTypeError,
        "durations",
    ),
    "y in another order": (
        {"X": pd.DataFrame(SOME), "y": pd.Series(TARGETS, index=[0, 1, 3, 2])},
        ArrayError,
        "y has the rows of the table in another order: 3 stands in row 2, where the table has 2;",
    ),
    "times of day first": (
        {"time": ["01/02/2020"] * 4, "validation": 0.5},
        ArrayError,
        "dates written as 2026-01-31",
    ),
    "dates": (
        {"X": pd.DataFrame({"at": pd.to_datetime(["2020"] * 4), "b": TARGETS})},
        ArrayTypeError,
        "total_seconds",
    ),
    "infinity": ({"X": SOME + np.inf}, ArrayError, r"X\[0, 0\] is inf"),
    "too long": ({"X": np.array([[LONG]] * 4)}, ArrayError, r"X\[0, 0\] is inf"),
    "large integers": ({"X": [[10**400], [1], [2], [3]]}, ArrayTypeError, "too large"),
    "complex": ({"X": SOME * 1j}, ArrayTypeError, "omplex"),
    "sparse": ({"X": scipy.sparse.csr_array(SOME)}, ArrayTypeError, r"X\.toarray\(\)"),
    "text": ({"X": pd.DataFrame({"a": list("abcd")})}, ArrayTypeError, "get_dummies"),
    "category": (
        {"X": pd.DataFrame({"a": pd.Categorical(list("abab"))})},
        ArrayTypeError,
        "dummies",
    ),
    "ragged": ({"X": [[1.0], [2.0, 3.0], [1.0], [1.0]]}, ArrayTypeError, "X cannot be read"),
    "Series": ({"X": pd.Series(TARGETS)}, ArrayError, r"table\[\['name'\]\]"),
    "three dimensions": ({"X": SOME[None]}, ArrayError, r"got \(1, 4, 2\)"),
    "a number": ({"X": 3.0}, ArrayError, r"\(rows, features\); got \(\)"),
    "no X": ({"X": None}, ArrayTypeError, "X is None"),
    "no features": ({"X": np.empty((4, 0))}, ArrayError, "no features"),
    "other columns": (
        {
            "X": pd.DataFrame(SOME, columns=["a", "b"]),
            "X_test": pd.DataFrame(SOME, columns=["b", "a"]),
            "y_test": TARGETS,
        },
        ArrayError,
        r"column 0 is 'a' and 'b'.*X_test\[X\.columns\]",
    ),
    "variance": ({"X": SOME * 1e200}, ArrayError, "column 0 of X is too large to standardize"),
    "float32": ({"X": SOME * 1e200, "standardize": False}, ArrayError, "too large for float32"),
    "far test": (
        {"X": SOME * 1e-30, "X_test": SOME + 1e12, "y_test": TARGETS},
        ArrayError,
        r"X_test\[0, 0\] is .*, too large for float32",
    ),
    "no y": ({"y": None}, ArrayTypeError, "y is None; give it a label or a target"),
    "y of no rows": ({"y": "abcd"}, ArrayError, "y must have one entry for each row; got 'abcd'"),
    "NaN label": ({"y": np.array(["a", np.nan, "b", "a"], object)}, ArrayError, r"y\[1\] is nan"),
    "None label": ({"y": ["a", None, "b", "a"]}, ArrayError, r"y\[1\] is None"),
    "NA label": ({"y": pd.Series(["a", None] * 2, dtype="string")}, ArrayError, r"y\[1\] is"),
    "mixed": ({"y": ["a", 1, "b", 2]}, ArrayTypeError, r"'a' \(str\), 1 \(int\)"),
    "objects": ({"y": [datetime.time(1)] * 4}, ArrayTypeError, r"\(time\)"),
    "complex y": ({"y": TARGETS * 1j}, ArrayTypeError, "real numbers; got complex128"),
    "sparse y": ({"y": scipy.sparse.csr_array(SOME[:, :1])}, ArrayTypeError, r"y\.toarray"),
    "zero": ({"y": np.array(["a", "a\0"] * 2, object)}, ArrayError, r"'a\\x00', which ends with"),
    "zero byte": ({"y": [b"a", b"a\0"] * 2}, ArrayError, r"b'a\\x00', which ends with a zero"),
    "zero of a group": (
        {"groups": ["a", "a\0"] * 2, "folds": 2},
        ArrayError,
        r"groups holds 'a\\x00'",
    ),
    "subnormal weights": ({"weights": [1e-39] * 4}, ArrayError, "row 0 weighs 1e-39"),
    "standardize": ({"standardize": "no"}, SpecError, "standardize must be True or False"),
    "big labels": ({"y": [2**70, 1, 1, 2]}, ArrayTypeError, "more than 64 bits"),
    "one class": ({"y": ["a"] * 4}, ArrayError, "two classes or more; all of y is 'a'"),
    "one hot": ({"y": np.eye(4, dtype=int)}, ArrayError, r"y\.argmax\(axis=1\)"),
    "text or numbers": ({"y": ["10.5", "9.5", "9.5", "2"]}, ArrayError, "labels or measurements"),
    "floats or labels": ({"y": [1.0, 2.0, 2.0, 1.0]}, ArrayError, "labels or measurements"),
    "text targets": (
        {"y": ["10.5", "9.5", "100.0", "2"], "loss": "squared_error"},
        ArrayTypeError,
        r"np\.asarray\(y, float\)",
    ),
    "fractions": (
        {"y": TARGETS, "loss": "softmax_cross_entropy"},
        ArrayError,
        "integer labels.*among them 0.5",
    ),
    "NaN labels": (
        {"y": [1.0, 2.0, np.nan, 1.0], "loss": "softmax_cross_entropy"},
        ArrayError,
        r"y\[2\] is nan",
    ),
    "test fraction": (
        {"y": [0, 1, 1, 0], "X_test": SOME, "y_test": TARGETS},
        ArrayError,
        r"y_test\[0\] is 0.5, which is no label of the training rows: 0, 1",
    ),
    "test name": (
        {"y": NAMES, "X_test": SOME[:1], "y_test": ["maybe"]},
        ArrayError,
        r"y_test\[0\] is 'maybe', which is no label.*'no', 'yes'",
    ),
    "test of another sort": (
        {"y": NAMES, "X_test": SOME[:1], "y_test": [1]},
        ArrayError,
        r"y_test\[0\] is 1, which is no label",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_learned_from_is_refused(name):
    arguments, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        problems.mlp(**{"X": SOME, "y": TARGETS, **arguments})


LONG_NUMBERS = 2**62 + np.arange(8).reshape(4, 2)

WARNED = {
    "long integers": (
        {"X": LONG_NUMBERS},
        "column 0 of X holds 4 integers, of which float64 tells 1",
    ),
    "a column of them": (
        {"X": pd.DataFrame({"a": TARGETS, "b": LONG_NUMBERS[:, 0]})},
        "column 1 of X holds 4 integers",
    ),
    "column of labels": ({"y": NAMES[:, None]}, "y is a column of shape"),
    "y far away": ({"y": 1.7e9 + TARGETS}, "column 0 of y lies about 1.7e"),
    "X far away": ({"X": SOME + 1e9, "standardize": False}, "column 0 of X lies about 1e"),
    "many classes": ({"X": np.eye(30), "y": np.arange(30)}, "30 different integers in 30 rows"),
}


@pytest.mark.parametrize("name", WARNED)
def test_what_may_be_a_mistake_is_told(name):
    arguments, message = WARNED[name]
    with pytest.warns(SweepWarning, match=message):
        problems.mlp(**{"X": SOME, "y": TARGETS, **arguments})


REGRESSIONS = {
    "whole": np.array([1.0, 2.0, 2.0, 1.0]),
    "integers": [3, 1, 1, 2],
    "booleans": NAMES == "no",
    "decimals": [decimal.Decimal("0.5")] * 4,
    "Float64": pd.Series([1, 2.5, 2, 1], dtype="Float64"),
    "a column": TARGETS[:, None],
    "a table": pd.DataFrame({"a": TARGETS, "b": TARGETS}),
}


@pytest.mark.parametrize("name", REGRESSIONS)
def test_a_regression_takes_numbers_of_any_dtype(name):
    y = REGRESSIONS[name]
    problem = problems.linear_regression(SOME, y)
    np.testing.assert_array_equal(problem.y, np.asarray(y, float).reshape(4, -1))
    assert problem.classes is None


def test_labels_that_are_floats_are_classes_where_the_loss_says_so():
    problem = problems.logistic_regression(SOME, [2.0, 1.0, 1.0, 2.0])
    np.testing.assert_array_equal(problem.classes, [1, 2])
    np.testing.assert_array_equal(problem.y, [1, 0, 0, 1])


def square(theta, X, y, aux, grad):
    grad[0] = theta[0]
    return 0.5 * theta[0] * theta[0]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"X": MASKED}, ArrayError, r"X\[2, 1\] is masked"),
        ({"y": np.ma.masked_equal([1, 2, 3, 4], 3)}, ArrayError, r"y\[2\] is masked"),
        ({"aux": (np.ma.masked_equal([1, 3], 3),)}, ArrayError, r"aux\[0\]\[1\] is masked"),
        ({"y": np.array([2**63, 1, 2, 3], np.uint64)}, ArrayError, "must fit in int64"),
        ({"X": SOME * 1e200}, ArrayError, "too large for float32"),
        ({"X": SOME + 1e9}, SweepWarning, "lies about"),
        ({"X": 10**9 + np.arange(4)}, SweepWarning, "lies about"),
    ],
)
def test_arrays_of_a_loss_of_the_users_own_lose_nothing(arguments, kind, message):
    with pytest.raises(kind, match=message):  # warnings are errors here
        problems.custom(square, np.ones(1, np.float32), **{"X": SOME, "y": TARGETS, **arguments})


def test_stores_do_not_ask_what_classes_are_called():
    from sweeps.store.identity import describe

    a, b = (problems.mlp(SOME, names) for names in (NAMES, np.char.upper(NAMES)))
    ours = {name for name in describe(a) if name in ("classes", "mean", "scale")}
    assert not ours
    assert describe(a) == describe(b)


def test_points_of_a_landscape_are_not_masked():
    with pytest.raises(ArrayError, match=r"start\[1\] is masked"):
        problems.landscape(lambda x, y: x * x + y * y, np.ma.masked_equal([1.0, 2.0], 2.0))


def test_rows_of_zeros_and_a_one_are_asked_about():
    """As integers or floats; a regression on them is one if it says so."""
    X, labels = np.arange(24.0).reshape(12, 2), np.arange(12) % 3
    for dtype in (int, np.float32):
        with pytest.raises(ArrayError, match=r"y.argmax\(axis=1\)"):
            problems.mlp(X, np.eye(3)[labels].astype(dtype))
    assert problems.mlp(X, np.eye(3)[labels], loss="squared_error").classes is None
    assert problems.mlp(X, np.eye(3)[labels] + 0.5).classes is None
    text = np.array(["a", "b", "c"], np.dtypes.StringDType())[labels]
    assert problems.mlp(X, text).classes.tolist() == ["a", "b", "c"]


def test_models_on_the_same_rows_share_them():
    problem = problems.iris(hidden=(8,), folds=3)
    wide, narrow = (problem.varied(fold=1, hidden=n) for n in (8, 4))
    assert wide.X is narrow.X
    assert wide.y_val is narrow.y_val
    assert problem.varied(hidden=4).X is problem.X
    with pytest.raises(SpecError, match="fold must be an integer from 0 to 2; got True"):
        problem.varied(fold=True)
