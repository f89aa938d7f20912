"""Settings that cannot have an effect: refused if no trial reads them, told where some do not.

What a setting can do is read off the tables of optimizers and schedules, and of the trials as
kernels are given them: two trials of the same numbers are one run.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import SpecError, shortened
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES, Schedule
from sweeps.engine.block import Block
from sweeps.engine.columns import (
    aliases,
    check_counts,
    find_rule,
    gaps_in,
    schedule_parameters,
    schedule_row,
)
from sweeps.engine.options import COMMON
from sweeps.engine.plan import Plan
from sweeps.engine.records import SETTINGS
from sweeps.engine.unread import Look, look_at
from sweeps.problems.landscapes import Landscape
from sweeps.space.axes import ends, support

MOST = 64
"""Trials of the same numbers that are compared by what the user called them."""


def check_effects(plan: Plan, given: Collection[str]) -> list[str]:
    """Raise if an axis has no effect on any trial; return what else has none, one remark each.

    ``given``: keywords that were not left at their defaults. Remarks are made of a keyword that no
    trial reads because an axis sets it or another setting switches it off, an axis of several
    values that some trials do not read, two values of an axis that come to the same trial, batches
    of more rows than there are, checks that nothing looks at, patience that is longer than any
    trial, and a target that no metric can reach.
    """
    axes = {name: _axis(plan, name) for name in plan.space.names}
    told = {name for name, text in axes.items() if text}
    found = [*axes.values(), *(_keyword(plan, name) for name in given)]
    blocks = plan.examples
    looks = [look_at(block) for block in blocks]
    ids, off = _switched_off(looks)
    found += _off(plan, ids, off, given, told)
    found += [*_repeats(plan, looks, ids, told), *_rows(plan, given, told), *_patience(blocks)]
    found += _options(plan, blocks, off)
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
    rules = dict.fromkeys(support(part.get("optimizer", (defaults["optimizer"],))))
    used = support(part.get("schedule", (defaults["schedule"],)))
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


def _off(
    plan: Plan,
    ids: np.ndarray,
    off: Mapping[str, tuple[np.ndarray, str]],
    given: Collection[str],
    told: set[str],
) -> Iterator[str]:
    """Yield a remark on each setting, or reason, that the values of others switch off."""
    columns = plan.space.columns(ids) if off.keys() & {*plan.space.names} else {}
    keywords: dict[str, list[str]] = {}  # by what they mean nothing to
    said = set()
    for name, (rows, trials) in off.items():
        here = ~gaps_in(columns[name]) if name in columns else np.zeros(len(ids), bool)
        sizes = [len(part[name]) for part in plan.space.parts if name in part]
        # A schedule's parameter may switch itself off: which of its values do, repeats say.
        some = rows[here].all() if name in schedule_parameters() else rows[here].any()
        if name not in told and max(sizes, default=1) > 1 and some:
            told.add(name)
            said.add(trials)
            yield (
                f"axis {shortened(name)} means nothing to {trials}: these run again for each of "
                f"its {max(sizes)} values. Use when(...) or a list of spaces, or leave it out"
            )
        elif name in given and not here.all() and rows[~here].all() and not _usual(plan, name):
            keywords.setdefault(trials, []).append(f"{name}=...")
    for trials, names in keywords.items():
        if trials not in said:
            yield f"{', '.join(names)} has no effect: it means nothing to {trials}"


def _usual(plan: Plan, name: str) -> bool:
    """Tell whether a keyword says what is so without it."""
    params = (*(rule.hyper for rule in RULES.values()), *(s.params for s in SCHEDULES.values()))
    defaults = [kinds[name].default for kinds in params if name in kinds]
    return bool(defaults) and all(plan.options.defaults[name] == value for value in defaults)


def _switched_off(looks: Sequence[Look]) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, str]]]:
    """Return the trials looked at, and of each setting which of them do not read it and why."""
    lengths = [len(look.block.ids) for look in looks]
    ends_at = np.cumsum(lengths).tolist()
    found: dict[str, tuple[np.ndarray, str]] = {}
    for look, length, end in zip(looks, lengths, ends_at):
        for name, rows, trials in look.unread:
            if rows.any():
                all_rows, _ = found.setdefault(name, (np.zeros(sum(lengths), bool), trials))
                all_rows[end - length : end] |= rows
    ids = [np.empty(0, np.int64), *(look.block.ids for look in looks)]
    return np.concatenate(ids), found


def _rows(plan: Plan, given: Collection[str], told: set[str]) -> Iterator[str]:
    """Yield a remark on batches that were to have more rows than there are."""
    if isinstance(plan.problem, Landscape):
        return
    rows, name = len(plan.problem.X), "batch_size"
    asked = [max(ends(part[name])) for part in plan.space.parts if name in part]
    asked += [plan.options.defaults[name]] if name in given else []
    more = [size for size in asked if size > rows]
    if more and name not in told:
        yield (
            f"batch_size {shortened(max(more))} is more than the {rows} rows of "
            f"{plan.problem.name}: its batches are of all {rows}"
        )


def _repeats(plan: Plan, looks: Sequence[Look], ids: np.ndarray, told: set[str]) -> Iterator[str]:
    """Yield a remark on each axis with a value all of whose trials another value's trials repeat.

    Single trials alike are no remark: Adam and AdamW are one where nothing decays.
    """
    kernels: dict[Any, list[tuple[bytes, int]]] = {}
    for look in looks:
        block = look.block
        kernel = block.rule.kernel_parts, str(getattr(block.problem, "axes", ()))
        kernels.setdefault(kernel, []).extend(zip(_numbers(look), block.ids.tolist()))
    pairs: dict[tuple[str, Any, Any], int] = {}
    for group in itertools.chain.from_iterable(map(_alike, kernels.values())):
        first = plan.space[group[0]]
        for other in (plan.space[i] for i in group[1:MOST]):
            differing = [n for n in first if other.get(n) != first[n]]
            if first.keys() == other.keys() and len(differing) == 1:
                (name,) = differing
                pair = name, first[name], other[name]
                pairs[pair] = pairs.get(pair, 0) + 1
    columns = plan.space.columns(ids) if pairs else {}
    counts = {name: Counter(columns[name].tolist()) for name in {name for name, *_ in pairs}}
    for (name, value, other), count in pairs.items():
        if name in told or counts[name][other] > count:
            continue
        told.add(name)
        rows = f", of {len(plan.problem.X)} rows" if name == "batch_size" else ""
        yield (
            f"axis {shortened(name)}: {shortened(value)} and {shortened(other)} come to the same "
            f"trials of {plan.problem.name}{rows}; each is run"
        )


def _alike(trials: list[tuple[bytes, int]]) -> list[list[int]]:
    """Return the trials, two and more, that have the same numbers."""
    if len({numbers for numbers, _ in trials}) == len(trials):  # as a rule
        return []
    counts = Counter(numbers for numbers, _ in trials)
    groups: dict[bytes, list[int]] = {key: [] for key, count in counts.items() if count > 1}
    for key, i in trials:
        if key in groups:
            groups[key].append(i)
    return list(groups.values())


def _numbers(look: Look) -> list[bytes]:
    """Return what each trial is to the kernel of its block."""
    block, trials = look.block, look.block.trials
    h, settings = trials.h.copy(), trials.settings.copy()
    columns = {name: settings[name] for name in ("seed", "shuffle", "init_scale", "l1", "l2")}
    columns |= dict(zip(block.rule.hyper, h.T))
    for name, rows, _ in look.unread:
        if name in columns:
            columns[name][rows] = 0
    settings["schedule"] = 0
    start = getattr(trials, "start", h)  # of a landscape
    bits = [
        np.ascontiguousarray(a).view(np.uint8).reshape(len(a), -1) for a in (h, settings, start)
    ]
    words = np.concatenate(bits, axis=1)
    numbers: Any = words.view(np.dtype((np.void, words.shape[1]))).ravel().tolist()
    return [row + factor for row, factor in zip(numbers, look.factors)]


def _patience(blocks: Sequence[Block]) -> Iterator[str]:
    """Yield a remark if no trial has as many checks as it would wait for."""
    every_trial = np.concatenate(
        [np.empty(0, SETTINGS), *(block.trials.settings for block in blocks)]
    )
    waits = every_trial["patience"][every_trial["patience"] > 0]
    if not len(waits):
        return
    every = np.unique(every_trial["every"])
    checks = check_counts(np.full(len(every), every_trial["steps"].max()), every).max()
    least = int(waits.min())
    if checks <= least:
        yield (
            f"patience of {least} checks has no effect: no trial has more than {checks} checks; "
            "give a smaller patience, or more checks by eval_every=..."
        )


def _options(
    plan: Plan, blocks: Sequence[Block], off: Mapping[str, tuple[np.ndarray, str]]
) -> Iterator[str]:
    """Yield a remark on each option that no trial of this problem heeds."""
    options, problem = plan.options, plan.problem
    is_landscape = isinstance(problem, Landscape)
    patient = any((block.trials.settings["patience"] > 0).any() for block in blocks)
    if is_landscape and options.eval_every is not None and not (options.curves or patient):
        yield (
            f"eval_every=... has no effect: {problem.name} is looked at after every step; checks "
            "are for curves=True and patience=..."
        )
    if options.seed_mode == "independent" and "seed" in off and off["seed"][0].all():
        yield f"seed_mode=... has no effect: it means nothing to {off['seed'][1]}"
    if options.metric.endswith("accuracy"):
        _refuse_no_accuracy(plan)
        target = options.target
        if target is not None and (target > 1.0 if options.mode == "max" else target < 0.0):
            yield f"target={shortened(target)} is never reached: accuracies are 0 to 1"


def _refuse_no_accuracy(plan: Plan) -> None:
    """Raise if accuracy is the metric of a problem that measures none: no trial could be best."""
    problem = plan.problem
    if problem.classes is not None:
        return
    work = np.empty(max(problem.work_per_row * problem.work_rows, problem.work_per_row))
    theta = np.zeros(problem.n_params, problem.dtype)
    rows = problem.X[:1], problem.y[:1]
    with np.errstate(all="ignore"):
        _, accuracy = problem.evaluate(
            theta, *rows, problem.aux, np.empty_like(theta), work.astype(problem.dtype)
        )
    if accuracy != accuracy:
        raise SpecError(
            f"metric {shortened(plan.options.metric)} needs classes, and {problem.name} has none: "
            "rank its trials by a loss"
        )
