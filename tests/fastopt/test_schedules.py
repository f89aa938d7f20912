"""Schedules against torch's schedulers, closed forms, and their own compiled switch."""

import inspect
import itertools
import math
import warnings

import numpy as np
import pytest
import torch

import fastopt
from fastopt import schedules
from fastopt.compile import kernel
from fastopt.errors import HyperparameterError
from fastopt.schedules import SCHEDULES, Schedule

T = 97
LR = 0.25
EPS = np.finfo(float).eps

lr_scheduler = torch.optim.lr_scheduler


def in_turn(*parts):
    """Return torch's ``SequentialLR`` of ``(steps, scheduler of an optimizer)`` pairs."""

    def scheduler(o):
        ends = list(itertools.accumulate(steps for steps, _ in parts))
        return lr_scheduler.SequentialLR(o, [make(o) for _, make in parts], milestones=ends[:-1])

    return scheduler


def warm_up(steps, start):
    return lambda o: lr_scheduler.LinearLR(o, start_factor=start, total_iters=steps)


def cyclic_lr(start, **options):
    return lambda o: lr_scheduler.CyclicLR(o, start * LR, LR, cycle_momentum=False, **options)


def one_cycle_lr(steps, **options):
    return lambda o: lr_scheduler.OneCycleLR(o, LR, steps, cycle_momentum=False, **options)


def restarts(period, multiplier, final):
    return lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, period, multiplier, final * LR)


# ours, and torch's as a function of an optimizer; torch has no inverse square root
CASES = [
    (schedules.constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
    (schedules.constant(0.3, 20), lambda o: lr_scheduler.ConstantLR(o, 0.3, total_iters=20)),
    (schedules.step(10, gamma=0.3), lambda o: lr_scheduler.StepLR(o, step_size=10, gamma=0.3)),
    (schedules.exponential(gamma=0.97), lambda o: lr_scheduler.ExponentialLR(o, gamma=0.97)),
    (
        schedules.exponential(gamma=0.97**7, transition_steps=7),
        lambda o: lr_scheduler.ExponentialLR(o, gamma=0.97),
    ),
    (
        schedules.cosine(T, final=0.1),
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=T, eta_min=0.1 * LR),
    ),
    (
        schedules.warmup_cosine(13, T, final=0.1, start=0.2),
        in_turn(
            (13, warm_up(13, 0.2)),
            (T, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=T - 13, eta_min=0.1 * LR)),
        ),
    ),
    (
        schedules.multi_step(7, 50, 60, gamma=0.3),
        lambda o: lr_scheduler.MultiStepLR(o, [7, 50, 60], gamma=0.3),
    ),
    (
        schedules.multi_step(90, 11, 30, 31, 30, gamma=0.5),
        lambda o: lr_scheduler.MultiStepLR(o, [11, 30, 30, 31, 90], gamma=0.5),
    ),
    (
        schedules.linear(50, start=1 / 3, final=0.75),
        lambda o: lr_scheduler.LinearLR(o, 1 / 3, 0.75, total_iters=50),
    ),
    (
        schedules.linear(T),
        lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=T),
    ),
    (
        schedules.polynomial(60, power=2.5),
        lambda o: lr_scheduler.PolynomialLR(o, total_iters=60, power=2.5),
    ),
    (schedules.cosine_restarts(10), restarts(10, 1, 0.0)),
    (schedules.cosine_restarts(7, multiplier=2, final=0.1), restarts(7, 2, 0.1)),
    (schedules.one_cycle(T + 1), one_cycle_lr(T + 1)),
    (
        schedules.one_cycle(T + 1, pct_start=0.5, div_factor=5.0, final_div_factor=10.0),
        one_cycle_lr(T + 1, pct_start=0.5, div_factor=5.0, final_div_factor=10.0),
    ),
    (schedules.cyclic(8, start=0.1), cyclic_lr(0.1, step_size_up=8)),
    (schedules.cyclic(8, 3, start=0.1), cyclic_lr(0.1, step_size_up=8, step_size_down=3)),
    (
        schedules.cyclic(5, 9, start=0.25, cycle_gamma=0.5),
        cyclic_lr(0.25, step_size_up=5, step_size_down=9, mode="triangular2"),
    ),
    (
        schedules.cyclic(5, start=0.25, gamma=0.97),
        cyclic_lr(0.25, step_size_up=5, mode="exp_range", gamma=0.97),
    ),
    (
        schedules.wsd(10, 30, T, final=0.2, start=0.1),
        in_turn(
            (10, warm_up(10, 0.1)),
            (T - 40, lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
            (31, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=30)),
        ),
    ),
    (schedules.inverse_sqrt(10, start=0.1), None),
    (schedules.inverse_sqrt(0), None),
    (schedules.inverse_sqrt(10, timescale=25), None),
]
IDS = [repr(ours) for ours, _ in CASES]
every_case = pytest.mark.parametrize("ours", [ours for ours, _ in CASES], ids=IDS)
KNOWN = [case for case in CASES if case[1] is not None]


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


