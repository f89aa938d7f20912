"""Relations that hold between runs, whatever the numbers are.

Permutations of a grid are in test_engine.py and test_lanes.py, the heavy-ball boundary in
test_lanes.py.
"""

import numpy as np
import pytest

import fastopt
from sweeps import linspace, logspace, problems
from tests.helpers.bowls import tilted
from tests.helpers.training import assert_same_bits, frame

BOWL = problems.ellipse()


def walk(make, steps=60, scale=1.0, **options):
    """The path of an optimizer class on a bowl whose gradients are scaled."""
    rng = np.random.default_rng(3)
    p, curvatures = rng.normal(size=50), rng.uniform(0.1, 2.0, 50)
    opt, path = make(p, **options), []
    for _ in range(steps):
        opt.step(scale * (curvatures * p))
        path.append(p.copy())
    return np.array(path)


SCALES = [2.0**-20, 0.25, 8.0, 2.0**30]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("make", [fastopt.Adam, fastopt.AdamW])
def test_adam_without_eps_does_not_see_the_scale_of_the_loss(make, scale):
    expected = walk(make, lr=0.01, eps=0.0)
    assert np.abs(expected[-1] - expected[0]).max() > 0.1
    np.testing.assert_array_equal(walk(make, scale=scale, lr=0.01, eps=0.0), expected)


@pytest.mark.parametrize("scale", SCALES)
def test_in_sweeps_neither(scale):
    weights, gradient = np.linspace(-1.0, 2.0, 4), [0.5, -0.25, 0.125, 1.0]
    space = {"lr": logspace(1e-3, 0.1, 40), "beta2": [0.9, 0.999]}
    one, other = (
        frame(tilted(weights, gradient, c, 1.0), space, optimizer="adam", eps=0.0, steps=80)
        for c in (1.0, scale)
    )
    for name in ("path_length", *tilted(weights, gradient).names):
        np.testing.assert_array_equal(other[name], one[name])
    np.testing.assert_array_equal(other.train_loss, scale * one.train_loss)


@pytest.mark.parametrize("scale", SCALES)
def test_a_learning_rate_makes_up_for_the_scale_of_the_loss(scale):
    for options in ({}, {"momentum": 0.9}, {"momentum": 0.9, "form": "velocity"}):
        expected = walk(fastopt.SGD, lr=0.0625, **options)
        actual = walk(fastopt.SGD, scale=scale, lr=0.0625 / scale, **options)
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.filterwarnings("ignore:.*come to the same trials")
@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_a_batch_of_all_rows_is_the_full_batch_whatever_the_seed():
    theta0 = np.linspace(-1.0, 1.0, 67)
    problem = problems.iris(hidden=(8,), dtype="float64", theta0=theta0)
    rows = len(problem.X)
    space = {
        "batch_size": [rows, 10 * rows],
        "seed": [0, 1, 2**40],
        "shuffle": ["epoch", "once", "none", "replacement"],
    }
    trials = frame(problem, space, optimizer="adam", lr=0.01, epochs=20)
    assert len(trials) == 24
    for k in range(1, len(trials)):
        assert_same_bits(trials.iloc[[k]], trials.iloc[[0]])
    almost = frame(problem, {"seed": [0, 1]}, lr=0.01, epochs=20, batch_size=rows - 1)
    assert almost.train_loss[0] != almost.train_loss[1]


@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_decoupled_decay_of_sgd_is_coupled_decay():
    """Proposition 1 of Loshchilov and Hutter 2019: the share l' = lr l of the weights is L2 by l.

    With momentum it is not: there the velocity remembers the decay.
    """
    space = {
        "lr": linspace(0.01, 0.15, 15),
        "weight_decay": linspace(0.0, 2.0, 9),
        "decoupled": [False, True],
    }
    for optimizer, same in (("sgd", True), ("momentum", False)):
        rows = frame(BOWL, space, optimizer=optimizer, steps=30)
        l2, decoupled = (rows[rows.decoupled == flag].reset_index() for flag in (False, True))
        close = np.isclose(decoupled.x, l2.x, rtol=1e-12, atol=0.0)
        assert close[l2.weight_decay > 0.0].all() == same
        assert close[l2.weight_decay == 0.0].all()
    # The map of l' is a sheared one of l: at twice the rate the same share is half the decay.
    rows = frame(BOWL, [
        {"lr": [0.05], "weight_decay": [0.4 / 0.05]}, {"lr": [0.1], "weight_decay": [0.4 / 0.1]},
    ], optimizer="sgd", decoupled=True, steps=1)  # fmt: skip
    shares = (10.0 - rows.lr * 10.0 - rows.x) / 10.0
    np.testing.assert_allclose(shares, 0.4, rtol=1e-14)


def test_adam_with_a_huge_eps_is_momentum():
    """Choi et al. 2019: v vanishes beside eps, and lr / eps is the rate that is left.

    Momentum as a moving average, which Adam corrects for its start by 1 / (1 - beta1^t).
    """
    eps, beta1 = 1e9, 0.9
    adam = walk(fastopt.Adam, lr=0.5 * eps, betas=(beta1, 0.999), eps=eps)
    momentum = walk(
        fastopt.SGD, lr=0.5, momentum=beta1, form="ema",
        schedule=lambda t: 1.0 / (1.0 - beta1 ** (t + 1)),
    )  # fmt: skip
    # sqrt(v) / eps is below 1e-8, and oscillations multiply it by the number of steps.
    np.testing.assert_allclose(adam, momentum, atol=1e-6)
    assert np.abs(momentum[-1]).max() < np.abs(momentum[0]).max()
    assert np.abs(walk(fastopt.Adam, lr=0.5, betas=(beta1, 0.999)) - momentum).max() > 0.1


def test_in_sweeps_adam_with_a_huge_eps_and_no_memory_is_sgd():
    rates = np.linspace(0.01, 0.19, 19)
    plain = frame(BOWL, {"lr": rates}, optimizer="sgd", steps=50)
    space = {"lr": rates * 1e9, "beta2": [0.0, 0.999]}
    adam = frame(BOWL, space, optimizer="adam", beta1=0.0, eps=1e9, steps=50)
    for beta2 in space["beta2"]:
        rows = adam[adam.beta2 == beta2]
        np.testing.assert_allclose(rows[["x", "y"]], plain[["x", "y"]], atol=1e-5)


@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_momentum_without_memory_is_sgd():
    space = {"lr": linspace(0.01, 0.19, 19)}
    plain = frame(BOWL, space, optimizer="sgd", steps=50)
    for form in ("heavy_ball", "ema", "velocity"):
        ball = frame(BOWL, space, optimizer="momentum", momentum=0.0, form=form, steps=50)
        np.testing.assert_allclose(ball[["x", "y"]], plain[["x", "y"]], rtol=1e-12)


def test_amsgrad_is_adam_while_gradients_grow():
    """The largest second moment so far is then the last one."""

    def climb(amsgrad):
        p = np.linspace(1.0, 2.0, 20)
        opt = fastopt.Adam(p, lr=0.01, amsgrad=amsgrad)
        for t in range(1, 40):
            opt.step(np.full(20, float(t)) * np.linspace(0.5, 1.0, 20))
        return p

    np.testing.assert_array_equal(climb(True), climb(False))
