"""Documentation of the classes over tensors, made of that over arrays and the table of rules."""

from __future__ import annotations

import inspect
import re

from fastopt.rules import Rule

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


def class_docstring(cls: type, arrays: type, rule: Rule) -> str:
    """Return the docstring of a class over tensors: a line of its own, then what others say.

    ``cls``: its docstring is the line. ``arrays``: the class over arrays, which documents the
    options. ``rule``: it has the formula and the source.
    """
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
