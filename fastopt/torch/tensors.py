"""What a kernel may be given: kinds of tensors, and where their elements lie in memory."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from fastopt.arrays import aligned_zeros
from fastopt.errors import ArrayError, ArrayTypeError
from fastopt.many import BFLOAT16

__all__ = [
    "KINDS", "check_disjoint", "check_gradient", "check_tensor", "empty_slot", "linear",
    "slot_dtype", "spread",
]  # fmt: skip

KINDS = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.bfloat16: BFLOAT16,
}
"""For each dtype there is a kernel for, how NumPy sees the memory."""

_DTYPES = "float32, float64 and bfloat16"


def slot_dtype(p: torch.Tensor) -> torch.dtype:
    """Return the dtype of the state of ``p``: eight bits of mantissa cannot hold a running mean."""
    return torch.float32 if p.dtype == torch.bfloat16 else p.dtype


def spread(t: torch.Tensor) -> str:
    """Tell how the elements of a strided tensor lie in memory.

    Returns
    -------
    {"dense", "gappy", "overlapping"}
        Side by side in any order of dimensions; with holes; or (perhaps) on each other.

    Examples
    --------
    >>> t = torch.zeros(4, 6)
    >>> spread(t), spread(t.T), spread(t[:, ::2]), spread(t[:, :1].expand(4, 3))
    ('dense', 'dense', 'gappy', 'overlapping')
    """
    reach, kind = 1, "dense"
    for stride, size in sorted((s, n) for n, s in zip(t.shape, t.stride()) if n != 1):
        if stride < reach and t.numel():
            return "overlapping"
        kind = "gappy" if stride > reach and t.numel() else kind
        reach = stride * size
    return kind


# A slot of so many bytes gets memory of our own.
_LARGE = 1 << 20


def empty_slot(p: torch.Tensor, place: int) -> torch.Tensor:
    """Return memory for slot number ``place`` whose elements lie in the order ``p`` is stepped in.

    Notes
    -----
    torch starts every large tensor 64 bytes into a page, where the arrays of a step get in each
    other's way, and in small pages. Large slots therefore come from NumPy, each at an offset of
    its own, in huge pages where the system grants them: AdamW on 4 million float32 takes 2.9 ms
    instead of 3.2 on one core.
    """
    dtype, is_dense = slot_dtype(p), spread(p) == "dense"
    if p.numel() * dtype.itemsize >= _LARGE:
        flat = torch.from_numpy(aligned_zeros(p.numel(), KINDS[dtype], 2 + place))
        return flat.as_strided(p.shape, p.stride()) if is_dense else flat.view(p.shape)
    if is_dense:
        return torch.empty_like(p, dtype=dtype, requires_grad=False)
    return torch.empty(p.shape, dtype=dtype)


def is_wrapper(t: torch.Tensor) -> bool:
    """Tell a tensor that only wraps others (DTensor, FakeTensor) from one with memory."""
    return type(t).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__


def _check_memory(where: str, t: torch.Tensor) -> None:
    if is_wrapper(t):
        raise ArrayTypeError(
            f"{where} is a {type(t).__name__}, which has no memory of its own that a kernel could "
            "use; pass plain tensors, or use torch.optim."
        )
    if t.device.type != "cpu":
        raise ArrayTypeError(
            f"{where} is on device {t.device}; fastopt steps tensors on the CPU. Move the model "
            "with .to('cpu') first, or use torch.optim."
        )
    if t.layout is not torch.strided:
        raise ArrayTypeError(
            f"{where} has layout {t.layout}; only dense (strided) tensors are allowed. "
            "Pass sparse=False to nn.Embedding, or use torch.optim.SparseAdam."
        )


def check_tensor(where: str, p: torch.Tensor) -> None:
    """Refuse a parameter that no kernel can update in place.

    Parameters
    ----------
    where : str
        How the message calls it.
    p : Tensor
        A lazy parameter without memory passes; it is checked again at the first step.

    Raises
    ------
    ArrayTypeError
        It is on another device, sparse, a wrapper, or not float32, float64 or bfloat16.
    ArrayError
        Several of its elements share memory (it was expanded).

    Examples
    --------
    >>> check_tensor("params[0]", torch.zeros(3, dtype=torch.int64))
    Traceback (most recent call last):
        ...
    fastopt.errors.ArrayTypeError: params[0] has dtype torch.int64; kernels exist for float32,
    float64 and bfloat16. Convert it with .float().
    """
    if is_lazy(p):
        return
    _check_memory(where, p)
    if p.dtype not in KINDS:
        remedy = "use torch.optim" if p.is_complex() else "Convert it with .float()"
        raise ArrayTypeError(f"{where} has dtype {p.dtype}; kernels exist for {_DTYPES}. {remedy}.")
    if spread(p) == "overlapping":
        raise ArrayError(
            f"{where} has shape {tuple(p.shape)} with strides {p.stride()}: several of its "
            "elements share memory (it was expanded). Pass a copy (.clone())."
        )


def check_gradient(where: str, p: torch.Tensor, g: torch.Tensor) -> None:
    """Refuse a gradient that is not dense, or not of its parameter's dtype and shape.

    Raises
    ------
    ArrayTypeError, ArrayError
        Names what was found.
    """
    where = f"the gradient of {where}"
    _check_memory(where, g)
    if g.dtype != p.dtype:
        raise ArrayTypeError(
            f"{where} has dtype {g.dtype}, but the parameter has {p.dtype}; both must be the same. "
            "Compute it again, or convert it with .to(p.dtype)."
        )
    if g.shape != p.shape:
        raise ArrayError(
            f"{where} has shape {tuple(g.shape)}, but the parameter has {tuple(p.shape)}; both "
            "must be the same. Compute it again."
        )


def check_disjoint(names: list[str], tensors: list[torch.Tensor]) -> None:
    """Refuse dense parameters that share memory: two threads would write to it.

    Raises
    ------
    ArrayError
        Two of them overlap, or one is there twice.
    """
    kept = [k for k, t in enumerate(tensors) if not is_lazy(t) and t.numel()]
    kept = [k for k in kept if spread(tensors[k]) == "dense"]
    starts = np.array([tensors[k].data_ptr() for k in kept], np.int64)
    stops = starts + np.array([tensors[k].nbytes for k in kept], np.int64)
    order = np.argsort(starts, kind="stable")
    clashes = np.flatnonzero(stops[order][:-1] > starts[order][1:])
    if clashes.size:
        first, second = sorted(kept[order[clashes[0] + i]] for i in (0, 1))
        raise ArrayError(
            f"{names[second]} shares memory with {names[first]}, and both are written to. Pass "
            "shared memory once, as one tied parameter."
        )


def linear(p: torch.Tensor, g: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``p`` and ``g`` with their elements side by side, in the same order.

    Parameters
    ----------
    p, g : Tensor
        A parameter and its gradient, of the same shape.
    kind : str
        What :func:`spread` says of ``p``. One with holes comes back as a contiguous copy, which the
        caller copies back after the step.

    Examples
    --------
    >>> p, g = torch.zeros(2, 3).T, torch.ones(3, 2)
    >>> a, b = linear(p, g, spread(p))
    >>> a is p, b.stride() == p.stride()
    (True, True)
    """
    g = g.detach().resolve_neg()
    if kind == "gappy":
        return p.detach().contiguous(), g.contiguous()
    if p.is_contiguous():
        return p, g.contiguous()
    return p, g if g.stride() == p.stride() else torch.empty_like(p, requires_grad=False).copy_(g)
