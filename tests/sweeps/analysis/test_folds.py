"""Configurations over folds: means by hand, the one-standard-error rule, and gaps."""

import numpy as np
import pytest

from fastopt.errors import SpecError
from sweeps import SweepResult, problems
from sweeps.analysis.folds import best_of_folds, best_row
from sweeps.common.states import State
from sweeps.plots.tables import table_of_axes
from sweeps.report.charts import heatmaps
from sweeps.report.facts import best
from tests.helpers.training import run

# Four penalties on three folds; the third has no finished fold 2.
LOSSES = {0.0: (1.0, 2.0, 3.0), 0.1: (2.0, 2.5, 3.0), 0.2: (0.0, 0.5, np.nan), 0.3: (3.0, 3.5, 4.0)}


def table(metric="val_loss", mode="min"):
    cells = [(l2, fold, x) for l2, row in LOSSES.items() for fold, x in enumerate(row)]
    l2, fold, values = map(np.array, zip(*cells))
    state = np.where(np.isnan(values), State.DIVERGED, State.COMPLETE)
    sign = 1.0 if mode == "min" else -1.0
    columns = {
        "trial_id": np.arange(len(cells)), "l2": l2, "fold": fold, "state": state,
        metric: sign * values,
    }  # fmt: skip
    return SweepResult(columns, None, metric, mode, {})


@pytest.mark.parametrize(("metric", "mode"), [("val_loss", "min"), ("val_f1", "max")])
def test_the_simplest_within_one_standard_error(metric, mode):
    found = table(metric, mode).over_folds()
    # Means 2, 2.5 and 3.5; the first has s = 1, so one standard error is 1 / sqrt(3) = 0.577.
    assert found.l2.tolist() == [0.0, 0.1, 0.3, 0.2]
    assert found["rank"].tolist()[:3] == [1, 2, 3]
    assert found["rank"].isna().tolist() == [False, False, False, True]
    assert found.within_one_se.tolist() == [True, True, False, False]
    sign = 1.0 if mode == "min" else -1.0
    np.testing.assert_allclose(sign * found[f"mean_{metric}"], [2.0, 2.5, 3.5, 0.25])
    np.testing.assert_allclose(found[f"se_{metric}"][:2], [1 / 3**0.5, 0.5 / 3**0.5])
    assert found.n_diverged.tolist() == [0, 0, 0, 1]
    assert found.loc[found.within_one_se, "l2"].max() == 0.1


def test_summaries_of_many_metrics_bring_no_warning_of_pandas():
    """Which warns of the hundredth column that is added by itself; warnings are errors here."""
    columns = {"trial_id": np.arange(4), "lr": np.repeat([0.1, 1.0], 2), "fold": np.arange(4) % 2}
    columns["state"] = np.zeros(4, int)
    columns |= {f"val_m{k}": np.arange(4.0) + k for k in range(30)}
    result = SweepResult(columns, None, "val_m0", "min", {})
    found = result.over_folds()
    assert list(found.columns[3:7]) == ["mean_val_m0", "std_val_m0", "se_val_m0", "n_val_m0"]
    np.testing.assert_allclose(found["se_val_m29"], 0.5)
    assert result.over_seeds(axis="fold").shape == (2, 3 + 7 * 30)


def test_the_best_of_one_fold_is_within_its_error():
    columns = {"trial_id": np.arange(2), "lr": np.array([0.1, 1.0]), "fold": np.array([2, 2])}
    columns |= {"state": np.zeros(2, int), "val_loss": np.array([2.0, 1.0])}
    found = SweepResult(columns, None, "val_loss", "min", {}).over_folds()
    assert found.lr.tolist() == [1.0, 0.1]
    assert found.within_one_se.tolist() == [True, False]


@pytest.mark.parametrize(("metric", "mode"), [("val_loss", "min"), ("val_f1", "max")])
def test_whatever_shows_the_best_shows_that_of_all_folds(metric, mode):
    """The best trial, of l2 = 0.2, has the easiest fold, and diverged on another one."""
    result = table(metric, mode)
    assert result.best(1)["l2"].tolist() == [0.2]
    assert (result.best_params_, result.best_score_) == ({"l2": 0.0}, 2.0 if mode == "min" else -2)
    assert best_row(result) == 0
    # Fold 0 is an end all the same, but none of a grid.
    assert result.edges().to_numpy().tolist() == [["l2", 0.0, "low"]]
    found = table_of_axes(result, ["l2"])
    assert found.best == (0,)
    assert found.lost.tolist() == [False, False, True, False]
    assert "within_one_se" in result._repr_html_()
    notes = {name: note for name, _, note, _ in best(result)}
    assert notes["best"].startswith("; each has seen one fold")
    assert set(heatmaps(result)["best"].values()) == {None}
    legend = result.plot.heatmap("l2", "fold").get_legend()
    assert legend.get_texts()[-1].get_text() == "best of one fold"


def test_settings_that_are_listed_twice_have_a_rank_and_each_fold_once():
    """Six trials of three folds were none on all folds, and the best a single trial."""
    twice = {name: np.concatenate([cells, cells]) for name, cells in table().columns.items()}
    twice["trial_id"] = np.arange(len(twice["trial_id"]))
    result = SweepResult(twice, None, "val_loss", "min", {})
    assert result.over_folds()["rank"].tolist()[:3] == [1, 2, 3]
    assert best_of_folds(result).ids == [0, 1, 2]


def test_folds_have_a_name():
    result = table()
    with pytest.raises(SpecError, match="axis must be one of l2, fold; got 'folds'"):
        result.over_folds(axis="folds")


def test_trials_without_a_fold_have_no_rank():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), np.arange(30) % 3
    problem = problems.mlp(X, y, folds=3, hidden=(3,))
    space = [{"lr": [0.01, 0.1], "fold": range(3)}, {"lr": [0.05]}]
    result = run(problem, space, epochs=2)
    frame = result.to_frame()
    assert frame.fold.isna().tolist() == [False] * 6 + [True]
    found = result.over_folds(metrics=["val_accuracy"])
    assert found.n_val_loss.tolist() == [3, 3, 1]
    assert found["rank"].isna().tolist() == [False, False, True]
    # It ran on the problem's own fold, the first.
    (alone,) = run(problem, {"lr": [0.05], "fold": [0]}, epochs=2).to_frame().val_loss
    assert frame.val_loss[6] == alone
    means = frame[:6].groupby("lr").val_loss.mean()
    np.testing.assert_allclose(sorted(found.mean_val_loss[:2]), sorted(means))


def test_nothing_lies_between_two_folds():
    rng = np.random.default_rng(0)
    problem = problems.mlp(rng.normal(size=(30, 3)), np.arange(30) % 3, folds=3, hidden=(3,))
    with pytest.raises(SpecError, match="nothing lies between"):
        run(problem, {"lr": [0.1], "fold": [0, 2]}, epochs=2).zoom()
