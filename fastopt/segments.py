"""What :class:`fastopt.optimizer.Optimizer` is made of: runs of memory, and groups of them.

A *segment* is contiguous memory with one clock: one array, or a whole arena. A *group* is the
segments that share hyperparameters; it reads them from its dict before each step, since schedulers
write there, and packs them again only when they changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import is_, itemgetter
from typing import Any, NamedTuple

import numpy as np

from fastopt.arena import Buffer
from fastopt.arrays import Extents, aligned_zeros, check_array, check_like, is_like, named
from fastopt.batches import Batch
from fastopt.clocks import new_clock, rewind
from fastopt.errors import ArrayError, ArrayTypeError, HyperparameterError, did_you_mean
from fastopt.fused import AVERAGE, Extras
from fastopt.rules import Rule
from fastopt.rules.base import ZERO, begin

__all__ = ["Change", "Group", "Piece", "Segment", "are_groups"]

Recipe = Callable[[str, Mapping[str, Any]], tuple[Rule, dict[str, Any]]]
"""``recipe(where, options)`` picks the rule and renames torch's options to the rule's names."""


class Piece(NamedTuple):
    """One tensor of a segment: ``p[start:stop]`` in shape ``shape``, called ``key`` by the user."""

    key: Any
    array: np.ndarray
    start: int
    stop: int

    def of(self, flat: np.ndarray) -> np.ndarray:
        """Return this tensor's part of a flat array of the segment, in the tensor's shape."""
        return flat[self.start : self.stop].reshape(self.array.shape)


class Segment:
    """Contiguous memory with its slots, its clock and its last gradient."""

    def __init__(self, p: np.ndarray, pieces: list[Piece], suffix: str) -> None:
        self.p = p.view(np.ndarray).reshape(-1)
        self.n = self.p.size
        self.shape = p.shape
        self.dtype = p.dtype
        self.pieces = pieces
        self.suffix = suffix
        self.slots: dict[str, np.ndarray] = {}
        self.clock = np.zeros(0)
        self.x: tuple[np.ndarray, ...] = ()
        # Kept alive on purpose: while we hold it, an array with the same identity is the same one.
        self.source: np.ndarray | None = None
        self.g = np.zeros(0)

    @property
    def steps(self) -> int:
        """Number of steps taken since the slots were zero."""
        return int(self.clock[0])

    def bind(self, rule: Rule, h: tuple[float, ...]) -> None:
        """Get the slots and the clock that ``rule`` needs, keeping what is there already."""
        fresh = [name for name in rule.slots if name not in self.slots]
        for name in fresh:
            self.slots[name] = aligned_zeros(self.n, self.p.dtype, 2 + rule.slots.index(name))
        if self.clock.size:
            self._fill(rule, h, fresh)
        own = len(rule.slots) - (AVERAGE in rule.slots)
        if not self.clock.size or (fresh and len(fresh) >= own):
            self.clock = new_clock(rule, h)
        self.x = (self.p, *(self.slots[name] for name in rule.slots))

    def begin(self, rule: Rule, h: tuple[float, ...]) -> None:
        """Make ready for a first step: clock and slots start from parameters and ``h`` of now."""
        self.clock[:] = new_clock(rule, h)
        self._fill(rule, h, rule.slots)

    def _fill(self, rule: Rule, h: tuple[float, ...], names: Sequence[str]) -> None:
        for name, source in zip(rule.slots, rule.starts[1:]):
            if name in names and source != ZERO:
                begin(source, h, self.p, self.slots[name])

    def accept(self, g: Any, where: str, params: Extents) -> np.ndarray:
        """Return the gradient ``g`` as a flat array; check it unless it was the last one too."""
        if g is not self.source:
            if not is_like(g, self.dtype, self.shape):
                check_like(where + self.suffix, g, self.dtype, self.shape)
            owner = params.find(g)
            if owner is not None:
                raise ArrayError(
                    f"{where}{self.suffix} shares memory with {owner}, which the step writes to. "
                    "Compute the gradient in an array of its own."
                )
            self.source = g
            self.g = g if g.ndim == 1 else g.view(np.ndarray).reshape(-1)
        return self.g


class Match(NamedTuple):
    """Gradients as they were given, and the segments that hold them now."""

    items: Sequence[np.ndarray | None]
    segments: list[Segment]

    def holds(self, items: Sequence[np.ndarray | None]) -> bool:
        """Tell whether these are the very same gradients."""
        return len(items) == len(self.items) and all(map(is_, items, self.items))


class Change(NamedTuple):
    """Hyperparameters that a group is about to adopt."""

    rule: Rule
    h: tuple[float, ...]
    seen: tuple | None


class Group:
    """Segments that share hyperparameters.

    Parameters
    ----------
    where : str
        Name of the group in error messages.
    path : str
        How the caller wrote its parameters, e.g. ``params[0]['params']``.
    params : ndarray, list or dict of ndarray, or Buffer
        Updated in place.
    options : dict
        The row of ``param_groups``; read, never written.
    recipe : callable
        See :data:`Recipe`.
    extents : Extents
        Memory of all parameters so far; this group's is added.

    Attributes
    ----------
    waiting : set of Segment
        Those that have not taken a step: what starts from their parameters, or from an option, is
        read when they do.
    """

    def __init__(
        self, where: str, path: str, params: Any, options: dict, recipe: Recipe, extents: Extents
    ) -> None:
        self.where = where
        self.params = dict(params) if isinstance(params, Mapping) else params
        if isinstance(params, list | tuple):
            self.params = list(params)
        self.options = options
        self.recipe = recipe
        self.read = itemgetter(*(name for name in options if name != "params"))
        self.rule, self.h, self.seen = self.change(options)
        # A rule that measures each tensor cannot step an arena's tensors as one.
        self.splits = self.rule.measure is not None
        self.segments = _segments(path, self.params, extents, self.splits)
        self.keys = [piece.key for segment in self.segments for piece in segment.pieces]
        self._match = Match((), [])
        self._options: dict[str, Any] | None = None
        self.waiting = set(self.segments)
        self._aimed: list[Batch] | None = None
        self._bind()

    @property
    def names(self) -> list | None:
        """The names the user gave to the tensors, if any."""
        params = self.params.params if isinstance(self.params, Buffer) else self.params
        return self.keys if isinstance(params, dict) else None

    @property
    def pieces(self) -> list[tuple[Segment, Piece]]:
        """Every tensor with its segment, in the order in which the user gave them."""
        return [(segment, piece) for segment in self.segments for piece in segment.pieces]

    def settle(self) -> None:
        """Take over options that were changed since the last step."""
        if (change := self.pending()) is not None:
            self.adopt(change)

    def slot_views(self, name: str) -> Any:
        """Return the slot ``name`` of every tensor, in the structure of the parameters."""
        self._begin(self.waiting)
        params = self.params.params if isinstance(self.params, Buffer) else self.params
        views = [piece.of(segment.slots[name]) for segment, piece in self.pieces]
        if isinstance(params, np.ndarray):
            return views[0]
        return dict(zip(self.keys, views)) if isinstance(params, dict) else views

    def match(self, grads: Any, where: str, params: Extents) -> list[Segment]:
        """Give each segment its gradient, if there is one; return those that have one now.

        Gradients not seen before are checked.
        """
        items, last = self._items(grads, where), self._match
        if not last.holds(items):
            given = [(s, g) for s, g in zip(self.segments, items) if g is not None]
            for segment, g in given:
                segment.accept(g, where, params)
            last = self._match = Match(tuple(items), [segment for segment, _ in given])
            self._aimed = None
        return last.segments

    def step(self, extras: Extras | None) -> None:
        """Update the segments of the last :meth:`match`, in place."""
        segments = self._match.segments
        if self.waiting:
            self._begin(self.waiting.intersection(segments))
            self.waiting.difference_update(segments)
        if self._aimed is None:
            self._aimed = [batch for batch in self._batches if batch.aim(segments)]
        for batch in self._aimed:
            batch.step(self._hyper, extras)
        self._options = dict(self.options) if self.seen is not None else None

    def _begin(self, segments: Collection[Segment]) -> None:
        h = tuple(self._hyper[0].tolist())  # with a schedule's learning rate
        for segment in segments:
            segment.begin(self.rule, h)

    def wait(self, segments: set[Segment]) -> None:
        """Take these, and no others, as those that have not taken a step."""
        self.waiting, self._aimed = segments, None

    def repeat(self, grads: Any) -> bool:
        """Do the last :meth:`step` again if all it was made for is as it was; tell whether it is.

        Each function that a step goes through costs 2 us where a backward pass has emptied the
        caches, as long as 8 000 elements take: so this one asks all that a step has to ask.
        """
        aimed = self._aimed
        if aimed is None or not self._match.holds(self._items(grads, "grads")):
            return False
        try:
            if self.options != self._options:
                return False
        except ValueError:  # an option is an array of several elements: packing refuses it by name
            return False
        for batch in aimed:
            batch.step(self._hyper, None)
        return True

    def _items(self, grads: Any, where: str) -> Sequence[np.ndarray | None]:
        params = self.params
        if isinstance(params, Buffer):
            if self.splits:
                return _split(params, grads, where)
            return (params.flat_grad if grads is None else grads,)
        if grads is None:
            return ()
        if isinstance(params, np.ndarray):
            return (grads,)
        if not isinstance(grads, Mapping if isinstance(params, dict) else list | tuple):
            raise ArrayTypeError(
                f"{where} must be a {type(params).__name__} like the parameters; "
                f"got a {type(grads).__name__}"
            )
        if isinstance(grads, Mapping):
            return self._named_items(grads, where)
        if len(grads) != len(params):
            raise ArrayError(
                f"{where} has {len(grads)} items for {len(params)} parameters; "
                "give None for a parameter without a gradient"
            )
        return grads

    def _named_items(self, grads: Mapping, where: str) -> list:
        items = [grads.get(key) for key in self.keys]
        if len(grads) > sum(g is not None for g in items):
            for key in grads:
                if key not in self.params:
                    raise ArrayError(
                        f"{where} has {key!r}, but no parameter has that name"
                        f"{did_you_mean(key, map(str, self.keys))}; "
                        f"there are {', '.join(map(repr, self.keys))}"
                    )
        return items

    def change(self, options: Mapping[str, Any]) -> Change:
        """Check ``options`` and pack them for the kernel."""
        rule, values = self.recipe(self.where, options)
        seen = self.read(options)
        return Change(rule, rule.pack(values, self.where), seen if _immutable(seen) else None)

    def pending(self) -> Change | None:
        """Return what changed in the group's dict since the last step; None is the usual answer."""
        try:
            unchanged = self.read(self.options) == self.seen
        except KeyError as error:
            raise HyperparameterError(f"{self.where} has lost its {error}; set it again") from None
        except ValueError:  # an array of several elements has no truth; packing refuses it by name
            unchanged = False
        return None if unchanged else self.change(self.options)

    def adopt(self, change: Change) -> None:
        """Use new hyperparameters from now on: slots for the rule, powers in clocks made anew."""
        before, (rule, h, _) = dict(zip(self.rule.hyper, self.h)), change
        changed = {name for name, value in zip(rule.hyper, h) if before.get(name, value) != value}
        has_other_rule = rule is not self.rule
        self.rule, self.h, self.seen = change
        if has_other_rule:
            self._bind()
        self._hyper[:] = rule.rows(h)
        if not changed.isdisjoint(rule.powers):
            for segment in self.segments:
                rewind(rule, h, segment.clock[None])

    def _bind(self) -> None:
        sorts: dict[np.dtype, list[Segment]] = {}
        for segment in self.segments:
            segment.bind(self.rule, self.h)
            sorts.setdefault(segment.dtype, []).append(segment)
        self._batches = [Batch(self.rule, segments) for segments in sorts.values()]
        self._aimed = None
        self._hyper = np.array(self.rule.rows(self.h))

    def scaled(self, lr: float, factor: float) -> float:
        """Return the learning rate multiplied by a schedule's factor; check it."""
        lr = lr * factor
        if not 0.0 <= lr < math.inf:
            raise HyperparameterError(
                f"{self.where}: the schedule's factor {factor!r} makes lr {lr}; it must be finite "
                "and zero or more. Nothing was changed."
            )
        return lr

    def schedule(self, lr: float) -> None:
        """Take this learning rate for the next step."""
        self._hyper[:, 0] = lr

    def locate(self, segment: Segment, index: int) -> tuple[Any, int]:
        """Return the key of the tensor that holds element ``index`` and its flat index there."""
        for piece in segment.pieces:
            if piece.start <= index < piece.stop:
                return piece.key, index - piece.start
        return "padding", index


