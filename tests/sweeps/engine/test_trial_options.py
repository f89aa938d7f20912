"""What trials can do beside descending, against float64 NumPy; the same bits in any company.

The kernels are those of tests.sweeps.engine.test_engine and tests.sweeps.engine.test_lanes: options
are data.
"""

import math
import warnings

import numpy as np
import pandas as pd
import pytest

import fastopt
from fastopt import schedules
from fastopt.errors import SpecError
from sweeps import estimate, linspace, logspace, problems, sweep, trace
from sweeps.cli.spec import read_spec
from sweeps.engine.monitoring import norm
from tests.helpers.compiled import both
from tests.helpers.training import CLOSE, MEASURED, Trial, assert_same_bits, frame, run

MEASURES = ("grad_norm", "grad_variance", "update_norm")
LOG = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 33, 41, 51]
BANANA = problems.rosenbrock(start=(-1.5, -1.0))


@pytest.fixture(scope="module")
def iris():
    """112 training rows: 16 divides them, 25 does not."""
    return problems.iris(hidden=(8,), dtype="float64")


def assert_is(row, trial):
    for name, value in trial.measured().items():
        np.testing.assert_allclose(row[name], value, err_msg=name, **CLOSE)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_gradients_are_clipped_by_their_norm(iris, optimizer):
    limits = [0.0, 0.05, 0.5, 100.0]
    rows = frame(iris, {"clip_norm": limits}, optimizer=optimizer, lr=0.05, epochs=3)
    for limit, row in zip(limits, rows.iloc):
        trial = Trial(iris, optimizer, epochs=3, lr=0.05, clip_norm=limit or math.inf)
        assert_is(row, trial.train())
    assert_same_bits(rows.iloc[3:], rows.iloc[:1])  # too long to matter
    assert rows.train_loss.nunique() == 3
    for never in (None, 0, math.inf):
        given = frame(iris, {}, optimizer=optimizer, lr=0.05, epochs=3, clip_norm=never)
        assert_same_bits(given, rows.iloc[:1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 63, 64, 4096, 5000])
def test_a_norm_has_the_bits_of_global_norm(dtype, n):
    a = np.random.default_rng(n).normal(size=n).astype(dtype)
    assert both(norm)["compiled"](a) == fastopt.global_norm(a)


@pytest.mark.parametrize("theta0", [None, np.linspace(-1.0, 1.0, 67)])
def test_initial_parameters_are_scaled(theta0):
    problem = problems.iris(hidden=(8,), dtype="float64", theta0=theta0)
    scales = [0.0, 0.5, 1.0, 3.0]
    rows = frame(problem, {"init_scale": scales}, optimizer="adam", lr=0.02, epochs=2, seed=3)
    for scale, row in zip(scales, rows.iloc):
        trial = Trial(problem, "adam", epochs=2, seed=3, lr=0.02, init_scale=scale)
        assert_is(row, trial.train())
    assert_same_bits(frame(problem, {}, lr=0.02, epochs=2, seed=3), rows.iloc[2:3])


def test_widths_are_an_axis(iris):
    """A width for every layer there is, or all of them by name, is another problem in one sweep."""
    deep = problems.iris(hidden=(8, 5), dtype="float64")
    how = {"optimizer": "adam", "lr": 0.02, "batch_size": 25, "epochs": 2}
    for problem, axis, layers in (
        (iris, [8, 3, 17], [(8,), (3,), (17,)]),
        (deep, [4, 1], [(4, 4), (1, 1)]),
        (iris, ["6-4", "8"], [(6, 4), (8,)]),
    ):
        rows = frame(problem, {"hidden": axis, "seed": [0, 1]}, **how)
        for row, shape in zip(rows.iloc, [shape for shape in layers for _ in range(2)]):
            same = problems.iris(hidden=shape, dtype="float64")
            one = frame(same, {}, seed=row.seed, **how)
            assert_same_bits(one, rows[rows.trial_id == row.trial_id])
            assert_is(row, Trial(same, "adam", 25, epochs=2, seed=row.seed, lr=0.02).train())
    assert_same_bits(frame(iris, {}, hidden=17, **how), frame(iris, {"hidden": [17]}, **how))


