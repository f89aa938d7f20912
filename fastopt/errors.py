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
    "ReentryError",
    "SpecError",
    "StateError",
    "StoreError",
    "SweepWarning",
]


class FastoptError(Exception):
    """Base class of all errors raised on purpose.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> try:
    ...     fastopt.Adam(np.ones(3), lr=-1)
    ... except fastopt.FastoptError as error:
    ...     print(type(error).__name__)
    HyperparameterError
    """


class HyperparameterError(FastoptError, ValueError):
    """A hyperparameter is unknown, NaN, of the wrong type or out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> fastopt.SGD(np.ones(3), lr=-1)
    Traceback (most recent call last):
    fastopt.errors.HyperparameterError: ...lr must be finite and in [0.0, inf); got -1
    """


class ArrayError(FastoptError, ValueError):
    """An array has the wrong shape, stride, byte order or flags, or overlaps another one.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> try:
    ...     fastopt.Adam(np.ones((4, 4))[:, ::2])
    ... except ValueError as error:
    ...     print(type(error).__name__)
    ArrayError
    """


class ArrayTypeError(FastoptError, TypeError):
    """Something is not a NumPy array, or has a dtype no kernel exists for.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> try:
    ...     fastopt.Adam(np.ones(4, np.float16))
    ... except TypeError as error:
    ...     print(type(error).__name__)
    ArrayTypeError
    """


class StateError(FastoptError, ValueError):
    """A state dict does not fit the optimizer that should load it.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> small, large = fastopt.Adam(np.ones(3)), fastopt.Adam([np.ones(3), np.ones(2)])
    >>> try:
    ...     large.load_state_dict(small.state_dict())
    ... except ValueError as error:
    ...     print(type(error).__name__)
    StateError
    """


class SpecError(FastoptError, ValueError):
    """A sweep (its axes, problem, options or TOML file) is not well formed.

    Examples
    --------
    >>> from sweeps import Space
    >>> Space({"lr": []})
    Traceback (most recent call last):
    fastopt.errors.SpecError: ...
    """


class StoreError(FastoptError, OSError):
    """The folder a sweep is stored in is missing, not writable, full or damaged.

    ``errno`` is the system's number where there is one.

    Examples
    --------
    >>> from sweeps import SweepResult
    >>> try:
    ...     SweepResult.open("no such folder")
    ... except OSError as error:
    ...     print(type(error).__name__)
    StoreError
    """

    def __str__(self) -> str:
        return str(self.args[-1]) if self.args else ""


class NonFiniteError(FastoptError, FloatingPointError):
    """A gradient is NaN or infinite and the policy is ``nonfinite="raise"``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> p = np.ones(3)
    >>> try:
    ...     fastopt.SGD(p, lr=0.1, nonfinite="raise").step(np.array([1.0, np.nan, 1.0]))
    ... except FloatingPointError:
    ...     print(p)
    [1. 1. 1.]
    """


class ReentryError(FastoptError, RuntimeError):
    """A step was asked for from inside a step of the same optimizer.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> opt = fastopt.SGD(np.ones(2), schedule=lambda t: opt.step(np.ones(2)))
    >>> opt.step(np.ones(2))
    Traceback (most recent call last):
        ...
    fastopt.errors.ReentryError: SGD: a step was asked for...
    """


class ExecutorError(FastoptError, RuntimeError):
    """Workers cannot run a sweep: it cannot be sent to them, or none of them answers.

    Examples
    --------
    >>> issubclass(ExecutorError, RuntimeError)
    True
    """


class CacheWarning(UserWarning):
    """Compiled code could not be read from, or written to, the disk cache.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", CacheWarning)  # where the disk is read-only
    """


class SweepWarning(UserWarning):
    """A sweep finished, but something about it deserves a look.

    Examples
    --------
    >>> import warnings
    >>> from sweeps import Space
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", SweepWarning)
    ...     _ = Space({"lr": [0.1, 0.1]})
    >>> len(caught)
    1
    """


def did_you_mean(name: object, allowed: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest allowed name, or an empty string.

    >>> did_you_mean("bta1", ["beta1", "lr"])
    "; did you mean 'beta1'?"
    >>> did_you_mean("zzz", ["beta1", "lr"])
    ''
    """
    near = difflib.get_close_matches(str(name), list(allowed), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
