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

from typing import TYPE_CHECKING, Any

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError('fastopt.torch needs PyTorch: pip install "fastopt[torch]"') from error

from fastopt.torch import classes, modern
from fastopt.torch.adapter import Optimizer
from fastopt.torch.classes import *
from fastopt.torch.modern import *

__all__ = ["Optimizer"]

if TYPE_CHECKING:  # to type checkers the classes of fastopt.torch.modern are Any

    def __getattr__(name: str) -> Any: ...

else:
    __all__ = sorted([*__all__, *classes.__all__, *modern.__all__])
