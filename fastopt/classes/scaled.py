"""Optimizers of torch that scale or average in other ways than Adam."""

from __future__ import annotations

from typing import Any, final

from fastopt.classes.common import Schedule, bind_rule
from fastopt.optimizer import Optimizer
from fastopt.rules import recipes

__all__ = ["ASGD", "Adadelta", "RMSprop", "Rprop"]


@final
@bind_rule("rmsprop", recipes.rmsprop)
class RMSprop(Optimizer):
    r"""Gradients scaled by their root mean square.

    .. math::
        v \leftarrow \rho v + (1 - \rho) g^2, \qquad
        b \leftarrow \mu b + \frac{g}{\sqrt{v} + \epsilon}, \qquad p \leftarrow p - \alpha b

    and with ``centered`` the mean of the gradients is taken off, :math:`\sqrt{v - \bar g^2}`.

    Parameters
    ----------
    alpha : float
        Decay :math:`\rho` of the mean square, in [0, 1].
    momentum : float
        Decay :math:`\mu` of the velocity, in [0, 1]; with 0 no buffer is kept.
    centered : bool
        Divide by the deviation from the mean.

    Notes
    -----
    A variance that rounding makes negative counts as zero; in torch its root is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = RMSprop(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.      , -0.309687])

    References
    ----------
    T. Tieleman and G. Hinton, *Neural networks for machine learning*, lecture 6e, 2012; A. Graves,
    *Generating sequences with recurrent neural networks*, arXiv:1308.0850.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("adadelta")
class Adadelta(Optimizer):
    r"""Steps in the units of the parameter, with no learning rate to choose.

    .. math::
        v \leftarrow \rho v + (1 - \rho) g^2, \quad
        d = \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}} g, \quad
        u \leftarrow \rho u + (1 - \rho) d^2, \quad p \leftarrow p - \alpha d

    Parameters
    ----------
    lr : float
        Factor on the steps.
    rho : float
        Decay of both mean squares, in [0, 1].
    eps : float
        Added to both mean squares; sets the size of the first steps.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = Adadelta(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.999029, -1.999029])

    References
    ----------
    M. D. Zeiler, *ADADELTA: an adaptive learning rate method*, arXiv:1212.5701.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("asgd")
class ASGD(Optimizer):
    r"""SGD with a decaying learning rate and a running mean of the parameters.

    .. math::
        p \leftarrow (1 - \lambda \eta_t) p - \eta_t g, \qquad a \leftarrow a + \mu_t (p - a)

    with :math:`\eta_{t+1} = \alpha / (1 + \lambda \alpha t)^\kappa` and :math:`\mu_{t+1} = 1 /
    \max(1, t - t_0)`. The mean :math:`a` is the slot ``ax`` of the state.

    Parameters
    ----------
    lr : float
        Learning rate, in units of parameter per gradient.
    lambd : float
        Decay :math:`\lambda` of the parameter and of the learning rate.
    alpha : float
        Power :math:`\kappa` of the decay of the learning rate.
    t0 : float
        Step from which parameters are averaged.

    Notes
    -----
    As in torch, a new learning rate acts one step late.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = ASGD(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.511984, -1.023967])

    References
    ----------
    B. T. Polyak and A. B. Juditsky, *Acceleration of stochastic approximation by averaging*, SIAM
    J. Control Optim. 30, 1992.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("rprop")
class Rprop(Optimizer):
    r"""A step size for each element that grows while the gradient keeps its sign.

    .. math::
        p \leftarrow p - \mathrm{sign}(g)\, \eta

    where :math:`\eta` grows by :math:`\eta^+` while the sign stays; when it turns, :math:`\eta`
    shrinks by :math:`\eta^-` and the element stays where it is. For full batches.

    Parameters
    ----------
    lr : float
        Step size at the start, in units of the parameter.
    etas : pair of float
        Factors when the sign turns, below 1, and while it stays, above 1.
    step_sizes : pair of float
        Smallest and largest step size.

    Notes
    -----
    A NaN gradient makes the parameter NaN; torch, whose sign of NaN is zero, hides it.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = Rprop(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.636, -1.636])

    References
    ----------
    M. Riedmiller and H. Braun, *A direct adaptive method for faster backpropagation learning: the
    RPROP algorithm*, ICNN 1993.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...
