"""Weights through whole sweeps: a row of weight k is k rows, one of weight 0 is none."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from fastopt.errors import ArrayError, SpecError
from sweeps import problems
from sweeps.problems.losses import LOSSES
from tests.helpers.training import assert_same_bits, frame

ROWS = 24
TIMES = np.arange(ROWS) * 7 % 4  # 0 to 3


def rows_for(loss, seed=0, rows=ROWS):
    """Features, and targets that a loss has a value on."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 3))
    targets = {
        "classification": np.arange(rows) % 3,
        "binary": (X[:, 0] + 0.3 * rng.normal(size=rows) > 0).astype(int),
        "multilabel": (rng.normal(size=(rows, 2)) + X[:, :2] > 0).astype(float),
        "regression": np.exp(0.5 * X @ [1.0, -0.5, 0.2]) + 0.1,
    }
    return X, targets[LOSSES[loss].task]


def problem_of(loss, X, y, hidden=(), **options):
    """A linear model in float64, judged on rows of no weight of their own."""
    test = dict(zip(("X_test", "y_test"), rows_for(loss, 1)))
    return problems.mlp(X, y, hidden=hidden, loss=loss, dtype="float64", **test, **options)


def swept(problem):
    """What trials measure that step by all rows at once; penalties weigh the same."""
    space = [{"lr": [0.02, 0.1], "l2": [0.0, 0.1]}, {"lr": [0.05], "l1": [0.05], "l2": [0.0]}]
    options = {"optimizer": "sgd", "batch_size": len(problem.X), "steps": 12, "init_scale": 0.2}
    found = frame(problem, space, **options)
    assert (found.state == "COMPLETE").all()
    return found


# One for each kind of targets. Of all losses tests.sweeps.problems.test_losses asks the same: of
# their functions compiled with weights and without, and of networks with them in plain Python.
KINDS = {"softmax_cross_entropy", "logistic", "multilabel", "squared_error"}
EVERY_LOSS = [
    pytest.param(loss, marks=() if loss in KINDS else pytest.mark.soak) for loss in LOSSES
]


def test_there_is_one_of_each_kind_of_targets():
    assert {LOSSES[loss].task for loss in KINDS} == {row.task for row in LOSSES.values()}


@pytest.mark.parametrize("hidden", [(), (6,)], ids=["linear", "hidden"])
@pytest.mark.parametrize("loss", EVERY_LOSS)
def test_a_row_of_weight_k_is_k_rows_and_of_weight_zero_none(loss, hidden):
    X, y = rows_for(loss)
    weighted = swept(problem_of(loss, X, y, hidden, weights=TIMES))
    repeated = swept(problem_of(loss, np.repeat(X, TIMES, 0), np.repeat(y, TIMES, 0), hidden))
    there = TIMES > 0
    left_out = swept(problem_of(loss, X[there], y[there], hidden, weights=TIMES[there]))
    assert_same_bits(weighted, left_out)
    for name in ("train_loss", "test_loss", "best_loss", "train_accuracy", "test_accuracy"):
        np.testing.assert_allclose(weighted[name], repeated[name], rtol=1e-12)
    assert (
        abs(weighted.train_loss / swept(problem_of(loss, X, y, hidden)).train_loss - 1).min() > 1e-6
    )


def test_in_minibatches_rows_left_out_leave_the_same_bits():
    X, y = rows_for("softmax_cross_entropy")
    there = TIMES > 0
    options = {"optimizer": "sgd", "batch_size": 5, "epochs": 3, "l2": 0.01}
    found = [
        frame(problem, {"lr": [0.1], "seed": range(3)}, **options)
        for problem in (
            problem_of("softmax_cross_entropy", X, y, weights=TIMES),
            problem_of("softmax_cross_entropy", X[there], y[there], weights=TIMES[there]),
        )
    ]
    assert_same_bits(*found)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "hinge"])
def test_class_weights_are_the_sample_weights_that_scikit_learn_makes_of_them(loss):
    X, y = rows_for(loss)
    y = np.where(np.arange(ROWS) < 9, y[0], y)
    names = np.array(["low", "mid", "top"])[y]
    for given in ("balanced", {names[0]: 0.25, names[-1]: 3.0}):
        ours = problem_of(loss, X, y, class_weight=_by_number(given, names, y), standardize=False)
        weights = compute_sample_weight(given, names)
        theirs = problem_of(loss, X, y, weights=weights, standardize=False)
        np.testing.assert_array_equal(ours.y, theirs.y)
        assert_same_bits(swept(ours), swept(theirs))


