"""The step-dependent numbers of a rule (see :class:`fastopt.rules.Rule`): made, remade, resumed.

An element of a clock is the step count, or belongs to a power of a hyperparameter by that count, or
accumulates over the steps; the rule's row says which. So a clock of any step is made in the same
few microseconds, and a change of options costs what it changes.
"""

from __future__ import annotations

import decimal
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastopt.errors import StateError, shortened
from fastopt.rules import Rule
from fastopt.rules.base import VANISHING

LAST_STEP = 2**53
"""From here on a float64 has no next step."""

HAIR = 1e-12
"""How far below zero an lr, and what is made of it (ASGD's ``eta``), may be: torch's LinearLR from
0.01 to 0 ends at -5e-19."""

_BITS = 1023
"""An integer of more bits is beyond a float64."""

# More digits than a pair of float64 holds, and smaller numbers than a float64 can be.
_EXACT = decimal.Context(prec=40, Emin=-400, Emax=400, traps=[])


def new_clock(rule: Rule, h: tuple[float, ...]) -> np.ndarray:
    """Return the clock of ``rule`` before its first step, as the array that kernels advance.

    >>> from fastopt.rules import RULES
    >>> new_clock(RULES["sgd"], RULES["sgd"].pack())
    array([0.])
    """
    return np.array(rule.clock0(h), np.float64)


@functools.lru_cache(maxsize=256)
def power_at(base: float, t: float) -> tuple[float, float]:
    """Return ``base ** t``, correctly rounded, and what is left of it.

    The same pair as ``t`` calls of :func:`fastopt.rules.base.power`, but for the last bits of what
    is left: in decimal arithmetic, which is in C and squares its way to any ``t`` in 10 us.

    >>> power_at(0.5, 3.0)
    (0.125, 0.0)
    """
    if t == 0.0:
        return 1.0, 0.0
    exact = _EXACT.power(decimal.Decimal(base), int(t))
    high = float(exact)
    if high < VANISHING:
        return 0.0, 0.0
    return high, float(_EXACT.subtract(exact, decimal.Decimal(high)))


def rewind(rule: Rule, h: tuple[float, ...], clocks: np.ndarray) -> None:
    """Make the powers in clocks anew, in place: of each clock's step, and of the options ``h``.

    Needed when one of their bases has changed, or the count. Just as in torch, which computes
    ``beta ** t`` with today's beta and goes on with the sums it has.

    ``rule``: of all of them. ``h``: hyperparameters from :meth:`fastopt.rules.Rule.pack`.
    ``clocks`` (clocks, length) of float64: the first column counts the steps.

    >>> from fastopt.rules import RULES
    >>> rule = RULES["adam"]
    >>> clock = new_clock(rule, rule.pack())
    >>> clock[0] = 3.0
    >>> rewind(rule, rule.pack({"beta1": 0.5}), clock[None])
    >>> clock[:2]
    array([3.   , 0.125])
    """
    values = dict(zip(rule.hyper, h))
    for t in np.unique(clocks[:, 0]).tolist() if rule.powers else ():
        rows = np.flatnonzero(clocks[:, 0] == t)
        for name, k in rule.powers.items():
            clocks[rows, k : k + 2] = power_at(values[name], t)


def whole_step(where: str, value: Any) -> int:
    """Check a step count that a state brings along; a tensor or array of one element is one, too.

    Raises StateError if it is not a whole number from zero to :data:`LAST_STEP`.

    >>> whole_step("step", np.array([3.0]))
    3
    """
    number = _number(value)
    if _is_real(number) and 0 <= number <= LAST_STEP and number == int(number):
        return int(number)
    raise StateError(
        f"{where} must be a whole number of steps from 0 to {LAST_STEP} (2**53); "
        f"got {shortened(value)}"
    )


