"""Steps that are multiplied: learning rates of layers.

The rule takes its step, and each parameter then goes on by its multiple of the way it was moved.
For a rule whose step is proportional to the learning rate that is what parameter groups of torch
with learning rates of their own do, decay of weights included. A kernel of its own, which trials
without multipliers never call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastopt.errors import SpecError
from sweeps.engine.columns import find_rule

BY_GRADIENT = ("sgd", "momentum", "nesterov", "asgd", "lars", "lamb")
"""Rules whose steps grow with the gradient, or follow from the size of all weights together."""


def rescaling():
    """Template of ``rescale(before, x, multipliers)``: multiply the last step of ``x[0]``."""

    def rescale(before, x, multipliers):
        for j in range(multipliers.size):
            x[0, j] = before[j] + multipliers[j] * (x[0, j] - before[j])

    return rescale


def check_multipliers(problem: Any, l1: np.ndarray, names: Iterable[str]) -> None:
    """Raise where steps cannot be multiplied, or multiples do not do what they are for."""
    mup = problem.axes.get("parametrization") == "mup"
    if not (mup or problem.lr_multipliers.size):
        return
    what = 'parametrization="mup"' if mup else "lr_multipliers=..."
    for name in sorted(set(names)):
        if mup and name in BY_GRADIENT:
            raise SpecError(
                f"{what} has the learning rates of Adam and its kind, and steps of {name} depend "
                "on the size of gradients or weights: use another optimizer, such as adam"
            )
        if find_rule(name).answer is not None:
            raise SpecError(
                f"{what} multiplies steps, and {name} answers with an average of where they led: "
                "use another optimizer, such as adam"
            )
    if l1.any():
        raise SpecError(
            f"{what} and l1=... do not go together: weights move to zero by the learning rate, "
            "which is another one in each layer; use l2"
        )
