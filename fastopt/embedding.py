"""Update rules inside a user's own ``@njit`` training loop.

The same step kernel that the classes run, as a function that compiled code can call: no Python and
no dispatch between two steps, and no checks but of sizes, alignment and byte order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastopt.compile import fingerprint, inlinable
from fastopt.errors import ArrayError, HyperparameterError, did_you_mean, shortened
from fastopt.machine.arrays import aligned_zeros, check_array
from fastopt.machine.fitting import SIZES, fitting
from fastopt.machine.loops import contained
from fastopt.rules import RULES, Rule, current
from fastopt.rules.base import begin
from fastopt.rules.clocks import new_clock, read_clock, resume_clock, whole_step


class Embedded(NamedTuple):
    """What :func:`embed` returns.

    Attributes
    ----------
    rule : Rule
        The row of :data:`fastopt.rules.RULES`.
    step : callable
        ``step(h, clock, g, x)``, to be called from compiled code: advances ``clock`` and updates
        ``x = (p, *slots)`` with the gradient ``g``, all in place; the arrays are 1-D, of one
        dtype and size, and must not overlap. Types are checked when the call is compiled
        (ArrayTypeError); sizes, alignment and byte order at each step (ArrayError), since in a
        tuple Numba takes arrays of another machine's byte order for its own; overlap is not.

    Examples
    --------
    >>> embed("adamw").rule.slots
    ('exp_avg', 'exp_avg_sq')
    """

    rule: Rule
    step: Callable


def embed(name: str) -> Embedded:
    """Return the step of a rule as a function that a user's own ``@njit`` code can call.

    Parameters
    ----------
    name : str
        A name of :data:`fastopt.rules.RULES`, e.g. ``"adamw"``.

    Returns
    -------
    Embedded
        The same for the same name. Bind its ``step`` to a name of your own before compiling.

    Raises
    ------
    HyperparameterError
        There is no such rule.

    Notes
    -----
    If you compile with ``cache=True``, code of another fastopt, or of a rule of yours that has
    changed since, is not loaded but compiled anew. Numba looks at nothing else than your function's
    own file.

    Examples
    --------
    >>> import numba
    >>> step = embed("sgd").step
    >>> @numba.njit
    ... def train(h, clock, g, x):
    ...     for _ in range(10):
    ...         g[:] = 2.0 * x[0]  # the gradient of the sum of squares
    ...         step(h, clock, g, x)
    >>> h, p = hyper("sgd", lr=0.25), np.array([1024.0])
    >>> train(h, clock("sgd", h), np.empty(1), (p, *slots("sgd", p)))
    >>> p
    array([1.])
    """
    return _embedded(_rule(name))


@functools.cache
def _embedded(rule: Rule) -> Embedded:
    step, stamp = contained(rule), _Stamp(rule.name, _digest(rule))
    fault_of = fitting(len(rule.clock0(rule.pack())), len(rule.hyper), len(rule.slots), stamp)

    def checked(h: Any, clock: Any, g: Any, x: Any) -> None:
        fault = fault_of(h, clock, g, x)
        if fault == SIZES:
            raise ArrayError(
                "an embedded step: g and the arrays of x must have one size, and the clock that of "
                "fastopt.clock. Nothing was changed."
            )
        if fault:
            raise ArrayError(
                "an embedded step: an array is unaligned, or has the byte order of another machine "
                "(in a tuple Numba does not tell). Convert it with .astype(np.float64) or "
                ".astype(np.float32). Nothing was changed."
            )
        step(h, clock, g, x)

    return Embedded(rule, inlinable(checked))


def _digest(rule: Rule) -> str:
    return fingerprint(contained(rule), fitting)


class _Stamp(NamedTuple):
    """What a step is made of: it goes into Numba's cache, and is compared when it comes back."""

    name: str
    digest: str

    def __reduce__(self) -> tuple[Callable, tuple[str, str]]:
        return _as_of_now, (self.name, self.digest)


