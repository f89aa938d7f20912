"""The figures of the reference studies, through the public API.

Those of well-known tutorials were computed anew with float64 NumPy, and so are the others here:
each study has a plain loop of its own, which shares nothing with ours but the order of rows.
"""

import functools
import itertools
import math

import numpy as np
import pandas as pd
import pytest

import fastopt
from fastopt import schedules
from sweeps import linspace, logspace, problems, sweep, trace, zipped
from tests.helpers import networks
from tests.helpers.bowls import tilted
from tests.helpers.moons import naive_moons, two_moons
from tests.helpers.training import Trial

run = functools.partial(sweep, progress=False)


def frame(problem, space, **options):
    return run(problem, space, **options).to_frame()


def adam(params, gradients, lr, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.0):
    """Kingma and Ba's algorithm as printed; ``gradients(params)``; yields all it has at a step."""
    m = v = 0.0
    for t in range(1, 10**6):
        g = gradients(params) + decay * params
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        update = lr * m_hat / (np.sqrt(v_hat) + eps)
        params = params - update
        yield params, {"exp_avg": m, "exp_avg_sq": v, "m_hat": m_hat, "v_hat": v_hat}, update


# S1: layer by layer.

LAYERS = {"W1": (3, 4), "b1": (4,), "W2": (4, 2), "b2": (2,)}


@pytest.mark.parametrize(
    ("make", "options"),
    [(fastopt.SGD, {"momentum": 0.9, "form": "velocity"}), (fastopt.Adam, {})],
)
def test_study_1_weights_and_biases_by_name(make, options):
    """Adam updates biases too, where a common tutorial gives them plain SGD."""
    rng = np.random.default_rng(1)
    params = {name: rng.normal(size=shape) for name, shape in LAYERS.items()}
    steps = [{name: rng.normal(size=shape) for name, shape in LAYERS.items()} for _ in range(5)]
    expected = {}
    for name, p in params.items():
        gradients = iter([step[name] for step in steps])
        if make is fastopt.Adam:
            walk = adam(p.copy(), lambda _: next(gradients), 0.01)  # noqa: B023
            expected[name] = [next(walk)[0] for _ in steps][-1]
        else:
            v = 0.0
            for g in gradients:
                v = 0.9 * v - 0.01 * g
                p = p + v
            expected[name] = p
    opt = make(params, lr=0.01, **options)
    for grads in steps:
        opt.step(grads)
    for name, p in params.items():
        np.testing.assert_allclose(p, expected[name], rtol=1e-13, err_msg=name)


@pytest.mark.parametrize(
    ("gradients", "last"),
    [([0.1, 0.11, 0.09, 0.1, 0.1], 0.000996053), ([10.0, -10.0, 10.0, -10.0, 10.0], 0.000204415)],
    ids=["stable", "shaky"],
)
def test_study_1_a_shaky_neuron_takes_small_steps(gradients, last):
    p = np.zeros(1)
    opt = fastopt.Adam(p, lr=1e-3)
    for g in gradients:
        before = p[0]
        opt.step(np.array([g]))
    assert before - p[0] == pytest.approx(last, abs=5e-10)


# S2: Adam step by step.


