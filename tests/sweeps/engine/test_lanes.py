"""Trials in SIMD lanes against a plain loop over the rules; the same bits in any lane and company.

Few functions are compiled: most tests use Rosenbrock's, and differ in data.
"""

import functools
import math

import numpy as np
import pandas as pd
import pytest

from fastopt import schedules
from fastopt.errors import HyperparameterError, SpecError
from fastopt.rules import RULES
from fastopt.rules.base import initial_value
from sweeps import estimate, linspace, logspace, problems, sweep
from sweeps.cli.spec import read_spec
from sweeps.engine.lane_records import RESULTS, STRIDE, WIDTH
from tests.helpers import training as helpers

run = functools.partial(sweep, progress=False)
BANANA = problems.rosenbrock(start=(-1.5, -1.0))
# Roundings of some 50 steps (FMA or not) fed back through the function.
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def frame(problem, space=(), **options):
    return run(problem, dict(space) if isinstance(space, tuple) else space, **options).to_frame()


class Descent:
    """One trial, with the rule's own functions on Python floats: what a lane must compute."""

    def __init__(self, problem, optimizer, start=None, seed=0, schedule=None, **hyper):
        self.problem, self.rule, self.seed = problem, RULES[optimizer], seed
        self.h = self.rule.pack(hyper)
        self.factor = schedule or (lambda t: 1.0)
        start = problem.start.tolist() if start is None else start
        self.x = [
            (p, *(initial_value(source, self.h, p) for source in self.rule.starts[1:]))
            for p in start
        ]

    @property
    def shown(self):
        if self.rule.answer is None:
            return [x[0] for x in self.x]
        return [self.rule.answer(self.h, x) for x in self.x]

    def coefficients(self, t, clock, grad):
        clock, c = self.rule.tick((self.h[0] * self.factor(t), *self.h[1:]), clock)
        if self.rule.measure is None:
            return clock, c
        sums = np.sum([self.rule.measure(c, g, x) for g, x in zip(grad, self.x)], axis=0)
        return clock, self.rule.trust(c, tuple(sums.tolist()), len(grad))

    def descend(self, steps, limit=math.inf):
        """Return what the frame says of this trial, and the points it went through."""
        clock, low, high = self.rule.clock0(self.h), -math.inf, math.inf
        if self.problem.bounds is not None:
            low, high = self.problem.bounds
        self.losses, self.points, self.path = [], [], 0.0
        for t in range(steps + 1):
            at = [x[0] for x in self.x]
            grad = self.problem(*at, t=t, seed=self.seed)[1]
            loss = self.problem(*self.shown, t=t, seed=self.seed)[0]
            if not abs(loss) < limit:
                return self
            self.losses.append(loss)
            self.points.append(self.shown)
            if t < steps:
                clock, c = self.coefficients(t, clock, grad)
                moved = [self.rule.update(c, g, x) for g, x in zip(grad, self.x)]
                clipped = np.clip([x[0] for x in moved], low, high).tolist()
                self.x = [(p, *x[1:]) for p, x in zip(clipped, moved)]
                self.path += math.dist(at, clipped)
        return self

    def assert_is(self, row, **close):
        close = close or CLOSE
        names = list(self.problem.names)
        np.testing.assert_allclose(row[names].to_numpy(float), self.points[-1], **close)
        np.testing.assert_allclose(row.train_loss, self.losses[-1], **close)
        np.testing.assert_allclose(row.best_loss, min(self.losses), **close)
        np.testing.assert_allclose(row.path_length, self.path, **close)
        nearest = min(math.dist(o, self.points[-1]) for o in self.problem.optima)
        np.testing.assert_allclose(row.distance, nearest, **close)
        assert row.state == "COMPLETE"
        assert row.steps == len(self.losses) - 1


# Each takes 5 s to compile. One of every kind: without and with slots, a slot that does not start
# at zero, a measured norm, an answer of its own, a clock with more than a count.
ONE_OF_A_KIND = ("sgd", "adam", "rprop", "lars", "lamb", "asgd", "schedule_free_adamw")


@pytest.mark.parametrize(
    "optimizer",
    [r if r in ONE_OF_A_KIND else pytest.param(r, marks=pytest.mark.soak) for r in RULES],
)
def test_every_rule_in_lanes_is_the_plain_loop(optimizer):
    lrs = [1e-5, 1e-4, 3e-4]
    for row in frame(BANANA, {"lr": lrs}, optimizer=optimizer, steps=40).itertuples():
        found = pd.Series(row._asdict())
        Descent(BANANA, optimizer, lr=row.lr).descend(40).assert_is(found)


