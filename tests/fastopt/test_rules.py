r"""Every rule and flag against its paper, evaluated in higher precision, and against torch.

Where 2 ulp hold, and where they cannot. The unit is the last place of the largest of \|p\| before,
\|p\| after and \|update\|. A step agrees to 2 ulp wherever the parameter is at least four times as
large as the terms of its update. Where it is smaller, the update's own roundings show
(coefficients rounded to the dtype, two moments, a root and a quotient: up to 5 ulp of the update).
Where the terms of the update cancel (``m`` against ``g``, or ``g`` against the decay), an ulp of a
term is many ulps of what is left: no algorithm in the same precision avoids this, and torch's is as
far off as ours. Those elements are measured in ulps of the terms
(:func:`tests.helpers.reference.terms`).
"""

from __future__ import annotations

import functools
import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

from fastopt.machine.many import single
from fastopt.rules import RULES
from tests.helpers.cases import CASES, EDGES, ELEMENTWISE, PLAIN, State, fresh, signed
from tests.helpers.reference import owed, terms, ulps
from tests.helpers.stepping import step_arrays

DTYPES = [np.float32, np.float64]
WIDE = {np.float32: np.float64, np.float64: np.longdouble}
MANY = 4_000  # elements
EARLY, LATE = (1, 2, 3, 4, 5, 6, 7), (998, 999, 1000, 1001)
FEW = (1, 2, 1000)  # steps of large arrays

HEAVY = 2  # ulp, where |p| >= 4 x the terms of its update
# Coefficients, slots, products and the last difference each round once; by the number of slots.
LIGHT = {0: 2, 1: 3, 2: 5, 3: 5}


def step_kernel(case, state, g):
    step_arrays(case.rule, state.h, state.clock, g, state.x)


def stepping(case, state):
    """Return a gradient to write to, and what steps by it: making that takes longer than a step."""
    g = np.empty_like(state.p)
    launch = single(case.rule, np.array([state.h], np.float64), state.clock[None], g, state.x)
    return g, launch.run


@functools.lru_cache(1)
def clock_after(rule, h, steps):
    clock = rule.clock0(h)
    for _ in range(steps):
        clock, _ = rule.tick(h, clock)
    return np.array(clock)


def joined(states):
    x = tuple(map(np.concatenate, zip(*(state.x for state in states))))
    return State(states[0].h, states[0].clock.copy(), x[0], x[1:])


def single_steps(case, sizes, dtype):
    """Yield ``t, state before, gradient, state after`` of arrays of these sizes, joined.

    Each array is stepped alone, from the kernel's own last state.
    """
    rng = np.random.default_rng(sizes[0] + 1)
    states = [fresh(case, n, dtype, seed=n) for n in sizes]
    gradients, steps = zip(*(stepping(case, state) for state in states))
    late = clock_after(case.rule, case.packed, LATE[0] - 1)
    for t in EARLY + LATE:
        for state in states if t == LATE[0] else ():
            state.clock[:] = late
        before = joined(states)
        for g, step in zip(gradients, steps):
            g[:] = signed(rng, g.size, dtype)
            assert step() is None
        yield t, before, np.concatenate(gradients), joined(states)


def step_torch(case, t, state, g):
    """Return ``[p, *slots]`` after one step of torch's twin; None for a slot it does not keep."""
    p = torch.from_numpy(state.p.copy()).requires_grad_()
    p.grad = torch.from_numpy(g.copy())
    twin = case.twin([p], case.h, foreach=False)
    if t > 1 and case.h.get("momentum", 1):
        slots = {k: torch.from_numpy(v.copy()) for k, v in zip(case.rule.slots, state.slots)}
        clock = {k: torch.tensor(state.clock[i]) for k, i in case.rule.accumulates.items()}
        twin.state[p] = {"step": torch.tensor(float(t - 1)), **clock, **slots}
    twin.step()
    kept = (twin.state[p].get(name) for name in case.rule.slots)
    return [p.detach().numpy(), *(None if slot is None else slot.numpy() for slot in kept)]


