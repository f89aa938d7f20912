"""What a sweep is asked to do, and whether that makes sense: every name and option is checked."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastopt.errors import SpecError, did_you_mean, shortened
from fastopt.rules import RULES, Rule
from sweeps.common.limits import is_finite
from sweeps.common.names import check_boolean, check_choice
from sweeps.engine.columns import ALIASES, accepts, find_rule, schedule_parameters, whole
from sweeps.space.axes import support
from sweeps.space.space import Space

DEFAULTS: dict[str, Any] = {
    "optimizer": "adam", "batch_size": 32, "epochs": None, "steps": None, "seed": 0,
    "schedule": "constant", "shuffle": "epoch", "hidden": None, "clip_norm": None,
    "init_scale": 1.0, "patience": None, "l1": 0.0, "l2": 0.0,
}  # fmt: skip
"""What every trial has beside its rule's hyperparameters, as in the signature of sweep()."""

COMMON = tuple(DEFAULTS)  # each is an axis or a keyword of sweep()
SEED_MODES = ("common", "independent")
LOG = "log"  # what eval_every says of checks at log-spaced steps


@dataclass(frozen=True)
class Options:
    """What a sweep does besides its space: see :func:`sweeps.sweep` for the meaning of each."""

    defaults: Mapping[str, Any]
    metric: Any = None  # the name of one; None: as Plan decides, and the mode likewise
    mode: Any = None
    target: float | None = None
    diverge_above: float = math.inf
    eval_every: int | str | None = None
    curves: bool = False
    seed_mode: str = "common"
    stop_at_target: bool = False
    measure: Sequence[str] = ()
    restore_best: bool = False

    def __post_init__(self) -> None:
        for name in ("curves", "stop_at_target", "restore_best"):
            check_boolean(name, getattr(self, name))


def check_watch(options: Options, metrics: Collection[str]) -> None:
    """Raise unless the metric is one of these and the options around it make sense."""
    check_choice("metric", options.metric, metrics)
    check_choice("mode", options.mode, ("min", "max"))
    check_choice("seed_mode", options.seed_mode, SEED_MODES)
    if isinstance(options.eval_every, str):
        check_choice("eval_every", options.eval_every, (LOG,))
    elif options.eval_every is not None:
        whole("eval_every", np.array([options.eval_every], object))
    if options.target is not None and not (
        isinstance(options.target, numbers.Real) and is_finite(options.target)
    ):
        raise SpecError(f"target must be a finite number or None; got {shortened(options.target)}")
    if options.stop_at_target and options.target is None:
        raise SpecError("stop_at_target=True needs a target to stop at: give target=...")
    if not (isinstance(options.diverge_above, numbers.Real) and options.diverge_above > 0):
        raise SpecError(
            f"diverge_above must be a number > 0; got {shortened(options.diverge_above)}"
        )


def check_measures(given: Any, allowed: Collection[str]) -> tuple[str, ...]:
    """Return the names of ``measure=``, or say which is unknown or there twice."""
    listed = isinstance(given, list | tuple)
    names = tuple(given) if listed else (given,)
    for k, name in enumerate(names):
        check_choice("measure", name, allowed)
        if name in names[:k]:
            raise SpecError(f"measure names {shortened(name)} twice; once is enough")
    return names


def check_names(space: Space, options: Options, common: Sequence[str] = COMMON) -> None:
    """Raise unless every axis means something to every trial that has it, every keyword to some."""
    for name, value in options.defaults.items():
        if isinstance(value, list | tuple | dict | set) or getattr(value, "ndim", 0) > 0:
            raise SpecError(
                f"{name} must be one value for all trials; got {shortened(value)}. Several values "
                "make an axis: put them in the space"
            )
    shared = {*common, *schedule_parameters()}
    known = {*shared, *ALIASES, *(h for r in RULES.values() for h in r.hyper)}
    for name in (*space.names, *options.defaults):
        if name not in known:
            raise SpecError(
                f"unknown axis or hyperparameter {shortened(name)}{did_you_mean(name, known)}; "
                f"there are {', '.join(sorted(known))}"
            )
    everywhere: dict[str, Rule] = {}
    for part in space.parts:
        used = support(part.get("optimizer", (options.defaults["optimizer"],)))
        rules = {name: find_rule(name) for name in dict.fromkeys(used)}
        everywhere |= rules
        for name in [n for n in part if n not in shared]:
            without = [r for r, rule in rules.items() if not accepts(rule, name)]
            if without:
                raise SpecError(
                    f"axis {shortened(name)} means nothing to optimizer {', '.join(without)}: "
                    "the same "
                    "trials would run again for each value. Use when(...) or a list of spaces"
                )
    for name in options.defaults:
        if name not in shared and not any(accepts(rule, name) for rule in everywhere.values()):
            raise SpecError(f"{name}=... means nothing to optimizer {', '.join(everywhere)}")
