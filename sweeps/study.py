"""Ask and tell: hand out the trials of a space to any loop, and take in what it measured."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastopt.errors import SpecError, SweepWarning, did_you_mean
from sweeps.names import RESERVED, refuse_taken
from sweeps.results import STATES, SweepResult
from sweeps.space import Space

__all__ = ["Outcome", "Study", "judge"]

COMPLETE, DIVERGED, FAILED = (STATES.index(s) for s in ("COMPLETE", "DIVERGED", "FAILED"))


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: a position in :data:`STATES`, what was measured, why it failed."""

    state: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None


def judge(returned: Any, metric: str, axes: Sequence[str] = ()) -> Outcome:
    """Decide what an objective's answer means.

    Parameters
    ----------
    returned : number, dict of str to number, or exception
        A number is the metric; a dict holds the metric and any others.
    metric : str
        COMPLETE needs a finite value of it; NaN or infinity means DIVERGED.
    axes : list of str
        Names that metrics cannot have.

    Returns
    -------
    Outcome
        FAILED, with the reason, for an exception and for anything that is not numbers.

    Examples
    --------
    >>> judge({"loss": 0.5, "accuracy": 0.9}, "loss")
    Outcome(state=0, metrics={'loss': 0.5, 'accuracy': 0.9}, error=None)
    >>> judge(float("nan"), "loss").state == STATES.index("DIVERGED")
    True
    >>> judge(ZeroDivisionError("division by zero"), "loss").error
    'ZeroDivisionError: division by zero'
    """
    if isinstance(returned, BaseException):
        return Outcome(FAILED, error=f"{type(returned).__name__}: {returned}".rstrip(": "))
    given = dict(returned) if isinstance(returned, Mapping) else {metric: returned}
    metrics = {}
    for name, value in given.items():
        if not isinstance(name, str) or name in ("", *RESERVED, *axes):
            return Outcome(FAILED, error=f"a metric cannot be called {name!r}; rename it")
        number = _number(value)
        if number is None:
            return Outcome(
                FAILED,
                error=f"the objective must return a number or a dict of numbers; {name} is "
                f"{value!r} of type {type(value).__name__}",
            )
        if isinstance(value, numbers.Integral) and int(number) != value:
            warnings.warn(
                f"metric {name!r} is {value}, and a float holds 16 digits of it; subtract an "
                "offset, or give its low and high part as two metrics",
                SweepWarning,
                stacklevel=3,
            )
        metrics[name] = number
    if metric not in metrics:
        hint = did_you_mean(metric, metrics)
        return Outcome(FAILED, error=f"no {metric!r} among the metrics {list(metrics)}{hint}")
    return Outcome(COMPLETE if math.isfinite(metrics[metric]) else DIVERGED, metrics)


