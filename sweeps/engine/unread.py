"""What trials do not read of their own settings: values that switch off what another one sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from fastopt.schedules import SCHEDULES
from sweeps.engine.block import Block
from sweeps.engine.columns import alike
from sweeps.engine.data_order import SHUFFLES
from sweeps.problems.landscapes import Landscape

NONE = SHUFFLES["none"]
CONSTANT = list(SCHEDULES).index("constant")

MOST_GLANCES, MOST_FACTORS = 1 << 10, 1 << 17
"""Schedules that are looked at, some 2 ms, and factors of those that look alike, some 0.1 s."""


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


class Look(NamedTuple):
    """A block, what the schedule of each trial does, and what its trials do not read."""

    block: Block
    factors: list[bytes]
    unread: list[Unread]


def look_at(block: Block) -> Look:
    """Find out what trials do not read, one setting and reason at a time.

    Equal ``factors`` are equal factors at every step; none at all are ones.
    """
    factors = _factors(block)
    return Look(block, factors, [*_drawn(block), *_idle(block), *_flat(block, factors)])


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
    yield Unread("seed", ordered & fixed & (not problem.draws), "trials without chance")


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


def _flat(block: Block, factors: list[bytes]) -> Iterator[Unread]:
    """Yield the parameters of schedules that leave the learning rate as it is."""
    flat = np.array([found == b"" for found in factors], bool)
    kinds = block.trials.settings["schedule"]
    for kind in np.unique(kinds[flat]).tolist():
        text = f"schedule {list(SCHEDULES)[kind]} where its factor is 1 at every step"
        for name in _parameters(kind):
            if name not in block.rule.hyper:
                yield Unread(name, flat & (kinds == kind), text)


def _parameters(kind: int) -> Iterable[str]:
    return list(SCHEDULES.values())[kind].params


def _factors(block: Block) -> list[bytes]:
    """Return what the schedule of each trial does: equal bytes are equal factors at every step.

    No bytes: all factors are 1. Of schedules that are too many or too long to be walked the
    parameters stand for the factors.
    """
    settings, rows = block.trials.settings, block.trials.schedule
    kinds, steps = settings["schedule"], settings["steps"]
    first, groups = alike(kinds, steps, *rows.T)
    schedules = [_Scheduled(int(kinds[i]), int(steps[i]), tuple(rows[i].tolist())) for i in first]
    found = [b"" if s.is_constant else s.parameters for s in schedules]
    if len(schedules) <= MOST_GLANCES:
        glances = [b"" if s.is_constant else s.factors(s.some) for s in schedules]
        equal = Counter(zip(steps[first].tolist(), glances))
        # A walk in Python takes longer than a trial (64 of 1 000 steps: 60 ms), and those
        # that differ at a glance need none.
        walked = [
            k for k, s in enumerate(schedules)
            if not s.is_constant and (equal[s.steps, glances[k]] > 1 or not glances[k])
        ]  # fmt: skip
        if sum(schedules[k].steps for k in walked) <= MOST_FACTORS:
            for k in walked:
                found[k] = schedules[k].factors(range(schedules[k].steps))
    return [found[group] for group in groups.tolist()]


class _Scheduled(NamedTuple):
    """The schedule of some trials."""

    kind: int
    steps: int
    a: tuple[float, ...]

    @property
    def is_constant(self) -> bool:
        return self.kind == CONSTANT and self.a[1] == 0.0

    @property
    def some(self) -> tuple[int, ...]:
        return min(1, self.steps - 1), self.steps // 2, self.steps - 1

    @property
    def parameters(self) -> bytes:
        return bytes([self.kind]) + np.array(self.a).tobytes()

    def factors(self, at: Iterable[int]) -> bytes:
        """Return the factors at these steps; no bytes if all are 1."""
        row = list(SCHEDULES.values())[self.kind]
        found = np.array([row.factor(t, self.a) for t in at])
        return b"" if (found == 1.0).all() else found.tobytes()
