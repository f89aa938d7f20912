"""Drop-in optimizers for PyTorch training on a CPU, without copies.

>>> import torch
>>> from fastopt.torch import AdamW
>>> model = torch.nn.Linear(2, 1)
>>> optimizer = AdamW(model.parameters(), lr=1e-2)
>>> loss = model(torch.ones(8, 2)).square().mean()
>>> loss.backward()
>>> optimizer.step()

Each class is a :class:`torch.optim.Optimizer` with the name, the arguments, the defaults and the
state of torch's, where torch has it; schedulers, hooks, gradient scalers and state dicts work as
they do there.

Imports any room below.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError('fastopt.torch needs PyTorch: pip install "fastopt[torch]"') from error

from fastopt.torch.adapter import Optimizer
from fastopt.torch.classes import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)
from fastopt.torch.modern import (
    ADOPT,
    LAMB,
    LARS,
    MARS,
    AdaBelief,
    Adan,
    AdEMAMix,
    CautiousAdamW,
    CautiousLion,
    LaProp,
    Lion,
    ScheduleFreeAdamW,
    ScheduleFreeSGD,
    Signum,
    StableAdamW,
    Yogi,
)

__all__ = [
    "ADOPT",
    "ASGD",
    "LAMB",
    "LARS",
    "MARS",
    "SGD",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Adan",
    "CautiousAdamW",
    "CautiousLion",
    "LaProp",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Signum",
    "StableAdamW",
    "Yogi",
]
