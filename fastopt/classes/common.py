"""What makes an optimizer of a signature: a class says its options, its rule does the rest."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fastopt.optimizer import Optimizer
from fastopt.rules import recipes

__all__ = ["BINDINGS", "OF_ARRAYS", "Binding", "Schedule", "bind_rule", "constructor"]

Schedule = Callable[[int], float]
OF_ARRAYS = ("nonfinite", "schedule", "ema")
"""Options of every class that are no options of its rule."""

_SHARED = """
nonfinite : {"propagate", "skip", "raise"}
    What to do with gradients that are NaN or infinite.
schedule : callable, optional
    ``schedule(t) -> factor`` on the learning rate after t completed steps.
ema : float, optional
    Decay of a moving average of the parameters, kept in ``opt.ema``.

Raises
------
ArrayTypeError, ArrayError
    A parameter is not an array that can be updated in place, or shares memory with another.
HyperparameterError
    A hyperparameter is not a number, or out of its range.

"""

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

    The docstring need not say what every class has: the last three options, and its errors.

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

        cls.__init__ = constructor(cls.__init__, construct)  # type: ignore[misc]
        cls.__doc__ = cls.__doc__ and _add_shared_sections(cls.__doc__)
        return cls

    return bind


def _add_shared_sections(doc: str) -> str:
    """Return a docstring with what all classes share behind the parameters of its own."""
    indent = "" if "\nParameters\n" in doc else "    "  # which Python 3.13 takes away
    head, title, body = doc.partition(f"\n{indent}Parameters\n")
    own, _, rest = body.partition("\n\n")
    shared = textwrap.indent(_SHARED, indent)  # inspect.cleandoc would take four times as long
    return f"{head}{title}{own.rstrip()}{shared}{rest}" if title else doc


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
