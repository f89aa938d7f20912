"""How a class over torch's tensors follows from the class of the same name over arrays."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from fastopt.classes.common import BINDINGS, OF_ARRAYS, constructor
from fastopt.rules import RULES
from fastopt.torch.adapter import Lr, Optimizer, Params
from fastopt.torch.docs import class_docstring

T = TypeVar("T", bound=type[Optimizer])
_TYPES = {"params": Params, "lr": Lr}


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
