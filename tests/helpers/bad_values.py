"""What a hyperparameter may not be, made from its row: every kind of value outside of it."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import torch

from fastopt.classes.common import BINDINGS, OF_ARRAYS
from fastopt.rules import RULES, Choice, Flag, Real

PARTS = {
    "betas": ("beta1", "beta2", "beta3"),
    "etas": ("etaminus", "etaplus"),
    "step_sizes": ("step_size_min", "step_size_max"),
}
"""Options that are several hyperparameters at once."""

ONLY_TORCHS = ("foreach", "fused", "capturable", "differentiable")
"""Which of its implementations torch is to take, where ours is one: what they are is all the same.
"""

RENAMED = {"decoupled_weight_decay": "decoupled"}
ALLOWED = {
    "nonfinite": "'propagate', 'skip', 'raise'",
    "schedule": "a function of the number of completed steps",
    "ema": "[0.0, 1.0]",
}

ODD = torch.ones((), device="meta"), torch.ones(2)  # of which no number can be read
NO_NUMBERS = (
    "fast",
    "",
    b"1",
    None,
    True,
    np.True_,
    np.timedelta64(1, "s"),
    1j,
    (0.1,),
    {},
    np.ones(2),
    Decimal("0.3"),
    ...,
    *ODD,
)
NO_FLAGS = (1, 0, 1.0, math.nan, "yes", None, (), np.ones(2), np.int64(1), *ODD)
NO_NAMES = ("nope", "", 3, None, True, ("x",), {}, np.ones(2), math.nan)
NO_TUPLES = (0.9, None, "ab", (), (0.5,), (0.5,) * 4, np.ones(2), {"beta1": 0.5})
NO_SCHEDULES = (3, "cosine", [1.0], math.nan, np.ones(2))


def outside(kind: Any) -> list[Any]:
    """Return values that ``kind`` must refuse."""
    if isinstance(kind, Flag):
        return list(NO_FLAGS)
    if isinstance(kind, Choice):
        return list(NO_NAMES)
    below = math.nextafter(kind.low, -math.inf)
    found = [*NO_NUMBERS, math.nan, np.float32("nan"), math.inf, -math.inf, 10**400, -(10**400)]
    found += [below, -1e300, np.float64(-1e300), np.array(-1e300)]
    if kind.high < math.inf:
        found += [kind.high if kind.open_high else math.nextafter(kind.high, math.inf), 1e300]
    return found


def kind_of(rule: str, name: str) -> Any:
    """Return the row of a hyperparameter; options that choose between rules are yes or no."""
    name = RENAMED.get(name, name)
    for candidate in (RULES[rule], *RULES.values()):
        if name in candidate.hyper:
            return candidate.hyper[name]
    return Flag()


def bad_options(cls: type, defaults: dict[str, Any]) -> list[tuple[str, dict[str, Any], Any, str]]:
    """Return ``(name, options, value, allowed)`` for every option of a class and bad value of it.

    ``name`` is what the message must say, and ``allowed`` what it must allow.
    """
    rule, found = BINDINGS[cls].rule, []
    for option, default in defaults.items():
        if option in ("params", *OF_ARRAYS, *ONLY_TORCHS):
            continue
        if option not in PARTS:
            kind = kind_of(rule, option)
            name = RENAMED.get(option, option)
            found += [(name, {option: bad}, bad, allowed(kind)) for bad in outside(kind)]
            continue
        parts = PARTS[option][: len(default)]
        found += [
            (option, {option: bad}, bad, ", ".join(parts))
            for bad in NO_TUPLES
            if not (isinstance(bad, tuple) and len(bad) == len(parts))
        ]
        for k, part in enumerate(parts):
            kind = kind_of(rule, part)
            for bad in outside(kind):
                given = (*default[:k], bad, *default[k + 1 :])
                found.append((part, {option: given}, bad, allowed(kind)))
    return found


def bad_shared() -> list[tuple[str, dict[str, Any], Any, str]]:
    """Return the same for the options of every class over arrays."""
    ema = Real(0.0, high=1.0, open_high=False)
    table = {
        "nonfinite": NO_NAMES,
        "schedule": NO_SCHEDULES,
        "ema": [bad for bad in outside(ema) if bad is not None],  # none: no average
    }
    return [
        (name, {name: bad}, bad, ALLOWED[name]) for name, values in table.items() for bad in values
    ]


def allowed(kind: Any) -> str:
    """Return what a message must say of a row, put down once more."""
    if isinstance(kind, Flag):
        return "True or False"
    if isinstance(kind, Choice):
        return ", ".join(map(repr, kind.names))
    return f"[{kind.low}, {kind.high}{')' if kind.open_high else ']'}"
