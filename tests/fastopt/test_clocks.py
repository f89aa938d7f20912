"""Clocks: what a change of options does to them, what a state may say of them, what they cost."""

from __future__ import annotations

import copy
import math
import pickle
import sys

import numpy as np
import pytest
import torch

import fastopt
import fastopt.torch
from fastopt.errors import StateError
from fastopt.rules import RULES, Real
from fastopt.rules.base import power
from fastopt.rules.clocks import LAST_STEP, new_clock, power_at, resume_clock
from fastopt.torch.adapter import Optimizer as TorchOptimizer
from tests.helpers.cases import PLAIN
from tests.helpers.stepping import step_arrays

NAMES = [
    name
    for name in fastopt.torch.__all__
    if isinstance(cls := getattr(fastopt.torch, name), type) and cls is not TorchOptimizer
]
SHAPES = ((5,), (3, 2), (2,))
REFERENCES = {case.rule_name: case.reference for case in PLAIN}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_every_element_of_a_clock_is_accounted_for(rule):
    pairs = [k + i for k in rule.powers.values() for i in (0, 1)]
    places = sorted([0, *pairs, *rule.accumulates.values()])
    assert places == list(range(len(rule.clock0(rule.pack()))))
    assert set(rule.powers) <= set(rule.hyper)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_clock_that_was_made_is_the_one_that_was_counted(rule):
    betas = {name: 0.5 + 0.1 * k for k, name in enumerate(rule.powers)}
    h = rule.pack(betas)
    clock = new_clock(rule, h)
    for t in range(1, 40):
        clock = np.array(rule.tick(h, tuple(clock))[0])
        numbers = {name: clock[k] for name, k in rule.accumulates.items()}
        made = resume_clock("state", rule, h, float(t), None, numbers)
        left = [k + 1 for k in rule.powers.values()]
        np.testing.assert_array_equal(np.delete(made, left), np.delete(clock, left))
        np.testing.assert_allclose(made[left], clock[left], atol=1e-31)
        np.testing.assert_array_equal(resume_clock("state", rule, h, float(t), clock), clock)


@pytest.mark.parametrize("base", [0.0, 0.1234567, 0.9, 0.999, 1.0 - 2.0**-40])
def test_powers_are_those_of_exact_arithmetic(base):
    from fractions import Fraction

    high, low = 1.0, 0.0
    for t in range(1, 200):
        high, low = power(high, low, base)
        exact = Fraction(base) ** t
        assert power_at(base, float(t))[0] == float(exact) == high
        assert abs(exact - Fraction(high) - Fraction(low)) <= exact / 2**95


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_clock_never_holds_a_subnormal_number(rule):
    """Those are slow, and rounding keeps them for ever, as it did 0.9 ** 10 000."""
    h = rule.pack({name: 0.5 + 0.2 * k for k, name in enumerate(rule.powers)})
    clock = rule.clock0(h)
    for t in range(1, 10_001):
        clock = rule.tick(h, clock)[0]
        assert all(x == 0.0 or abs(x) >= sys.float_info.min for x in clock), t
    products = [*rule.powers.values(), *([1] if rule.name == "nadam" else [])]
    assert not any(clock[k] for k in products)
    made = resume_clock(
        "state", rule, h, 1e4, None, {name: clock[k] for name, k in rule.accumulates.items()}
    )
    np.testing.assert_array_equal(made, clock)


@pytest.mark.parametrize("t", [10**6, 2**31, 10**15, LAST_STEP])
def test_powers_of_any_step_are_made_at_once(t):
    """Counted from 1, 2**31 took a minute."""
    gap = 1.0 / t
    assert power_at(1.0 - gap, float(t))[0] == pytest.approx(
        math.exp(t * math.log1p((1.0 - gap) - 1.0)), rel=1e-12
    )


@pytest.mark.parametrize("name", NAMES)
def test_any_step_is_loaded_and_stepped_from(name):
    """Without a clock, 2**53 steps in: as far from the step after as 10**6 steps in, or nearer."""
    moved = []
    for t in (10**6, 2**24, 2**31 - 1, LAST_STEP):
        p = np.ones(3)
        opt = getattr(fastopt, name)(p)
        opt.step(np.full(3, 0.5))
        saved = opt.state_dict()
        del saved["state"][0]["clock"]
        saved["state"][0]["step"] = t
        opt.load_state_dict(saved)
        opt.param_groups[0]["lr"] *= 2.0
        before = p.copy()
        opt.step(np.full(3, 0.5))
        assert opt.state_dict()["state"][0]["step"] == min(t + 1, LAST_STEP)
        moved.append(np.abs(p - before).max())
    assert np.isfinite(moved).all()
    assert max(moved[1:]) <= moved[0] * (1.0 + 1e-12)


