"""Learning rates of layers against torch's parameter groups; widths that share a learning rate."""

import functools

import numpy as np
import pandas as pd
import pytest
import torch

from fastopt.errors import SpecError
from sweeps import SuccessiveHalving, problems, sweep, trace
from sweeps.models.trained import model_of
from sweeps.problems.initialisations import initialisation
from tests.sweeps.problems.networks_by_torch import check_trainings

run = functools.partial(sweep, progress=False)
IRIS = problems.iris(hidden=(8,))
OF_TORCH = {
    "adamw": (functools.partial(torch.optim.AdamW, weight_decay=0.1), {"weight_decay": 0.1}),
    "momentum": (functools.partial(torch.optim.SGD, momentum=0.9), {"momentum": 0.9}),
}


@pytest.mark.parametrize("rule", OF_TORCH)
def test_layers_go_as_parameter_groups_of_torch(rule):
    factors, rng = (0.5, 0.0, 3.0), np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    options = {"activation": "relu", "layer_norm": True, "dtype": "float64", "standardize": False}
    problem = problems.mlp(X, y, hidden=(5, 4), lr_multipliers=factors, **options)
    theta0 = rng.normal(size=problem.n_params)
    problem = problems.mlp(X, y, hidden=(5, 4), lr_multipliers=factors, theta0=theta0, **options)
    made, settings = OF_TORCH[rule]
    how = {"lr": 0.02, "steps": 25, "batch_size": 40}
    ours = run(problem, {}, optimizer=rule, **how, **settings).model()
    module = model_of(problem, theta0).to_torch()
    layers = [module[:2], module[3:5], module[6:]]
    groups = [{"params": p.parameters(), "lr": 0.02 * f} for p, f in zip(layers, factors)]
    optimizer = made(groups, lr=0.02)
    for _ in range(25):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(module(torch.tensor(X)), torch.tensor(y)).backward()
        optimizer.step()
    with torch.no_grad():
        np.testing.assert_allclose(ours.outputs(X), module(torch.tensor(X)).numpy(), rtol=1e-9)
    assert not np.array_equal(ours.weights["layers.0.weight"], theta0[:15].reshape(3, 5))


SPACE = {"lr_multipliers": ["1, 1", "0.1, 2", "0, 1"], "lr": [0.01, 0.1], "seed": [0, 1]}
HOW = {"epochs": 4, "batch_size": 50, "metric": "test_loss"}


@pytest.fixture(scope="module")
def result():
    return run(IRIS, SPACE, n_jobs=1, **HOW)


def test_each_is_another_training_and_ones_the_plain_one(result):
    check_trainings(result, "lr_multipliers", "1, 1", IRIS, HOW)


def test_a_layer_without_a_step_stays_where_it_was(result):
    first = np.empty(IRIS.n_params, np.float32)
    for row in result.to_frame().query("lr_multipliers == '0, 1'").itertuples():
        IRIS.init(first, IRIS.aux, np.uint64(row.seed))
        (theta,) = result.trials_weights([row.trial_id])
        np.testing.assert_array_equal(theta[:40], first[:40])
        assert (theta[40:] != first[40:]).all()
    still = IRIS.varied(lr_multipliers=(0, 0))
    moves = run(still, {"lr": [0.1]}, measure=["update_norm"], **HOW).to_frame().update_norm
    assert moves.tolist() == [0.0]


def test_bits_do_not_depend_on_company_threads_or_pauses(result):
    full = result.to_frame()
    again = run(IRIS, SPACE, n_jobs=2, **HOW)
    pd.testing.assert_frame_equal(again.to_frame(), full, rtol=0, atol=0)
    row = full.iloc[5]
    alone = run(IRIS.varied(lr_multipliers=(0.1, 2)), {"lr": [row.lr]}, seed=int(row.seed), **HOW)
    assert alone.to_frame().test_loss[0] == row.test_loss
    pruned = run(IRIS, SPACE, pruner=SuccessiveHalving(1, factor=2), **HOW).to_frame()
    whole = pruned.state != "PRUNED"
    assert 0 < whole.sum() < len(pruned)
    pd.testing.assert_frame_equal(pruned[whole][full.columns], full[whole], rtol=0, atol=0)


def test_a_trace_goes_the_way_of_the_trial():
    problem = IRIS.varied(lr_multipliers=(0.1, 2))
    how = {"lr": 0.1, "seed": 3, "epochs": 2, "batch_size": 50}
    frame = trace(problem, "adam", vectors=True, **how)
    (theta,) = run(problem, {}, optimizer="adam", **how).trials_weights([0])
    last = frame.iloc[-1]
    traced = [last[f"theta_{k}"] for k in range(problem.n_params)]
    np.testing.assert_allclose(traced, theta, rtol=1e-5, atol=1e-6)


