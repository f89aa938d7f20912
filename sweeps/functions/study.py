"""Ask and tell: hand out the trials of a space to any loop, and record what it measured."""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np

from fastopt.errors import SpecError, SweepWarning, did_you_mean, shortened
from sweeps.common.names import refuse_taken
from sweeps.common.states import STATES, State
from sweeps.functions.calling import StudyRun
from sweeps.functions.tell import check_count, state_of, trial_numbers, values_per_trial
from sweeps.results import SweepResult
from sweeps.running.jobs import Answers
from sweeps.space.space import Space

AXIS = "an axis of the space"


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: a position in :data:`STATES`, what was measured, why it failed."""

    state: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    is_misnamed: bool = field(default=False, repr=False)
    """Whether it FAILED because of the name of a metric, as all other trials will."""
    remarks: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Metric -> a warning about it, which the study's process gives once, and no worker."""


def judge(returned: Any, metric: str, axes: Sequence[str] = ()) -> Outcome:
    """Decide what an objective's answer means.

    A dict holds the metric and any others but ``axes``. COMPLETE needs a finite metric; NaN or
    infinity means DIVERGED, an exception and anything that is not numbers FAILED.

    >>> judge({"loss": 0.5, "accuracy": 0.9}, "loss")
    Outcome(state=<State.COMPLETE: 0>, metrics={'loss': 0.5, 'accuracy': 0.9}, error=None)
    >>> judge(float("nan"), "loss").state == State.DIVERGED
    True
    >>> judge(ZeroDivisionError("division by zero"), "loss").error
    'ZeroDivisionError: division by zero'
    """
    if isinstance(returned, BaseException):
        return Outcome(State.FAILED, error=f"{type(returned).__name__}: {returned}".rstrip(": "))
    given = dict(returned) if isinstance(returned, Mapping) else {metric: returned}
    metrics, remarks = {}, {}
    for name, value in given.items():
        try:
            refuse_taken("metric", [name], dict.fromkeys(axes, AXIS))
        except SpecError as refusal:
            return Outcome(State.FAILED, error=str(refusal), is_misnamed=True)
        number = _number(value)
        if number is None:
            return Outcome(
                State.FAILED,
                error=f"the objective must return a number or a dict of numbers; {name} is "
                f"{shortened(value)} of type {type(value).__name__}",
            )
        if isinstance(value, Integral) and int(number) != value:
            remarks[name] = (
                f"metric {shortened(name)} is {value}, and a float holds 16 digits of it; "
                "subtract an offset, or give its low and high part as two metrics"
            )
        metrics[name] = number
    if metric not in metrics:
        hint = did_you_mean(metric, metrics)
        return Outcome(
            State.FAILED, error=f"no {shortened(metric)} among the metrics {list(metrics)}{hint}"
        )
    state = State.COMPLETE if math.isfinite(metrics[metric]) else State.DIVERGED
    return Outcome(state, metrics, remarks=remarks)