def _as_of_now(name: str, digest: str) -> _Stamp:
    """Return the stamp of cached code.

    Raises OSError if it is of another rule than today's: Numba takes the file for gone then.
    """
    if name not in RULES or _digest(current(name)) != digest:
        raise OSError(f"the cached code contains another {name} than fastopt has now")
    return _Stamp(name, digest)


def hyper(name: str, **values: Any) -> tuple[float, ...]:
    """Check hyperparameters of a rule and pack them for its ``step``.

    Parameters
    ----------
    name : str
        A name of :data:`fastopt.rules.RULES`.
    **values
        Hyperparameters of that rule; the others take their defaults.

    Raises
    ------
    HyperparameterError
        The rule or a hyperparameter is unknown, or a value is out of its range.

    Examples
    --------
    >>> hyper("adamw", lr=0.1)
    (0.1, 0.9, 0.999, 1e-08, 0.01, 1.0, 0.0)
    """
    return _rule(name).pack(values)


def clock(name: str, h: tuple[float, ...], running: np.ndarray | None = None) -> np.ndarray:
    """Return the clock of a rule before its first step: float64, ``clock[0]`` counts the steps.

    Parameters
    ----------
    name : str
        A name of :data:`fastopt.rules.RULES`.
    h : tuple of float
        Hyperparameters from :func:`hyper`.
    running : ndarray, optional
        A clock so far. Then the clock to go on with is returned after ``h`` has changed: its powers
        (of betas) are made anew, as in torch. A change of other hyperparameters needs no other
        clock.

    Raises
    ------
    HyperparameterError
        There is no such rule, or ``h`` has not as many numbers.
    StateError
        ``running`` is no clock of this rule.

    Examples
    --------
    >>> start = clock("adamw", hyper("adamw"))
    >>> start
    array([0., 1., 0., 1., 0.])
    >>> start[0] = 2.0
    >>> clock("adamw", hyper("adamw", beta1=0.5), start)[:2]
    array([2.  , 0.25])
    """
    rule = _rule(name)
    _check_hyper(rule, h)
    if running is None:
        return new_clock(rule, h)
    where = f"fastopt.clock({name!r}, h, running)"
    saved = read_clock(where, running)
    return resume_clock(where, rule, h, whole_step(f"{where}: the step", saved[0]), saved)


def slots(name: str, p: np.ndarray, h: tuple[float, ...] | None = None) -> tuple[np.ndarray, ...]:
    """Return the state arrays of a rule for the flat parameter ``p``, before the first step.

    They are aligned, of its dtype, and zero but where the rule says otherwise.

    Parameters
    ----------
    name : str
        A name of :data:`fastopt.rules.RULES`.
    p : ndarray, shape (n,)
        float32 or float64; only read.
    h : tuple of float, optional
        Hyperparameters from :func:`hyper`, by default the rule's; a few rules start a slot from
        one (Adagrad, Rprop, Yogi).

    Raises
    ------
    ArrayTypeError, ArrayError
        ``p`` is not an array that a step can update.
    HyperparameterError
        There is no such rule, or ``h`` has not as many numbers.

    Examples
    --------
    >>> slots("adamw", np.ones(2))
    (array([0., 0.]), array([0., 0.]))
    """
    check_array("p", p)
    rule = _rule(name)
    h = rule.pack() if h is None else h
    _check_hyper(rule, h)
    arrays = tuple(aligned_zeros(p.size, p.dtype, 2 + k) for k in range(len(rule.slots)))
    for source, slot in zip(rule.starts[1:], arrays):
        begin(source, h, p, slot)
    return arrays


def _check_hyper(rule: Rule, h: tuple[float, ...]) -> None:
    if not (isinstance(h, tuple) and len(h) == len(rule.hyper)):
        raise HyperparameterError(
            f"{rule.name}: h must be the {len(rule.hyper)} numbers that "
            f"fastopt.hyper({rule.name!r}) returns; got {shortened(h)}"
        )


def _rule(name: str) -> Rule:
    if not isinstance(name, str) or name not in RULES:
        raise HyperparameterError(
            f"there is no rule {shortened(name)}{did_you_mean(name, RULES)}; there are "
            f"{', '.join(RULES)}"
        )
    return current(name)
