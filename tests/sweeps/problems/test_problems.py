"""Losses, gradients, datasets and the user's own objective, each against something independent."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import sklearn.datasets
import torch
from scipy import stats
from sklearn import metrics

from fastopt.errors import ArrayError, ArrayTypeError, SpecError
from fastopt.machine.calls import raw, raw_rows
from sweeps import problems
from sweeps.engine.callees import functions_of
from sweeps.problems.datasets import DATASETS
from tests.helpers import networks
from tests.helpers.compiled import both

HIDDEN = [(), (8,), (8, 5)]
DTYPES = ["float32", "float64"]
DATASET_OF = {
    "softmax_cross_entropy": problems.iris,
    "logistic": problems.breast_cancer,
    "squared_error": problems.diabetes,
}
# Through all layers, compiled; each loss and activation by itself is in test_losses.py and others.
LOSSES, ACTIVATIONS = list(DATASET_OF), ["relu", "tanh"]
# One row, and around the widths of SIMD blocks.
BATCHES = [1, 2, 7, 8, 9, 31, 32, 33]
# Around the blocks of 256 rows in which problems are evaluated.
ROWS = [1, 255, 256, 257, 511, 513]
# Sums of <= 100 rounded products, and torch rounds in another order: 64 ulp of the largest entry.
TOLERANCE = {dtype: 64 * float(np.finfo(dtype).eps) for dtype in DTYPES}
CANARY = 12345.0


def make(loss, hidden=(8,), activation="relu", dtype="float64", **options):
    """A problem with this loss, on a shipped dataset."""
    return DATASET_OF[loss](hidden=hidden, activation=activation, loss=loss, dtype=dtype, **options)


def parameters(problem, seed=0):
    """Parameters away from every symmetry: biases are not zero either."""
    rng = np.random.default_rng(seed)
    return rng.normal(scale=0.5, size=problem.n_params).astype(problem.dtype)


def guarded(size, dtype):
    """Scratch of exactly ``size`` numbers, and the canaries that lie behind it."""
    whole = np.full(size + 64, CANARY, dtype)
    return whole[:size], whole[size:]


def gradient(problem, theta, X, y, way="compiled"):
    """Call loss_and_grad with scratch of the promised size; check what it may write."""
    grad = np.full(problem.n_params, np.nan, problem.dtype)
    rows = max(len(X), problem.work_rows)
    work, canaries = guarded(problem.work_per_row * rows, problem.dtype)
    before = [a.copy() for a in (theta, X, y)]
    if way == "compiled":
        given = raw(theta), raw_rows(X), raw_rows(y), functions_of(problem).words
        loss = functions_of(problem).loss(*given, raw(grad), raw(work), np.uint64(0), 1)
    else:
        loss = problem.loss_and_grad(theta, X, y, problem.aux, grad, work)
    np.testing.assert_array_equal(canaries, CANARY)
    for a, b in zip((theta, X, y), before):
        np.testing.assert_array_equal(a, b)
    return loss, grad


def evaluate(problem, theta, X, y):
    grad = np.empty(problem.n_params, problem.dtype)
    work, canaries = guarded(problem.work_per_row * problem.work_rows, problem.dtype)
    given = raw(theta), raw_rows(X), raw_rows(y), functions_of(problem).words
    result = functions_of(problem).evaluate(*given, raw(grad), raw(work))
    np.testing.assert_array_equal(canaries, CANARY)
    return result


def torch_gradient(problem, theta, X, y):
    """Loss and gradient by torch's autograd, in float64."""
    sizes, activation, loss = networks.facts_of(problem)
    flat = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    z, at = torch.tensor(X, dtype=torch.float64), 0
    for k, (n, m) in enumerate(itertools.pairwise(sizes)):
        z = z @ flat[at : at + n * m].reshape(n, m) + flat[at + n * m : at + (n + 1) * m]
        at += (n + 1) * m
        if k < len(sizes) - 2:
            z = getattr(torch, activation)(z)
    f = torch.nn.functional
    if loss == "softmax_cross_entropy":
        value = f.cross_entropy(z, torch.tensor(y))
    elif loss == "logistic":
        value = f.binary_cross_entropy_with_logits(z[:, 0], torch.tensor(y, dtype=torch.float64))
    else:
        value = f.mse_loss(z, torch.tensor(y, dtype=torch.float64))
    value.backward()
    return value.item(), flat.grad.numpy()


def assert_near(problem, actual, expected):
    """Compare ``(loss, gradient)``; the gradient by its largest entry, since entries cancel."""
    tolerance = TOLERANCE[problem.dtype.name]
    assert actual[0] == pytest.approx(expected[0], rel=tolerance)
    np.testing.assert_allclose(
        actual[1], expected[1], rtol=0, atol=tolerance * np.abs(expected[1]).max()
    )