MIXED = [
    {
        "optimizer": ["sgd", "momentum", "adam"],
        "hidden": [3, 8],
        "batch_size": [16, 25, 112],
        "schedule": ["constant", "cosine", schedules.warmup_cosine(4, 20)],
        "clip_norm": [0.0, 0.3],
    },
    {"optimizer": ["adam"], "hidden": [20], "init_scale": [0.5, 2.0], "epochs": [1, 4]},
    {"optimizer": ["adamw"], "patience": [0, 1], "lr": [0.01, 0.0], "seed": [0, 1]},
]
AXES = list(dict.fromkeys(name for part in MIXED for name in part))


@pytest.mark.filterwarnings("ignore:.*has no effect")
@pytest.mark.parametrize("seed_mode", ["common", "independent"])
def test_a_trial_of_a_mixed_grid_is_the_trial_alone(iris, seed_mode):
    """Optimizers, widths, batch sizes, schedules, lengths: one call, any threads, any order."""
    defaults = {"lr": 0.05, "epochs": 3, "eval_every": 3, "seed_mode": seed_mode}
    how = {**defaults, "measure": MEASURES}
    names = [*MEASURED, *MEASURES]
    rows = frame(iris, MIXED, n_jobs=2, **how)
    assert_same_bits(frame(iris, MIXED, n_jobs=1, **how), rows, names)
    assert rows.train_loss.nunique() > 110
    assert (rows.steps[rows.patience == 1] < 12).any()
    for _, row in rows.iloc[::17].iterrows():
        own = {n: row[n] for n in AXES if not pd.isna(row[n])}
        own["schedule"] = {str(s): s for s in MIXED[0]["schedule"]}.get(
            own.get("schedule"), "constant"
        )
        one = frame(iris, {n: [v] for n, v in own.items()}, **{**how, "n_jobs": 1})
        assert_same_bits(one, rows[rows.trial_id == row.trial_id], names)
        assert_same_bits(frame(iris, {}, **{**how, **own}), one, names)


@pytest.mark.soak  # compiles two more kernels
def test_float32_has_options_too():
    problem = problems.iris(hidden=(8,), dtype="float32")
    space = {"clip_norm": [0.0, 0.2], "init_scale": [0.5, 1.0], "hidden": [4, 8]}
    how = {"optimizer": "adam", "lr": 0.02, "epochs": 2, "measure": MEASURES}
    rows = frame(problem, space, n_jobs=2, **how)
    double = frame(problems.iris(hidden=(8,), dtype="float64"), space, **how)
    for name in ("train_loss", *MEASURES):
        np.testing.assert_allclose(rows[name], double[name], rtol=1e-4, err_msg=name)
    for _, row in rows.iloc[::3].iterrows():
        one = frame(problem, {name: [row[name]] for name in space}, **how)
        assert_same_bits(one, rows[rows.trial_id == row.trial_id], [*MEASURED, *MEASURES])


def independent(iris, space, **options):
    how = {"optimizer": "sgd", "lr": 0.0, "epochs": 1, "seed_mode": "independent", **options}
    return frame(iris, space, **{k: v for k, v in how.items() if k not in space})


@pytest.mark.filterwarnings("ignore:.*has no effect")
def test_independent_trials_are_known_by_what_they_are(iris):
    """By their settings: in a subset, a larger grid or another order they keep their bits."""
    space = {"lr": [0.0, 0.1, 0.2], "batch_size": [16, 25], "seed": [0, 1]}
    rows = independent(iris, space)
    assert rows.train_loss.nunique() == len(rows)
    turned = independent(iris, {name: axis[::-1] for name, axis in reversed(space.items())})
    assert_same_bits(turned.sort_values(list(space)), rows.sort_values(list(space)))
    some = independent(iris, {**space, "lr": [0.2]})
    assert_same_bits(some, rows[rows.lr == 0.2])
    extended = run(iris, {**space, "lr": [0.2]}, optimizer="sgd", epochs=1, seed_mode="independent")
    extended = extended.extend({"lr": [0.0, 0.1]}, progress=False).to_frame()
    assert_same_bits(extended.sort_values(list(space)), rows.sort_values(list(space)))
    # The weights differ where nothing else does; in common mode they would not.
    still = independent(iris, {"patience": [0, 9], "momentum": [0.5, 0.9]}, optimizer="momentum")
    assert still.train_loss.nunique() == 4
    common = independent(iris, {"batch_size": [16, 25]}, seed_mode="common")
    assert common.train_loss.nunique() == 1