def resume_clock(
    where: str,
    rule: Rule,
    h: tuple[float, ...],
    t: float,
    clock: Any = None,
    numbers: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Return the clock after ``t`` steps, of a tensor whose state is loaded.

    * ``where``: how error messages call the state of the tensor.
    * ``rule``, ``h``: how the tensor will be stepped. A saved power of another hyperparameter (it
      was changed after the last step) is made anew.
    * ``t``: steps taken, from :func:`whole_step`.
    * ``clock``, sequence of float: the clock as it was saved; without it, only what accumulates is
      needed.
    * ``numbers``: what accumulates, by name, if ``clock`` is not given.

    >>> from fastopt.rules import RULES
    >>> rule = RULES["nadam"]
    >>> resume_clock("it", rule, rule.pack({"beta2": 0.5}), 2.0, numbers={"mu_product": 0.25})[:3]
    array([2.  , 0.25, 0.25])
    """
    made = list(rule.clock0(h))
    if clock is not None:
        saved = read_clock(where, clock)
        if len(saved) != len(made) or any(map(math.isnan, saved)) or saved[0] != t:
            raise StateError(
                f"{where}: 'clock' must have {len(made)} elements, the first of them the step "
                f"{t:g}, and no NaN; got {saved}. Delete it to have it made from "
                f"{', '.join(map(repr, ('step', *rule.accumulates)))}."
            )
        made = saved
    elif t:
        made[0] = t
        for name, k in rule.accumulates.items():
            made[k] = read_sum(where, rule, name, numbers or {})
    for name, k in rule.accumulates.items():
        if not made[k] >= -HAIR:
            raise StateError(f"{where}: {name!r} must be zero or more; got {made[k]}")
    _correct(rule, h, made)
    return np.array(made, np.float64)


def packed_clock(clock: np.ndarray) -> int:
    """Return a clock as one integer: the bytes of its numbers, and a 1.

    That is what every reader of torch's state dicts passes on as it is. Sequences are refused by
    the flattened form of ``torch.distributed.checkpoint``; tensors are cast, moved and sharded.

    >>> read_clock("it", packed_clock(np.array([3.0, 0.5])))
    [3.0, 0.5]
    """
    return int.from_bytes(clock.astype("<f8").tobytes() + b"\1", "little")


def read_clock(where: str, clock: Any) -> list[float]:
    """Return a saved clock, packed or (in arrays' state dicts, and older ones) a sequence.

    >>> read_clock("it", (3, 0.5))
    [3.0, 0.5]
    """
    if type(clock) is int and clock > 0 and clock.bit_length() % 64 == 1:
        clock = np.frombuffer(clock.to_bytes(clock.bit_length() // 8 + 1, "little")[:-1], "<f8")
    listed = clock.tolist() if hasattr(clock, "tolist") else clock
    numbers = list(map(_number, listed)) if isinstance(listed, list | tuple) else []
    if not numbers or not all(map(_is_real, numbers)):
        raise StateError(f"{where}: 'clock' must be a list of numbers; got {shortened(clock)}")
    return list(map(float, numbers))


def _number(value: Any) -> Any:
    try:
        return value.item()
    except (AttributeError, ValueError, RuntimeError):  # several elements are not a number
        return value


def _is_real(number: Any) -> bool:
    """Tell whether this is a number of Python's that a float64 can be; True and False are none."""
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return is_number and not (isinstance(number, int) and number.bit_length() > _BITS)


def read_sum(where: str, rule: Rule, name: str, numbers: Mapping[str, Any]) -> float:
    """Return a number that ``rule`` accumulates, from a state that is loaded."""
    if name not in numbers:
        raise StateError(
            f"{where} lacks {name!r}, which {rule.name} accumulates over the steps, so that it "
            "cannot be made from 'step'"
        )
    number = _number(numbers[name])
    if not _is_real(number):
        raise StateError(f"{where}: {shortened(name)} must be a number; got {shortened(number)}")
    return float(number)


def _correct(rule: Rule, h: tuple[float, ...], clock: list[float]) -> None:
    """Make anew the powers in a clock, but for those that differ by rounding: the same bits."""
    values = dict(zip(rule.hyper, h))
    for name, k in rule.powers.items():
        high, low = power_at(values[name], clock[0])
        rounding = max(math.ulp(high), VANISHING)
        if not (abs(clock[k] - high) <= rounding and abs(clock[k + 1]) <= rounding):
            clock[k : k + 2] = high, low
