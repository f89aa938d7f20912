"""Adam, AdamW and AMSGrad."""

from __future__ import annotations

from typing import Any, final

from fastopt.classes.common import Schedule, bind_rule
from fastopt.optimizer import Optimizer
from fastopt.rules import recipes

__all__ = ["Adam", "AdamW"]


@final
@bind_rule("adam", recipes.adam)
class Adam(Optimizer):
    r"""Adam: steps scaled by running moments of the gradient.

    With the gradient :math:`g` (plus :math:`\lambda p` for coupled weight decay), in torch's order
    of operations,

    .. math::
        m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
        v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        p &\leftarrow p - \frac{\alpha}{1 - \beta_1^t}
            \frac{m}{\sqrt{v} / \sqrt{1 - \beta_2^t} + \epsilon},

    where ``amsgrad`` takes the largest :math:`v` so far in place of :math:`v`.

    Parameters
    ----------
    amsgrad : bool
        Divide by the largest second moment so far.
    decoupled_weight_decay : bool
        Decay as :class:`AdamW` does.

    Notes
    -----
    When a beta changes between steps, :math:`\beta^t` is that of the current beta, as in torch.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"w": np.array([1.0, -2.0]), "b": np.array(0.5)}
    >>> opt = Adam(params, lr=0.1)
    >>> opt.step({"w": np.array([30.0, -0.4])})  # no gradient for b: it stays
    >>> params["w"].round(6), params["b"]
    (array([ 0.9, -1.9]), array(0.5))

    References
    ----------
    D. P. Kingma and J. Ba, *Adam: a method for stochastic optimization*, arXiv:1412.6980;
    S. J. Reddi, S. Kale and S. Kumar, *On the convergence of Adam and beyond*, ICLR 2018.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("adamw", recipes.adam, decoupled_weight_decay=True)
class AdamW(Optimizer):
    r"""Adam with decoupled weight decay: :math:`p \leftarrow (1 - \alpha\lambda) p` before a step.

    The decay does not pass through the moments, so it is the same for weights with large and with
    small gradients; the rest is :class:`Adam`.

    Parameters
    ----------
    weight_decay : float
        Decay of the weights; a step multiplies them by ``1 - lr * weight_decay``.
    amsgrad : bool
        Divide by the largest second moment so far.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import flatten
    >>> buffer = flatten({"w": np.ones((2, 2)), "b": np.zeros(2)})
    >>> opt = AdamW(buffer, lr=0.5, weight_decay=0.2)
    >>> buffer.grads["b"][:] = 3.0
    >>> opt.step()  # one kernel call for both tensors
    >>> buffer.params["w"][0], buffer.params["b"].round(6)
    (array([0.9, 0.9]), array([-0.5, -0.5]))

    References
    ----------
    I. Loshchilov and F. Hutter, *Decoupled weight decay regularization*, arXiv:1711.05101.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...
