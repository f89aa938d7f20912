"""From axes to arrays: check every name and value, then lay trials out for the compiled runner."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from fastopt import schedules
from fastopt.errors import SpecError, did_you_mean
from fastopt.rules import RULES, Rule
from sweeps.axes import possible
from sweeps.engine import trial
from sweeps.problems.base import DataProblem
from sweeps.space import Space

__all__ = ["Block", "Options", "Plan"]

# What every trial has beside its rule's hyperparameters; each is an axis or a keyword of sweep().
COMMON = ("optimizer", "batch_size", "epochs", "steps", "seed", "schedule", "shuffle")
# beta1 is the decay of the first moment, which heavy-ball users know as momentum.
ALIASES = {"beta1": "momentum"}


@dataclass(frozen=True)
class Options:
    """What a sweep does besides its space: see :func:`sweeps.sweep` for the meaning of each."""

    defaults: Mapping[str, Any]
    metric: str
    mode: str
    target: float | None
    diverge_above: float
    eval_every: int | None
    curves: bool


@dataclass(frozen=True)
class Block:
    """Trials of one kernel, ready to run: rows of ``trials`` are the trial numbers ``ids``."""

    rule: Rule
    ids: np.ndarray
    trials: trial.Trials
    cost: np.ndarray  # int64, about nanoseconds on one core
    # Whether workers are Numba's threads; Python's need only the serial kernel: half the compiling.
    parallel: ClassVar[bool] = True

    def parts(self, problem: Any) -> tuple:
        """Return the functions of the kernel."""
        return trial.parts(problem.init, problem.loss_and_grad, problem.evaluate, self.rule)

    @property
    def item_cost(self) -> np.ndarray:
        """Cost of each item of the work queue: here items are trials."""
        return self.cost


class Plan:
    """A checked sweep.

    Parameters
    ----------
    problem : DataProblem
    space : Space
    options : Options

    Raises
    ------
    SpecError
        An axis, optimizer or option is unknown, or a combination makes no sense.
    HyperparameterError
        A hyperparameter is out of its range.
    """

    common: tuple[str, ...] = COMMON
    metrics: Collection[str] = trial.METRICS
    results: tuple[str, ...] = trial.RESULTS
    curve: tuple[str, ...] = trial.CURVE

    def __init__(self, problem: Any, space: Space, options: Options) -> None:
        self.problem, self.space, self.options = problem, space, options
        self.check_metric()
        check_names(space, options, self.common)
        # Raises for a value out of its range; optimizer and schedule decide what is allowed.
        self.blocks(space.every_value(("optimizer", "schedule")), results=False)

    def check_metric(self) -> None:
        """Raise unless the metric exists for this problem and the options around it make sense."""
        check_watch(self.options, self.metrics)
        if self.options.metric.startswith("test") and not self.problem.has_test:
            raise SpecError(
                f"metric {self.options.metric!r} needs test rows, and {self.problem.name} has none"
            )

    @property
    def size(self) -> int:
        """Number of trials."""
        return self.space.size

    def launches(self, at_once: int) -> Iterator[Block]:
        """Blocks of all trials, decoded ``at_once`` trials at a time."""
        for low in range(0, self.size, at_once):
            yield from self.blocks(np.arange(low, min(low + at_once, self.size)))

    def blocks(self, ids: np.ndarray, results: bool = True) -> list[Block]:
        """Decode trial numbers and group them by kernel, one block for each update function.

        Blocks without ``results`` are for looking at, not for running: curves take memory.
        """
        columns = self.space.columns(ids)
        names = fill(columns.get("optimizer"), self.options.defaults["optimizer"], len(ids))
        groups: dict[Any, list[str]] = {}
        for name in names[alike(names)[0]].tolist():
            rule = find_rule(name)
            groups.setdefault(rule.kernel_parts, []).append(name)
        groups_of_rows = [rows_with(names, members) for members in groups.values()]
        return [
            self._block(names[rows], ids[rows], {k: c[rows] for k, c in columns.items()}, results)
            for rows in groups_of_rows
        ]

    def _block(self, names: np.ndarray, ids: np.ndarray, values: dict, results: bool) -> Block:
        plan, schedule = self._plan(values, len(ids))
        problem, checks = self.problem, -(-plan[:, trial.STEPS] // plan[:, trial.EVERY])
        points = int(checks.max()) if self.options.curves else 0
        rows = len(ids) if results else 0
        batch = int(plan[:, trial.BATCH].max())
        # Evaluation goes in blocks of rows of its own.
        work = problem.work_per_row * max(batch, problem.work_rows)
        trials = trial.Trials(
            h=self._hyper(names, values),
            plan=plan,
            schedule=schedule,
            X=problem.X,
            y=problem.y,
            X_test=problem.X_test,
            y_test=problem.y_test,
            theta0=np.empty(0, problem.dtype) if problem.theta0 is None else problem.theta0,
            sizes=np.array([problem.n_params, batch, work], np.int64),
            watch=self._watch(),
            out=np.full((rows, len(trial.RESULTS)), np.nan),
            state=np.full(rows, trial.PENDING, np.int8),
            curves=np.full((rows, points, len(trial.CURVE)), np.nan),
        )
        return Block(find_rule(names[0]), ids, trials, cost_of(problem, plan))

    def _watch(self) -> np.ndarray:
        problem, options = self.problem, self.options
        return np.array(
            [
                trial.METRICS[options.metric],
                1.0 if options.mode == "max" else -1.0,
                math.nan if options.target is None else options.target,
                min(options.diverge_above, float(np.finfo(np.float64).max)),
                problem.has_test and (options.curves or options.metric.startswith("test")),
                options.metric == "train_accuracy",
            ],
            np.float64,
        )

    def _plan(self, values: dict[str, np.ndarray], n: int) -> tuple[np.ndarray, np.ndarray]:
        defaults, rows = self.options.defaults, len(self.problem.X)
        get = {name: fill(values.get(name), defaults[name], n) for name in COMMON}
        batch = np.minimum(whole("batch_size", get["batch_size"], 1), rows)
        per_epoch = -(-rows // batch)
        steps = steps_of(get["steps"], get["epochs"], per_epoch)
        plan = np.empty((n, trial.PLAN_WIDTH), np.int64)
        plan[:, trial.BATCH] = batch
        plan[:, trial.STEPS] = steps
        plan[:, trial.EVERY] = self.options.eval_every or per_epoch
        plan[:, trial.SEED] = whole("seed", get["seed"], 0)
        for k, name in enumerate(get["shuffle"].tolist()):
            plan[k, trial.SHUFFLE] = choose("shuffle", name, trial.SHUFFLES)
        packed = self._schedules(get["schedule"], values, steps)
        plan[:, trial.SCHEDULE] = packed[:, 0]
        return plan, np.ascontiguousarray(packed[:, 1:])

    def _schedules(self, names: np.ndarray, values: dict, steps: np.ndarray) -> np.ndarray:
        """Kind and parameters of each trial's schedule; trials that agree are packed once."""
        parameters = [p for p in schedule_parameters() if p in values or p in self.options.defaults]
        columns = [
            fill(values.get(p), self.options.defaults.get(p), len(names)) for p in parameters
        ]
        first, inverse = alike(names, steps, *columns)
        known = np.empty((len(first), 1 + schedules.WIDTH))
        for k, row in enumerate(zip(*(c[first].tolist() for c in (names, steps, *columns)))):
            known[k] = packed_schedule(row[0], dict(zip(parameters, row[2:])), row[1])
        return known[inverse]

    def _hyper(self, names: np.ndarray, values: dict[str, np.ndarray]) -> np.ndarray:
        """Columns of hyperparameters; each distinct value of an axis is checked once."""
        rule = find_rule(names[0])
        n = len(names)
        columns = np.empty((len(rule.hyper), n))
        distinct = names[alike(names)[0]].tolist()
        for name in distinct:
            rows = rows_with(names, [name]) if len(distinct) > 1 else slice(None)
            own = find_rule(name)
            for row, (key, kind) in enumerate(own.hyper.items()):
                column = self._column(own, key, kind.default, values, rows)
                first, inverse = alike(column)
                packed = [kind.pack(f"{name}: {key}", v) for v in column[first].tolist()]
                columns[row, rows] = np.array(packed)[inverse]
        return np.ascontiguousarray(columns.T)

    def _column(
        self, rule: Rule, key: str, default: Any, values: dict[str, np.ndarray], rows: Any
    ) -> np.ndarray:
        """One hyperparameter: where a trial has its axis that, else its alias, else the keyword."""
        column = np.array([self._fixed(rule, key, default)])
        for axis in (*reversed(aliases(rule, key)), key):
            if axis in values:
                given = values[axis][rows]
                gaps = gaps_in(given)
                column = np.where(gaps, column, given) if gaps.any() else given
        return column  # of one row, if it has no axis

    def _fixed(self, rule: Rule, key: str, default: Any) -> Any:
        for name in (key, *aliases(rule, key)):
            if name in self.options.defaults:
                return self.options.defaults[name]
        return default


