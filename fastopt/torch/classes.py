"""The optimizers of :mod:`torch.optim`, with its names, signatures, defaults and states."""

from __future__ import annotations

from fastopt.rules import recipes
from fastopt.torch.adapter import Lr, Optimizer, Pair, Params

__all__ = [
    "ASGD",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
]


class SGD(Optimizer, rule="momentum"):
    """Stochastic gradient descent, with momentum."""

    _counts = False
    _recipe = staticmethod(recipes.sgd)

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
    ) -> None:
        super().__init__(locals())


class Adam(Optimizer, rule="adam"):
    """Adam: steps scaled by running moments of the gradient."""

    _recipe = staticmethod(recipes.adam)

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
    ) -> None:
        super().__init__(locals())


class AdamW(Optimizer, rule="adamw"):
    """Adam with decoupled weight decay."""

    _recipe = staticmethod(recipes.adam)

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
    ) -> None:
        super().__init__({**locals(), "decoupled_weight_decay": True})


class NAdam(Optimizer, rule="nadam"):
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
    ) -> None:
        super().__init__(locals())


class RAdam(Optimizer, rule="radam"):
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
    ) -> None:
        super().__init__(locals())


class Adamax(Optimizer, rule="adamax"):
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
    ) -> None:
        super().__init__(locals())


class Adagrad(Optimizer, rule="adagrad"):
    """Steps scaled by the root of the sum of all squared gradients."""

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
    ) -> None:
        super().__init__(locals())
        self._start()

    def share_memory(self) -> None:
        """Move the sums to memory that processes share, as torch's does."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["sum"].share_memory_()


class RMSprop(Optimizer, rule="rmsprop"):
    """Steps scaled by the root mean square of recent gradients."""

    _recipe = staticmethod(recipes.rmsprop)

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
    ) -> None:
        super().__init__(locals())


class Adadelta(Optimizer, rule="adadelta"):
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
    ) -> None:
        super().__init__(locals())


class ASGD(Optimizer, rule="asgd"):
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
    ) -> None:
        super().__init__(locals())


class Rprop(Optimizer, rule="rprop"):
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
    ) -> None:
        super().__init__(locals())
