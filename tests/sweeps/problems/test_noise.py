"""Dropout and noisy inputs: their distribution, gradients against torch, and the same bits."""

import dataclasses
import functools
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from fastopt.compile import kernel
from fastopt.errors import SpecError, SweepWarning
from sweeps import SuccessiveHalving, problems, sweep, trace
from sweeps.engine import chunks
from sweeps.problems.gradients import wrong_component
from sweeps.problems.noise import add_noise
from tests.helpers.compiled import call_template
from tests.helpers.stores import files
from tests.sweeps.problems.networks_by_torch import (
    SEED,
    check_trainings,
    loss_and_grad,
    masks_of,
    torchs,
)

run = functools.partial(sweep, progress=False)
ROWS = 257  # one more than a block: scratch is as small as it gets


def noise_of(X, deviation, seed=SEED, step=1):
    noisy = np.empty(-(-X.size // 4) * 4, X.dtype)
    kernel(call_template, add_noise)(noisy, X, float(deviation), np.uint64(seed), step)
    return noisy[: X.size].reshape(X.shape)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_units_are_left_out_with_their_chance_and_the_mean_stays(rate):
    n = 100_000
    masks = masks_of(n, rate, np.float32)
    assert set(masks.tolist()) == {0.0, float(np.float32(1 / (1 - rate)))}
    assert abs((masks == 0).sum() - rate * n) < 5 * np.sqrt(n * rate * (1 - rate))
    quarters = (masks == 0).reshape(4, -1)
    assert np.abs(np.corrcoef(quarters) - np.eye(4)).max() < 5 / np.sqrt(n / 4)


def test_masks_differ_by_seed_and_step_and_are_independent():
    drawn = [masks_of(40_000, 0.5, np.float32, s, k) for s in (0, 1, 2**32, SEED) for k in (1, 2)]
    assert np.abs(np.corrcoef(drawn) - np.eye(8)).max() < 5 / np.sqrt(40_000)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_is_normal(dtype):
    X = np.full((1000, 41), 3.0, dtype)
    drawn = [(noise_of(X, 0.25, step=step) - X).ravel() / 0.25 for step in (1, 2)]
    for numbers in drawn:
        assert stats.kstest(numbers, "norm").pvalue > 1e-3
    rows = np.concatenate([drawn[0].reshape(4, -1), drawn[1].reshape(4, -1)])
    for power in (1, 2):  # a radius too many would show in the squares
        assert np.abs(np.corrcoef(rows**power) - np.eye(8)).max() < 5 / np.sqrt(rows.shape[1])


def network(activation, hidden, **noises):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(ROWS, 5)), rng.normal(size=(ROWS, 2))
    return problems.mlp(
        X, y, hidden=hidden, activation=activation, dtype="float64", standardize=False, **noises
    )


CASES = [
    ("tanh", {"dropout": 0.3, "input_noise": 0.2}),
    # With residual layers and layer norm it is one of the cases of test_layers.py.
    pytest.param("gelu", {"dropout": 0.3}, marks=pytest.mark.soak),
]


@pytest.mark.parametrize(("name", "noises"), CASES, ids=["tanh", "gelu"])
def test_losses_and_gradients_are_torchs_with_these_masks(name, noises):
    problem = network(name, (7, 6), **noises)
    theta = np.random.default_rng(2).normal(size=problem.n_params)
    seen = set()
    for step in (1, 2):
        loss, grad = loss_and_grad(problem, theta, step)
        X = noise_of(problem.X, problem.axes["input_noise"], step=step)
        masks = masks_of(ROWS * (7 + 6), 0.3, np.float64, step=step)
        expected = torchs(problem, theta, X, masks)
        np.testing.assert_allclose(loss, expected[0], rtol=1e-12)
        np.testing.assert_allclose(grad, expected[1], rtol=1e-10, atol=1e-13)
        seen.add(loss)
    assert len(seen) == 2
    assert wrong_component(lambda at: loss_and_grad(problem, at, 3), theta) is None


def test_the_mean_over_masks_is_the_plain_network():
    """Of one hidden layer: outputs are linear in the masks, and so is the slope by their bias."""
    problem = network("tanh", (6,), dropout=0.3, input_noise=1e-9)  # noise: the kernel above
    theta = np.random.default_rng(3).normal(size=problem.n_params)
    slopes = np.array([loss_and_grad(problem, theta, step)[1][-2:] for step in range(1, 4001)])
    expected = torchs(problem, theta, problem.X)[1][-2:]
    error = slopes.std(axis=0) / np.sqrt(len(slopes))
    assert (np.abs(slopes.mean(axis=0) - expected) < 4 * error).all()
    assert (error < 0.05).all()


def test_what_is_off_is_the_plain_network():
    plain, without = network("tanh", (7,)), network("tanh", (7,), dropout=0.3).varied(dropout=0)
    for name in ("loss_and_grad", "evaluate", "draws", "work_per_row"):
        assert getattr(plain, name) == getattr(without, name)
    assert plain.aux[2].size == without.aux[2].size == 0
    assert not plain.draws
    assert network("tanh", (7,), dropout=0.3).evaluate is plain.evaluate


REFUSED = [
    ({"dropout": 1.0}, "dropout must be a share of hidden units, from 0 to less than 1; got 1.0"),
    ({"dropout": -0.1}, "got -0.1"),
    ({"dropout": True}, "got True"),
    ({"dropout": "half"}, "got 'half'"),
    ({"dropout": float("nan")}, "got nan"),
    ({"input_noise": -1.0}, "input_noise must be a standard deviation, a finite number >= 0"),
    ({"input_noise": float("inf")}, "got inf"),
    ({"dropout": 0.5, "hidden": ()}, r"hidden=\(\) has none"),
]


@pytest.mark.parametrize(("noises", "says"), REFUSED)
def test_what_is_no_noise_is_refused(noises, says):
    with pytest.raises(SpecError, match=says):
        network("tanh", **{"hidden": (3,), **noises})


def test_an_axis_with_a_value_out_of_range_is_refused():
    with pytest.raises(SpecError, match="dropout must be"):
        run(problems.iris(hidden=(8,)), {"lr": [0.1], "dropout": [0.0, 1.5]}, epochs=1)


def test_a_sum_of_gradients_is_told_seed_and_step():
    def told(theta, X, y, aux, grad, work, seed, step):
        grad[0] = seed + step
        return 0.0

    def never(theta, X, y, aux, grad):
        grad[:] = 0.0
        return 0.0

    bowl = problems.custom(never, np.zeros(1), np.zeros(8), np.zeros(8))
    problem = problems.summed(dataclasses.replace(bowl, loss_and_grad=told, draws=True))
    grad = np.empty(1)
    problem.loss_and_grad(np.ones(1), problem.X, problem.y, problem.aux, grad, None, 30, 4)
    assert problem.draws
    assert grad == [8 * 34]


IRIS = problems.iris(hidden=(8,))
SPACE = {"dropout": [0, 0.2, 0.5], "lr": [0.01, 0.1], "seed": [0, 1]}
HOW = {"epochs": 4, "batch_size": 50, "metric": "test_loss"}


@pytest.fixture(scope="module")
def result():
    return run(IRIS, SPACE, n_jobs=1, **HOW)


def test_each_dropout_is_another_training_and_none_the_plain_one(result):
    check_trainings(result, "dropout", 0, IRIS, HOW)


def test_bits_do_not_depend_on_company_or_threads(result):
    again = run(IRIS, SPACE, n_jobs=2, **HOW)
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame(), rtol=0, atol=0)
    weights = result.trials_weights(range(12))
    for k in (5, 10):
        row = result.to_frame().iloc[k]
        alone = run(IRIS.varied(dropout=row.dropout), {"lr": [row.lr]}, seed=int(row.seed), **HOW)
        assert alone.to_frame().test_loss[0] == row.test_loss
        np.testing.assert_array_equal(alone.trials_weights([0])[0], weights[k])
        np.testing.assert_array_equal(result.trials_weights([k])[0], weights[k])


