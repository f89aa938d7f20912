"""The kit of checks for problems: ours pass, and each fault is found by the check of its name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sweeps import problems
from sweeps.tracing import testing
from sweeps.tracing.testing import check_problem

NUMBERS = np.linspace(-1.0, 1.0, 24)


def squares(theta, X, y, aux, grad):
    grad[:] = 0.0
    loss = 0.0
    for i in range(X.shape[0]):
        error = theta[0] * X[i, 0] - y[i]
        loss += 0.5 * error * error
        grad[0] += error * X[i, 0]
    return loss


OURS = {
    "ellipse": problems.ellipse,
    "noisy_quadratic": problems.noisy_quadratic,
    "himmelblau": problems.himmelblau,
    "styblinski_tang": problems.styblinski_tang,
    "iris": lambda: problems.iris(hidden=(8,), dtype="float64"),
    "iris of float32": lambda: problems.iris(hidden=(8,)),
    "diabetes": lambda: problems.diabetes(hidden=(8,), dtype="float64"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "ellipse" else pytest.mark.soak) for n in OURS]
)
def test_ours_pass(name, counted):
    problem = OURS[name]()
    passed = check_problem(problem)
    draws = name in ("noisy_quadratic",)
    has_rows = isinstance(problem, problems.DataProblem)
    wanted = set(testing.CHECKS if has_rows else testing.OF_LANDSCAPES)
    if has_rows and problem.dtype == np.float32:
        wanted.remove("the gradient is the slope")
    assert set(passed) == wanted - ({"optima are optima"} if draws else set())
    counted(len(passed))


def steep(x, t, seed, aux):
    value, grad = problems.ellipse().value_and_grad(x, t, seed, aux)
    return value, (grad[0], 1.5 * grad[1])


def nowhere(x, t, seed, aux):
    value, grad = problems.ellipse().value_and_grad(x, t, seed, aux)
    return np.nan * value, grad


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"value_and_grad": steep}, "the gradient is the slope: ellipse: finite .*coordinate=1"),
        ({"value_and_grad": nowhere}, "the gradient is the slope: ellipse: at the start .* nan"),
        ({"optima": np.array([[0.5, 0.5]])}, "optima are optima: ellipse: at .* it is "),
    ],
    ids=["gradient", "value", "optimum"],
)
def test_a_fault_of_a_landscape_is_found(change, check):
    with pytest.raises(AssertionError, match=f"^{check}"):
        check_problem(dataclasses.replace(problems.ellipse(), **change))


@pytest.mark.parametrize("given", [None, "iris", problems.iris])
def test_what_is_no_problem_is_refused(given):
    with pytest.raises(AssertionError, match="takes a problem, of rows or a landscape; got"):
        check_problem(given)


def of_the_first_row(theta, X, y, aux, grad):
    error = theta[0] * X[0, 0] - y[0]
    grad[0] = error * X[0, 0]
    return 0.5 * error * error


@pytest.mark.parametrize(
    ("function", "rows"),
    [
        (squares, "of the same twice"),
        pytest.param(of_the_first_row, "of the same backwards", marks=pytest.mark.soak),
    ],
    ids=["a sum", "one row"],
)
def test_what_is_no_mean_is_found(function, rows):
    """With a right gradient, so that nothing but this says so."""
    made = problems.custom(function, np.ones(1), NUMBERS[:, None], NUMBERS**2)
    with pytest.raises(AssertionError, match=rf"^the loss is a mean: .* of rows \d.*{rows}"):
        check_problem(made)
