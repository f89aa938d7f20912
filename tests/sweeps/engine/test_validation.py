"""Rows for choosing: their columns, the best check's parameters, and what is told of choices."""

import warnings

import numpy as np
import pytest

from fastopt.errors import SpecError, SweepWarning
from sweeps import problems
from sweeps.running import check as checking
from tests.helpers.training import assert_same_bits, frame, run

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] + RNG.normal(size=60) > 0).astype(int) + (X[:, 1] > 0.5)
SPACE = {"lr": [0.05, 0.5], "seed": range(3)}
HOW = {"optimizer": "adam", "epochs": 12, "batch_size": 8, "eval_every": 3}
MEASURED = [
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
    "val_loss",
    "val_f1_macro",
]


@pytest.fixture(scope="module")
def problem():
    """It overfits soon: the best check is seldom the last."""
    return problems.mlp(
        X, Y, hidden=(16,), validation=0.3, test=0.2, metrics=["f1_macro", "log_loss"]
    )


@pytest.mark.parametrize(
    ("metric", "pick"),
    [
        (None, "idxmin"),
        ("val_accuracy", "idxmax"),
        ("val_f1_macro", "idxmax"),
        ("train_loss", "idxmin"),
    ],
)
@pytest.mark.parametrize("patience", [None, 3])
def test_the_best_check_is_the_end_of_a_trial_that_stops_there(problem, metric, pick, patience):
    result = run(
        problem, SPACE, **HOW, metric=metric, curves=True, restore_best=True, patience=patience
    )
    found, curves = result.to_frame(), result.curves()
    best = curves.loc[curves.groupby("trial_id")[result.metric].agg(pick)]
    assert (best["step"].to_numpy() < found.steps).any()
    how = {name: value for name, value in HOW.items() if name != "epochs"}
    for row, step in zip(found.itertuples(), best["step"]):
        alone = {"lr": [row.lr], "seed": [row.seed]}
        shorter = frame(problem, alone, **how, steps=int(step))
        for name in MEASURED:
            assert getattr(row, name) == shorter[name][0], name
        assert step <= row.steps
    theta = result.trials_weights([0])[0]
    first = {"lr": [found.lr[0]], "seed": [found.seed[0]]}
    other = run(problem, first, **how, steps=int(best["step"].iloc[0]))
    np.testing.assert_array_equal(theta, other.trials_weights([0])[0])


@pytest.mark.parametrize("pruner", ["successive_halving", "median"])
def test_pruned_trials_that_finish_restore_the_same_parameters(problem, pruner):
    space = {"lr": np.geomspace(0.005, 0.5, 9).tolist()}
    whole = frame(problem, space, **HOW, restore_best=True)
    pruned = run(problem, space, **HOW, restore_best=True, pruner=pruner)
    found = pruned.to_frame()
    ended = (found.state == "COMPLETE").to_numpy()
    assert 0 < ended.sum() < 9
    assert_same_bits(found[ended], whole[ended], MEASURED)
    assert (frame(problem, space, **HOW)[ended].val_loss >= whole[ended].val_loss).all()


def test_rows_for_choosing_rank_by_default(problem):
    result = run(problem, SPACE, **HOW)
    assert (result.metric, result.mode) == ("val_loss", "min")
    assert result.best().val_loss.iloc[0] == result.to_frame().val_loss.min()
    for metric, mode in (("val_accuracy", "max"), ("val_f1_macro", "max"), ("val_log_loss", "min")):
        assert run(problem, SPACE, **HOW, metric=metric).mode == mode
    bare = run(problems.mlp(X, Y, hidden=(16,)), {"lr": [0.1]}, epochs=1)
    assert (bare.metric, bare.mode) == ("train_loss", "min")
    with pytest.raises(SpecError, match="needs validation rows"):
        run(problems.mlp(X, Y, hidden=(16,)), {"lr": [0.1]}, epochs=1, metric="val_loss")


def test_metrics_have_a_column_for_each_part_and_curves_for_all(problem):
    result = run(problem, {"lr": [0.01, 1e30]}, **HOW, curves=True)
    found, curves = result.to_frame(), result.curves()
    parts = [
        f"{part}_{name}" for part in ("train", "val", "test") for name in ("f1_macro", "log_loss")
    ]
    assert set(parts) | {"val_loss", "val_accuracy"} <= set(found) & set(curves)
    assert found.state.tolist() == ["COMPLETE", "DIVERGED"]
    measured = [*parts, "val_loss", "val_accuracy"]
    assert found.loc[0, measured].notna().all()
    assert found.loc[1, [*measured, "test_loss", "test_accuracy", "train_accuracy"]].isna().all()
    last = curves[curves.trial_id == 0].iloc[-1]
    for name in ("val_loss", "val_accuracy", "val_f1_macro", "test_f1_macro", "val_log_loss"):
        assert last[name] == found[name][0]
    np.testing.assert_allclose(found.val_log_loss[0], found.val_loss[0], rtol=1e-5)


