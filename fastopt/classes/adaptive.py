"""What torch has beside Adam of the adaptive kind."""

from __future__ import annotations

from typing import Any, final

from fastopt.classes.common import Schedule, bind_rule
from fastopt.optimizer import Optimizer

__all__ = ["Adagrad", "Adamax", "NAdam", "RAdam"]


@final
@bind_rule("nadam")
class NAdam(Optimizer):
    r"""Adam with Nesterov's look-ahead.

    With the momentum :math:`\mu_t = \beta_1 (1 - 0.5 \cdot 0.96^{t \psi})` and its running product
    :math:`P_t`,

    .. math::
        p \leftarrow p - \alpha \frac{\frac{1 - \mu_t}{1 - P_t} g
            + \frac{\mu_{t+1}}{1 - P_{t+1}} m}{\sqrt{\hat v} + \epsilon}

    where the moments :math:`m, v` are those of :class:`Adam`.

    Parameters
    ----------
    momentum_decay : float
        How fast the momentum warms up to its final value.

    Notes
    -----
    optax and Keras have other algorithms of this name, without this schedule of the momentum.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = NAdam(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.752729, -1.747509])

    References
    ----------
    T. Dozat, *Incorporating Nesterov momentum into Adam*, ICLR 2016 workshop.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("radam")
class RAdam(Optimizer):
    r"""Adam that steps without the second moment until its variance is known.

    .. math::
        p \leftarrow p - \alpha \hat m \begin{cases}
            r_t \sqrt{1 - \beta_2^t} / (\sqrt{v} + \epsilon) & \rho_t > 5 \\ 1 & \text{else,}
        \end{cases}

    where :math:`\rho_t` is the length of the averaged sequence and :math:`r_t` rectifies the
    variance.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = RAdam(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.462303, -0.924607])

    References
    ----------
    L. Liu et al., *On the variance of the adaptive learning rate and beyond*, arXiv:1908.03265.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("adamax")
class Adamax(Optimizer):
    r"""Adam with a decaying maximum in place of the second moment.

    .. math::
        u \leftarrow \max(\beta_2 u, |g| + \epsilon), \qquad
        p \leftarrow p - \frac{\alpha}{1 - \beta_1^t} \frac{m}{u}

    Parameters
    ----------
    betas : pair of float
        Decays of the first moment and of the maximum, each in [0, 1).
    eps : float
        Added to the magnitude of the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = Adamax(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.715499, -1.707648])

    References
    ----------
    D. P. Kingma and J. Ba, *Adam: a method for stochastic optimization*, arXiv:1412.6980.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("adagrad")
class Adagrad(Optimizer):
    r"""Steps scaled by the root of the sum of all squared gradients.

    .. math::
        s \leftarrow s + g^2, \qquad
        p \leftarrow p - \frac{\alpha}{1 + (t - 1) \eta} \frac{g}{\sqrt{s} + \epsilon}

    Parameters
    ----------
    lr_decay : float
        Decay :math:`\eta` of the learning rate.
    initial_accumulator_value : float
        What the sums start at.
    eps : float
        Added to the root of the sum.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = Adagrad(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.780456, -1.775822])

    References
    ----------
    J. Duchi, E. Hazan and Y. Singer, *Adaptive subgradient methods for online learning and
    stochastic optimization*, JMLR 2011.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...
