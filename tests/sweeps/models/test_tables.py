"""Models of tables with names, text and gaps: the same from the frame, from a file, anywhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastopt.errors import ArrayError, SpecError
from sweeps import Model, problems, sweep

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
    listed = frame[FEATURES].astype(object).to_numpy().tolist()
    np.testing.assert_array_equal(model.outputs(listed), model.outputs(frame))


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
    with pytest.raises(ArrayError, match="lacks the column 'acid'; did you mean 'acids'"):
        model.predict(frame.rename(columns={"acid": "acids"}))
    sour = frame.astype({"acid": object})
    sour.loc[4, "acid"] = "sour"
    with pytest.raises(SpecError, match="column 'acid' is 'sour' in row 4"):
        model.predict(sour)
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
