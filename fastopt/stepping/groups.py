"""All groups of an optimizer as one step sees them: gradients, what is checked, the launch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastopt.arena import Buffer
from fastopt.errors import ArrayError, ArrayTypeError, NonFiniteError
from fastopt.machine.arrays import Extents
from fastopt.machine.many import Launch
from fastopt.norms import all_finite
from fastopt.stepping.batches import Batch, Segment
from fastopt.stepping.fused import Extras
from fastopt.stepping.segments import Change, Group

# How often a step looks again where its arrays are, if each time they are elsewhere than before.
TRIES = 3


class Snapshot:
    """Everything as it was last checked: which arrays lie where, and which have a gradient.

    It is all that a step remembers of the one before, and is dropped as a whole.

    ``batches``: settled. ``count``: where steps are counted. ``plain``, Launch: the step by the
    rules alone. ``is_stepped``, bool: whether a step was made of it, before which slots and clocks
    were made ready.
    """

    def __init__(self, batches: list[Batch], count: np.ndarray) -> None:
        self._batches, self._count = batches, count
        self.plain = Launch((batch.many for batch in batches), count)
        self.is_stepped = False
        self._extended: dict[tuple[bool, bool], Launch] = {}

    def launch(self, extras: Extras | None) -> Launch:
        """Return the step with ``extras``, for which a trial must have found the gradients."""
        if extras is None:
            return self.plain
        key = extras.limit is None, extras.clears
        launch = self._extended.get(key)
        if launch is None:
            batches = [batch.extended(extras) for batch in self._batches]
            launch = self._extended[key] = Launch(batches, self._count)
        for batch, many in zip(self._batches, launch.batches):
            batch.refresh(many, extras)
        return launch


class Groups:
    """Groups that are stepped together.

    ``title``: how error messages call the optimizer. ``is_bare``: whether the gradients of the only
    group come as they are, not in a list. ``counts``: completed steps, and
    skipped ones; kernels count the first.
    """

    def __init__(self, title: str, is_bare: bool) -> None:
        self._title, self.is_bare = title, is_bare
        self.groups: list[Group] = []
        self.counts = np.zeros(2, np.int64)
        self._snapshot: Snapshot | None = None

    def forget(self) -> None:
        """Look at everything anew at the next step: groups or their state were changed."""
        self._snapshot = None

    def repeat(self, grads: Any) -> bool:
        """Step as the last time if only gradients may have changed; tell whether it did.

        It asks the least that a step has to ask: each function that it goes through costs 2 us
        where a backward pass has emptied the caches, as long as 8 000 elements take.
        """
        snapshot = self._snapshot
        if snapshot is None or not (snapshot.is_stepped and self.is_bare):
            return False
        group = self.groups[0]
        arena = group.params if isinstance(group.params, Buffer) else None
        if (grads is None and arena is None) or not group.is_unchanged():
            return False
        if group.place is None:
            group.put(grads, "grads")
        elif arena is None:
            group.place[0] = grads
        else:
            arena.check_views()
            group.place[0] = arena.flat_grad if grads is None else grads
        return snapshot.plain.run() is None

    def put(self, grads: Any) -> None:
        """Take the gradients of a step, in the structure of the parameters.

        What the gradients are is checked as the step finds them.
        """
        groups = self.groups
        if grads is None and not all(isinstance(group.params, Buffer) for group in groups):
            raise ArrayTypeError(
                "step needs the gradients, in the structure of the parameters; only the "
                "gradients of a Buffer are known without passing them"
            )
        if self.is_bare:
            groups[0].put(grads, "grads")
            return
        items = [None] * len(groups) if grads is None else grads
        if not isinstance(items, list | tuple) or len(items) != len(groups):
            found = (
                f"{len(items)} items" if isinstance(items, list | tuple) else type(items).__name__
            )
            raise ArrayTypeError(
                f"with param groups, grads must be a list with one item for each of the "
                f"{len(groups)} groups; got {found}"
            )
        for k, (group, item) in enumerate(zip(groups, items)):
            group.put(item, f"grads[{k}]")

    def run(self, extras: Extras | None = None, *, is_trial: bool = False) -> None:
        """Step, in one call of a kernel; check everything anew if it is not as it was."""
        for group in () if is_trial else self.groups:
            group.begin()
        for _ in range(TRIES):
            if self._snapshot is None:
                self._snapshot = self._take_snapshot()
                if extras is not None:
                    self._snapshot.plain.run(is_trial=True)  # finds the gradients
            if self._snapshot.launch(extras).run(is_trial) is None:
                self._snapshot.is_stepped |= not is_trial
                return
            self._snapshot = None
        raise ArrayError(
            f"{self._title}: parameters or gradients changed {TRIES} times while they were "
            "being checked. Do not resize or replace them while another thread steps."
        )

    def _take_snapshot(self) -> Snapshot:
        """Check all arrays; return where they are, and which of them have a gradient."""
        extents, batches = Extents(), [batch for group in self.groups for batch in group.batches]
        for batch in batches:
            batch.check(extents)
        for where, segment, g in self.gradients():
            segment.check_gradient(f"{where}{segment.suffix}", g, extents)
        for batch in batches:
            batch.settle(extents.bounds)
        return Snapshot(batches, self.counts)

    def gradients(self) -> list[tuple[str, Segment, np.ndarray]]:
        """Return the gradients of this step, with what holds them and what they are called."""
        return [
            ("grads" if self.is_bare else f"grads[{k}]", segment, g)
            for k, group in enumerate(self.groups)
            for batch in group.batches
            for segment, g in batch.gradients
        ]

    def adopt(
        self, changes: list[Change | None], scheduled: list[float] | None, grads: Any
    ) -> None:
        """Use the groups' options as they are now, and what the schedule makes of their lr."""
        for k, (group, change) in enumerate(zip(self.groups, changes)):
            if change is not None and group.adopt(change):
                self._snapshot = None
            if scheduled is not None:
                group.schedule(scheduled[k])
        if self._snapshot is None:
            self.put(grads)

    def check_finite(self) -> None:
        """Refuse gradients that are not finite, by the place of the first."""
        for _, segment, given in self.gradients():
            g = given.reshape(-1)
            if all_finite(g):
                continue
            flat_index = int(np.flatnonzero(~np.isfinite(g))[0])
            key, index = segment.locate(flat_index)
            group = next(group for group in self.groups if segment in group.segments)
            named = "" if isinstance(group.params, np.ndarray) else f" {key!r}"
            kind = "NaN" if math.isnan(g[flat_index]) else "infinite"
            raise NonFiniteError(
                f"{group.where}: the gradient of parameter{named} is {kind} at flat index "
                f"{index}; nothing was changed. Lower lr, clip gradients, or pass "
                'nonfinite="skip".'
            )
