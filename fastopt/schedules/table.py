"""The table of schedules, and what runs a row of it: an object, or a switch inside a kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastopt.errors import HyperparameterError, did_you_mean, shortened
from fastopt.rules.base import Real
from fastopt.schedules import factors
from fastopt.schedules.base import REQUIRED, ScheduleRow, Steps


@dataclass(frozen=True, repr=False)
class Schedule:
    """A schedule with its parameters: what the constructors of this package return.

    Parameters
    ----------
    name : str
        A key of :data:`SCHEDULES`.
    a : tuple of float
        The packed parameters, see :func:`pack`.

    Examples
    --------
    >>> from fastopt.schedules import step
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
        return SCHEDULES[self.name].factor(t, self.a)

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
    a : tuple of :data:`fastopt.schedules.WIDTH` floats
        Its parameters, filled up with zeros.

    Raises
    ------
    HyperparameterError
        A name is unknown, a parameter is missing, or a value is out of its range.

    Examples
    --------
    >>> pack("cosine", {"final": 0.1}, total_steps=500)
    (3, (500.0, 0.1, 0.0, 0.0, 0.0, 0.0))
    """
    if name not in SCHEDULES:
        raise HyperparameterError(
            f"there is no schedule {shortened(name)}{did_you_mean(name, SCHEDULES)}; "
            f"there are {', '.join(SCHEDULES)}"
        )
    a = SCHEDULES[name].pack(values or {}, total_steps)
    return list(SCHEDULES).index(name), a


_TOTAL = Steps(run_length=True, summary="step from which the factor stays at its final value")
_FINAL = Real(0.0, summary="factor at total_steps and after it")
_WARMUP = Steps(low=0.0, summary="steps of linear rise")
_START = Real(0.0, summary="factor at the first step")
_MILESTONE = Steps(0.0, low=0.0, summary="step at which the factor drops; 0 for none")

SCHEDULES: dict[str, ScheduleRow] = {
    row.name: row
    for row in (
        ScheduleRow(
            "constant",
            factors.constant_factor,
            {
                "factor": Real(1.0, summary="factor of the first steps"),
                "total_iters": Steps(0.0, low=0.0, summary="how many steps that is"),
            },
            formula=r"c \text{ for } t < T_c, \text{ then } 1",
            torch="ConstantLR",
            optax="constant_schedule",
        ),
        ScheduleRow(
            "step",
            factors.step_factor,
            {
                "step_size": Steps(summary="steps between two drops"),
                "gamma": Real(0.1, summary="factor of each drop, or of each step"),
            },
            formula=r"\gamma^{\lfloor t / s \rfloor}",
            torch="StepLR",
            optax="exponential_decay(staircase=True)",
        ),
        ScheduleRow(
            "exponential",
            factors.exponential_factor,
            {
                "gamma": Real(REQUIRED, summary="factor of each step, or of transition_steps"),
                "transition_steps": Steps(1.0, summary="steps that gamma is the factor of"),
            },
            formula=r"\gamma^{t / s}",
            torch="ExponentialLR",
            optax="exponential_decay",
        ),
        ScheduleRow(
            "cosine",
            factors.cosine_factor,
            {"total_steps": _TOTAL, "final": _FINAL},
            formula=r"f_T + (1 - f_T) \tfrac12 (1 + \cos(\pi t / T))",
            torch="CosineAnnealingLR",
            optax="cosine_decay_schedule",
        ),
        ScheduleRow(
            "warmup_cosine",
            factors.warmup_cosine_factor,
            {"warmup_steps": _WARMUP, "total_steps": _TOTAL, "final": _FINAL, "start": _START},
            formula=r"f_0 + (1 - f_0) t / w, \text{ then cosine over } T - w",
            torch="SequentialLR of LinearLR and CosineAnnealingLR",
            optax="warmup_cosine_decay_schedule",
        ),
        ScheduleRow(
            "multi_step",
            factors.multi_step_factor,
            {
                "milestone1": Steps(summary="step at which the factor drops"),
                **{f"milestone{k}": _MILESTONE for k in (2, 3, 4, 5)},
                "gamma": Real(0.1, summary="factor of each drop, or of each step"),
            },
            formula=r"\gamma^{|\{k : m_k \le t\}|}",
            torch="MultiStepLR",
            optax="piecewise_constant_schedule",
        ),
        ScheduleRow(
            "linear",
            factors.linear_factor,
            {
                "total_steps": _TOTAL,
                "start": Real(1.0, summary="factor at the first step"),
                "final": _FINAL,
            },
            formula=r"f_0 + (f_T - f_0) t / T",
            torch="LinearLR",
            optax="linear_schedule",
        ),
        ScheduleRow(
            "polynomial",
            factors.polynomial_factor,
            {
                "total_steps": _TOTAL,
                "power": Real(1.0, summary="power of the share of steps left, or decayed"),
                "final": _FINAL,
            },
            formula=r"f_T + (1 - f_T) (1 - t / T)^q",
            torch="PolynomialLR",
            optax="polynomial_schedule",
        ),
        ScheduleRow(
            "cosine_restarts",
            factors.cosine_restarts_factor,
            {
                "period": Steps(summary="steps before the first restart"),
                "multiplier": Steps(1.0, summary="by which each period is longer than the last"),
                "final": Real(0.0, summary="factor at total_steps, or before each restart"),
            },
            formula=r"f_T + (1 - f_T) \tfrac12 (1 + \cos(\pi t_i / T_i))",
            torch="CosineAnnealingWarmRestarts",
            optax="sgdr_schedule",
        ),
        ScheduleRow(
            "one_cycle",
            factors.one_cycle_factor,
            {
                "total_steps": _TOTAL,
                "pct_start": Real(0.3, high=1.0, summary="share of the steps that rise"),
                "div_factor": Real(25.0, low=1.0, summary="peak over the factor at the start"),
                "final_div_factor": Real(1e4, low=1.0, summary="factor at the start over the last"),
            },
            formula=r"\text{half a cosine from } 1/d \text{ to } 1, \text{ then to } 1/(d d_T)",
            torch="OneCycleLR",
            optax="cosine_onecycle_schedule",
        ),
        ScheduleRow(
            "cyclic",
            factors.cyclic_factor,
            {
                "step_size_up": Steps(2000.0, summary="steps of each rise"),
                "step_size_down": Steps(0.0, low=0.0, summary="of each fall; 0: as many"),
                "start": Real(0.0, summary="factor at the first step"),
                "gamma": Real(1.0, summary="factor of each drop, or of each step"),
                "cycle_gamma": Real(1.0, summary="factor of the height of each triangle"),
            },
            formula=r"f_0 + (1 - f_0)\, \mathrm{triangle}(t)\, \gamma^t \gamma_c^k",
            torch="CyclicLR",
        ),
        ScheduleRow(
            "wsd",
            factors.wsd_factor,
            {
                "warmup_steps": _WARMUP,
                "decay_steps": Steps(low=0.0, summary="steps of decay before total_steps"),
                "total_steps": _TOTAL,
                "final": _FINAL,
                "start": _START,
                "power": Real(1.0, summary="power of the share of steps left, or decayed"),
            },
            formula=r"f_0 + (1 - f_0) t / w,\; 1,\; 1 - (1 - f_T) ((t - T + d) / d)^q",
            torch="SequentialLR of LinearLR, ConstantLR and LinearLR",
            optax="join_schedules of linear_schedule",
        ),
        ScheduleRow(
            "inverse_sqrt",
            factors.inverse_sqrt_factor,
            {
                "warmup_steps": _WARMUP,
                "timescale": Steps(
                    0.0, low=0.0, summary="steps to 1/sqrt(2); 0: warmup_steps, or 10 000 without"
                ),
                "start": _START,
            },
            formula=r"f_0 + (1 - f_0) t / w, \text{ then } \sqrt{\tau / (\tau + t - w)}",
        ),
    )
}
