"""Standardized targets: trained as those that are standardized by hand, in units of their own."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from fastopt.errors import ArrayError, SpecError, SweepWarning
from sweeps import Model, problems, sweep
from sweeps.models.ensemble import load

# Adam would blow up the rounding errors of the bias, whose first gradient is zero.
QUIET = {"epochs": 4, "progress": False, "optimizer": "sgd"}
ROWS = 60
LINEAR = {"hidden": (), "validation": 0.25, "test": 0.25, "dtype": "float64"}


def rows(outputs=1, seed=0):
    """Features and prices, in the thousands and tens of thousands."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, 3))
    y = X @ rng.normal(size=(3, outputs)) + rng.normal(size=(ROWS, outputs)) / 10
    return X, y * 10.0 ** np.arange(3, 3 + outputs) + 5e4


def moments(y, weights):
    """The weighted mean and standard deviation, by their formulas."""
    mean = np.average(y, axis=0, weights=weights)
    return mean, np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weights))


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_training_of_targets_that_are_standardized_by_hand(outputs, weighted):
    X, y = rows(outputs)
    weights = np.random.default_rng(1).integers(0, 3, ROWS) * 1.0 if weighted else None
    given = {**LINEAR, "weights": weights, "metrics": ["mae", "rmse", "r2"]}
    problem = problems.mlp(X, y, standardize_target=True, **given)
    splits = problem.recipe.source().splits()
    (train, chosen_by), test = splits.parts[0], splits.test
    mean, scale = moments(y[train], None if weights is None else weights[train])
    by_hand = problems.mlp(X, (y - mean) / scale, **given)
    space = {"lr": [0.01, 0.1]}
    result, other = sweep(problem, space, **QUIET), sweep(by_hand, space, **QUIET)
    mine, theirs = result.to_frame(), other.to_frame()
    for part, chosen in (("train", train), ("val", chosen_by), ("test", test)):
        # Two ways to divide, some ulps of numbers of about 1.
        np.testing.assert_allclose(mine[f"{part}_loss"], theirs[f"{part}_loss"], rtol=1e-12)
        w = None if weights is None else weights[chosen]
        for i in (0, 1):
            model = result.model(i)
            said, true = model.predict(X[chosen]).reshape(-1, outputs), y[chosen]
            hand = other.model(i).predict(X[chosen]).reshape(-1, outputs) * scale + mean
            np.testing.assert_allclose(said, hand, rtol=1e-12)
            by_name = {
                "mae": mean_absolute_error(true, said, sample_weight=w),
                "rmse": root_mean_squared_error(true, said, sample_weight=w),
                "r2": r2_score(true, said, sample_weight=w),
            }
            for name, value in by_name.items():
                assert mine[f"{part}_{name}"][i] == pytest.approx(value, rel=1e-10), name


def test_means_of_counts_stay_positive():
    X, _ = rows()
    y = np.random.default_rng(2).poisson(np.exp(8 + X[:, :1]))
    given = {**LINEAR, "loss": "poisson"}
    problem = problems.mlp(X, y, standardize_target=True, **given)
    train = problem.recipe.source().splits().parts[0][0]
    mean = y[train].mean(axis=0)
    by_hand = problems.mlp(X, y / mean, **given)
    result, other = (sweep(p, {"lr": [0.1]}, **QUIET) for p in (problem, by_hand))
    np.testing.assert_allclose(result.to_frame().val_loss, other.to_frame().val_loss, rtol=1e-12)
    said = result.model().predict(X)
    np.testing.assert_allclose(said, other.model().predict(X) * mean, rtol=1e-12)
    assert said.min() > 0
    with pytest.raises(ArrayError, match=r"\] is -1.0; the loss poisson needs targets >= 0"):
        problems.mlp(X, np.where(X[:, :1] > 0, -1, y), standardize_target=True, **given)


def test_rows_that_choose_or_judge_have_no_say_in_the_units():
    X, y = rows()
    problem = problems.mlp(X, y, standardize_target=True, **LINEAR)
    splits = problem.recipe.source().splits()
    chosen_by, test = splits.parts[0][1], splits.test
    spoiled = y.copy()
    spoiled[np.concatenate([chosen_by, test])] = 1e9
    again = problems.mlp(X, spoiled, standardize_target=True, **LINEAR)
    np.testing.assert_array_equal(problem.y, again.y)
    # Fewer rows: their own mean, in the unit of all, so that losses compare.
    few = problem.varied(n_train=10)
    np.testing.assert_array_equal(few.target_scale, problem.target_scale)
    rank = np.isin(y[:, 0], few.y[:, 1])
    assert rank.sum() == 10
    assert few.target_mean[0] == pytest.approx(y[rank].mean(), rel=1e-14)


def test_models_in_files_and_elsewhere_predict_in_the_units_given(tmp_path):
    X, y = rows()
    table = pd.DataFrame(X, columns=["a", "b", "c"]).assign(price=y)
    problem = problems.table(table, "price", folds=3, hidden=(8,))
    result = sweep(problem, {"lr": [0.03], "fold": range(3)}, epochs=60, progress=False)
    model = result.model()
    assert model.score(table, table.price) > 0.9
    again = Model.load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(table), model.predict(table))
    assert result.model(refit=True).score(table, table.price) > 0.9
    several = load(result.models(3).save(tmp_path / "several"))
    assert several.score(table, table.price) > 0.9
    other = model.to_sklearn().predict(table[["a", "b", "c"]])
    np.testing.assert_allclose(other, model.predict(table), rtol=1e-6)
    held = problem.recipe.source().splits()
    off = result.report(tmp_path / "r.html").read_text()
    own = problem.varied(fold=0)
    np.testing.assert_allclose(own.y_val[:, 1], table.price.iloc[held.parts[0][1]], rtol=1e-6)
    assert "Losses are of the standardized target" in off


def test_only_numbers_are_standardized_and_a_store_tells_them_apart(tmp_path):
    X, y = rows()
    with pytest.raises(SpecError, match="standardize_target must be True or False; got 'yes'"):
        problems.mlp(X, y, standardize_target="yes")
    labels = np.arange(ROWS) % 2
    assert problems.mlp(X, labels, standardize_target=True).target_scale is None
    raw = problems.mlp(X, y / 1e4, **LINEAR)
    run = {"space": {"lr": [0.1]}, "store": tmp_path / "s", **QUIET}
    sweep(raw, **run)
    assert sweep(raw, **run).info["reused"] == 1
    said = r"sweep:\n  problem.options.standardize_target: nothing in the store, True now\nUse the"
    with pytest.raises(SpecError, match=said):
        sweep(problems.mlp(X, y / 1e4, standardize_target=True, **LINEAR), **run)
    with pytest.warns(SweepWarning, match="lies about 1e.09 with a standard deviation"):
        problems.mlp(X, 1e9 + X[:, :1], standardize_target=True)
