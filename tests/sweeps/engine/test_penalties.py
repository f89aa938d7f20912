"""Penalties of weights against descent written anew; l1 leaves zeros, biases are free."""

import itertools

import numpy as np
import pytest

from fastopt.errors import SpecError
from sweeps import problems
from tests.helpers import networks
from tests.helpers.training import assert_same_bits, frame, initial, run

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 1))
STEPS, LR = 40, 0.05


@pytest.fixture(scope="module")
def problem():
    return problems.mlp(
        X, Y, hidden=(3,), loss="squared_error", activation="tanh", dtype="float64",
        standardize=False,
    )  # fmt: skip


def descended(problem, l1, l2):
    """Proximal gradient descent, the layers one after the other."""
    sizes, theta = (4, 3, 1), initial(problem, 0)
    weights = np.concatenate(
        [np.arange(n * m + m) < n * m for n, m in itertools.pairwise(sizes)]
    )  # fmt: skip
    for _ in range(STEPS):
        _, grad = networks.loss_and_grad(theta, sizes, "tanh", "squared_error", X, Y)
        theta = theta - LR * (grad + l2 * weights * theta)
        near = np.sign(theta) * np.maximum(np.abs(theta) - LR * l1, 0.0)
        theta = np.where(weights, near, theta)
    return theta, weights


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.3), (0.1, 0.0), (0.05, 0.1)])
def test_a_trial_descends_as_written(problem, l1, l2):
    settings = {"optimizer": "sgd", "batch_size": 30, "steps": STEPS, "l1": l1, "l2": l2}
    result = run(problem, {"lr": [LR]}, **settings)
    theta, weights = descended(problem, l1, l2)
    (ours,) = result.trials_weights([0])
    np.testing.assert_allclose(ours, theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(ours[weights] == 0, theta[weights] == 0)
    assert (ours[weights] == 0).any() == (l1 > 0)
    assert (ours[~weights] != 0).all()
    # What is reported is the loss without penalties.
    loss, _ = networks.loss_and_grad(theta, (4, 3, 1), "tanh", "squared_error", X, Y)
    assert result.to_frame().train_loss[0] == pytest.approx(loss, rel=1e-12)


def test_penalties_are_axes_whose_zero_costs_no_bit(problem):
    settings = {"optimizer": "sgd", "batch_size": 8, "epochs": 3}
    plain = frame(problem, {"lr": [0.01, LR]}, **settings)
    found = frame(problem, {"lr": [0.01, LR], "l1": [0.0, 0.1], "l2": [0.0, 0.3]}, **settings)
    none = (found.l1 == 0) & (found.l2 == 0)
    assert_same_bits(found[none], plain)
    assert found.train_loss.nunique() == 8
    for name in ("l1", "l2"):
        alone = frame(problem, {"lr": [LR]}, **settings, **{name: {"l1": 0.1, "l2": 0.3}[name]})
        other = {"l1": "l2", "l2": "l1"}[name]
        rows = found[(found[name] > 0) & (found[other] == 0) & (found.lr == LR)]
        assert_same_bits(rows, alone)


def own(theta, X, y, aux, grad):
    grad[0] = theta[0]
    return 0.5 * theta[0] * theta[0]


@pytest.mark.parametrize("name", ["l1", "l2"])
@pytest.mark.parametrize("axis", [True, False])
def test_where_nothing_is_a_weight_penalties_are_refused(name, axis):
    custom = problems.custom(own, np.ones(1), np.zeros(8), np.zeros(8))
    for problem, message in (
        (custom, "does not say which parameters are weights"),
        (problems.ellipse(), name),
    ):
        space = {"lr": [0.1], name: [0.0, 0.1]} if axis else {"lr": [0.1]}
        with pytest.raises(SpecError, match=message):
            run(problem, space, steps=2, **({} if axis else {name: 0.1}))


@pytest.mark.parametrize(
    ("value", "message"), [(-0.1, "l1"), (np.inf, "l1"), (np.nan, "l1"), ("much", "l1")]
)
def test_wrong_penalties_are_refused(problem, value, message):
    with pytest.raises((SpecError, ValueError), match=message):
        run(problem, {"lr": [0.1], "l1": [value]}, epochs=1)


def test_an_average_of_weights_has_no_zeros(problem):
    with pytest.raises(SpecError, match="answers with an average"):
        run(problem, {"lr": [0.1]}, optimizer="schedule_free_sgd", epochs=1, l1=0.1)
