"""Steps of one size, in the direction of a sign."""

from __future__ import annotations

from typing import Any, final

from fastopt.classes.common import Schedule, bind_rule
from fastopt.optimizer import Optimizer

__all__ = ["CautiousLion", "Lion", "Signum"]


@final
@bind_rule("lion")
class Lion(Optimizer):
    r"""The sign of a mean of gradients, chosen by a search over programs.

    .. math::
        p \leftarrow (1 - \alpha \lambda) p - \alpha\, \mathrm{sign}(\beta_1 m + (1 - \beta_1) g),
        \qquad m \leftarrow \beta_2 m + (1 - \beta_2) g

    Parameters
    ----------
    lr : float
        Learning rate, the size of a step in units of the parameter.
    betas : pair of float
        Weight of the mean in the step, and decay of the mean, each in [0, 1).

    Notes
    -----
    The sign of zero is zero, that of NaN is NaN. The weight decay of optax is 1e-3 by default.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = Lion(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.7, -1.7])

    References
    ----------
    X. Chen et al., *Symbolic discovery of optimization algorithms*, arXiv:2302.06675.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("cautious_lion")
class CautiousLion(Optimizer):
    r"""Lion that moves only the elements whose step agrees with the gradient.

    .. math::
        p \leftarrow (1 - \alpha \lambda) p - \alpha \frac{\phi}{\max(\bar\phi, 10^{-3})} u

    with the step :math:`u` of :class:`Lion`, the mask :math:`\phi = [u g > 0]` and its mean over
    the tensor :math:`\bar\phi`.

    Parameters
    ----------
    lr : float
        Learning rate, the mean size of a step in units of the parameter.
    betas : pair of float
        Weight of the mean in the step, and decay of the mean, each in [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = CautiousLion(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.7, -1.7])

    References
    ----------
    K. Liang et al., *Cautious optimizers: improving training with one line of code*,
    arXiv:2411.16085.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("signum")
class Signum(Optimizer):
    r"""The sign of the mean of the gradients.

    .. math::
        m \leftarrow \mu m + (1 - \mu) g, \qquad p \leftarrow p - \alpha\, \mathrm{sign}(m)

    Parameters
    ----------
    lr : float
        Learning rate, the size of a step in units of the parameter.
    momentum : float
        Decay of the mean, in [0, 1); with 0 this is signSGD.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = Signum(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.7, -1.7])

    References
    ----------
    J. Bernstein et al., *signSGD: compressed optimisation for non-convex problems*,
    arXiv:1802.04434.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-4,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...
