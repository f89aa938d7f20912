"""The optimizers by the names, signatures and defaults they have in :mod:`torch.optim`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

from fastopt.errors import HyperparameterError
from fastopt.optimizer import Optimizer
from fastopt.rules import RULES, Flag, Rule

__all__ = ["SGD", "Adam", "AdamW"]

Schedule = Callable[[int], float]


def _sgd(where: str, options: Mapping[str, Any]) -> tuple[Rule, dict[str, Any]]:
    """Pick the rule: without momentum there is no buffer, 12 bytes of float32 traffic for 20."""
    rule = RULES["momentum"]
    values = {name: options[name] for name in rule.hyper}
    rule.pack(values, where)
    if values["nesterov"] and not (values["momentum"] > 0.0 and values["dampening"] == 0.0):
        raise HyperparameterError(
            f"{where}: nesterov=True needs momentum > 0 and dampening = 0; got "
            f"momentum={values['momentum']} and dampening={values['dampening']}"
        )
    if values["momentum"] != 0.0:
        return rule, values
    plain = RULES["sgd"]
    return plain, {name: values[name] for name in plain.hyper}


def _adam(where: str, options: Mapping[str, Any]) -> tuple[Rule, dict[str, Any]]:
    """Split the betas and pick the rule with or without the maximum."""
    betas = options["betas"]
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise HyperparameterError(f"{where}: betas must be a pair (beta1, beta2); got {betas!r}")
    largest = Flag().pack(f"{where}: amsgrad", options["amsgrad"])
    values = {name: options[name] for name in ("lr", "eps", "weight_decay", "maximize")}
    decoupled = options["decoupled_weight_decay"]
    values |= {"beta1": betas[0], "beta2": betas[1], "decoupled": decoupled}
    return RULES["amsgrad" if largest else "adam"], values


@final
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
    params : ndarray, list or dict of ndarray, Buffer, or list of groups
        Updated in place; see :class:`fastopt.Optimizer`.
    lr : float
        Learning rate, in units of parameter per gradient.
    momentum : float
        Decay of the velocity, in [0, 1]; with 0 no buffer is kept.
    dampening : float
        Damping of new gradients, in [0, 1].
    weight_decay : float
        Decay of the weights.
    nesterov : bool
        Look one step ahead; needs momentum and no dampening.
    maximize : bool
        Ascend instead of descend.
    form : {"heavy_ball", "ema", "velocity"}
        Which velocity is kept.
    decoupled : bool
        Shrink the weights by :math:`1 - \alpha\lambda` instead of adding to the gradient.
    nonfinite : {"propagate", "skip", "raise"}
        What to do with gradients that are NaN or infinite.
    schedule : callable, optional
        ``schedule(t) -> factor`` on the learning rate after t completed steps.
    ema : float, optional
        Decay of a moving average of the parameters, kept in ``opt.ema``.

    Raises
    ------
    ArrayTypeError, ArrayError
        A parameter is not an array that can be updated in place, or shares memory with another.
    HyperparameterError
        A hyperparameter is not a number, or out of its range.

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
    ) -> None:
        super().__init__(
            params,
            _sgd,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "form": form,
                "decoupled": decoupled,
            },
            nonfinite=nonfinite,
            schedule=schedule,
            ema=ema,
        )


@final
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
    params : ndarray, list or dict of ndarray, Buffer, or list of groups
        Updated in place; see :class:`fastopt.Optimizer`.
    lr : float
        Learning rate, about the size of a step in units of the parameter.
    betas : pair of float
        Decays of the first and second moment, each in [0, 1).
    eps : float
        Added to the root of the second moment, in units of the gradient.
    weight_decay : float
        Decay of the weights.
    amsgrad : bool
        Divide by the largest second moment so far.
    maximize : bool
        Ascend instead of descend.
    decoupled_weight_decay : bool
        Decay as :class:`AdamW` does.
    nonfinite : {"propagate", "skip", "raise"}
        What to do with gradients that are NaN or infinite.
    schedule : callable, optional
        ``schedule(t) -> factor`` on the learning rate after t completed steps.
    ema : float, optional
        Decay of a moving average of the parameters, kept in ``opt.ema``.

    Raises
    ------
    ArrayTypeError, ArrayError
        A parameter is not an array that can be updated in place, or shares memory with another.
    HyperparameterError
        A hyperparameter is not a number, or out of its range.

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
    ) -> None:
        super().__init__(
            params,
            _adam,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
            nonfinite=nonfinite,
            schedule=schedule,
            ema=ema,
        )


@final
class AdamW(Optimizer):
    r"""Adam with decoupled weight decay: :math:`p \leftarrow (1 - \alpha\lambda) p` before a step.

    The decay does not pass through the moments, so it is the same for weights with large and with
    small gradients; the rest is :class:`Adam`.

    Parameters
    ----------
    params : ndarray, list or dict of ndarray, Buffer, or list of groups
        Updated in place; see :class:`fastopt.Optimizer`.
    lr : float
        Learning rate, about the size of a step in units of the parameter.
    betas : pair of float
        Decays of the first and second moment, each in [0, 1).
    eps : float
        Added to the root of the second moment, in units of the gradient.
    weight_decay : float
        Decay of the weights; a step multiplies them by ``1 - lr * weight_decay``.
    amsgrad : bool
        Divide by the largest second moment so far.
    maximize : bool
        Ascend instead of descend.
    nonfinite : {"propagate", "skip", "raise"}
        What to do with gradients that are NaN or infinite.
    schedule : callable, optional
        ``schedule(t) -> factor`` on the learning rate after t completed steps.
    ema : float, optional
        Decay of a moving average of the parameters, kept in ``opt.ema``.

    Raises
    ------
    ArrayTypeError, ArrayError
        A parameter is not an array that can be updated in place, or shares memory with another.
    HyperparameterError
        A hyperparameter is not a number, or out of its range.

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
    ) -> None:
        super().__init__(
            params,
            _adam,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": True,
            },
            nonfinite=nonfinite,
            schedule=schedule,
            ema=ema,
        )