def _by_number(given, names, y):
    numbers = dict(zip(names.tolist(), y.tolist()))
    return given if isinstance(given, str) else {numbers[k]: w for k, w in given.items()}


def test_each_fold_is_balanced_by_its_own_training_rows():
    X, y = rows_for("hinge")
    y[:16] = 0
    y[16:] = 1
    problem = problems.mlp(X, y, folds=3, class_weight="balanced", loss="hinge", hidden=())
    rows = problem.recipe.source().splits().parts
    for fold, (train, chosen_by) in enumerate(rows):
        made = problem.varied(fold=fold)
        expected = compute_sample_weight("balanced", y[train])
        np.testing.assert_array_equal(made.y, np.column_stack([y[train], expected]).astype("f4"))
        np.testing.assert_array_equal(made.y_val[:, -1], np.ones(len(chosen_by)))


def test_a_wrong_label_weighs_as_the_class_that_it_names():
    X, _ = rows_for("hinge")
    problem = problems.mlp(X, np.arange(ROWS) < 6, class_weight="balanced", hidden=())
    made = problem.varied(label_noise=0.4)
    assert (made.y[:, 0] != problem.y[:, 0]).sum() > 3
    expected = compute_sample_weight("balanced", made.y[:, 0])
    np.testing.assert_allclose(made.y[:, 1], expected, rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-300, 1e16, 1e30, 1e307])
def test_the_unit_of_weights_does_not_matter(factor):
    """StandardScaler takes their sum for a number of rows: of 1e16 all columns were constant."""
    X, y = rows_for("softmax_cross_entropy")
    weights = np.random.default_rng(0).random(len(X)) + 0.5
    options = {"hidden": (), "dtype": "float64"}
    one, other = (problems.mlp(X, y, weights=k * weights, **options) for k in (1, factor))
    np.testing.assert_allclose(other.X, one.X, rtol=1e-13, atol=1e-13)
    assert np.ptp(one.X) > 1


def test_a_class_may_have_no_row_among_few():
    X, y = rows_for("softmax_cross_entropy")
    given = {0: 1.0, 1: 2.0, 2: 3.0}
    problem = problems.mlp(X, y, class_weight=given, hidden=())
    few = problem.varied(n_train=2)
    assert few.y[:, 1].tolist() == [given[label] for label in few.y[:, 0]]
    with pytest.raises(SpecError, match="class_weight: 3 is no class"):
        problems.mlp(X, y, class_weight={3: 1.0}, hidden=())


def test_rows_that_weigh_nothing_have_no_figures():
    """A loss of 0 on them would be the best of all."""
    X, y = rows_for("softmax_cross_entropy")
    parts = [(np.arange(12), np.arange(12, 18)), (np.arange(12), np.arange(18, 24))]
    weights = np.repeat([1.0, 0.0], [18, 6])
    problem = problems.mlp(X, y, weights=weights, folds=parts, hidden=(), dtype="float64")
    found = frame(problem, {"lr": [0.02, 0.1], "fold": [0, 1]}, batch_size=12, steps=4)
    assert (found.state == "COMPLETE").all()
    assert found.val_loss.isna().tolist() == found.val_accuracy.isna().tolist()
    assert found.val_loss.isna().tolist() == [False, True] * 2


NOTHING = [
    ({"weights": np.zeros(ROWS)}, {}, "weights of all 24 training rows of fold 0 are 0"),
    ({"class_weight": dict.fromkeys(range(3), 0)}, {}, "all 24 training rows of fold 0 are 0"),
    ({"weights": np.arange(ROWS) // 23}, {"n_train": 1}, "all 1 training rows of fold 0 are 0"),
    ({"weights": np.full(ROWS, 1e-50)}, {}, r"row 0 weighs 1e-50, which is 0\.0 in float32"),
    ({"weights": np.full(ROWS, 1e50)}, {}, r"row 0 weighs 1e\+50, which is inf in float32"),
    ({"weights": np.arange(ROWS) // 12, "folds": 2, "time": range(ROWS)}, {}, "of fold 0 are 0"),
]


@pytest.mark.parametrize(("options", "axes", "says"), NOTHING, ids=str)
def test_there_are_rows_to_train_on(options, axes, says):
    X, y = rows_for("softmax_cross_entropy")
    with pytest.raises(ArrayError, match=says):
        problems.mlp(X, y, hidden=(), **options).varied(**axes)