def first_stop(scores, patience):
    """The check at which Keras' EarlyStopping would end, from 1; the last one if it would not."""
    best, waited = -math.inf, 0
    for k, score in enumerate(scores, start=1):
        best, waited = (score, 0) if score > best else (best, waited + 1)
        if waited >= patience:
            return k
    return len(scores)


@pytest.mark.parametrize(
    ("metric", "mode"), [("train_loss", "min"), ("test_loss", "min"), ("test_accuracy", "max")]
)
@pytest.mark.parametrize("patience", [1, 3])
def test_patience_ends_a_trial_as_if_it_were_shorter(iris, metric, mode, patience):
    space = {"lr": [0.02, 0.2, 0.5], "seed": [0, 1, 2]}
    how = {"optimizer": "momentum", "eval_every": 4, "metric": metric, "mode": mode, "curves": True}
    full = run(iris, space, steps=80, **how)
    result = run(iris, space, steps=80, patience=patience, **how)
    curves, rows = full.curves(), result.to_frame()
    sign = 1.0 if mode == "max" else -1.0
    for row in rows.itertuples():
        own = curves[curves.trial_id == row.trial_id]
        checks = first_stop(sign * own[metric], patience)
        assert row.state == "COMPLETE"
        assert row.steps == 4 * checks
        cut = run(iris, {}, steps=row.steps, lr=row.lr, seed=row.seed, **how)
        assert_same_bits(cut.to_frame(), rows[rows.trial_id == row.trial_id])
        shown = result.curves()
        pd.testing.assert_frame_equal(
            shown[shown.trial_id == row.trial_id].reset_index(drop=True).drop(columns="trial_id"),
            own[:checks].reset_index(drop=True).drop(columns="trial_id"),
        )
    assert (rows.steps < 80).any()


def test_a_trial_may_end_at_its_target(iris):
    space, how = {"lr": [0.001, 0.1], "seed": [0, 1]}, {"optimizer": "adam", "eval_every": 2}
    goal = {"target": 0.8, "metric": "test_accuracy", "mode": "max"}
    full = frame(iris, space, steps=40, **how, **goal)
    rows = frame(iris, space, steps=40, stop_at_target=True, **how, **goal)
    np.testing.assert_array_equal(rows.steps_to_target, full.steps_to_target)
    reached = rows.steps_to_target.notna()
    assert set(reached) == {True, False}
    assert (rows.steps[reached] == rows.steps_to_target[reached]).all()
    assert_same_bits(rows[~reached], full[~reached])
    for row in rows[reached].itertuples():
        assert (row.state, row.test_accuracy >= 0.8) == ("COMPLETE", True)
        cut = frame(iris, {}, steps=row.steps, lr=row.lr, seed=row.seed, **how, **goal)
        assert_same_bits(cut, rows[rows.trial_id == row.trial_id])


def test_checks_may_be_log_spaced(iris):
    result = run(
        iris, {"steps": [1, 12, 60]}, optimizer="sgd", lr=0.1, batch_size=25, eval_every="log",
        curves=True,
    )  # fmt: skip
    for row in result.to_frame().itertuples():
        curve = result.curves()[result.curves().trial_id == row.trial_id]
        expected: list[int] = [*[t for t in LOG if t < row.steps], row.steps]
        assert curve.step.tolist() == expected
        trial = Trial(iris, "sgd", 25, row.steps, lr=0.1).train()
        parts = [slice(low, high) for low, high in zip([0, *expected], expected)]
        means = [np.average(trial.losses[p], weights=trial.sizes[p]) for p in parts]
        np.testing.assert_allclose(curve.train_loss, means, **CLOSE)
        np.testing.assert_allclose(row.best_loss, min(means), **CLOSE)


