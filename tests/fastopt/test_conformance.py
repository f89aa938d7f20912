"""The kit of checks for optimizers: ours pass, and each fault is found by the check of its name."""

from __future__ import annotations

import numpy as np
import pytest

import fastopt
from fastopt.classes.common import BINDINGS
from fastopt.rules import RULES
from fastopt.testing import check_optimizer
from fastopt.testing.checks import CHECKS

# The class SGD is elementwise; the others compile more.
QUICK = ("lamb",)
NO_ELEMENTS = {"every size", "NaN stays where it is"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.soak) for n in RULES]
)
def test_every_rule_passes(name, counted):
    before = dict(RULES), dict(BINDINGS)
    passed = check_optimizer(RULES[name])
    left_out = set(CHECKS) - set(passed)
    assert left_out == {"copies go on"} | (NO_ELEMENTS if RULES[name].measure else set())
    assert before == (RULES, BINDINGS)
    counted(len(passed))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(cls.__name__, marks=[] if cls is fastopt.SGD else pytest.mark.soak)
        for cls in BINDINGS
        if cls.__module__.startswith("fastopt.")
    ],
)
def test_every_class_passes(name, counted):
    passed = check_optimizer(getattr(fastopt, name))
    assert set(CHECKS) - set(passed) <= NO_ELEMENTS
    counted(len(passed))


SGD = RULES["sgd"]


def still(h, clock):
    return clock, SGD.tick(h, clock)[1]


def unscaled(c, g, x):
    return SGD.update((1.0, *c[1:]), g, x)


def literal(c, g, x):
    return (x[0] - 0.5 * c[-1] * c[0] * g,)


def nowhere(h, clock):
    clock, c = SGD.tick(h, clock)
    return clock, (*c[:-1], float("inf"))


ADAM, MOMENTUM = RULES["adam"], RULES["momentum"]
BROKEN_RULES = {
    "lr is not the first": SGD.using(hyper=dict(reversed(SGD.hyper.items()))),
    "after 1 steps the clock counts 0": SGD.using(tick=still),
    "the first coefficient scales": SGD.using(update=unscaled),
    "a coefficient is not finite": SGD.using(tick=nowhere),
    "'beta9' is no hyperparameter": SGD.using(powers={"beta9": 0}),
    "is not at 0": SGD.using(powers={"lr": 0}),
    "'beta1' is not at 4 of 5": ADAM.using(powers={"beta1": 4, "beta2": 2}),
    "powers and accumulates tell of": ADAM.using(powers={}),
    "powers are": ADAM.using(powers={"beta1": 3, "beta2": 1}),
    "two slots have one name": SGD.using(slots=("a", "a")),
    "clock0 returns None, and not a tuple": SGD.using(clock0=lambda h: None),
    "clock0 returns .*, and not a tuple": SGD.using(clock0=lambda h: [0.0]),
    "tick returns None, and not": SGD.using(tick=lambda h, clock: None),
    "tick returns as clock .* not 1 numbers": SGD.using(tick=lambda h, clock: ((1.0, 2.0), (1.0,))),
    "tick returns as coefficients .* not a t": SGD.using(tick=lambda h, clock: ((1.0,), [1.0])),
    "update returns .* not 2 numbers": MOMENTUM.using(update=lambda c, g, x: x[:1]),
    "update returns .* not a tuple": MOMENTUM.using(update=lambda c, g, x: list(x)),
    "update makes float64 of float32": SGD.using(update=literal),
    "slots .* are 'abc'": MOMENTUM.using(slots="abc"),
    "'step' is no identifier, or one of": MOMENTUM.using(slots=("step",)),
    "'a/b' is no identifier": MOMENTUM.using(slots=("a/b",)),
    "'lambda' is no identifier": SGD.using(hyper={**SGD.hyper, "lambda": SGD.hyper["lr"]}),
    "'nonfinite' is no identifier, or": SGD.using(hyper={**SGD.hyper, "nonfinite": 1}),
    "the range of 'lr' is 0.1": SGD.using(hyper={"lr": 0.1}),
}


@pytest.mark.parametrize("message", BROKEN_RULES)
def test_a_fault_of_a_rule_is_found(message):
    rule, before = BROKEN_RULES[message].using(name="broken"), (dict(RULES), dict(BINDINGS))
    with pytest.raises(AssertionError, match=f"{message}"):
        check_optimizer(rule)
    assert before == (RULES, BINDINGS)


@pytest.mark.parametrize("given", [None, "adam", dict, fastopt.Optimizer, lambda p: None])
def test_what_is_no_optimizer_is_refused(given):
    with pytest.raises(AssertionError, match="takes a Rule, or a class of optimizers"):
        check_optimizer(given)


class Forgets(fastopt.SGD):
    def __init__(self, params, lr=0.1, **more):
        super().__init__(params, lr, momentum=0.9, **more)

    def load_state_dict(self, state):
        return None


class Forgives(fastopt.SGD):
    def __init__(self, params, lr=0.1, **more):
        super().__init__(params, lr if isinstance(lr, float) and 0 <= lr < 9 else 0.1, **more)


class Climbs(fastopt.SGD):
    def step(self, grads=None, *args, **more):
        negative = isinstance(grads, np.ndarray)
        return super().step(-grads if negative else grads, *args, **more)


class Clears(fastopt.SGD):
    def step(self, grads=None, *args, **more):
        return super().step(grads, *args, **{**more, "zero_grad": isinstance(grads, list)})


class Skips(fastopt.SGD):
    """The last element of odd arrays."""

    def step(self, grads=None, *args, **more):
        if isinstance(grads, np.ndarray) and grads.size == 129:
            grads[-1] = 0.0
        return super().step(grads, *args, **more)


class Wanders(fastopt.SGD):
    def step(self, grads=None, *args, **more):
        if isinstance(grads, np.ndarray) and np.isnan(grads).any():
            grads = np.full_like(grads, np.nan)
        return super().step(grads, *args, **more)


class Divides(fastopt.SGD):
    def step(self, grads=None, *args, **more):
        if isinstance(grads, list) and len(grads) == 4:
            grads = [g / 3.0 * 3.0 for g in grads]
        return super().step(grads, *args, **more)


BROKEN = {
    Forgets: "state goes on",
    Forgives: "refuses by name",
    Climbs: "the kernel is the formula",
    Clears: "writes in place",
    Skips: "every size",
    Wanders: "NaN stays where it is",
    Divides: "every form of parameters",
}


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_fault_of_a_class_is_found(cls):
    with pytest.raises(AssertionError, match=f"^{BROKEN[cls]}: "):
        check_optimizer(cls)