def _number(value: Any) -> float | None:
    """Return a number, or a tensor of one element, as a float; None for anything else."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.ravel()[0] if np.ma.is_masked(value) else value.item()
    # A masked element has no value; float() would make it 0.
    if isinstance(value, str | bytes | complex) or value is np.ma.masked:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _with_state(outcome: Outcome, state: int, is_bare: bool) -> Outcome:
    """Return the outcome of a trial whose state the caller gave."""
    if is_bare:
        outcome = Outcome(State.FAILED)
    elif outcome.state == State.FAILED and outcome.error is not None and state != State.FAILED:
        raise SpecError(f"tell(ids, values, state={STATES[state].lower()!r}): {outcome.error}")
    if state == State.COMPLETE and outcome.state != State.COMPLETE:
        raise SpecError('tell(ids, values, state="complete") needs a finite metric of each trial')
    reason = (outcome.error or "told so") if state == State.FAILED else None
    return replace(outcome, state=state, error=reason)


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
        self._returned: deque[int] = deque()  # asked for and given back
        self._pending: set[int] = set()
        self._outcomes: dict[int, Outcome] = {}
        self._best: float | None = None
        self._remarks: dict[str, str] = {}  # empty once said
        refuse_taken("axis", self.space.names)
        refuse_taken("metric", [metric], dict.fromkeys(self.space.names, AXIS))
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
        ids = list(itertools.islice(self._next_trials(), check_count("ask(n): n", n)))
        return np.array(ids, np.int64), [self.space[i] for i in ids]

    def _next_trials(self) -> Iterator[int]:
        """Yield the numbers of the trials to come, each pending from then on."""
        while self._returned or self._asked < self.space.size:
            if self._returned:
                i = self._returned.popleft()
            else:
                i, self._asked = self._asked, self._asked + 1
            self._pending.add(i)
            yield i

    def tell(self, ids: Any, values: Any = None, *, state: Any = None) -> None:
        """Take in the results of trials that were asked for.

        Parameters
        ----------
        ids : int or (k,) array of int
            Trial numbers from :meth:`ask`, in any order; or one number.
        values : sequence of length k
            For each a number, a dict of numbers, or the exception it ended with; see
            :func:`judge`. Of one trial, that itself will do.
        state : {"complete", "diverged", "pruned", "failed"}, optional
            How all of these trials ended, if that is not for the values to say, which may be left
            out but for COMPLETE trials. Optuna's states will do.

        Raises
        ------
        SpecError
            A trial was not asked for, is told about twice, the lengths differ, the state is unknown
            or needs values, or, before any trial is COMPLETE, a metric is called like another
            column. Nothing is recorded.

        Examples
        --------
        >>> study = Study({"x": range(4)})
        >>> ids, configs = study.ask(4)
        >>> study.tell(0, 1.5)
        >>> study.tell(1, {"value": 0.5, "hours": 2.0})
        >>> study.tell([2, 3], state="failed")
        >>> study.result().counts
        {'COMPLETE': 2, 'DIVERGED': 0, 'PRUNED': 0, 'FAILED': 2}
        """
        trials = trial_numbers(ids)
        told = values_per_trial(ids, len(trials), values, state)
        fresh = set(self._pending)
        for i in trials:
            if i not in fresh:
                known = i in self._outcomes or i in self._pending
                raise SpecError(
                    f"tell(ids, values): trial {i!r} was "
                    f"{'told about before' if known else 'not asked for'}; pending are "
                    f"{list(self.pending[:10])}"
                )
            fresh.discard(i)
        outcomes = [judge(value, self.metric, self.space.names) for value in told]
        if state is not None:
            ended = state_of(state)
            outcomes = [_with_state(o, ended, v is None) for o, v in zip(outcomes, told)]
        self._refuse_misnamed(outcomes)
        for i, outcome in zip(trials, outcomes):
            self._record(i, outcome)
        self._warn_of_remarks(stacklevel=3)

    def _refuse_misnamed(self, outcomes: Iterable[Outcome]) -> None:
        """Raise for a name of a metric, or all trials would run and none would count.

        Where one is COMPLETE, those that are not well are rows, so that it is not thrown away.
        """
        errors = [outcome.error for outcome in outcomes if outcome.is_misnamed]
        if errors and self._best is None:
            raise SpecError(errors[0] or "")

    def _warn_of_remarks(self, stacklevel: int) -> None:
        """Give each metric's warning, once."""
        for name, text in self._remarks.items():
            if text:
                self._remarks[name] = ""
                warnings.warn(text, SweepWarning, stacklevel=stacklevel)

    def _record(self, i: int, outcome: Outcome) -> None:
        self._outcomes[i] = outcome
        self._pending.discard(i)
        for name, text in outcome.remarks.items():
            self._remarks.setdefault(name, text)
        if outcome.state == State.COMPLETE:
            score = outcome.metrics[self.metric]
            pick = min if self.mode == "min" else max
            self._best = score if self._best is None else pick(self._best, score)

    def optimize(
        self,
        function: Callable[[dict[str, Any]], Any],
        n_trials: int | None = None,
        *,
        executor: Any = None,
        n_jobs: int = -1,
        progress: bool = True,
    ) -> SweepResult:
        """Ask for trials, call a function with each, and tell what it returned.

        Parameters
        ----------
        function, executor, n_jobs, progress
            As for :func:`sweeps.sweep_callable`.
        n_trials : int, optional
            How many of the trials that are left; all by default.

        Returns
        -------
        SweepResult
            Of all trials told about so far. Those that did not finish, because of Ctrl-C or a
            broken executor, are handed out again by the next :meth:`ask`.

        Raises
        ------
        SpecError, ExecutorError
            As for :func:`sweeps.sweep_callable`.

        Examples
        --------
        >>> study = Study({"x": range(5)})
        >>> study.optimize(lambda config: (config["x"] - 3) ** 2, 2, progress=False).best_params_
        {'x': 1}
        >>> study.optimize(lambda config: (config["x"] - 3) ** 2, progress=False).best_params_
        {'x': 3}
        """
        return self.result(**self._new_run(function, n_trials, progress).run(executor, n_jobs, 2))

    def _new_run(self, function: Callable, n_trials: int | None, progress: bool) -> StudyRun:
        left = self.space.size - self._asked + len(self._returned)
        size = left if n_trials is None else min(left, check_count("n_trials", n_trials))
        meaning = functools.partial(judge, metric=self.metric, axes=self.space.names)
        return StudyRun(self, function, meaning, size, progress)

    def _return_trials(self, ids: Sequence[int]) -> None:
        """Have those of these trials that are still pending handed out again."""
        unknown = [i for i in ids if i in self._pending]
        self._returned.extend(unknown)
        self._pending.difference_update(unknown)

    def _record_answers(self, answers: Answers) -> dict[int, str]:
        """Record the outcomes of calls; return why trials FAILED, by number."""
        lost = {i: Outcome(State.FAILED, error=why) for i, why in answers.errors.items()}
        outcomes = {**answers.outcomes, **lost}
        self._refuse_misnamed(outcomes.values())
        for i, outcome in outcomes.items():
            self._record(i, outcome)
        return {i: str(o.error) for i, o in outcomes.items() if o.state == State.FAILED}

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
