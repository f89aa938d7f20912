"""From axes to arrays: check every name and value, then lay trials out for the compiled runner."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastopt import schedules
from fastopt.compile import frozen
from fastopt.errors import SpecError, shortened
from fastopt.rules import Rule
from sweeps.common.names import columns_beside_axes
from sweeps.common.resources import check_curve, check_model
from sweeps.common.states import State
from sweeps.engine import trial
from sweeps.engine.columns import (
    MOST_COST,
    aliases,
    alike,
    check_counts,
    choose,
    fill,
    filled,
    find_rule,
    gaps_in,
    packed,
    packed_schedule,
    reals,
    rows_of,
    rows_with,
    schedule_parameters,
    steps_of,
    whole,
)  # fmt: skip
from sweeps.engine.data_order import SHUFFLES
from sweeps.engine.monitoring import MEASURES
from sweeps.engine.options import COMMON, LOG, Options, check_measures, check_names, check_watch
from sweeps.engine.records import (
    COUNTERS,
    CURVE,
    LOG_SPACED,
    METRICS,
    RESULTS,
    SETTINGS,
    Kept,
    Sizes,
    Trials,
    Watch,
    unpaused,
)
from sweeps.engine.sample import Sample, sampled
from sweeps.engine.seeds import mixed_seeds
from sweeps.problems.base import DataProblem
from sweeps.space.space import Space

__all__ = ["Block", "Plan"]


@dataclass(frozen=True)
class Block:
    """Trials of one kernel, ready to run: rows of ``trials`` are the trial numbers ``ids``."""

    problem: Any
    rule: Rule
    ids: np.ndarray
    trials: Trials
    cost: np.ndarray  # int64, about nanoseconds on one core
    # Whether the kernel calls BLAS, which is then held to one thread a worker.
    calls_blas: ClassVar[bool] = True

    def parts(self) -> tuple:
        """Return the functions of the kernel."""
        return trial.parts()

    def constants(self) -> Any:
        """Return what the kernel takes beside the trials."""
        return trial.linked(self.problem, self.rule)

    def kept(self, n: int) -> Kept:
        """Return room for the states of ``n`` paused trials; their counters are zero."""
        trials, sizes = self.trials, self.trials.sizes
        mean = sizes.n_params if trials.watch.grad_variance >= 0 else 0
        return Kept(
            np.zeros(n, COUNTERS),
            np.empty((n, trials.out.shape[1])),
            np.empty((n, sizes.clock)),
            np.empty((n, mean)),
            np.empty((n, sizes.rows, sizes.n_params), trials.kept.x.dtype),
        )

    @property
    def state_bytes(self) -> int:
        """Memory that the state of a paused trial takes."""
        return sum(a.nbytes for a in self.kept(1))

    @property
    def scratch_bytes(self) -> int:
        """Memory that each worker takes for one of these trials at a time."""
        t = self.trials
        return trial.scratch_bytes(t.sizes, t.X, t.y, t.watch)

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
    metrics: Collection[str] = METRICS
    measures: tuple[str, ...] = MEASURES
    results: tuple[str, ...] = RESULTS
    curve: tuple[str, ...] = CURVE
    # Trials that run side by side, as long as the longest of them however few they are.
    abreast: ClassVar[int] = 1
    # The step in which the loss at the start is looked at.
    first_look: ClassVar[int] = 1

    def __init__(self, problem: Any, space: Space, options: Options) -> None:
        if space.size == 0:
            raise SpecError(
                f"there are no trials to run: the space is a slice or sample of none, {space!r}"
            )
        # What runs, is stored and is traced is the problem's code as it is now.
        self.problem, self.space, self.options = frozen(problem), space, options
        self._shapes: dict[Any, Any] = {}
        if options.defaults.get("hidden") is not None:
            self.problem.with_hidden(options.defaults["hidden"])
        self.check_metric()
        self.measure = check_measures(options.measure, self.measures)
        self.options = dataclasses.replace(options, measure=self.measure)
        self.results, self.curve = (*self.results, *self.measure), (*self.curve, *self.measure)
        check_names(space, options, self.common)
        # Raises for a value out of its range; optimizer and schedule decide what is allowed.
        looked_at = self.blocks(space.every_value(("optimizer", "schedule")), results=False)
        self.scratch_bytes = max((block.scratch_bytes for block in looked_at), default=0)

    def check_metric(self) -> None:
        """Raise unless the metric exists for this problem and the options around it make sense."""
        check_watch(self.options, self.metrics)
        if self.options.metric.startswith("test") and not self.problem.has_test:
            raise SpecError(
                f"metric {shortened(self.options.metric)} needs test rows, and "
                f"{self.problem.name} has none"
            )

    @property
    def result_columns(self) -> tuple[str, ...]:
        """What ``results`` are called beside the axes: an axis keeps its name."""
        return columns_beside_axes(self.results, self.space.names)

    @property
    def size(self) -> int:
        """Number of trials."""
        return self.space.size

    @functools.cached_property
    def sample(self) -> Sample:
        """What a look at some trials says of all: taken when it is first asked for, and kept."""
        return sampled(self)

    def varied(self, **changes: Any) -> Plan:
        """Return this plan with another ``space`` or other ``options``, unchecked."""
        again = copy.copy(self)
        vars(again).pop("sample", None)
        vars(again).update(changes)
        return again

    def blocks(self, ids: np.ndarray, results: bool = True) -> list[Block]:
        """Decode trial numbers and group them: one block for each kernel and shape of the layers.

        Blocks without ``results`` are for looking at, not for running: curves take memory.
        """
        columns = self.space.columns(ids)
        defaults = self.options.defaults
        names = fill(columns.get("optimizer"), defaults["optimizer"], len(ids))
        hidden = fill(columns.get("hidden"), defaults.get("hidden"), len(ids))
        kinds, kind = grouped(names, hidden)
        blocks = []
        for k, layers in enumerate(kinds):
            rows = np.flatnonzero(kind == k) if len(kinds) > 1 else slice(None)
            own = {name: column[rows] for name, column in columns.items()}
            shown = rows_of(names, rows), ids[rows]
            blocks.append(self._block(self._shaped(layers), *shown, own, results))
        return blocks

    def _shaped(self, hidden: Any) -> Any:
        """Return the problem with these hidden layers."""
        if hidden is None:
            return self.problem
        if hidden not in self._shapes:
            self._shapes[hidden] = frozen(self.problem.with_hidden(hidden))
        return self._shapes[hidden]

    def _block(
        self, problem: Any, names: np.ndarray, ids: np.ndarray, values: dict, results: bool
    ) -> Block:
        settings, schedule = self._settings(values, len(ids))
        h = self._hyper(names, values)
        self._set_reals(settings, values)
        self._mix_seeds(settings, names, f" {problem.hidden}", h, schedule)
        checks = check_counts(settings["steps"], settings["every"])
        points = int(checks.max(initial=0)) if self.options.curves else 0
        rows = len(ids) if results else 0
        check_curve(points, len(self.curve))
        watch, sizes = self._watch(), self._sizes(problem, find_rule(names[0]), settings)
        check_model(problem, trial.scratch_bytes(sizes, problem.X, problem.y, watch))
        trials = Trials(
            h=h,
            settings=settings,
            schedule=schedule,
            X=problem.X,
            y=problem.y,
            X_test=problem.X_test,
            y_test=problem.y_test,
            theta0=np.empty(0, problem.dtype) if problem.theta0 is None else problem.theta0,
            sizes=sizes,
            watch=watch,
            out=np.full((rows, len(self.results)), np.nan),
            state=np.full(rows, State.PENDING, np.int8),
            curves=np.full((rows, points, len(self.curve)), np.nan),
            **unpaused(problem.dtype, COUNTERS),
        )
        return Block(problem, find_rule(names[0]), ids, trials, cost_of(problem, settings))

    def _sizes(self, problem: Any, rule: Rule, settings: np.ndarray) -> Sizes:
        batch = int(settings["batch"].max())
        # Evaluation goes in blocks of rows of its own.
        work = problem.work_per_row * max(batch, problem.work_rows)
        clock = len(rule.clock0(rule.pack()))
        return Sizes(int(problem.n_params), batch, int(work), len(rule.starts), clock)

    def _watch(self) -> Any:
        problem, options = self.problem, self.options
        return Watch(
            metric=METRICS[options.metric],
            sign=1.0 if options.mode == "max" else -1.0,
            target=math.nan if options.target is None else float(options.target),
            limit=float(min(options.diverge_above, np.finfo(np.float64).max)),
            check_test=bool(
                problem.has_test and (options.curves or options.metric.startswith("test"))
            ),
            check_train=options.metric == "train_accuracy",
            ends_at_target=bool(options.stop_at_target),
            **self._measure_columns(),
        )

    def _measure_columns(self) -> dict[str, int]:
        """Return the column of the results for each measure there is, -1 for none."""
        return {
            name: self.results.index(name) if name in self.measure else -1 for name in self.measures
        }

    def _set_reals(self, settings: np.ndarray, values: dict[str, np.ndarray]) -> None:
        """Lay out what is a real number and no hyperparameter of the rule."""
        defaults, n = self.options.defaults, len(settings)
        column = filled(values.get("clip_norm"), defaults.get("clip_norm"), 0.0, n)
        limit = reals("clip_norm", column)
        settings["clip_norm"] = np.where(limit > 0.0, limit, math.inf)
        settings["init_scale"] = 1.0
        if "init_scale" in self.common:
            column = filled(values.get("init_scale"), defaults.get("init_scale"), 1.0, n)
            largest = float(np.finfo(float).max)
            settings["init_scale"] = reals("init_scale", column, largest)

    def _mix_seeds(
        self,
        settings: np.ndarray,
        names: np.ndarray,
        shape: str,
        h: np.ndarray,
        schedule: np.ndarray,
        *more: np.ndarray,
    ) -> None:
        """Give every trial a seed of its own, of all that it is, if seeds are to be independent."""
        if self.options.seed_mode == "independent":
            # When a trial is looked at is not part of what it is.
            own = {name: settings[name][:, None] for name in SETTINGS.names or ()}
            del own["every"]
            real = own.pop("clip_norm"), own.pop("init_scale")
            known = [f"{name}{shape}" for name in names.tolist()]
            settings["seed"] = mixed_seeds(known, [*own.values(), h, schedule, *real, *more])

    def _patience(self, values: dict[str, np.ndarray], n: int) -> np.ndarray:
        column = filled(values.get("patience"), self.options.defaults.get("patience"), 0, n)
        return whole("patience", column, 0)

    def _settings(self, values: dict[str, np.ndarray], n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the settings of trials, and the parameters of their schedules."""
        defaults, rows = self.options.defaults, len(self.problem.X)
        get = {name: fill(values.get(name), defaults.get(name), n) for name in COMMON}
        batch = np.minimum(whole("batch_size", get["batch_size"], 1), rows)
        per_epoch = -(-rows // batch)
        steps = steps_of(get["steps"], get["epochs"], per_epoch)
        settings = np.empty(n, SETTINGS)
        settings["batch"] = batch
        settings["steps"] = steps
        settings["every"] = spacing(self.options.eval_every, per_epoch)
        settings["patience"] = self._patience(values, n)
        settings["seed"] = whole("seed", get["seed"], 0)
        first, inverse = alike(get["shuffle"])
        kinds = [choose("shuffle", name, SHUFFLES) for name in get["shuffle"][first].tolist()]
        settings["shuffle"] = np.array(kinds)[inverse]
        scheduled = self._schedules(get["schedule"], values, steps)
        settings["schedule"] = scheduled[:, 0]
        return settings, np.ascontiguousarray(scheduled[:, 1:])

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
        # Most sweeps have one schedule, and a row of it is copied faster than it is looked up.
        return known[inverse] if len(known) > 1 else np.repeat(known, len(names), axis=0)

    def _hyper(self, names: np.ndarray, values: dict[str, np.ndarray]) -> np.ndarray:
        """Columns of hyperparameters, every value checked."""
        rule = find_rule(names[0])
        h = np.empty((len(names), len(rule.hyper)))
        distinct = names[alike(names)[0]].tolist()
        for name in distinct:
            rows = rows_with(names, [name]) if len(distinct) > 1 else slice(None)
            own = find_rule(name)
            for row, (key, kind) in enumerate(own.hyper.items()):
                column = self._column(own, key, kind.default, values, rows)
                h[rows, row] = packed(f"{name}: {key}", kind, column)
        return h

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


def grouped(names: np.ndarray, hidden: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Group trials by kernel and layers: the layers of each group, and the group of each trial."""
    first, alikes = alike(names, hidden)
    kernels = [find_rule(name).kernel_parts for name in names[first].tolist()]
    keys = list(zip(kernels, hidden[first].tolist()))
    distinct = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    return [layers for _, layers in distinct], np.array([distinct[key] for key in keys])[alikes]


def spacing(eval_every: Any, default: Any) -> Any:
    """Return steps between checks as the kernel is told."""
    return LOG_SPACED if eval_every == LOG else eval_every or default


def cost_of(problem: DataProblem, settings: np.ndarray) -> np.ndarray:
    """Estimate each trial's time in ns on one core, to start long trials first and for the ETA.

    Measured on digits (64-32-10): 1.5 us a step in calls and dispatch, 25 flops a ns in small
    BLAS products, 0.4 ns a parameter in the update.
    """
    per_row = problem.flops_per_row / 25.0 + 10.0
    step = 1500.0 + 0.4 * problem.n_params + per_row * settings["batch"]
    return np.clip(settings["steps"] * step, 1, MOST_COST).astype(np.int64)
