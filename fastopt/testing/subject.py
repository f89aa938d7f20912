"""What is checked: a class of optimizers with the rule that it runs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

import numpy as np

from fastopt.classes.common import BINDINGS, OF_ARRAYS, bind_rule
from fastopt.errors import shortened
from fastopt.optimizer import Optimizer
from fastopt.rules import RULES, Choice, Flag, Real, Rule

_WANTED = "check_optimizer takes a Rule, or a class of optimizers over arrays"
_ROW = "fastopt.rules.Rule"
_TAKEN = frozenset((*OF_ARRAYS, "clock", "param", "params", "self", "step"))


@dataclass(frozen=True)
class Subject:
    """A class, the rule that it runs at its defaults, and their packed values.

    ``h``: from :meth:`fastopt.rules.Rule.pack`. ``is_importable``: whether it can be pickled by
    name.
    """

    cls: Any
    rule: Rule
    h: tuple[float, ...]
    is_importable: bool

    @property
    def is_elementwise(self) -> bool:
        """Whether no sum over the tensor enters a step."""
        return self.rule.measure is None

    def make(self, params: Any, **options: Any) -> Optimizer:
        """Return an optimizer of the class."""
        return self.cls(params, **options)


@contextmanager
def subject_of(given: Any) -> Iterator[Subject]:
    """Yield what is to be checked, its rule in the table as if it had been added.

    Raises
    ------
    AssertionError
        It is no rule, and no class whose instances are optimizers over arrays.
    """
    if not isinstance(given, Rule):
        try:
            opt = given(np.ones(3))
        except Exception as error:
            raise AssertionError(f"{_WANTED}: {shortened(given)} made none: {error}") from error
        if not (isinstance(given, type) and isinstance(opt, Optimizer)):
            raise AssertionError(f"{_WANTED}; got {shortened(given)}")
        module = sys.modules.get(given.__module__)
        importable = getattr(module, given.__qualname__, None) is given
        yield Subject(given, opt._groups[0].rule, opt._groups[0].h, importable)
        return
    check_names(given)
    before, bound = RULES.get(given.name), set(BINDINGS)
    RULES[given.name] = given
    try:
        yield Subject(_class_of(given), given, given.pack(), False)
    finally:
        for cls in set(BINDINGS) - bound:
            del BINDINGS[cls]
        if before is None:
            del RULES[given.name]
        else:
            RULES[given.name] = before


def check_names(rule: Rule) -> None:
    """Refuse names that cannot be those of options and of arrays in a state, or are taken there.

    Raises
    ------
    AssertionError
        With the first of them.
    """
    tables: dict[str, Any] = {"hyperparameters": rule.hyper, "slots": rule.slots}
    for what, names in tables.items():
        if not isinstance(names, Mapping if what == "hyperparameters" else tuple):
            raise AssertionError(f"{what} of {rule.name!r} are {shortened(names)}, see {_ROW}")
        for name in names:
            is_name = isinstance(name, str) and name.isidentifier() and not iskeyword(name)
            if not is_name or name in _TAKEN:
                raise AssertionError(
                    f"{what} of {rule.name!r}: {shortened(name)} is no identifier, or one of "
                    f"{', '.join(sorted(_TAKEN))}, which mean something else there"
                )
    for name, kind in rule.hyper.items():
        if not isinstance(kind, Real | Flag | Choice):
            raise AssertionError(f"the range of {name!r} is {shortened(kind)}, see {_ROW}")


def _class_of(rule: Rule) -> Any:
    """Return a class with the hyperparameters of a rule as options."""
    kinds = inspect.Parameter
    names: dict[str, Any] = {name: kind.default for name, kind in rule.hyper.items()}
    names |= dict(zip(OF_ARRAYS, ("propagate", None, None)))
    signature = inspect.Signature(
        [kinds(name, kinds.POSITIONAL_OR_KEYWORD) for name in ("self", "params")]
        + [kinds(name, kinds.KEYWORD_ONLY, default=value) for name, value in names.items()]
    )

    def declared(*args: Any, **kwargs: Any) -> None:
        signature.bind(*args, **kwargs)

    vars(declared)["__signature__"] = signature
    body = {"__init__": declared, "__doc__": rule.name, "__module__": __name__}
    return bind_rule(rule.name)(type(rule.name, (Optimizer,), body))
