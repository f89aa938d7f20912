"""What hidden layers may have: gradients against torch and differences, same bits, and models."""

import functools

import numpy as np
import onnx.reference
import pandas as pd
import pytest
import torch

from fastopt.errors import SpecError
from sweeps import Model, problems, sweep
from sweeps.models.trained import model_of
from sweeps.problems.gradients import wrong_component
from tests.sweeps.problems.networks_by_torch import check_trainings, loss_and_grad, masks_of, torchs

run = functools.partial(sweep, progress=False)
ROWS = 257  # one more than a block: scratch is as small as it gets


def network(hidden, dtype="float64", **options):
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(ROWS, 5)), rng.normal(size=(ROWS, 2))
    return problems.mlp(X, y, hidden=hidden, dtype=dtype, standardize=False, **options)


# Two of them train below; layer norm alone does in test_lr_multipliers.py, as torch's.
CASES = [
    ((7, 7, 6), {"activation": "relu", "residual": True, "layer_norm": True}),
    ((3, 5, 5, 5, 4, 4), {"activation": "relu", "residual": True}),
    ((5, 5), {"activation": "gelu", "residual": True, "layer_norm": True, "dropout": 0.3}),
]


@pytest.mark.parametrize(("hidden", "options"), CASES, ids=str)
def test_losses_and_gradients_are_torchs(hidden, options):
    problem = network(hidden, **options)
    theta = np.random.default_rng(2).normal(size=problem.n_params)
    rate, masks = problem.axes["dropout"], None
    if rate:
        masks = masks_of(ROWS * sum(hidden), rate, np.float64, step=3)
    loss, grad = loss_and_grad(problem, theta, 3)
    expected = torchs(problem, theta, problem.X, masks)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-12)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-9, atol=1e-13)
    assert wrong_component(lambda at: loss_and_grad(problem, at, 3), theta) is None


def test_a_layer_of_one_unit_is_its_shift():
    """Its deviation is zero, which nothing is divided by."""
    problem = network((1, 1), activation="relu", residual=True, layer_norm=True)
    theta = np.random.default_rng(2).normal(size=problem.n_params)
    loss, grad = loss_and_grad(problem, theta, 1)
    expected = torchs(problem, theta, problem.X)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-12)
    np.testing.assert_allclose(grad, expected[1], rtol=1e-9, atol=1e-13)


def test_norms_begin_with_gains_of_one_and_weights_as_without():
    plain, normed = network((7, 6)), network((7, 6), layer_norm=True)
    first, theta = np.full(plain.n_params, np.nan), np.full(normed.n_params, np.nan)
    plain.init(first, plain.aux, np.uint64(3))
    normed.init(theta, normed.aux, np.uint64(3))
    norms = [np.ones(7), np.zeros(7), np.ones(6), np.zeros(6)]
    np.testing.assert_array_equal(theta, np.concatenate([first, *norms]))


def test_what_is_off_is_the_plain_network():
    plain = network((7,))
    without = network((7,), layer_norm=True).varied(layer_norm=0.0)
    for name in ("loss_and_grad", "evaluate", "init", "work_per_row", "n_params"):
        assert getattr(plain, name) == getattr(without, name)


REFUSED = [
    ({"layer_norm": "yes"}, "layer_norm must be True or False; got 'yes'"),
    ({"layer_norm": 2}, "got 2"),
    ({"layer_norm": True, "hidden": ()}, r"hidden=\(\) has none"),
    ({"residual": None}, "residual must be True or False; got None"),
    ({"residual": True}, r"hidden=\(3,\) has no two"),
    ({"residual": True, "hidden": (4, 3, 4)}, r"hidden=\(4, 3, 4\) has no two"),
]


@pytest.mark.parametrize(("options", "says"), REFUSED)
def test_what_no_layer_can_have_is_refused(options, says):
    with pytest.raises(SpecError, match=says):
        network(**{"hidden": (3,), **options})


PROBLEM = network((8, 8), residual=True, test=57)
SPACE = {"layer_norm": [False, True], "lr": [0.01, 0.1], "seed": [0, 1]}
HOW = {"epochs": 4, "batch_size": 50, "metric": "test_loss"}


@pytest.fixture(scope="module")
def result():
    return run(PROBLEM, SPACE, n_jobs=1, **HOW)


def test_each_is_another_training_and_none_the_plain_one(result):
    check_trainings(result, "layer_norm", False, PROBLEM, HOW)


def test_bits_do_not_depend_on_company_or_threads(result):
    again = run(PROBLEM, SPACE, n_jobs=2, **HOW)
    pd.testing.assert_frame_equal(again.to_frame(), result.to_frame(), rtol=0, atol=0)
    row = result.to_frame().iloc[-2]
    alone = run(PROBLEM.varied(layer_norm=True), {"lr": [row.lr]}, seed=int(row.seed), **HOW)
    assert alone.to_frame().test_loss[0] == row.test_loss
    mine = result.trials_weights([row.trial_id])
    np.testing.assert_array_equal(alone.trials_weights([0]), mine)


def test_models_have_the_figures_of_the_frame_and_say_what_they_are(result):
    row = result.to_frame().iloc[-1]
    model = result.model(int(row.trial_id))
    errors = model.bare().predict(PROBLEM.X_test) - PROBLEM.y_test
    assert (errors**2).mean() == pytest.approx(row.test_loss, rel=1e-12)
    assert "5-8-8-2 relu with layer norm and residual layers, 170 parameters" in repr(model)
    assert "layers.1  8 -> 8      88 parameters  norm, relu, residual" in model.summary()


EXACT = [(*CASES[0], "float32", 1e-6), (*CASES[1], "float64", 1e-13), (*CASES[2], "float32", 1e-6)]


@pytest.mark.parametrize(("hidden", "options", "dtype", "eps"), EXACT, ids=str)
def test_conversions_and_files_have_the_same_outputs(hidden, options, dtype, eps, tmp_path):
    problem = network(hidden, dtype, **options)
    theta = np.random.default_rng(2).normal(size=problem.n_params)
    model, X = model_of(problem, theta), problem.X.astype(np.float64)
    expected = model.outputs(X)
    bound = {"rtol": 0, "atol": eps * np.abs(expected).max()}
    with torch.no_grad():
        np.testing.assert_allclose(model.to_torch()(torch.tensor(problem.X)), expected, **bound)
    graph = onnx.reference.ReferenceEvaluator(str(model.to_onnx(tmp_path / "model.onnx")))
    if options["activation"] != "gelu":  # its constants have 32 bits there
        np.testing.assert_allclose(graph.run(["outputs"], {"X": X})[0], expected, **bound)
    with pytest.raises(SpecError, match="to_sklearn: scikit-learn has no network with"):
        model.to_sklearn()
    again = Model.load(model.save(tmp_path / "model.safetensors"))
    assert repr(again) == repr(model)
    np.testing.assert_array_equal(again.outputs(X), expected)
    assert {n: a.tolist() for n, a in again.weights.items()} == {
        n: a.tolist() for n, a in model.weights.items()
    }