# ---- what a state may say

BAD_STEPS = [-1, 2.5, math.nan, math.inf, LAST_STEP * 2, "5", np.ones(2), None]
BAD = [
    *({"step": step} for step in BAD_STEPS[:-1]),
    {"clock": np.full(4, math.nan)},
    {"clock": np.array([3.0, 0.5, math.nan, 0.0])},
    {"clock": np.array([3.0, -0.5, 0.997, 0.0])},
    {"clock": np.array([3.0, 0.5])},
    {"clock": None, "mu_product": None},
    {"clock": None, "mu_product": math.nan},
    {"clock": None, "mu_product": -0.5},
    {"clock": None, "mu_product": "0.5"},
]


def edited(saved, changes):
    """Return a copy of a state dict with entries of its first tensor replaced; None: removed."""
    saved = copy.deepcopy(saved)
    entry = saved["state"][0]
    for name, value in changes.items():
        entry.pop(name, None)
        if value is not None:
            entry[name] = value
    return saved


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_a_state_that_cannot_be_is_refused(changes):
    p, q = np.ones(3), torch.nn.Parameter(torch.tensor(np.ones(3)))
    for opt, step in (
        (fastopt.NAdam(p), lambda opt: opt.step(np.ones(3))),
        (fastopt.torch.NAdam([q]), lambda opt: opt.step()),
    ):
        q.grad = torch.tensor(np.ones(3))
        for _ in range(3):
            step(opt)
        saved = opt.state_dict()
        before = copy.deepcopy(saved)
        with pytest.raises(StateError, match=r"state\[0\]"):
            opt.load_state_dict(edited(saved, changes))
        assert repr(opt.state_dict()) == repr(before)
    np.testing.assert_array_equal(p, q.detach().numpy())


def test_the_count_of_an_optimizer_is_whole_too():
    opt = fastopt.SGD(np.ones(2))
    for steps in BAD_STEPS[:-1]:
        with pytest.raises(StateError, match="'steps'"):
            opt.load_state_dict({**opt.state_dict(), "steps": steps})


@pytest.mark.parametrize("powers", [(0.5, 0.0), (0.997002999, 1e300), (0.0, 0.997002999)])
def test_powers_that_are_not_those_of_the_step_are_made_anew(powers):
    p, q = np.ones(3), np.ones(3)
    opt, other = fastopt.Adam(p), fastopt.Adam(q)
    for _ in range(3):
        opt.step(np.ones(3))
        other.step(np.ones(3))
    saved = other.state_dict()
    saved["state"][0]["clock"][3:] = powers
    other.load_state_dict(saved)
    opt.step(np.full(3, 0.5))
    other.step(np.full(3, 0.5))
    np.testing.assert_array_equal(p, q)


