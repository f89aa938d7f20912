"""Tables from files and of pandas: what a model gets of them, what a store remembers, refusals."""

from __future__ import annotations

import datetime
import pickle
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn import model_selection as sk
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from fastopt.errors import ArrayError, FastoptError, SpecError
from sweeps.problems import table
from sweeps.problems.columns import as_features
from sweeps.problems.preprocessing import default_preprocess, fit_rows, names_of_features
from sweeps.problems.splits import split_rows
from sweeps.problems.table_data import read_table
from sweeps.store.changes import differences
from sweeps.store.identity import describe
from tests.helpers.wines import wines, write_wines

KINDS = {
    "fixed acidity": "numeric", "alcohol": "numeric", "year": "numeric", "colour": "categorical",
    "organic": "boolean", "vessel": "constant text", "units": "constant",
}  # fmt: skip


def equal(a, b):
    pd.testing.assert_frame_equal(a.X, b.X)
    np.testing.assert_array_equal(a.y, b.y)
    assert a.content == b.content


def arrow(frame, dictionary=False):
    """Return a table of pyarrow; or one of pandas with each column a dictionary of Arrow's."""
    made = pa.Table.from_pandas(frame)
    if not dictionary:
        return made
    encoded = {name: made[name].combine_chunks().dictionary_encode() for name in frame}
    return pa.table(encoded).to_pandas(types_mapper=pd.ArrowDtype)


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
@pytest.mark.parametrize("mark", [True, False])
def test_a_csv_file_is_the_table_that_was_written(tmp_path, separator, mark):
    path = write_wines(tmp_path / "wine.csv", separator=separator, mark=mark)
    data = read_table(path, "quality", folds=3)
    assert data.kinds == KINDS
    assert data.name == "wine"
    assert data.classes.tolist() == [5, 6, 7]
    equal(data, read_table(wines(), "quality", folds=3))


def test_a_parquet_file_is_the_table_that_was_written(tmp_path):
    wines().to_parquet(tmp_path / "wine.parquet")
    equal(read_table(str(tmp_path / "wine.parquet"), "quality"), read_table(wines(), "quality"))


@pytest.mark.parametrize("change", [
    lambda t: t.set_index(t.index[::-1]), lambda t: t.convert_dtypes(),
    lambda t: t.astype({"colour": "category", "year": float}),
    lambda t: t.astype({"units": pd.SparseDtype(int)}), lambda t: t.astype({"organic": object}),
    lambda t: t.convert_dtypes(dtype_backend="pyarrow"), lambda t: arrow(t, dictionary=True),
    lambda t: arrow(t), lambda t: arrow(t).to_pandas(), lambda t: t.to_dict("list"),
    lambda t: t.to_dict("records"),
], ids=["index", "nullable", "category", "sparse", "object", "arrow", "dictionaries", "pyarrow",
        "to_pandas", "columns", "rows"])  # fmt: skip
def test_dtypes_of_pandas_make_no_difference(change):
    equal(read_table(change(wines()), "quality"), read_table(wines(), "quality"))


def test_excel_writes_commas_into_numbers(tmp_path):
    table = wines()
    table.to_csv(tmp_path / "wine.csv", sep=";", decimal=",", index=False)
    equal(read_table(tmp_path / "wine.csv", "quality"), read_table(table, "quality"))


def test_lines_may_end_in_a_separator(tmp_path):
    text = wines().to_csv(sep=";", index=False).replace("\n", ";\n")
    (tmp_path / "wine.csv").write_text(text, encoding="utf-8")
    equal(read_table(tmp_path / "wine.csv", "quality"), read_table(wines(), "quality"))


def test_columns_may_be_numbered():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 3)))
    data = read_table(
        table.assign(**{"3": np.arange(30) % 2}).set_axis(range(4), axis=1), 3, drop=[0]
    )
    assert data.kinds == {"1": "numeric", "2": "numeric"}
    assert data.target == "3"


def test_the_index_that_pandas_wrote_is_no_column(tmp_path):
    wines().to_csv(tmp_path / "wine.csv")
    equal(read_table(tmp_path / "wine.csv", "quality"), read_table(wines(), "quality"))


