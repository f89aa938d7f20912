"""Groups: the segments that share hyperparameters, which are read before each step.

Schedulers write to a group's dict; its options are packed again only when they changed.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from fastopt.arena import Buffer
from fastopt.errors import ArrayError, ArrayTypeError, HyperparameterError, did_you_mean, shortened
from fastopt.machine.arrays import Extents, check_array, check_like, named
from fastopt.rules import Rule
from fastopt.rules.base import LARGEST
from fastopt.rules.clocks import rewind
from fastopt.rules.recipes import Recipe
from fastopt.stepping.batches import Batch, Piece, Segment
from fastopt.stepping.fixed import Fixed, Options, Seen, are_same


class Change(NamedTuple):
    """Hyperparameters that a group is about to adopt: as packed, as found, and in which version."""

    rule: Rule
    h: tuple[float, ...]
    seen: Seen
    version: int | None


class Group:
    """Segments that share hyperparameters.

    What starts from parameters, or from an option, is read at their first step: see ``waiting``.

    * ``where``: name of the group in error messages.
    * ``path``: how the caller wrote its parameters, e.g. ``params[0]['params']``.
    * ``params`` (ndarray, list or dict of ndarray, or Buffer): updated in place.
    * ``options``: the row of ``param_groups``; read, and given the arrays as ``"params"``.
    * ``recipe``: see :data:`fastopt.rules.recipes.Recipe`.
    * ``extents``: memory of all parameters so far; this group's is added.
    """

    def __init__(
        self, where: str, path: str, params: Any, options: Options, recipe: Recipe, extents: Extents
    ) -> None:
        self.where = where
        self.params = dict(params) if isinstance(params, Mapping) else params
        if isinstance(params, list | tuple):
            self.params = list(params)
        self.options = options
        self.recipe = recipe
        names = [name for name in options if name != "params"]
        self._read = itemgetter(names[0], *names)  # of one name alone there would be no tuple
        self._arrays: Any = ()
        self.segments: list[Segment] = []
        self.rule, self.h, self._seen, self._version = self.change(options)
        # A rule that measures each tensor cannot step an arena's tensors as one.
        self.splits = self.rule.measure is not None
        self.segments = _segments(path, self.params, extents, self.splits)
        self._check_width(self.rule, self.h)
        self.keys = [piece.key for segment in self.segments for piece in segment.pieces]
        options["params"] = self._arrays = Fixed("params", [p.array for _, p in self.pieces])
        self._waiting = set(self.segments)
        self._bind(self.rule, self.h)

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

    def put(self, grads: Any, where: str) -> None:
        """Take gradients for the next step, in the structure of the parameters.

        What the gradients are is checked as the step finds them.
        """
        items = self._items(grads, where)
        for batch in self.batches:
            batch.put(items)

    def begin(self) -> None:
        """Make ready, for their first step, those that have a gradient for the first time."""
        if self._waiting:
            self._waiting = self.waiting
            active = (segment for batch in self.batches for segment, _ in batch.gradients)
            self._begin(self._waiting.intersection(active))

    def _begin(self, segments: Collection[Segment]) -> None:
        h = tuple(self._hyper[0].tolist())  # with a schedule's learning rate
        for segment in segments:
            segment.begin(self.rule, h)

    @property
    def waiting(self) -> set[Segment]:
        """Those that have not taken a step, as the clocks say, which kernels advance."""
        return {segment for segment in self._waiting if not segment.clock[0]}

    def wait(self, segments: set[Segment]) -> None:
        """Take these, and no others, as those that have not taken a step."""
        for segment in segments:
            segment.clock[0] = 0.0
        self._waiting = segments

    def _items(self, grads: Any, where: str) -> Sequence[np.ndarray | None]:
        params = self.params
        if isinstance(params, Buffer):
            params.check_views()
            if self.splits:
                return _split(params, grads, where)
            return (params.flat_grad if grads is None else grads,)
        if grads is None:
            return [None] * len(self.segments)
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
        version = getattr(options, "version", None)  # before its values are read
        # Who replaced the arrays in the dict would have gone on with those of before.
        if not are_same(options["params"], self._arrays):
            self._arrays.refuse()
        rule, values = self.recipe(self.where, options)
        found, h = self._read(options), rule.pack(values, self.where)
        self._check_width(rule, h)
        seen = Seen(found)
        return Change(rule, h, seen, version if seen.are_immutable else None)

    def _check_width(self, rule: Rule, h: tuple[float, ...]) -> None:
        if any(segment.dtype == np.float32 for segment in self.segments):
            rule.check_width(h, self.where)

    def is_unchanged(self) -> bool:
        """Tell whether all options in the group's dict are as they were at the last step."""
        version = self.options.version
        if version == self._version:
            return True
        try:
            found = self._read(self.options)
            is_same = self.options["params"] is self._arrays and self._seen.agree(found)
        except KeyError as error:
            raise HyperparameterError(f"{self.where} has lost its {error}; set it again") from None
        except (ValueError, RuntimeError):  # several elements have no truth; packing refuses them
            return False
        if is_same and self._seen.are_immutable:
            self._version = version
        return is_same

    def pending(self) -> Change | None:
        """Return what changed in the group's dict since the last step; None is the usual answer."""
        return None if self.is_unchanged() else self.change(self.options)

    def adopt(self, change: Change) -> bool:
        """Use new hyperparameters from now on: slots for the rule, powers in clocks made anew.

        Returns whether they go with another rule, and so with batches that have no gradients yet.
        Only when all is done the change is noted: a signal's exception may come in between.
        """
        before, rule, h = dict(zip(self.rule.hyper, self.h)), change.rule, change.h
        changed = {name for name, value in zip(rule.hyper, h) if before.get(name, value) != value}
        has_other_rule = rule is not self.rule
        if has_other_rule:
            self._waiting = self.waiting  # a clock of the other rule may start anew
            self._bind(rule, h)
        self._hyper[:] = rule.rows(h)
        if not changed.isdisjoint(rule.powers):
            for segment in self.segments:
                rewind(rule, h, segment.clock[None])
        self.rule, self.h, self._seen, self._version = change
        return has_other_rule

    def _bind(self, rule: Rule, h: tuple[float, ...]) -> None:
        self._hyper = np.array(rule.rows(h))
        sorts: dict[np.dtype, list[int]] = {}
        for k, segment in enumerate(self.segments):
            segment.bind(rule, h)
            sorts.setdefault(segment.dtype, []).append(k)
        self.batches = [
            Batch(rule, [self.segments[k] for k in ks], ks, self._hyper, len(sorts) == 1)
            for ks in sorts.values()
        ]
        # Where the gradient of a single array goes: put there at once, a step takes 0.2 us less.
        is_one = isinstance(self.params, np.ndarray | Buffer) and not self.splits
        self.place = self.batches[0].row if is_one else None

    def scaled(self, lr: float, factor: Any) -> float:
        """Return the learning rate multiplied by a schedule's factor; check it."""
        lr = lr * _number(self.where, factor)
        if not 0.0 <= lr < math.inf:
            raise HyperparameterError(
                f"{self.where}: the schedule's factor {factor!r} makes lr {lr}; it must be finite "
                "and zero or more. Nothing was changed."
            )
        if lr > LARGEST:
            self._check_width(self.rule, (lr,))
        return lr

    def schedule(self, lr: float) -> None:
        """Take this learning rate for the next step."""
        self._hyper[:, 0] = lr