FLAGS = [
    ("sgd", {"lr": 1e-3, "weight_decay": 0.1, "decoupled": True}),
    ("momentum", {"lr": 1e-3, "momentum": 0.5, "form": "ema", "dampening": 0.0}),
    ("momentum", {"lr": 1e-4, "form": "velocity", "weight_decay": 0.1}),
    ("adam", {"lr": 1e-2, "beta1": 0.5, "beta2": 0.9, "eps": 1e-2}),
    ("adamw", {"lr": 1e-2, "weight_decay": 0.5, "maximize": True}),
]


@pytest.mark.parametrize(("optimizer", "hyper"), FLAGS, ids=str)
def test_hyperparameters_reach_the_lanes(optimizer, hyper):
    (row,) = frame(BANANA, optimizer=optimizer, steps=25, **hyper).iloc
    Descent(BANANA, optimizer, **hyper).descend(25).assert_is(row)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.step(10, gamma=0.5),
        schedules.exponential(0.9),
        schedules.cosine(30),
        schedules.warmup_cosine(5, 30, final=0.1),
    ],
    ids=str,
)
def test_schedules_scale_the_learning_rate(schedule):
    (row,) = frame(BANANA, optimizer="adam", lr=0.05, steps=35, schedule=schedule).iloc
    Descent(BANANA, "adam", lr=0.05, schedule=schedule).descend(35).assert_is(row)


@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_neighbours_keep_their_own_schedules():
    """More trials than lanes, of four kinds and lengths side by side."""
    kinds = ["constant", "cosine", schedules.step(7), schedules.exponential(0.8)]
    space = {"lr": [0.01, 0.02, 0.03], "steps": [1, 9, 33], "schedule": kinds}
    rows = frame(BANANA, space, optimizer="adam")
    assert len(rows) == WIDTH + 4
    for row in rows.itertuples():
        own = {"constant": None, "cosine": schedules.cosine(row.steps)}
        named = next((k for k in kinds[2:] if str(k) == row.schedule), None)
        expected = Descent(BANANA, "adam", lr=row.lr, schedule=own.get(row.schedule, named))
        expected.descend(row.steps).assert_is(pd.Series(row._asdict()))


MEASURED = [*RESULTS, "x", "y", "state"]
MIXED = [
    {
        "optimizer": ["sgd", "momentum", "adam", "adamw"],
        "lr": logspace(1e-4, 1.0, 5),
        "steps": [3, 130, STRIDE],
        "start_x": [-1.5, 0.5],
    },
    {"optimizer": ["adam"], "beta2": linspace(0.9, 0.999, 41), "schedule": ["cosine", "constant"]},
]


def mixed(space, **options):
    given = {"steps": 50, "lr": 0.01, "metric": "distance", "target": 1.0, **options}
    defaults = {k: v for k, v in given.items() if not all(k in part for part in space)}
    return frame(BANANA, space, **defaults)


def assert_same_bits(actual, expected):
    helpers.assert_same_bits(actual, expected, MEASURED)


@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_a_trial_alone_has_the_bits_it_has_in_a_sweep():
    """Trials of 4 optimizers, some of which diverge, in full and padded blocks, on 1 and 2."""
    together = mixed(MIXED)
    assert {"COMPLETE", "DIVERGED"} == {*together.state}
    assert together.steps_to_target.notna().any()
    assert_same_bits(mixed(MIXED, n_jobs=1), together)
    rng = np.random.default_rng(0)
    for i in rng.choice(len(together), 25, replace=False):
        row = together.iloc[[i]]
        names = ["optimizer", "lr", "steps", "start_x", "beta2", "schedule"]
        own = {n: [row[n].iloc[0]] for n in names if n in row and not pd.isna(row[n].iloc[0])}
        assert_same_bits(mixed([own]), row)


def test_permuting_the_grid_permutes_the_rows():
    """Every trial in another lane than before."""
    lrs = logspace(1e-4, 0.05, 2 * WIDTH + 5)[:]
    forth = frame(BANANA, {"lr": lrs}, optimizer="adam", steps=60)
    for shift in (1, 7, WIDTH + 3):
        turned = frame(BANANA, {"lr": lrs[shift:] + lrs[:shift]}, optimizer="adam", steps=60)
        assert_same_bits(turned, pd.concat([forth[shift:], forth[:shift]]))


