"""The switch between training and evaluation of schedule-free optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fastopt.errors import StateError
from fastopt.rules.schedule_free import averaged
from fastopt.torch.adapter import Optimizer


class ScheduleFree(Optimizer):
    r"""Abstract base: while training, parameters hold the point where gradients are taken.

    The average of the iterates, which is what is to be evaluated, saved and used, is another point:
    call :meth:`eval` before that, and :meth:`train` before the next step.

    Raises
    ------
    StateError
        ``step`` was called after :meth:`eval`; nothing was changed.

    Examples
    --------
    >>> from fastopt.torch import ScheduleFreeSGD
    >>> p = torch.nn.Parameter(torch.tensor([4.0]))
    >>> optimizer = ScheduleFreeSGD([p], lr=0.5)
    >>> for _ in range(2):
    ...     p.grad = p.detach().clone()
    ...     optimizer.step()
    >>> optimizer.eval()
    >>> p.grad = torch.ones(1)
    >>> optimizer.step()
    Traceback (most recent call last):
        ...
    fastopt.errors.StateError: ScheduleFreeSGD: the parameters hold the average of the iterates,
    because eval() was called; call optimizer.train() before step().
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, in place; see :class:`Optimizer`."""
        if not all(group["train_mode"] for group in self.param_groups):
            raise StateError(
                f"{type(self).__name__}: the parameters hold the average of the iterates, because "
                "eval() was called; call optimizer.train() before step()."
            )
        return super().step(closure)

    def eval(self) -> None:
        """Make the parameters the average of the iterates, in place."""
        self._switch(train=False)

    def train(self) -> None:
        """Make the parameters the point where gradients are taken, in place."""
        self._switch(train=True)

    @torch.no_grad()
    def _switch(self, train: bool) -> None:
        for group in self.param_groups:
            if group["train_mode"] == train:
                continue
            group["train_mode"] = train
            beta = group["momentum"] if "momentum" in group else group["betas"][0]
            for p in group["params"]:
                z = self.state.get(p, {}).get("z")
                if z is not None and beta:
                    p.copy_(averaged(beta, p, z.to(p.dtype), not train))
