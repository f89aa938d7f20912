"""Every rule as what it is, plain Python on one element after the other, against its paper.

The formulas alone, without a kernel around them: no compiler, so all cases take half a second, and
``python -m tests.mutation`` asks them of each change of a formula.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from fastopt.rules import RULES, recipes
from fastopt.rules.base import initial_value
from fastopt.rules.mars import MARS_OF_MATRICES
from fastopt.rules.parts import root_mean
from fastopt.rules.schedule_free import averaged
from tests.helpers.cases import CASES, PLAIN, signed
from tests.helpers.reference import owed, terms

N, STEPS = 5, 7
CLOSE = 1e-12  # of the terms: some 4 000 ulp of float64, a mutated formula is off by 1e-6 and more


def stepped(rule, h, clock, g, x):
    """Return the clock and the arrays ``x`` after a step in plain Python."""
    clock, c = rule.tick(h, clock)
    elements = [tuple(float(a[i]) for a in x) for i in range(g.size)]
    if rule.measure is not None:
        pairs = [rule.measure(c, float(g[i]), e) for i, e in enumerate(elements)]
        c = rule.trust(c, tuple(map(sum, zip(*pairs))), g.size)
    after = [rule.update(c, float(g[i]), e) for i, e in enumerate(elements)]
    return clock, [np.array(column) for column in zip(*after)]


DECAYS = "beta1", "beta2", "beta3", "rho"


def with_decays(case, decay):
    """The case with all its decays so; below a half averages use their other weight."""
    return replace(case, hyper={name: decay for name in DECAYS if name in case.rule.hyper})


LOW = [with_decays(case, 0.25) for case in PLAIN if {*DECAYS} & {*case.rule.hyper}]


@pytest.mark.parametrize("case", CASES + LOW, ids=str)
def test_a_formula_is_its_papers(case):
    rng, h, rule = np.random.default_rng(7), case.packed, case.rule
    p = signed(rng, N, np.float64)
    x = [p, *(np.array([initial_value(source, h, e) for e in p]) for source in rule.starts[1:])]
    clock = rule.clock0(h)
    for t in range(1, STEPS + 1):
        g = signed(rng, N, np.float64)
        g[0] *= t != 3  # nothing may divide by a gradient
        wide = [a.astype(np.longdouble) for a in (x[0], g, *x[1:])]

        def step(p, g, *slots, t=t):
            return case.reference(case.h, t, p, g, *slots)

        exact = step(*wide)
        sizes = terms(owed(step, wide, exact))
        clock, x = stepped(rule, h, clock, g, x)
        assert clock[0] == t
        for a, b, size in zip(x, exact, sizes):
            assert np.all(np.abs(a - b) <= CLOSE * np.maximum(size, np.abs(b))), t
    for name, k in rule.powers.items():
        assert clock[k] == pytest.approx(case.h[name] ** STEPS, rel=1e-15)


# As in torch where it has the optimizer, as in the paper or its authors' program elsewhere. Ranges
# stand here unless they are those of a number from zero, or of a switch.
DEFAULTS = """
sgd: lr=0.001, weight_decay=0.0, decoupled=False, maximize=False
momentum: lr=0.001, momentum=0.9 in [0.0, 1.0], dampening=0.0 in [0.0, 1.0], nesterov=False,
    form=heavy_ball in {'heavy_ball', 'ema', 'velocity'}, weight_decay=0.0, decoupled=False,
    maximize=False
nesterov: lr=0.001, momentum=0.9 in [0.0, 1.0], dampening=0.0 in [0.0, 1.0], nesterov=True,
    form=heavy_ball in {'heavy_ball', 'ema', 'velocity'}, weight_decay=0.0, decoupled=False,
    maximize=False
adam: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-08, weight_decay=0.0,
    decoupled=False, maximize=False
adamw: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-08,
    weight_decay=0.01, decoupled=True, maximize=False
amsgrad: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-08,
    weight_decay=0.0, decoupled=False, maximize=False
amsgradw: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-08,
    weight_decay=0.01, decoupled=True, maximize=False
nadam: lr=0.002, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-08,
    momentum_decay=0.004, weight_decay=0.0, decoupled=False, maximize=False
radam: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-08,
    weight_decay=0.0, decoupled=False, maximize=False
adamax: lr=0.002, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-08,
    weight_decay=0.0, decoupled=False, maximize=False
adagrad: lr=0.01, lr_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, weight_decay=0.0,
    decoupled=False, maximize=False
rmsprop: lr=0.01, alpha=0.99 in [0.0, 1.0], eps=1e-08, weight_decay=0.0, decoupled=False,
    maximize=False
rmsprop_momentum: lr=0.01, alpha=0.99 in [0.0, 1.0], eps=1e-08, weight_decay=0.0,
    decoupled=False, maximize=False, momentum=0.9 in [0.0, 1.0]