def test_every_schedule_has_a_case_and_a_constructor():
    assert list(dict.fromkeys(ours.name for ours, _ in CASES)) == list(SCHEDULES)
    assert {name for name in schedules.__all__ if name in SCHEDULES} == set(SCHEDULES)
    for name, row in SCHEDULES.items():
        assert list(inspect.signature(getattr(schedules, name)).parameters) == list(row.params)
        assert len(row.params) <= schedules.WIDTH


@pytest.mark.parametrize("name", SCHEDULES)
def test_constructors_have_the_defaults_of_the_table(name):
    for parameter in inspect.signature(getattr(schedules, name)).parameters.values():
        default = SCHEDULES[name].params[parameter.name].default
        is_required = parameter.default is inspect.Parameter.empty
        assert math.isnan(default) if is_required else default == parameter.default


@pytest.mark.parametrize(("ours", "theirs"), KNOWN, ids=[repr(ours) for ours, _ in KNOWN])
def test_factor_is_torchs(ours, theirs):
    """All steps, the last one included; torch multiplies step by step, one rounding each."""
    expected = torch_factors(theirs, T + 1)
    actual = [ours(t) for t in range(T + 1)]
    np.testing.assert_allclose(actual, expected, rtol=8 * T * np.finfo(float).eps, atol=1e-15)


@every_case
def test_schedule_drives_lambda_lr(ours):
    expected = [ours(t) for t in range(T + 1)]
    actual = torch_factors(lambda o: lr_scheduler.LambdaLR(o, ours), T + 1)
    np.testing.assert_array_equal(actual, expected)  # LR is a power of two


def test_wsd_with_a_root_in_closed_form():
    """Hägele et al., equation 1: ``1 - sqrt((t - n_decay) / n)``; torch has no such shape."""
    t = np.arange(60, 101)
    actual = [schedules.wsd(10, 40, 100, power=0.5)(k) for k in t]
    np.testing.assert_allclose(actual, 1.0 - np.sqrt((t - 60) / 40), rtol=1e-14, atol=1e-15)


def test_inverse_sqrt_in_closed_form():
    """Vaswani et al., section 5.3, divided by its peak: ``min(1 / sqrt(t), t w^-1.5) sqrt(w)``."""
    w, t = 16, np.arange(1, 500)
    expected = np.minimum(t**-0.5, t * w**-1.5) * w**0.5
    actual = [schedules.inverse_sqrt(w)(k) for k in t]
    np.testing.assert_allclose(actual, expected, rtol=1e-14)
    assert schedules.inverse_sqrt(0)(30_000) == schedules.inverse_sqrt(1)(4) == 0.5
    assert schedules.inverse_sqrt(10, timescale=100)(310) == 0.5


