"""What a rule accumulates over the steps, in the state as torch keeps it: tensors of one number."""

from __future__ import annotations

from operator import is_, itemgetter
from typing import Any

import numpy as np
import torch

from fastopt.rules import Rule
from fastopt.torch.tensors import scalar_dtype


def is_scalar(value: Any, dtype: torch.dtype) -> bool:
    """Tell whether a step can write to a value in the state that is to be a single number."""
    return (
        type(value) is torch.Tensor
        and value.dtype == dtype
        and value.ndim == 0
        and value.device.type == "cpu"
        and not (value.requires_grad or value.is_inference())
    )


class Scalars:
    """Tensors in the state that say what the clocks do: NAdam's ``mu_product``, for example.

    Clocks are float64 and what kernels advance; these are written after each step, and read before
    it, because anyone may write to them.

    ``rule``: with something that accumulates.

    ``tensors`` are those that are written to.

    >>> from fastopt.rules import RULES
    >>> scalars, entry = Scalars(RULES["nadam"]), {"mu_product": torch.tensor(1.0)}
    >>> scalars.take([entry], np.array([[0.0, 1.0, 1.0, 0.0]]))
    >>> scalars.write(np.array([[1.0, 0.5, 0.999, 0.0]]))
    >>> entry, scalars.are_untouched([entry])
    ({'mu_product': tensor(0.5000)}, True)
    """

    def __init__(self, rule: Rule) -> None:
        self._places = list(rule.accumulates.values())
        self._getters = list(map(itemgetter, rule.accumulates))
        self.tensors: list[torch.Tensor] = []

    def take(self, entries: list[dict[str, Any]], clocks: np.ndarray) -> None:
        """Write to these entries from now on; they say what their clocks do."""
        self.tensors = [getter(entry) for getter in self._getters for entry in entries]
        self._written = torch.empty(len(self.tensors), dtype=scalar_dtype())
        self._numbers = list(self._written.unbind())
        self._note(clocks)

    def _note(self, clocks: np.ndarray) -> None:
        if self.tensors:
            self._written.copy_(torch.from_numpy(clocks[:, self._places].T.ravel()))

    def write(self, clocks: np.ndarray) -> None:
        """Make the tensors say what the clocks do after a step."""
        if self.tensors:
            self._note(clocks)
            torch._foreach_copy_(self.tensors, self._numbers)

    def are_untouched(self, entries: list[dict[str, Any]]) -> bool:
        """Tell whether the tensors are still there, and say what was written."""
        found = [getter(entry) for getter in self._getters for entry in entries]
        if len(found) != len(self.tensors) or not all(map(is_, found, self.tensors)):
            return False
        try:
            return not found or torch.equal(torch.stack(found), self._written)
        except RuntimeError:  # one has another shape now, or another dtype
            return False
