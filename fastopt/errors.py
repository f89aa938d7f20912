"""Every error that fastopt and sweeps raise on purpose, under one base class.

Each subclass also inherits the built-in exception a caller would have expected, so an existing
``except ValueError`` keeps working. Messages say what was found, what is allowed and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArrayError",
    "ArrayTypeError",
    "CacheWarning",
    "ExecutorError",
    "FastoptError",
    "HyperparameterError",
    "NonFiniteError",
    "SpecError",
    "StateError",
    "SweepWarning",
]


class FastoptError(Exception):
    """Base class of all errors raised on purpose."""


class HyperparameterError(FastoptError, ValueError):
    """A hyperparameter is unknown, NaN, of the wrong type or out of its range."""


class ArrayError(FastoptError, ValueError):
    """An array has the wrong shape, stride, byte order or flags, or overlaps another one."""


class ArrayTypeError(FastoptError, TypeError):
    """Something is not a NumPy array, or has a dtype no kernel exists for."""


class StateError(FastoptError, ValueError):
    """A state dict does not fit the optimizer that should load it."""


class SpecError(FastoptError, ValueError):
    """A sweep (its axes, problem, options or TOML file) is not well formed."""


class NonFiniteError(FastoptError, FloatingPointError):
    """A gradient is NaN or infinite and the policy is ``nonfinite="raise"``."""


class ExecutorError(FastoptError, RuntimeError):
    """Workers cannot run a sweep: it cannot be sent to them, or none of them answers."""


class CacheWarning(UserWarning):
    """Compiled code could not be read from, or written to, the disk cache."""


class SweepWarning(UserWarning):
    """A sweep finished, but something about it deserves a look."""


def did_you_mean(name: object, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest allowed name, or an empty string.

    >>> did_you_mean("bta1", ["beta1", "lr"])
    "; did you mean 'beta1'?"
    >>> did_you_mean("zzz", ["beta1", "lr"])
    ''
    """
    near = difflib.get_close_matches(str(name), list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
