"""A look at some trials of a sweep, to know what all of them take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sweeps.common.limits import spaced_ids

# Trials looked at to estimate the cost of a sweep; and where they may all have other layers, each
# set of which takes a millisecond to lay out.
LOOKED_AT, SHAPES = 1 << 14, 1 << 9


@dataclass(frozen=True)
class Sample:
    """What a look at some trials says about all of them.

    ``cost`` (mean) and ``heavy`` (root mean square, which a few long trials pull up) are in
    nanoseconds of one core a trial, ``steps`` are training steps a trial, ``row`` is bytes of
    results a trial, ``scratch`` is bytes that a worker takes for the largest of them.
    """

    cost: float
    heavy: int
    steps: float
    row: int
    scratch: int


def sampled(plan: Any) -> Sample:
    """Look at all trials of a small sweep, or at evenly spaced ones of a large one.

    A plan keeps the answer: ``plan.sample``.
    """
    remade = set(getattr(plan.problem, "axes", ())) & set(plan.space.names)
    most = SHAPES if remade else LOOKED_AT
    ids = spaced_ids(plan.size, most)
    steps = points = scratch = 0
    costs: list[int] = []
    for block in plan.blocks(ids, results=False):
        costs += block.cost.tolist()
        steps += int(block.trials.settings["steps"].sum())
        points = max(points, block.trials.curves.shape[1])
        scratch = max(scratch, block.scratch_bytes)
    row = 8 * (2 * len(plan.results) + len(plan.space.names) + points * len(plan.curve))
    # In Python's integers: a sum of floats may differ in its last bit from machine to machine.
    heavy = math.isqrt(sum(cost * cost for cost in costs) // len(costs))
    return Sample(sum(costs) / len(costs), max(heavy, 1), steps / len(ids), row, scratch)