def test_columns_of_other_roles_are_no_features(tmp_path):
    table = wines().assign(
        site=np.arange(120) % 10, when=pd.date_range("2020", periods=120)[::-1], counts=2.0
    )
    path = write_wines(tmp_path / "wine.csv", table)
    data = read_table(path, "quality", groups="site", weights="counts", drop=["when"], folds=4)
    assert data.kinds == KINDS
    np.testing.assert_array_equal(data.weights, np.full(120, 2.0))
    for train, chosen_by in data.splits.parts:
        assert not {*(train % 10)} & {*(chosen_by % 10)}
    data = read_table(path, "quality", time="when", drop=["site", "counts"])
    np.testing.assert_array_equal(data.splits.test, np.arange(24)[::-1])


def test_the_features_of_folds_are_those_of_scikit_learn_and_a_rare_category_is_none(tmp_path):
    data = read_table(write_wines(tmp_path / "wine.csv"), "quality", folds=4, test=0)
    widths = set()
    for train, chosen_by in data.splits.parts:
        fitted, (features, held) = fit_rows(data.preprocess, data.X, data.y, train, chosen_by)
        names = names_of_features(fitted, features.shape[1])
        widths.add(len(names))
        assert ("colour_rosé" in names) == (7 in train)
        if 7 in chosen_by:
            row = held[np.flatnonzero(chosen_by == 7)[0]]
            assert [row[names.index(f"colour_{c}")] for c in ("red", "white")] == [0.0, 0.0]
        k = names.index("alcohol")
        whole = data.X["alcohol"].iloc[train]
        whole = whole.fillna(whole.median()).to_numpy()
        np.testing.assert_allclose(features[:, k], (whole - whole.mean()) / whole.std(), atol=1e-12)
        assert np.isfinite(held).all()
        assert (features[:, names.index("units")] == 0.0).all()
    assert widths == {8, 9}


def test_targets_of_every_kind_have_a_task():
    table = wines()
    for target, task, loss, expected in [
        ("quality", None, None, "classification"), ("quality", "regression", None, "regression"),
        ("quality", None, "squared_error", "regression"), ("organic", None, None, "classification"),
        (table["alcohol"].fillna(0).to_numpy(), None, None, "regression"),
        (table["quality"].astype(str).astype("category"), None, None, "classification"),
        (["quality", "year"], None, None, "regression"),
    ]:  # fmt: skip
        data = read_table(table, target, task=task, loss=loss)
        assert data.task == expected
        assert (data.classes is None) == (expected == "regression")
        assert data.y.ndim == (2 if expected == "regression" else 1)


def test_another_seed_splits_the_same_rows_otherwise():
    pairs = ((rows, rows[:2] + 10) for rows in (np.array([0, 4, 8]), np.array([2, 6, 10])))
    data = read_table(wines(), "quality", folds=pairs, test=[100, 101])
    again = split_rows(data.y, classification=True, seed=1, **data.split)
    np.testing.assert_array_equal(again.parts[1][1], [12, 16])
    data = pickle.loads(pickle.dumps(read_table(wines(), "quality")))
    other = split_rows(data.y, classification=True, seed=1, **data.split)
    assert set(other.test) != set(data.splits.test)
    labels = wines()["quality"]
    expected = sk.train_test_split(np.arange(120), test_size=24, stratify=labels, random_state=1)
    np.testing.assert_array_equal(other.test, expected[1])


def test_a_matrix_is_a_table_without_names():
    X = np.random.default_rng(0).normal(size=(30, 3))
    y = np.arange(30) % 2
    dense = read_table(X, y)
    assert list(dense.X) == ["x0", "x1", "x2"]
    equal(dense, read_table(scipy.sparse.csr_array(X), y))
    with pytest.raises(ArrayError, match=r"the table is sparse.* takes 8.0 GiB.*TruncatedSVD"):
        read_table(scipy.sparse.csr_array((2**20, 2**10)), np.zeros(2**20))


def test_a_store_remembers_which_column_changed():
    before = read_table(wines(), "quality").content
    table = wines()
    table.loc[3, "alcohol"] += 0.01
    table.loc[8, "colour"] = "green"
    after = read_table(table, "quality").content
    changed = {name for name in KINDS if before["columns"][name] != after["columns"][name]}
    assert changed == {"alcohol", "colour"}
    assert before["target"] == after["target"]
    assert before["split"] == after["split"]
    other = read_table(wines(), "quality", split_seed=1).content
    assert other["split"]["rows"] != before["split"]["rows"]
    assert {**other, "split": 0} == {**before, "split": 0}
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 300)))
    told = [read_table(t, np.arange(20) % 2).content for t in (wide, wide + 1)]
    assert len(told[0]["columns"]) == 1
    assert told[0] != told[1]


