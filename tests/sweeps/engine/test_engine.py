"""Whole trials against a training loop in float64 NumPy and torch; the same bits in any company.

The kernels here are those of one loss and three rules: what differs between tests is data.
"""

import functools
import math

import numpy as np
import pandas as pd
import pytest
import torch

from fastopt import schedules
from sweeps import problems
from sweeps.common.philox import DRAW, uniforms
from tests.helpers import networks
from tests.helpers.training import (
    CLOSE,
    LOSSES,
    Trial,
    assert_same_bits,
    batches,
    frame,
    initial,
    order_of,
    run,
    taken,
)


@pytest.fixture(scope="module")
def iris():
    """112 training rows: 16 divides them, 25 does not."""
    return problems.iris(hidden=(8,), dtype="float64")


@pytest.fixture(scope="module")
def numbers():
    """Ten rows whose loss at theta = 0 is the square of their number."""
    y = np.arange(10.0)
    return problems.linear_regression(
        np.zeros((10, 1)), y, standardize=False, dtype="float64", theta0=[0.0, 0.0]
    )


TRIALS = [
    ("sgd", {"lr": 0.1}, {"batch": 25, "epochs": 4}),
    ("momentum", {"lr": 0.05, "momentum": 0.8}, {"batch": 16, "epochs": 3}),
    ("momentum", {"lr": 0.05, "momentum": 0.9, "dampening": 0.5}, {"batch": 25, "steps": 13}),
    ("momentum", {"lr": 0.05, "weight_decay": 0.1, "form": "ema"}, {"batch": 112, "steps": 20}),
    ("momentum", {"lr": 0.05, "form": "velocity"}, {"batch": 1, "steps": 30}),
    ("nesterov", {"lr": 0.02, "momentum": 0.9}, {"batch": 25, "epochs": 4, "seed": 5}),
    ("adam", {"lr": 0.01}, {"batch": 16, "epochs": 4}),
    ("adam", {"lr": 0.02, "beta1": 0.5, "beta2": 0.9, "eps": 1e-4}, {"batch": 25, "epochs": 6}),
    ("adam", {"lr": 0.01, "weight_decay": 0.1}, {"batch": 111, "steps": 11}),
    ("adam", {"lr": 0.01}, {"batch": 200, "epochs": 25, "seed": 2**40}),
    ("adamw", {"lr": 0.02, "weight_decay": 0.5}, {"batch": 25, "epochs": 4, "seed": 1}),
]


