"""Nothing of rows that choose or judge gets into training, through whole sweeps."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, RobustScaler, StandardScaler

from sweeps import problems
from tests.helpers.training import run
from tests.helpers.wines import wines

ROWS = 60
NUMBERS = ["fixed acidity", "alcohol", "year"]
TRAINED = ["train_loss", "train_accuracy", "best_loss", "steps"]
CHOSEN = ["val_loss", "val_accuracy"]


def table():
    made = wines(ROWS).drop(columns=["vessel", "units", "organic"])
    made.loc[7, "colour"] = "red"
    return made


def spoiled(frame, rows, seed=1):
    """The same table with other cells in these rows: numbers, gaps and a colour of their own."""
    rng, made = np.random.default_rng(seed), frame.copy()
    made[NUMBERS] = made[NUMBERS].astype(float)
    for name in NUMBERS:
        made.loc[rows, name] = np.where(rng.random(len(rows)) < 0.3, np.nan, 1e3 * rng.random())
    made.loc[rows, "colour"] = rng.choice(np.array(["blue", np.nan], object), len(rows))
    return made


def pipeline(*numeric):
    return make_column_transformer(
        (make_pipeline(*numeric), NUMBERS),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["colour"]),
    )


def trained(frame, preprocess=None, **options):
    """What a sweep over the folds measures, and what it trained with."""
    frame = frame.astype(dict.fromkeys(NUMBERS, float))
    problem = problems.table(
        frame, "quality", task="classification", preprocess=preprocess, hidden=(), **options
    )
    folds = problem.recipe.source().n_folds
    space = {"fold": range(folds), "n_train": [12, 18], "label_noise": [0.0, 0.3]}
    if folds == 1:
        del space["fold"]
    result = run(problem, space, epochs=2, lr=0.1)
    return problem, result


def folds_of(problem):
    return problem.recipe.source().splits()


IMPUTERS = {
    "mean and standard": pipeline(SimpleImputer(), StandardScaler()),
    "median and quantiles": pipeline(
        SimpleImputer(strategy="median", add_indicator=True),
        QuantileTransformer(n_quantiles=5, random_state=0),
    ),
    "neighbours and robust": pipeline(KNNImputer(n_neighbors=2), RobustScaler()),
    "our own": None,
}
SPLITTERS = {
    "a number": {"folds": 3, "test": 12},
    "labels": {"folds": StratifiedKFold(3), "test": 12},
    "rows": {"folds": KFold(2, shuffle=True, random_state=3), "test": 0.2},
    "groups": {"folds": GroupKFold(2), "groups": np.arange(ROWS) // 3, "test": 0},
    "time": {"folds": TimeSeriesSplit(2), "time": np.arange(ROWS)[::-1], "test": 6},
    "shares": {"validation": 0.25, "test": 0.25},
}
CASES = [(name, "a number") for name in IMPUTERS] + [("our own", name) for name in SPLITTERS]


@pytest.mark.filterwarnings(
    "ignore:.*unknown categories", "ignore:.*all-NaN", "ignore:class .* has no"
)
@pytest.mark.parametrize(("imputer", "splitter"), list(dict.fromkeys(CASES)))
def test_other_validation_and_test_rows_change_no_bit(imputer, splitter):
    preprocess, split = IMPUTERS[imputer], SPLITTERS[splitter]
    before = table()
    problem, clean = trained(before, preprocess, **split)
    parts, test = folds_of(problem)
    if len(test):  # no bit of the choice either
        _, result = trained(spoiled(before, test), preprocess, **split)
        assert_equal_columns(result, clean, [*TRAINED, *CHOSEN])
        assert (result.columns["test_loss"] != clean.columns["test_loss"]).all()
    for fold, (_, chosen_by) in enumerate(parts):
        other, result = trained(spoiled(before, chosen_by), preprocess, **split)
        own = slice(None) if len(parts) == 1 else clean.columns["fold"] == fold
        assert_equal_columns(result, clean, [*TRAINED, "test_loss", "test_accuracy"], own)
        assert (result.columns["val_loss"][own] != clean.columns["val_loss"][own]).all()
        axes = {"fold": fold} if len(parts) > 1 else {}
        for made, expected in zip(features_of(other, axes), features_of(problem, axes)):
            np.testing.assert_array_equal(made, expected)


def features_of(problem, axes):
    """The training rows, and what the fitted preprocessing makes of rows that nobody has seen."""
    made = problem.varied(**axes) if axes else problem
    unseen = table().drop(columns="quality").astype(dict.fromkeys(NUMBERS, float))
    return made.X, made.y, made.preprocess.transform(unseen)


def assert_equal_columns(actual, expected, names, rows=slice(None)):
    for name in names:
        np.testing.assert_array_equal(
            actual.columns[name][rows], expected.columns[name][rows], err_msg=name
        )


def test_other_labels_of_rows_held_out_by_number_change_no_bit():
    frame = table()
    frame["colour"] = frame["colour"].fillna("red")
    chosen_by, test = np.arange(0, ROWS, 4), np.arange(1, ROWS, 4)
    before, clean = trained(frame, validation=chosen_by, test=test)
    for rows, same in ((chosen_by, [*TRAINED, "test_loss"]), (test, [*TRAINED, *CHOSEN])):
        other = frame.copy()
        other.loc[rows, "quality"] = 5 + (other.loc[rows, "quality"] - 4) % 3
        after, result = trained(other, validation=chosen_by, test=test)
        assert_equal_columns(result, clean, same)
        np.testing.assert_array_equal(after.y, before.y)
    assert pd.Series(result.columns["test_loss"]).ne(clean.columns["test_loss"]).all()


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_fold_indices_are_scikit_learns_in_the_rows_that_are_trained_on(noise):
    X, y = np.arange(40.0)[:, None], np.arange(40) % 2
    problem = problems.mlp(X, y, folds=5, split_seed=4, standardize=False, dtype="float64")
    splitter = StratifiedKFold(5, shuffle=True, random_state=4)
    for fold, (train, chosen_by) in enumerate(splitter.split(X, y)):
        made = problem.varied(fold=fold, label_noise=noise)
        np.testing.assert_array_equal(made.X, X[train])
        np.testing.assert_array_equal(made.X_val, X[chosen_by])
        np.testing.assert_array_equal(made.y_val, y[chosen_by])
        assert (made.y != y[train]).mean() == pytest.approx(noise, abs=0.2)
        few = problem.varied(fold=fold, n_train=10)
        assert set(few.X[:, 0]) < set(problem.varied(fold=fold, n_train=20).X[:, 0]) < set(train)