def test_bits_do_not_depend_on_processes_or_resumption(result, tmp_path, monkeypatch):
    """Three chunks of it in a store, one of them lost, and made again by another process."""
    monkeypatch.setattr(chunks, "MOST_TRIALS", 4)
    store = tmp_path / "store"
    run(IRIS, SPACE, store=store, executor="processes", n_jobs=1, **HOW)
    files(store)[1].unlink()
    again = run(IRIS, SPACE, store=store, n_jobs=1, **HOW)
    assert again.info["reused"] == 8
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame(), rtol=0, atol=0)


def test_pauses_change_no_bit(result):
    pruned = run(IRIS, SPACE, pruner=SuccessiveHalving(1, factor=2), **HOW).to_frame()
    whole = pruned.state != "PRUNED"
    assert 0 < whole.sum() < len(pruned)
    full = result.to_frame()
    pd.testing.assert_frame_equal(pruned[whole][full.columns], full[whole], rtol=0, atol=0)


def test_models_use_all_units_and_have_the_figures_of_the_frame(result):
    for row in result.to_frame().iloc[[4, 11]].itertuples():
        model = result.model(row.trial_id)
        assert model.bare().score(IRIS.X_test, IRIS.y_test) == row.test_accuracy
        assert model.about["params"]["dropout"] == row.dropout > 0
        modules = model.to_torch()
        assert not any(isinstance(module, torch.nn.Dropout) for module in modules)


def test_evaluations_leave_no_unit_out():
    """Parameters that never move have one loss, whatever the dropout."""
    still = run(IRIS, {**SPACE, "lr": [0.0]}, optimizer="sgd", **HOW).to_frame()
    for columns in (["train_loss", "train_accuracy"], ["test_loss", "test_accuracy"]):
        assert len(still[["seed", *columns]].drop_duplicates()) == 2


def test_a_trace_draws_what_the_trial_drew():
    how = {"lr": 0.1, "seed": 3, "epochs": 2, "batch_size": 50}
    frame = trace(IRIS.varied(dropout=0.5), "adam", **how)
    curves = run(
        IRIS, {"dropout": [0.5]}, optimizer="adam", curves=True, eval_every=1, **how
    ).curves()
    np.testing.assert_array_equal(frame.test_loss, curves.test_loss)


def test_the_seed_matters_to_full_batches_from_fixed_parameters_if_units_are_left_out():
    """Nothing else is drawn then; without dropout the axis has no effect."""
    theta0 = np.random.default_rng(0).normal(size=IRIS.n_params)
    fixed = problems.iris(hidden=(8,), theta0=theta0)
    how = {"lr": 0.1, "steps": 3, "batch_size": len(IRIS.X)}
    with pytest.warns(SweepWarning, match="axis 'seed' means nothing to trials without chance"):
        run(fixed, {"seed": [0, 1]}, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = run(fixed.varied(dropout=0.5), {"seed": [0, 1]}, **how).to_frame()
    assert drawn.train_loss[0] != drawn.train_loss[1]
