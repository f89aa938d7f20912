"""Segments of one rule and one dtype, which one kernel call updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastopt.arrays import address
from fastopt.fused import Extras
from fastopt.many import GRADIENT, PARAMETER, Many
from fastopt.rules import Rule

if TYPE_CHECKING:
    from fastopt.segments import Segment

__all__ = ["Batch"]


class Batch:
    """Segments of one rule and one dtype.

    Parameters
    ----------
    rule : Rule
        How they are updated.
    segments : sequence of Segment
        Bound to ``rule``; from now on their clocks are views of those of the batch.
    """

    def __init__(self, rule: Rule, segments: Sequence[Segment]) -> None:
        kind = segments[0].dtype
        self._many = Many(
            rule, kind, kind, [s.n for s in segments], [len(s.shape) < 2 for s in segments]
        )
        self._places = {segment: k for k, segment in enumerate(segments)}
        self._active = self._many.everything
        self._with_extras: dict[Rule, tuple[Many, np.ndarray]] = {}
        for k, segment in enumerate(segments):
            self._many.table[PARAMETER:, k] = [address(a) for a in segment.x]
            self._many.clocks[k] = segment.clock
            segment.clock = self._many.clocks[k]

    def aim(self, segments: Sequence[Segment]) -> bool:
        """Take the gradients that these segments hold; tell whether any of them is of the batch."""
        places, table = self._places, self._many.table
        own = [(places[segment], address(segment.g)) for segment in segments if segment in places]
        active = [k for k, _ in own]
        table[GRADIENT, active] = [at for _, at in own]
        whole = len(own) == len(places)
        self._active = self._many.everything if whole else np.array(active, np.int64)
        return bool(own)

    def step(self, hyper: np.ndarray, extras: Extras | None) -> None:
        """Update what :meth:`aim` was told, in place; ``hyper`` is as :meth:`Rule.rows`."""
        if extras is None:
            self._many.step(hyper, self._active)
            return
        many, row = self._extended(extras)
        slots = self._many.table.shape[0]
        many.table[:slots] = self._many.table
        many.table[slots:] = self._many.table[GRADIENT]
        row[:] = [extras.hyper(tuple(h)) for h in hyper]
        many.step(row, self._active)

    def _extended(self, extras: Extras) -> tuple[Many, np.ndarray]:
        """Return what steps the rule with ``extras``, and the row that its numbers go in."""
        own = self._many
        rule = extras.rule(own.rule)
        if rule not in self._with_extras:
            many = Many(rule, own.kinds[0], own.kinds[0], own.sizes, own.groups, own.clocks)
            self._with_extras[rule] = many, np.zeros((2, len(rule.hyper)))
        return self._with_extras[rule]
