"""Adam with another second moment, or with the moments in another order."""

from __future__ import annotations

from typing import Any, final

from fastopt.classes.common import Schedule, bind_rule
from fastopt.optimizer import Optimizer

__all__ = ["AdaBelief", "CautiousAdamW", "LaProp", "Yogi"]


@final
@bind_rule("laprop")
class LaProp(Optimizer):
    r"""Adam that scales each gradient before averaging.

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) \frac{g}{\sqrt{\hat v} + \epsilon}, \qquad
        p \leftarrow (1 - \alpha\lambda) p - \frac{\alpha}{1 - \beta_1^t} m

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = LaProp(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.708775, -1.704182])

    References
    ----------
    L. Ziyin, Z. T. Wang and M. Ueda, *LaProp: separating momentum and adaptivity in Adam*,
    arXiv:2002.04839.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 4e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-15,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("adabelief")
class AdaBelief(Optimizer):
    r"""Adam scaled by the gradient's distance from its mean.

    .. math::
        s \leftarrow \beta_2 s + (1 - \beta_2) (g - m)^2 + \epsilon, \qquad
        p \leftarrow (1 - \alpha\lambda) p - \alpha \frac{\hat m}{\sqrt{\hat s} + \epsilon}

    Parameters
    ----------
    eps : float
        Added to the second moment and, as in the paper, to its root.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = AdaBelief(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.652305, -1.650571])

    References
    ----------
    J. Zhuang et al., *AdaBelief optimizer: adapting stepsizes by the belief in observed gradients*,
    arXiv:2010.07468.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("yogi")
class Yogi(Optimizer):
    r"""Adam whose second moment changes by amounts that do not depend on itself.

    .. math::
        v \leftarrow v - (1 - \beta_2)\, \mathrm{sign}(v - g^2)\, g^2, \qquad
        p \leftarrow p - \alpha \frac{\hat m}{\sqrt{\hat v} + \epsilon}

    Parameters
    ----------
    initial_accumulator_value : float
        What both moments start at.

    Notes
    -----
    Biases are corrected as in Adam, like in optax.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = Yogi(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.701849, -1.700786])

    References
    ----------
    M. Zaheer et al., *Adaptive methods for nonconvex optimization*, NeurIPS 2018.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-3,
        initial_accumulator_value: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("cautious_adamw")
class CautiousAdamW(Optimizer):
    r"""AdamW that moves only the elements whose step agrees with the gradient.

    .. math::
        p \leftarrow (1 - \alpha \lambda) p - \alpha \frac{\phi}{\max(\bar\phi, 10^{-3})} u

    with the step :math:`u` of :class:`AdamW`, the mask :math:`\phi = [u g > 0]` and its mean over
    the tensor :math:`\bar\phi`.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = CautiousAdamW(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.698911, -1.694945])

    References
    ----------
    K. Liang et al., *Cautious optimizers: improving training with one line of code*,
    arXiv:2411.16085.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...
