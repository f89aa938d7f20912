"""DTensor parameters (FSDP2, tensor parallelism): each process steps its own shard of them.

An element-wise rule needs nothing of the other shards. State is kept as DTensors placed as the
parameter is, like torch's, so that ``torch.distributed.checkpoint`` can gather and reshard it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch

from fastopt.errors import ArrayError, ArrayTypeError, StateError
from fastopt.rules import Rule
from fastopt.torch.batch import Batch, Stale
from fastopt.torch.tensors import check_gradient


def is_sharded(t: Any) -> bool:
    """Tell a DTensor, of which there is none before its module is imported."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(t, module.DTensor)


def local_of(t: Any) -> Any:
    """Return this process's part of a DTensor, and anything else as it is."""
    return t._local_tensor if is_sharded(t) else t


def place_like(p: Any, local: torch.Tensor) -> torch.Tensor:
    """Return a DTensor of the shape and placements of ``p``, if it is one, with this local part."""
    if not is_sharded(p):
        return local
    whole: torch.Tensor = type(p).from_local(
        local, p.device_mesh, p.placements, run_check=False, shape=p.shape, stride=p.stride()
    )
    return whole


def check_shard(where: str, p: Any, rule: Rule) -> None:
    """Refuse a shard of a DTensor to a rule that needs to see the whole tensor."""
    if not is_sharded(p):
        return
    if any(placement.is_partial() for placement in p.placements):
        raise ArrayTypeError(f"{where} is a DTensor with placements {p.placements}; reduce it")
    if rule.measure is not None and local_of(p).shape != p.shape:
        raise ArrayTypeError(
            f"{where} is one shard of a DTensor, but {rule.name} sums over whole tensors. Use "
            "a rule that goes element by element, or replicate the parameter."
        )


def check_slot(where: str, p: Any, key: str, slot: Any) -> None:
    """Refuse a slot that is not placed as its parameter is."""
    fits = is_sharded(slot) and (slot.placements, slot.shape) == (p.placements, p.shape)
    if is_sharded(p) and not fits:
        raise StateError(
            f"{where}: {key!r} must be a DTensor placed as the parameter is, {p.placements}. "
            "torch.distributed.checkpoint.state_dict.set_optimizer_state_dict loads it so."
        )


class ShardBatch(Batch):
    """Like :class:`Batch`, of DTensors: their local parts are what it steps."""

    def __init__(self, rule: Any, params: list[Any], *others: Any) -> None:
        self.owners = params
        self._mirror: dict[Any, Any] = {}
        super().__init__(rule, list(map(local_of, params)), *others)
        *_, self._shared, _ = others
        self._clocks = {local: self._shared[p] for local, p in self._pairs() if p in self._shared}

    def _pairs(self) -> Iterator[tuple[torch.Tensor, Any]]:
        return zip(self.params, self.owners)

    def _look(self, state: dict) -> None:
        """Have local gradients and state where the base class looks for them."""
        self._mirror = {}
        for name, (local, p) in zip(self.names, self._pairs()):
            if p._local_tensor is not local:
                raise Stale
            g = p.grad
            if g is not None and (not is_sharded(g) or g.placements != p.placements):
                placements = getattr(g, "placements", "none: it is a plain tensor")
                raise ArrayError(
                    f"the gradient of {name} has placements {placements}, but the parameter has "
                    f"{p.placements}; redistribute it to those of the parameter."
                )
            if g is not None:
                check_gradient(name, local, g._local_tensor)
            local.grad = local_of(g)
            entry = state.get(p)
            if isinstance(entry, dict):
                self._mirror[local] = {key: self._local(name, p, entry, key) for key in entry}

    def _local(self, name: str, p: Any, entry: dict[str, Any], key: str) -> Any:
        value = entry[key]
        if key in self.rule.slots and value is not None:
            check_slot(f"the state of {name}", p, key, value)
        return local_of(value)

    def gather(self, state: dict) -> bool:
        """See :meth:`Batch.gather`."""
        self._look(state)
        return super().gather(self._mirror)

    def check(self, state: dict) -> Iterator[tuple[str, torch.Tensor, torch.Tensor | None]]:
        """See :meth:`Batch.check`."""
        self._look(state)
        yield from super().check(self._mirror)

    def settle(self, state: dict) -> None:
        """See :meth:`Batch.settle`; what it makes goes to the state as DTensors."""
        super().settle(self._mirror)
        for local, p in self._pairs():
            if local in self._clocks:
                self._shared[p] = self._clocks[local]
            entry, made = state.get(p), self._mirror.get(local)
            if made is None:
                continue
            before = entry if isinstance(entry, dict) else {}
            after = {
                key: before[key]
                if key in before and local_of(before[key]) is value
                else place_like(p, value)
                if key in self.rule.slots
                else value
                for key, value in made.items()
            }
            if isinstance(entry, dict):
                entry.clear()
                entry.update(after)
            else:
                state[p] = after

    def finish(self) -> None:
        """See :meth:`Batch.finish`."""
        super().finish()
        torch.autograd.graph.increment_version([p for p in self.owners if p.grad is not None])
        for local in self.params:
            local.grad = None
