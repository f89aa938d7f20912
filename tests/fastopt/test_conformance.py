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


def nowhere(h, clock):
    clock, c = SGD.tick(h, clock)
    return clock, (*c[:-1], float("inf"))


BROKEN_RULES = {
    "lr is not the first": SGD.using(hyper=dict(reversed(SGD.hyper.items()))),
    "after 1 steps the clock counts 0": SGD.using(tick=still),
    "the first coefficient scales": SGD.using(update=unscaled),
    "a coefficient is not finite": SGD.using(tick=nowhere),
    "'beta9' is no hyperparameter": SGD.using(powers={"beta9": 0}),
    "is not at 0": SGD.using(powers={"lr": 0}),
    "two slots have one name": SGD.using(slots=("a", "a")),
}


@pytest.mark.parametrize("message", BROKEN_RULES)
def test_a_fault_of_a_rule_is_found(message):
    rule = BROKEN_RULES[message].using(name="broken")
    with pytest.raises(AssertionError, match=f"{message}"):
        check_optimizer(rule)
    assert "broken" not in RULES


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