def _split(buffer: Buffer, grads: Any, where: str) -> list[np.ndarray]:
    """Return the gradients of a buffer tensor by tensor: its own, or views of a flat array."""
    if grads is None:
        return Buffer._values(buffer.grads)
    check_like(where, grads, buffer.dtype, buffer.flat.shape)
    views = Buffer._values(buffer.params)
    return [
        grads[start : start + view.size].reshape(view.shape)
        for start, view in zip(buffer.offsets, views)
    ]


def _segments(path: str, params: Any, extents: Extents, splits: bool) -> list[Segment]:
    if isinstance(params, Buffer):
        extents.add(path, params.flat)
        views = list(zip(params.names, Buffer._values(params.params), params.offsets))
        if splits:
            return [
                Segment(view, [Piece(key, view, 0, view.size)], f"[{key!r}]")
                for key, view, _ in views
            ]
        pieces = [Piece(key, view, start, start + view.size) for key, view, start in views]
        return [Segment(params.flat, pieces, "")]
    segments = []
    for item_path, a in named(path, params):
        check_array(item_path, a)
        extents.add(item_path, a)
        suffix = item_path.removeprefix(path)
        segments.append(Segment(a, [Piece(suffix, a, 0, a.size)], suffix))
    if not segments:
        raise ArrayError(f"{path} is empty; pass at least one array")
    keys = params if isinstance(params, dict) else range(len(segments))
    for key, segment in zip(keys, segments):
        segment.pieces[0] = segment.pieces[0]._replace(key=key)
    return segments


def _immutable(values: tuple) -> bool:
    """Tell whether equal values now mean equal values always (a 0-d array may change in place)."""
    return all(
        _immutable(v) if isinstance(v, tuple) else isinstance(v, float | int | str | np.generic)
        for v in values
    )


def are_groups(params: Any) -> bool:
    """Tell groups from arrays; refuse what is neither, and a list of both."""
    if isinstance(params, np.ndarray | Mapping | Buffer):
        return False
    if not isinstance(params, list | tuple):
        raise ArrayTypeError(
            "params must be a NumPy array, a list or dict of arrays, a Buffer from flatten, or a "
            f"list of param groups; got a {type(params).__name__}"
        )
    if not params:
        raise ArrayError("the optimizer got an empty parameter list; pass at least one array")
    return isinstance(params[0], Mapping)