@pytest.mark.parametrize(
    "how",
    [{}, {"weight_decay": 0.01}, {"beta1": 0.5, "beta2": 0.5}],
    ids=["plain", "L2", "short memory"],
)
def test_study_2_every_number_of_five_steps(how):
    np.random.seed(42)  # noqa: NPY002
    weights, gradient = np.random.randn(2, 2), np.random.randn(2, 2)  # noqa: NPY002
    problem = tilted(weights, gradient)
    table = trace(problem, "adam", lr=0.01, steps=5, **how)
    given = {"decay" if name == "weight_decay" else name: value for name, value in how.items()}
    walk = adam(weights.ravel(), lambda _: gradient.ravel(), 0.01, **given)
    for step in range(1, 6):
        row, (position, internals, update) = table.iloc[step], next(walk)
        for name, values in internals.items():
            actual = row[[f"{name}_{w}" for w in problem.names]].to_numpy(float)
            np.testing.assert_allclose(actual, values, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(row[list(problem.names)].to_numpy(float), position, rtol=1e-13)
        actual = 0.01 / row[[f"effective_lr_{w}" for w in problem.names]].to_numpy(float)
        # The move over m_hat, whose difference of positions has lost two digits.
        np.testing.assert_allclose(actual, np.sqrt(internals["v_hat"]) + 1e-8, rtol=1e-11)
        np.testing.assert_allclose(actual, 0.01 * internals["m_hat"] / update, rtol=1e-11)


# S3: from normalised gradients to Adam.


def test_study_3_without_memory_the_sign_bounces_and_with_it_it_converges():
    bowl = problems.ellipse()
    space = [{"beta1": [0.0], "beta2": [0.0]}, {"beta1": [0.9], "beta2": [0.999]}]
    signs, memory = frame(bowl, space, optimizer="adam", lr=0.1, steps=4000).iloc
    assert memory.distance < 1e-9
    # Each coordinate ends on both sides of its minimum in turn, one learning rate apart.
    table = trace(bowl, "adam", lr=0.1, beta1=0.0, beta2=0.0, steps=400).iloc[200:]
    for x in bowl.names:
        np.testing.assert_allclose(table[f"update_{x}"].abs(), 0.1, rtol=1e-5)
        assert table[x].to_numpy()[2:] == pytest.approx(table[x].to_numpy()[:-2], abs=1e-5)
    assert 0.0 < signs.distance < 0.1 * math.sqrt(2.0)


@pytest.fixture(scope="module")
def moons():
    return two_moons()


def test_study_3_two_moons(moons):
    """Its losses are those before a step: those of epoch 100 come with step 101."""
    problem = problems.mlp(
        **moons, hidden=(10,), activation="tanh", loss="logistic", standardize=False,
        dtype="float64",
    )  # fmt: skip
    # The study adds up the losses of all rows: 700 times the gradient, which is eps / 700 to Adam.
    result = run(
        problem, {}, optimizer="adam", lr=0.01, eps=1e-8 / 700, batch_size=700, epochs=1000,
        curves=True,
    )  # fmt: skip
    curve = result.curves().set_index("step").train_loss
    for epoch, loss in {0: 1.67888, 100: 0.30518, 500: 0.14301, 900: 0.08496}.items():
        assert curve[epoch + 1] == pytest.approx(loss, abs=5e-6)
    (row,) = result.to_frame().iloc
    assert row.test_accuracy == pytest.approx(0.98, abs=1e-12)


def test_study_3_the_sign_slip_is_named_with_its_step(moons):
    """With a minus for a plus in the first moment Adam climbs until log(0)."""
    theta0 = moons["theta0"]
    problem = problems.custom(naive_moons, theta0, moons["X"], moons["y"])
    (row,) = frame(
        problem, {}, optimizer="adam", lr=0.01, maximize=True, batch_size=700, steps=1000
    ).iloc
    sizes = ((2, 10, 1), "tanh")

    def slipped(theta):
        return -networks.loss_and_grad(theta, *sizes, "logistic", moons["X"], moons["y"])[1]

    losses = []
    with np.errstate(divide="ignore", over="ignore"):
        for theta, *_ in itertools.chain([(theta0,)], adam(theta0, slipped, 0.01)):
            z = networks.outputs_of(theta, *sizes, moons["X"])[-1]
            losses.append(networks.mean_loss("logistic", z, moons["y"]))
            if not np.isfinite(losses[-1]):
                break
    assert (row.state, row.diverged_step) == ("DIVERGED", len(losses))
    assert row.train_loss == pytest.approx(losses[-2], rel=1e-6)
    assert row.train_loss > 10.0 * losses[0]


def test_study_3_a_ravine_without_a_gradient():
    """Central differences with a step of 1e-5 take the path that the exact gradient takes."""
    problem = problems.ravine()
    (row,) = frame(problem, {}, optimizer="momentum", lr=0.5, momentum=0.5, steps=100).iloc
    point, v = problem.start, 0.0
    for _ in range(100):
        x, y = point
        bell = math.exp(-0.5 * ((2.0 * y) ** 2 + ((x - 0.7) / 2.0) ** 2))
        v = 0.5 * v + bell * np.array([(x - 0.7) / 4.0, 4.0 * y])
        point = point - 0.5 * v
    # Differences are off by h^2 f''' / 6 = 1e-10 and by eps / h = 1e-11 a step.
    assert (row.x, row.y) == pytest.approx(tuple(point), abs=1e-8)
    assert row.distance < 0.01


# S4 to S8: landscapes.

BANANA = problems.rosenbrock(start=(-1.5, -1.0))
RACE = [
    ("sgd", 1e-3, (0.832614, 0.692507), 0.0280727),
    ("adam", 0.1, (0.942875, 0.888835), 0.00326644),
]


@pytest.mark.parametrize(("optimizer", "lr", "end", "loss"), RACE)
def test_study_4_race_in_the_banana_valley(optimizer, lr, end, loss):
    (row,) = frame(BANANA, {}, optimizer=optimizer, lr=lr, steps=2000).iloc
    assert (row.x, row.y) == pytest.approx(end, abs=5e-7)
    assert row.train_loss == pytest.approx(loss, rel=2e-6)


SHOOTOUT = [
    ("sgd", 1e-3, (0.928224, 0.861300), 0.156171, None, 4.87487),
    ("momentum", 1e-3, (1.0, 1.0), 7.6e-10, 518, 19.9780),
    ("adam", 0.01, (0.451707, 0.202951), 0.967425, None, 0.825477),
]


@pytest.mark.parametrize(("optimizer", "lr", "end", "away", "first", "path"), SHOOTOUT)
def test_study_5_shootout(optimizer, lr, end, away, first, path):
    problem = problems.rosenbrock(start=(-2.0, 2.0))
    space = {"optimizer": [optimizer], "lr": [lr], "steps": [5000, 1000]}
    long, short = frame(problem, space, metric="distance", target=0.1).iloc
    assert (long.x, long.y) == pytest.approx(end, abs=5e-7)
    assert long.distance == pytest.approx(away, rel=0.01 if away < 1e-6 else 1e-5)
    assert (None if pd.isna(long.steps_to_target) else long.steps_to_target) == first
    assert short.path_length == pytest.approx(path, rel=5e-6)


def test_study_5_shows_which_learning_rate_adam_takes():
    problem = problems.rosenbrock(start=(-2.0, 2.0))
    result = run(problem, {"lr": logspace(1e-4, 1.0, 1000)}, optimizer="adam", steps=5000)
    assert result.best().train_loss[0] < 1e-20
    assert result.best_params_["lr"] > 0.02


def test_study_6_nobody_escapes_the_local_minimum():
    problem = problems.double_well()
    space = [
        {"optimizer": ["sgd"]},
        {"optimizer": ["momentum"], "momentum": [0.9], "form": ["ema"]},
    ]
    plain, ema = frame(problem, space, lr=0.1, steps=20).iloc
    assert (plain.x, ema.x) == pytest.approx((-3.953771, -3.736995), abs=5e-7)
    for point in (-3.953771, 0.166977, 3.786794):
        assert abs(problem(point)[1][0]) < 1e-5


def test_study_6_a_map_shows_who_escapes():
    """Of lr x momentum x start, those trials that end left of the hill, from a start right of it.

    After 20 steps a rounding has grown to 1e-9 at most where a trial is not about to diverge.
    """
    space = {
        "lr": linspace(0.02, 0.3, 15),
        "momentum": linspace(0.0, 0.95, 12),
        "start_x": linspace(0.5, 6.0, 12),
    }
    rows = frame(problems.double_well(), space, optimizer="momentum", form="ema", steps=20)
    lr, mu, x = (rows[name].to_numpy() for name in space)
    v = np.zeros_like(x)
    with np.errstate(all="ignore"):
        for _ in range(20):
            v = mu * v + (1.0 - mu) * (0.4 * x**3 - 6.0 * x + 1.0)
            x = x - lr * v
    calm = np.abs(x) < 10.0
    np.testing.assert_allclose(rows.x[calm], x[calm], atol=1e-6)
    escaped = rows.x[calm] < 0.166977
    assert 0.02 < escaped.mean() < 0.5
    assert (rows.momentum[calm][escaped] > 0.0).any()


def test_study_7_elliptical_bowl():
    rows = run(
        problems.ellipse(), {"optimizer": ["sgd", "adam"]}, lr=0.1, steps=100, curves=True,
        eval_every=5,
    )  # fmt: skip
    plain, last = rows.to_frame().iloc
    assert (plain.x, plain.y) == pytest.approx((0.000265614, 0.0), abs=5e-10)
    assert (last.x, last.y) == pytest.approx((2.244460, 0.002937), abs=5e-7)
    curves = rows.curves()
    walk = adam(np.array([10.0, 1.0]), lambda p: p * [1.0, 10.0], 0.1)
    expected = [np.array([10.0, 1.0]), *(next(walk)[0] for _ in range(100))]
    path = curves[curves.trial_id == 1].set_index("step")
    for step in (0, 10, 25, 50, 100):
        np.testing.assert_allclose(path.loc[step, ["x", "y"]], expected[step], rtol=1e-10)


def test_study_8_schedules():
    problem = problems.landscape(
        lambda x: ((x - 5.0) ** 2, (2.0 * (x - 5.0),)), (0.0,), (5.0,), name="parabola"
    )
    space = [
        {"lr": [0.1], "schedule": ["constant"]},
        {"lr": [0.5], "schedule": [schedules.step(100, gamma=0.5)]},
        {"lr": [0.5], "schedule": [schedules.exponential(0.99)]},
        {"lr": [0.5], "schedule": ["cosine"]},
        {"lr": [0.5], "schedule": ["warmup_cosine"], "warmup_steps": [50]},
    ]
    rows = frame(problem, space, optimizer="sgd", steps=500, metric="distance", target=0.01)
    assert rows.steps_to_target.tolist() == [28, 1, 1, 1, 24]
    np.testing.assert_allclose(rows.x, 5.0, atol=1e-12)
    np.testing.assert_allclose(rows.train_loss, 0.0, atol=1e-24)


# S9: batch size.

TRUE_W = [1.0, -2.0, 0.5, 3.0, -1.0]
BATCHES = [1, 16, 64, 256, 1024, 10_000]
RATES = [0.01, 0.01, 0.01, 0.1, 0.1, 0.1]


@pytest.fixture(scope="module")
def regression():
    """10 000 rows with noise of standard deviation 0.5, so the least loss is near 0.25."""
    rng = np.random.default_rng(42)
    X = rng.normal(size=(10_000, 5))
    y = X @ TRUE_W + 0.5 * rng.normal(size=10_000)
    return problems.linear_regression(X, y, standardize=False, dtype="float64", theta0=np.zeros(6))


def test_study_9_epochs_to_a_loss_of_three_tenths(regression):
    """The loss is looked at once an epoch: the mean over its minibatches."""
    space = zipped({"batch_size": BATCHES, "lr": RATES})
    rows = frame(regression, space, optimizer="sgd", epochs=50, target=0.3)
    per_epoch = [math.ceil(10_000 / batch) for batch in BATCHES]
    epochs = (rows.steps_to_target / per_epoch).astype(int).tolist()
    assert max(epochs) > 3 * min(epochs)
    for k in range(1, len(BATCHES)):  # 20 000 steps of one row take the plain loop seconds
        plain = Trial(regression, "sgd", BATCHES[k], epochs=epochs[k], lr=RATES[k]).train()
        first = range(0, len(plain.losses), per_epoch[k])
        means = [
            np.average(
                plain.losses[low:][: per_epoch[k]], weights=plain.sizes[low:][: per_epoch[k]]
            )
            for low in first
        ]
        assert min([math.inf, *means[:-1]]) > 0.3 >= means[-1]


def test_study_9_weights_are_those_of_least_squares(regression):
    X, y = regression.X, regression.y[:, 0]
    best = np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), y, rcond=None)[0]
    table = trace(regression, "sgd", lr=0.1, batch_size=10_000, epochs=60, vectors=True)
    plain = Trial(regression, "sgd", 10_000, epochs=60, lr=0.1).train()
    found = table.iloc[-1][[f"theta_{j}" for j in range(6)]].to_numpy(float)
    np.testing.assert_allclose(found, plain.theta, rtol=1e-10)
    np.testing.assert_allclose(found, best, atol=1e-4)
    # Five standard deviations of the noise of the five weights.
    assert np.linalg.norm(found[:5] - TRUE_W) < 5 * 0.5 * math.sqrt(5 / 10_000)