class Yardstick:
    """One step in higher precision, and the units in which others may differ from it."""

    def __init__(self, case, t, before, g):
        wide = WIDE[g.dtype.type]
        p, *slots = (a.astype(wide) for a in before.x)
        inputs = [p, g.astype(wide), *slots]

        def step(p, g, *slots):
            return case.reference(case.h, t, p, g, *slots)

        # A decay added to a gradient that is then squared rounds three times more: 3.13 ulp seen.
        coupled = case.h.get("weight_decay") and not case.h.get("decoupled", True)
        self.slot = case.slot + bool(coupled)
        self.exact = step(*inputs)
        rows = owed(step, inputs, self.exact)
        self.terms = terms(rows)
        self.size = np.max([np.abs(p), np.abs(self.exact[0]), np.abs(self.exact[0] - p)], axis=0)
        update = terms(rows[1:])[0]  # what does not come from p itself
        self.heavy = 4 * np.maximum(update, np.abs(self.exact[0] - p)) <= np.abs(p)

    def check(self, actual, expected, where, light, sides=1):
        """Assert both statements at the head of this module.

        Where ``expected`` rounds too, in an order of its own, slots may be twice as far apart.
        """
        expected = [None if a is None else a.astype(self.size.dtype) for a in expected]
        off = ulps(actual[0], expected[0], self.size)
        assert off[self.heavy].max(initial=0) <= HEAVY, where
        off = ulps(actual[0], expected[0], np.maximum(self.size, self.terms[0]))
        assert off.max(initial=0) <= light, where
        for a, b, size in zip(actual[1:], expected[1:], self.terms[1:]):
            if b is not None:
                off = ulps(a, b, np.maximum(size, np.abs(b)))
                assert off.max(initial=0) <= sides * self.slot, where


def check_steps(case, dtype, sizes, steps=EARLY + LATE):
    """Check these steps of arrays of these sizes against the paper and, where it has it, torch."""
    light = case.light or LIGHT.get(len(case.rule.slots), 5)
    for t, before, g, after in single_steps(case, sizes, dtype):
        if t not in steps:
            continue
        yardstick, where = Yardstick(case, t, before, g), f"n={sizes} t={t}"
        yardstick.check(after.x, yardstick.exact, where, light)
        # The strict part is not empty; schedule-free's average jumps in its first steps.
        assert g.size < 1000 or t < LATE[0] or yardstick.heavy.mean() > 0.1, where
        if case.twin:  # rounds as well, in its own order: one ulp more
            theirs = step_torch(case, t, before, g)
            yardstick.check(after.x, theirs, where, light + 1, sides=2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_step_is_the_papers_and_torchs(case, dtype):
    *sizes, huge = EDGES
    parts = [[n] for n in sizes]
    if case.rule.measure is None:  # arrays know nothing of each other: compared in one go
        parts = [list(part) for _, part in itertools.groupby(sizes, key=MANY.__le__)]
    for part in parts:
        # Of large arrays a few steps, of the largest without flags: what they add are sizes.
        check_steps(case, dtype, part, *([FEW] if part[0] >= MANY else []))
    if not case.hyper:
        check_steps(case, dtype, [huge], FEW[-1:])


@pytest.mark.soak
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_every_step_of_the_largest_array_is_the_papers_and_torchs(case, dtype):
    check_steps(case, dtype, EDGES[-1:])


def drift(p, exact, size):
    return np.sqrt(np.mean(ulps(p, exact, size) ** 2))


# With flags in float32 by default: the machine code is the same, a wide step of float64 four times
# as dear.
DRIFTS = [
    pytest.param(case, dtype, id=f"{case}-{dtype.__name__}", marks=[pytest.mark.soak] * soaked)
    for case, dtype in itertools.product(CASES, DTYPES)
    for soaked in [bool(case.hyper) and dtype is np.float64]
]


@pytest.mark.parametrize(("case", "dtype"), DRIFTS)
def test_a_thousand_steps_drift_no_further_than_torchs(case, dtype):
    """Root mean square distance from a run in higher precision; NumPy's where torch has no twin.

    5 % above: the ratio of two such means over 2 048 elements has a standard error of 2.2 %.
    """
    n = 2048
    rng, state = np.random.default_rng(1), fresh(case, n, dtype)
    exact = [a.astype(WIDE[dtype]) for a in state.x]
    narrow, size = state.copy().x, np.abs(exact[0])
    peer = torch.from_numpy(state.p.copy()).requires_grad_()
    twin = case.twin and case.twin([peer], case.h, foreach=False)
    gradients = signed(rng, 100 * n, dtype)
    g, step = stepping(case, state)
    peer.grad = torch.from_numpy(g)
    for t in range(1, 1001):
        # Windows at random places: consecutive ones would make neighbours' errors depend.
        g[:] = gradients[(start := rng.integers(99 * n)) : start + n]
        assert step() is None
        exact = case.reference(case.h, t, exact[0], g.astype(WIDE[dtype]), *exact[1:])
        size = np.maximum(size, np.abs(exact[0]))
        if twin:
            twin.step()
        else:
            narrow = case.reference(case.h, t, narrow[0], g, *narrow[1:])
    theirs = drift(peer.detach().numpy() if twin else narrow[0], exact[0], size)
    assert drift(state.p, exact[0], size) <= 1.05 * theirs


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 0.99999])
def test_clock_of_adam_holds_the_powers_of_beta(beta):
    """Correctly rounded up to step 2 000; far below the smallest normal number just small."""
    case = next(case for case in PLAIN if case.rule_name == "adam")
    h = case.rule.pack({"beta1": beta, "beta2": beta})
    clock, exact = case.rule.clock0(h), Fraction(1)
    for t in range(1, 20_001):
        clock, _ = case.rule.tick(h, clock)
        if t <= 2_000:
            exact *= Fraction(beta)
            if exact >= Fraction(2) ** -900 or not exact:
                assert (clock[1], clock[3]) == (float(exact), float(exact)), t
    assert clock[0] == 20_000
    assert clock[1] == pytest.approx(beta**20_000, rel=1e-12, abs=1e-260)


