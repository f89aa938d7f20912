"""The step-dependent numbers of a rule (see :class:`fastopt.rules.Rule`): made and replayed."""

from __future__ import annotations

import numpy as np

from fastopt.compile import kernel
from fastopt.loops import load, store
from fastopt.rules import Rule

__all__ = ["new_clock", "rewind"]


def new_clock(rule: Rule, h: tuple[float, ...]) -> np.ndarray:
    """Return the clock of ``rule`` before its first step, as the array that kernels advance.

    >>> from fastopt.rules import RULES
    >>> new_clock(RULES["sgd"], RULES["sgd"].pack())
    array([0.])
    """
    return np.array(rule.clock0(h), np.float64)


def ticked(clock0, tick):
    """Run the clock ``t`` steps from its start, without updating anything."""

    def run(h, t, clock):
        store(clock, clock0(h))
        for _ in range(t):
            now, _ = tick(h, load(clock, clock0(h)))
            store(clock, now)

    return run


def rewind(rule: Rule, h: tuple[float, ...], t: int, clock: np.ndarray) -> None:
    """Set ``clock`` to what it is after ``t`` steps with the hyperparameters ``h``, in place.

    Needed when a hyperparameter that the clock accumulates has changed (torch computes
    ``beta ** t`` with today's beta), or when a state dict has the step but not the clock.

    >>> from fastopt.rules import RULES
    >>> rule = RULES["adam"]
    >>> h = rule.pack({"beta1": 0.5})
    >>> clock = new_clock(rule, h)
    >>> rewind(rule, h, 3, clock)
    >>> clock[:2]
    array([3.   , 0.125])
    """
    kernel(ticked, rule.clock0, rule.tick)(h, t, clock)
