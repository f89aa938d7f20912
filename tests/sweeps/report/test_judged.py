"""What a report shows of the best model, against loops over its rows and the frame."""

import html

import numpy as np
import pandas as pd
import pytest

from sweeps import SweepResult, problems, sweep
from sweeps.plots import tables
from sweeps.report import charts, facts, judged
from tests.helpers.wines import wines

EVIL = "<img src=x>"


@pytest.fixture(scope="module")
def folded():
    """Return a sweep over folds of weighted wines, one class with a name that is no HTML."""
    table = wines().assign(weight=1 + np.arange(120) % 2)
    table["quality"] = table["quality"].map({5: EVIL, 6: "fair", 7: "good"})
    problem = problems.table(table, "quality", weights="weight", folds=3, hidden=(4,))
    return sweep(problem, {"lr": [0.1, 0.01], "fold": range(3)}, epochs=3, progress=False)


@pytest.fixture(scope="module")
def measured():
    """Return a sweep of a regression with validation rows."""
    table = wines().drop(columns="quality").dropna(subset=["alcohol"])
    problem = problems.table(table, "alcohol", validation=0.25, hidden=(4,))
    return sweep(problem, {"lr": [0.1, 0.01]}, epochs=3, progress=False)


def best_ids(result):
    frame = result.to_frame()
    lr = frame.groupby("lr")["val_loss"].mean().idxmin()
    return frame["trial_id"][frame["lr"] == lr].tolist()


def test_each_row_is_predicted_by_the_model_of_its_fold(folded):
    ids = best_ids(folded)
    found = judged.judged(folded)
    source = folded.plan.problem.recipe.source()
    true, predicted, sure = [], [], []
    for k, trial in enumerate(ids):
        rows = source.splits().parts[k][1]
        model = folded.model(trial)
        true += source.classes[source.y[rows]].tolist()
        predicted += model.predict(source.X.iloc[rows]).tolist()
        sure += model.predict_proba(source.X.iloc[rows]).max(axis=1).tolist()
    counts = pd.crosstab(pd.Series(true), pd.Series(predicted))
    shown = judged.confusion(found)
    for label, cells in shown["rows"]:
        for name, (count, share) in zip(shown["classes"], cells):
            n = counts.loc[label].get(name, 0)
            assert count == str(n)
            assert float(share) == pytest.approx(n / counts.loc[label].sum(), abs=1e-3)
    hits = np.array(true) == np.array(predicted)
    assert shown["accuracy"] == f"{hits.mean():.4g}"
    assert str(ids)[1:-1] in found.said
    assert found.said.endswith("; each counts once, whatever its weight.")
    chart = judged.calibration(found)
    bins = np.minimum((np.array(sure) * 10).astype(int), 9)
    kept = [hits[bins == k].mean() for k in range(10) if (bins == k).any()]
    np.testing.assert_allclose(chart["y"], kept, rtol=1e-3)
    assert sum(chart["n"]) == len(true) == 96


def test_residuals_are_those_of_the_validation_rows(measured):
    found = judged.judged(measured)
    source = measured.plan.problem.recipe.source()
    ((_, rows),) = source.splits().parts
    model = measured.model()
    off = source.y[rows, 0] - model.predict(source.X.iloc[rows])
    shown = judged.residuals(found)
    np.testing.assert_allclose(shown["y"], off, rtol=2e-3, atol=2e-3)
    assert shown["rmse"] == f"{np.sqrt(np.mean(off**2)):.4g}"
    assert "weight" not in found.said
    assert judged.confusion(found) is None
    assert judged.calibration(found) is None


def test_which_rows_choose_and_which_judge_is_said(folded, measured):
    assert judged.rows_in_words(folded) == (
        "96 rows train and choose (by val_loss), in 3 folds; 24 test rows judge, and chose nothing."
    )
    problem = measured.plan.problem
    assert judged.rows_in_words(measured) == (
        f"{len(problem.X)} rows train, {len(problem.X_val)} validation rows choose (by val_loss), "
        f"{len(problem.X_test)} test rows judge. Losses are of the standardized target; "
        "metrics and predictions are in its own units."
    )
    columns = {"trial_id": np.arange(2), "state": np.zeros(2, int), "loss": np.ones(2)}
    apart = SweepResult(columns, None, "loss", "min", {})
    assert judged.rows_in_words(apart) == ""
    assert judged.judged(apart) is None


def test_the_table_of_folds_is_that_of_the_frame(folded):
    (header, rows), *_ = [table for name, *_, table in facts.best(folded) if name == "folds"]
    assert header == [
        "lr", "mean", "standard error", "within one of the best", "fold 0", "fold 1", "fold 2",
    ]  # fmt: skip
    frame = folded.to_frame().pivot(index="lr", columns="fold", values="val_loss")
    for row in rows:
        losses = frame.loc[float(row[0])]
        cells = [*map(float, row[1:3]), *map(float, row[4:])]
        np.testing.assert_allclose(cells, [losses.mean(), losses.sem(), *losses], rtol=1e-3)
    mean = frame.mean(axis=1).min()
    assert facts.summary(folded)["best mean val_loss"] == f"{mean:.5g}"


def test_a_page_has_all_of_it_as_text(folded, measured, tmp_path):
    page = folded.report(tmp_path / "folds.html").read_text()
    for text in ("Confusion matrix", "Calibration", "Best over folds", "24 test rows judge"):
        assert text in page
    assert EVIL not in page
    assert EVIL in html.unescape(page)
    assert "test_loss" not in page  # what judges is not looked at
    page = measured.report(tmp_path / "numbers.html").read_text()
    assert "Residuals" in page
    assert "Confusion matrix" not in page
    landscape = sweep(problems.ellipse(), {"lr": [0.1, 0.01]}, steps=2, progress=False)
    assert 'id="judged"' not in landscape.report(tmp_path / "bowl.html").read_text()


def test_charts_average_folds_before_they_look_for_the_best(folded):
    """The lowest loss of a fold says how easy that fold is, and nothing of a learning rate."""
    means = folded.to_frame().groupby("lr")["val_loss"].mean()
    line = charts.sensitivity(folded)["axes"]["lr"]["lines"][0]
    np.testing.assert_allclose(line["middle"], means, rtol=1e-3)
    assert line["name"] == "mean of folds"
    cells = tables.table_of_axes(folded, ["lr"]).value
    np.testing.assert_allclose(cells, means)
    both = tables.table_of_axes(folded, ["lr", "fold"]).value
    np.testing.assert_allclose(both.mean(axis=1), means)
