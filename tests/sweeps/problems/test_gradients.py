"""A user's wrong gradient is named, with both values; a right one is left alone."""

import numpy as np
import pytest

from fastopt.errors import SpecError
from sweeps import problems
from sweeps.problems.gradients import GROUPS, Wrong, wrong_component

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 3)), RNG.normal(size=30)
THETA = np.array([0.5, -1.0, 2.0, 0.25])


def squares(theta, X, y, aux, grad):
    """Least squares with a ridge, mean over the rows."""
    error = X @ theta[:3] + theta[3] - y
    grad[:3] = 2.0 * (X.T @ error) / len(y) + 0.1 * theta[:3]
    grad[3] = 2.0 * error.mean()
    return float((error**2).mean() + 0.05 * (theta[:3] ** 2).sum())


def changed(change, function=squares):
    def loss_and_grad(theta, X, y, aux, grad):
        loss = function(theta, X, y, aux, grad)
        change(theta, y, grad)
        return loss

    return loss_and_grad


def forget_the_bias(theta, y, grad):
    grad[3] = 0.0


def forget_the_ridge(theta, y, grad):
    grad[:3] -= 0.1 * theta[:3]


def slip(theta, y, grad):
    grad[1] = -grad[1]


def make_nan(theta, y, grad):
    grad[2] = np.nan if len(y) > 1 else 0.0


@pytest.mark.parametrize(
    ("change", "coordinate"),
    [(forget_the_bias, 3), (forget_the_ridge, 0), (slip, 1), (make_nan, 2)],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_wrong_gradient_is_reported_with_both_values(change, coordinate, dtype):
    """On the rows that are named, in float64: the values in the message are those found here."""
    theta, rows = THETA.astype(dtype).astype(float), [0, 9, 19, 29]
    x, y = (a.astype(dtype).astype(float)[rows] for a in (X, Y))
    error = x @ theta[:3] + theta[3] - y
    right = np.append(2.0 * (x.T @ error) / 4 + 0.1 * theta[:3], 2.0 * error.mean())
    given = right.copy()
    change(theta, y, given)
    with pytest.raises(SpecError) as caught:
        problems.custom(changed(change), THETA.astype(dtype), X, Y)
    message = str(caught.value)
    assert f"wrong gradient at theta0: on rows {rows} grad[{coordinate}] is " in message
    values = message.split(f"grad[{coordinate}] is ")[1].replace(", finite", "").split()
    assert float(values[0]) == pytest.approx(given[coordinate], rel=1e-12, nan_ok=True)
    assert float(values[-1]) == pytest.approx(right[coordinate], rel=1e-7)
    problems.custom(squares, THETA.astype(dtype), X, Y)


def test_the_gradient_of_a_sum_is_told_from_that_of_the_mean():
    def add_up(theta, y, grad):
        grad *= len(y)

    with pytest.raises(SpecError, match=r"4 times as much: .* problems.summed\(\)"):
        problems.custom(changed(add_up), THETA, X, Y)


def test_one_that_is_right_only_at_the_start_is_reported():
    def frozen(theta, y, grad):
        grad[0] += theta[0] - THETA[0]

    with pytest.raises(SpecError, match=r"wrong gradient near theta0: .* grad\[0\] is "):
        problems.custom(changed(frozen), THETA, X, Y)


@pytest.mark.parametrize("wrong", [0, 77, 999])
def test_one_component_of_a_thousand_is_found(wrong):
    scales = RNG.uniform(0.5, 2.0, 1000)
    calls = []

    def f(x):
        calls.append(1)
        grad = scales * x
        grad[wrong] *= 1.5
        return 0.5 * float(scales @ x**2), grad

    point = RNG.normal(size=1000)
    slope = scales[wrong] * point[wrong]
    assert wrong_component(f, point) == (
        wrong,
        pytest.approx(1.5 * slope, rel=1e-12),
        pytest.approx(slope, rel=1e-5),
    )
    assert len(calls) < 4 * GROUPS


def test_kinks_and_noise_are_not_wrong():
    """Any slope between those of the sides is a subgradient; noise says nothing."""
    point = np.array([0.0, 1.0])
    for slope in (-1.0, 0.0, 0.3, 1.0):
        grad = np.array([slope, 2.0])
        assert wrong_component(lambda x, g=grad: (abs(x[0]) + x[1] ** 2, g), point) is None
    outside = np.array([1.5, 2.0])
    assert wrong_component(lambda x: (abs(x[0]) + x[1] ** 2, outside), point) == (0, 1.5, 0.0)
    # A kink 3e-6 away, inside of the difference.
    near = np.array([3e-6, 1.0])
    assert wrong_component(lambda x: (abs(x[0]), np.array([1.0, 0.0])), near) is None
    rng = np.random.default_rng(1)
    noisy = np.array([1.0, 7.0])
    assert wrong_component(lambda x: (x[0] + rng.normal(), noisy), point) is None
    # float32 inside: differences have one digit at best.
    single = np.array([2.0, 0.0])
    assert wrong_component(lambda x: (float(np.float32(x[0] + 1) ** 2), single), point) is None


def test_points_without_a_value_are_not_checked():
    assert wrong_component(lambda x: (np.nan, np.ones(1)), np.ones(1)) is None
    assert wrong_component(lambda x: (np.log(x[0]), 1 / x), np.ones(1)) is None
    assert wrong_component(lambda x: (x[0], 2.0 * np.ones(1)), np.ones(1)) == Wrong(0, 2.0, 1.0)
