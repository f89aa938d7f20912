"""From a problem, a space and settings to a checked plan: nothing compiles, and nothing runs."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from fastopt.errors import SpecError, SweepWarning, shortened
from sweeps.engine.effects import check_effects
from sweeps.engine.lane_plan import LanePlan
from sweeps.engine.options import DEFAULTS, Options
from sweeps.engine.plan import Plan
from sweeps.problems.base import DataProblem
from sweeps.problems.landscapes import Landscape
from sweeps.space.space import Space
from sweeps.space.tuples import fixed_without_tuples, without_tuples

OPTIONS = {f.name: f.default for f in dataclasses.fields(Options) if f.name != "defaults"}

SETTINGS: dict[str, Any] = {**DEFAULTS, **OPTIONS}
"""Keywords of sweep() that say what is computed, with their defaults; the others say where."""

PLANS: dict[type, type[Plan]] = {DataProblem: Plan, Landscape: LanePlan}


def check(problem: Any, space: Any, settings: Mapping[str, Any], stacklevel: int = 0) -> Plan:
    """Check every name and value of a sweep; return its plan.

    ``settings``: keywords of :func:`sweeps.sweep` that say what is computed, and hyperparameters.
    ``stacklevel``: how many calls up the line is that warnings of settings without effect are for;
    0 gives none.

    >>> from sweeps import problems
    >>> check(problems.ellipse(), {"lr": [0.1, 0.01]}, {"steps": 5}).size
    2
    """
    if type(problem) not in PLANS:
        raise SpecError(
            "problem must be one of sweeps.problems, such as problems.digits(); got "
            f"{shortened(problem)}"
        )
    options = {name: settings.get(name, default) for name, default in OPTIONS.items()}
    keywords = {k: v for k, v in {**DEFAULTS, **settings}.items() if k not in OPTIONS}
    keywords, space = fixed_without_tuples(keywords), _space_of(space)
    made = PLANS[type(problem)](problem, space, Options(defaults=keywords, **options))
    given = [k for k, v in keywords.items() if k not in DEFAULTS or not _same(v, DEFAULTS[k])]
    remarks = check_effects(made, given)  # raises, too
    del made.examples
    for remark in (*remarks, *remarks_on_choice(made)) if stacklevel else ():
        warnings.warn(remark, SweepWarning, stacklevel=stacklevel + 1)
    return made


def _space_of(given: Any) -> Space:
    """Return the space of a sweep, in which tuples such as torch's ``betas`` are allowed."""
    if isinstance(given, Mapping):
        return Space(without_tuples(given))
    if isinstance(given, list | tuple):
        return Space([without_tuples(p) if isinstance(p, Mapping) else p for p in given])
    return Space(given)


def remarks_on_choice(plan: Plan) -> Iterator[str]:
    """Yield a remark on a choice among trials that would flatter the one that is chosen.

    Of test rows once in a process: whoever has read it knows.
    """
    problem, metric = plan.problem, plan.options.metric
    if metric.startswith("test_") and not _SAID:
        _SAID.append(metric)
        yield (
            f"trials are ranked by {metric}, so that of the best one says little of new rows: "
            "choose by rows of their own (validation=0.2 or folds=5 where the problem is made, "
            "which ranks by val_loss), and let test rows judge the one that is chosen"
        )
    named = "fold" in plan.space.names or plan.options.defaults.get("fold") is not None
    if getattr(problem, "axes", {}).get("fold") == 0 and not named:  # another one was asked for
        n = problem.recipe.source().n_folds
        yield (
            f"{problem.name} has {n} folds, and all trials choose by the first: put "
            f'"fold": range({n}) on the axes, and see result.over_folds()'
        )


_SAID: list[str] = []
"""The metric of test rows that was told of."""


def _same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, str | int | float) and value == default)
