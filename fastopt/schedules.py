r"""Learning-rate schedules: factors :math:`f(t)` by which the base learning rate is multiplied.

``t`` is the number of completed steps: 0 at the first step, as in torch's ``LambdaLR``. From
``total_steps`` on, a schedule with an end stays at its final value (torch's ``CosineAnnealingLR``
would rise again).

To add a schedule, write its function ``f(t, a) -> factor`` and its row at the foot of this file,
and a constructor. The compiled switch, sweeps, tests and documentation follow from the row.

Examples
--------
>>> schedule = warmup_cosine(warmup_steps=2, total_steps=6)
>>> [round(schedule(t), 3) for t in range(8)]
[0.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

With torch: ``torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastopt.compile import jitable
from fastopt.errors import HyperparameterError, did_you_mean
from fastopt.rules.base import Real

__all__ = [
    "SCHEDULES",
    "Schedule",
    "ScheduleRow",
    "Steps",
    "constant",
    "cosine",
    "exponential",
    "factor",
    "pack",
    "step",
    "warmup_cosine",
]

WIDTH = 4
"""Numbers in ``a``: the same for every schedule, so that one compiled sweep may mix them."""

REQUIRED = math.nan
"""Default of a parameter that has none."""


@dataclass(frozen=True)
class Steps(Real):
    """A whole number of steps; without a default it must be given or, if it may, inherited."""

    default: float = REQUIRED
    low: float = 1.0
    run_length: bool = False

    def pack(self, where: str, value: Any) -> float:
        """Check that ``value`` is a whole number in the range and return it as a float."""
        number = super().pack(where, value)
        if not number.is_integer():
            raise HyperparameterError(f"{where} must be a whole number of steps; got {value!r}")
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
        :func:`fastopt.compile.jitable`; ``t`` is a float, ``a`` a tuple of four floats.
    params : dict of str to Real
        Parameters in the order in which ``function`` unpacks them from ``a``.
    formula : str
        The factor in TeX.
    torch : str
        The schedulers of ``torch.optim.lr_scheduler`` that compute the same.
    """

    name: str
    function: Callable[[float, tuple[float, ...]], float]
    params: Mapping[str, Real]
    formula: str
    torch: str

    def pack(self, values: Mapping[str, Any], total_steps: int | None = None) -> tuple[float, ...]:
        """Check ``values`` and return them, with defaults filled in, as ``a``."""
        for name in values:
            if name not in self.params:
                raise HyperparameterError(
                    f"schedule {self.name} has no parameter {name!r}"
                    f"{did_you_mean(name, self.params)}; it has {', '.join(self.params) or 'none'}"
                )
        a = [self._value(name, kind, values, total_steps) for name, kind in self.params.items()]
        self._check_order(dict(zip(self.params, a)))
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

    def _check_order(self, values: Mapping[str, float]) -> None:
        warmup, total = values.get("warmup_steps", 0.0), values.get("total_steps", math.inf)
        if warmup > total:
            raise HyperparameterError(
                f"schedule {self.name}: warmup_steps must not exceed total_steps; "
                f"got {warmup:.0f} and {total:.0f}"
            )


@dataclass(frozen=True, repr=False)
class Schedule:
    """A schedule with its parameters: what the constructors of this module return.

    Parameters
    ----------
    name : str
        A key of :data:`SCHEDULES`.
    a : tuple of float
        The packed parameters, see :func:`pack`.

    Examples
    --------
    >>> schedule = step(step_size=30)
    >>> schedule
    step(step_size=30, gamma=0.1)
    >>> schedule(0), schedule(30)
    (1.0, 0.1)
    """

    name: str
    a: tuple[float, ...]

    def __call__(self, t: float) -> float:
        """Return the factor for the step that follows ``t`` completed ones."""
        return SCHEDULES[self.name].function(float(t), self.a)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return f"{self.name}({shown})"

    @property
    def kind(self) -> int:
        """The schedule's number, which picks it in :func:`factor`."""
        return list(SCHEDULES).index(self.name)

    @property
    def values(self) -> dict[str, float]:
        """The parameters by name."""
        params = SCHEDULES[self.name].params
        return {
            name: int(value) if isinstance(kind, Steps) else value
            for (name, kind), value in zip(params.items(), self.a)
        }