def spread(grads, sizes, batch):
    """Variance across minibatches that count by their rows, as printed in the docstring."""
    mean = np.average(grads, axis=0, weights=sizes)
    squares = ((np.array(grads) - mean) ** 2).sum(axis=1)
    return (np.array(sizes) / batch * squares).sum() / (len(grads) - 1) if len(grads) > 1 else None


@pytest.mark.parametrize("clip_norm", [math.inf, 0.2])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_measures_are_those_of_the_steps_since_the_last_check(iris, optimizer, clip_norm):
    """The last minibatch of an epoch has 12 rows, the others 25."""
    how = {"optimizer": optimizer, "lr": 0.05, "batch_size": 25, "clip_norm": clip_norm}
    result = run(iris, {}, epochs=3, measure=MEASURES, curves=True, **how)
    trial = Trial(iris, optimizer, 25, epochs=3, lr=0.05, clip_norm=clip_norm).train()
    curve = result.curves()
    assert curve.step.tolist() == [5, 10, 15]
    for k, point in enumerate(curve.itertuples()):
        steps = slice(5 * k, 5 * k + 5)
        grads, sizes = trial.grads[steps], trial.sizes[steps]
        assert sizes == [25, 25, 25, 25, 12]
        norms = [np.linalg.norm(g) for g in grads]
        np.testing.assert_allclose(point.grad_norm, np.mean(norms), **CLOSE)
        np.testing.assert_allclose(point.grad_variance, spread(grads, sizes, 25), **CLOSE)
        np.testing.assert_allclose(point.update_norm, np.mean(trial.moves[steps]), **CLOSE)
    (row,) = result.to_frame().iloc
    assert row[list(MEASURES)].tolist() == curve.iloc[-1][list(MEASURES)].tolist()
    # Each alone is what it is among others, and measuring changes nothing.
    for name in MEASURES:
        one = frame(iris, {}, epochs=3, measure=[name], **how)
        assert one[name].iloc[0] == row[name]
        assert not set(MEASURES) - {name} & set(one)
    assert_same_bits(frame(iris, {}, epochs=3, **how), result.to_frame())


def test_one_minibatch_has_no_variance(iris):
    (row,) = frame(iris, {}, optimizer="sgd", batch_size=112, epochs=2, measure=MEASURES).iloc
    assert np.isnan(row.grad_variance)
    assert row.grad_norm > 0


def test_the_variance_of_gradients_falls_as_one_over_the_batch_size():
    """Study S9: linear regression on 10 000 rows, at w = 0."""
    rng = np.random.default_rng(42)
    X = rng.normal(size=(10_000, 5))
    y = X @ [1.0, -2.0, 0.5, 3.0, -1.0] + 0.5 * rng.normal(size=10_000)
    problem = problems.linear_regression(
        X, y, standardize=False, dtype="float64", theta0=np.zeros(6)
    )
    sizes = np.array([1, 4, 16, 64, 256, 1024])
    rows = frame(
        problem, {"batch_size": sizes.tolist()}, optimizer="sgd", lr=0.0, epochs=1,
        measure="grad_variance",
    )  # fmt: skip
    each = -2.0 * y[:, None] * np.column_stack([X, np.ones(len(y))])
    exact = each.var(axis=0, ddof=1).sum()
    assert rows.grad_variance[0] == pytest.approx(exact, rel=1e-12)
    slope = np.polyfit(np.log(sizes), np.log(rows.grad_variance), 1)[0]
    assert slope == pytest.approx(-1.0, abs=0.05)


def test_a_trace_follows_all_options(iris):
    """Replay warns if the trial is another one than in the sweep."""
    space = {"hidden": [4, 8], "clip_norm": [0.0, 0.2], "patience": [0, 1]}
    how = {"optimizer": "adam", "lr": 1.0, "init_scale": 1.5, "seed_mode": "independent"}
    result = run(iris, space, batch_size=25, epochs=6, measure=["grad_norm"], **how)
    rows = result.to_frame()
    assert (rows.steps < 30).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for row in rows.itertuples():
            told = result.replay(row.trial_id)
            assert told.attrs["exact"]
            assert len(told) == row.steps
            assert told.attrs["final"]["best_loss"] == row.best_loss
    told = trace(iris, "sgd", steps=10, lr=0.1, clip_norm=0.2, batch_size=25)
    trial = Trial(iris, "sgd", 25, 10, lr=0.1, clip_norm=0.2).train()
    np.testing.assert_allclose(told.update_norm, trial.moves, **CLOSE)
    np.testing.assert_allclose(told.grad_norm, [np.linalg.norm(g) for g in trial.grads], **CLOSE)
    told = trace(BANANA, "sgd", steps=9, lr=0.01, clip_norm=1.0)
    np.testing.assert_allclose(told.update_norm[1:], 0.01, rtol=1e-5)


