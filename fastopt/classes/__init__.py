"""The optimizers, one file a family: each is a signature and a docstring.

Names, signatures and defaults are those of :mod:`torch.optim`, or the paper's where torch has none.
:func:`fastopt.classes.common.bind_rule` makes the constructor; what a file has in its ``__all__``
is public here, in :mod:`fastopt` and, with torch's tensors, in :mod:`fastopt.torch`.
Imports errors, rules, stepping, state and optimizer.
"""

from typing import TYPE_CHECKING

from fastopt.classes.adam import *
from fastopt.classes.adaptive import *
from fastopt.classes.modern import *
from fastopt.classes.moments import *
from fastopt.classes.norms import *
from fastopt.classes.scaled import *
from fastopt.classes.schedule_free import *
from fastopt.classes.sgd import *
from fastopt.classes.signs import *

if not TYPE_CHECKING:  # type checkers read the names off the lines above
    __all__ = sorted(name for name, value in globals().items() if isinstance(value, type))