def constant() -> Schedule:
    """Keep the base learning rate.

    >>> constant()(1000)
    1.0
    """
    return _made("constant")


def step(step_size: int, gamma: float = 0.1) -> Schedule:
    r"""Multiply by ``gamma`` every ``step_size`` steps, :math:`f = \gamma^{\lfloor t/s \rfloor}`.

    torch's ``StepLR``, counted in steps.

    >>> [step(2, gamma=0.5)(t) for t in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """
    return _made("step", step_size=step_size, gamma=gamma)


def exponential(gamma: float) -> Schedule:
    r"""Multiply by ``gamma`` every step, :math:`f = \gamma^t`; torch's ``ExponentialLR``.

    >>> exponential(0.5)(3)
    0.125
    """
    return _made("exponential", gamma=gamma)


def cosine(total_steps: int, final: float = 0.0) -> Schedule:
    r"""Fall along half a cosine from 1 to ``final`` in ``total_steps``, then stay there.

    .. math:: f = f_T + (1 - f_T) \tfrac12 (1 + \cos(\pi t / T))

    torch's ``CosineAnnealingLR(T_max=total_steps, eta_min=final * lr)``, which is the schedule of
    SGDR without restarts.

    >>> [round(cosine(4, final=0.5)(t), 3) for t in (0, 2, 4, 6)]
    [1.0, 0.75, 0.5, 0.5]

    References
    ----------
    I. Loshchilov and F. Hutter, *SGDR: stochastic gradient descent with warm restarts*, ICLR 2017.
    """
    return _made("cosine", total_steps=total_steps, final=final)


def warmup_cosine(
    warmup_steps: int, total_steps: int, final: float = 0.0, start: float = 0.0
) -> Schedule:
    r"""Rise linearly from ``start`` to 1 in ``warmup_steps``, then fall along half a cosine.

    With :math:`w` warm-up steps out of :math:`T`,

    .. math::
        f = \begin{cases}
            f_0 + (1 - f_0)\, t / w & t < w \\
            f_T + (1 - f_T) \tfrac12 (1 + \cos(\pi (t - w) / (T - w))) & w \le t < T \\
            f_T & t \ge T
        \end{cases}

    torch's ``SequentialLR`` of ``LinearLR(start_factor=start, total_iters=warmup_steps)`` and
    ``CosineAnnealingLR(T_max=total_steps - warmup_steps, eta_min=final * lr)``, which does not
    accept ``start=0``. With ``start=0`` the first step has learning rate 0.

    Raises
    ------
    HyperparameterError
        A parameter is out of its range, or ``warmup_steps`` exceeds ``total_steps``.

    Examples
    --------
    >>> [round(warmup_cosine(2, 4, start=0.5)(t), 3) for t in range(5)]
    [0.5, 0.75, 1.0, 0.5, 0.0]
    """
    return _made(
        "warmup_cosine",
        warmup_steps=warmup_steps,
        total_steps=total_steps,
        final=final,
        start=start,
    )


def pack(
    name: str, values: Mapping[str, Any] | None = None, total_steps: int | None = None
) -> tuple[int, tuple[float, ...]]:
    """Check a schedule and return what :func:`factor` needs to run it inside a kernel.

    Parameters
    ----------
    name : str
        A key of :data:`SCHEDULES`.
    values : dict, optional
        Parameters by name; those missing take their defaults.
    total_steps : int, optional
        Length of the run, taken where the schedule has ``total_steps`` and ``values`` has not.

    Returns
    -------
    kind : int
        The schedule's number.
    a : tuple of four floats
        Its parameters, filled up with zeros.

    Raises
    ------
    HyperparameterError
        A name is unknown, a parameter is missing, or a value is out of its range.

    Examples
    --------
    >>> pack("cosine", {"final": 0.1}, total_steps=500)
    (3, (500.0, 0.1, 0.0, 0.0))
    """
    if name not in SCHEDULES:
        raise HyperparameterError(
            f"there is no schedule {name!r}{did_you_mean(name, SCHEDULES)}; "
            f"there are {', '.join(SCHEDULES)}"
        )
    a = SCHEDULES[name].pack(values or {}, total_steps)
    return list(SCHEDULES).index(name), a


