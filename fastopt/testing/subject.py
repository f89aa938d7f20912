"""What is checked: a class of optimizers with the rule that it runs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastopt.classes.common import BINDINGS, OF_ARRAYS, bind_rule
from fastopt.optimizer import Optimizer
from fastopt.rules import RULES, Rule

__all__ = ["Subject", "subject_of"]


@dataclass(frozen=True)
class Subject:
    """A class, the rule that it runs at its defaults, and their packed values.

    ``cls``, type: over arrays. ``h``: from :meth:`fastopt.rules.Rule.pack`. ``is_importable``:
    whether a module has the class, so that it can be pickled by name.
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
    """Yield what is to be checked, its rule in the table as if it had been added."""
    if not isinstance(given, Rule):
        opt = given(np.ones(3))
        module = sys.modules.get(given.__module__)
        importable = getattr(module, given.__qualname__, None) is given
        yield Subject(given, opt._groups[0].rule, opt._groups[0].h, importable)
        return
    before = RULES.get(given.name)
    RULES[given.name] = given
    cls = _class_of(given)
    try:
        yield Subject(cls, given, given.pack(), False)
    finally:
        del BINDINGS[cls]
        if before is None:
            del RULES[given.name]
        else:
            RULES[given.name] = before


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
