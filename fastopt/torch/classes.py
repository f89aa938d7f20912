"""The optimizers of :mod:`torch.optim`, with its names, signatures, defaults and states."""

from __future__ import annotations

from fastopt import classes as arrays
from fastopt.torch.adapter import Lr, Optimizer, Pair, Params
from fastopt.torch.binding import bind_class

__all__ = [
    "ASGD", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop",
    "Rprop",
]  # fmt: skip


@bind_class(arrays.SGD)
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum."""

    _counts = False

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None: ...


@bind_class(arrays.Adam)
class Adam(Optimizer):
    """Adam: steps scaled by running moments of the gradient."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        betas: Pair = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None: ...


@bind_class(arrays.AdamW)
class AdamW(Optimizer):
    """Adam with decoupled weight decay."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        betas: Pair = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None: ...


@bind_class(arrays.NAdam)
class NAdam(Optimizer):
    """Adam with Nesterov's look-ahead."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.002,
        betas: Pair = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        momentum_decay: float = 0.004,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None: ...


@bind_class(arrays.RAdam)
class RAdam(Optimizer):
    """Adam with its early steps rectified."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        betas: Pair = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None: ...


@bind_class(arrays.Adamax)
class Adamax(Optimizer):
    """Adam scaled by the largest recent gradient."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.002,
        betas: Pair = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None: ...


@bind_class(arrays.Adagrad)
class Adagrad(Optimizer):
    """Steps scaled by the root of the sum of all squared gradients."""

    _starts_at_once = True

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.01,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None: ...

    def share_memory(self) -> None:
        """Move the sums to memory that processes share, as torch's does."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["sum"].share_memory_()


@bind_class(arrays.RMSprop)
class RMSprop(Optimizer):
    """Steps scaled by the root mean square of recent gradients."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None: ...


@bind_class(arrays.Adadelta)
class Adadelta(Optimizer):
    """Steps scaled by the ratio of recent steps to recent gradients."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 1.0,
        rho: float = 0.9,
        eps: float = 1e-06,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None: ...


@bind_class(arrays.ASGD)
class ASGD(Optimizer):
    """Averaged stochastic gradient descent."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.01,
        lambd: float = 0.0001,
        alpha: float = 0.75,
        t0: float = 1000000.0,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None: ...


@bind_class(arrays.Rprop)
class Rprop(Optimizer):
    """A step size for each element, which grows while the gradient keeps its sign."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.01,
        etas: Pair = (0.5, 1.2),
        step_sizes: Pair = (1e-06, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None: ...