def test_a_store_keeps_measures_and_curves(iris, tmp_path):
    """As a sweep that is stored, or read from the store by the same call."""
    how = {"optimizer": "sgd", "lr": 0.1, "epochs": 2, "curves": True, "eval_every": "log"}
    how |= {"measure": MEASURES, "clip_norm": 0.5}
    space = {"hidden": [4, 8], "patience": [0, 2]}
    plain = run(iris, space, **how)
    for _ in range(2):
        kept = run(iris, space, store=tmp_path / "runs", **how)
        pd.testing.assert_frame_equal(kept.to_frame(), plain.to_frame())
        pd.testing.assert_frame_equal(kept.curves(), plain.curves())


def clipped_descent(steps, lr, clip_norm, momentum=0.0):
    """SGD on Rosenbrock with clipping, from the formulas."""
    p, v, points = np.array([-1.5, -1.0]), 0.0, []
    for _ in range(steps + 1):
        points.append(p)
        g = np.array(BANANA(*p)[1])
        g = g * min(1.0, clip_norm / (np.linalg.norm(g) + 1e-6))
        v = momentum * v + g
        p = p - lr * v
    return np.array(points)


@pytest.mark.parametrize(("optimizer", "momentum"), [("sgd", 0.0), ("momentum", 0.9)])
def test_lanes_clip(optimizer, momentum):
    limits = [1.0, 50.0, 1e9]
    result = run(
        BANANA, {"clip_norm": limits}, optimizer=optimizer, lr=1e-3, steps=30, curves=True,
        measure=["grad_norm", "update_norm"],
    )  # fmt: skip
    for k, limit in enumerate(limits):
        points = clipped_descent(30, 1e-3, limit, momentum)
        curve = result.curves()[result.curves().trial_id == k]
        np.testing.assert_allclose(curve[["x", "y"]], points, rtol=1e-9)
        norms = [np.linalg.norm(BANANA(*p)[1]) for p in points]
        np.testing.assert_allclose(curve.grad_norm, norms, rtol=1e-8)
        moves = np.linalg.norm(np.diff(points, axis=0), axis=1)
        np.testing.assert_allclose(curve.update_norm, [0.0, *moves], rtol=1e-7)


LANES = {
    "optimizer": ["sgd", "momentum", "adam"],
    "lr": logspace(1e-4, 0.1, 7),
    "clip_norm": [0.0, 0.7],
    "patience": [0, 2],
    "steps": [30, 150],
}


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")  # no effect is meant
def test_a_lane_alone_is_the_lane_in_the_crowd(stop):
    """Neighbours clip, end early or at their target, or do not."""
    how = {"target": 3.0, "stop_at_target": stop, "eval_every": 6, "diverge_above": 1e9}
    names = [*LANES, "state", "train_loss", "best_loss", "distance", "path_length", "x", "y"]
    names += ["steps_to_target", "diverged_step"]
    rows = frame(BANANA, LANES, n_jobs=2, **how)
    assert {"COMPLETE", "DIVERGED"} == {*rows.state}
    early = rows[(rows.state == "COMPLETE") & ~rows.steps_taken.isin([30, 150])]
    assert len(early) > 5
    space = {name: list(axis) for name, axis in LANES.items()}
    for i in range(0, len(rows), 13):
        row = rows.iloc[i]
        own = {name: [row[name]] for name in space}
        assert_same_bits(frame(BANANA, own, **how), rows.iloc[[i]], names[5:])