@pytest.mark.parametrize(
    ("activation", "dtype"), [("relu", "float32"), ("relu", "float64"), ("tanh", "float64")]
)
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_is_torchs(loss, hidden, activation, dtype):
    problem = make(loss, hidden, activation, dtype)
    theta = parameters(problem)
    for rows in BATCHES:
        X, y = problem.X[:rows], problem.y[:rows]
        expected = torch_gradient(problem, theta, X, y)
        assert_near(problem, gradient(problem, theta, X, y), expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", HIDDEN, ids=str)
@pytest.mark.parametrize("name", DATASETS)
def test_gradient_is_the_slope_of_the_loss(name, hidden, activation):
    """Every dataset, by central differences of the loss, one parameter at a time."""
    problem = problems.PROBLEMS[name](hidden=hidden, activation=activation, dtype="float64")
    theta, X, y = parameters(problem), problem.X[:9], problem.y[:9]
    _, actual = gradient(problem, theta, X, y)
    chosen = np.random.default_rng(1).permutation(problem.n_params)[:40]
    h = 1e-6
    for j in chosen:
        ends = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[j] += sign * h
            ends.append(gradient(problem, moved, X, y)[0])
        # The error is h^2 f''' / 6 + eps |f| / h, both below 1e-9 of losses of order one.
        size = max(abs(ends[0]), np.abs(actual).max())
        assert actual[j] == pytest.approx((ends[0] - ends[1]) / (2 * h), abs=1e-8 * size)


@pytest.mark.parametrize("loss", LOSSES)
def test_plain_python_computes_the_same(loss):
    """The functions stay plain Python; only roundings differ (fused multiply-adds, NumPy's exp)."""
    problem = make(loss, (8, 5), "tanh")
    theta, X, y = parameters(problem), problem.X[:9], problem.y[:9]
    by_python = gradient(problem, theta, X, y, "python")
    assert_near(problem, gradient(problem, theta, X, y), by_python)
    assert_near(
        problem,
        by_python,
        networks.loss_and_grad(theta, *networks.facts_of(problem), X, y),  # type: ignore[call-arg]
    )


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_evaluation_is_scikit_learns(loss, dtype, rows):
    rng = np.random.default_rng(rows)
    X = rng.normal(size=(513, 6))
    y = X[:, :2] + 1 if loss == "squared_error" else rng.integers(0, 2, 513)
    problem = problems.mlp(X, y, hidden=(8, 5), loss=loss, dtype=dtype)
    theta, X, y = parameters(problem), problem.X[:rows], problem.y[:rows]
    actual_loss, actual_accuracy = evaluate(problem, theta, X, y)
    sizes, activation, _ = networks.facts_of(problem)
    z = networks.outputs_of(theta, sizes, activation, X)[-1]
    if loss == "squared_error":
        assert math.isnan(actual_accuracy)
        expected = metrics.mean_squared_error(y, z)
    else:
        chosen = z[:, 0] > 0 if loss == "logistic" else z.argmax(axis=1)
        assert actual_accuracy == metrics.accuracy_score(y, chosen)
        expected = metrics.log_loss(y, networks.probabilities(loss, z), labels=[0, 1])
    # Losses add up in float64; what differs in float32 is each row's own.
    assert actual_loss == pytest.approx(expected, rel=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "logistic"])
def test_large_scores_do_not_overflow(loss, dtype):
    """exp(1000) is infinite in float64, and the loss is linear there."""
    X = np.array([[1.0], [-1.0]])
    problem = problems.mlp(X, [0, 1], hidden=(), loss=loss, standardize=False, dtype=dtype)
    theta = np.array([1000.0, 0.0] if loss == "logistic" else [-500, 500, 0, 0], dtype)
    actual, grad = gradient(problem, theta, problem.X, problem.y)
    assert actual == 1000.0
    np.testing.assert_array_equal(grad, [1.0, 0.0] if loss == "logistic" else [-1, 1, 0, 0])
    assert gradient(problem, -theta, problem.X, problem.y)[0] == 0.0


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_parameter_that_is_nan_shows_in_the_loss(loss, activation):
    """Divergence is seen in the loss alone."""
    for hidden in HIDDEN:
        problem = make(loss, hidden, activation)
        for j in range(problem.n_params):
            theta = parameters(problem)
            theta[j] = np.nan
            assert math.isnan(gradient(problem, theta, problem.X[:3], problem.y[:3])[0])


