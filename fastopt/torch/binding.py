"""How a class over torch's tensors follows from the class of the same name over arrays."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

from fastopt.classes.common import BINDINGS, OF_ARRAYS, constructor
from fastopt.rules import RULES, Rule
from fastopt.torch.adapter import Lr, Optimizer, Params

T = TypeVar("T", bound=type[Optimizer])
_TYPES = {"params": Params, "lr": Lr}

_OF_TORCH = {
    "params": "iterable\n    Tensors, ``(name, tensor)`` pairs or param groups; updated in place.",
    "foreach": "bool, optional\n    For compatibility; changes nothing.",
    "fused": "bool, optional\n    For compatibility; changes nothing.",
    "capturable": "bool\n    Only False is supported.",
    "differentiable": "bool\n    Only False is supported.",
}

_TEMPLATE = r"""{summary}

.. math::  {formula}

Parameters
----------
{parameters}

Raises
------
ArrayTypeError, ArrayError
    A tensor is not on the CPU, not dense, not float32, float64 or bfloat16, or shares memory
    with another one.
HyperparameterError
    An option is not a number, or out of its range.

Notes
-----
See :class:`fastopt.torch.Optimizer` for what all optimizers share.

Examples
--------
>>> import torch
>>> from fastopt.torch import {name}
>>> p = torch.nn.Parameter(torch.ones(3))
>>> optimizer = {name}([p])
>>> for _ in range(2):
...     optimizer.zero_grad()
...     p.square().sum().backward()
...     optimizer.step()
>>> bool((p < 1.0).all())
True

References
----------
{source}.
"""


def bind_class(arrays: type) -> Callable[[T], T]:
    """Let a class of a signature and a line of docstring run the rule of one over arrays.

    >>> import torch
    >>> from fastopt import classes
    >>> @bind_class(classes.Lion)
    ... class Mine(Optimizer):
    ...     def __init__(self, params, lr=0.5, *, maximize=False): ...
    >>> Mine([torch.ones(2)]).defaults
    {'lr': 0.5, 'maximize': False}
    """
    binding = BINDINGS[arrays]

    def construct(self: Optimizer, **arguments: Any) -> None:
        Optimizer.__init__(self, {**arguments, **binding.fixed})

    def bind(cls: T) -> T:
        cls.__init__ = constructor(cls.__init__, construct)  # type: ignore[method-assign]
        cls._recipe = staticmethod(binding.recipe)
        cls.__doc__ = class_docstring(cls, arrays, RULES[binding.rule])
        return cls

    return bind


def made_of(arrays: type, base: type[Optimizer], module: str) -> type[Optimizer]:
    """Return the class over tensors that has the options of one over arrays.

    >>> from fastopt import classes
    >>> inspect.signature(made_of(classes.Lion, Optimizer, "here")).parameters["betas"].default
    (0.9, 0.99)
    """
    summary = inspect.getdoc(arrays) or ""
    names = {
        "__module__": module,
        "__qualname__": arrays.__qualname__,
        "__doc__": summary.partition("\n\n")[0],
        "__init__": _narrowed(arrays.__init__.__wrapped__),  # type: ignore[misc]
    }
    return bind_class(arrays)(type(arrays.__name__, (base,), names))


def _narrowed(declared: Callable[..., None]) -> Callable[..., None]:
    """Return the declaration of a class over arrays without the options that only arrays have."""
    signature = inspect.signature(declared)
    kept = [
        parameter.replace(annotation=_TYPES.get(name, parameter.annotation))
        for name, parameter in signature.parameters.items()
        if name not in OF_ARRAYS
    ]

    @functools.wraps(declared)
    def narrowed(self: Any, *args: Any, **kwargs: Any) -> None:
        unknown = [name for name in kwargs if name in OF_ARRAYS]
        if unknown:
            raise TypeError(
                f"{declared.__qualname__}() got an unexpected keyword argument {unknown[0]!r}"
            )
        declared(self, *args, **kwargs)

    vars(narrowed)["__signature__"] = signature.replace(parameters=kept)
    narrowed.__annotations__ = {p.name: p.annotation for p in kept[1:]} | {"return": None}
    return narrowed


def class_docstring(cls: type, arrays: type, rule: Rule) -> str:
    """Return the docstring of a class over tensors: a line of its own, then what others say."""
    known = _parameters(arrays) | _OF_TORCH
    parameters = "\n".join(
        f"{name} : {known.get(name, '')}" for name in inspect.signature(cls).parameters
    )
    return _TEMPLATE.format(
        summary=inspect.cleandoc(cls.__doc__ or ""),
        formula=rule.formula,
        parameters=parameters.replace("lr : float\n", "lr : float or Tensor\n"),
        name=cls.__name__,
        source=rule.source,
    )


def _parameters(cls: type) -> dict[str, str]:
    r"""Return what a numpydoc docstring says of each parameter.

    >>> from fastopt import classes
    >>> _parameters(classes.Lion)["weight_decay"]
    'float\n    Decay of the weights.'
    """
    section = (inspect.getdoc(cls) or "").partition("Parameters\n----------\n")[2]
    texts = re.findall(r"^(\w+) : (.*(?:\n    .*)+)", section.partition("\n\n")[0], re.MULTILINE)
    return dict(texts)