def aliases(rule: Rule, key: str) -> list[str]:
    """Other axis names that set hyperparameter ``key`` of this rule."""
    return [a for a, name in ALIASES.items() if name == key and a not in rule.hyper]


def accepts(rule: Rule, name: str) -> bool:
    """Whether ``name`` sets a hyperparameter of ``rule``, directly or as an alias."""
    return name in rule.hyper or ALIASES.get(name) in rule.hyper


def missing(value: Any) -> bool:
    """Whether a decoded value means "this part of the union has no such axis"."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def fill(column: np.ndarray | None, default: Any, n: int) -> np.ndarray:
    """Return the axis where it has values, and ``default`` elsewhere."""
    if column is None:
        listed = isinstance(default, list | tuple)  # stays one value, to be refused by name
        return np.fromiter([default] * n, object, n) if listed else np.repeat(default, n)
    gaps = gaps_in(column)
    if not gaps.any():
        return column
    filled = column.astype(object)
    filled[gaps] = fill(None, default, int(gaps.sum()))
    return filled


def gaps_in(column: np.ndarray) -> np.ndarray:
    """Where a decoded axis has no value: this part of the union does not have it."""
    if column.dtype == object:
        return np.fromiter(map(missing, column), bool, len(column))
    return np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), bool)


def rows_with(names: np.ndarray, members: list[str]) -> np.ndarray:
    """Rows in which one of these names stands."""
    return np.flatnonzero(np.logical_or.reduce([names == member for member in members]))


def alike(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group rows that agree in all columns: a row of each group, and the group of each row.

    By hashing: ten times faster than sorting, and schedules have no order.

    >>> alike(np.array([3.0, 1.0, 3.0]))
    (array([0, 1]), array([0, 1, 0]))
    """
    groups, count = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        if not (column == column[:1]).all():
            own, distinct = pd.factorize(column, use_na_sentinel=False)
            if count > 1:
                own, distinct = pd.factorize(groups * len(distinct) + own)
            groups, count = own, len(distinct)
    # Groups are numbered in the order in which they appear.
    return np.flatnonzero(np.diff(np.maximum.accumulate(groups), prepend=-1)), groups


