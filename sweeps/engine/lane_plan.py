"""Layout of trials on a landscape: checked like those of a data problem, dealt out to lanes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fastopt.code.cached import cached_property
from fastopt.errors import SpecError, shortened
from fastopt.machine.calls import Callees
from sweeps.common.names import RUNG_COLUMNS, STEPS_TAKEN, refuse_taken
from sweeps.common.resources import check_curve
from sweeps.common.states import State
from sweeps.engine import lanes
from sweeps.engine.block import Block
from sweeps.engine.columns import MOST_COST, check_counts, fill, find_rule, gaps_in, whole
from sweeps.engine.hyper import hyper_table, schedule_table
from sweeps.engine.lane_records import (
    COUNTERS,
    MEASURES,
    METRICS,
    RESULTS,
    WIDTH,
    LaneSizes,
    LaneTrials,
    LaneWatch,
)
from sweeps.engine.options import COMMON, Options, check_watch
from sweeps.engine.plan import Plan, spacing
from sweeps.engine.records import SETTINGS, Kept, unpaused
from sweeps.problems.landscapes import Landscape
from sweeps.space.space import Space

# What a landscape has no use for: it has no rows of data.
WITHOUT = ("batch_size", "epochs", "shuffle", "hidden", "init_scale", "l1", "l2")
# Points of a curve, at most, if nobody says how far apart they should be.
POINTS = 1000


@dataclass(frozen=True)
class LaneBlock(Block):
    """Trials of one kernel; the work queue hands out the blocks of lanes, not the trials."""

    trials: LaneTrials  # type: ignore[assignment]
    calls_blas: ClassVar[bool] = False
    links: ClassVar[type] = lanes.LaneLinks

    def parts(self) -> tuple:
        """Return the functions of the kernel."""
        return lanes.parts()

    @property
    def table(self) -> LaneTrials:
        """Trials as the kernel takes them."""
        return self.trials

    def constants(self) -> Any:
        """Return what the kernel takes beside the trials."""
        return lanes.linked(self.callees, self.problem)

    @cached_property
    def callees(self) -> tuple[Callees, ...]:
        """Return what the kernel and a stretch call by address."""
        return (lanes.callees_of(self.problem, self.rule),)

    def kept(self, n: int) -> Kept:
        """Return room for the states of ``n`` paused trials; their counters are zero."""
        sizes, start = self.trials.sizes, self.trials.start
        nothing = np.empty((n, 0))
        return Kept(
            np.zeros(n, COUNTERS),
            nothing,
            np.empty((n, sizes.clock)),
            nothing,
            np.empty((n, sizes.rows + 2, start.shape[1]), start.dtype),
            np.empty((n, 0), start.dtype),
        )

    @property
    def scratch_bytes(self) -> int:
        """Memory that each worker takes: parameters, gradient and slots of a block of lanes."""
        rows = len(self.rule.starts) + 2
        return rows * self.problem.dim * WIDTH * self.problem.dtype.itemsize

    @property
    def item_cost(self) -> np.ndarray:
        """Cost of each block of lanes: the sum of that of its trials."""
        dealt = self.trials.lanes.reshape(-1, WIDTH)
        return np.where(dealt < 0, 0, self.cost[dealt]).sum(axis=1)


class LanePlan(Plan):
    """A checked sweep over a landscape, as :class:`sweeps.engine.plan.Plan` is over data."""

    n_lanes = WIDTH
    first_look = 0
    metrics = METRICS
    extra = ()
    default_metric = "train_loss"
    measures = MEASURES

    def __init__(self, problem: Landscape, space: Space, options: Options) -> None:
        defaults = dict(options.defaults)
        if defaults.pop("epochs") is not None:
            raise SpecError(f"{problem.name} has no rows of data, so no epochs: give steps=...")
        if defaults.get("hidden") is not None or defaults.get("init_scale", 1.0) != 1.0:
            raise SpecError(
                f"{problem.name} has no layers and no random start: hidden=... and init_scale=... "
                f"mean nothing to it. Its starts are {', '.join(problem.start_axes)}"
            )
        for name in ("l1", "l2"):
            if defaults.get(name):
                raise SpecError(f"{problem.name} has no weights to penalise: leave {name}=... out")
        if options.restore_best:
            raise SpecError(f"restore_best=True: {problem.name} has best_loss, of every step")
        for name in WITHOUT:
            defaults.pop(name, None)
        named = (*RESULTS, *MEASURES, *STEPS_TAKEN)
        measured = dict.fromkeys(named, "a result of every trial")
        places = dict.fromkeys(("step", "loss", *RUNG_COLUMNS), "a column of curves and histories")
        axes = dict.fromkeys((*COMMON, *problem.start_axes), "what may be an axis")
        refuse_taken(f"coordinate of {problem.name}", problem.names, axes | places | measured)
        self.common = (*(n for n in COMMON if n not in WITHOUT), *problem.start_axes)
        self.results = (*RESULTS, *problem.names)
        self.curve = ("step", "train_loss", *problem.names)
        super().__init__(problem, space, dataclasses.replace(options, defaults=defaults))

    def check_metric(self) -> None:
        """Raise unless the metric exists, and can be a target if there is one."""
        problem, options = self.problem, self.options
        check_watch(options, self.metrics)
        if options.metric == "distance" and not len(problem.optima):
            raise SpecError(f"metric 'distance' needs an optimum, and {problem.name} has none")
        if options.metric == "path_length":
            if options.target is not None:
                raise SpecError("a target is a loss or a distance; metric 'path_length' has none")
            if options.defaults.get("patience") or "patience" in self.space.names:
                raise SpecError("patience waits for a loss or a distance, not for 'path_length'")

    def _block(
        self, problem: Any, names: np.ndarray, ids: np.ndarray, values: dict, results: bool
    ) -> Block:
        settings, schedule = self._settings(values, len(ids))
        h = hyper_table(names, values, self.options.defaults)
        self._set_reals(settings, values)
        start = self._start(values, len(ids))
        self._mix_seeds(settings, names, "", h, schedule, start)
        checks = check_counts(settings["steps"], settings["every"])
        points = 1 + int(checks.max(initial=0)) if self.options.curves else 0
        rows = len(ids) if results else 0
        check_curve(points, len(self.curve))
        anywhere = np.full((2, problem.dim), math.nan, problem.dtype)
        rule = find_rule(names[0])
        powers = np.array(lanes.powers_of(rule), np.int64)
        trials = LaneTrials(
            h=h,
            settings=settings,
            schedule=schedule,
            start=start,
            sizes=LaneSizes(len(rule.starts), len(rule.clock0(rule.pack()))),
            optima=problem.optima,
            bounds=anywhere if problem.bounds is None else problem.bounds,
            lanes=deal_to_lanes(settings, h[:, powers]),
            powers=powers,
            watch=self._watch(),
            out=np.full((rows, len(self.results)), np.nan),
            state=np.full(rows, State.PENDING, np.int8),
            curves=np.full((rows, points, len(self.curve)), np.nan),
            **unpaused(problem.dtype, COUNTERS),
        )
        return LaneBlock(problem, rule, ids, trials, cost_of(problem, settings))

    def _watch(self) -> Any:
        options = self.options
        return LaneWatch(
            sign=1.0 if options.mode == "max" else -1.0,
            target=math.nan if options.target is None else float(options.target),
            limit=float(min(options.diverge_above, np.finfo(np.float64).max)),
            by_distance=options.metric == "distance",
            by_best=options.metric == "best_loss",
            ends_at_target=bool(options.stop_at_target),
            **self._measure_columns(),
        )

    def _settings(
        self, values: dict[str, np.ndarray], n: int, rows: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        defaults = self.options.defaults
        steps = fill(values.get("steps"), defaults["steps"], n)
        if gaps_in(steps).any():
            raise SpecError("how long is a trial? Give steps=..., as a keyword or an axis")
        settings = np.zeros(n, SETTINGS)
        settings["steps"] = whole("steps", steps)
        settings["every"] = spacing(self.options.eval_every, -(-settings["steps"] // POINTS))
        settings["patience"] = self._patience(values, n)
        settings["seed"] = whole("seed", fill(values.get("seed"), defaults["seed"], n))
        names = fill(values.get("schedule"), defaults["schedule"], n)
        packed = schedule_table(names, values, defaults, settings["steps"])
        settings["schedule"] = packed[:, 0]
        return settings, np.ascontiguousarray(packed[:, 1:])

    def _start(self, values: Mapping[str, np.ndarray], n: int) -> np.ndarray:
        problem, start = self.problem, np.empty((n, self.problem.dim))
        for d, axis in enumerate(problem.start_axes):
            default = self.options.defaults.get(axis, problem.start[d])
            column = fill(values.get(axis), default, n)
            try:
                start[:, d] = column
            except (TypeError, ValueError):
                raise SpecError(f"{axis} must be a number; got {shortened(column[0])}") from None
        low, high = (-np.inf, np.inf) if problem.bounds is None else problem.bounds
        wrong = ~(np.isfinite(start) & (low <= start) & (start <= high))
        if wrong.any():
            i, d = np.argwhere(wrong)[0]
            raise SpecError(
                f"{problem.start_axes[d]} must be finite{self._box(d)}; got {start[i, d]}"
            )
        return start.astype(problem.dtype)

    def _box(self, d: int) -> str:
        bounds = self.problem.bounds
        return "" if bounds is None else f" and in the bounds [{bounds[0, d]}, {bounds[1, d]}]"


def deal_to_lanes(settings: np.ndarray, decays: np.ndarray) -> np.ndarray:
    """Deal trials out to lanes, those of one length and schedule next to each other; -1 pads.

    A block runs as long as its longest trial, and neighbours share the value of a schedule. Then
    come those of the same ``decays`` (n, k), whose powers a block then computes once.
    """
    n = len(settings)
    order = np.full(-(-n // WIDTH) * WIDTH, -1, np.int64)
    order[:n] = np.lexsort((*decays.T, settings["schedule"], -settings["steps"]))
    return order


def cost_of(problem: Landscape, settings: np.ndarray) -> np.ndarray:
    """Estimate each trial's time in ns on one core, for the order of the work and the ETA.

    Measured on Rosenbrock with Adam in float64: 4 ns a step, a third of it the clock.
    """
    each = 2.0 + problem.dim * (1.0 + (0.5 * problem.dim if problem.vector else 0.0))
    return np.clip(settings["steps"] * each, 1, MOST_COST).astype(np.int64)
