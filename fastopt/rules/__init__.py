"""The formulas, one file a family, and the table that names them.

To add an optimizer write its ``tick`` and ``update`` in a file here and a row below, its class in
:mod:`fastopt.classes`, and its case in ``tests/helpers/cases.py``. Kernels, sweeps, benchmarks and
documentation follow from the row. Imports errors, compile and maths.
"""

from __future__ import annotations

from fastopt.compile import frozen
from fastopt.rules.adabelief import ADABELIEF
from fastopt.rules.adadelta import ADADELTA
from fastopt.rules.adagrad import ADAGRAD
from fastopt.rules.adam import ADAM, AMSGRAD
from fastopt.rules.adamax import ADAMAX
from fastopt.rules.adan import ADAN
from fastopt.rules.ademamix import ADEMAMIX
from fastopt.rules.adopt import ADOPT
from fastopt.rules.asgd import ASGD
from fastopt.rules.base import Choice, Flag, Real, Rule
from fastopt.rules.cautious import CAUTIOUS_ADAMW, CAUTIOUS_LION
from fastopt.rules.lamb import LAMB
from fastopt.rules.laprop import LAPROP
from fastopt.rules.lars import LARS
from fastopt.rules.lion import LION, SIGNUM
from fastopt.rules.mars import MARS
from fastopt.rules.nadam import NADAM
from fastopt.rules.radam import RADAM
from fastopt.rules.rmsprop import (
    RMSPROP,
    RMSPROP_CENTERED,
    RMSPROP_CENTERED_MOMENTUM,
    RMSPROP_MOMENTUM,
)
from fastopt.rules.rprop import RPROP
from fastopt.rules.schedule_free import SCHEDULE_FREE_ADAMW, SCHEDULE_FREE_SGD
from fastopt.rules.sgd import MOMENTUM, SGD
from fastopt.rules.stable import STABLE_ADAMW
from fastopt.rules.yogi import YOGI

__all__ = ["RULES", "Choice", "Flag", "Real", "Rule", "current"]

_ADAMW = {"weight_decay": 1e-2, "decoupled": True}

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        SGD,
        MOMENTUM,
        MOMENTUM.but("nesterov", nesterov=True),
        ADAM,
        ADAM.but("adamw", **_ADAMW),
        AMSGRAD,
        AMSGRAD.but("amsgradw", **_ADAMW),
        NADAM,
        RADAM,
        ADAMAX,
        ADAGRAD,
        RMSPROP,
        RMSPROP_MOMENTUM,
        RMSPROP_CENTERED,
        RMSPROP_CENTERED_MOMENTUM,
        ADADELTA,
        ASGD,
        RPROP,
        LION,
        SIGNUM,
        ADEMAMIX,
        ADOPT,
        ADAN,
        LAPROP,
        ADABELIEF,
        YOGI,
        MARS,
        CAUTIOUS_ADAMW,
        CAUTIOUS_LION,
        LAMB,
        LARS,
        STABLE_ADAMW,
        SCHEDULE_FREE_SGD,
        SCHEDULE_FREE_ADAMW,
    )
}


def current(name: str) -> Rule:
    """Return the rule of that name as its functions are now: what runs from here on.

    Rules of ours are returned as they are; of one that a user has added, what its functions read
    may change, and an optimizer or a sweep that has begun does not change with it.

    >>> current("sgd") is RULES["sgd"]
    True
    """
    return frozen(RULES[name])
