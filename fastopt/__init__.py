"""Optimizer steps at C speed on a CPU, from plain Python.

Start at ``optimizer.py``, or at a formula in ``rules``. Each room and module imports only what
stands before it: late, errors, code, compile, maths, rules, schedules, machine, arena, norms,
stepping, state, optimizer, digest, checkpoint, classes, embedding, doctor, torch,
testing.

Names are imported, and Numba with them, when they are first asked for.
"""

from typing import TYPE_CHECKING

from fastopt.code.target import mode as _mode  # noqa: F401  first: before NumPy and Numba
from fastopt.errors import (
    ArrayError,
    ArrayTypeError,
    CacheWarning,
    CodeWarning,
    CompileError,
    FastoptError,
    HyperparameterError,
    NonFiniteError,
    ReentryError,
    StateError,
    StateWarning,
)
from fastopt.late import late_names

if TYPE_CHECKING:
    from fastopt import schedules
    from fastopt.arena import Buffer, flatten
    from fastopt.checkpoint import load, save
    from fastopt.classes import *
    from fastopt.embedding import Embedded, clock, embed, hyper, slots
    from fastopt.norms import clip_grad_norm_, clip_grad_value_, global_norm
    from fastopt.optimizer import Optimizer
    from fastopt.rules import RULES, Rule

    __all__ = [
        "RULES",
        "ArrayError",
        "ArrayTypeError",
        "Buffer",
        "CacheWarning",
        "CodeWarning",
        "CompileError",
        "Embedded",
        "FastoptError",
        "HyperparameterError",
        "NonFiniteError",
        "Optimizer",
        "ReentryError",
        "Rule",
        "StateError",
        "StateWarning",
        "clip_grad_norm_",
        "clip_grad_value_",
        "clock",
        "embed",
        "flatten",
        "global_norm",
        "hyper",
        "load",
        "save",
        "schedules",
        "slots",
    ]
else:
    __getattr__, __dir__ = late_names(__name__, first="fastopt.compile")
