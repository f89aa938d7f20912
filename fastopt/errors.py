"""Every error that fastopt and sweeps raise on purpose, under one base class.

Each subclass also inherits the built-in exception a caller would have expected, so an existing
``except ValueError`` keeps working. Messages say what was found, what is allowed and what to do.
"""

from __future__ import annotations

import contextlib
import difflib
import reprlib
from collections.abc import Iterable

__all__ = [
    "ArrayError",
    "ArrayTypeError",
    "CacheWarning",
    "CodeWarning",
    "CompileError",
    "ExecutorError",
    "FastoptError",
    "HyperparameterError",
    "NonFiniteError",
    "ReentryError",
    "SpecError",
    "StateError",
    "StateWarning",
    "StoreError",
    "StoredSpecError",
    "SweepWarning",
]


MOST_MESSAGE = 8_000
"""Characters of a message: the longest we write, which list all names there are, have 2 500."""


class FastoptError(Exception):
    """Base class of all errors raised on purpose.

    Whatever a message quotes, it is short enough to be read and can be written to any file.

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

    def __str__(self) -> str:
        text = writable(super().__str__())
        return text if len(text) <= MOST_MESSAGE else f"{text[:MOST_MESSAGE]}..."


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
        text = writable(str(self.args[-1]) if self.args else "")
        return text if len(text) <= MOST_MESSAGE else f"{text[:MOST_MESSAGE]}..."


class StoredSpecError(StoreError, SpecError):
    """What a store says of its sweep (its ``spec.json``) is damaged or not well formed.

    Examples
    --------
    >>> issubclass(StoredSpecError, StoreError), issubclass(StoredSpecError, SpecError)
    (True, True)
    """


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


class CompileError(FastoptError, TypeError):
    """A function of the user's, or a helper that it calls, is none that Numba can compile.

    Examples
    --------
    >>> issubclass(CompileError, TypeError)
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


class CodeWarning(UserWarning):
    """Compiled code, or a stored result, depends on something that cannot be looked into.

    Such as a function of a C extension, one called by its address (ctypes, cffi), ``objmode``, or
    an object that does not pickle. Should it change, nothing can notice.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", CodeWarning)  # where it never changes
    """


class StateWarning(UserWarning):
    """A checkpoint was loaded that cannot show that it is what was saved.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", StateWarning)  # for files of older versions
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


LONGEST = 200
"""Characters of a value that a message shows."""


class _Short(reprlib.Repr):
    """``repr`` of the beginning of a value, however large it is or deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, LONGEST, LONGEST
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 20

    def repr_int(self, x: int, level: int) -> str:
        """Write an integer; those of thousands of digits Python refuses to write."""
        return f"an integer of {x.bit_length():,} bits" if x.bit_length() > 10_000 else repr(x)


_SHORT = _Short()


def writable(text: str) -> str:
    r"""Return a text with halves of surrogate pairs escaped, which no encoding can write.

    >>> print(writable("runs/\udce9t\xe9"))
    runs/\udce9té
    """
    return text.encode("utf-8", "backslashreplace").decode()


def shortened(value: object, most: int = LONGEST) -> str:
    """Return ``repr(value)`` as a message can show it: short, printable, and made in no time.

    Of long texts and collections the beginning and the end are shown, and how long they are. What
    no terminal can write (half of a surrogate pair) is escaped, what has no ``repr`` is named.

    Examples
    --------
    >>> shortened(0.1), shortened("adam"), shortened([1, "2"])
    ('0.1', "'adam'", "[1, '2']")
    >>> shortened("adam" * 9, 20)
    "'adamadamadamadam... (36 characters)"
    >>> shortened(list(range(10**6)))
    '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, ...] (1,000,000 items)'
    >>> shortened(10**6000)
    'an integer of 19,932 bits'
    """
    kind = type(value).__name__
    try:
        text = writable(_SHORT.repr(value))
    except Exception as error:  # that of a class of the user's, or of a structure 5 000 deep
        return f"a {kind} whose repr raises {type(error).__name__}"
    if len(text) > most:
        text = f"{text[: most - 3]}..."
    if "..." not in text:
        return text
    with contextlib.suppress(TypeError):  # e.g. of an array without axes
        unit = "characters" if isinstance(value, str) else "items"
        return f"{text} ({len(value):,} {unit})"  # type: ignore[arg-type]
    return text


SYNONYMS = {
    "learning_rate": "lr", "eta": "lr", "step_size": "lr", "n_epochs": "epochs",
    "num_epochs": "epochs", "max_iter": "epochs", "n_steps": "steps", "num_steps": "steps",
    "random_state": "seed", "hidden_layer_sizes": "hidden", "layers": "hidden", "units": "hidden",
    "width": "hidden", "wd": "weight_decay", "b1": "beta1", "b2": "beta2", "scheduler": "schedule",
    "warmup": "warmup_steps", "max_norm": "clip_norm", "grad_clip": "clip_norm",
    "early_stopping": "patience", "n_iter_no_change": "patience", "scoring": "metric",
    "objective": "metric", "criterion": "loss", "direction": "mode", "cv": "folds",
    "n_folds": "folds", "n_splits": "folds", "validation_split": "validation",
    "validation_fraction": "validation", "val_size": "validation", "test_size": "test",
    "sample_weight": "weights",
}  # fmt: skip
"""What other libraries call a thing -> what we do: no spelling is near enough to tell."""


def did_you_mean(name: object, allowed: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest allowed name, or an empty string.

    >>> did_you_mean("bta1", ["beta1", "lr"])
    " (did you mean 'beta1'?)"
    >>> did_you_mean("learning_rate", ["lr", "label_smoothing"])
    " (did you mean 'lr'?)"
    >>> did_you_mean("zzz", ["beta1", "lr"])
    ''
    """
    text = name[:LONGEST] if isinstance(name, str) else shortened(name)
    allowed = list(allowed)
    near = [ours for ours in [SYNONYMS.get(text)] if ours in allowed]
    near += difflib.get_close_matches(text, allowed, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
