"""The optimizers, one file a family.

Names, signatures and defaults are those of :mod:`torch.optim`, or the paper's where torch has none.
Imports errors, rules, stepping, state and optimizer.
"""

from fastopt.classes.adam import Adam, AdamW
from fastopt.classes.adaptive import Adagrad, Adamax, NAdam, RAdam
from fastopt.classes.modern import ADOPT, Adan, AdEMAMix
from fastopt.classes.moments import AdaBelief, CautiousAdamW, LaProp, Yogi
from fastopt.classes.norms import LAMB, LARS, MARS, StableAdamW
from fastopt.classes.scaled import ASGD, Adadelta, RMSprop, Rprop
from fastopt.classes.schedule_free import ScheduleFree, ScheduleFreeAdamW, ScheduleFreeSGD
from fastopt.classes.sgd import SGD
from fastopt.classes.signs import CautiousLion, Lion, Signum

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
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFree",
    "ScheduleFreeAdamW",
    "ScheduleFreeSGD",
    "Signum",
    "StableAdamW",
    "Yogi",
]