def test_study_9_the_variance_of_gradients_falls_as_one_over_the_batch(regression):
    """At one point, over 400 minibatches of six numbers each: within 3 % for a batch size."""
    sizes, variances = [16, 64, 256, 1024], []
    for batch in sizes:
        how = {"batch_size": batch, "steps": 400, "shuffle": "replacement", "vectors": True}
        table = trace(regression, "sgd", lr=0.0, **how)
        variances.append(table[[f"grad_{j}" for j in range(6)]].var().sum())
    slope, _ = np.polyfit(np.log(sizes), np.log(variances), 1)
    assert slope == pytest.approx(-1.0, abs=0.05)
    X, y = regression.X, regression.y
    each = -2.0 * y * np.column_stack([X, np.ones(len(X))])  # at theta = 0
    assert variances[0] * 16 == pytest.approx(each.var(axis=0).sum(), rel=0.15)


# S10: the checklist.


def test_study_10_one_sweep_ranks_the_axes_and_compares_decays():
    problem = problems.digits(hidden=(8,), dtype="float64")
    space = {
        "optimizer": ["adam", "adamw"],
        "lr": logspace(1e-4, 0.1, 4),
        "batch_size": [16, 128, 1024],
        "beta1": [0.8, 0.9],
        "beta2": [0.99, 0.999],
        "weight_decay": [0.0, 1e-4, 1e-2],
    }
    result = run(problem, space, epochs=2, metric="test_loss")
    shares = result.importance().set_index("effect").share
    rows = result.to_frame()
    assert len(rows) == 288
    assert shares.sum() == pytest.approx(1.0)
    for axis in space:
        means = rows.groupby(axis, observed=True).test_loss.mean()
        expected = means.var(ddof=0) / rows.test_loss.var(ddof=0)
        assert shares[axis] == pytest.approx(expected, rel=1e-9)
    assert shares.index[0] == "lr"
    assert shares["weight_decay"] < 0.05 * shares["lr"]
    without = rows[rows.weight_decay == 0.0]
    coupled, decoupled = (
        without[without.optimizer == name].test_loss.to_numpy() for name in space["optimizer"]
    )
    np.testing.assert_array_equal(coupled, decoupled)
    versus = result.compare("optimizer", "adamw", "adam")
    assert versus.n_pairs == 144
    assert versus.ties >= 48