@pytest.mark.parametrize("way", ["python", "compiled"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_glorot(dtype, way):
    """Weights are uniform up to sqrt(6 / (fan_in + fan_out)), layer by layer; biases are zero."""
    problem = problems.digits(hidden=(32, 16), dtype=dtype)
    theta = np.full(problem.n_params, np.nan, dtype)
    both(problem.init)[way](theta, problem.aux, np.uint64(3))
    sizes = networks.facts_of(problem)[0]
    for (W, b), n, m in zip(networks.layers_of(theta, sizes), sizes, sizes[1:]):
        r = math.sqrt(6 / (n + m))
        assert np.abs(W).max() <= r * (1 + np.finfo(dtype).eps)
        assert stats.kstest(W.ravel(), stats.uniform(-r, 2 * r).cdf).pvalue > 1e-3
        np.testing.assert_array_equal(b, 0)


def test_initial_parameters_depend_on_the_seed_and_nothing_else():
    problem = problems.iris()
    drawn = []
    for seed in (0, 1, 0, 2**40):
        theta = np.full(problem.n_params, np.nan, np.float32)
        both(problem.init)["compiled"](theta, problem.aux, np.uint64(seed))
        drawn.append(theta)
    np.testing.assert_array_equal(drawn[0], drawn[2])
    nonzero = drawn[0] != 0
    assert (drawn[0] != drawn[1])[nonzero].all()
    assert (drawn[0] != drawn[3])[nonzero].all()


SHIPPED = {
    "digits": ("load_digits", 10),
    "iris": ("load_iris", 3),
    "wine": ("load_wine", 3),
    "breast_cancer": ("load_breast_cancer", 2),
    "diabetes": ("load_diabetes", None),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_dataset_is_scikit_learns_split_in_two(name):
    loader, classes = SHIPPED[name]
    X, y = getattr(sklearn.datasets, loader)(return_X_y=True)
    problem = problems.PROBLEMS[name](standardize=False, dtype="float64", test_size=0.2)
    rows = np.vstack([problem.X, problem.X_test])
    targets = np.concatenate([problem.y, problem.y_test]).reshape(-1)
    assert len(problem.X_test) == math.ceil(0.2 * len(X))
    joined = np.column_stack([rows, targets])
    expected = np.column_stack([X, y])
    np.testing.assert_array_equal(joined[np.lexsort(joined.T)], expected[np.lexsort(expected.T)])
    if classes:
        assert problem.aux[0][-1] == classes
        shares = [np.bincount(a) / a.size for a in (problem.y, problem.y_test)]
        np.testing.assert_allclose(*shares, atol=0.02)


def test_every_dataset_is_tested():
    assert {*SHIPPED, "moons"} == set(DATASETS)


def test_split_seed_and_no_test_rows():
    a, b, again = (problems.moons(split_seed=seed) for seed in (0, 1, 0))
    assert (a.X != b.X).any()
    np.testing.assert_array_equal(a.X, again.X)
    for build in (problems.moons, problems.diabetes):
        whole = build(test_size=0)
        assert not whole.has_test
        assert "test" not in repr(whole)
    assert repr(a) == "moons: 750 training rows, 250 test, 162 parameters, float32"


def test_standardized_by_the_training_rows():
    problem = problems.wine(dtype="float64")
    raw = problems.wine(dtype="float64", standardize=False)
    np.testing.assert_allclose(problem.X.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(problem.X.std(axis=0), 1, rtol=1e-13)
    mean, deviation = raw.X.mean(axis=0), raw.X.std(axis=0)
    np.testing.assert_allclose(problem.X_test, (raw.X_test - mean) / deviation, rtol=1e-12)
    assert not np.isnan(problems.digits().X).any()  # some pixels are always black


@pytest.mark.parametrize(
    ("build", "loss", "y"),
    [
        (problems.softmax_regression, "softmax_cross_entropy", [0, 1, 2, 1]),
        (problems.logistic_regression, "logistic", [0, 1, 0, 1]),
        (problems.linear_regression, "squared_error", [0.5, 1.5, 2.5, 1.0]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_linear_model_is_a_network_without_hidden_layers(build, loss, y):
    X = np.arange(8.0).reshape(4, 2) ** 2
    problem, network = build(X, y), problems.mlp(X, y, hidden=(), loss=loss)
    assert problem.name == build.__name__
    assert problem.loss_and_grad is network.loss_and_grad
    assert problem.n_params == network.n_params
    np.testing.assert_array_equal(problem.aux[0], network.aux[0])
    np.testing.assert_array_equal(problem.y, network.y)


def test_arrays_are_copied_and_their_flags_do_not_matter():
    """Read-only or strided arrays would each be a type of its own, and another compilation."""
    X, y = np.arange(12.0).reshape(2, 6).T, np.arange(6.0)
    X.flags.writeable = False
    problem = problems.linear_regression(X, y, X, y, standardize=False, dtype="float64")
    for a in (problem.X, problem.y, problem.X_test, problem.y_test):
        assert a.flags.c_contiguous
        assert a.flags.writeable
        assert not np.shares_memory(a, X)
        assert not np.shares_memory(a, y)


@pytest.mark.parametrize("kind", [object, str, list])
def test_labels_may_be_names(kind):
    """As in a CSV file: numbered in alphabetical order, as scikit-learn does."""
    from sklearn.preprocessing import LabelEncoder

    given = ["no", "yes", "perhaps", "no"], ["perhaps", "yes"]
    made = [list(part) if kind is list else np.array(part, kind) for part in given]
    problem = problems.mlp(ROWS_OF_TWO, made[0], ROWS_OF_TWO[:2], made[1])
    encoder = LabelEncoder().fit(given[0])
    np.testing.assert_array_equal(problem.classes, encoder.classes_)
    np.testing.assert_array_equal(problem.y, encoder.transform(given[0]))
    np.testing.assert_array_equal(problem.y_test, encoder.transform(given[1]))
    assert problem.loss_and_grad is problems.mlp(ROWS_OF_TWO, LABELS).loss_and_grad


ROWS_OF_TWO, LABELS = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
HOLE = np.array([[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0], [7.0, 8.0]])

WRONG = {
    "rows": ({"y": LABELS[:3]}, SpecError, "X has 4 rows and y has 3"),
    "no rows": ({"X": np.empty((0, 2)), "y": LABELS[:0]}, SpecError, "X has 0 rows"),
    "one dimension": ({"X": np.arange(4.0)}, ArrayError, r"shape \(rows, features\); got \(4,\)"),
    "NaN": ({"X": HOLE}, ArrayError, r"X\[1, 0\] is nan; data must be finite"),
    "infinity": ({"X": np.full((4, 2), np.inf)}, ArrayError, "must be finite"),
    "words": ({"X": [["a", "b"]] * 4}, ArrayTypeError, "X cannot be read as an array of float32"),
    "dtype": ({"dtype": "float16"}, ArrayTypeError, "float32 or float64; got float16"),
    "third class": ({"y": [0, 1, 2, 1], "loss": "logistic"}, ArrayError, "two classes; got 3"),
    "real labels": ({"y": LABELS / 2, "loss": "logistic"}, ArrayError, "integer labels of shape"),
    "NaN target": ({"y": [0.0, 1.0, np.nan, 2.0]}, ArrayError, r"y\[2, 0\] is nan"),
    "activation": (
        {"activation": "rleu"},
        SpecError,
        r"relu, tanh, .*; got 'rleu' [(]did you mean 'relu'",
    ),
    r"loss": ({"loss": "logistc"}, SpecError, "got 'logistc' [(]did you mean 'logistic'"),
    "hidden 0": ({"hidden": (8, 0)}, SpecError, r"widths >= 1; got \(8, 0\)"),
    "hidden 0, bare": ({"hidden": 0}, SpecError, "widths >= 1; got 0"),
    "hidden 1.5": ({"hidden": (1.5,)}, SpecError, r"widths >= 1; got \(1.5,\)"),
    "hidden True": ({"hidden": (True,)}, SpecError, "widths >= 1"),
    "theta0 length": (
        {"hidden": (), "theta0": np.zeros(5)},
        ArrayError,
        "theta0 has 5 numbers; the model has 6 parameters",
    ),
    "theta0 NaN": ({"hidden": (), "theta0": [np.nan] * 6}, ArrayError, r"theta0\[0, 0\] is nan"),
    "test features": (
        {"X_test": np.ones((2, 3)), "y_test": [0, 1]},
        ArrayError,
        "X has 2 features and X_test has 3",
    ),
    "test rows": ({"X_test": ROWS_OF_TWO, "y_test": [0, 1]}, SpecError, r"mlp \(test\): X has 4"),
    "test targets missing": ({"X_test": ROWS_OF_TWO}, SpecError, r"X has 4 rows and y has 0"),
    "test outputs": (
        {"y": ROWS_OF_TWO, "X_test": ROWS_OF_TWO, "y_test": np.ones((4, 3))},
        ArrayError,
        "y has 2 outputs a row and y_test has 3",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused(name):
    arguments, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        problems.mlp(**{"X": ROWS_OF_TWO, "y": LABELS, **arguments})


@pytest.mark.parametrize("test_size", [-0.1, 1.0, 1.5, math.nan])
def test_wrong_test_size(test_size):
    with pytest.raises(SpecError, match=r"test_size must be in \[0, 1\); got"):
        problems.iris(test_size=test_size)


def test_a_problem_is_frozen():
    problem = problems.iris()
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.name = "other"
