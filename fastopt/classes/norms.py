"""Optimizers that look at each tensor as a whole before they update it."""

from __future__ import annotations

from typing import Any, final

from fastopt.classes.common import Schedule, bind_rule
from fastopt.optimizer import Optimizer
from fastopt.rules import recipes

__all__ = ["LAMB", "LARS", "MARS", "StableAdamW"]


@final
@bind_rule("lamb")
class LAMB(Optimizer):
    r"""Adam steps whose length follows that of the parameter, tensor by tensor.

    .. math::
        u = \frac{\hat m}{\sqrt{\hat v} + \epsilon} + \lambda p, \qquad
        p \leftarrow p - \alpha \frac{\lVert p \rVert}{\lVert u \rVert} u

    where the ratio is 1 if either norm is zero.

    Parameters
    ----------
    lr : float
        Learning rate, the share of a tensor's norm that a step is.

    Notes
    -----
    The norms are summed in float64, in an order that does not depend on the number of threads.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = LAMB(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.572353, -1.56548 ])

    References
    ----------
    Y. You et al., *Large batch optimization for deep learning: training BERT in 76 minutes*,
    arXiv:1904.00962.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("lars")
class LARS(Optimizer):
    r"""Momentum whose learning rate follows the length of the parameter, tensor by tensor.

    .. math::
        v \leftarrow \mu v + \alpha \frac{\eta \lVert p \rVert}
            {\lVert g \rVert + \lambda \lVert p \rVert + \epsilon} (g + \lambda p), \qquad
        p \leftarrow p - v

    Parameters
    ----------
    lr : float
        Learning rate, before the local one of each tensor.
    momentum : float
        Decay of the velocity, in [0, 1].
    trust_coefficient : float
        Share :math:`\eta` of a parameter's norm that a step may be.
    eps : float
        Added to the norm of the gradient.

    Notes
    -----
    optax divides by the norm of the gradient with its decay instead.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = LARS(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.999439, -1.998878])

    References
    ----------
    Y. You, I. Gitman and B. Ginsburg, *Large batch training of convolutional networks*,
    arXiv:1708.03888.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        trust_coefficient: float = 1e-3,
        eps: float = 0.0,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("stable_adamw")
class StableAdamW(Optimizer):
    r"""AdamW that takes shorter steps when gradients are a surprise.

    .. math::
        \alpha_t = \alpha / \max\bigl(1, \sqrt{\mathrm{mean}(g^2 / \max(v, \epsilon^2))}\bigr),
        \qquad
        p \leftarrow p - \alpha_t \left(\frac{m}{\sqrt{v} + \epsilon} + \lambda p\right)

    with the mean over a tensor, and moments that are kept without bias.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = StableAdamW(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.698821, -1.694901])

    References
    ----------
    M. Wortsman et al., *Stable and low-precision training for large-scale vision-language models*,
    arXiv:2304.13013.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("mars_adamw", recipes.mars)
class MARS(Optimizer):
    r"""AdamW on gradients whose variance is reduced by those of the step before.

    .. math::
        c_t = g_t + \gamma \frac{\beta_1}{1 - \beta_1} (g_t - g_{t-1}), \qquad
        \tilde c_t = c_t / \max(1, \lVert c_t \rVert)

    and :class:`AdamW` on :math:`\tilde c_t`, with the norm over a tensor.

    Parameters
    ----------
    gamma : float
        Weight of the variance reduction.
    optimize_1d : bool
        Whether tensors of fewer than two dimensions are treated as all others, as in the paper; if
        not, they are stepped by AdamW, as by default in the authors' program and in timm.
    plain_start : bool
        Take the first gradient as it is, as timm does, and not for a difference from zero.

    Notes
    -----
    This is MARS-AdamW in its approximate form. timm's ``Mars`` is ``MARS(..., betas=(0.9, 0.99),
    optimize_1d=False, plain_start=True)``.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = MARS(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.700429, -1.699956])

    References
    ----------
    H. Yuan et al., *MARS: unleashing the power of variance reduction for training large models*,
    arXiv:2411.10438.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 3e-3,
        betas: tuple[float, float] = (0.95, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        gamma: float = 0.025,
        optimize_1d: bool = True,
        *,
        plain_start: bool = False,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...