class LeaveOneOut(TransformerMixin, BaseEstimator):
    """The mean target of a category, without a training row's own, as encoders have it."""

    def fit(self, X, y):
        self.sums_ = {c: y[X.iloc[:, 0] == c].sum() for c in X.iloc[:, 0].unique()}
        return self

    def transform(self, X):
        return X.iloc[:, :1].map(lambda c: self.sums_.get(c, 0.0))

    def fit_transform(self, X, y):
        return self.fit(X, y).transform(X).to_numpy() - y[:, None]


def test_another_transformer_gets_the_columns_as_they_are():
    dates = pd.date_range("2020", periods=120)
    table = wines().assign(when=dates, name=[f"wine {k}" for k in range(120)])
    made = make_column_transformer((StandardScaler(), ["year"]), (LeaveOneOut(), ["colour"]))
    data = read_table(table, "quality", preprocess=made)
    assert str(data.preprocess) == str(made)
    assert data.kinds["when"] == "dates"
    train, chosen_by = data.splits.parts[0]
    _, (features, held, none) = fit_rows(made, data.X, data.y, train, chosen_by, train[:0])
    # scikit-learn's own Pipeline fits and transforms at once, which leaves each row itself out.
    np.testing.assert_array_equal(features, made.fit_transform(data.X.iloc[train], data.y[train]))
    assert (held.shape, none.shape) == ((24, 2), (0, 2))


SCALERS = ["MinMaxScaler", "RobustScaler", "QuantileTransformer", "PowerTransformer"]
IMPUTERS = ["mean", "median", "most_frequent", "constant", "knn"]


@pytest.mark.parametrize(
    ("numbers", "scaler"),
    [*((each, "StandardScaler") for each in IMPUTERS), *(("median", each) for each in SCALERS)],
)
def test_rows_that_are_not_trained_on_change_no_bit_of_it(numbers, scaler):
    from sklearn import impute, pipeline, preprocessing

    imputer = impute.KNNImputer() if numbers == "knn" else impute.SimpleImputer(strategy=numbers)
    options = {"n_quantiles": 10} if scaler == "QuantileTransformer" else {}
    numeric = ["fixed acidity", "alcohol", "year"]
    step = pipeline.make_pipeline(imputer, getattr(preprocessing, scaler)(**options))
    _no_leak(make_column_transformer((step, numeric)), {"folds": 3})


@pytest.mark.parametrize("splitter", [
    {"folds": 3}, {"folds": sk.KFold(3)}, {"folds": 3, "groups": np.arange(120) % 12},
    {"folds": 3, "time": np.arange(120) % 50}, {"validation": 0.3}, {"folds": sk.ShuffleSplit(2,
    random_state=0)}, {"folds": [(range(50), range(60, 90))], "test": [100, 101]},
], ids=["labels", "KFold", "groups", "time", "held out", "ShuffleSplit", "pairs"])  # fmt: skip
def test_no_splitter_lets_other_rows_into_the_preprocessing(splitter):
    _no_leak(None, splitter)


def _no_leak(preprocess, options):
    """Everything that can be another value in rows that are not trained on, is."""
    data = read_table(wines(), "quality", preprocess=preprocess, **options)
    for train, chosen_by in data.splits.parts:
        table = wines()
        others = np.setdiff1d(np.arange(120), train)
        rng = np.random.default_rng(1)
        for name in ("fixed acidity", "alcohol"):
            table.loc[others, name] = rng.choice([np.nan, 1e6, -3.5], len(others))
        table.loc[others, "year"] = 9999
        table.loc[others, "colour"] = "blue"
        table.loc[others, ["vessel", "units"]] = ["box", 12]
        other = read_table(table, "quality", preprocess=preprocess, **options)
        fits = [fit_rows(d.preprocess, d.X, d.y, train, chosen_by)[1] for d in (data, other)]
        np.testing.assert_array_equal(fits[0][0], fits[1][0], strict=True)
        assert not np.array_equal(fits[0][1], fits[1][1])
        for a, b in zip(data.splits.parts, other.splits.parts):
            np.testing.assert_array_equal(a[0], b[0])