def _number(value: Any) -> float | None:
    """Return what has a value as a float, such as a tensor of one element; None for the rest."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, str | bytes | complex):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


class Study:
    """Hand out the trials of a space and take in their results, for a loop of your own.

    Trials come in the order of their numbers. For random search pass a sample or a design:
    ``Study(space.sample(100, seed=1))``.

    Parameters
    ----------
    space : dict, list of dict or Space
        As for :func:`sweeps.sweep`; axes may have any names but ``trial_id``, ``state``, ``error``.
    metric : str
        What a told number is called, and by what trials are compared.
    mode : {"min", "max"}
        Whether a small or a large metric is good.

    Raises
    ------
    SpecError
        The space is not well formed, the mode is unknown, or an axis or the metric is called like
        another column: ``trial_id``, ``state``, ``error``, or the metric like an axis.

    Examples
    --------
    >>> study = Study({"x": [-1.0, 0.0, 2.0]}, metric="loss")
    >>> ids, configs = study.ask(2)
    >>> configs
    [{'x': -1.0}, {'x': 0.0}]
    >>> study.tell(ids, [config["x"] ** 2 for config in configs])
    >>> study.result().best_params_
    {'x': 0.0}
    >>> ids, configs = study.ask(10)
    >>> study.tell(ids, [{"loss": 4.0, "hours": 1.5}])
    >>> study.result().to_frame()[["x", "state", "loss", "hours"]]
         x     state  loss  hours
    0 -1.0  COMPLETE   1.0    NaN
    1  0.0  COMPLETE   0.0    NaN
    2  2.0  COMPLETE   4.0    1.5
    """

    def __init__(self, space: Any, *, metric: str = "value", mode: str = "min") -> None:
        self.space = Space(space)
        self.metric, self.mode = metric, mode
        self._asked = 0
        self._pending: set[int] = set()
        self._outcomes: dict[int, Outcome] = {}
        self._best: float | None = None
        refuse_taken("axis", self.space.names)
        refuse_taken("metric", [metric], dict.fromkeys(self.space.names, "an axis of the space"))
        self.result()  # raises for an unknown mode

    def __len__(self) -> int:
        return len(self._outcomes)

    @property
    def best_value(self) -> float | None:
        """Best metric among the COMPLETE trials told so far, None before the first."""
        return self._best

    @property
    def pending(self) -> tuple[int, ...]:
        """Numbers of the trials that were asked for and not told about."""
        return tuple(sorted(self._pending))

    def ask(self, n: int = 1) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Hand out the next trials.

        Parameters
        ----------
        n : int
            How many, at least 1; there are fewer at the end of the space, and none after it.

        Returns
        -------
        (k,) array of int64, list of dict
            Trial numbers, and for each its axes as plain Python values.

        Raises
        ------
        SpecError
            ``n`` is not a positive integer.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise SpecError(f"ask(n): n must be an integer >= 1; got {n!r}")
        ids = np.arange(self._asked, min(self._asked + n, self.space.size))
        self._asked += len(ids)
        self._pending.update(ids.tolist())
        return ids, [self.space[i] for i in ids.tolist()]

    def tell(self, ids: Any, values: Sequence[Any]) -> None:
        """Take in the results of trials that were asked for.

        Parameters
        ----------
        ids : (k,) array of int
            Trial numbers from :meth:`ask`, in any order.
        values : sequence of length k
            For each a number, a dict of numbers, or the exception it ended with; see
            :func:`judge`.

        Raises
        ------
        SpecError
            A trial was not asked for, is told about twice, the lengths differ, or, before any trial
            is COMPLETE, a metric is called like another column. Nothing is recorded.
        """
        numbers, values = np.asarray(ids).tolist(), list(values)
        if not isinstance(numbers, list) or len(numbers) != len(values):
            raise SpecError(
                f"tell(ids, values): as many values as ids; got {ids!r} and {len(values)} values"
            )
        fresh = set(self._pending)
        for i in numbers:
            if i not in fresh:
                told = i in self._outcomes or i in self._pending
                raise SpecError(
                    f"tell(ids, values): trial {i!r} was "
                    f"{'told about before' if told else 'not asked for'}; pending are "
                    f"{list(self.pending[:10])}"
                )
            fresh.discard(i)
        if self._best is None:  # or all trials would run and none would count
            taken = dict.fromkeys(self.space.names, "an axis of the space")
            for value in values:
                refuse_taken("metric", value if isinstance(value, Mapping) else (), taken)
        pick = min if self.mode == "min" else max
        for i, value in zip(numbers, values):
            outcome = judge(value, self.metric, self.space.names)
            self._outcomes[i] = outcome
            self._pending.discard(i)
            if outcome.state == COMPLETE:
                score = outcome.metrics[self.metric]
                self._best = score if self._best is None else pick(self._best, score)

    def result(self, **info: Any) -> SweepResult:
        """Return what is known so far.

        Parameters
        ----------
        **info
            Facts for :attr:`SweepResult.info`.

        Returns
        -------
        SweepResult
            Metrics that a trial does not have are NaN; ``error`` says why a trial FAILED.
        """
        ids = sorted(self._outcomes)
        outcomes = [self._outcomes[i] for i in ids]
        names = dict.fromkeys([self.metric, *(n for o in outcomes for n in o.metrics)])
        errors = np.empty(len(ids), object)
        errors[:] = [outcome.error for outcome in outcomes]
        columns = {
            "trial_id": np.array(ids, np.int64),
            **self.space.columns(ids),
            "state": np.array([outcome.state for outcome in outcomes], np.int8),
            **{n: np.array([o.metrics.get(n, math.nan) for o in outcomes], float) for n in names},
            "error": errors,
        }
        facts = {"n_trials": self.space.size, **info}
        return SweepResult(columns, None, self.metric, self.mode, facts, self.space, counts=())
