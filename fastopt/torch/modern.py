"""The optimizers that torch does not have, each made of the class of that name over arrays."""

from __future__ import annotations

from fastopt import classes as arrays
from fastopt.classes.common import BINDINGS
from fastopt.torch import classes
from fastopt.torch.adapter import Optimizer
from fastopt.torch.binding import made_of
from fastopt.torch.schedule_free import ScheduleFree

__all__ = [
    name
    for name, value in vars(arrays).items()
    if isinstance(value, type) and value in BINDINGS and name not in classes.__all__
]

for _name in __all__:
    _of = getattr(arrays, _name)
    _base = ScheduleFree if issubclass(_of, arrays.ScheduleFree) else Optimizer
    globals()[_name] = made_of(_of, _base, __name__)