def _made(name: str, **values: Any) -> Schedule:
    return Schedule(name, pack(name, values)[1])


@jitable
def constant_factor(t, a):
    """Return 1."""
    return 1.0


@jitable
def step_factor(t, a):
    """Return ``gamma ** (t // step_size)``; ``a = (step_size, gamma, ...)``."""
    step_size, gamma, _, _ = a
    return gamma ** (t // step_size)


@jitable
def exponential_factor(t, a):
    """Return ``gamma ** t``; ``a = (gamma, ...)``."""
    return a[0] ** t


@jitable
def cosine_factor(t, a):
    """Return half a cosine from 1 to ``final``; ``a = (total_steps, final, ...)``."""
    total_steps, final, _, _ = a
    if t >= total_steps:
        return final
    return final + (1.0 - final) * (0.5 * (1.0 + math.cos(math.pi * t / total_steps)))


@jitable
def warmup_cosine_factor(t, a):
    """Return a ramp, then a cosine; ``a = (warmup_steps, total_steps, final, start)``."""
    warmup_steps, total_steps, final, start = a
    if t < warmup_steps:
        return start + (1.0 - start) * (t / warmup_steps)
    return cosine_factor(t - warmup_steps, (total_steps - warmup_steps, final, 0.0, 0.0))


_TOTAL = Steps(run_length=True, summary="step from which the factor stays at its final value")
_FINAL = Real(0.0, summary="factor at total_steps and after it")

SCHEDULES: dict[str, ScheduleRow] = {
    row.name: row
    for row in (
        ScheduleRow("constant", constant_factor, {}, formula="1", torch="ConstantLR(factor=1)"),
        ScheduleRow(
            "step",
            step_factor,
            {
                "step_size": Steps(summary="steps between two drops"),
                "gamma": Real(0.1, summary="factor of each drop"),
            },
            formula=r"\gamma^{\lfloor t / s \rfloor}",
            torch="StepLR",
        ),
        ScheduleRow(
            "exponential",
            exponential_factor,
            {"gamma": Real(REQUIRED, summary="factor of each step")},
            formula=r"\gamma^t",
            torch="ExponentialLR",
        ),
        ScheduleRow(
            "cosine",
            cosine_factor,
            {"total_steps": _TOTAL, "final": _FINAL},
            formula=r"f_T + (1 - f_T) \tfrac12 (1 + \cos(\pi t / T))",
            torch="CosineAnnealingLR",
        ),
        ScheduleRow(
            "warmup_cosine",
            warmup_cosine_factor,
            {
                "warmup_steps": Steps(low=0.0, summary="steps of linear rise"),
                "total_steps": _TOTAL,
                "final": _FINAL,
                "start": Real(0.0, summary="factor at the first step"),
            },
            formula=r"f_0 + (1 - f_0) t / w, \text{ then cosine over } T - w",
            torch="SequentialLR of LinearLR and CosineAnnealingLR",
        ),
    )
}


def _switch(functions: list[Callable]) -> Callable:
    """Close ``factor(kind, t, a)`` over the first function and the switch of the rest."""
    first, *rest = functions
    others: Any = _switch(rest) if rest else None

    @jitable
    def last(kind, t, a):
        return first(t, a)

    @jitable
    def factor(kind, t, a):
        """Return the factor of schedule number ``kind`` after ``t`` steps; usable in kernels."""
        return first(t, a) if kind == 0 else others(kind - 1, t, a)

    return factor if rest else last


factor = _switch([row.function for row in SCHEDULES.values()])
"""``factor(kind, t, a)``: any schedule inside a kernel; ``kind`` and ``a`` from :func:`pack`."""
