"""What a kernel may be given: kinds of tensors, and in which order their elements lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from fastopt.errors import ArrayError, ArrayTypeError, StateError, shortened
from fastopt.machine.arrays import aligned_zeros
from fastopt.machine.many import BFLOAT16

KINDS = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
    torch.bfloat16: BFLOAT16,
}
"""For each dtype there is a kernel for, how NumPy sees the memory."""

_DTYPES = "float32, float64 and bfloat16"

_PLAIN = (torch.Tensor, torch.nn.Parameter)


def slot_dtype(p: torch.Tensor) -> torch.dtype:
    """Return the dtype of the state of ``p``: eight bits of mantissa cannot hold a running mean."""
    return torch.float32 if p.dtype == torch.bfloat16 else p.dtype


def scalar_dtype() -> torch.dtype:
    """Return the dtype of numbers that torch keeps beside ``step``."""
    is_wide = torch.get_default_dtype() == torch.float64
    return torch.float64 if is_wide else torch.float32


def spread(t: torch.Tensor) -> str:
    """Tell how the elements of a strided tensor lie in memory.

    Returns "dense" if they lie side by side in any order of dimensions, "gappy" if with holes,
    "overlapping" if (perhaps) on each other.

    >>> t = torch.zeros(4, 6)
    >>> spread(t), spread(t.T), spread(t[:, ::2]), spread(t[:, :1].expand(4, 3))
    ('dense', 'dense', 'gappy', 'overlapping')
    """
    reach, kind = 1, "dense"
    if t.is_contiguous():
        return kind
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
        slot = torch.empty_like(p, dtype=dtype, requires_grad=False)
        return slot if type(slot) is torch.Tensor else slot.as_subclass(torch.Tensor)
    return torch.empty(p.shape, dtype=dtype)


def is_wrapper(t: torch.Tensor) -> bool:
    """Tell a tensor that only wraps others (DTensor, FakeTensor) from one with memory."""
    return type(t).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__


def _check_memory(where: str, t: torch.Tensor) -> None:
    if is_wrapper(t) or t.is_nested:
        kind = "nested tensor" if t.is_nested else type(t).__name__
        raise ArrayTypeError(
            f"{where} is a {kind}, which has no memory of its own that a kernel could use; pass "
            "plain tensors, or use torch.optim."
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


def check_whole(where: str, t: Any) -> None:
    """Refuse a dense tensor that reaches beyond its storage, which was resized (as FSDP frees one).

    torch reads and writes on, into memory of others.

    >>> t = torch.zeros(3)
    >>> _ = t.untyped_storage().resize_(8)
    >>> check_whole("it", t)
    Traceback (most recent call last):
        ...
    fastopt.errors.ArrayError: it needs 12 bytes of memory, but its storage has 8: ...
    """
    is_plain = type(t) in _PLAIN and t.layout is torch.strided
    if is_plain and t.is_contiguous():  # as most are: the least that has to be asked, 0.6 us
        reach = t.numel()
    elif isinstance(t, torch.Tensor) and t.layout is torch.strided and not is_wrapper(t):
        reach = t.numel() and 1 + sum((n - 1) * stride for n, stride in zip(t.shape, t.stride()))
    else:
        return
    needed, found = (t.storage_offset() + reach) * t.element_size(), t.untyped_storage().nbytes()
    if needed > found and reach and not t._is_zerotensor():
        raise ArrayError(
            f"{where} needs {needed} bytes of memory, but its storage has {found}: it was resized. "
            "Give the memory back (untyped_storage().resize_) before the step."
        )


def check_tensor(where: str, p: torch.Tensor) -> None:
    """Refuse a parameter that no kernel can update in place.

    A lazy parameter without memory passes; it is checked again at the first step. Refused is what
    is on another device, sparse, a wrapper, of another dtype, or has elements that share memory, or
    none.

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
        remedy = "Use torch.optim" if p.is_complex() else "Convert it with .float()"
        raise ArrayTypeError(f"{where} has dtype {p.dtype}; kernels exist for {_DTYPES}. {remedy}.")
    if p._is_zerotensor():
        raise ArrayError(f"{where} is a zero tensor without memory. Pass a copy (.clone()).")
    if spread(p) == "overlapping":
        raise ArrayError(
            f"{where} has shape {tuple(p.shape)} with strides {p.stride()}: several of its "
            "elements share memory (it was expanded). Pass a copy (.clone())."
        )


def check_state(where: str, a: Any, shape: torch.Size) -> None:
    """Refuse what is no slot of a parameter of this shape, or not all of one can be copied.

    Raises
    ------
    StateError
        It is no tensor, or has a mask, zeros that are not stored, or no numbers.

    Examples
    --------
    >>> check_state("it", [0.0], torch.Size([1]))
    Traceback (most recent call last):
        ...
    fastopt.errors.StateError: it must be a dense tensor of real numbers, ... got [0.0], a list.
    """
    is_tensor = isinstance(a, torch.Tensor) and not (is_wrapper(a) or a.is_nested)
    is_odd = not is_tensor or a.is_complex() or a.is_quantized or a.device.type == "meta"
    if is_odd or a.layout is not torch.strided:
        raise StateError(
            f"{where} must be a dense tensor of real numbers, as torch.as_tensor makes; got "
            f"{shortened(a)}, a {type(a).__name__}."
        )
    if a.shape != shape:
        raise StateError(
            f"{where} has shape {tuple(a.shape)}, but the parameter has {tuple(shape)}. After "
            "changing the shape of a parameter, delete its entry in the optimizer's state, or make "
            "a new optimizer."
        )


def check_gradient(where: str, p: torch.Tensor, g: torch.Tensor) -> None:
    """Refuse a gradient that is not dense, or not of its parameter's dtype and shape."""
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
    check_whole(where, g)


def is_copied(p: torch.Tensor) -> bool:
    """Tell whether ``p`` is stepped in a contiguous copy: it has holes, or is lazily negated."""
    return p.is_neg() or spread(p) == "gappy"


def layout_of(p: torch.Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape and strides, in elements, of the memory that ``p`` is stepped in."""
    strides = torch.empty(p.shape, device="meta").stride() if is_copied(p) else p.stride()
    return tuple(p.shape), strides


def linear(p: torch.Tensor, g: torch.Tensor, copied: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``p`` and ``g`` with their elements side by side, in the same order.

    ``copied``: what :func:`is_copied` says of ``p``; the caller copies the copy back.

    >>> p, g = torch.zeros(2, 3).T, torch.ones(3, 2)
    >>> a, b = linear(p, g, copied=False)
    >>> a is p, b.stride() == p.stride()
    (True, True)
    """
    g = plain(g)
    if copied:
        return plain(p).contiguous(), g.contiguous()
    memory = p if type(p) in _PLAIN else plain(p)
    if p.is_contiguous():
        return memory, g.contiguous()
    if g.stride() == p.stride():
        return memory, g
    return memory, torch.empty_like(memory, requires_grad=False).copy_(g)


def plain(t: torch.Tensor) -> torch.Tensor:
    """Return a tensor whose numbers are those in its memory: as it is, a view of it, or a copy.

    >>> t = torch._neg_view(torch.ones(2))
    >>> plain(t), plain(t).is_neg()
    (tensor([-1., -1.]), False)
    """
    if type(t) is not torch.Tensor:
        t = t.detach().as_subclass(torch.Tensor)
    if t.is_neg() or t._is_zerotensor():
        return torch.empty_like(t, requires_grad=False).copy_(t)
    return t
