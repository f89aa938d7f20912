"""The user's own loss function: what it is given, what it may return, what is refused."""

import numpy as np
import pytest

from fastopt.errors import ArrayError, ArrayTypeError, FastoptError, SpecError
from sweeps import problems, sweep

ROWS, LABELS = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])


def unit_loss(theta, X, y, aux, grad):
    grad[:] = 0.0
    return 1.0


def ridge(theta, X, y, aux, grad):
    """Least squares by loops, ``theta = (w, b)``, each parameter with its own penalty."""
    (penalties,) = aux
    rows, features = X.shape
    loss = 0.0
    for j in range(theta.size):
        loss += 0.5 * penalties[j] * theta[j] * theta[j]
        grad[j] = penalties[j] * theta[j]
    for i in range(rows):
        error = theta[features] - y[i]
        for j in range(features):
            error += theta[j] * X[i, j]
        loss += error * error / rows
        for j in range(features):
            grad[j] += 2.0 * error * X[i, j] / rows
        grad[features] += 2.0 * error / rows
    return loss


def unwritten(theta, X, y, aux, grad):
    grad[0] = 1.0
    return 1.0


def rebound(theta, X, y, aux, grad):
    grad = theta  # noqa: F841
    return 1.0


def nothing(theta, X, y, aux, grad):
    grad[:] = 0.0


def whole_loss(theta, X, y, aux, grad):
    grad[:] = 0.0
    return 1


def failing(theta, X, y, aux, grad):
    return theta[7]


SWEEP = {"optimizer": "sgd", "epochs": 4, "batch_size": 50, "progress": False}


def test_the_users_linear_regression_is_the_built_in_one():
    """Matrix products add up in another order: 1e-12 after 28 steps."""
    theta0 = np.linspace(-1, 1, 11)
    built_in = problems.diabetes(hidden=(), dtype="float64", theta0=theta0)
    arrays = [a.reshape(len(a), -1) for a in (built_in.X, built_in.X_test)]
    targets = [a[:, 0] for a in (built_in.y, built_in.y_test)]
    own = problems.custom(
        ridge, theta0, arrays[0], targets[0], (np.zeros(11),), arrays[1], targets[1]
    )
    assert repr(own) == "ridge: 331 training rows, 111 test, 11 parameters, float64"
    frames = [sweep(p, {"lr": [0.01, 0.1]}, **SWEEP).to_frame() for p in (built_in, own)]
    for name in ("train_loss", "best_loss", "test_loss"):
        np.testing.assert_allclose(frames[1][name], frames[0][name], rtol=1e-12)
    assert (frames[0].test_loss < 20_000).all()  # it starts near 29 000
    assert frames[1][["train_accuracy", "test_accuracy"]].isna().all(axis=None)


def test_aux_arrays_reach_the_function_as_they_are():
    """On rows of zeros only the penalties act, and each parameter shrinks on its own."""
    penalties, theta = np.array([0.5, 0.25, 1.0]), np.array([1.0, -2.0, 0.0])
    problem = problems.custom(ridge, theta, np.zeros((4, 2)), np.zeros(4), (penalties,))
    result = sweep(problem, {"lr": [0.5]}, optimizer="sgd", steps=3, progress=False)
    expected = 0.5 * (penalties * ((1 - 0.5 * penalties) ** 3 * theta) ** 2).sum()
    assert result.columns["train_loss"][0] == pytest.approx(expected, rel=1e-14)


def own(function=unit_loss, theta0=(0.0, 0.0), X=ROWS, y=LABELS, **options):
    return problems.custom(function, np.asarray(theta0), X, y, **options)


def test_the_users_arrays_are_copied():
    X = np.arange(8.0).reshape(2, 4).T
    X.flags.writeable = False
    problem = own(X=X, y=X[:, 0], X_test=X, y_test=X[:, 0])
    for a in (problem.X, problem.y, problem.X_test, problem.y_test):
        assert a.flags.c_contiguous
        assert a.flags.writeable
        assert not np.shares_memory(a, X)


def test_dtypes_of_the_users_arrays():
    """Features become floats like theta; labels stay integers, whatever their width."""
    problem = own(theta0=np.zeros(2, np.float32), X=np.arange(4), y=LABELS.astype(np.uint8))
    assert (problem.X.dtype, problem.X.shape, problem.y.dtype) == (np.float32, (4,), np.int64)
    assert own(y=LABELS.astype(np.float32)).y.dtype == np.float64
    assert own(name="mine").name == "mine"


def writing(place):
    def function(theta, X, y, aux, grad):
        (theta, X, y, aux[-1:] and aux[-1])[place][:1] -= 2
        grad[:] = 0.0
        return 1.0

    return function


WRONG_CUSTOM = {
    "not a function": ({"function": "unit_loss"}, SpecError, "plain function .*; got str"),
    "a class": ({"function": dict}, SpecError, "plain function .*; got type"),
    "unwritten": ({"function": unwritten}, SpecError, r"unwritten must .*grad\[1\] was left unwr"),
    "rebound": ({"function": rebound}, SpecError, r"grad\[0\] .*Write grad\[:\] = "),
    "returns nothing": ({"function": nothing}, SpecError, "mean loss, a float; it returned None"),
    "returns an integer": ({"function": whole_loss}, SpecError, "a float; it returned 1"),
    "writes to theta": ({"function": writing(0)}, SpecError, r"to theta, .* only read"),
    "writes to X": ({"function": writing(1)}, SpecError, r"to X, which it may only read"),
    "writes to y": ({"function": writing(2)}, SpecError, r"to y, which it may only read"),
    "writes to aux": (
        {"function": writing(3), "aux": (np.ones(2), np.zeros(1))},
        SpecError,
        r"to aux\[1\], which it may only read",
    ),
    "integer theta0": ({"theta0": (0, 1)}, ArrayTypeError, "theta0 must be float32 or float64"),
    "words": ({"y": ["a"] * 4}, ArrayTypeError, "y must hold numbers; got <U1"),
    "rows": ({"y": LABELS[:3]}, SpecError, "unit_loss: X has 4 rows and y has 3"),
    "dimensions": (
        {"X": np.ones((4, 1, 1))},
        ArrayError,
        r"one or two dimensions; got .*\(4, 1, 1",
    ),
    "aux list": ({"aux": [np.ones(2)]}, ArrayTypeError, "tuple of NumPy arrays"),
    "aux numbers": ({"aux": (1.0,)}, ArrayTypeError, "tuple of NumPy arrays"),
    "test rows": ({"X_test": ROWS}, SpecError, r"\(test\): X has 4 rows and y has 0"),
    "test features": (
        {"X_test": np.ones((4, 3)), "y_test": LABELS},
        ArrayError,
        r"a row of X has shape \(2,\) and one of X_test \(3,\)",
    ),
    "test labels": (
        {"X_test": ROWS, "y_test": LABELS / 2},
        ArrayTypeError,
        "y_test must hold integers, as y does; got float64",
    ),
}


@pytest.mark.parametrize("name", WRONG_CUSTOM)
def test_wrong_custom_arguments_are_refused(name):
    arguments, kind, message = WRONG_CUSTOM[name]
    with pytest.raises(kind, match=message) as caught:
        own(**arguments)
    assert isinstance(caught.value, FastoptError)


def test_the_users_own_exception_comes_through():
    with pytest.raises(IndexError):
        own(failing)