def test_lanes_end_by_patience_and_at_targets():
    how = {"optimizer": "adam", "curves": True}
    full = run(BANANA, {"lr": [0.05, 0.3, 1.0]}, steps=200, eval_every=5, **how)
    result = run(BANANA, {"lr": [0.05, 0.3, 1.0]}, steps=200, eval_every=5, patience=2, **how)
    curves = full.curves()
    for row in result.to_frame().itertuples():
        checks = first_stop(-curves[curves.trial_id == row.trial_id].train_loss, 2)
        assert row.steps == 5 * (checks - 1)  # the first one is at the start
        assert row.state == "COMPLETE"
    assert (result.to_frame().steps < 200).any()
    (row,) = frame(BANANA, {}, optimizer="adam", lr=0.05, steps=300, target=3.0).iloc
    (ends,) = frame(
        BANANA, {}, optimizer="adam", lr=0.05, steps=300, target=3.0, stop_at_target=True
    ).iloc
    assert ends.steps == ends.steps_to_target == row.steps_to_target
    assert ends.train_loss <= 3.0
    (cut,) = frame(BANANA, {}, optimizer="adam", lr=0.05, steps=ends.steps).iloc
    assert (cut.x, cut.y, cut.path_length) == (ends.x, ends.y, ends.path_length)


def test_curves_of_lanes_may_be_log_spaced():
    result = run(
        BANANA, {"steps": [5, 60]}, optimizer="sgd", lr=1e-4, curves=True, eval_every="log"
    )
    even = run(BANANA, {"steps": [5, 60]}, optimizer="sgd", lr=1e-4, curves=True, eval_every=1)
    every = even.curves().set_index(["trial_id", "step"])
    for row in result.to_frame().itertuples():
        curve = result.curves()[result.curves().trial_id == row.trial_id]
        assert curve.step.tolist() == [0, *[t for t in LOG if t < row.steps], row.steps]
        for point in curve.itertuples():
            assert every.loc[(row.trial_id, point.step), "x"] == point.x


def test_independent_trials_on_a_landscape_see_their_own_noise():
    """Limits that are never met tell trials apart, and change nothing else."""
    problem = problems.noisy_quadratic(noise=0.5)
    space = {"clip_norm": [1e6, 1e7], "lr": [0.01, 0.02], "start_x": [1.0, 1.5], "steps": [30]}
    for mode, distinct in (("common", 4), ("independent", 8)):
        rows = frame(problem, space, optimizer="sgd", seed_mode=mode)
        assert rows.train_loss.nunique() == distinct
        own = {name: [rows[name][5]] for name in space}
        (one,) = frame(problem, own, optimizer="sgd", seed_mode=mode).iloc
        assert (one.train_loss, one.x) == (rows.train_loss[5], rows.x[5])


WRONG = {
    "clip": ({"clip_norm": [-1.0]}, {}, "clip_norm must be a number >= 0; got -1.0"),
    "clip name": ({}, {"clip_norm": "big"}, "clip_norm .*; got 'big'"),
    "scale": ({"init_scale": [1.0, -0.5]}, {}, "init_scale must be a number >= 0.*; got -0.5"),
    "scale inf": ({}, {"init_scale": math.inf}, "init_scale must be .*finite; got inf"),
    "patience": ({"patience": [1.5]}, {}, "patience must be an integer >= 0; got 1.5"),
    "width": ({"hidden": [8, 0]}, {}, "hidden must be a width >= 1 .*; got 0"),
    "width 2.5": ({}, {"hidden": 2.5}, 'such as "32-16"; got 2.5'),
    "width list": ({}, {"hidden": [8, 0]}, "hidden must be .*; got '8-0'"),
    "widths": ({"hidden": ["8-x"]}, {}, "hidden must be .*; got '8-x'"),
    "no width": ({"hidden": ["8-"]}, {}, "hidden must be .*; got '8-'"),
    "seed mode": ({}, {"seed_mode": "commun"}, "did you mean 'common'"),
    "eval_every": ({}, {"eval_every": "logg"}, "eval_every must be one of log; .*mean 'log'"),
    "measure": ({}, {"measure": ["grad_nrm"]}, "did you mean 'grad_norm'"),
    "measure twice": ({}, {"measure": ["grad_norm"] * 2}, "'grad_norm' twice"),
    "no target": ({}, {"stop_at_target": True}, "needs a target"),
}