rmsprop_centered: lr=0.01, alpha=0.99 in [0.0, 1.0], eps=1e-08, weight_decay=0.0,
    decoupled=False, maximize=False
rmsprop_centered_momentum: lr=0.01, alpha=0.99 in [0.0, 1.0], eps=1e-08, weight_decay=0.0,
    decoupled=False, maximize=False, momentum=0.9 in [0.0, 1.0]
adadelta: lr=1.0, rho=0.9 in [0.0, 1.0], eps=1e-06, weight_decay=0.0, decoupled=False,
    maximize=False
asgd: lr=0.01, lambd=0.0001, alpha=0.75, t0=1000000.0, weight_decay=0.0, decoupled=False,
    maximize=False
rprop: lr=0.01, etaminus=0.5 in [0.0, 1.0), etaplus=1.2 in [1.0, inf), step_size_min=1e-06,
    step_size_max=50.0, maximize=False
lion: lr=0.0001, beta1=0.9 in [0.0, 1.0), beta2=0.99 in [0.0, 1.0), weight_decay=0.0,
    decoupled=True, maximize=False
signum: lr=0.0001, momentum=0.9 in [0.0, 1.0), weight_decay=0.0, decoupled=False, maximize=False
ademamix: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), beta3=0.9999 in [0.0,
    1.0), alpha=2.0, alpha_warmup=0.0, beta3_warmup=0.0, eps=1e-08, weight_decay=0.0,
    decoupled=True, maximize=False
adopt: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.9999 in [0.0, 1.0), eps=1e-06, clip=True,
    clip_exp=0.25, weight_decay=0.0, decoupled=False, maximize=False
adan: lr=0.001, beta1=0.98 in [0.0, 1.0), beta2=0.92 in [0.0, 1.0), beta3=0.99 in [0.0, 1.0),
    eps=1e-08, weight_decay=0.0, no_prox=False, maximize=False
laprop: lr=0.0004, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-15,
    weight_decay=0.0, decoupled=True, maximize=False
adabelief: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-16,
    weight_decay=0.0, decoupled=True, maximize=False
yogi: lr=0.01, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=0.001, weight_decay=0.0,
    decoupled=False, maximize=False, initial_accumulator_value=1e-06
mars_adamw: lr=0.003, beta1=0.95 in [0.0, 1.0), beta2=0.99 in [0.0, 1.0), eps=1e-08,
    gamma=0.025, clip=True, plain_start=False, weight_decay=0.0, decoupled=True, maximize=False
cautious_adamw: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-08,
    weight_decay=0.01, decoupled=True, maximize=False
cautious_lion: lr=0.0001, beta1=0.9 in [0.0, 1.0), beta2=0.99 in [0.0, 1.0), weight_decay=0.0,
    decoupled=True, maximize=False
lamb: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-06,
    weight_decay=0.01, maximize=False
lars: lr=1.0, momentum=0.9 in [0.0, 1.0], trust_coefficient=0.001, eps=0.0, weight_decay=0.0005,
    maximize=False
stable_adamw: lr=0.001, beta1=0.9 in [0.0, 1.0), beta2=0.99 in [0.0, 1.0), eps=1e-06,
    weight_decay=0.01, maximize=False
schedule_free_sgd: lr=1.0, momentum=0.9 in [0.0, 1.0), warmup_steps=0.0, r=0.0,
    weight_lr_power=2.0, weight_decay=0.0, maximize=False
schedule_free_adamw: lr=0.0025, beta1=0.9 in [0.0, 1.0), beta2=0.999 in [0.0, 1.0), eps=1e-08,
    warmup_steps=0.0, r=0.0, weight_lr_power=2.0, weight_decay=0.0, maximize=False
