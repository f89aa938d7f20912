"""Whole trials against a training loop in float64 NumPy and torch; the same bits in any company.

The kernels here are those of one loss and three rules: what differs between tests is data.
"""

import functools
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch

from fastopt import schedules
from fastopt.rules import RULES
from sweeps import problems, sweep
from sweeps.engine.trial import RESULTS
from sweeps.philox import DRAW, permute, uniforms
from tests import networks, reference

LOSSES = ["train_loss", "test_loss", "best_loss"]
MEASURED = [*RESULTS, "state"]
REFERENCE = {
    "sgd": reference.sgd,
    "momentum": reference.momentum,
    "nesterov": reference.momentum,
    "adam": reference.adam,
    "adamw": reference.adam,
}
# Roundings of some 50 steps, fed back through the network: far below what a wrong formula changes.
CLOSE = {"rtol": 1e-10, "atol": 1e-13}

run = functools.partial(sweep, progress=False)


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


def frame(problem, space, **options):
    return run(problem, space, **options).to_frame()


def assert_same_bits(actual, expected, names=MEASURED):
    """Compare what two frames measured, row by row, NaN with NaN."""
    pd.testing.assert_frame_equal(
        actual[names].reset_index(drop=True), expected[names].reset_index(drop=True), rtol=0, atol=0
    )


def initial(problem, seed):
    if problem.theta0 is not None:
        return problem.theta0.astype(np.float64)
    theta = np.full(problem.n_params, np.nan)
    problem.init(theta, problem.aux, np.uint64(seed))
    return theta


def order_of(rows, seed, epoch):
    order = np.empty(rows, np.int64)
    permute(order, np.uint64(seed), np.uint64(epoch))
    return order


def batches(rows, batch, steps, seed):
    """The rows of every step, a new order each epoch, the last batch as small as it comes."""
    done = 0
    for epoch in itertools.count():
        order = order_of(rows, seed, epoch)
        for low in range(0, rows, batch):
            if done == steps:
                return
            done += 1
            yield order[low : low + batch]


class Trial:
    """One training run in float64 NumPy: what the engine must compute, written the plain way."""

    def __init__(self, problem, optimizer, batch=32, steps=None, epochs=None, seed=0, **hyper):
        self.problem, self.batch = problem, min(batch, len(problem.X))
        self.per_epoch = math.ceil(len(problem.X) / self.batch)
        self.steps = steps or epochs * self.per_epoch
        self.optimizer, self.seed = optimizer, seed
        kinds = RULES[optimizer].hyper
        self.h = {name: kind.default for name, kind in kinds.items()} | hyper
        self.slots = len(RULES[optimizer].slots)

    def train(self, factor=lambda t: 1.0):
        """Run all steps; ``factor(t)`` scales the learning rate after ``t`` steps."""
        problem, facts = self.problem, networks.facts_of(self.problem)
        x = (initial(problem, self.seed), *[np.zeros(problem.n_params)] * self.slots)
        self.losses, self.sizes = [], []
        for rows in batches(len(problem.X), self.batch, self.steps, self.seed):
            loss, g = networks.loss_and_grad(x[0], *facts, problem.X[rows], problem.y[rows])
            self.losses.append(loss)
            self.sizes.append(len(rows))
            t = len(self.losses)
            h = self.h | {"lr": self.h["lr"] * factor(t - 1)}
            x = REFERENCE[self.optimizer](h, t, x[0], g, *x[1:])
        self.theta = x[0]
        return self

    def measured(self):
        """The columns of the frame."""
        facts, found = networks.facts_of(self.problem), {}
        for name, X, y in (
            ("train", self.problem.X, self.problem.y),
            ("test", self.problem.X_test, self.problem.y_test),
        ):
            z = networks.outputs_of(self.theta, *facts[:2], X)[-1]
            found[f"{name}_loss"] = networks.mean_loss(facts[2], z, y)
            found[f"{name}_accuracy"] = networks.accuracy(facts[2], z, y)
        epochs = range(0, self.steps, self.per_epoch)
        ends = [slice(low, low + self.per_epoch) for low in epochs]
        means = [np.average(self.losses[e], weights=self.sizes[e]) for e in ends]
        return {**found, "best_loss": min(means), "steps": self.steps}


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
    by_axes = [f.sort_values(list(GRID)) for f in (frame(iris, turned, epochs=3), grid)]
    assert (by_axes[0].trial_id.to_numpy() != by_axes[1].trial_id.to_numpy()).any()
    assert_same_bits(*by_axes)