def whole(name: str, column: np.ndarray, least: int) -> np.ndarray:
    """Return a column of integers >= ``least``, or say which value is not one."""
    for value in column[alike(column)[0]].tolist():
        number = not isinstance(value, bool) and isinstance(value, numbers.Real)
        # NaN and infinity are out of the range, so int() is not asked for them.
        if not (number and least <= value < 2**62 and value == int(value)):
            raise SpecError(f"{name} must be an integer >= {least}; got {value!r}")
    return column.astype(np.int64)


def steps_of(steps: np.ndarray, epochs: np.ndarray, per_epoch: np.ndarray) -> np.ndarray:
    """Training steps of each trial, from steps or epochs, whichever was given."""
    by_steps = np.array([not missing(v) for v in steps.tolist()])
    by_epochs = np.array([not missing(v) for v in epochs.tolist()])
    if (by_steps & by_epochs).any():
        raise SpecError("a trial is as long as its epochs or its steps: give one, not both")
    if not (by_steps | by_epochs).all():
        raise SpecError(
            "how long is a trial? Give epochs=... or steps=..., as a keyword or an axis"
        )
    total = np.empty(len(steps), np.int64)
    total[by_steps] = whole("steps", steps[by_steps], 1)
    total[by_epochs] = whole("epochs", epochs[by_epochs], 1) * per_epoch[by_epochs]
    return total


