"""Schedules against torch's schedulers, closed forms, and their own compiled switch."""

import math
import warnings

import numpy as np
import pytest
import torch

from fastopt import schedules
from fastopt.compile import kernel
from fastopt.errors import HyperparameterError
from fastopt.schedules import SCHEDULES, Schedule

T = 97
LR = 0.25

# ours, and torch's as a function of an optimizer
CASES = {
    "constant": (
        schedules.constant(),
        lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0),
    ),
    "step": (
        schedules.step(step_size=10, gamma=0.3),
        lambda o: torch.optim.lr_scheduler.StepLR(o, step_size=10, gamma=0.3),
    ),
    "exponential": (
        schedules.exponential(gamma=0.97),
        lambda o: torch.optim.lr_scheduler.ExponentialLR(o, gamma=0.97),
    ),
    "cosine": (
        schedules.cosine(T, final=0.1),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=T, eta_min=0.1 * LR),
    ),
    "warmup_cosine": (
        schedules.warmup_cosine(13, T, final=0.1, start=0.2),
        lambda o: torch.optim.lr_scheduler.SequentialLR(
            o,
            [
                torch.optim.lr_scheduler.LinearLR(o, start_factor=0.2, total_iters=13),
                torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=T - 13, eta_min=0.1 * LR),
            ],
            milestones=[13],
        ),
    ),
}


def torch_factors(scheduler, steps):
    """Return lr / LR before each of ``steps`` steps of a torch scheduler."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    factors = []
    with warnings.catch_warnings():
        # SequentialLR starts its second scheduler in a way that torch itself deprecates.
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
        scheduler = scheduler(optimizer)
        for _ in range(steps):
            factors.append(optimizer.param_groups[0]["lr"] / LR)
            optimizer.step()
            scheduler.step()
    return np.array(factors)


def test_every_schedule_has_a_case():
    assert list(CASES) == list(SCHEDULES)


@pytest.mark.parametrize("name", CASES)
def test_factor_is_torchs(name):
    """All steps, the last one included; torch multiplies step by step, one rounding each."""
    ours, theirs = CASES[name]
    expected = torch_factors(theirs, T + 1)
    actual = [ours(t) for t in range(T + 1)]
    np.testing.assert_allclose(actual, expected, rtol=8 * T * np.finfo(float).eps, atol=1e-15)


@pytest.mark.parametrize("name", CASES)
def test_schedule_drives_lambda_lr(name):
    ours, _ = CASES[name]
    expected = [ours(t) for t in range(T + 1)]
    actual = torch_factors(lambda o: torch.optim.lr_scheduler.LambdaLR(o, ours), T + 1)
    np.testing.assert_array_equal(actual, expected)  # LR is a power of two


@pytest.mark.parametrize(
    ("schedule", "final"),
    [
        (schedules.cosine(T), 0.0),
        (schedules.cosine(T, final=0.1), 0.1),
        (schedules.warmup_cosine(13, T, final=0.3), 0.3),
        (schedules.warmup_cosine(T, T, final=0.3), 0.3),
    ],
    ids=repr,
)
def test_factor_stays_final_after_the_end(schedule, final):
    assert [schedule(t) for t in (T, T + 1, 2 * T, 10**9)] == [final] * 4
    assert schedule(T - 1) > final


def test_warmup_from_zero_in_closed_form():
    """start=0, which torch's LinearLR refuses: t / w, then the cosine from exactly 1."""
    w = 13
    t = np.arange(T)
    fall = 0.5 + 0.5 * np.cos(np.pi * (t - w) / (T - w))
    actual = [schedules.warmup_cosine(w, T)(k) for k in t]
    np.testing.assert_allclose(actual, np.where(t < w, t / w, fall), rtol=1e-13, atol=1e-16)
    assert actual[0] == 0.0
    assert actual[w] == 1.0


def test_no_warmup_is_cosine():
    for t in range(T + 2):
        assert schedules.warmup_cosine(0, T, final=0.2)(t) == schedules.cosine(T, final=0.2)(t)


def every_step(factor):
    """Loop template: the factor of each step."""

    def run(kind, a, out):
        for t in range(out.size):
            out[t] = factor(kind, float(t), a)

    return run


