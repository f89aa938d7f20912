"""Optimizers that torch does not have, as drop-ins for those it has."""

from __future__ import annotations

from fastopt.rules import recipes
from fastopt.torch.adapter import Lr, Optimizer, Pair, Params
from fastopt.torch.schedule_free import ScheduleFree

__all__ = [
    "ADOPT",
    "LAMB",
    "LARS",
    "MARS",
    "AdEMAMix",
    "AdaBelief",
    "Adan",
    "CautiousAdamW",
    "CautiousLion",
    "LaProp",
    "Lion",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Signum",
    "StableAdamW",
    "Yogi",
]


class Lion(Optimizer, rule="lion"):
    """Steps of one size, in the direction of the sign of a mean gradient."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.0001,
        betas: Pair = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class Signum(Optimizer, rule="signum"):
    """Sign of the momentum."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.0001,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(locals())


class AdEMAMix(Optimizer, rule="ademamix"):
    """Adam with a second, slow mean of the gradients."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        betas: tuple[float, float, float] = (0.9, 0.999, 0.9999),
        alpha: float = 2.0,
        alpha_warmup: float = 0.0,
        beta3_warmup: float = 0.0,
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class ADOPT(Optimizer, rule="adopt"):
    """Adam that converges with any beta2: scaled by the second moment before this gradient."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        betas: Pair = (0.9, 0.9999),
        eps: float = 1e-06,
        clip: bool = True,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        clip_exp: float = 0.25,
    ) -> None:
        super().__init__(locals())


class Adan(Optimizer, rule="adan"):
    """Adaptive Nesterov momentum, from differences of gradients."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        betas: tuple[float, float, float] = (0.98, 0.92, 0.99),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        no_prox: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class LaProp(Optimizer, rule="laprop"):
    """Adam that averages scaled gradients instead of scaling their average."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.0004,
        betas: Pair = (0.9, 0.999),
        eps: float = 1e-15,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class AdaBelief(Optimizer, rule="adabelief"):
    """Adam scaled by how far gradients are from their mean."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        betas: Pair = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class Yogi(Optimizer, rule="yogi"):
    """Adam whose second moment changes by steps of bounded size."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.01,
        betas: Pair = (0.9, 0.999),
        eps: float = 0.001,
        initial_accumulator_value: float = 1e-06,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        super().__init__(locals())


class MARS(Optimizer, rule="mars_adamw"):
    """AdamW on gradients with reduced variance."""

    _recipe = staticmethod(recipes.mars)

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.003,
        betas: Pair = (0.95, 0.99),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        gamma: float = 0.025,
        optimize_1d: bool = True,
        *,
        plain_start: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class CautiousAdamW(Optimizer, rule="cautious_adamw"):
    """AdamW that steps only where it agrees with the gradient."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        betas: Pair = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.01,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class CautiousLion(Optimizer, rule="cautious_lion"):
    """Lion that steps only where it agrees with the gradient."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.0001,
        betas: Pair = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class LAMB(Optimizer, rule="lamb"):
    """AdamW whose step is scaled to the norm of each tensor."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        betas: Pair = (0.9, 0.999),
        eps: float = 1e-06,
        weight_decay: float = 0.01,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class LARS(Optimizer, rule="lars"):
    """Momentum whose step is scaled to the norm of each tensor."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0005,
        trust_coefficient: float = 0.001,
        eps: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class StableAdamW(Optimizer, rule="stable_adamw"):
    """AdamW that damps updates of unusual size."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.001,
        betas: Pair = (0.9, 0.99),
        eps: float = 1e-06,
        weight_decay: float = 0.01,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class ScheduleFreeSGD(ScheduleFree, rule="schedule_free_sgd"):
    """SGD with an average of its iterates in place of a schedule."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup_steps: float = 0.0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())


class ScheduleFreeAdamW(ScheduleFree, rule="schedule_free_adamw"):
    """AdamW with an average of its iterates in place of a schedule."""

    def __init__(
        self,
        params: Params,
        lr: Lr = 0.0025,
        betas: Pair = (0.9, 0.999),
        eps: float = 1e-08,
        weight_decay: float = 0.0,
        warmup_steps: float = 0.0,
        r: float = 0.0,
        weight_lr_power: float = 2.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(locals())