def test_keywords_are_axes_of_one_value(iris, grid):
    options = {name: grid[name].iloc[-1] for name in ("optimizer", "lr", "seed")}
    options["batch_size"] = int(grid.batch_size.iloc[-1])
    alone = frame(iris, {}, epochs=3, **{**options, "seed": int(options["seed"])})
    assert_same_bits(alone, grid.iloc[-1:])


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
    assert whole.optimizer.tolist()[-1] is np.nan or pd.isna(whole.optimizer.tolist()[-1])
    assert_same_bits(whole, pd.concat([frame(iris, part, **common) for part in parts]))
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


TARGETS = [
    ("train_loss", "min", 0.7),
    ("test_loss", "min", 0.7),
    ("test_accuracy", "max", 0.8),
    ("train_accuracy", "max", 0.8),
]


@pytest.mark.parametrize(("metric", "mode", "target"), TARGETS)
@pytest.mark.parametrize("eval_every", [None, 3])
def test_steps_to_target_is_the_first_check_that_is_good_enough(
    iris, metric, mode, target, eval_every
):
    space = {"lr": [1e-6, 0.005, 0.02, 0.1], "batch_size": [25, 112]}
    options = {"epochs": 12, "metric": metric, "mode": mode, "eval_every": eval_every}
    result = run(iris, space, curves=True, target=target, **options)
    curves, reached = result.curves(), result.to_frame().steps_to_target
    good = curves[metric] <= target if mode == "min" else curves[metric] >= target
    expected = curves[good].groupby("trial_id").step.min()
    assert reached.dropna().to_dict() == expected.to_dict()
    assert 2 <= len(expected) < len(result)  # some reach it, some never do
    assert_same_bits(run(iris, space, target=target, **options).to_frame(), result.to_frame())
    untargeted = run(iris, space, **options).to_frame()
    assert untargeted.steps_to_target.isna().all()
    assert_same_bits(untargeted, result.to_frame(), LOSSES)


def test_a_target_met_to_the_last_bit_is_met(iris):
    options = {"epochs": 3, "metric": "test_loss", "lr": 0.05}
    last = frame(iris, {}, **options).test_loss[0]
    for target, steps in ((last, 12), (np.nextafter(last, 0.0), pd.NA)):
        found = frame(iris, {}, target=target, **options).steps_to_target[0]
        assert found is steps or found == steps


def test_curves_are_what_shorter_trials_end_with(iris):
    """Recording changes nothing, and a point of a curve is the end of a shorter trial."""
    space = {"optimizer": ["sgd", "adam"], "seed": [0, 1]}
    options = {"lr": 0.05, "batch_size": 25}
    result = run(iris, space, epochs=5, curves=True, **options)
    assert_same_bits(run(iris, space, epochs=5, **options).to_frame(), result.to_frame())
    curves = result.curves()
    assert len(curves) == 4 * 5
    for epochs in range(1, 6):
        shorter, point = (
            frame(iris, space, epochs=epochs, **options),
            curves[curves.step == 5 * epochs],
        )
        for name in ("test_loss", "test_accuracy"):
            np.testing.assert_array_equal(point[name], shorter[name])
    lowest = curves.groupby("trial_id").train_loss.min()
    np.testing.assert_array_equal(lowest, result.to_frame().best_loss)


def test_checks_come_every_so_many_steps_and_at_the_end(iris):
    result = run(iris, {"steps": [4, 12, 15]}, curves=True, eval_every=5, batch_size=25, lr=0.05)
    curves = result.curves()
    steps = curves.groupby("trial_id").step.agg(list).tolist()
    assert steps == [[4], [5, 10, 12], [5, 10, 15]]
    trial = Trial(iris, "adam", 25, 12, lr=0.05).train()
    means = [
        np.average(trial.losses[part], weights=trial.sizes[part])
        for part in (slice(0, 5), slice(5, 10), slice(10, 12))
    ]
    np.testing.assert_allclose(curves[curves.trial_id == 1].train_loss, means, **CLOSE)


