"""Models of tables with names, text and gaps: the same from the frame, from a file, anywhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fastopt.errors import ArrayError, SpecError
from sweeps import Model, problems, sweep
from sweeps.problems.columns import as_features

QUIET = {"progress": False, "epochs": 5, "lr": 0.03}
FEATURES = ["acid", "colour", "organic", "year"]


def wines(rows=120, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": np.arange(rows),
            "acid": rng.normal(size=rows) * 2 + 7,
            "colour": rng.choice(["red", "white", "rosé"], rows),
            "organic": rng.random(rows) > 0.5,
            "year": rng.integers(2000, 2004, rows),
        }
    )
    frame["good"] = np.where(frame.acid + 2 * frame.organic > 8, "yes", "no")
    frame.loc[3:9, "acid"] = np.nan
    frame.loc[10:12, "colour"] = None
    return frame


def table(**options):
    options = {"drop": ["id"], "categorical": ["year"], "hidden": (), **options}
    return problems.table(wines(), "good", **options)


@pytest.fixture(scope="module")
def result():
    return sweep(table(), {"seed": range(2)}, **QUIET)


def test_raw_rows_of_the_table_are_read_as_in_training(result, tmp_path):
    model, frame = result.model(), wines()
    again = Model.load(model.save(tmp_path / "m"))
    problem = result.plan.problem
    seen = {row.tobytes() for row in model.transform(frame)}
    for rows in (problem.X, problem.X_val, problem.X_test):
        assert {row.tobytes() for row in rows} <= seen
    for new in (frame, frame[frame.columns[::-1]], frame.drop(columns=["good", "id"])):
        for each in (model, again):
            np.testing.assert_array_equal(each.outputs(new), model.outputs(frame))
    new = wines(50, 1)
    new.loc[0, "colour"], new["year"] = "orange", new["year"].astype(float)
    np.testing.assert_array_equal(again.outputs(new), model.outputs(new))
    assert (again.feature_names, again.target_name) == (FEATURES, "good")
    assert model.score(frame, frame.good) > 0.5
    others = (pa.Table.from_pandas(frame), frame.convert_dtypes(dtype_backend="pyarrow"))
    for same in (*others, frame.to_dict("list"), frame.to_dict("records")):
        np.testing.assert_array_equal(again.outputs(same), model.outputs(frame))
    listed = frame[FEATURES].astype(object).to_numpy().tolist()
    np.testing.assert_array_equal(model.outputs(listed), model.outputs(frame))


def test_a_model_is_its_own_whatever_becomes_of_others(result):
    """A transformer is no plain data: it is changed in place by whoever fits it again."""
    model, other, frame = result.model(), result.model(), wines()
    expected = model.outputs(frame)
    scaler = other.preprocess.named_transformers_["numbers"][-1]
    scaler.mean_ += 100.0
    other.classes[:] = "?"
    np.testing.assert_array_equal(model.outputs(frame), expected)
    np.testing.assert_array_equal(result.model().outputs(frame), expected)
    assert {*result.model().predict(frame)} <= {"no", "yes"}


def test_a_word_in_one_row_changes_no_other_row(result, tmp_path):
    """It makes text of a column of a file, and a year 2001.0 or 02001 is still that year."""
    model, frame = result.model(), wines()
    again = Model.load(model.save(tmp_path / "m"))
    expected = model.outputs(frame)
    for form in ("{}", "{}.0", "0{}", "{}e0"):
        new = frame.assign(year=frame.year.map(form.format).astype(object))
        new.loc[0, "year"] = "old"
        for each in (model, again):
            np.testing.assert_array_equal(each.outputs(new)[1:], expected[1:])
        np.testing.assert_array_equal(again.outputs(new)[0], model.outputs(new)[0])
        shares = model.to_sklearn().predict_proba(new)
        np.testing.assert_allclose(shares, model.predict_proba(new), rtol=1e-5, atol=1e-6)


SAME = [
    (
        ["2134", "K1A"],
        ["02134", "2134.0", "K1A", "new", None],
        ["2134", "2134", "K1A", "new", None],
    ),
    (["02134", "K1A"], [2134, 2134.0, "2134", "02134"], ["02134"] * 4),
    (["01", "1"], [1, "01", "1.0"], ["1", "01", "1.0"]),  # of which nobody can tell
    (["True", "False"], ["TRUE", "false", True], ["True", "False", "True"]),
    (["9007199254740993"], ["9007199254740992", "9007199254740993.0"], None),
    ([None, "1"], ["1.0", "nan", "inf"], ["1", "nan", "inf"]),
]


@pytest.mark.parametrize(("categories", "values", "expected"), SAME, ids=str)
def test_what_is_the_same_number_is_the_same_category(categories, values, expected):
    frame = pd.DataFrame({"zip": pd.Series(values, dtype=object)})
    found = as_features(frame, {"zip": "categorical"}, {"zip": categories})["zip"].tolist()
    expected = values if expected is None else expected
    assert [None if pd.isna(value) else value for value in found] == expected


def test_no_rows_have_no_predictions(result):
    model, none = result.model(), wines()[:0]
    assert model.predict(none).shape == (0,)
    assert model.predict_proba(none).shape == (0, 2)


def test_scikit_learn_reads_them_as_well(result, tmp_path):
    model, frame = result.model(), wines()
    again = Model.load(model.save(tmp_path / "m"))
    for each in (model, again):
        shares = each.to_sklearn().predict_proba(frame)
        np.testing.assert_allclose(shares, model.predict_proba(frame), rtol=1e-5, atol=1e-6)
    with pytest.raises(SpecError, match=r"to_torch: .*model\.bare\(\)\.to_torch"):
        model.to_torch()


def test_new_rows_that_do_not_fit_are_refused_by_column(result):
    model, frame = result.model(), wines()
    with pytest.raises(ArrayError, match=r"lacks the column 'acid' [(]did you mean 'acids'"):
        model.predict(frame.rename(columns={"acid": "acids"}))
    sour = frame.astype({"acid": object})
    sour.loc[4, "acid"] = "sour"
    with pytest.raises(SpecError, match="column 'acid' is 'sour' in row 4"):
        model.predict(sour)
    with pytest.raises(SpecError, match=r"column 'acid' is \(1\+2j\) in row 0"):
        model.predict(frame.assign(acid=[1 + 2j] * len(frame)))
    with pytest.raises(ArrayError, match="X has 3 columns; it must have 4"):
        model.predict(np.zeros((2, 3)))


def test_folds_each_have_their_own_preprocessing():
    problem = table(folds=3)
    several = sweep(problem, {"fold": range(3)}, **QUIET)
    means = {model.transform(wines())[0, 0] for model in several.models(3).models}
    assert len(means) == 3
    final = several.model(refit=True)
    assert final.about["refitted_rows"] == len(problem.X) + len(problem.X_val)
    assert final.transform(wines())[0, 0] not in means
