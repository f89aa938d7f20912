r"""Learning-rate schedules: factors :math:`f(t)` by which the base learning rate is multiplied.

``t`` is the number of completed steps: 0 at the first step, as in torch's ``LambdaLR``. From
``total_steps`` on, a schedule with an end stays at its final value (torch's ``CosineAnnealingLR``
would rise again, its ``OneCycleLR`` raises).

To add a schedule, write its function ``f(t, a) -> factor`` in :mod:`fastopt.schedules.factors`, its
row in :mod:`fastopt.schedules.table` and its constructor in :mod:`fastopt.schedules.constructors`.
The compiled switch, sweeps, tests and documentation follow from the row. Imports late, errors,
code, compile and rules; compile for the switch alone.

Examples
--------
>>> schedule = warmup_cosine(warmup_steps=2, total_steps=6)
>>> [round(schedule(t), 3) for t in range(8)]
[0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

With torch: ``torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)``.
"""

from typing import TYPE_CHECKING

from fastopt.late import late_names
from fastopt.schedules.base import WIDTH, ScheduleRow, Steps
from fastopt.schedules.constructors import (
    constant,
    cosine,
    cosine_restarts,
    cyclic,
    exponential,
    inverse_sqrt,
    linear,
    multi_step,
    one_cycle,
    polynomial,
    step,
    warmup_cosine,
    wsd,
)
from fastopt.schedules.table import SCHEDULES, Schedule, pack

if TYPE_CHECKING:
    from fastopt.schedules.switch import factor
else:
    __getattr__, __dir__ = late_names(__name__)

__all__ = [
    "SCHEDULES",
    "WIDTH",
    "Schedule",
    "ScheduleRow",
    "Steps",
    "constant",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "exponential",
    "factor",
    "inverse_sqrt",
    "linear",
    "multi_step",
    "one_cycle",
    "pack",
    "polynomial",
    "step",
    "warmup_cosine",
    "wsd",
]