RATE = np.ones(1)


def scaled(X):
    return np.nan_to_num(X[["alcohol"]]) * RATE


def jittered(X):
    return np.nan_to_num(X[["alcohol"]]) + np.random.default_rng().normal()


@pytest.mark.parametrize("function", [scaled, jittered])
def test_rows_of_all_folds_are_made_by_one_version_of_a_transformer(function):
    """Code of before for the first fold and of now for the others was run, and stored."""
    problem = table(wines(), "quality", folds=3, preprocess=FunctionTransformer(function))
    RATE[0] = 2.0
    try:
        for asked in (lambda: problem.varied(fold=1), problem.refitted):
            with pytest.raises(SpecError, match="has changed, or it draws"):
                asked()
    finally:
        RATE[0] = 1.0
    assert function is jittered or problem.varied(fold=1).X.shape == (64, 1)


def test_what_a_transformer_draws_is_the_same_in_every_process_and_nobody_elses():
    drawn = IterativeImputer(sample_posterior=True, max_iter=2)
    made = make_pipeline(make_column_transformer((drawn, ["alcohol", "year"])), StandardScaler())
    first, other = (table(wines(), "quality", folds=3, preprocess=made) for _ in range(2))
    made.steps.pop()
    np.testing.assert_array_equal(first.varied(fold=2).X, other.varied(fold=2).X)


def test_a_fold_may_have_no_value_of_a_column():
    table = pd.DataFrame(
        {"a": [np.nan] * 6 + [1.0, 2.0, 3.0], "b": [None] * 6 + ["x", "y", "x"], "c": range(9)}
    )
    data = read_table(table, np.arange(9) % 3, test=0, folds=[(range(6), range(6, 9))])
    _, (features, held) = fit_rows(data.preprocess, data.X, data.y, *data.splits.parts[0])
    assert features.shape[1] == held.shape[1] == 3
    assert np.isfinite(held).all()


def test_new_rows_are_read_as_the_training_rows_were():
    table, kinds = wines(), KINDS
    data = read_table(table, "quality")
    new = table[list(kinds)[::-1]].assign(more=1, vessel=None)
    read = as_features(new, kinds)
    pd.testing.assert_frame_equal(read.drop(columns="vessel"), data.X.drop(columns="vessel"))
    for wrong, message in [
        (new.drop(columns="year"), "the model: the table has no column 'year'"),
        (new.assign(year="old"), "column 'year' is 'old' in row 0"),
        (new.assign(alcohol=np.inf), "column 'alcohol' is inf in row 0"),
    ]:
        with pytest.raises(SpecError, match=message):
            as_features(wrong, kinds)


def changed(**columns):
    return wines().assign(**columns)


def cells(name, **changes):
    table = wines().astype({name: object})
    for row, value in changes.items():
        table.loc[int(row[1:]), name] = value
    return table