def test_optax_names_in_closed_form():
    """``exponential_decay`` and ``polynomial_schedule`` as optax documents them."""
    t = np.arange(50)
    decay = [schedules.exponential(0.3, transition_steps=20)(k) for k in t]
    np.testing.assert_allclose(decay, 0.3 ** (t / 20), rtol=1e-14)
    power = [schedules.polynomial(40, power=3.0, final=0.25)(k) for k in t]
    expected = 0.75 * (1 - np.minimum(t, 40) / 40) ** 3 + 0.25
    np.testing.assert_allclose(power, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("schedule", "final"),
    [
        (schedules.cosine(T), 0.0),
        (schedules.cosine(T, final=0.1), 0.1),
        (schedules.warmup_cosine(13, T, final=0.3), 0.3),
        (schedules.warmup_cosine(T, T, final=0.3), 0.3),
        (schedules.linear(T, final=0.3), 0.3),
        (schedules.polynomial(T, power=3.0, final=0.3), 0.3),
        (schedules.wsd(3, 9, T, final=0.3), 0.3),
        (schedules.wsd(3, 0, T, final=0.3), 0.3),
        (schedules.one_cycle(T, div_factor=2.0, final_div_factor=2.0), 0.25),
    ],
    ids=repr,
)
def test_factor_stays_final_after_the_end(schedule, final):
    assert [schedule(t) for t in (T, T + 1, 2 * T, 10**9)] == [final] * 4
    assert schedule(T - 2) > final


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


@every_case
def test_compiled_switch_is_python(ours):
    """Compiled code may fuse multiply-adds, hence a few ulps of 1; the switch must pick the row."""
    actual = np.full(2 * T, np.nan)
    kernel(every_step, schedules.factor)(ours.kind, ours.a, actual)
    expected = np.array([ours(t) for t in range(2 * T)])
    in_python = [schedules.factor(ours.kind, float(t), ours.a) for t in range(2 * T)]
    np.testing.assert_array_equal(in_python, expected)
    np.testing.assert_allclose(actual, expected, rtol=4 * EPS, atol=EPS)


GROWING = [
    schedules.exponential(2.0),
    schedules.exponential(1e300, transition_steps=700),
    schedules.step(3, gamma=1e10),
    schedules.multi_step(100, 900, gamma=1e200),
    schedules.cyclic(5, start=0.5, gamma=2.0),
    schedules.cyclic(5, start=0.5, cycle_gamma=1e5),
]


@pytest.mark.parametrize("ours", GROWING, ids=lambda s: s.name)
def test_a_factor_beyond_any_number_is_infinite_and_refused_by_the_step(ours):
    """In sweeps, where it is as in kernels, such a trial has diverged."""
    found = np.full(1100, np.nan)
    kernel(every_step, schedules.factor)(ours.kind, ours.a, found)
    factors = np.array([ours(t) for t in range(found.size)])
    assert factors[0] < factors[-1] == np.inf
    finite = np.isfinite(factors)
    np.testing.assert_allclose(found[finite], factors[finite], rtol=1e-12)
    assert not np.isfinite(found[~finite]).any()
    p = np.ones(2)
    opt = fastopt.SGD(p, schedule=ours)
    opt.steps = int(np.flatnonzero(~finite)[0])
    with pytest.raises(HyperparameterError, match=r"factor inf makes lr inf.*Nothing was changed"):
        opt.step(p + 1.0)
    assert p.tolist() == [1.0, 1.0]
    assert opt.steps == np.flatnonzero(~finite)[0]


