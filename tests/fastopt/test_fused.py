"""The fused step against the separate passes that it replaces."""

from __future__ import annotations

import inspect
import itertools
import math
import pickle

import numpy as np
import pytest
import torch

import fastopt
from fastopt import (
    SGD,
    Adam,
    AdamW,
    ArrayError,
    HyperparameterError,
    NonFiniteError,
    Optimizer,
    clip_grad_norm_,
    clip_grad_value_,
    flatten,
    global_norm,
)
from fastopt.machine.arrays import address
from fastopt.rules import RULES
from fastopt.stepping import fused
from tests.helpers.cases import ONE_OF_A_SHAPE, signed
from tests.helpers.makers import arrays, every_maker, everything, gradients
from tests.helpers.stepping import step_arrays

DTYPES = [np.float32, np.float64]
# One optimizer a number of slots, none with coupled decay: there the gradient is rounded twice.
CLASSES = [(SGD, {}), (SGD, {"momentum": 0.9, "maximize": True}), (Adam, {}), (AdamW, {})]
CLASSES += [(Adam, {"amsgrad": True})]
every_class = pytest.mark.parametrize(
    ("cls", "options"), CLASSES, ids=[f"{c.__name__}-{'-'.join(o)}" for c, o in CLASSES]
)


def separately(grads, grad_scale=1.0, max_norm=None, clip_value=None):
    """Return copies of the gradients after the passes that the fused step replaces."""
    grads = {name: np.array(g * g.dtype.type(1.0 / grad_scale)) for name, g in grads.items()}
    if max_norm is not None:
        clip_grad_norm_(grads, max_norm)
    if clip_value is not None:
        clip_grad_value_(grads, clip_value)
    return grads


# ---- the convention that scaling rests on ----


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("factor", [0.125, -1.0])
@pytest.mark.parametrize("steps", [1, 2, 8])
def test_the_first_coefficient_is_the_factor_on_the_gradient(name, factor, steps):
    """Powers of two and signs: every product is exact, so every bit must agree."""
    rule = RULES[name]
    h = rule.pack({k: 0.125 for k in ("weight_decay",) if k in rule.hyper})
    clock = rule.clock0(h)
    for _ in range(steps):
        clock, c = rule.tick(h, clock)
    rng = np.random.default_rng(steps)
    g, x = rng.normal(), tuple(abs(rng.normal()) for _ in range(1 + len(rule.slots)))
    folded = (c[0] * factor, *c[1:])
    if rule.measure is not None:
        sums = rule.measure(folded, g, x)
        assert sums == rule.measure(c, factor * g, x)
        c, folded = rule.trust(c, sums, 9), rule.trust(folded, sums, 9)
    assert abs(c[0]) == 1.0
    assert rule.update(folded, g, x) == rule.update(c, factor * g, x)


# ---- bits ----

PASSES = [
    {"grad_scale": 1024.0},
    {"grad_scale": 3.0},
    {"max_norm": 0.5},
    {"max_norm": 1e9},
    {"clip_value": 0.25},
    {"grad_scale": 3.0, "clip_value": 0.25},
    {"grad_scale": 0.5, "max_norm": 2.0},
    {"grad_scale": 0.5, "max_norm": 2.0, "clip_value": 0.05},
]


@every_class
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("passes", PASSES, ids=str)
def test_fused_passes_have_the_bits_of_separate_ones(cls, options, dtype, passes):
    """At most one factor here is no power of two, so one rounding happens in both."""
    ours, theirs = arrays(dtype=dtype), arrays(dtype=dtype)
    fast, slow = cls(ours, lr=0.1, **options), cls(theirs, lr=0.1, **options)
    for grads in gradients(3, dtype):
        before = {name: g.copy() for name, g in grads.items()}
        fast.step(grads, **passes)
        slow.step(separately(grads, **passes))
        for name, g in grads.items():
            np.testing.assert_array_equal(g, before[name])
    assert everything(fast) == everything(slow)