@pytest.mark.parametrize("n", [1, WIDTH - 1, WIDTH, WIDTH + 1, 3 * WIDTH])
def test_blocks_of_any_size(n):
    """Padding lanes write nothing, and each trial its own row."""
    lrs = logspace(1e-5, 1e-3, n)[:] if n > 1 else [5e-4]
    rows = frame(BANANA, {"lr": lrs}, optimizer="sgd", steps=5)
    assert rows.trial_id.tolist() == list(range(n))
    for i in {0, n // 2, n - 1}:
        Descent(BANANA, "sgd", lr=lrs[i]).descend(5).assert_is(rows.iloc[i])


def test_a_divergence_stops_the_trial_and_is_data():
    lrs = [1e-3, 5e-3, 0.1, 1.0]
    rows = frame(BANANA, {"lr": lrs}, optimizer="sgd", steps=400, diverge_above=1e6)
    assert rows.state.tolist() == ["COMPLETE", *["DIVERGED"] * 3]
    for lr, row in zip(lrs[1:], rows.iloc[1:].itertuples()):
        expected = Descent(BANANA, "sgd", lr=lr).descend(400, limit=1e6)
        assert row.diverged_step == row.steps == len(expected.losses)
        assert row.train_loss == pytest.approx(expected.losses[-1], rel=1e-9)
        assert row.best_loss == pytest.approx(min(expected.losses), rel=1e-9)
        assert np.isnan([row.x, row.y, row.distance, row.path_length]).all()


@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_a_start_that_diverges_has_no_loss():
    (row,) = frame(BANANA, optimizer="sgd", steps=3, diverge_above=10.0).iloc
    assert (row.state, row.diverged_step, row.steps) == ("DIVERGED", 0, 0)
    assert np.isnan(row.train_loss)
    assert np.isnan(row.best_loss)


def test_blocks_that_have_all_diverged_stop():
    """They would take hours otherwise."""
    rows = frame(BANANA, {"lr": linspace(1.0, 2.0, 100)}, optimizer="sgd", steps=10**11)
    assert (rows.state == "DIVERGED").all()


def test_targets_are_found_at_the_first_step_that_meets_them():
    expected = Descent(BANANA, "adam", lr=0.05).descend(300)
    at = {"optimizer": "adam", "lr": 0.05, "steps": 300}
    for target in (1e9, 3.0, 0.5, 1e-9):
        first = next((t for t, loss in enumerate(expected.losses) if loss <= target), None)
        (row,) = frame(BANANA, target=target, **at).iloc
        assert (None if pd.isna(row.steps_to_target) else row.steps_to_target) == first
    away = [math.dist(p, (1.0, 1.0)) for p in expected.points]
    first = next(t for t, d in enumerate(away) if d <= 2.0)
    (row,) = frame(BANANA, metric="distance", target=2.0, **at).iloc
    assert row.steps_to_target == first > 0


def test_ascent_has_a_target_above():
    ascent = {"optimizer": "adamw", "maximize": True, "mode": "max", "weight_decay": 0.0}
    expected = Descent(BANANA, "adamw", lr=0.01, maximize=True, weight_decay=0.0).descend(50)
    (row,) = frame(BANANA, target=1400.0, lr=0.01, steps=50, **ascent).iloc
    assert row.steps_to_target == next(t for t, v in enumerate(expected.losses) if v >= 1400.0)


def test_curves_hold_positions_at_even_steps():
    space = {"lr": [0.01, 0.05], "steps": [20, 33]}
    result = run(BANANA, space, optimizer="adam", curves=True, eval_every=8)
    curves = result.curves()
    for row in result.to_frame().itertuples():
        expected = Descent(BANANA, "adam", lr=row.lr).descend(row.steps)
        own = curves[curves.trial_id == row.trial_id]
        assert own.step.tolist() == [*range(0, row.steps, 8), row.steps]
        np.testing.assert_allclose(own[["x", "y"]], np.take(expected.points, own.step, 0), **CLOSE)
        np.testing.assert_allclose(own.train_loss, np.take(expected.losses, own.step), **CLOSE)
        assert own.train_loss.iloc[-1] == row.train_loss


def test_curves_stop_where_trials_diverge_and_are_about_a_thousand_points():
    result = run(BANANA, {"lr": [1e-4, 0.1]}, optimizer="sgd", steps=4500, curves=True)
    curves = result.curves()
    kept = curves[curves.trial_id == 0]
    assert kept.step.tolist() == [*range(0, 4500, 5), 4500]
    lost = curves[curves.trial_id == 1]
    assert lost.step.max() < result.to_frame().diverged_step[1]
    assert np.isfinite(lost).all(axis=None)


def test_starts_are_axes():
    rows = frame(BANANA, {"start_x": [0.0, 2.0], "start_y": [1.0]}, optimizer="sgd", steps=9)
    for row in rows.itertuples():
        expected = Descent(BANANA, "sgd", start=[row.start_x, row.start_y]).descend(9)
        expected.assert_is(pd.Series(row._asdict()))
    (row,) = frame(BANANA, optimizer="sgd", steps=9, start_x=0.5).iloc
    Descent(BANANA, "sgd", start=[0.5, -1.0]).descend(9).assert_is(row)


def bowl(x, y, aux):
    k = aux[0][0]
    return 0.5 * x * x + 0.5 * k * y * y, (x, k * y)


def test_every_step_is_projected_to_the_bounds():
    problem = problems.landscape(
        bowl, (2.0, 1.0), (0.0, 0.0), ([0.5, -1.0], [2.0, 3.0]), aux=(np.array([4.0]),)
    )
    for optimizer in ("sgd", "momentum"):
        (row,) = frame(problem, optimizer=optimizer, lr=0.4, steps=7).iloc
        Descent(problem, optimizer, lr=0.4).descend(7).assert_is(row)
        assert row.x >= 0.5
    (row,) = frame(problem, optimizer="sgd", lr=1e300, steps=9).iloc
    assert row.state == "COMPLETE"  # the corners of the box are as far as it goes
    problem = problems.landscape(
        lambda x: (math.inf if x < 0.5 else x, (1.0,)), (1.0,), bounds=(0.0, 2.0), name="cliff"
    )
    assert frame(problem, optimizer="sgd", lr=1.0, steps=9).state.tolist() == ["DIVERGED"]


def test_time_and_seed_reach_the_function():
    problem = problems.noisy_quadratic(noise=0.5)
    rows = frame(problem, {"seed": [0, 1, 2**40], "lr": [0.01, 0.1]}, optimizer="sgd", steps=30)
    for row in rows.itertuples():
        expected = Descent(problem, "sgd", seed=row.seed, lr=row.lr).descend(30)
        expected.assert_is(pd.Series(row._asdict()))
    assert rows.x.nunique() == len(rows)


def array_banana(x, grad):
    grad[:] = 0.0
    value = 0.0
    for i in range(x.size - 1):
        a, b = 1.0 - x[i], x[i + 1] - x[i] * x[i]
        value += a * a + 100.0 * b * b
        grad[i] += -2.0 * a - 400.0 * x[i] * b
        grad[i + 1] += 200.0 * b
    return value


@pytest.mark.parametrize(
    "optimizer",
    ["adam", *(pytest.param(r, marks=pytest.mark.soak) for r in ("lamb", "schedule_free_sgd"))],
)
@pytest.mark.parametrize("dim", [2, 5])
def test_functions_of_an_array_are_functions_of_scalars(optimizer, dim):
    scalars = problems.rosenbrock(dim)
    array = problems.landscape(array_banana, scalars.start, np.ones(dim), vector=True)
    for row in frame(array, {"lr": [1e-4, 1e-3]}, optimizer=optimizer, steps=20).itertuples():
        expected = Descent(scalars, optimizer, lr=row.lr).descend(20)
        expected.problem = array
        expected.assert_is(pd.Series(row._asdict()))


def test_central_differences_train_too():
    problem = problems.ravine()
    (row,) = frame(problem, optimizer="momentum", lr=0.1, steps=30).iloc
    # The error of a difference, 1e-11, in either of two ways to compute it.
    Descent(problem, "momentum", lr=0.1).descend(30).assert_is(row, rtol=1e-6, atol=1e-9)
    (row,) = frame(problem, optimizer="adam", lr=0.05, steps=1000).iloc
    assert row.distance < 1e-3


def test_a_random_quadratic_is_solved():
    problem = problems.random_quadratic(12, condition=20.0)
    (row,) = frame(problem, optimizer="sgd", lr=0.05, steps=400).iloc
    Descent(problem, "sgd", lr=0.05).descend(400).assert_is(row, rtol=1e-6, atol=1e-9)
    assert row.distance < 1e-6


def test_float32_computes_in_float32():
    """Twenty steps away from float64 by float32's roundings, and by no less."""
    single = problems.rosenbrock(start=(-1.5, -1.0), dtype="float32")
    (row,) = frame(single, optimizer="adam", lr=0.01, steps=20).iloc
    exact = Descent(BANANA, "adam", lr=0.01).descend(20)
    np.testing.assert_allclose([row.x, row.y], exact.points[-1], rtol=1e-5)
    assert np.float32(row.x) == row.x
    assert row.x != exact.points[-1][0]


REFUSED = [
    ({"epochs": 3}, SpecError, "no epochs"),
    ({}, SpecError, "steps="),
    ({"steps": 0}, SpecError, "steps must be"),
    ({"space": {"batch_size": [8]}, "steps": 3}, SpecError, "unknown axis.*'batch_size'"),
    ({"space": {"shuffle": ["once"]}, "steps": 3}, SpecError, "unknown axis.*'shuffle'"),
    ({"space": {"start_z": [0.0]}, "steps": 3}, SpecError, r"'start_z'.*did you mean 'start_"),
    ({"space": {"start_x": ["a"]}, "steps": 3}, SpecError, "start_x must be a number"),
    ({"start_x": math.inf, "steps": 3}, SpecError, "start_x must be finite"),
    ({"metric": "test_loss", "steps": 3}, SpecError, "metric must be one of train_loss, best_loss"),
    ({"metric": "path_length", "target": 1.0, "steps": 3}, SpecError, "a loss or a distance"),
    ({"lr": -1.0, "steps": 3}, HyperparameterError, "lr must be finite"),
]


@pytest.mark.parametrize(("how", "error", "message"), REFUSED)
def test_what_makes_no_sense_is_refused(how, error, message):
    how = dict(how)
    with pytest.raises(error, match=message):
        run(BANANA, how.pop("space", {}), **how)


def test_starts_outside_of_the_bounds_and_distances_to_nowhere_are_refused():
    problem = problems.landscape(lambda x: x * x, (1.0,), bounds=(0.0, 2.0))
    with pytest.raises(SpecError, match=r"start_x must be finite and in the bounds \[0.0, 2.0\]"):
        run(problem, {"start_x": [1.0, 2.5]}, steps=1)
    with pytest.raises(SpecError, match="needs an optimum"):
        run(problem, {}, steps=1, metric="distance")


def test_a_spec_names_a_landscape(tmp_path):
    path = tmp_path / "banana.toml"
    path.write_text(
        '[problem]\nname = "rosenbrock"\nstart = [-1.5, -1.0]\n'
        '[sweep]\noptimizer = "adam"\nsteps = 40\nmetric = "distance"\n'
        "[space]\nlr = [1e-3]\nstart_x = [-1.0, 0.5]\n"
    )
    rows = read_spec(path).call(sweep, progress=False).to_frame()
    for row in rows.itertuples():
        Descent(BANANA, "adam", start=[row.start_x, -1.0], lr=1e-3).descend(40).assert_is(
            pd.Series(row._asdict())
        )


def test_a_plan_counts_steps_and_memory():
    found = estimate(BANANA, {"steps": [10, 20], "lr": [0.1, 0.2]}, optimizer="sgd", n_jobs=1)
    assert (found.n_trials, found.n_steps) == (4, 60)
    assert found.bytes > 4 * 8 * len(MEASURED)


IN_A_PROCESS = """
from numba.core import event
from sweeps import problems, sweep
with event.install_recorder("numba:compile") as compiled:
    sweep(problems.rosenbrock(), {"lr": [0.1, 0.2]}, optimizer="sgd", steps=9, progress=False)
print(len(compiled.buffer))
"""


def test_a_second_process_compiles_nothing(python):
    """From the cache of all tests: in one of its own, the first process compiles for 20 s."""
    python(IN_A_PROCESS)
    assert python(IN_A_PROCESS).stdout == "0\n"


@pytest.mark.parametrize("n", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_heavy_ball_diverges_where_the_theory_says(n):
    """Beyond lr = (2 + 2 mu) / lambda, to one cell of an n x n grid; study C10 of the literature.

    Half a cell away from the boundary the loss grows or falls by e to the 5 and more in 2 000
    steps, so above and below the initial loss is a clear-cut question.
    """
    curvature, cell = 10.0, 0.45 / n
    space = {"momentum": linspace(0.0, 0.99, n), "lr": linspace(cell, 0.45, n)}
    problem = problems.ellipse(curvature, start=(0.0, 1.0))
    rows = frame(problem, space, optimizer="momentum", steps=2000)
    grows = ~(rows.train_loss < curvature / 2) | (rows.state == "DIVERGED")
    grows = grows.to_numpy().reshape(n, n)
    assert (np.sort(grows, axis=1) == grows).all()  # one boundary for each momentum
    lr, mu = rows.lr.to_numpy().reshape(n, n), rows.momentum.to_numpy().reshape(n, n)[:, 0]
    first_unstable = lr[np.arange(n), grows.argmax(axis=1)]
    assert np.abs(first_unstable - (2 + 2 * mu) / curvature).max() <= cell