NAMES = [f"wine {k}" for k in range(120)]
TABLES = {
    "empty": (wines()[:0], "the table has no rows"),
    "one class": (changed(quality=5), "target 'quality' is 5 in all 120 rows"),
    "all missing": (changed(year=np.nan), r"column 'year' has no values: .*drop=\['year'\]"),
    "no target": (
        wines().rename(columns={"quality": "Quality"}),
        r"target: the table has no column 'quality' [(]did you mean 'Quality'",
    ),
    "missing targets": (
        changed(quality=wines()["quality"].where(wines().index != 9)),
        "target 'quality' is missing in 1 of 120 rows, row 9 the first; .*leave them out",
    ),
    "no targets": (changed(quality=None), "target 'quality' has no values"),
    "targets of text and numbers": (cells("quality", r3="?"), "target 'quality' mixes number and"),
    "infinite targets": (cells("quality", r3=np.inf), "target 'quality' is inf in row 3"),
    "duplicate columns": (
        wines().set_axis([*list(KINDS)[:-1], "year", "quality"], axis=1),
        "the table names columns 2 and 6 alike: 'year'; rename or drop one",
    ),
    "no name": (wines().rename(columns={"year": ""}), "the table has no name for column 2 of 8"),
    "long": (
        cells("year", r5=2**62, r6=2**62 + 1).astype({"year": int}),
        "column 'year' holds integers that float64 does not tell apart: subtract",
    ),
    "too large": (cells("year", r5=10**400), "column 'year' is inf in row 5"),
    "infinite": (cells("alcohol", r4=-np.inf), "column 'alcohol' is -inf in row 4 .1 of 120"),
    "categories": (
        pd.DataFrame({"a": [str(k) + "x" for k in range(10**5)], "quality": 0}),
        "column 'a' has 100,000 different values in 100,000 rows, .* 1,000 at most: leave it out",
    ),
    "names": (changed(name=NAMES), r"column 'name' has another value .*drop=\['name'\]"),
    "text in numbers": (
        changed(year=[*map(str, range(5)), "new", *map(str, range(114))]),
        r"column 'year' holds numbers but for 'new' in row 5 .*na_values=\['new'\]",
    ),
    "numbers as text": (changed(year=["1"] * 120), "column 'year' holds numbers written as text"),
    "mixed": (cells("year", r5="new"), "column 'year' mixes number and text: .* row 0 and 'new' i"),
    "dates": (
        changed(when=pd.date_range("2020", periods=120)), "column 'when' holds dates, such as 2020",
    ),
    "dates as text": (changed(when=["2020-01-31"] * 120), "column 'when' holds dates"),
    "European dates": (changed(when=["31.01.2020"] * 120), "column 'when' holds dates"),
    **{
        f"numbers written {cell}": (
            changed(price=["7", cell] * 60), f"holds numbers such as {re.escape(repr(cell))}, which"
        )
        for cell in ["1,234", "1.234,5", "1'234", "1\u00a0234", "0,5", "5%", "\u22123"]
    },
    "days": (changed(when=[datetime.date(2020, 1, 1)] * 120), "column 'when' holds dates"),
    "durations": (changed(age=pd.Timedelta(days=3)), "column 'age' holds durations"),
    "complex": (changed(year=1j), "column 'year' holds 1j and the like .complex128."),
    "lists": (changed(year=[[1]] * 120), "column 'year' holds .1. and the like"),
    "no features": (wines()[["quality"]], "the table has no features"),
    "whole numbers": (
        changed(quality=wines()["quality"].astype(float)), "may be classes or meas.* task=\"class",
    ),
    "counts": (changed(quality=range(120)), "may be classes or measurements; say task="),
    "not a table": (np.ones(3), "a table is a DataFrame .*the path"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_bad_tables_are_refused_by_column_row_and_remedy(case):
    table, message = TABLES[case]
    with pytest.raises(FastoptError, match=message):
        read_table(table, "quality")


OPTIONS = {
    r"drop": ({"drop": ["vesel"]}, "drop: .* no column 'vesel' [(]did you mean 'vessel'"),
    "a word": ({"drop": "vessel"}, r"drop must be a list of names, such as drop=\['a'\]"),
    "categories": ({"categorical": ["kind"]}, "categorical: the table has no column 'kind'"),
    "task": ({"task": "clasification"}, "task must be .*did you mean 'classification'"),
    "weights": ({"weights": "alcohol"}, "weights .'alcohol'. must be finite and >= 0; got nan in"),
    "negative weights": ({"weights": -np.ones(120)}, "must be finite and >= 0; got -1.0 in row 0"),
    "no weights": ({"weights": np.zeros(120)}, "weights are all 0"),
    "short weights": ({"weights": [1.0]}, "weights must have one entry a row: 120; got .1,"),
    "groups": ({"groups": "site"}, "groups: the table has no column 'site'"),
    "time": ({"time": "vessel"}, "time must be numbers, or dates written as 2026-01-31"),
    "no target": ({"target": None}, "target must be the name of a column, or what is pred.* None"),
    "twice": ({"weights": "quality"}, "column 'quality' is both target and weights; keep one"),
    "named twice": ({"target": ["quality", "quality"]}, "'quality' is twice in target; name it"),
    "dropped": ({"drop": ["quality"]}, "column 'quality' is both drop and target"),
    "targets": ({"target": np.ones(3)}, "target 'target' has 3 entries; the table has 120 rows"),
    "fractions": ({"target": "alcohol", "drop": []}, "target 'alcohol' is missing in 5 of"),
    "real classes": (
        {"target": np.linspace(0, 1, 120), "task": "classification"}, "needs names or integer",
    ),
    **{
        f"{role} in another order": (
            {role: wines()[name].iloc[::-1]},
            f"{role} has the rows of the table in another order: 119 stands in row 0, where .* 0;",
        )
        for role, name in [("target", "quality"), ("weights", "year"), ("groups", "colour"),
                           ("time", "year")]
    },
    "columns of unlike lengths": (
        {"table": {"a": [1, 2], "quality": [1]}}, "no table can be made of this dict: .*same length"
    ),
    "no transformer": ({"preprocess": "scale"}, "preprocess must have fit_transform and transform"),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_bad_options_are_refused(case):
    wrong, message = OPTIONS[case]
    with pytest.raises(FastoptError, match=message):
        read_table(**{"table": wines(), "target": "quality", **wrong})


FILES = {
    "empty": (b"", "is empty"),
    "only a mark": (b"\xef\xbb\xbf\n", "is empty"),
    "no rows": (b"a;quality\n", "has no rows, only columns: a, quality"),
    "no names": (b"1,2,3\n4,5,6\n", "the first line is all numbers .1, 2, 3."),
    "alike": (b"a,b,a\n1,2,3\n", "the first line names columns 0 and 2 alike: 'a'"),
    "a long line": (b"a,quality\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
    "long lines": (b"a,quality\n1,2,3\n1,2,3\n", "lines have more cells than the first has names"),
    "no last name": (b"a;quality;\n1;0;3\n2;1;4\n", "has no name for its last column"),
    "latin": (
        "a;quality\né;1\n".encode("latin-1"),
        "is not UTF-8 text .* encoding=.* such as .latin-1",
    ),
    "a word": (
        b"a,quality\n" + b"1.5,1\n" * 5 + b"?,0\n",
        r"but for '\?' in row 5 .line 7.*=\['\?'\]",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_files_are_refused(case, tmp_path):
    content, message = FILES[case]
    path = tmp_path / "some.csv"
    path.write_bytes(content)
    with pytest.raises(FastoptError, match=message):
        read_table(path, "quality")


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "no.parquet").write_text("PAR?")
    for name, message in [
        ("none.csv", "does not exist"), ("no.parquet", "cannot be read as Parquet"),
        ("a.xlsx", "must end in one of .csv"),
    ]:  # fmt: skip
        with pytest.raises(SpecError, match=message):
            read_table(str(tmp_path / name), "quality")


def test_a_transformer_that_makes_no_numbers_is_refused():
    from sklearn.preprocessing import FunctionTransformer

    X = wines()[["alcohol", "colour"]].assign(huge=[1e308, -1e308] * 60)
    y, rows = np.zeros(120), np.arange(120)
    for make, message in [
        (FunctionTransformer(), "FunctionTransformer. makes no numbers"),
        (FunctionTransformer(lambda X: X[["alcohol"]]), "makes nan of row .* SimpleImputer"),
        (FunctionTransformer(lambda X: X[["alcohol"]][:3]), "array of shape .3, 1. of 120 rows"),
        (make_column_transformer((StandardScaler(), ["huge"])), "makes nan .* divide what is too"),
        (StandardScaler(), "preprocess .StandardScaler.: could not convert"),
    ]:
        with pytest.raises(FastoptError, match=message):
            fit_rows(make, X, y, rows)


def test_the_default_is_left_unfitted_and_splits_are_of_the_labels():
    data = read_table(wines(), "quality", folds=5)
    assert not hasattr(data.preprocess, "transformers_")
    assert repr(data.preprocess) == repr(default_preprocess(KINDS))
    labels = wines()["quality"].to_numpy()
    expected = split_rows(labels, classification=True, folds=5, test=0.2)
    for a, b in zip(data.splits.parts, expected.parts):
        np.testing.assert_array_equal(a[1], b[1])


def test_a_store_refuses_other_data_by_the_name_of_the_column():
    space = {"parts": [{"lr": [0.1]}], "names": ["lr"], "selection": None}
    rest = {"options": {}, "results": [], "curve": [], "keywords": {}, "space": space}
    old, new = (
        {"problem": describe(read_table(table, "quality", folds=folds).content), **rest}
        for table, folds in [(wines(), 5), (changed(year=wines()["year"] + 1), 4)]
    )
    said = "\n".join(differences(old, new))
    assert re.search(
        r"^problem.columns.year: numeric \w+ in the store, numeric \w+ now$", said, re.M
    )
    assert re.search(r"^problem.split.training: .* in the store, .* now$", said, re.M)
    assert "alcohol" not in said
