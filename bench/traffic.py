"""How many bytes an element a step moves: ours from the rule table, torch's by counting its passes.

``python -m bench.traffic`` prints the table of ``docs/performance.md``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fastopt.torch
from fastopt.rules import Rule

# Any size that no number of a step has: what is as long as the parameter is a pass over memory.
N = 1009
WIDTH = 4

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "SGD": ("SGD", {}),
    "SGD, momentum": ("SGD", {"momentum": 0.9}),
    "Adam": ("Adam", {}),
    "Adam, amsgrad": ("Adam", {"amsgrad": True}),
    "AdamW": ("AdamW", {}),
    "NAdam": ("NAdam", {}),
    "RAdam": ("RAdam", {}),
    "Adamax": ("Adamax", {}),
    "Adagrad": ("Adagrad", {}),
    "RMSprop": ("RMSprop", {}),
    "RMSprop, momentum": ("RMSprop", {"momentum": 0.9}),
    "RMSprop, centered": ("RMSprop", {"centered": True}),
    "Adadelta": ("Adadelta", {}),
    "ASGD": ("ASGD", {}),
    "Rprop": ("Rprop", {}),
}
"""Row of the table -> class of torch and of ours, and its options."""

KINDS: dict[str, dict[str, bool]] = {
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "default": {"foreach": False},
}
"""Column of the table -> options that choose torch's implementation."""


def ours(rule: Rule) -> int:
    """Return the bytes an element of a step of ``rule`` on float32.

    The gradient is read, the parameter and every slot are read and written; a rule that measures
    each tensor first reads everything once more.
    """
    arrays = 1 + len(rule.slots)
    reads_before = 0 if rule.measure is None else 1 + arrays
    return WIDTH * (1 + 2 * arrays + reads_before)


class Counter(TorchDispatchMode):
    """Adds up what torch's operations read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def _add(self, values: Any) -> None:
        tensors = [t for t in tree_leaves(values) if isinstance(t, torch.Tensor)]
        self.bytes += sum(t.numel() * t.element_size() for t in tensors if t.numel() == N)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        schema = func._schema
        if func.is_view or func.namespace != "aten":
            return result
        given = [*zip(schema.arguments, args)]
        given += [(a, (kwargs or {})[a.name]) for a in schema.arguments if a.name in (kwargs or {})]
        is_copy = schema.name in ("aten::copy_", "aten::fill_", "aten::zero_")
        for argument, value in given:
            # The fused kernels may write to the gradients, but do so only to unscale them.
            is_written = argument.alias_info is not None and argument.alias_info.is_write
            is_written = is_written and argument.name != "grads"
            if not (is_copy and is_written):
                self._add(value)
            if is_written:
                self._add(value)
        if not any(a.alias_info is not None for a in schema.returns) and "empty" not in schema.name:
            self._add(result)  # new memory
        return result


def torchs(name: str, options: dict[str, Any], **kind: bool) -> int | None:
    """Return the bytes an element of a step of a class of torch, or None if it has no such kind."""
    p = torch.nn.Parameter(torch.ones(N))
    try:
        optimizer = getattr(torch.optim, name)([p], lr=0.1, **options, **kind)
    except (TypeError, RuntimeError):
        return None
    for _ in range(8):  # RAdam takes its full step from the sixth on
        p.grad = torch.linspace(-1.0, 1.0, N)
        with Counter() as counter:
            optimizer.step()
    return counter.bytes // N


def rule_of(name: str, options: dict[str, Any]) -> Rule:
    """Return the rule that our class of that name uses with these options."""
    optimizer = getattr(fastopt.torch, name)([torch.ones(1)], **options)
    return optimizer._traits(optimizer.defaults).row(0, optimizer.param_groups[0]).rule


def against_torch() -> str:
    """Return our bytes an element and those of torch's implementations, as a table."""
    lines = [
        "| | fastopt | torch fused | foreach | default | foreach / ours | default / ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, (name, options) in CASES.items():
        own = ours(rule_of(name, options))
        theirs = {kind: torchs(name, options, **chosen) for kind, chosen in KINDS.items()}
        ratios = [theirs[kind] / own for kind in ("foreach", "default")]
        cells = [row, own, *("-" if n is None else n for n in theirs.values())]
        cells += [f"{ratio:.1f}" for ratio in ratios]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(against_torch())