@pytest.mark.parametrize("call", [sweep, estimate])
@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_refused(iris, name, call):
    space, options, message = WRONG[name]
    with pytest.raises(SpecError, match=message):
        call(iris, space, epochs=1, **options)


def square(theta, X, y, aux, grad):
    grad[0] = theta[0]
    return 0.5 * theta[0] * theta[0]


def test_what_a_problem_cannot_do_is_refused(iris):
    fixed = problems.iris(hidden=(8,), theta0=np.zeros(67))
    with pytest.raises(SpecError, match=r"theta0.* are fixed"):
        sweep(fixed, {"hidden": [4]}, epochs=1)
    with pytest.raises(SpecError, match=r'no hidden layer.*: "16"'):
        sweep(problems.iris(hidden=()), {"hidden": [16]}, epochs=1)
    own = problems.custom(square, [1.0], [1.0], [1.0])
    with pytest.raises(SpecError, match="is not a network of layers"):
        sweep(own, {"hidden": [4]}, epochs=1)
    summed = problems.summed(iris).with_hidden(3)
    assert (summed.hidden, summed.options["summed"]) == ((3,), True)
    for options in ({"hidden": 8}, {"init_scale": 0.5}):
        with pytest.raises(SpecError, match="no layers and no random start"):
            sweep(BANANA, {}, steps=3, **options)
    with pytest.raises(SpecError, match=r"unknown axis.*'hidden'"):
        sweep(BANANA, {"hidden": [8]}, steps=3)
    with pytest.raises(SpecError, match="measure must be one of grad_norm, update_norm"):
        sweep(BANANA, {}, steps=3, measure=["grad_variance"])
    with pytest.raises(SpecError, match="patience waits for a loss"):
        sweep(BANANA, {"patience": [1]}, steps=3, metric="path_length")


def test_a_plan_knows_widths_and_curves(iris):
    how = {"epochs": 10, "optimizer": "sgd"}
    narrow, wide = (estimate(iris, {"hidden": [n]}, **how).cost for n in (4, 400))
    assert wide > 2 * narrow
    log, even = (estimate(iris, {}, curves=True, eval_every=e, **how).bytes for e in ("log", 1))
    assert log < even
    assert estimate(iris, {}, measure=MEASURES, **how).bytes > estimate(iris, {}, **how).bytes
    many = {"clip_norm": linspace(0.0, 1.0, 2**20), "hidden": range(1, 2**20)}
    assert estimate(iris, many, **how).n_trials == 2**20 * (2**20 - 1)


SPEC = """
[problem]
name = "iris"
dtype = "float64"
[sweep]
optimizer = "adam"
lr = 0.05
epochs = 8
eval_every = "log"
seed_mode = "independent"
measure = ["grad_norm"]
clip_norm = 0.5
target = 0.9
metric = "test_accuracy"
mode = "max"
stop_at_target = true
[space]
hidden = [4, 8]
patience = [0, 3]
init_scale = { linspace = [0.5, 1.0, 2] }
"""


def test_a_spec_knows_all_options(tmp_path, iris):
    path = tmp_path / "options.toml"
    path.write_text(SPEC)
    spec = read_spec(path)
    rows = spec.call(sweep, progress=False).to_frame()
    assert_same_bits(rows, frame(iris, spec.space, **spec.options), [*MEASURED, "grad_norm"])
    for old, new, message in (
        ('"log"', '"lag"', 'eval_every must be an integer >= 1, or "log"; got'),
        ('"independent"', '"own"', "seed_mode must be one of common, independent"),
        ("clip_norm = 0.5", "clip_norm = -1", r"\$.sweep.clip_norm must be a number >= 0; got -1"),
        ("[0, 3]", "[-1]", r"\$.space.patience must be an integer >= 0; got -1"),
        ("[4, 8]", "[0]", "hidden must be a width >= 1"),
    ):
        path.write_text(SPEC.replace(old, new))
        with pytest.raises(SpecError, match=message):
            read_spec(path).call(estimate)
