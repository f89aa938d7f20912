"""Traces against plain NumPy and against the trial that the sweep runs."""

import functools
import math
import warnings

import numpy as np
import pandas as pd
import pytest

from fastopt.errors import SpecError
from fastopt.rules import RULES
from sweeps import SweepResult, problems, sweep, trace

run = functools.partial(sweep, progress=False)
BOWL = problems.ellipse()


def adam(gradients, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Kingma and Ba's algorithm as printed: rows of ``m, v, m_hat, v_hat, step``."""
    m = v = np.zeros_like(gradients[0])
    rows = []
    for t, g in enumerate(gradients, start=1):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        rows.append((m, v, m_hat, v_hat, -lr * m_hat / (np.sqrt(v_hat) + eps)))
    return np.array(rows)


def test_every_internal_of_adam_is_that_of_the_paper():
    frame = trace(BOWL, "adam", lr=0.1, steps=60)
    gradients = frame[["grad_x", "grad_y"]].to_numpy()
    np.testing.assert_allclose(gradients, frame[["x", "y"]] * [1.0, 10.0], rtol=1e-15)
    expected = adam(gradients[:-1], 0.1)
    for k, name in enumerate(("exp_avg", "exp_avg_sq", "m_hat", "v_hat", "update")):
        actual = frame[[f"{name}_x", f"{name}_y"]].to_numpy()[1:]
        np.testing.assert_allclose(actual, expected[:, k], rtol=1e-11, atol=1e-13, err_msg=name)
    denominators = 0.1 / (np.sqrt(expected[:, 3]) + 1e-8)
    actual = frame[["effective_lr_x", "effective_lr_y"]].to_numpy()[1:]
    np.testing.assert_allclose(actual, denominators, rtol=1e-9)
    lengths = np.linalg.norm(expected[:, 4], axis=1)
    np.testing.assert_allclose(frame.update_norm[1:], lengths, rtol=1e-11)
    assert frame.iloc[0][["update_x", "m_hat_x", "lr", "effective_lr_x"]].isna().all()
    assert frame.iloc[0][["exp_avg_x", "exp_avg_sq_y"]].eq(0.0).all()


def test_a_landscape_is_traced_with_the_bits_of_its_sweep():
    how = {"lr": 0.1, "schedule": "cosine", "start_x": 3.0}
    frame = trace(BOWL, "adam", steps=37, **how)
    result = run(BOWL, {}, optimizer="adam", steps=37, curves=True, eval_every=1, **how)
    expected = result.curves()
    for name, column in {"step": "step", "loss": "train_loss", "x": "x", "y": "y"}.items():
        np.testing.assert_array_equal(frame[name], expected[column])
    row = result.to_frame().iloc[0]
    assert frame.attrs["final"]["path_length"] == row.path_length
    assert (frame.attrs["state"], frame.loss.iloc[-1]) == ("COMPLETE", row.train_loss)
    # Summed again from the updates: a path of 37 additions.
    assert frame.update_norm.sum() == pytest.approx(row.path_length, rel=1e-14)
    half = 0.5 * (1 + np.cos(np.pi * np.arange(37) / 37))
    np.testing.assert_allclose(frame.lr[1:], 0.1 * half, rtol=1e-12)


def test_the_row_after_the_last_finite_loss_is_shown():
    frame = trace(BOWL, "sgd", lr=1.0, steps=400)
    (row,) = run(BOWL, {}, optimizer="sgd", lr=1.0, steps=400).to_frame().iloc
    assert frame.attrs["state"] == row.state == "DIVERGED"
    assert frame.step.iloc[-1] == row.diverged_step == len(frame) - 1
    assert np.isinf(frame.loss.iloc[-1])
    assert np.isfinite(frame.loss.iloc[:-1]).all()
    # y is multiplied by 1 - 10 lr = -9 every step, and effective lr is lr where there is slope.
    np.testing.assert_allclose(frame.y[:50], (-9.0) ** np.arange(50), rtol=1e-13)
    np.testing.assert_allclose(frame.effective_lr_y[1:50], 1.0, rtol=1e-12)


DATA = {"lr": 0.01, "epochs": 3, "batch_size": 50, "seed": 3}


@pytest.fixture(scope="module")
def iris():
    return problems.iris(hidden=(8,))


@pytest.mark.parametrize("shuffle", ["epoch", "replacement"])
def test_minibatches_are_traced_with_the_bits_of_the_sweep(iris, shuffle):
    """112 rows: the last batch of an epoch is smaller."""
    how = {**DATA, "schedule": "cosine", "shuffle": shuffle}
    frame = trace(iris, "adam", vectors=True, **how)
    result = run(iris, {}, optimizer="adam", curves=True, eval_every=1, **how)
    curves, row = result.curves(), result.to_frame().iloc[0]
    assert frame.attrs["exact"]
    size = frame.batch_size.to_numpy()
    assert size.tolist() == [50, 50, 12] * 3
    np.testing.assert_array_equal(frame.loss * size / size, curves.train_loss)
    np.testing.assert_array_equal(frame.test_loss, curves.test_loss)
    assert frame.test_accuracy.iloc[-1] == row.test_accuracy
    gradients = frame[[f"grad_{j}" for j in range(iris.n_params)]].to_numpy(float)
    np.testing.assert_allclose(frame.grad_norm, np.linalg.norm(gradients, axis=1), rtol=1e-12)
    expected = adam(gradients, 1.0)
    for k, name in enumerate(("exp_avg", "exp_avg_sq", "m_hat", "v_hat")):
        lengths = np.linalg.norm(expected[:, k], axis=1)
        np.testing.assert_allclose(frame[f"{name}_norm"], lengths, rtol=1e-5, err_msg=name)
    updates = expected[:, 4] * frame.lr.to_numpy()[:, None]
    np.testing.assert_allclose(frame.update_norm, np.linalg.norm(updates, axis=1), rtol=1e-4)


def test_a_replayed_trial_has_the_figures_of_the_sweep(iris):
    space = {"lr": [0.01, 0.02], "seed": [0, 5]}
    result = run(iris, space, optimizer="adam", epochs=2, batch_size=50)
    frame = result.replay(3)
    row = result.to_frame().iloc[3]
    for name in ("train_loss", "test_loss", "test_accuracy", "steps"):
        assert frame.attrs["final"][name] == row[name]
    assert frame.attrs["exact"]
    own = trace(iris, "adam", lr=0.02, seed=5, epochs=2, batch_size=50)
    pd.testing.assert_frame_equal(frame, own, rtol=0, atol=0)


def test_a_replay_that_differs_is_said():
    result = run(BOWL, {"lr": [0.1, 0.2]}, optimizer="sgd", steps=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(result.replay(1)) == 10
    result.columns["train_loss"][1] += 1e-9
    with pytest.warns(UserWarning, match="trial 1 is not what it was in the sweep: train_loss"):
        result.replay(1)


def test_what_cannot_be_replayed_is_refused():
    result = run(BOWL, {"lr": [0.1, 0.2]}, optimizer="sgd", steps=9)
    with pytest.raises(SpecError, match="no finished trial 2"):
        result.replay(2)
    loaded = SweepResult(result.columns, None, "train_loss", "min", {})
    for call in (lambda: loaded.replay(0), lambda: loaded.extend({"lr": [1]}), loaded.zoom):
        with pytest.raises(SpecError, match="does not know its problem"):
            call()


@pytest.mark.parametrize("optimizer", ["momentum", "schedule_free_adamw", "lamb"])
def test_other_rules_have_their_own_slots(optimizer):
    problem = problems.rosenbrock(start=(-1.5, -1.0))
    frame = trace(problem, optimizer, lr=1e-4, steps=20)
    slots = RULES[optimizer].slots
    assert {f"{slot}_{x}" for slot in slots for x in "xy"} <= {*frame.columns} | {
        f"{slot}_x{d}" for slot in slots for d in (1, 2)
    }
    assert frame.drop(index=0).notna().all(axis=None)


def corrections(rule):
    """Slots whose decay is a number that the first tick makes of a one in the clock, and its place.

    Each beta has a value of its own.
    """
    betas = [name for name in rule.hyper if name.startswith("beta")]
    h = rule.pack({name: 0.9 - 0.125 * k for k, name in enumerate(betas)})
    before = rule.clock0(h)
    clock, c = rule.tick(h, before)
    for k, name in enumerate(rule.slots):
        x = np.eye(len(rule.slots) + 1)[k + 1].tolist()
        own = rule.trust(c, tuple(map(float, rule.measure(c, 0.0, x))), 1) if rule.trust else c
        decay = rule.update(own, 0.0, tuple(x))[k + 1]
        for position, (old, new) in enumerate(zip(before, clock)):
            if old == 1.0 and math.isclose(new, decay, abs_tol=1e-9):
                yield name, position


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rows_say_which_moments_are_corrected(rule):
    said = {name: rule.powers[decay] for name, decay in rule.corrected.items()}
    assert said == dict(corrections(rule))