@pytest.mark.parametrize("name", CASES)
def test_compiled_switch_is_python(name):
    """Compiled code may fuse one multiply-add, hence one ulp; the switch must pick the row."""
    ours, _ = CASES[name]
    actual = np.full(2 * T, np.nan)
    kernel(every_step, schedules.factor)(ours.kind, ours.a, actual)
    expected = np.array([ours(t) for t in range(2 * T)])
    in_python = [schedules.factor(ours.kind, float(t), ours.a) for t in range(2 * T)]
    np.testing.assert_array_equal(in_python, expected)
    assert np.all(np.abs(actual - expected) <= np.spacing(expected))


def test_one_kernel_serves_all_schedules():
    """Schedules are data: a new one of them, or a new parameter, compiles nothing."""
    run = kernel(every_step, schedules.factor)
    for name, (ours, _) in CASES.items():
        run(*schedules.pack(name, ours.values), np.empty(3))
    assert len(run.signatures) == 1


@pytest.mark.parametrize(
    ("lr", "schedule", "expected"),
    [
        (0.1, schedules.constant(), 28),
        (0.5, schedules.step(100, gamma=0.5), 1),
        (0.5, schedules.exponential(0.99), 1),
        (0.5, schedules.cosine(500), 1),
        (0.5, schedules.warmup_cosine(50, 500), 24),
    ],
    ids=repr,
)
def test_steps_to_target_on_a_parabola(lr, schedule, expected):
    """(x - 5)^2 from 0: the number of updates done when |x - 5| < 0.01 for the first time.

    The warm-up must be t / w with t = 0 at the first update; (t + 1) / w would give 23.
    """
    x, reached = 0.0, 0
    for t in range(500):
        x -= lr * schedule(t) * 2.0 * (x - 5.0)
        if not reached and abs(x - 5.0) < 0.01:
            reached = t + 1
    assert reached == expected


def test_pack_fills_defaults_and_inherits_the_runs_length():
    assert schedules.pack("constant") == (0, (0.0, 0.0, 0.0, 0.0))
    assert schedules.pack("step", {"step_size": 30}) == (1, (30.0, 0.1, 0.0, 0.0))
    assert schedules.pack("cosine", {}, total_steps=500) == (3, (500.0, 0.0, 0.0, 0.0))
    assert schedules.pack("cosine", {"total_steps": 9}, total_steps=500)[1][0] == 9.0
    kind, a = schedules.pack("warmup_cosine", {"warmup_steps": np.int64(5)}, total_steps=50)
    assert (kind, a) == (4, (5.0, 50.0, 0.0, 0.0))
    assert all(type(value) is float for value in a)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("cosin", {}, "did you mean 'cosine'"),
        ("cosine", {"totl_steps": 5}, "did you mean 'total_steps'"),
        ("cosine", {}, "needs total_steps"),
        ("constant", {"gamma": 0.5}, "it has none"),
        ("exponential", {}, r"needs gamma, a number in \[0.0, inf\)"),
        ("step", {}, "needs step_size"),
        ("step", {"step_size": 0}, r"in \[1.0, inf\); got 0"),
        ("step", {"step_size": 2.5}, "whole number of steps; got 2.5"),
        ("step", {"step_size": 5, "gamma": math.nan}, "must be finite"),
        ("exponential", {"gamma": -0.5}, r"got -0.5"),
        ("exponential", {"gamma": "0.5"}, "of type str"),
        ("cosine", {"total_steps": 5, "final": math.inf}, "must be finite"),
        ("warmup_cosine", {"warmup_steps": 6, "total_steps": 5}, "must not exceed"),
        ("warmup_cosine", {"warmup_steps": -1, "total_steps": 5}, r"in \[0.0, inf\)"),
    ],
)
def test_pack_refuses(name, values, message):
    with pytest.raises(HyperparameterError, match=message):
        schedules.pack(name, values)


def test_schedule_is_a_value():
    schedule = schedules.step(30)
    assert repr(schedule) == "step(step_size=30, gamma=0.1)"
    assert schedule == schedules.step(30, gamma=0.1) == Schedule("step", (30.0, 0.1, 0.0, 0.0))
    assert hash(schedule) == hash(schedules.step(30))
    assert schedule.values == {"step_size": 30, "gamma": 0.1}
    assert eval(f"schedules.{schedule!r}") == schedule
    with pytest.raises(AttributeError):
        schedule.name = "cosine"