@pytest.mark.parametrize(("optimizer", "hyper", "how"), TRIALS, ids=str)
@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_a_trial_is_the_plain_training_loop(iris, optimizer, hyper, how):
    expected = Trial(iris, optimizer, **how, **hyper).train().measured()
    length = {name: how[name] for name in ("epochs", "steps", "seed") if name in how}
    (row,) = frame(iris, {}, optimizer=optimizer, batch_size=how["batch"], **length, **hyper).iloc
    assert row.state == "COMPLETE"
    for name, value in expected.items():
        np.testing.assert_allclose(row[name], value, err_msg=name, **CLOSE)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize(
    ("optimizer", "twin"),
    [
        ("adam", functools.partial(torch.optim.Adam, lr=0.01)),
        ("adamw", functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=1e-2)),
        ("momentum", functools.partial(torch.optim.SGD, lr=0.01, momentum=0.9)),
    ],
)
def test_a_trial_is_torchs(activation, optimizer, twin):
    """torch's own layers, loss and optimizer, from the same weights, on the same batches."""
    problem = problems.iris(hidden=(8, 5), activation=activation, dtype="float64")
    sizes = networks.facts_of(problem)[0]
    modules = []
    for W, b in networks.layers_of(initial(problem, 3), sizes):
        linear = torch.nn.Linear(*W.shape, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(W.T))
            linear.bias.copy_(torch.tensor(b))
        modules += [linear, {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[activation]()]
    network = torch.nn.Sequential(*modules[:-1])
    theirs, loss_of = twin(network.parameters()), torch.nn.CrossEntropyLoss()
    X, y = torch.tensor(problem.X), torch.tensor(problem.y)
    for rows in batches(len(X), 25, 20, 3):
        theirs.zero_grad()
        loss_of(network(X[rows]), y[rows]).backward()
        theirs.step()
    (row,) = frame(problem, {}, optimizer=optimizer, lr=0.01, batch_size=25, steps=20, seed=3).iloc
    with torch.no_grad():
        assert row.train_loss == pytest.approx(loss_of(network(X), y).item(), rel=1e-10)
        z = network(torch.tensor(problem.X_test))
        assert row.test_loss == pytest.approx(
            loss_of(z, torch.tensor(problem.y_test)).item(), rel=1e-10
        )


GRID = {
    "optimizer": ["sgd", "momentum", "adam", "adamw"],
    "lr": [0.001, 0.01, 0.1],
    "batch_size": [16, 25, 112],
    "seed": [0, 1],
}


@pytest.fixture(scope="module")
def grid(iris):
    """72 trials of three kernels, costs of all sizes, on two threads."""
    return frame(iris, GRID, epochs=3, n_jobs=2)


def test_the_number_of_threads_does_not_matter(iris, grid):
    assert grid.train_loss.nunique() > 50
    assert_same_bits(frame(iris, GRID, epochs=3, n_jobs=1), grid)


def test_a_trial_alone_is_the_trial_in_the_crowd(iris, grid):
    for _, row in grid.iloc[::5].iterrows():
        space = {name: [row[name]] for name in GRID}
        assert_same_bits(frame(iris, space, epochs=3), grid[grid.trial_id == row.trial_id])


def test_the_order_of_axes_and_values_only_moves_rows(iris, grid):
    turned = {name: axis[::-1] for name, axis in reversed(GRID.items())}
    moved = frame(iris, turned, epochs=3)
    assert (moved.trial_id.to_numpy() != grid.trial_id.to_numpy()[::-1]).any()
    named = [f.astype({"optimizer": str}).sort_values(list(GRID)) for f in (moved, grid)]
    assert_same_bits(*named)


def test_keywords_are_axes_of_one_value(iris, grid):
    options = {name: grid[name].iloc[-1] for name in GRID}
    assert_same_bits(frame(iris, {}, epochs=3, **options), grid.iloc[-1:])


def test_float32(grid):
    """The same bits in any company, and the float64 trial to the precision of float32."""
    problem = problems.iris(hidden=(8,), dtype="float32")
    space = {**GRID, "optimizer": ["adam", "adamw"]}
    many = frame(problem, space, epochs=3, n_jobs=2)
    assert_same_bits(frame(problem, space, epochs=3, n_jobs=1), many)
    alone = frame(problem, {name: [many[name].iloc[7]] for name in space}, epochs=3)
    assert_same_bits(alone, many.iloc[7:8])
    double = grid[grid.optimizer.isin(space["optimizer"])]
    # 21 steps with lr <= 0.1 spread a rounding of 6e-8 by two decades at most.
    np.testing.assert_allclose(many.train_loss, double.train_loss, rtol=1e-4)
    assert (many.train_loss.to_numpy() != double.train_loss.to_numpy()).all()


@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_a_seed_decides_weights_and_order(iris):
    frames = frame(iris, {"seed": range(4)}, optimizer="sgd", lr=0.0, epochs=1)
    assert frames.train_loss.nunique() == 4  # only the weights: lr is 0
    fixed = problems.iris(hidden=(8,), dtype="float64", theta0=np.linspace(-1, 1, 67))
    for batch, distinct in ((16, 4), (112, 1)):
        frames = frame(
            fixed, {"seed": range(4)}, optimizer="sgd", lr=0.1, epochs=2, batch_size=batch
        )
        # With a full batch the order of rows means nothing.
        assert frames.train_loss.nunique() == distinct


def test_trials_that_share_a_seed_share_their_random_numbers(iris):
    space = {"seed": [0, 7], "optimizer": ["sgd", "momentum", "adam", "adamw"]}
    result = run(iris, space, lr=0.0, epochs=2, curves=True, batch_size=25)
    measured = result.to_frame()
    assert measured.groupby("seed")[LOSSES].nunique().eq(1).all(axis=None)
    assert measured.train_loss.nunique() == 2
    curves = result.curves().merge(measured[["trial_id", "seed"]])
    assert curves.groupby(["seed", "step"]).train_loss.nunique().eq(1).all()


def visited(problem, **options):
    """Row numbers in the order in which they are trained on, read off the curve of the loss."""
    result = run(problem, {}, optimizer="sgd", lr=0.0, curves=True, eval_every=1, **options)
    return np.sqrt(result.curves().train_loss.to_numpy()).round(9)


@pytest.mark.parametrize("seed", [0, 11])
@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_shuffle_modes(numbers, seed):
    order = {
        mode: visited(numbers, shuffle=mode, seed=seed, batch_size=1, epochs=3).reshape(3, 10)
        for mode in ("epoch", "once", "none", "replacement")
    }
    expected = np.array([order_of(10, seed, epoch) for epoch in range(3)])
    np.testing.assert_array_equal(order["epoch"], expected)
    np.testing.assert_array_equal(order["once"], expected[[0, 0, 0]])
    np.testing.assert_array_equal(order["none"], [np.arange(10)] * 3)
    drawn = [
        [int(10 * uniforms(*map(np.uint64, (seed, DRAW, epoch, i)))[0]) for i in range(10)]
        for epoch in range(3)
    ]
    np.testing.assert_array_equal(order["replacement"], drawn)


@pytest.mark.parametrize("mode", ["epoch", "once", "none", "replacement"])
@pytest.mark.parametrize("batch", [2, 3, 7, 9])
def test_the_order_does_not_depend_on_the_batch_size(numbers, mode, batch):
    rows = visited(numbers, shuffle=mode, batch_size=1, epochs=2).reshape(2, 10)
    means = visited(numbers, shuffle=mode, batch_size=batch, epochs=2).reshape(2, -1)
    for order, found in zip(rows, means):
        expected = [(order[low : low + batch] ** 2).mean() for low in range(0, 10, batch)]
        np.testing.assert_allclose(found, np.sqrt(expected), rtol=1e-8)


def half_cosine(t, total):
    return (1 + math.cos(math.pi * t / total)) / 2


STEPS = 20
SCHEDULES = [
    ({"schedule": ["constant"]}, lambda t: 1.0),
    ({"schedule": ["step"], "step_size": [3], "gamma": [0.5]}, lambda t: 0.5 ** (t // 3)),
    ({"schedule": ["exponential"], "gamma": [0.9]}, lambda t: 0.9**t),
    ({"schedule": ["cosine"], "final": [0.1]}, lambda t: 0.1 + 0.9 * half_cosine(t, STEPS)),
    (
        {"schedule": ["cosine"], "total_steps": [8]},
        lambda t: half_cosine(t, 8) if t < 8 else 0.0,
    ),
    (
        {"schedule": ["warmup_cosine"], "warmup_steps": [5], "start": [0.2]},
        lambda t: 0.2 + 0.8 * t / 5 if t < 5 else half_cosine(t - 5, STEPS - 5),
    ),
    (
        {"schedule": [schedules.warmup_cosine(4, 10, final=0.5)]},
        lambda t: t / 4 if t < 4 else 0.5 + 0.5 * half_cosine(min(t, 10) - 4, 6),
    ),
]


def test_every_trial_has_its_own_schedule(iris):
    """A union of schedules with parameters as axes, one compiled sweep."""
    parts = [{**part, "optimizer": ["sgd", "adam"]} for part, _ in SCHEDULES]
    actual = frame(iris, parts, steps=STEPS, batch_size=25, lr=0.05)
    factors = [factor for _, factor in SCHEDULES for _ in range(2)]
    for (_, row), factor in zip(actual.iterrows(), factors):
        trial = Trial(iris, row.optimizer, 25, STEPS, lr=0.05).train(factor)
        np.testing.assert_allclose(row.train_loss, trial.measured()["train_loss"], **CLOSE)
    assert actual.train_loss.nunique() == len(actual)


def test_parameters_of_schedules_are_axes(iris):
    space = {"schedule": ["exponential"], "gamma": [0.5, 0.9, 0.99]}
    actual = frame(iris, space, optimizer="sgd", lr=0.1, steps=10)
    for _, row in actual.iterrows():
        one = frame(
            iris, {}, schedule=schedules.exponential(row.gamma), optimizer="sgd", lr=0.1, steps=10
        )
        assert_same_bits(one, actual[actual.trial_id == row.trial_id])
    assert actual.train_loss.nunique() == 3


def test_schedules_last_as_long_as_their_trial(iris):
    """The length of a cosine is each trial's own number of steps."""
    space = {"schedule": ["cosine"], "epochs": [1, 3], "batch_size": [16, 25]}
    for _, row in frame(iris, space, optimizer="sgd", lr=0.1).iterrows():
        trial = Trial(iris, "sgd", row.batch_size, epochs=row.epochs, lr=0.1)
        expected = trial.train(lambda t, n=trial.steps: half_cosine(t, n)).measured()
        assert row.steps == expected["steps"]
        np.testing.assert_allclose(row.train_loss, expected["train_loss"], **CLOSE)


@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_a_union_of_unlike_spaces_is_its_parts(iris):
    """Where a part lacks an axis, the keyword holds; without one, the rule's own default."""
    parts = [
        {"optimizer": ["sgd"], "lr": [0.1, 0.2], "batch_size": [25], "epochs": [2]},
        {"optimizer": ["momentum", "nesterov"], "momentum": [0.5, 0.95], "epochs": [2]},
        {"optimizer": ["adam"], "beta2": [0.9, 0.99], "epochs": [1, 2]},
        {"optimizer": ["adamw"], "weight_decay": [0.0, 0.3], "steps": [9]},
        {"lr": [0.3], "steps": [9]},
    ]
    common = {"lr": 0.02, "batch_size": 16, "weight_decay": 0.1, "optimizer": "adam"}
    whole = frame(iris, parts, **common)
    assert pd.isna(whole.optimizer.iloc[-1])  # not an axis of its part
    assert_same_bits(whole, pd.concat([taken(frame(iris, part, **common)) for part in parts]))
    assert whole.train_loss.nunique() == len(whole) == 13
    last = Trial(iris, "adam", 16, 9, lr=0.3, weight_decay=0.1).train().measured()
    np.testing.assert_allclose(whole.train_loss.iloc[-1], last["train_loss"], **CLOSE)


def test_beta1_is_the_momentum_of_heavy_balls(iris):
    options = {"epochs": 2, "lr": 0.05}
    both = frame(iris, {"optimizer": ["momentum", "adam"], "beta1": [0.5, 0.8]}, **options)
    for optimizer, name in (("momentum", "momentum"), ("adam", "beta1")):
        own = frame(iris, {name: [0.5, 0.8]}, optimizer=optimizer, **options)
        assert_same_bits(both[both.optimizer == optimizer], own)
        keyword = frame(iris, {}, optimizer=optimizer, beta1=0.8, **options)
        assert_same_bits(keyword, own.iloc[1:])
