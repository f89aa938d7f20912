"""From axes to arrays: check every name and value, then lay trials out for the compiled runner."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Collection, Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from fastopt.code.cached import cached_property
from fastopt.compile import frozen
from fastopt.errors import SpecError, shortened
from fastopt.rules import Rule
from sweeps.common.names import check_choice, columns_beside_axes
from sweeps.common.resources import check_curve, check_model
from sweeps.common.states import State
from sweeps.engine import trial
from sweeps.engine.block import Block, cost_of
from sweeps.engine.columns import (
    alike,
    check_counts,
    fill,
    filled,
    find_rule,
    missing,
    reals,
    rows_of,
    steps_of,
    whole,
)  # fmt: skip
from sweeps.engine.data_order import SHUFFLES
from sweeps.engine.hyper import hyper_table, schedule_table
from sweeps.engine.monitoring import MEASURES
from sweeps.engine.multipliers import check_multipliers
from sweeps.engine.options import COMMON, LOG, Options, check_measures, check_names, check_watch
from sweeps.engine.records import (
    COUNTERS,
    CURVE,
    LOG_SPACED,
    METRICS,
    RESULTS,
    SETTINGS,
    Sizes,
    Trials,
    Watch,
    unpaused,
)
from sweeps.engine.sample import Sample, sampled
from sweeps.engine.seeds import mixed_seeds
from sweeps.problems.metrics import METRICS as METRICS_OF_PROBLEMS
from sweeps.space.space import Space


class Plan:
    """A checked sweep."""

    common: tuple[str, ...] = COMMON
    metrics: Collection[str] = METRICS
    measures: tuple[str, ...] = MEASURES
    results: tuple[str, ...] = RESULTS
    curve: tuple[str, ...] = CURVE
    # Trials that run side by side, as long as the longest of them however few they are.
    n_lanes: ClassVar[int] = 1
    # The step in which the loss at the start is looked at.
    first_look: ClassVar[int] = 1

    def __init__(self, problem: Any, space: Space, options: Options) -> None:
        if space.size == 0:
            raise SpecError(
                f"there are no trials to run: the space is a slice or sample of none, {space!r}"
            )
        # What runs, is stored and is traced is the problem's code as it is now.
        self.problem, self.space, self.options = frozen(problem), space, options
        self._remade: dict[Any, Any] = {}
        axes = getattr(self.problem, "axes", {})
        self.common = (*self.common, *(name for name in axes if name not in self.common))
        if options.defaults.get("hidden") is not None:  # says what widths may be, before all else
            self.problem.with_hidden(options.defaults["hidden"])
        self.measure = check_measures(options.measure, self.measures)
        more = (*self.measure, *self.extra)
        self.results, self.curve = (*self.results, *more), (*self.curve, *more)
        metric = options.metric if options.metric is not None else self.default_metric
        mode = options.mode if options.mode is not None else best_end(metric)
        self.options = dataclasses.replace(options, measure=self.measure, metric=metric, mode=mode)
        self.check_metric()
        check_names(space, options, self.common)
        # Raises for a value out of its range; optimizer and schedule decide what is allowed.
        # Kept while the plan is checked: laying them out is a seventh of a small sweep's own work.
        self.examples = self.blocks(space.every_value(("optimizer", "schedule")), results=False)
        self.scratch_bytes = max((block.scratch_bytes for block in self.examples), default=0)

    @property
    def extra(self) -> tuple[str, ...]:
        """What this problem measures beside what all do: on validation rows, and by its metrics."""
        problem = self.problem
        loss = ("val_loss", "val_accuracy") if problem.has_validation else ()
        parts = [("train", True), ("val", problem.has_validation), ("test", problem.has_test)]
        return (*loss, *(f"{p}_{m}" for p, there in parts if there for m in problem.metrics))

    @property
    def default_metric(self) -> str:
        """What trials are ranked by if nobody says: rows for choosing, if there are any."""
        return "val_loss" if "val_loss" in self.extra else "train_loss"

    def check_metric(self) -> None:
        """Raise unless the metric exists for this problem and the options around it make sense."""
        metric, problem = self.options.metric, self.problem
        rows = ("validation", problem.has_validation), ("test", problem.has_test)
        for prefix, (kind, there) in zip(("val_", "test_"), rows):
            if str(metric).startswith(prefix) and not there:
                raise SpecError(
                    f"metric {shortened(metric)} needs {kind} rows, and {problem.name} has none; "
                    f"hold some out where the problem is made, such as {kind}=0.2"
                )
        check_watch(self.options, (*self.metrics, *self.extra))

    @property
    def result_columns(self) -> tuple[str, ...]:
        """What ``results`` are called beside the axes: an axis keeps its name."""
        return columns_beside_axes(self.results, self.space.names)

    @property
    def size(self) -> int:
        """Number of trials."""
        return self.space.size

    @cached_property
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
        columns, defaults = self.space.columns(ids), self.options.defaults
        names = fill(columns.get("optimizer"), defaults["optimizer"], len(ids))
        axes = [a for a in self._axes if a in columns or defaults.get(a) is not None]
        values = [fill(columns.get(name), defaults.get(name), len(ids)) for name in axes]
        kinds, kind = grouped(names, *values)
        blocks = []
        for k, remade in enumerate(kinds):
            rows = np.flatnonzero(kind == k) if len(kinds) > 1 else slice(None)
            own = {name: column[rows] for name, column in columns.items()}
            shown = rows_of(names, rows), ids[rows]
            problem = self._with(dict(zip(axes, remade)))
            blocks.append(self._block(problem, *shown, own, results))
        return blocks

    @property
    def _axes(self) -> Collection[str]:
        """Names of the axes that remake the problem."""
        return {"hidden": None, **getattr(self.problem, "axes", {})}

    def _with(self, values: Mapping[str, Any]) -> Any:
        """Return the problem with these values of its axes; those that are None are its own."""
        given = {name: value for name, value in values.items() if not missing(value)}
        if not given:
            return self.problem
        key = tuple(given.items())
        if key not in self._remade:
            self._remade[key] = frozen(self.problem.varied(**given))
        return self._remade[key]

    def _block(
        self, problem: Any, names: np.ndarray, ids: np.ndarray, values: dict, results: bool
    ) -> Block:
        settings, schedule = self._settings(values, len(ids), len(problem.X))
        h = hyper_table(names, values, self.options.defaults)
        self._set_reals(settings, values)
        self._check_penalties(problem, settings, names)
        check_multipliers(problem, settings["l1"], names)
        self._mix_seeds(settings, names, self._shape_of(problem), h, schedule)
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
            X_val=problem.X_val,
            y_val=problem.y_val,
            theta0=np.empty(0, problem.dtype) if problem.theta0 is None else problem.theta0,
            multipliers=problem.lr_multipliers.astype(problem.dtype),
            sizes=sizes,
            watch=watch,
            out=np.full((rows, len(self.results)), np.nan),
            state=np.full(rows, State.PENDING, np.int8),
            curves=np.full((rows, points, len(self.curve)), np.nan),
            **unpaused(problem.dtype, COUNTERS),
            theta=np.empty((0, 0), problem.dtype),
        )
        return Block(problem, find_rule(names[0]), ids, trials, cost_of(problem, settings))

    def _sizes(self, problem: Any, rule: Rule, settings: np.ndarray) -> Sizes:
        batch = int(settings["batch"].max())
        # Evaluation goes in blocks of rows of its own.
        work = problem.work_per_row * max(batch, problem.work_rows)
        clock = len(rule.clock0(rule.pack()))
        rows = max(len(part) for part in (problem.X, problem.X_val, problem.X_test))
        outputs = (rows, problem.n_outputs) if problem.metrics else (0, 0)
        moves = "update_norm" in self.measure or problem.lr_multipliers.size > 0
        n = int(problem.n_params)
        width, moved = problem.dtype.itemsize // 4, n if moves else 0
        return Sizes(width, n, batch, int(work), len(rule.starts), clock, outputs, moved)

    def _watch(self) -> Any:
        problem, options = self.problem, self.options
        place = {name: k for k, name in enumerate(self.results)}
        parts, first = ("train", "test", "val"), "".join(problem.metrics[:1])
        scores = {f"{part}_scores": place.get(f"{part}_{first}", -1) for part in parts}
        part = options.metric.partition("_")[0]
        return Watch(
            metric=place[options.metric],
            sign=1.0 if options.mode == "max" else -1.0,
            target=math.nan if options.target is None else float(options.target),
            limit=float(min(options.diverge_above, np.finfo(np.float64).max)),
            check_train=part == "train" and options.metric != "train_loss",
            check_test=problem.has_test and (options.curves or part == "test"),
            check_val=problem.has_validation and (options.curves or part == "val"),
            ends_at_target=bool(options.stop_at_target),
            restores_best=bool(options.restore_best),
            extra=len(self.results) - len(self.extra),
            val=place.get("val_loss", -1),
            n_scores=len(problem.metrics),
            **scores,
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
            settings["init_scale"] = reals("init_scale", column)
        for name in ("l1", "l2"):
            settings[name] = 0.0
            if name in self.common:
                column = filled(values.get(name), self.options.defaults.get(name), 0.0, n)
                settings[name] = reals(name, column)

    def _shape_of(self, problem: Any) -> str:
        """Return what a trial's own seed is to know of its problem: layers, and remade axes."""
        own = self.problem.axes
        # A whole number is the same value as a float: which it is depends on the rest of its axis.
        told = {k: float(v) if isinstance(v, Real) else v for k, v in problem.axes.items()}
        more = [f" {k}={v}" for k, v in told.items() if k != "hidden" and v != own[k]]
        return f" {problem.hidden}{''.join(more)}"

    def _check_penalties(self, problem: Any, settings: np.ndarray, names: np.ndarray) -> None:
        """Raise where weights cannot be shrunk: there are none, or they are not what is stepped."""
        for name in ("l1", "l2"):
            if settings[name].any() and not len(problem.penalised):
                raise SpecError(
                    f"{name}=...: {problem.name} does not say which parameters are weights; leave "
                    "it out, or put the penalty into its loss"
                )
        averaging = settings["l1"].any() and find_rule(names[0]).answer is not None
        if averaging:
            raise SpecError(
                f"l1=... sets weights to zero after a step, and {names[0]} answers with an average "
                "of them: use another optimizer, such as sgd"
            )

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
        return whole("patience", column)

    def _settings(
        self, values: dict[str, np.ndarray], n: int, rows: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the settings of trials on so many rows, and the parameters of their schedules."""
        defaults = self.options.defaults
        get = {name: fill(values.get(name), defaults.get(name), n) for name in COMMON}
        batch = np.minimum(whole("batch_size", get["batch_size"]), rows)
        per_epoch = -(-rows // batch)
        steps = steps_of(get["steps"], get["epochs"], per_epoch)
        settings = np.empty(n, SETTINGS)
        settings["batch"] = batch
        settings["steps"] = steps
        settings["every"] = spacing(self.options.eval_every, per_epoch)
        settings["patience"] = self._patience(values, n)
        settings["seed"] = whole("seed", get["seed"])
        first, inverse = alike(get["shuffle"])
        shuffles = get["shuffle"][first].tolist()
        for name in shuffles:
            check_choice("shuffle", name, SHUFFLES)
        settings["shuffle"] = np.array([SHUFFLES[name] for name in shuffles])[inverse]
        scheduled = schedule_table(get["schedule"], values, defaults, steps)
        settings["schedule"] = scheduled[:, 0]
        return settings, np.ascontiguousarray(scheduled[:, 1:])


def grouped(names: np.ndarray, *axes: np.ndarray) -> tuple[list[tuple], np.ndarray]:
    """Group trials by kernel and problem: the values of each group's axes, and each trial's group.

    >>> values = np.array([8, 16, 8], object)
    >>> grouped(np.array(["adam", "adam", "adam"], object), values)
    ([(8,), (16,)], array([0, 1, 0]))
    """
    first, alikes = alike(names, *axes)
    kernels = [find_rule(name).kernel_parts for name in names[first].tolist()]
    keys = list(zip(kernels, *(column[first].tolist() for column in axes)))
    distinct = {key: k for k, key in enumerate(dict.fromkeys(keys))}
    return [key[1:] for key in distinct], np.array([distinct[key] for key in keys])[alikes]


def best_end(metric: Any) -> str:
    """Return the mode of a metric: which of its ends is good.

    >>> best_end("val_accuracy"), best_end("train_loss")
    ('max', 'min')
    """
    measured = metric.partition("_")[2] if isinstance(metric, str) else ""
    return METRICS_OF_PROBLEMS[measured].mode if measured in METRICS_OF_PROBLEMS else "min"


def spacing(eval_every: Any, default: Any) -> Any:
    """Return steps between checks as the kernel is told."""
    return LOG_SPACED if eval_every == LOG else eval_every or default