def choose(what: str, name: Any, table: Mapping[str, Any]) -> Any:
    """Look ``name`` up in a table, or say what there is."""
    if not isinstance(name, str) or name not in table:
        raise SpecError(
            f"{what} must be one of {', '.join(table)}; got {name!r}{did_you_mean(name, table)}"
        )
    return table[name]


def find_rule(name: Any) -> Rule:
    """Return the rule an optimizer's name stands for."""
    return choose("optimizer", name, RULES)


def schedule_row(name: Any) -> Any:
    """Return the schedule a name stands for."""
    return choose("schedule", name, schedules.SCHEDULES)


def packed_schedule(schedule: Any, parameters: dict[str, Any], total: int) -> np.ndarray:
    """Kind and parameters of a schedule given by name, or as an object that has its own."""
    if isinstance(schedule, schedules.Schedule):
        name, given = schedule.name, dict(schedule.values)
    else:
        name, own = schedule, schedule_row(schedule).params
        given = {p: v for p, v in parameters.items() if p in own and not missing(v)}
    kind, a = schedules.pack(name, given, total)
    return np.array([kind, *a])


def schedule_parameters() -> list[str]:
    """Names of all parameters of all schedules, each an axis or keyword of a sweep."""
    return list(dict.fromkeys(p for row in schedules.SCHEDULES.values() for p in row.params))


def check_watch(options: Options, metrics: Collection[str]) -> None:
    """Raise unless the metric is one of these and the options around it make sense."""
    choose("metric", options.metric, dict.fromkeys(metrics))
    choose("mode", options.mode, {"min": -1, "max": 1})
    if options.eval_every is not None:
        whole("eval_every", np.array([options.eval_every], object), 1)
    if options.target is not None and not (
        isinstance(options.target, numbers.Real) and math.isfinite(options.target)
    ):
        raise SpecError(f"target must be a finite number or None; got {options.target!r}")
    if not (isinstance(options.diverge_above, numbers.Real) and options.diverge_above > 0):
        raise SpecError(f"diverge_above must be a number > 0; got {options.diverge_above!r}")


def check_names(space: Space, options: Options, common: Sequence[str] = COMMON) -> None:
    """Raise unless every axis means something to every trial that has it, every keyword to some."""
    shared = {*common, *schedule_parameters()}
    known = {*shared, *ALIASES, *(h for r in RULES.values() for h in r.hyper)}
    for name in (*space.names, *options.defaults):
        if name not in known:
            raise SpecError(
                f"unknown axis or hyperparameter {name!r}{did_you_mean(name, known)}; "
                f"there are {', '.join(sorted(known))}"
            )
    everywhere: dict[str, Rule] = {}
    for part in space.parts:
        used = possible(part.get("optimizer", (options.defaults["optimizer"],)))
        rules = {name: find_rule(name) for name in dict.fromkeys(used)}
        everywhere |= rules
        for name in [n for n in part if n not in shared]:
            without = [r for r, rule in rules.items() if not accepts(rule, name)]
            if without:
                raise SpecError(
                    f"axis {name!r} means nothing to optimizer {', '.join(without)}: the same "
                    "trials would run again for each value. Use when(...) or a list of spaces"
                )
    for name in options.defaults:
        if name not in shared and not any(accepts(rule, name) for rule in everywhere.values()):
            raise SpecError(f"{name}=... means nothing to optimizer {', '.join(everywhere)}")


def cost_of(problem: DataProblem, plan: np.ndarray) -> np.ndarray:
    """Estimate each trial's time in ns on one core, to start long trials first and for the ETA.

    Measured on digits (64-32-10): 1.5 us a step in calls and dispatch, 25 flops a ns in small
    BLAS products, 0.4 ns a parameter in the update.
    """
    per_row = problem.flops_per_row / 25.0 + 10.0
    step = 1500.0 + 0.4 * problem.n_params + per_row * plan[:, trial.BATCH]
    return np.maximum(1, plan[:, trial.STEPS] * step).astype(np.int64)
