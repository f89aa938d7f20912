"""What makes an optimizer of a signature: a class says its options, its rule does the rest."""

from __future__ import annotations

import functools
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fastopt.optimizer import Optimizer
from fastopt.rules import recipes

__all__ = ["BINDINGS", "OF_ARRAYS", "Binding", "Schedule", "bind_rule", "constructor"]

Schedule = Callable[[int], float]
OF_ARRAYS = ("nonfinite", "schedule", "ema")
"""Options of every class that are no options of its rule."""

_USUAL = {
    "params": "ndarray, list or dict of ndarray, Buffer, or list of groups\n"
    "    Updated in place; see :class:`fastopt.Optimizer`.",
    "lr": "float\n    Learning rate, about the size of a step in units of the parameter.",
    "betas": "pair of float\n    Decays of the first and second moment, each in [0, 1).",
    "eps": "float\n    Added to the root of the second moment, in units of the gradient.",
    "weight_decay": "float\n    Decay of the weights.",
    "maximize": "bool\n    Ascend instead of descend.",
    "decoupled_weight_decay": "bool\n"
    r"    Shrink the weights by :math:`1 - \alpha\lambda` instead of adding to the gradient.",
    "nonfinite": '{"propagate", "skip", "raise"}\n'
    "    What to do with gradients that are NaN or infinite.",
    "schedule": "callable, optional\n"
    "    ``schedule(t) -> factor`` on the learning rate after t completed steps.",
    "ema": "float, optional\n    Decay of a moving average of the parameters, kept in ``opt.ema``.",
}
"""What docstrings say of a parameter, where that of the class does not say otherwise."""

_RAISES = """

Raises
------
ArrayTypeError, ArrayError
    A parameter is not an array that can be updated in place, or shares memory with another.
HyperparameterError
    A hyperparameter is not a number, or out of its range.
"""

_FIRST_SECTION = re.compile(r"\n( *)(Parameters|Notes|Examples)\n")

T = TypeVar("T", bound=type)


@dataclass(frozen=True)
class Binding:
    """What a class runs: its row in :data:`fastopt.rules.RULES` and how options become its values.

    ``fixed`` are options that the class decides, not its user.
    """

    rule: str
    recipe: recipes.Recipe
    fixed: Mapping[str, Any]


BINDINGS: dict[type, Binding] = {}
"""The optimizer classes that have a rule; those of :mod:`fastopt.torch` are made from it."""


def bind_rule(rule: str, recipe: recipes.Recipe | None = None, **fixed: Any) -> Callable[[T], T]:
    """Let a class of a signature and a docstring construct optimizers of a rule.

    The docstring need not say what most classes have: the usual parameters, and the errors.

    Parameters
    ----------
    rule : str
        The row of :data:`fastopt.rules.RULES`: of the defaults, if options choose between rules.
    recipe : callable, optional
        How they choose; see :mod:`fastopt.rules.recipes`.
    **fixed
        Options that the class decides; they stand in ``param_groups`` with the others.

    Examples
    --------
    >>> import numpy as np
    >>> @bind_rule("lion", decoupled=False)
    ... class Sign(Optimizer):
    ...     def __init__(self, params, lr=0.5, *, nonfinite="raise", schedule=None, ema=None): ...
    >>> Sign(np.ones(2)).defaults
    {'lr': 0.5, 'decoupled': False}
    """

    def bind(cls: T) -> T:
        made = BINDINGS[cls] = Binding(rule, recipe or recipes.named(rule), fixed)

        def construct(self: Any, params: Any, **options: Any) -> None:
            how = {name: options.pop(name) for name in OF_ARRAYS}
            Optimizer.__init__(self, params, made.recipe, {**options, **fixed}, **how)

        cls.__doc__ = cls.__doc__ and _complete(cls.__doc__, cls.__init__.__code__)  # type: ignore[misc]
        cls.__init__ = constructor(cls.__init__, construct)  # type: ignore[misc]
        return cls

    return bind


def _complete(doc: str, declared: types.CodeType) -> str:
    """Return a docstring with all parameters, in the order of the signature, and the errors."""
    found = _FIRST_SECTION.search(doc)
    if found is None:
        return doc
    indent, rest = found[1], doc[found.start() :]  # Python 3.13 takes the indent away
    own, _, after = rest.partition("\n\n") if found[2] == "Parameters" else ("", "", rest[1:])
    entry = rf"^{indent}(\w+) : (.*(?:\n{indent}    .*)+)"
    known = {name: text.replace("\n", f"\n{indent}") for name, text in _USUAL.items()}
    known |= dict(re.findall(entry, own, re.MULTILINE))
    names = declared.co_varnames[1 : declared.co_argcount + declared.co_kwonlyargcount]
    entries = "".join(f"\n{indent}{name} : {known[name]}" for name in names if name in known)
    raises = textwrap.indent(_RAISES, indent)  # inspect.cleandoc would take four times as long
    return (
        f"{doc[: found.start()]}\n{indent}Parameters\n{indent}----------{entries}{raises}\n{after}"
    )


def constructor(
    declared: Callable[..., None], construct: Callable[..., None]
) -> Callable[..., None]:
    """Return an ``__init__`` that calls ``construct`` with all arguments by name.

    Parameters
    ----------
    declared : callable
        A method without a body: its signature is what users see, and refuses what does not fit.
    construct : callable
        ``construct(self, **arguments)``, defaults filled in.

    Examples
    --------
    >>> def declared(self, params, lr=0.1, *, maximize=False): ...
    >>> constructor(declared, lambda **given: print(given))("it", [], maximize=True)
    {'self': 'it', 'params': [], 'lr': 0.1, 'maximize': True}
    """

    @functools.wraps(declared)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        declared(self, *args, **kwargs)  # Python's own error where the arguments do not fit
        defaults = _defaults(declared)
        construct(**(defaults | dict(zip(defaults, (self, *args))) | kwargs))

    return __init__


@functools.cache
def _defaults(declared: Callable[..., None]) -> dict[str, Any]:
    """Return the defaults of all parameters, in their order; at import they would cost 0.4 ms."""
    return {name: p.default for name, p in inspect.signature(declared).parameters.items()}
