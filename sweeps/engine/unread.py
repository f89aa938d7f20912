"""What trials do not read of their own settings: values that switch off what another one sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from fastopt.schedules import SCHEDULES
from sweeps.engine.columns import alike
from sweeps.engine.data_order import SHUFFLES
from sweeps.engine.plan import Block
from sweeps.problems.landscapes import Landscape

__all__ = ["IDLE", "Idle", "Unread", "factors", "unread"]

NONE = SHUFFLES["none"]
CONSTANT = list(SCHEDULES).index("constant")

MOST_FACTORS = 1 << 17
"""Factors of schedules that are compared, some 0.1 s; the parameters of longer ones are."""


class Idle(NamedTuple):
    """A hyperparameter that is not read where others, by name, have these values."""

    name: str
    where: dict[str, float | bool | str]
    rules: tuple[str, ...] = ()  # all that have these names, unless it says


IDLE = (
    Idle("decoupled", {"weight_decay": 0.0}),
    Idle("no_prox", {"weight_decay": 0.0}),
    Idle("nesterov", {"momentum": 0.0, "dampening": 0.0}),
    Idle("nesterov", {"momentum": 0.0, "form": "ema"}),
    Idle("nesterov", {"momentum": 0.0, "form": "velocity"}),
    Idle("dampening", {"form": "ema"}),
    Idle("dampening", {"form": "velocity"}),
    Idle("dampening", {"momentum": 0.0, "nesterov": True}),
    Idle("form", {"momentum": 0.0, "dampening": 0.0}),
    Idle("form", {"momentum": 0.0, "nesterov": True}),
    Idle("momentum_decay", {"beta1": 0.0}),
    Idle("beta3", {"alpha": 0.0}, ("ademamix",)),
    Idle("alpha_warmup", {"alpha": 0.0}),
    Idle("beta3_warmup", {"alpha": 0.0}),
    Idle("alpha", {"lambd": 0.0}, ("asgd",)),
    Idle("t0", {}, ("asgd",)),  # when the average begins, which no trial answers with
    Idle("clip_exp", {"clip": False}),
    Idle("gamma", {"beta1": 0.0}, ("mars_adamw",)),
    Idle("plain_start", {"beta1": 0.0}),
    Idle("plain_start", {"gamma": 0.0}),
    Idle("beta2", {"beta1": 0.0}, ("lion", "cautious_lion")),
)
"""What a rule does not read, as its formula says; a test steps each rule to see."""


class Unread(NamedTuple):
    """Which trials of a block, bool ``(n,)``, do not read a setting, and what they are."""

    name: str
    rows: np.ndarray
    trials: str


def unread(block: Block) -> Iterator[Unread]:
    """Yield what trials do not read, one setting and reason at a time."""
    yield from _drawn(block)
    yield from _idle(block)
    yield from _flat(block)


def _drawn(block: Block) -> Iterator[Unread]:
    """Yield what has to do with random numbers: a landscape's are its own, others order rows."""
    problem, trials = block.problem, block.trials
    if isinstance(problem, Landscape):
        yield Unread("seed", np.full(len(block.ids), not problem.seeded), "trials without chance")
        return
    whole = trials.settings["batch"] >= len(problem.X)
    yield Unread("shuffle", whole, f"trials whose batches are all {len(problem.X)} rows")
    fixed = problem.theta0 is not None
    zero = fixed and not np.any(problem.theta0)
    yield Unread("init_scale", np.full(len(whole), zero), "trials that start from zeros")
    ordered = whole | (trials.settings["shuffle"] == NONE)
    fixed = fixed | (trials.settings["init_scale"] == 0.0)
    yield Unread("seed", ordered & fixed, "trials without chance")


def _idle(block: Block) -> Iterator[Unread]:
    """Yield the hyperparameters that others switch off."""
    rule, h = block.rule, block.trials.h
    place = {name: k for k, name in enumerate(rule.hyper)}
    kinds = np.unique(block.trials.settings["schedule"]).tolist()
    scheduled = {name for kind in kinds for name in _parameters(kind)}
    for name, where, rules in IDLE:
        if {name, *where} <= place.keys() - scheduled and (not rules or rule.name in rules):
            rows = np.ones(len(h), bool)
            for other, value in where.items():
                rows &= h[:, place[other]] == rule.hyper[other].pack(other, value)
            with_these = " and ".join(f"{other}={value!r}" for other, value in where.items())
            yield Unread(name, rows, f"trials with {with_these}" if where else f"{rule.name}")


def _flat(block: Block) -> Iterator[Unread]:
    """Yield the parameters of schedules that leave the learning rate as it is."""
    flat = np.array([found == b"" for found in factors(block)], bool)
    kinds = block.trials.settings["schedule"]
    for kind in np.unique(kinds[flat]).tolist():
        text = f"schedule {list(SCHEDULES)[kind]} where its factor is 1 at every step"
        for name in _parameters(kind):
            if name not in block.rule.hyper:
                yield Unread(name, flat & (kinds == kind), text)


def _parameters(kind: int) -> Iterable[str]:
    return list(SCHEDULES.values())[kind].params


def factors(block: Block) -> list[bytes]:
    """Return what the schedule of each trial does: equal bytes are equal factors at every step.

    No bytes: all factors are 1. Of schedules that are too long to be walked the parameters stand
    for the factors.
    """
    settings, rows = block.trials.settings, block.trials.schedule
    kinds, steps = settings["schedule"], settings["steps"]
    first, groups = alike(kinds, steps, *rows.T)
    plain = (kinds[first] == CONSTANT) & (rows[first, 1] == 0.0)
    walked = int(steps[first][~plain].sum()) <= MOST_FACTORS
    found = [
        b"" if is_plain else _walk(int(kinds[i]), rows[i], int(steps[i]) if walked else 0)
        for i, is_plain in zip(first.tolist(), plain)
    ]
    return [found[group] for group in groups.tolist()]


def _walk(kind: int, a: np.ndarray, steps: int) -> bytes:
    if not steps:
        return bytes([kind]) + a.tobytes()
    factor, parameters = list(SCHEDULES.values())[kind].function, tuple(a.tolist())
    walked = np.array([factor(float(t), parameters) for t in range(steps)])
    return b"" if (walked == 1.0).all() else walked.tobytes()
