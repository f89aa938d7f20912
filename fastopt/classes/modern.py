"""Relatives of Adam that torch does not have."""

from __future__ import annotations

from typing import Any, final

from fastopt.classes.common import Schedule, bind_rule
from fastopt.optimizer import Optimizer

__all__ = ["ADOPT", "AdEMAMix", "Adan"]


@final
@bind_rule("ademamix")
class AdEMAMix(Optimizer):
    r"""Adam with a second, slow mean of the gradients.

    .. math::
        p \leftarrow p - \alpha \left(\frac{\hat m_1 + a_t m_2}{\sqrt{\hat v} + \epsilon}
            + \lambda p\right)

    where :math:`m_1, m_2` are means with the decays :math:`\beta_1, \beta_3`, the slow one without
    a correction of its bias.

    Parameters
    ----------
    betas : triple of float
        Decays of the fast mean, of the second moment and of the slow mean.
    alpha : float
        Weight :math:`a` of the slow mean.
    alpha_warmup : float
        Steps in which ``alpha`` grows from zero.
    beta3_warmup : float
        Steps in which the slow mean's decay grows from the fast one's.

    Notes
    -----
    The default of ``alpha`` is that of the authors' program; it is 6 in optax.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = AdEMAMix(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.701467, -1.700504])

    References
    ----------
    M. Pagliardini, P. Ablin and D. Grangier, *The AdEMAMix optimizer: better, faster, older*,
    arXiv:2409.03137.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        alpha: float = 2.0,
        alpha_warmup: float = 0.0,
        beta3_warmup: float = 0.0,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("adopt")
class ADOPT(Optimizer):
    r"""Adam that divides by the second moment of the steps before.

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1)\,
            \mathrm{clip}\bigl(g / \max(\sqrt{v}, \epsilon), \pm (t - 1)^q\bigr), \quad
        p \leftarrow p - \alpha m

    and only then :math:`v \leftarrow \beta_2 v + (1 - \beta_2) g^2`; the first step only sets
    :math:`v`.

    Parameters
    ----------
    eps : float
        Smallest root of the second moment, in units of the gradient.
    clip : bool
        Limit the scaled gradient to the power :math:`q` of the step.
    clip_exp : float
        The power :math:`q`: 0.25 in the paper and its authors' program, 0.333 by default in timm.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = ADOPT(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.9711 , -1.97105])

    References
    ----------
    S. Taniguchi et al., *ADOPT: modified Adam can converge with any beta2 with the optimal rate*,
    arXiv:2411.02853.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.9999),
        eps: float = 1e-6,
        clip: bool = True,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        clip_exp: float = 0.25,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...


@final
@bind_rule("adan")
class Adan(Optimizer):
    r"""Adam with Nesterov's look-ahead made of differences of gradients.

    .. math::
        p \leftarrow \Bigl(p - \alpha \frac{\hat m + \beta_2 \hat w}{\sqrt{\hat v} + \epsilon}\Bigr)
            / (1 + \alpha \lambda)

    with the means :math:`m` of the gradients, :math:`w` of their differences :math:`d`, and
    :math:`v` of :math:`(g + \beta_2 d)^2`.

    Parameters
    ----------
    betas : triple of float
        Decays of the three means, each in [0, 1).
    no_prox : bool
        Shrink the weights by :math:`1 - \alpha\lambda` before the step instead.

    Notes
    -----
    The betas are what the paper calls :math:`1 - \beta`, as in its authors' program.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0])
    >>> opt = Adan(w, lr=0.1)
    >>> for _ in range(3):
    ...     opt.step(2.0 * w)  # the gradient of the sum of squares
    >>> w.round(6)
    array([ 0.702129, -1.700601])

    References
    ----------
    X. Xie et al., *Adan: adaptive Nesterov momentum algorithm for faster optimizing deep models*,
    arXiv:2208.06677.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        no_prox: bool = False,
        *,
        maximize: bool = False,
        nonfinite: str = "propagate",
        schedule: Schedule | None = None,
        ema: float | None = None,
    ) -> None: ...
