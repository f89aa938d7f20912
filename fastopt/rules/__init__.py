"""The formulas, one file a family, and the table that names them.

To add an optimizer write its ``tick`` and ``update`` in a file here, with its :class:`Rule` in the
file's ``__all__``: every rule that is there is a row of :data:`RULES`. Its class goes to
:mod:`fastopt.classes` and its case to ``tests/helpers/cases.py``. Kernels, sweeps, the torch class,
benchmarks and documentation follow from the row. Imports errors and code. Without Numba: compiled
code of your own that calls a formula needs ``import fastopt.compile`` or any name of ``fastopt``.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator

from fastopt.rules.base import Choice, Flag, Real, Rule

__all__ = ["RULES", "Choice", "Flag", "Real", "Rule", "current"]

_WITHOUT_ROWS = ("base", "clocks", "parts", "recipes")
# The order in which rules are listed; a file that is not named here follows, by its name.
_FIRST = (
    *("sgd", "adam", "nadam", "radam", "adamax", "adagrad", "rmsprop", "adadelta", "asgd", "rprop"),
    *("lion", "ademamix", "adopt", "adan", "laprop", "adabelief", "yogi", "mars", "cautious"),
    *("lamb", "lars", "stable", "schedule_free"),
)


def _rows() -> Iterator[Rule]:
    """Yield the rules that the files of this folder export, in the order of their definitions."""
    found = sorted(module.name for module in pkgutil.iter_modules(__path__))
    for name in dict.fromkeys((*_FIRST, *found)):
        if name not in _WITHOUT_ROWS:
            module = importlib.import_module(f"{__name__}.{name}")
            exported = (value for key, value in vars(module).items() if key in module.__all__)
            yield from (value for value in exported if isinstance(value, Rule))


def _tell_numba() -> None:
    from fastopt.code import registration  # noqa: F401


if "numba" in sys.modules:  # whoever imported it may compile code that calls a formula
    _tell_numba()

RULES: dict[str, Rule] = {rule.name: rule for rule in _rows()}


def current(name: str) -> Rule:
    """Return the rule of that name as its functions are now: what runs from here on.

    Rules of ours are returned as they are; of one that a user has added, what its functions read
    may change, and an optimizer or a sweep that has begun does not change with it.

    >>> current("sgd") is RULES["sgd"]
    True
    """
    from fastopt.code.frozen import frozen

    return frozen(RULES[name])
