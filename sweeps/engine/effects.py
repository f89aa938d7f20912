"""Settings that cannot have an effect: refused if no trial reads them, told where some do not.

What a setting can do is read off the tables of optimizers and schedules, and of the trials as
kernels are given them: two trials of the same numbers are one run.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from fastopt.schedules import Schedule
from sweeps.engine import trial
from sweeps.engine.columns import (
    aliases,
    check_counts,
    find_rule,
    schedule_parameters,
    schedule_row,
)
from sweeps.engine.options import COMMON
from sweeps.engine.plan import Block, Plan
from sweeps.problems.landscapes import Landscape
from sweeps.space.axes import possible

__all__ = ["check_effects"]

MOST = 64
"""Trials of the same numbers that are compared by what the user called them."""


def check_effects(plan: Plan, given: Collection[str]) -> list[str]:
    """Raise if an axis has no effect on any trial; return what else has none, one remark each.

    Parameters
    ----------
    plan : Plan
        A checked sweep.
    given : collection of str
        Keywords that were not left at their defaults.

    Returns
    -------
    list of str
        Of a keyword that no trial reads because an axis sets it, an axis of several values that
        some trials do not read, two values of an axis that come to the same trial, and patience
        that is longer than any trial.

    Raises
    ------
    SpecError
        No trial reads an axis, or a keyword that is the parameter of a schedule.
    """
    axes = {name: _axis(plan, name) for name in plan.space.names}
    told = {name for name, text in axes.items() if text}
    found = [*axes.values(), *(_keyword(plan, name) for name in given)]
    blocks = plan.blocks(plan.space.every_value(("optimizer", "schedule")), results=False)
    found += [*_repeats(plan, blocks, told), *_patience(blocks)]
    return [text for text in found if text]


def _axis(plan: Plan, name: str) -> str:
    parts = [part for part in plan.space.parts if name in part]
    found = [_readers(plan, part, name, keyword=False) for part in parts]
    others = ", ".join(_all(others for _, others in found))
    if not any(readers for readers, _ in found):
        raise SpecError(
            f"axis {shortened(name)} means nothing to {others}: the same trials would run again "
            "for each value. Leave it out"
        )
    sizes = [len(part[name]) for part, (_, others) in zip(parts, found) if others]
    if max(sizes, default=1) == 1:
        return ""
    return (
        f"axis {shortened(name)} means nothing to {others}: these trials run again for each of its "
        f"{max(sizes)} values. Use when(...) or a list of spaces"
    )


def _keyword(plan: Plan, name: str) -> str:
    if isinstance(plan.problem, Landscape) and name not in (*plan.common, *plan.options.defaults):
        return f"{plan.problem.name} has no rows of data: {name}=... means nothing to it"
    found = [_readers(plan, part, name, keyword=True) for part in plan.space.parts]
    if any(readers for readers, _ in found):
        return ""
    others = _all(others for _, others in found)
    if all(name not in part for part in plan.space.parts):
        raise SpecError(f"{name}=... means nothing to {', '.join(others)}: leave it out")
    return f"{name}=... has no effect: {', '.join(others)}"


def _all(lists: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(text for listed in lists for text in listed))


def _readers(
    plan: Plan, part: Mapping[str, Any], name: str, keyword: bool
) -> tuple[list[str], list[str]]:
    """Return what reads an axis of a product, or a keyword in it, and what does not."""
    if keyword and name in part:
        return [], [f"the axis {shortened(name)} sets it"]
    if name in (*plan.common, *COMMON):
        return ["every trial"], []
    defaults = plan.options.defaults
    rules = possible(part.get("optimizer", (defaults["optimizer"],)))
    used = possible(part.get("schedule", (defaults["schedule"],)))
    by_rule = [_by_rule(r, plan, part, name, keyword) for r in rules]
    by_schedule = [
        (f"schedule {s}", not isinstance(s, Schedule) and name in schedule_row(s).params)
        for s in used
    ]
    if any(reads for _, reads in by_rule) and any(reads for _, reads in by_schedule):
        return ["some trials"], []  # of two kinds, which cross
    told = by_schedule if name in schedule_parameters() else by_rule
    told = by_rule if any(reads for _, reads in by_rule) else told
    return ([text for text, reads in told if reads], [text for text, reads in told if not reads])


def _by_rule(
    optimizer: str, plan: Plan, part: Mapping[str, Any], name: str, keyword: bool
) -> tuple[str, bool]:
    """Tell whether a name sets a hyperparameter of the optimizer that nothing stronger sets."""
    rule = find_rule(optimizer)
    for key in rule.hyper:
        names = [key, *aliases(rule, key)]  # the strongest first; an axis wins over any keyword
        if name in names:
            stronger = names[: names.index(name)]
            setting = [other for other in (names if keyword else stronger) if other in part]
            setting += [n for n in stronger if keyword and n in plan.options.defaults]
            why = f", whose {key} is set by {shortened(setting[0])}" if setting else ""
            return f"optimizer {optimizer}{why}", not setting
    return f"optimizer {optimizer}", False


def _repeats(plan: Plan, blocks: Sequence[Block], told: set[str]) -> Iterator[str]:
    """Yield a remark on each axis of which two values come to trials of the same numbers."""
    kernels: dict[Any, dict[bytes, list[int]]] = {}
    for block in blocks:
        kernel = block.rule.kernel_parts, getattr(block.problem, "hidden", ())
        same = kernels.setdefault(kernel, {})
        for key, i in zip(_numbers(block), block.ids.tolist()):
            same.setdefault(key, []).append(i)
    groups = itertools.chain.from_iterable(same.values() for same in kernels.values())
    for group in (group for group in groups if len(group) > 1):
        first = plan.space[group[0]]
        for other in (plan.space[i] for i in group[1:MOST]):
            differing = [n for n in first if other.get(n) != first[n]]
            if first.keys() == other.keys() and len(differing) == 1 and told.isdisjoint(differing):
                (name,) = differing
                told.add(name)
                rows = f", of {len(plan.problem.X)} rows" if name == "batch_size" else ""
                pair = f"{shortened(first[name])} and {shortened(other[name])}"
                yield (
                    f"axis {shortened(name)}: {pair} come to the same trials of "
                    f"{plan.problem.name}{rows}; each is run"
                )


def _numbers(block: Block) -> list[bytes]:
    """Return what each trial is to the kernel of its block."""
    trials = block.trials
    start = getattr(trials, "start", trials.extra)  # of a landscape
    plan = trials.plan.copy()
    if hasattr(trials, "X"):  # a batch of all rows has no order
        plan[plan[:, trial.BATCH] >= len(trials.X), trial.SHUFFLE] = 0
    tables = (trials.h, plan, trials.extra, trials.schedule, start)
    rows = [np.ascontiguousarray(a).view(np.uint8).reshape(len(a), -1) for a in tables]
    words = np.concatenate(rows, axis=1)
    return words.view(f"S{words.shape[1]}").ravel().tolist()


def _patience(blocks: Sequence[Block]) -> Iterator[str]:
    """Yield a remark if no trial has as many checks as it would wait for."""
    none = np.empty((0, trial.PLAN_WIDTH), np.int64)
    plans = np.concatenate([none, *(block.trials.plan for block in blocks)])
    waits = plans[plans[:, trial.PATIENCE] > 0]
    if not len(waits):
        return
    every = np.unique(plans[:, trial.EVERY])
    checks = check_counts(np.full(len(every), plans[:, trial.STEPS].max()), every).max()
    least = int(waits[:, trial.PATIENCE].min())
    if checks <= least:
        yield (
            f"patience of {least} checks has no effect: no trial has more than {checks} checks; "
            "give a smaller patience, or more checks by eval_every=..."
        )