def _number(where: str, factor: Any) -> float:
    """Return what a schedule returned, if that is a number; its range is that of the product."""
    if isinstance(factor, np.ndarray) and factor.ndim == 0:
        factor = factor[()]
    if not isinstance(factor, numbers.Real):
        raise HyperparameterError(
            f"{where}: a schedule must return a number, the factor on lr; got {shortened(factor)} "
            f"of type {type(factor).__name__}. Nothing was changed."
        )
    try:
        return float(factor)
    except OverflowError:  # an integer that no float can hold
        return math.inf


def _split(buffer: Buffer, grads: Any, where: str) -> list[np.ndarray]:
    """Return the gradients of a buffer tensor by tensor: its own, or views of a flat array."""
    if grads is None:
        return Buffer._values(buffer._made[1])
    check_like(where, grads, buffer.dtype, buffer.flat.shape)
    views = Buffer._values(buffer._made[0])
    return [
        grads[start : start + view.size].reshape(view.shape)
        for start, view in zip(buffer.offsets, views)
    ]


def _segments(path: str, params: Any, extents: Extents, splits: bool) -> list[Segment]:
    if isinstance(params, Buffer):
        extents.add(path, params.flat)
        views = list(zip(params.names, Buffer._values(params._made[0]), params.offsets))
        if splits:
            return [_whole(f"{path}[{key!r}]", f"[{key!r}]", key, view) for key, view, _ in views]
        pieces = [
            Piece(key, view, view.shape, start, start + view.size) for key, view, start in views
        ]
        return [Segment(path, "", params.flat, pieces)]
    items = named(path, params)
    if not items:
        raise ArrayError(f"{path} is empty; pass at least one array")
    for item_path, a in items:
        check_array(item_path, a)
        extents.add(item_path, a)
    keys = params if isinstance(params, dict) else range(len(items))
    return [
        _whole(item_path, item_path.removeprefix(path), key, a)
        for key, (item_path, a) in zip(keys, items)
    ]


def _whole(path: str, suffix: str, key: Any, a: np.ndarray) -> Segment:
    """Return the segment of one tensor."""
    return Segment(path, suffix, a, [Piece(key, a, a.shape, 0, a.size)])


def are_groups(params: Any) -> bool:
    """Tell groups from arrays; refuse what is neither, and a list of both."""
    if isinstance(params, np.ndarray | Mapping | Buffer):
        return False
    if not isinstance(params, list | tuple):
        raise ArrayTypeError(
            "params must be a NumPy array, a list or dict of arrays, a Buffer from flatten, or a "
            f"list of param groups; got a {type(params).__name__} (the optimizers of torch's "
            "parameters are in fastopt.torch)"
        )
    if not params:
        raise ArrayError("the optimizer got an empty parameter list; pass at least one array")
    return isinstance(params[0], Mapping)