"""


def test_defaults_and_ranges_are_those_of_torch_and_the_papers():
    rows = []
    for rule in RULES.values():
        told = {n: f"{n}={kind.default} in {kind.range}" for n, kind in rule.hyper.items()}
        usual = (" in [0.0, inf)", " in {True, False}")
        said = [next((t.removesuffix(u) for u in usual if t.endswith(u)), t) for t in told.values()]
        rows.append(f"{rule.name}: {', '.join(said)}")
        assert rule.pack() == rule.pack({n: kind.default for n, kind in rule.hyper.items()})
    assert "\n".join(rows).split() == DEFAULTS.split()


@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_averages_use_the_smaller_weight_only(case):
    """With coefficients rounded to float32, 0.999 and 0.001 no longer add up to one.

    From zero, the smaller weight alone is off by 6e-8, one less the larger by 1.3e-5.
    """
    rule = case.rule
    h = with_decays(case, 0.999).packed
    _, c = rule.tick(h, rule.clock0(h))
    x = (1.0, *(initial_value(source, h, 1.0) for source in rule.starts[1:]))
    rounded = rule.update(tuple(float(np.float32(number)) for number in c), 0.75, x)
    for name, a, b in zip(rule.slots, rounded[1:], rule.update(c, 0.75, x)[1:]):
        assert a == pytest.approx(b, rel=1e-6), name


@pytest.mark.parametrize("none", ["beta1", "beta3"])
def test_without_an_average_the_slow_one_of_ademamix_does_not_warm_up(none):
    """Its half-life grows from that of the first, and the logarithm of zero is none."""
    rule = RULES["ademamix"]
    h = rule.pack({"beta3_warmup": 4.0, none: 0.0})
    at_once = rule.pack({none: 0.0})
    assert rule.tick(h, rule.clock0(h)) == rule.tick(at_once, rule.clock0(at_once))


def test_a_rule_is_a_value_whose_vectors_may_be_treated_otherwise():
    adam, matrices = RULES["adam"], MARS_OF_MATRICES
    assert adam.rows(adam.pack()) == (adam.pack(), adam.pack())
    h = matrices.pack()
    assert matrices.rows(h) == (h, matrices.vectors(h))
    assert matrices.vectors(h) != h
    for thing in adam, adam.hyper["lr"], adam.hyper["maximize"], RULES["momentum"].hyper["form"]:
        with pytest.raises(FrozenInstanceError):
            thing.summary = "other"


PICKED = [
    (recipes.sgd, {"momentum": 0.0, "nesterov": False}, "sgd"),
    (recipes.sgd, {"momentum": 1.0, "nesterov": False}, "momentum"),
    (recipes.adam, {"amsgrad": False}, "adam"),
    (recipes.adam, {"amsgrad": True}, "amsgrad"),
    (recipes.rmsprop, {"centered": False, "momentum": 0.0}, "rmsprop"),
    (recipes.rmsprop, {"centered": True, "momentum": 0.0}, "rmsprop_centered"),
    (recipes.rmsprop, {"centered": False, "momentum": 1.0}, "rmsprop_momentum"),
    (recipes.rmsprop, {"centered": True, "momentum": 0.5}, "rmsprop_centered_momentum"),
    (recipes.mars, {"optimize_1d": True}, "mars_adamw"),
    (recipes.mars, {"optimize_1d": False}, "mars_adamw+matrices"),
]


@pytest.mark.parametrize(("recipe", "options", "name"), PICKED, ids=[row[2] for row in PICKED])
def test_options_pick_the_rule(recipe, options, name):
    assert recipe("it", options)[0].name == name


@pytest.mark.parametrize("zero", ["p", "g"])
@pytest.mark.parametrize("case", PLAIN, ids=str)
def test_parameters_or_gradients_that_are_all_zero(case, zero):
    """No norm to divide by."""
    p, g = np.linspace(-1.0, 2.0, N), np.linspace(2.0, -3.0, N)
    {"p": p, "g": g}[zero][:] = 0.0
    h, rule = case.packed, case.rule
    x = [p, *(np.array([initial_value(source, h, e) for e in p]) for source in rule.starts[1:])]
    exact = case.reference(case.h, 1, x[0], g, *x[1:])
    clock, after = stepped(rule, h, rule.clock0(h), g, x)
    for a, b in zip(after, exact):
        np.testing.assert_allclose(a, b, rtol=CLOSE, atol=1e-15)
    pairs = (position + i for position in rule.powers.values() for i in range(2))
    assert sorted([0, *rule.accumulates.values(), *pairs]) == [*range(len(clock))]


def test_a_variance_that_a_late_mean_makes_negative_is_zero():
    rule = RULES["rmsprop_centered"]
    _, c = rule.tick(rule.pack(), (0.0,))
    p, v, mean = rule.update(c, 0.5, (1.0, 0.25, 2.0))
    assert v < mean**2
    assert p == pytest.approx(1.0 - 0.01 * 0.5 / 1e-8)


def test_a_mean_of_nothing_is_zero():
    assert (root_mean(0.0, 0), root_mean(18.0, 2)) == (0.0, 3.0)


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_schedule_free_without_a_rate_stays_and_its_points_are_found_again(name):
    rule = RULES[name]
    h = rule.pack({"lr": 0.0})
    _, c = rule.tick(h, rule.clock0(h))
    x = (1.0, 3.0, 0.0)[: 1 + len(rule.slots)]
    assert rule.update(c, 0.5, x)[:2] == (1.0, 3.0)
    beta, y, z = h[1], 1.0, 3.0
    x = averaged(beta, y, z, True)
    assert (1.0 - beta) * z + beta * x == pytest.approx(y)  # equation 3 of the paper
    assert averaged(beta, x, z, False) == pytest.approx(y)