def test_folds_of_unequal_length_run_as_they_do_alone():
    y = np.arange(60) % 3
    pairs = [(range(40), range(40, 60)), (range(9), [50]), (range(20, 33), range(7))]
    folded = problems.mlp(X, y, hidden=(16,), folds=pairs)
    assert [len(folded.varied(fold=k).X) for k in range(3)] == [40, 9, 13]
    found = frame(folded, {"lr": [0.01, 0.1], "fold": range(3)}, epochs=2, batch_size=8)
    assert found.steps.tolist() == [10, 4, 4] * 2
    for k, (train, chosen_by) in enumerate(pairs):
        rows = np.array(train), np.array(chosen_by)
        alone = problems.mlp(
            X[rows[0]], y[rows[0]], X_val=X[rows[1]], y_val=y[rows[1]], hidden=(16,)
        )
        expected = frame(alone, {"lr": [0.01, 0.1]}, epochs=2, batch_size=8)
        names = ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "steps"]
        assert_same_bits(found[found.fold == k], expected, names)


def test_a_problem_is_remade_by_its_axes(problem):
    made = problem.varied(hidden="8-4", activation="tanh", n_train=20, label_noise=0.25)
    assert (made.hidden, len(made.X), made.options["activation"]) == ((8, 4), 20, "tanh")
    assert made.varied(n_train=None, label_noise=0.0, hidden="16", activation="relu") is not made
    back = made.varied(n_train=None, label_noise=0.0, hidden="16", activation="relu")
    for name in ("X", "y", "X_val", "y_val", "X_test", "y_test"):
        np.testing.assert_array_equal(getattr(back, name), getattr(problem, name))
    for values, message in (
        ({"fold": 1}, "'fold'=1: mlp has no such axis"),
        ({"activation": "rely"}, "relu"),
        ({"n_train": 0}, "n_train must be an integer from 1 to"),
        ({"n_train": 10**6}, "n_train must be an integer from 1 to"),
        ({"label_noise": 1.5}, "label_noise must be a share"),
        ({"split_sed": 1}, "did you mean 'split_seed'"),
    ):
        with pytest.raises(SpecError, match=message):
            problem.varied(**values)


def test_sums_stay_sums_whatever_the_axes():
    rows = problems.mlp(X, Y, hidden=(16,), folds=3, dtype="float64")
    made = problems.summed(rows)
    varied = made.varied(fold=2, activation="tanh")
    assert varied.options["summed"]
    plain = rows.varied(fold=2, activation="tanh")
    how = {"optimizer": "sgd", "batch_size": 40, "steps": 5}
    ours = frame(made, {"lr": [0.01 / 40], "fold": [2], "activation": ["tanh"]}, **how)
    expected = frame(plain, {"lr": [0.01]}, **how)
    np.testing.assert_allclose(ours.val_loss, expected.val_loss, rtol=1e-5)


def test_whole_numbers_are_the_value_that_floats_are():
    problem = problems.mlp(X, X[:, :1], hidden=(), loss="huber", validation=0.2, dtype="float64")
    how = {"optimizer": "sgd", "epochs": 2, "seed_mode": "independent"}
    one = frame(problem, {"lr": [0.1], "delta": [2]}, **how)
    other = frame(problem, {"lr": [0.1], "delta": [1.5, 2.0]}, **how)
    assert one.val_loss[0] == other.val_loss[1]


def test_choosing_by_test_rows_is_told_once(problem, monkeypatch):
    monkeypatch.setattr(checking, "_SAID", [])
    checking.check(problem, {"lr": [0.1]}, {"epochs": 1, "metric": "test_loss"})  # tells nobody
    with pytest.warns(SweepWarning, match="ranked by test_loss, .* choose by rows of their own"):
        run(problem, {"lr": [0.1]}, epochs=1, metric="test_loss")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(problem, {"lr": [0.1]}, epochs=1, metric="test_accuracy")


def test_folds_without_their_axis_are_told():
    problem = problems.mlp(X, Y, hidden=(16,), folds=3)
    with pytest.warns(SweepWarning, match='has 3 folds, .* put "fold": range.3. on the axes'):
        run(problem, {"lr": [0.1]}, epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(problem, {"lr": [0.1], "fold": range(3)}, epochs=1)
        run(problem.varied(fold=1), {"lr": [0.1]}, epochs=1)