@pytest.fixture
def in_double():
    """Let torch keep what accumulates in float64, as we do."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def cycled(cls, into=None, steps=40):
    """Under OneCycleLR, which cycles betas, too; in the middle go on in ``into``."""
    rng = np.random.default_rng(0)
    p = torch.nn.Parameter(torch.ones(20))
    opt = cls([p])
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        opt, 0.05, total_steps=steps + 1, cycle_momentum="betas" in opt.defaults
    )
    for t in range(steps):
        p.grad = torch.tensor(rng.normal(size=20))
        if t == steps // 2 and into is not None:
            saved = copy.deepcopy(opt.state_dict())
            scheduler.optimizer = opt = into([p])
            opt.load_state_dict(saved)
        opt.step()
        scheduler.step()
    return p.detach().numpy()


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("name", ["Adam", "NAdam", "RAdam", "Adamax", "ASGD"])
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
def test_cycled_betas_act_as_in_torch(name):
    """Half way, the state of the one goes on in the other."""
    ours, theirs = getattr(fastopt.torch, name), getattr(torch.optim, name)
    expected = cycled(theirs)
    for path in ((ours,), (theirs, ours), (ours, ours)):
        np.testing.assert_allclose(cycled(*path), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("name", ["Adam", "NAdam", "ASGD"])
def test_a_step_that_is_written_counts_and_what_accumulated_stays(name):
    params = []
    for module in (fastopt.torch, torch.optim):
        p = torch.nn.Parameter(torch.ones(5))
        opt = getattr(module, name)([p], lr=0.1)
        for t in range(6):
            p.grad = torch.full((5,), 0.5 + t)
            if t == 3:
                opt.state[p]["step"].fill_(1000.0)
            opt.step()
        params.append(p.detach().numpy())
    np.testing.assert_allclose(*params, rtol=1e-13)


@pytest.mark.parametrize("step", [-1.0, 2.5, math.nan, math.inf])
@pytest.mark.parametrize("name", ["Adam", "NAdam", "Adagrad"])
def test_a_step_that_is_none_is_refused_when_it_is_written(name, step):
    """It was tried again for ever."""
    p = torch.nn.Parameter(torch.ones(3))
    opt = getattr(fastopt.torch, name)([p])
    for _ in range(2):
        p.grad = torch.ones(3)
        opt.step()
    before = p.detach().clone()
    opt.state[p]["step"].fill_(step)
    with pytest.raises(StateError, match="'step' must be a whole number"):
        opt.step()
    assert torch.equal(p, before)
    opt.state[p]["step"].fill_(2.0)
    opt.step()
    assert not torch.equal(p, before)


def test_an_embedded_step_goes_on_with_other_betas():
    """As the class does."""
    p, q = np.ones(3), np.ones(3)
    opt = fastopt.Adam(p)
    h = fastopt.hyper("adam")
    clock, slots = fastopt.clock("adam", h), fastopt.slots("adam", q)
    for t in range(6):
        if t == 3:
            opt.param_groups[0]["betas"] = (0.5, 0.9)
            h = fastopt.hyper("adam", beta1=0.5, beta2=0.9)
            clock = fastopt.clock("adam", h, clock)
        g = np.full(3, 1.0 + t)
        opt.step(g)
        step_arrays(RULES["adam"], h, clock, g, (q, *slots))
    np.testing.assert_array_equal(p, q)


# ---- what changes on the way: all classes, against their papers


class Papers:
    """One tensor, stepped by the references of the papers, with options that change."""

    def __init__(self, p):
        self.p, self.t, self.history, self.slots, self.filled = p.copy(), 0, [], {}, 0

    def step(self, rule, values, g):
        self.t += 1
        h = dict(zip(rule.hyper, rule.pack(values)))
        h |= {name: value for name, value in values.items() if isinstance(value, str)}
        for name in rule.slots:
            start = rule.start.get(name)
            if name not in self.slots:
                first = self.p if start == "p" else np.full_like(self.p, h.get(start, 0.0))
                self.slots[name] = first.copy()
                self.filled = self.t
        # torch's momentum fills its buffer when it is first used, whatever the step
        t = self.t - self.filled + 1 if rule.name == "momentum" else self.t
        if rule.vectors is not None and self.p.ndim < 2:  # MARS is AdamW then
            h |= {"gamma": 0.0, "clip": False}
        reference = REFERENCES[rule.name.partition("+")[0]]
        slots = [self.slots[name] for name in rule.slots]
        self.p, *slots = reference({**h, "before": self.history}, t, self.p, g, *slots)
        self.slots |= dict(zip(rule.slots, slots))
        self.history.append(h)


def other_value(rng, name, value, kinds):
    """Draw an allowed value of an option, of which ``kinds`` are the rule's hyperparameters."""
    if isinstance(value, tuple):
        return tuple(other_value(rng, name, v, [kind]) for v, kind in zip(value, kinds))
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return str(rng.choice(kinds[0].names))
    low, high = kinds[0].low, kinds[0].high
    if high <= 1.0:
        return float(rng.uniform(0.05, 0.95))
    if name in ("warmup_steps", "alpha_warmup", "beta3_warmup", "t0"):
        return float(rng.integers(0, 12))
    return max(low, float((value or 0.05) * rng.uniform(0.4, 2.0)))