@every_class
@pytest.mark.parametrize("dtype", DTYPES)
def test_unscaling_and_clipping_round_once_instead_of_twice(cls, options, dtype):
    """Two factors fused are one: the gradients differ by an ulp, a step by two of its size."""
    ours, theirs = arrays(dtype=dtype), arrays(dtype=dtype)
    passes = {"grad_scale": 3.0, "max_norm": 0.5}
    grads = gradients(1, dtype)[0]
    cls(ours, lr=0.1, **options).step(grads, **passes)
    cls(theirs, lr=0.1, **options).step(separately(grads, **passes))
    for name in ours:
        atol = np.spacing(np.maximum(abs(ours[name]), dtype(0.1)))
        assert np.all(abs(ours[name] - theirs[name]) <= atol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_coupled_decay_is_added_to_the_exact_product(dtype):
    """``f g + l p`` has one rounding less than ``round(f g) + l p``: half an ulp of ``f g``."""
    ours, theirs = arrays(dtype=dtype), arrays(dtype=dtype)
    options = {"lr": 0.5, "momentum": 0.9, "weight_decay": 0.3}
    grads = gradients(1, dtype)[0]
    SGD(ours, **options).step(grads, grad_scale=3.0)
    SGD(theirs, **options).step(separately(grads, grad_scale=3.0))
    for name in ours:
        atol = np.spacing(np.maximum(abs(ours[name]), abs(grads[name])))
        assert np.all(abs(ours[name] - theirs[name]) <= atol)


@every_maker
@pytest.mark.parametrize("dtype", DTYPES)
def test_clearing_and_averaging_leave_the_step_as_it_is(cls, options, dtype):
    """Bit for bit, but for coupled decay: ``s g + l p`` may be fused at either product."""
    ours, theirs = arrays(dtype=dtype), arrays(dtype=dtype)
    fast, slow = cls(ours, ema=0.875, **options), cls(theirs, **options)
    for grads in gradients(3, dtype):
        slow.step(grads)
        fast.step(grads, zero_grad=True)
        for g in grads.values():
            np.testing.assert_array_equal(g, 0.0)
    h = dict(zip(slow._groups[0].rule.hyper, slow._groups[0].h))
    ulps = 2 * 3 if h["weight_decay"] > 0.0 and not h["decoupled"] else 0
    for a, b in zip(fast._groups[0].segments, slow._groups[0].segments):
        np.testing.assert_array_equal(a.clock, b.clock)
        for mine, other in zip(held(a)[:-1], held(b)):
            assert np.all(abs(mine - other) <= ulps * np.spacing(dtype(8.0)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_average_is_its_formula(dtype):
    """From the parameters before the first step; rounded at most twice (the compiler may fuse)."""
    params = arrays(dtype=dtype)
    opt = AdamW(params, lr=0.1, ema=0.875)
    for name, e in opt.ema.items():
        np.testing.assert_array_equal(e, params[name])
    for grads in gradients(3, dtype):
        before = {name: e.astype(np.float64) for name, e in opt.ema.items()}
        opt.step(grads)
        for name, e in opt.ema.items():
            expected = 0.875 * before[name] + 0.125 * params[name].astype(np.float64)
            size = np.maximum(abs(before[name]), abs(params[name])).astype(dtype)
            assert np.all(abs(e - expected) <= 2 * np.spacing(size))


def test_average_is_torchs():
    """``AveragedModel`` starts at the parameters and is updated after each step."""
    p = np.random.default_rng(1).normal(size=33)
    opt = AdamW(p, lr=0.1, ema=0.9)
    theirs = torch.nn.Linear(33, 1, bias=False).double()
    theirs.weight.data[:] = torch.from_numpy(p)
    averaged = torch.optim.swa_utils.AveragedModel(
        theirs, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    averaged.update_parameters(theirs)  # the first call copies
    for t in range(5):
        opt.step(np.cos(p + t))
        theirs.weight.data[:] = torch.from_numpy(p)
        averaged.update_parameters(theirs)
    expected = averaged.module.weight.detach().numpy().reshape(-1)
    np.testing.assert_allclose(opt.ema, expected, rtol=1e-14)


def held(segment):
    """Return parameter and slots of a segment."""
    return segment.array, *segment.slots.values()


ALL = {"grad_scale": 8.0, "max_norm": 1.0, "clip_value": 0.01, "zero_grad": True}


@pytest.mark.parametrize("name", ONE_OF_A_SHAPE)
@pytest.mark.parametrize("n", [0, 1, 33, 4097, 25_001])
def test_twins_agree_with_everything_on(name, n):
    """Serial and parallel, aligned and one element off: the same bits."""
    rule = fused.clearing(fused.clipped(fused.averaged(RULES[name])))
    h = (*RULES[name].pack(), 0.9, 0.5, 0.1)
    results = []
    for parallel, offset in itertools.product((False, True), (0, 1)):
        rng = np.random.default_rng(n)
        x = [signed(rng, n + 1, np.float32)[offset : n + offset] for _ in range(2)]
        x[0][:], x[1][:] = signed(rng, n, np.float32), signed(rng, n, np.float32)
        p, g = x
        slots = [np.zeros(n + 1, np.float32)[offset : n + offset] for _ in rule.slots[:-2]]
        clock = np.array(rule.clock0(h))
        state = (p, *slots, p.copy(), g)
        for _ in range(2):
            g[:] = signed(rng, n, np.float32)
            step_arrays(rule, h, clock, g, state, parallel=parallel)
        assert not g.any()
        results.append(b"".join(a.tobytes() for a in (clock, *state)))
    assert len(set(results)) == 1


@pytest.mark.parametrize("given", ["dict", "list"])
def test_an_arena_gives_the_bits_of_separate_arrays(given):
    """The norm of an arena is one sum, of separate arrays one a tensor: an ulp, then one rounding.

    Sums of these few integers are exact, so here even the norm has the same bits.
    """
    rng = np.random.default_rng(3)
    separate = {"w": rng.normal(size=(5, 7)), "b": rng.normal(size=3)}
    items = separate if given == "dict" else list(separate.values())
    buffer = flatten(items)
    one, many = AdamW(buffer, ema=0.5), AdamW(items, ema=0.5)
    for _ in range(3):
        grads = {name: rng.integers(-9, 9, p.shape).astype(float) for name, p in separate.items()}
        for key, g in zip(buffer.names, grads.values()):
            buffer.grads[key][...] = g
        many.step(grads if given == "dict" else list(grads.values()), **ALL)
        one.step(**ALL)
        assert not buffer.flat_grad.any()
    for key, name, e in zip(buffer.names, separate, buffer._values(many.ema)):
        np.testing.assert_array_equal(buffer.params[key], separate[name])
        np.testing.assert_array_equal(one.ema[key], e)


def test_groups_are_clipped_by_their_common_norm():
    w, b = np.zeros(2), np.zeros(1)
    opt = SGD([{"params": [w]}, {"params": b, "lr": 0.5}], lr=1.0, ema=0.5)
    opt.step([[np.array([3.0, 0.0])], np.array([4.0])], max_norm=1.0)
    np.testing.assert_allclose([*w, *b], [-0.6, 0.0, -0.4], rtol=1e-6)
    assert opt.grad_norm == 5.0
    assert [len(opt.ema), opt.ema[0][0].shape, opt.ema[1].shape] == [2, (2,), (1,)]


def test_norm_is_that_of_the_unscaled_gradients():
    grads = gradients(1)[0]
    opt = SGD(arrays(), lr=0.1)
    assert opt.grad_norm is None
    opt.step(grads, grad_scale=4.0, max_norm=1.0)
    assert opt.grad_norm == global_norm(grads) / 4.0


# ---- numbers that are not ----

BAD = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("options", [{}, {"max_norm": 1.0}, ALL], ids=str)
@pytest.mark.parametrize("container", [dict, flatten])
def test_a_skipped_step_changes_no_byte(bad, options, container):
    params = container(arrays())
    opt = AdamW(params, nonfinite="skip", ema=0.9)
    grads = gradients(1)[0]
    if container is flatten:
        grads = params.flat_grad
        grads[:] = 1.0
        grads[-1] = bad
    else:
        grads["c"][-1] = bad
    before = everything(opt)
    kept = np.copy(grads if container is flatten else grads["c"])
    opt.step(grads, **options)
    assert everything(opt) == before
    np.testing.assert_array_equal(grads if container is flatten else grads["c"], kept)
    assert (opt.skipped, opt.steps) == (1, 0)


def test_raise_names_the_parameter_and_changes_nothing():
    opt = AdamW(arrays(), nonfinite="raise")
    grads = gradients(1)[0]
    grads["c"][7] = math.nan
    before = everything(opt)
    with pytest.raises(NonFiniteError, match="'c' is NaN at flat index 7"):
        opt.step(grads, **ALL)
    assert everything(opt) == before
    assert grads["c"][0] != 0.0


def test_a_norm_that_overflows_is_not_a_reason_to_skip():
    """Finite float64 gradients whose squares are not: the limit over an infinite norm is zero."""
    p, g = np.ones(3), np.array([1e200, 0.0, -1e200])
    opt = SGD(p, lr=1.0, nonfinite="skip")
    opt.step(g, max_norm=1.0)
    assert (opt.steps, opt.skipped, opt.grad_norm) == (1, 0, math.inf)
    np.testing.assert_array_equal(p, 1.0)
    clip_grad_norm_(g, 1.0)
    np.testing.assert_array_equal(g, 0.0)


@pytest.mark.parametrize("options", [{"max_norm": 1.0}, {"clip_value": 0.5}, {"zero_grad": True}])
@pytest.mark.parametrize("bad", BAD)
def test_propagated_numbers_are_those_of_separate_passes(options, bad):
    ours, theirs = arrays(), arrays()
    fast, slow = Adam(ours), Adam(theirs)
    grads = gradients(1)[0]
    grads["w"][0, 0] = bad
    separate = separately(grads, **{k: v for k, v in options.items() if k != "zero_grad"})
    fast.step(grads, **options)
    slow.step(separate)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


# ---- refusals ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grad_scale": 0.0}, "grad_scale must be a finite number above zero"),
        ({"grad_scale": -2.0}, "got -2.0"),
        ({"grad_scale": math.inf}, "got inf"),
        ({"grad_scale": math.nan}, "got nan"),
        ({"grad_scale": "2"}, "got '2'"),
        ({"grad_scale": True}, "got True"),
        ({"max_norm": -1.0}, "max_norm must be a number, zero or more"),
        ({"max_norm": math.nan}, "got nan"),
        ({"grad_scale": 10**400}, "grad_scale must be"),  # no float
        ({"max_norm": 10**400}, "max_norm must be"),
        ({"clip_value": -0.5}, "clip_value must be"),
        ({"clip_value": [1.0]}, r"got \[1.0\]"),
    ],
)
def test_options_are_checked_before_anything_is_written(options, message):
    opt = SGD(arrays(), lr=0.1)
    before = everything(opt)
    with pytest.raises(HyperparameterError, match=message):
        opt.step(gradients(1)[0], zero_grad=True, **options)
    assert everything(opt) == before


@pytest.mark.parametrize("ema", [-0.1, 1.5, math.nan, "0.9", True])
def test_a_decay_out_of_range_is_refused(ema):
    with pytest.raises(HyperparameterError, match="ema"):
        SGD(np.ones(2), ema=ema)


def test_gradients_that_cannot_be_cleared_are_refused():
    opt = SGD([np.ones(3), np.ones(3)], lr=0.1)
    g = np.ones(3)
    before = everything(opt)
    with pytest.raises(ArrayError, match=r"grads\[1\] shares memory with grads\[0\]"):
        opt.step([g, g], zero_grad=True)
    frozen = np.ones(3)
    frozen.flags.writeable = False
    with pytest.raises(ArrayError, match=r"grads\[1\] is read-only"):
        opt.step([g, frozen], zero_grad=True)
    assert everything(opt) == before
    assert g.all()


# ---- the average as state ----


def test_every_class_takes_ema_and_hands_it_on():
    for cls in vars(fastopt).values():
        is_optimizer = inspect.isclass(cls) and issubclass(cls, Optimizer)
        if is_optimizer and not inspect.isabstract(cls):
            assert cls(np.ones(2), ema=0.5).ema.tolist() == [1.0, 1.0], cls


def test_without_ema_there_is_none():
    opt = SGD(np.ones(2))
    assert opt.ema is None
    assert "ema" not in opt.param_groups[0]


def test_decay_may_change_and_travels_with_the_state():
    p = np.zeros(1)
    opt = SGD(p, lr=1.0, ema=0.5)
    opt.step(np.array([-4.0]))  # p = 4
    assert opt.ema[0] == 2.0
    opt.param_groups[0]["ema"] = 0.75
    opt.step(np.array([0.0]))
    assert opt.ema[0] == 2.5
    other = SGD(np.array([4.0]), ema=0.1)
    other.load_state_dict(opt.state_dict())
    assert (other.ema[0], other.param_groups[0]["ema"]) == (2.5, 0.75)
    twin = pickle.loads(pickle.dumps(opt))
    assert twin.ema[0] == 2.5
    twin.step(np.array([4.0]))
    assert twin.ema[0] == 0.75 * 2.5


def test_momentum_switched_on_later_starts_undamped_with_ema_too():
    p, q = np.ones(1), np.ones(1)
    for opt in (with_ema := SGD(p, lr=0.5, ema=0.5), SGD(q, lr=0.5)):
        opt.step(np.ones(1))
        opt.param_groups[0].update(momentum=0.5, dampening=0.5)
        opt.step(np.ones(1))
    assert p[0] == q[0]
    assert with_ema.ema[0] == 0.375


def test_a_gradient_that_a_schedule_moves_is_read_and_cleared_where_it_is():
    """It once was the memory that it had left."""
    p, g, others = np.ones(3), np.ones(3), []

    def moving(t):
        before = address(g)
        g.resize(100_000, refcheck=False)
        others.extend(np.ones(3) for _ in range(100))  # one of them is where it was
        g.resize(3, refcheck=False)
        assert address(g) != before
        return 1.0

    fastopt.SGD(p, lr=0.5, schedule=moving).step(g, zero_grad=True)
    np.testing.assert_array_equal([p, g], [[0.5] * 3, [0.0] * 3])
    assert all((a == 1.0).all() for a in others)