BAD = {
    "nan": np.nan,
    "inf": np.inf,
    "minus inf": -np.inf,
    "huge": 1e38,
    "tiny": 1e-42,
    "zero": -0.0,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
@pytest.mark.parametrize("case", ELEMENTWISE, ids=str)
def test_one_element_touches_only_itself(case, value, dtype):
    """Whatever stands at i (in a SIMD body, in its tail), all others keep their bits."""
    n = 37
    for i, where in itertools.product((0, 17, n - 1), ("p", "g")):
        rng = np.random.default_rng(2)
        clean, state, others = fresh(case, n, dtype), fresh(case, n, dtype), np.arange(n) != i
        if where == "p":
            state.p[i] = value
        for _ in range(3):
            g = signed(rng, n, dtype)
            step_kernel(case, clean, g)
            if where == "g":
                g[i] = value
            step_kernel(case, state, g)
        for a, b in zip(state.x, clean.x):
            assert a[others].tobytes() == b[others].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
@pytest.mark.parametrize("case", [case for case in PLAIN if case.twin], ids=str)
def test_special_gradients_do_what_they_do_in_torch(case, value, dtype):
    """One whose square overflows stops p for good; one that is not finite loses it for good.

    torch may leave such a p infinite; here it is NaN two steps later, since a decay that is not
    asked for is a coefficient of zero, and zero times infinity is NaN. Rprop asks only for the
    sign, which for torch is zero if the gradient is NaN: there the parameter never learns of it.
    A slot holds zero instead of a subnormal number, which is done to torch's as well: the previous
    gradient of Rprop decides the next step.
    """
    if case.rule_name == "rprop" and np.isnan(value):
        value = 0.0
    state, n = fresh(case, 37, dtype), 37
    p = torch.from_numpy(state.p.copy()).requires_grad_()
    twin, rng = case.twin([p], case.h, foreach=False), np.random.default_rng(3)
    for t in range(6):
        g = signed(rng, n, dtype)
        if t == 2:
            g[::5] = value
        step_kernel(case, state, g)
        p.grad = torch.from_numpy(g)
        twin.step()
        for slot in map(twin.state[p].get, case.rule.slots):
            slot[slot.abs() < torch.finfo(slot.dtype).tiny] = 0.0
    for actual, name in zip(state.x, ("", *case.rule.slots)):
        expected = (twin.state[p][name] if name else p.detach()).numpy()
        finite = np.isfinite(expected)
        np.testing.assert_array_equal(np.isfinite(actual), finite)
        # Six steps, each within 5 ulp of terms that cancel by no more than a few hundred.
        close = 6 * 1000 * np.finfo(dtype).eps
        np.testing.assert_allclose(actual[finite], expected[finite], rtol=close, atol=close)


@pytest.mark.parametrize("name", ["amsgrad", "amsgradw"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_amsgrad_never_forgets_a_nan(name, dtype):
    """torch's fused kernel does, in the scalar tail (``std::max`` depends on the order)."""
    case = next(case for case in PLAIN if case.rule_name == name)
    state, n = fresh(case, 37, dtype), 37
    g = np.ones(n, dtype)
    g[[0, 17, n - 1]] = np.nan
    step_kernel(case, state, g)
    step_kernel(case, state, np.ones(n, dtype))
    for array in state.x:
        np.testing.assert_array_equal(np.flatnonzero(np.isnan(array)), [0, 17, n - 1])


# ASGD decays by default, Yogi's first moment starts above zero, schedule-free's z is pulled at.
RESTLESS = ("asgd", "yogi", "schedule_free_sgd", "schedule_free_adamw")
STILL = [
    case for case in PLAIN if not case.h.get("weight_decay") and case.rule_name not in RESTLESS
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", STILL, ids=str)
def test_a_zero_gradient_leaves_a_fresh_parameter_alone(case, dtype):
    """Bit for bit, subnormal numbers included; only the sign of a zero parameter is not kept."""
    smallest = np.finfo(dtype).smallest_subnormal
    state = fresh(case, 37, dtype)
    state.p[:4] = [smallest, -3 * smallest, 0.0, -0.0]
    before = state.p.copy()
    for zero in (0.0, -0.0):
        step_kernel(case, state, np.full(37, zero, dtype))
    np.testing.assert_array_equal(state.p, before)
    assert state.p[0] == smallest


@pytest.mark.parametrize("dtype", DTYPES)
def test_moments_that_die_away_become_zero(dtype):
    """The last normal number halves to zero; what is normal, infinite or NaN stays."""
    case = next(case for case in PLAIN if case.rule_name == "momentum")
    normal = np.finfo(dtype).smallest_normal
    h = case.rule.pack({"lr": 0.0, "momentum": 0.5})
    given = np.array([normal, -normal, 2 * normal, -4 * normal, np.inf, np.nan, normal / 8], dtype)
    expected = np.array([0, 0, normal, -2 * normal, np.inf, np.nan, 0], dtype)
    for n in (7, 70):
        slot = np.tile(given, n // 7)
        x = np.ones(n, dtype), slot
        step_arrays(case.rule, h, np.ones_like(case.rule.clock0(h)), np.zeros(n, dtype), x)
        np.testing.assert_array_equal(slot, np.tile(expected, n // 7))


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_parameters_are_not_flushed(dtype):
    case = next(case for case in PLAIN if case.rule_name == "sgd")
    smallest = np.finfo(dtype).smallest_subnormal
    p, g = np.full(37, 1000 * smallest), np.full(37, 32 * smallest)
    step_arrays(case.rule, case.rule.pack({"lr": 0.5}), np.zeros(1), g, (p,))
    np.testing.assert_array_equal(p, 984 * smallest)


@pytest.mark.parametrize("dtype", DTYPES)
def test_without_coupled_decay_the_gradient_does_not_see_the_parameter(dtype):
    """Zero times an infinite parameter is NaN, which would stay in the moments for good."""
    rule = RULES["adam"]
    finite, infinite = ((np.full(37, p, dtype), *np.zeros((2, 37), dtype)) for p in (1.0, np.inf))
    for x in finite, infinite:
        step_arrays(rule, rule.pack(), np.array(rule.clock0(rule.pack())), np.ones(37, dtype), x)
    for expected, actual in zip(finite[1:], infinite[1:]):
        assert expected.all()
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rprop_does_not_hide_a_nan(dtype):
    case = next(case for case in PLAIN if case.rule_name == "rprop")
    state, g = fresh(case, 37, dtype), np.ones(37, dtype)
    g[[0, 17, 36]] = np.nan
    for _ in range(2):
        step_kernel(case, state, g)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(state.p)), [0, 17, 36])