def gentle(problem, lr):
    return Trial(problem, "sgd", 4, 200, lr=lr)


@pytest.fixture(scope="module")
def line():
    """Least squares, on which large steps grow without bound."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10, 2))
    return problems.linear_regression(X, X @ [1.0, -2.0] + 0.5, dtype="float64")


def test_a_trial_that_diverges_stops_and_the_others_go_on(line):
    options = {"optimizer": "sgd", "batch_size": 4, "steps": 200}
    calm = frame(line, {"lr": [0.01, 0.1]}, **options)
    mixed = frame(line, {"lr": [0.01, 1e6, 0.1, 1e150, 30.0]}, **options)
    assert mixed.state.tolist() == ["COMPLETE", "DIVERGED", "COMPLETE", "DIVERGED", "DIVERGED"]
    assert_same_bits(mixed.iloc[[0, 2]], calm)
    assert calm.diverged_step.isna().all()
    with np.errstate(all="ignore"):
        for k in (1, 3, 4):
            row, losses = mixed.iloc[k], gentle(line, mixed.lr[k]).train().losses
            first = np.flatnonzero(~np.isfinite(losses))[0]
            assert row.diverged_step == row.steps == first + 1
            np.testing.assert_allclose(row.train_loss, losses[first - 1], rtol=1e-9)
            assert np.isnan([row.test_loss, row.train_accuracy, row.test_accuracy]).all()
            assert not np.isinf(row.best_loss)


def test_diverge_above(line):
    options = {"optimizer": "sgd", "batch_size": 4, "lr": 1.5, "steps": 200}
    losses = gentle(line, 1.5).train().losses
    for limit in (max(losses[:3]) * 10, max(losses[:3]) * 1e6):
        first = np.flatnonzero(np.array(losses) > limit)[0]
        (row,) = frame(line, {}, diverge_above=limit, **options).iloc
        assert (row.state, row.diverged_step) == ("DIVERGED", first + 1)
        np.testing.assert_allclose(row.train_loss, losses[first - 1], rtol=1e-9)
    (row,) = frame(line, {}, diverge_above=losses[0] / 2, **options).iloc
    assert row.diverged_step == 1
    assert math.isnan(row.train_loss)  # there was no loss before it
    assert math.isnan(row.best_loss)


def test_a_last_step_that_breaks_the_parameters_is_a_divergence(line):
    """No minibatch saw the broken parameters; the evaluation at the end does."""
    (row,) = frame(line, {}, optimizer="sgd", lr=1e200, steps=1, batch_size=10).iloc
    assert (row.state, row.diverged_step) == ("DIVERGED", 1)
    assert row.train_loss == pytest.approx(gentle(line, 0).train().losses[0], rel=10)


def test_the_curve_of_a_diverged_trial_ends_before_it_diverges(line):
    result = run(line, {"lr": [0.01, 1e6]}, optimizer="sgd", steps=200, curves=True, eval_every=5)
    diverged = result.to_frame().diverged_step[1]
    curves = result.curves()
    assert curves[curves.trial_id == 1].step.max() == (diverged - 1) // 5 * 5
    assert (curves.trial_id == 0).sum() == 40
    assert np.isfinite(curves.train_loss).all()


def test_a_given_start_is_where_every_trial_starts(iris):
    theta0 = np.linspace(-1, 1, 67)
    problem = problems.iris(hidden=(8,), dtype="float64", theta0=theta0)
    expected = Trial(problem, "adam", 25, 10, lr=0.05).train().measured()
    (row,) = frame(problem, {}, lr=0.05, batch_size=25, steps=10).iloc
    np.testing.assert_allclose(row.train_loss, expected["train_loss"], **CLOSE)
    rows = frame(problem, {"seed": [0, 1]}, optimizer="sgd", lr=0.0, steps=1)
    assert rows.train_loss.nunique() == 1
