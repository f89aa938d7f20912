"""An average of the iterates in place of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from fastopt.classes.common import Schedule, bind_rule
from fastopt.errors import HyperparameterError, StateError
from fastopt.optimizer import Optimizer
from fastopt.rules.schedule_free import averaged
from fastopt.stepping.batches import Segment
from fastopt.stepping.segments import Group

__all__ = ["ScheduleFree", "ScheduleFreeAdamW", "ScheduleFreeSGD"]


class ScheduleFree(Optimizer):
    r"""What both schedule-free optimizers share: the switch between training and evaluation.

    In training the parameters hold :math:`y`, where gradients are taken; :meth:`eval` puts the
    average :math:`x = y + (1 - 1 / \beta) (z - y)` in their place, and :meth:`train` puts
    :math:`y` back, bit for bit. The mode is in ``param_groups``, so a state dict remembers it.

    Examples
    --------
    >>> import fastopt
    >>> p = np.array([4.0])
    >>> opt = fastopt.ScheduleFreeSGD(p, lr=0.5)
    >>> for _ in range(3):
    ...     opt.step(p.copy())
    >>> at = p.copy()
    >>> opt.eval()
    >>> opt.training, bool(p[0] != at[0])
    (False, True)
    >>> opt.train()
    >>> bool(p[0] == at[0])
    True

    References
    ----------
    A. Defazio et al., *The road less scheduled*, arXiv:2405.15682.
    """

    _held: list[np.ndarray] | None = None

    @property
    def training(self) -> bool:
        """Whether the parameters are where gradients are to be taken."""
        return all(group["train_mode"] for group in self.param_groups)

    def eval(self) -> None:
        """Put the average in the place of the parameters; does nothing the second time.

        Raises
        ------
        HyperparameterError
            The momentum (beta1) of a group is zero: then no average can be told from y and z.
        """
        if not self.training:
            return
        for group in self._groups:
            if group.h[1] == 0.0:
                raise HyperparameterError(
                    f"{group.where}: with a momentum (beta1) of 0 the average is not kept; "
                    "use a positive one, usually 0.9"
                )
        held = []
        for group, segment in self._segments():
            p = segment.array
            held.append(p.copy())
            p[...] = averaged(group.h[1], p, segment.slots["z"], True)
        self._held = held
        self._switch(True)

    def train(self) -> None:
        """Put back the parameters that gradients are taken at; does nothing the second time.

        After a state dict saved in evaluation they are computed from the average, to the last
        bits; after :meth:`eval` they are what they were.
        """
        if self.training:
            return
        if self._held is None:
            for group, segment in self._segments():
                p = segment.array
                p[...] = averaged(group.h[1], p, segment.slots["z"], False)
        else:
            for (_, segment), y in zip(self._segments(), self._held):
                segment.array[...] = y
        self._held = None
        self._switch(False)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load a state dict, the mode included; see :meth:`fastopt.Optimizer.load_state_dict`.

        The parameters are not part of it: load those that were saved in the same mode.
        """
        super().load_state_dict(state_dict)
        self._held = None

    def _segments(self) -> list[tuple[Group, Segment]]:
        """Return those that have taken a step; before that, all three points are one."""
        pairs = [(group, segment) for group in self._groups for segment in group.segments]
        return [(group, segment) for group, segment in pairs if segment not in group.waiting]

    def _switch(self, evaluates: bool) -> None:
        for options in self.param_groups:
            options["train_mode"] = not evaluates

    def _put(self, grads: Any) -> None:
        if not self.training:
            raise StateError(
                f"{type(self).__name__} is in evaluation mode, where the parameters hold the "
                "average; call train() before step(). Nothing was changed."
            )
        super()._put(grads)


@final
@bind_rule("schedule_free_sgd", train_mode=True)
class ScheduleFreeSGD(ScheduleFree):
    r"""SGD that needs no schedule: gradients at one point, evaluation at another.

    .. math::
        y = (1 - \beta) z + \beta x, \qquad z \leftarrow z - \alpha g(y), \qquad
        x \leftarrow (1 - c_t) x + c_t z

    The parameters hold :math:`y` in training and :math:`x` after :meth:`eval`.

    Parameters
    ----------
    lr : float
        Learning rate, in units of parameter per gradient.
    momentum : float
        Where gradients are taken between z (0) and x (1), in [0, 1).
    warmup_steps : float
        Steps in which the learning rate grows from zero.
    r : float
        Power of the step in the weights of the average.
    weight_lr_power : float
        Power of the largest learning rate in those weights.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = ScheduleFreeSGD(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> opt.eval()  # w is now the average
    >>> w.round(6)
    array([ 0.645867, -1.291733])

    References
    ----------
    A. Defazio et al., *The road less scheduled*, arXiv:2405.15682.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup_steps: float = 0.0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("schedule_free_adamw", train_mode=True)
class ScheduleFreeAdamW(ScheduleFree):
    r"""AdamW that needs no schedule: gradients at one point, evaluation at another.

    .. math::
        y = (1 - \beta_1) z + \beta_1 x, \qquad
        z \leftarrow z - \alpha \left(\frac{g(y)}{\sqrt{\hat v} + \epsilon} + \lambda y\right),
        \qquad
        x \leftarrow (1 - c_t) x + c_t z

    The parameters hold :math:`y` in training and :math:`x` after :meth:`eval`.

    Parameters
    ----------
    betas : pair of float
        Where gradients are taken between z and x, and decay of the second moment.
    warmup_steps : float
        Steps in which the learning rate grows from zero.
    r : float
        Power of the step in the weights of the average.
    weight_lr_power : float
        Power of the largest learning rate in those weights.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = ScheduleFreeAdamW(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> opt.eval()  # w is now the average
    >>> w.round(6)
    array([ 0.806141, -1.802948])

    References
    ----------
    A. Defazio et al., *The road less scheduled*, arXiv:2405.15682.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        warmup_steps: float = 0.0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...
