"""Configurations over folds: means by hand, the one-standard-error rule, and gaps."""

import io

import numpy as np
import pytest
from rich.console import Console

from fastopt.errors import SpecError
from sweeps import SweepResult, problems
from sweeps.analysis.folds import best_row, best_setting, trials_by_settings
from sweeps.cli.tables import result_tables
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
    assert best_setting(result).ids == [0, 1, 2]


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


def repeated(cells, **more):
    """A result of rows (lr, seed, value), the value NaN where the trial diverged."""
    lr, seed, values = map(np.array, zip(*cells))
    columns = {"trial_id": np.arange(len(cells)), "lr": lr, "seed": seed, **more}
    columns["state"] = np.where(np.isnan(values), State.DIVERGED, State.COMPLETE)
    return SweepResult({**columns, "val_loss": values}, None, "val_loss", "min", {})


def test_whatever_shows_the_best_shows_that_of_all_seeds():
    """The best trial has a lucky seed, and one setting has a seed that diverged."""
    values = {0.1: (0.0, 9.0), 0.2: (3.0, 2.0), 0.3: (1.0, np.nan)}
    result = repeated([(lr, k, x) for lr, pair in values.items() for k, x in enumerate(pair)])
    assert result.best(1).trial_id[0] == 0
    assert (result.best_params_, result.best_score_) == ({"lr": 0.2}, 2.5)
    assert best_setting(result) == ([3], 2.5, pytest.approx(0.5), ["seed"])
    assert best_row(result) == 3  # the better seed
    assert trials_by_settings(result, 3) == [3, 2, 0]
    assert "best mean val_loss over seeds = 2.5 (standard error 0.5) with lr=0.2" in repr(result)
    assert "within_one_se" in result._repr_html_()
    assert best(result)[0][3][1][0][:3] == ["0.2", "2", "2.5"]
    found = table_of_axes(result, ["lr"])
    assert (found.value.tolist(), found.best) == ([4.5, 2.5, 1.0], (1,))
    console = Console(width=100, file=io.StringIO())
    facts = {"n_trials": 6, "seconds": 1.0, "trials_per_second": 0.0, "compile_seconds": 0.0}
    result.info.update(facts, interrupted=False)
    console.print(result_tables(result))
    shown = console.file.getvalue()
    assert "Best over seeds, smallest mean" in shown
    assert [line.split()[0] for line in shown.splitlines() if "0." in line] == ["0.2", "0.1", "0.3"]


def test_seeds_that_repeat_no_setting_are_settings():
    result = repeated([(0.1, 0, 3.0), (0.2, 1, 2.0)])
    assert best_setting(result) is None
    assert result.best_params_ == {"lr": 0.2, "seed": 1}


def test_settings_may_have_other_numbers_of_seeds():
    result = repeated([(0.1, 0, 3.0), (0.1, 1, 4.0), (0.2, 0, 2.0)])
    assert (result.best_params_, result.best_score_) == ({"lr": 0.2}, 2.0)


def test_settings_of_which_seeds_are_still_to_come_are_not_compared():
    """Interrupted, filtered or reduced to the best trials: a single seed may be a lucky one."""
    cells = [(0.1, 0, 3.0), (0.1, 1, 4.0), (0.2, 0, 2.0)]
    result = repeated(cells)
    result.info["n_trials"] = 4
    assert (result.best_params_, result.best_score_) == ({"lr": 0.1}, 3.5)
    none = repeated([*cells[1:], (0.3, 0, 5.0)])
    none.info["n_trials"] = 6
    assert none.best_params_ == {"lr": 0.2, "seed": 0}


def test_folds_and_seeds_are_averaged_together():
    cells = [(0.1, s, 1.0 + s + f) for s in (0, 1) for f in (0, 1)]
    cells += [(0.2, s, 1.9) for s in (0, 1) for f in (0, 1)]
    result = repeated(cells, fold=np.array([0, 1] * 4))
    found = result.over_folds(axis=["fold", "seed"])
    assert found.lr.tolist() == [0.2, 0.1]
    assert found.mean_val_loss.tolist() == [1.9, 2.0]
    assert found.n_val_loss.tolist() == [4, 4]
    assert (result.best_params_, result.best_score_) == ({"lr": 0.2}, 1.9)
    assert best_setting(repeated(cells[:4], fold=np.array([0, 1] * 2))).ids == [0, 1]
