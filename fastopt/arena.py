"""Many arrays in one aligned flat buffer, so that one kernel call updates them all.

Calling a kernel costs about a microsecond and each tensor's last vector is half empty; for a model
of many small tensors that is most of the step. In an arena the tensors are views of one buffer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastopt.errors import ArrayError, ArrayTypeError
from fastopt.machine.arrays import LINE, aligned_zeros, check_kind, named

# What a copy makes anew; all other attributes it takes over, those of subclasses, too.
_MADE = ("dtype", "names", "shapes", "offsets", "flat", "flat_grad", "params", "grads", "_made")

Arrays = Mapping[str, np.ndarray] | Sequence[np.ndarray]


class Buffer:
    """Copies of arrays, with their gradients, in two flat buffers; made by :func:`flatten`.

    Attributes
    ----------
    params, grads : dict or list of ndarray
        Writable views of the original shapes, in the structure that was given.
    flat, flat_grad : ndarray, shape (n,)
        All parameters, and all gradients, 64-byte aligned. Each tensor starts on a 64-byte
        boundary too; the padding between tensors is zero.
    names : tuple of str or int
        The dict's keys, or positions in the list.
    offsets : tuple of int
        Where each tensor starts in ``flat``, in elements.
    dtype : numpy.dtype
        Of every element.

    Notes
    -----
    Optimizers update the padding too. With a zero gradient it stays zero, but for Adam with
    ``eps=0``, where it becomes NaN (0/0) like any element that never had a gradient. No view and
    no state dict contains padding.

    The views stay what they are: write into them (``buffer.grads["w"][...] = g``). An attribute
    cannot be replaced, and a step refuses a Buffer one of whose views was.

    Examples
    --------
    >>> buffer = Buffer({"w": np.ones((2, 3)), "b": np.zeros(2)})
    >>> buffer.params["w"].shape, buffer.offsets, buffer.flat.size
    ((2, 3), (0, 8), 16)
    """

    def __init__(self, arrays: Arrays) -> None:
        items = _check_arrays(arrays)
        self.dtype: np.dtype = items[0].dtype.newbyteorder("=")
        self.names: tuple = (
            tuple(arrays) if isinstance(arrays, Mapping) else tuple(range(len(items)))
        )
        self.shapes: tuple[tuple[int, ...], ...] = tuple(a.shape for a in items)
        self.offsets, n = _offsets([a.size for a in items], LINE // self.dtype.itemsize)
        self.flat = aligned_zeros(n, self.dtype, place=0)
        self.flat_grad = aligned_zeros(n, self.dtype, place=1)
        as_dict = isinstance(arrays, Mapping)
        self.params: Any = self._views(self.flat, as_dict)
        self.grads: Any = self._views(self.flat_grad, as_dict)
        for view, a in zip(self._values(self.params), items):
            view[...] = a
        self._made = self.params.copy(), self.grads.copy()

    def __setattr__(self, name: str, value: Any) -> None:
        # `buffer.flat_grad *= 0.5` assigns what is there already.
        if name in _MADE and getattr(self, name, value) is not value:
            raise ArrayError(
                f"the {name} of a Buffer cannot be replaced: optimizers use the memory it has. "
                f"Write into it: buffer.{name}[...] = ... , item by item if it is a dict or list."
            )
        super().__setattr__(name, value)

    def check_views(self) -> None:
        """Refuse views that were replaced by other arrays, which no step would see.

        Raises
        ------
        ArrayError
            One was, or one was added or taken away.

        Examples
        --------
        >>> buffer = Buffer({"w": np.zeros(2)})
        >>> buffer.grads["w"] += 1.0
        >>> buffer.check_views()
        >>> buffer.grads["w"] = np.ones(2)
        >>> buffer.check_views()
        Traceback (most recent call last):
            ...
        fastopt.errors.ArrayError: grads['w'] of the Buffer is not the view that ... as they are.
        """
        # At each step, since the views stand in plain dicts and lists: subclasses that keep their
        # items are leaves to the pytrees of JAX and torch.
        params, grads = self._made
        # Dicts and lists compare what is identical in C, without a call for each view; of another
        # array of one element they ask whether that is equal, and then a step does no harm.
        try:
            if self.params == params and self.grads == grads:
                return
        except ValueError:  # other arrays have no truth
            pass
        self._refuse_others("params", self.params, params)
        self._refuse_others("grads", self.grads, grads)

    def _refuse_others(self, title: str, views: Any, made: Any) -> None:
        found, own = (v if isinstance(v, dict) else dict(enumerate(v)) for v in (views, made))
        for key in found | own:
            if found.get(key) is not own.get(key):
                raise ArrayError(
                    f"{title}[{key!r}] of the Buffer is not the view that it was made with; a step "
                    f"reads and writes the Buffer's memory only. Write into the view "
                    f"(buffer.{title}[{key!r}][...] = a) and keep the {title} as they are."
                )

    def zero_grad(self) -> None:
        """Set every gradient to zero, in place."""
        self.flat_grad.fill(0.0)

    def __repr__(self) -> str:
        return f"Buffer({len(self.names)} tensors, {self.flat.size} elements, {self.dtype})"

    def __reduce__(self) -> tuple:
        # By default a copy would hold unrelated copies of the buffer and of each of its views.
        others = {name: a for name, a in vars(self).items() if name not in _MADE}
        return _restored, (*self._made, type(self)), others

    def _views(self, flat: np.ndarray, as_dict: bool) -> dict | list:
        views = [
            flat[start : start + int(np.prod(shape, dtype=np.intp))].reshape(shape)
            for start, shape in zip(self.offsets, self.shapes)
        ]
        return dict(zip(self.names, views)) if as_dict else views

    @staticmethod
    def _values(views: dict | list) -> list[np.ndarray]:
        return list(views.values()) if isinstance(views, dict) else views


def flatten(arrays: Arrays) -> Buffer:
    """Copy arrays into one 64-byte aligned buffer with views of their names and shapes.

    Parameters
    ----------
    arrays : dict or list of ndarray
        float32 or float64, all of one dtype; of any shape (0-d and empty too) and any strides.

    Returns
    -------
    Buffer
        To be trained in place of ``arrays``, which are left as they are.

    Raises
    ------
    ArrayTypeError
        An item is not an array of float32 or float64, or their dtypes differ.
    ArrayError
        There are no arrays.

    Examples
    --------
    >>> buffer = flatten({"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float32)})
    >>> buffer.params["b"][:] = 7.0
    >>> buffer.offsets, buffer.flat[16:20]
    ((0, 16), array([7., 7., 7., 0.], dtype=float32))
    """
    return Buffer(arrays)


def _check_arrays(arrays: Arrays) -> list[np.ndarray]:
    if not isinstance(arrays, Mapping | list | tuple):
        raise ArrayTypeError(
            f"flatten takes a dict or a list of NumPy arrays; got a {type(arrays).__name__}"
        )
    items = named("arrays", arrays)
    if not items:
        raise ArrayError("flatten got no arrays; pass at least one")
    first = items[0]
    for path, a in items:
        check_kind(path, a)
        if a.dtype.newbyteorder("=") != first[1].dtype.newbyteorder("="):
            raise ArrayTypeError(
                f"{path} has dtype {a.dtype}, but {first[0]} has {first[1].dtype}; one buffer has "
                "one dtype. Convert with .astype, or flatten each dtype by itself."
            )
    return [a for _, a in items]


def _offsets(sizes: list[int], step: int) -> tuple[tuple[int, ...], int]:
    """Return where tensors of these sizes start on multiples of ``step``, and the total."""
    offsets, n = [], 0
    for size in sizes:
        offsets.append(n)
        n += -(-size // step) * step
    return tuple(offsets), n


def _restored(params: Any, grads: Any, kind: type[Buffer] = Buffer) -> Buffer:
    buffer = kind.__new__(kind)
    Buffer.__init__(buffer, params)
    for view, g in zip(Buffer._values(buffer.grads), Buffer._values(grads)):
        view[...] = g
    return buffer