def kinds_of(rule, name, value):
    parts = {
        "betas": ("beta1", "beta2", "beta3"),
        "etas": ("etaminus", "etaplus"),
        "step_sizes": ("step_size_min", "step_size_max"),
    }.get(name, (name.replace("decoupled_weight_decay", "decoupled"),))
    return [rule.hyper[part] for part in parts if part in rule.hyper] or [Real(0.5, high=1.0)]


def change_an_option(rng, rule, options):
    names = [k for k in options if k not in ("params", "train_mode", "foreach", "fused")]
    names = [k for k in names if k not in ("capturable", "differentiable")]
    name = str(rng.choice(names))
    value = other_value(rng, name, options[name], kinds_of(rule, name, options[name]))
    if name == "step_sizes":
        value = tuple(sorted(value))
    if name == "nesterov" and (options["dampening"] or not options["momentum"]):
        return
    if name in ("momentum", "dampening") and options.get("nesterov"):
        return
    options[name] = value


class Trio:
    """The NumPy class, the torch class and the paper, over the same numbers."""

    def __init__(self, name, rng):
        values = [rng.normal(size=shape) for shape in SHAPES]
        self.rng, self.name = rng, name
        self.arrays = [v.copy() for v in values]
        self.tensors = [torch.nn.Parameter(torch.from_numpy(v.copy())) for v in values]
        self.ours = getattr(fastopt, name)(self.arrays)
        self.torchs = getattr(fastopt.torch, name)(self.tensors)
        self.papers = [Papers(v) for v in values]
        # Options that torch's class lacks stay as they are.
        self.shared = [k for k in self.ours.param_groups[0] if k in self.torchs.param_groups[0]]

    def change(self):
        options, group = self.ours.param_groups[0], self.ours._groups[0]
        change_an_option(self.rng, group.rule, view := {k: options[k] for k in self.shared})
        for name in set(view) - {"params"}:
            options[name] = self.torchs.param_groups[0][name] = view[name]

    def step(self):
        rule, values = self.ours._recipe("here", self.ours.param_groups[0])
        absent = int(self.rng.integers(0, 6))
        grads = [self.rng.normal(size=shape) for shape in SHAPES]
        for k, (p, g, paper) in enumerate(zip(self.tensors, grads, self.papers)):
            p.grad = None if k == absent else torch.from_numpy(g)
            if k != absent:
                paper.step(rule, values, g)
        self.ours.step([None if k == absent else g for k, g in enumerate(grads)])
        self.torchs.step()

    def move(self):
        """Go on in new optimizers, by state dicts or pickles."""
        if self.rng.random() < 0.5:
            self.ours, self.arrays = pickle.loads(pickle.dumps((self.ours, self.arrays)))
            self.arrays = [piece.array for _, piece in self.ours._groups[0].pieces]
            self.torchs, self.tensors = copy.deepcopy((self.torchs, self.tensors))
            return
        fresh = getattr(fastopt, self.name)(self.arrays, lr=0.5)
        fresh.load_state_dict(self.ours.state_dict())
        self.ours = fresh
        fresh = getattr(fastopt.torch, self.name)(self.tensors, lr=0.5)
        fresh.load_state_dict(copy.deepcopy(self.torchs.state_dict()))
        self.torchs = fresh

    def check(self, steps):
        for a, p, paper in zip(self.arrays, self.tensors, self.papers):
            np.testing.assert_array_equal(a, p.detach().numpy())
            # 2 ulp a step, of terms up to 32 times as large as what is left of them
            rtol = 64 * steps * np.spacing(1.0)
            np.testing.assert_allclose(a, paper.p, rtol=rtol, atol=4.0 * rtol)


def run_of_changes(name, seed, steps=14):
    rng = np.random.default_rng(seed)
    trio = Trio(name, rng)
    for t in range(1, steps + 1):
        for _ in range(rng.integers(0, 3)):
            trio.change()
        if t > 1 and rng.random() < 0.2:
            trio.move()
        trio.step()
        trio.check(t)


@pytest.mark.parametrize("name", NAMES)
def test_options_that_change_act_as_in_the_paper(name):
    """Of every class, NumPy's and torch's, any option at any moment; states move on the way."""
    for seed in range(3):
        run_of_changes(name, seed)


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_options_that_change_act_as_in_the_paper_at_length(name):
    for seed in range(3, 300):
        run_of_changes(name, seed, steps=20)
