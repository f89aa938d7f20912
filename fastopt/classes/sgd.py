"""Stochastic gradient descent, plain and with momentum."""

from __future__ import annotations

from typing import Any, final

from fastopt.classes.common import Schedule, bind_rule
from fastopt.optimizer import Optimizer
from fastopt.rules import recipes

__all__ = ["SGD"]


@final
@bind_rule("momentum", recipes.sgd)
class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum in three forms.

    With the gradient :math:`g` (plus :math:`\lambda p` for coupled weight decay), the momentum
    :math:`\mu` and the dampening :math:`d`, the heavy ball of torch is

    .. math::
        v \leftarrow \mu v + (1 - d) g, \qquad p \leftarrow p - \alpha v

    (the first step sets :math:`v = g`), and with ``nesterov`` :math:`p \leftarrow p - \alpha
    (g + \mu v)`. ``form="ema"`` averages, :math:`v \leftarrow \mu v + (1 - \mu) g`;
    ``form="velocity"`` is Keras's, with the learning rate inside,
    :math:`v \leftarrow \mu v - \alpha g,\; p \leftarrow p + v`.

    Parameters
    ----------
    lr : float
        Learning rate, in units of parameter per gradient.
    momentum : float
        Decay of the velocity, in [0, 1]; with 0 no buffer is kept.
    dampening : float
        Damping of new gradients, in [0, 1].
    nesterov : bool
        Look one step ahead; needs momentum and no dampening.
    form : {"heavy_ball", "ema", "velocity"}
        Which velocity is kept.
    decoupled : bool
        Shrink the weights by :math:`1 - \alpha\lambda` instead of adding to the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0], np.float32)
    >>> opt = SGD(w, lr=0.125, momentum=0.5)
    >>> for _ in range(2):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w
    array([ 0.4375, -0.875 ], dtype=float32)

    References
    ----------
    B. T. Polyak, *Some methods of speeding up the convergence of iteration methods*, 1964;
    I. Sutskever et al., *On the importance of initialization and momentum in deep learning*, 2013.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        form: str = "heavy_ball",
        decoupled: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...
