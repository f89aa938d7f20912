"""What a schedule is made of: its parameters, and its row of the table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastopt.errors import HyperparameterError, did_you_mean, shortened
from fastopt.rules.base import Real

WIDTH = 6
"""Numbers in ``a``: the same for every schedule, so that one compiled sweep may mix them."""

REQUIRED = math.nan
"""Default of a parameter that has none."""

_STEP = Real(0.0)


@dataclass(frozen=True)
class Steps(Real):
    """A whole number of steps; without a default it must be given or, if it may, inherited.

    Examples
    --------
    >>> Steps().pack("warmup_steps", 100)
    100.0
    """

    default: float = REQUIRED
    low: float = 1.0
    run_length: bool = False

    def pack(self, where: str, value: Any) -> float:
        """Check that ``value`` is a whole number in the range and return it as a float."""
        number = super().pack(where, value)
        if not number.is_integer():
            raise HyperparameterError(
                f"{where} must be a whole number of steps; got {shortened(value)}"
            )
        return number


@dataclass(frozen=True)
class ScheduleRow:
    """A schedule: a row of :data:`SCHEDULES`.

    Parameters
    ----------
    name : str
        What users call it, e.g. ``"cosine"``.
    function : callable
        ``function(t, a) -> factor``, a plain function registered with
        :func:`fastopt.compile.jitable`; ``t`` is a float, ``a`` a tuple of :data:`WIDTH` floats.
    params : dict of str to Real
        Parameters in the order in which ``function`` unpacks them from ``a``.
    formula : str
        The factor in TeX.
    torch : str
        The schedulers of ``torch.optim.lr_scheduler`` that compute the same.
    optax : str
        The schedules of ``optax`` that compute the same.

    Examples
    --------
    >>> from fastopt.schedules import SCHEDULES
    >>> row = SCHEDULES["exponential"]
    >>> row.function(2.0, row.pack({"gamma": 0.5}))
    0.25
    """

    name: str
    function: Callable[[float, tuple[float, ...]], float]
    params: Mapping[str, Real]
    formula: str
    torch: str = ""
    optax: str = ""

    def factor(self, t: float, a: tuple[float, ...]) -> float:
        """Return the factor as kernels compute it: a power beyond any float is infinite.

        Raises HyperparameterError unless ``t`` is a real number from 0 on.

        >>> from fastopt.schedules import SCHEDULES
        >>> row = SCHEDULES["exponential"]
        >>> row.factor(10_000, row.pack({"gamma": 2.0}))
        inf
        """
        t = _STEP.pack(f"schedule {self.name}: the step", t)
        try:
            return self.function(t, a)
        except OverflowError:
            return math.inf

    def pack(self, values: Mapping[str, Any], total_steps: int | None = None) -> tuple[float, ...]:
        """Check ``values`` and return them, with defaults filled in, as ``a``."""
        for name in values:
            if name not in self.params:
                raise HyperparameterError(
                    f"schedule {self.name} has no parameter {shortened(name)}"
                    f"{did_you_mean(name, self.params)}; it has {', '.join(self.params) or 'none'}"
                )
        a = [self._value(name, kind, values, total_steps) for name, kind in self.params.items()]
        self._check_together(dict(zip(self.params, a)))
        return (*a, *[0.0] * (WIDTH - len(a)))

    def _value(
        self, name: str, kind: Real, values: Mapping[str, Any], total_steps: int | None
    ) -> float:
        inherited = total_steps if isinstance(kind, Steps) and kind.run_length else None
        value = values.get(name, kind.default if inherited is None else inherited)
        if name not in values and inherited is None and math.isnan(kind.default):
            raise HyperparameterError(
                f"schedule {self.name} needs {name}, a number in {kind.range}; none was given"
            )
        return kind.pack(f"schedule {self.name}: {name}", value)

    def _check_together(self, values: Mapping[str, float]) -> None:
        """Refuse phases that are longer than the whole, and swings that pass zero."""
        growth = [name for name in ("gamma", "cycle_gamma") if values.get(name, 0.0) > 1.0]
        if values.get("start", 0.0) > 1.0 and growth:
            raise HyperparameterError(
                f"schedule {self.name}: with a start above 1 its swings below "
                f"it must not grow, to factors below zero; {growth[0]} must be in [0.0, 1.0], got "
                f"{values[growth[0]]:g}"
            )
        phases = {name: values[name] for name in ("warmup_steps", "decay_steps") if name in values}
        total = values.get("total_steps", math.inf)
        if sum(phases.values()) > total:
            raise HyperparameterError(
                f"schedule {self.name}: {' + '.join(phases)} must not exceed total_steps; "
                f"got {' + '.join(f'{n:.0f}' for n in phases.values())} and {total:.0f}"
            )
