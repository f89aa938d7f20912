"""What an update rule is made of: hyperparameters with their ranges, and three plain functions."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fastopt.code.cached import cached_property
from fastopt.code.roles import inlinable
from fastopt.errors import HyperparameterError, did_you_mean, shortened

# Where the first value of a slot comes from, if not from a hyperparameter (a position in h).
ZERO, PARAMETER = -1, -2

LARGEST = float(np.finfo(np.float32).max)

VANISHING = 1e-275
"""A power or product in a clock below this is zero: beside one nobody would miss it."""


@dataclass(frozen=True)
class Real:
    """A real hyperparameter in ``[low, high]`` (``[low, high)`` when ``open_high``)."""

    default: float
    low: float = 0.0
    high: float = math.inf
    open_high: bool = True
    summary: str = ""

    def pack(self, where: str, value: Any) -> float:
        """Check ``value`` and return it as a float; ``where`` names it in the error message."""
        if type(value) is float and -math.inf < value and self.low <= value < self.high:
            return value
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value[()]
        is_other = isinstance(value, bool | np.bool_ | np.timedelta64)
        if is_other or not isinstance(value, numbers.Real):
            raise HyperparameterError(
                f"{where} must be a real number in {self.range}; got {shortened(value)} "
                f"of type {type(value).__name__}"
            )
        try:
            number = float(value)
        except OverflowError:  # an integer that no float can hold
            number = -math.inf if value < 0 else math.inf
        below = number < self.high if self.open_high else number <= self.high
        inside = self.low <= number and below
        if not (inside and math.isfinite(number)):
            raise HyperparameterError(
                f"{where} must be finite and in {self.range}; got {shortened(value)}"
            )
        return number

    @property
    def range(self) -> str:
        """The allowed interval as people write it.

        >>> Real(0.9, high=1.0).range
        '[0.0, 1.0)'
        """
        return f"[{self.low}, {self.high}{')' if self.open_high else ']'}"


@dataclass(frozen=True)
class Flag:
    """A yes-or-no hyperparameter, packed as 0.0 or 1.0."""

    default: bool = False
    summary: str = ""

    def pack(self, where: str, value: Any) -> float:
        """Check that ``value`` is a boolean and return it as a float."""
        if not isinstance(value, bool | np.bool_):
            raise HyperparameterError(f"{where} must be True or False; got {shortened(value)}")
        return float(value)

    @property
    def range(self) -> str:
        """The allowed values."""
        return "{True, False}"


@dataclass(frozen=True)
class Choice:
    """One of a few named variants of a formula, packed as the position of its name."""

    default: str
    names: tuple[str, ...]
    summary: str = ""

    def pack(self, where: str, value: Any) -> float:
        """Check that ``value`` is one of the names and return its position as a float."""
        if not isinstance(value, str) or value not in self.names:  # arrays have no one truth
            raise HyperparameterError(
                f"{where} must be one of {', '.join(map(repr, self.names))}; "
                f"got {shortened(value)}{did_you_mean(value, self.names)}"
            )
        return float(self.names.index(value))

    @property
    def range(self) -> str:
        """The allowed names."""
        return "{" + ", ".join(map(repr, self.names)) + "}"


@dataclass(frozen=True)
class Rule:
    r"""An optimizer: a row of :data:`fastopt.rules.RULES`.

    Parameters
    ----------
    name : str
        What users call it, e.g. ``"adamw"``.
    hyper : dict of str to Real, Flag or Choice
        Hyperparameters in the order in which ``tick`` unpacks them; ``lr`` comes first.
    slots : tuple of str
        Names (torch's) of the state arrays beside the parameter.
    clock0 : callable
        ``clock0(h) -> clock``, the clock before the first step: a tuple of floats whose first
        element counts the steps. What stands in the others, ``powers`` and ``accumulates`` say.
    tick : callable
        ``tick(h, clock) -> clock, c``, run once a step in float64: advances the clock and computes
        every number that ``update`` needs (bias corrections, decay factors, ...).
        The first coefficient is the factor on the gradient (the sign of ``maximize``): unscaling
        and clipping are folded into it, see :mod:`fastopt.stepping.fused`.
    update : callable
        ``update(c, g, x) -> x`` on one element, ``x = (p, *slots)``. No literals (a Python float
        would turn a float32 loop into a float64 one: 3x slower), no branches.
    formula : str
        The update in TeX, for the documentation.
    source : str
        Paper or program that defines it.
    start : dict of str to str
        What a slot starts from where that is not zero: the name of a hyperparameter, or ``"p"``
        for a copy of the parameter, as they are at the first step that the parameter takes.
    idle : tuple of str
        Slots of other forms of the optimizer, which an option picks (momentum, ``amsgrad``): a
        state that has them keeps them until that form is back.
    powers : dict of str to int
        Hyperparameters whose power by the step count is in the clock, and where: the position of
        the first number of the pair that :func:`power` advances. Made anew, by
        :func:`fastopt.rules.clocks.rewind`, when such a hyperparameter changes.
    accumulates : dict of str to int
        Numbers that depend on the options of every step so far, and their positions in the clock.
        They survive any change of options, and stand in state dicts by these names, which are
        torch's where it keeps them too.
    corrected : dict of str to str
        Slots that are divided by one less a power in the clock, since they start at zero, and the
        hyperparameter of it, which is their decay.
    measure : callable, optional
        ``measure(c, g, x) -> a, b`` on one element, in float64: two numbers to be summed over the
        tensor before anything is updated.
    trust : callable, optional
        ``trust(c, sums, n) -> c``, run once a tensor of ``n`` elements, in float64: adapts the
        coefficients to the sums (of squares, of agreeing signs, ...). Goes with ``measure``.
    vectors : callable, optional
        ``vectors(h) -> h``, the hyperparameters of tensors that are not matrices (of fewer than two
        dimensions), where a form of the optimizer treats them otherwise.
    answer : callable, optional
        ``answer(h, x) -> p`` on one element: the parameter to evaluate the model with, where that
        is not the one that gradients are taken at.

    Notes
    -----
    The three functions are plain Python functions registered with
    :func:`fastopt.compile.inlinable`; called on NumPy arrays, they are their own reference.

    Examples
    --------
    >>> from fastopt.rules import RULES
    >>> rule = RULES["sgd"]
    >>> h = rule.pack({"lr": 0.5})
    >>> clock, c = rule.tick(h, rule.clock0(h))
    >>> rule.update(c, 2.0, (3.0,))
    (2.0,)
    """

    name: str
    hyper: Mapping[str, Real | Flag | Choice]
    slots: tuple[str, ...]
    clock0: Callable
    tick: Callable
    update: Callable
    formula: str = ""
    source: str = ""
    start: Mapping[str, str] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    powers: Mapping[str, int] = field(default_factory=dict)
    accumulates: Mapping[str, int] = field(default_factory=dict)
    corrected: Mapping[str, str] = field(default_factory=dict)
    measure: Callable | None = None
    trust: Callable | None = None
    answer: Callable | None = None
    vectors: Callable | None = None

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def kernel_parts(self) -> tuple:
        """What its kernels are made of: rules that agree here differ in defaults only."""
        functions = self.clock0, self.tick, self.update, self.measure, self.trust, self.answer
        return *functions, tuple(self.hyper), self.starts

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """For each array of ``x = (p, *slots)`` the ``source`` that :func:`begin` fills it from."""
        hyper = list(self.hyper)
        sources = {"p": PARAMETER, **{name: hyper.index(name) for name in hyper}}
        slots = (sources[self.start[s]] if s in self.start else ZERO for s in self.slots)
        return (PARAMETER, *slots)

    def pack(self, values: Mapping[str, Any] | None = None, where: str = "") -> tuple[float, ...]:
        """Check hyperparameters and return them, with defaults filled in, as ``h``.

        Raises
        ------
        HyperparameterError
            A name is unknown, or a value is not a number, not finite or out of its range.
        """
        values = values or {}
        where = where or self.name
        for name in values:
            if name not in self.hyper:
                raise HyperparameterError(
                    f"{where} has no hyperparameter "
                    f"{shortened(name)}{did_you_mean(name, self.hyper)}; "
                    f"it has {', '.join(self.hyper)}"
                )
        return tuple(
            kind.pack(f"{where}: {name}", values.get(name, kind.default))
            for name, kind in self.hyper.items()
        )

    def check_width(self, h: tuple[float, ...], where: str) -> None:
        """Refuse hyperparameters beyond float32, for parameters that are computed with in it.

        Raises HyperparameterError, as torch raises for most of them.
        """
        for name, number in zip(self.hyper, h):
            if abs(number) > LARGEST:
                raise HyperparameterError(
                    f"{where}: {name} {number:g} is beyond float32, which the parameters are in "
                    f"(the largest number is {LARGEST:.4g}). Nothing was changed."
                )

    def rows(self, h: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the hyperparameters of matrices (and of what has more dimensions), of others."""
        return h, h if self.vectors is None else self.vectors(h)

    def but(self, name: str, **defaults: Any) -> Rule:
        """Return the same rule under another name and with other defaults (one kernel for both)."""
        hyper = {
            key: replace(kind, default=defaults.pop(key)) if key in defaults else kind
            for key, kind in self.hyper.items()
        }
        if defaults:
            raise KeyError(f"{self.name} has no hyperparameter {', '.join(defaults)}")
        return replace(self, name=name, hyper=hyper)

    def using(self, **parts: Any) -> Rule:
        """Return the same rule with other functions, slots or descriptions."""
        return replace(self, **parts)


@inlinable
def initial_value(source, h, p):
    """Return what a slot holds before the first step: the parameter, zero or a hyperparameter.

    >>> initial_value(ZERO, (0.5,), 3.0), initial_value(PARAMETER, (0.5,), 3.0)
    (0.0, 3.0)
    >>> initial_value(0, (0.5,), 3.0)
    0.5
    """
    if source == PARAMETER:
        return p
    return 0.0 if source == ZERO else h[source]


def begin(source: int, h: tuple[float, ...], p: np.ndarray, slot: np.ndarray) -> None:
    """Fill ``slot`` with what it holds before the first step, in place.

    ``source``: from :attr:`Rule.starts`: ``ZERO``, ``PARAMETER`` or a position in ``h``. ``h``:
    hyperparameters from :meth:`Rule.pack`. ``p``, ``slot`` (n,): the parameter, and the slot, which
    is written.

    >>> slot = np.empty(2)
    >>> begin(0, (0.5,), np.ones(2), slot)
    >>> slot
    array([0.5, 0.5])
    """
    slot[...] = initial_value(source, h, p)


@inlinable
def power(high, low, base):
    r"""Multiply the double-double number ``high + low`` by ``base``; return the new pair.

    Starting from ``(1, 0)``, the ``high`` part after t calls is :math:`\mathrm{base}^t` correctly
    rounded, as torch's ``beta ** step`` is; a plain running product drifts, and ``1 - beta**t``
    magnifies the drift a thousandfold for beta = 0.999. ``pow`` itself costs 40 ns a step, more
    than the whole step of a trial on a small landscape.

    A power below :data:`VANISHING` is zero. Rounding to the nearest keeps 0.9 times the smallest
    subnormal number where it is, and each product of subnormal numbers takes some Intel CPUs 150
    cycles: from step 7 000 on, for ever, trials of Adam on a landscape took 15 times as long.

    Dekker's product splits each factor in two 26-bit halves, so no FMA is needed and none can
    change the result.

    References
    ----------
    T. J. Dekker, *A floating-point technique for extending the available precision*, 1971.
    """
    splitter = 134217729.0  # 2**27 + 1
    a = splitter * high
    a = a - (a - high)
    b = splitter * base
    b = b - (b - base)
    product = high * base
    error = ((a * b - product) + a * (base - b) + (high - a) * b) + (high - a) * (base - b)
    error = error + low * base
    total = product + error
    return (0.0, 0.0) if total < VANISHING else (total, error - (total - product))
