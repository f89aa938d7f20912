"""Documentation of the optimizer classes, made from their signatures and the table of rules."""

from __future__ import annotations

import inspect

from fastopt.rules import Rule

__all__ = ["described"]

_TYPES = {"Lr": "float or Tensor", "Params": "iterable", "Pair": "pair of float"}
_SUMMARIES = {
    "params": "tensors, ``(name, tensor)`` pairs or param groups; updated in place",
    "betas": "decays of the moments, each in [0, 1)",
    "etas": "factors on a step size when the gradient's sign turns, and while it stays",
    "step_sizes": "smallest and largest step size",
    "momentum": "decay of the velocity; with 0 no buffer is kept",
    "amsgrad": "divide by the largest second moment so far",
    "centered": "divide by the deviation from the mean instead of the root mean square",
    "decoupled_weight_decay": "shrink the weights themselves instead of adding to the gradient",
    "optimize_1d": "treat tensors of fewer than two dimensions as all others, as in the paper; if "
    "not, step them by AdamW, by default in the authors' program and in timm",
    "foreach": "for compatibility; changes nothing",
    "fused": "for compatibility; changes nothing",
    "capturable": "only False is supported",
    "differentiable": "only False is supported",
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


def described(cls: type, rule: Rule) -> str:
    """Return the docstring of an optimizer class: its own first, then what its rule says."""
    parameters = []
    for name, parameter in list(inspect.signature(cls).parameters.items()):
        kind = str(parameter.annotation)
        summary = rule.hyper[name].summary if name in rule.hyper else _SUMMARIES.get(name, "")
        summary = _SUMMARIES.get(name, summary)
        parameters.append(
            f"{name} : {_TYPES.get(kind, kind)}\n    {summary[:1].upper()}{summary[1:]}."
        )
    return _TEMPLATE.format(
        summary=inspect.cleandoc(cls.__doc__ or ""),
        formula=rule.formula,
        parameters="\n".join(parameters),
        name=cls.__name__,
        source=rule.source,
    )