@pytest.mark.parametrize("t", [10**9, 2**53, 2**63, 10**18, 1e300], ids=str)
@pytest.mark.parametrize(
    ("ours", "limit"),
    [
        (schedules.constant(0.5, total_iters=3), 1.0),
        (schedules.step(3, gamma=0.5), 0.0),
        (schedules.step(3, gamma=2.0), math.inf),
        (schedules.exponential(0.5), 0.0),
        (schedules.exponential(2.0), math.inf),
        (schedules.cosine(T, final=0.25), 0.25),
        (schedules.warmup_cosine(3, T, final=0.25), 0.25),
        (schedules.multi_step(3, 5, gamma=0.5), 0.25),
        (schedules.linear(T, final=0.25), 0.25),
        (schedules.polynomial(T, power=3.0, final=0.25), 0.25),
        (schedules.one_cycle(T, div_factor=2.0, final_div_factor=2.0), 0.25),
        (schedules.cyclic(3, start=0.25, gamma=0.5), 0.25),
        (schedules.wsd(1, 2, T, final=0.25), 0.25),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_a_step_far_away_has_the_limit_and_no_overflow(ours, limit, t):
    assert ours(t) == schedules.factor(ours.kind, t, ours.a) == limit


@pytest.mark.parametrize("t", [10**9, 2**53, 10**18], ids=str)
def test_schedules_without_a_limit_are_exact_far_away(t):
    cycles = [schedules.cosine_restarts(4), schedules.cyclic(2)]
    for ours, first in zip(cycles, ([1, math.cos(math.pi / 8) ** 2, 0.5], [0, 0.5, 1.0])):
        found = schedules.factor(ours.kind, t, ours.a)
        assert found == ours(t) == pytest.approx(first[t % 4], rel=1e-15)
    assert schedules.inverse_sqrt(0, timescale=t)(t) == math.sqrt(0.5)
    begun = int(math.log2(t / 3 + 1)), 3 * (2 ** int(math.log2(t / 3 + 1)) - 1)  # restarts so far
    wanted = math.cos(math.pi / 2 * ((t - begun[1]) / (3 * 2 ** begun[0]))) ** 2
    assert schedules.cosine_restarts(3, multiplier=2)(t) == pytest.approx(wanted, abs=1e-12)


@every_case
def test_what_is_no_step_is_refused(ours):
    for t in (-1, -0.5, math.nan, math.inf, -math.inf, 10**400, -(10**400), True, None, "3", 1j):
        for found in (ours, lambda t: schedules.factor(ours.kind, t, ours.a)):
            with pytest.raises(HyperparameterError, match="the step must be"):
                found(t)
    for kind in (-1, len(schedules.SCHEDULES), 0.5, None, "cosine"):
        with pytest.raises(HyperparameterError, match="kind must be"):
            schedules.factor(kind, 1.0, ours.a)


def test_one_kernel_serves_all_schedules():
    """Schedules are data: a new one of them, or a new parameter, compiles nothing."""
    run = kernel(every_step, schedules.factor)
    for ours, _ in CASES:
        run(*schedules.pack(ours.name, ours.values), np.empty(3))
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


def padded(*a):
    return (*a, *[0.0] * (schedules.WIDTH - len(a)))


def test_pack_fills_defaults_and_inherits_the_runs_length():
    assert schedules.pack("constant") == (0, padded(1.0))
    assert schedules.pack("step", {"step_size": 30}) == (1, padded(30.0, 0.1))
    assert schedules.pack("cosine", {}, total_steps=500) == (3, padded(500.0))
    assert schedules.pack("cosine", {"total_steps": 9}, total_steps=500)[1][0] == 9.0
    kind, a = schedules.pack("warmup_cosine", {"warmup_steps": np.int64(5)}, total_steps=50)
    assert (kind, a) == (4, padded(5.0, 50.0))
    assert all(type(value) is float for value in a)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("cosin", {}, "did you mean 'cosine'"),
        ("cosine", {"totl_steps": 5}, "did you mean 'total_steps'"),
        ("cosine", {}, "needs total_steps"),
        ("constant", {"gamma": 0.5}, "it has factor, total_iters"),
        ("wsd", {"warmup_steps": 5, "decay_steps": 6, "total_steps": 10}, r"got 5 \+ 6 and 10"),
        ("multi_step", {"gamma": 0.5}, "needs milestone1"),
        ("cosine_restarts", {"period": 5, "multiplier": 1.5}, "whole number"),
        ("one_cycle", {"total_steps": 5, "pct_start": 1.0}, r"in \[0.0, 1.0\)"),
        ("one_cycle", {"total_steps": 5, "div_factor": 0.5}, r"got 0.5"),
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
        *(
            ("cyclic", {"start": 2.0, name: 1.5}, rf"{name} must be in \[0.0, 1.0\], got 1.5")
            for name in ("gamma", "cycle_gamma")
        ),
    ],
)
def test_pack_refuses(name, values, message):
    with pytest.raises(HyperparameterError, match=message):
        schedules.pack(name, values)


def test_schedule_is_a_value():
    schedule = schedules.step(30)
    assert repr(schedule) == "step(step_size=30, gamma=0.1)"
    assert schedule == schedules.step(30, gamma=0.1) == Schedule("step", padded(30.0, 0.1))
    assert hash(schedule) == hash(schedules.step(30))
    assert schedule.values == {"step_size": 30, "gamma": 0.1}
    for each, _ in CASES:
        assert eval(f"schedules.{each!r}") == each
    with pytest.raises(AttributeError):
        schedule.name = "cosine"
