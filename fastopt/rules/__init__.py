"""The formulas, one file a family, and the table that names them.

To add an optimizer write its ``tick`` and ``update`` in a file here and a row below, its class in
:mod:`fastopt.classes`, and its case in ``tests/cases.py``. Kernels, sweeps, benchmarks and
documentation follow from the row.
"""

from __future__ import annotations

from fastopt.rules.adam import ADAM, AMSGRAD
from fastopt.rules.base import Choice, Flag, Real, Rule
from fastopt.rules.sgd import MOMENTUM, SGD

__all__ = ["RULES", "Choice", "Flag", "Real", "Rule"]

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
    )
}