def wide(width, parametrization="mup", base_width=32, **options):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    how = {"parametrization": parametrization, "base_width": base_width, **options}
    return problems.mlp(X, y, hidden=(width, width), **{"init": "lecun_normal", **how})


def test_steps_and_initial_weights_are_those_of_the_paper():
    """Table 3 of arXiv:2203.03466, for Adam; n0 = 32 is the base width."""
    problem, shapes = wide(128), [(5, 128), (128,), (128, 128), (128,), (128, 3), (3,)]
    factors = [1, 1, 32 / 128, 1, 32 / 128, 1]
    expected = np.concatenate([np.full(np.prod(s), f) for s, f in zip(shapes, factors)])
    np.testing.assert_array_equal(problem.lr_multipliers, expected)
    theta, standard = (np.empty(problem.n_params, np.float32) for _ in range(2))
    problem.init(theta, problem.aux, np.uint64(1))
    initialisation("lecun_normal")(standard, problem.aux, np.uint64(1))
    last = problem.n_params - 128 * 3 - 3
    np.testing.assert_array_equal(theta[:last], standard[:last])
    np.testing.assert_allclose(theta[last:], standard[last:] * np.sqrt(32 / 128), rtol=1e-6)


def test_at_the_base_width_it_is_the_standard():
    mine, plain = wide(32), wide(32, "standard")
    assert mine.lr_multipliers.size == plain.lr_multipliers.size == 0
    how = {"lr": 0.01, "epochs": 2, "batch_size": 20}
    pair = [run(p, {}, optimizer="adam", **how).trials_weights([0]) for p in (mine, plain)]
    np.testing.assert_array_equal(*pair)


def moved(problem):
    """How far outputs go in three steps."""
    how = {"optimizer": "adam", "steps": 3, "batch_size": 60, "seed": 0}
    before, after = (run(problem, {}, lr=lr, **how).model().bare() for lr in (0.0, 0.01))
    return np.abs(after.outputs(problem.X) - before.outputs(problem.X)).mean()


def test_outputs_of_wide_networks_move_as_those_of_narrow_ones():
    """The coordinate check of the paper: in the standard parametrization they move with n."""
    narrow, broad = (moved(wide(width)) for width in (64, 1024))
    assert 0.5 < broad / narrow < 2
    assert moved(wide(1024, "standard")) / moved(wide(64, "standard")) > 4


REFUSED = [
    ({"lr_multipliers": (1, -1)}, r"lr_multipliers must be numbers >= 0, .* got \(1, -1\)"),
    ({"lr_multipliers": "1; 2"}, "got '1; 2'"),
    ({"lr_multipliers": 2}, "got 2"),
    ({"lr_multipliers": (True, 1)}, "must be numbers >= 0"),
    ({"lr_multipliers": [1, float("inf")]}, "must be numbers >= 0"),
    ({"lr_multipliers": (1, 1)}, "has 2 numbers, and the network has 3 layers"),
    ({"parametrization": "mu"}, "must be one of standard, mup; got 'mu' [(]did you mean 'mup'"),
    ({"base_width": 0}, "base_width must be an integer >= 1; got 0"),
    ({"init": "glorot_uniform"}, "init='glorot_uniform' does not go with .* use he_normal"),
]


@pytest.mark.parametrize(("options", "says"), REFUSED)
def test_what_no_layers_can_have_is_refused(options, says):
    with pytest.raises(SpecError, match=says):
        wide(8, **options)


def test_networks_of_any_size_keep_no_multipliers_of_one():
    """A view of them would keep them all."""
    for options in ({}, {"lr_multipliers": "1, 1"}):
        assert IRIS.varied(hidden="9", **options).lr_multipliers.base is None
    with pytest.raises(SpecError, match=r"learning rates of all parameters take .* of memory"):
        problems.iris(hidden=(10**6, 10**6)).varied(lr_multipliers="1, 2, 1")


def test_mup_needs_hidden_layers():
    with pytest.raises(SpecError, match=r"hidden=\(\) has none"):
        problems.mlp(np.eye(3), [0, 1, 2], hidden=(), init="he_normal", parametrization="mup")


def test_rules_whose_steps_are_no_multiples_are_refused():
    layered = IRIS.varied(lr_multipliers=(1, 2))
    for rule in ("schedule_free_sgd", "schedule_free_adamw"):
        with pytest.raises(SpecError, match=f"{rule} answers with an average"):
            run(layered, {"lr": [0.1]}, optimizer=rule, epochs=1)
    for rule in ("sgd", "lamb"):
        with pytest.raises(SpecError, match=f"steps of {rule} depend on the size"):
            run(wide(8), {"lr": [0.1]}, optimizer=rule, epochs=1)
    with pytest.raises(SpecError, match=r"and l1=\.\.\. do not go together"):
        run(layered, {"l1": [0, 0.1]}, lr=0.1, epochs=1)
