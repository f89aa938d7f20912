"""Attributes that are computed when they are first asked for, and kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any


class _CachedProperty:
    """That of functools without its lock, which Python 3.12 has given up, too.

    In 3.11 all objects of a class share one lock: threads wait for one another, and a child that is
    forked while a thread computes an attribute waits for ever. Here two threads may both compute
    it.

    >>> class Circle:
    ...     @cached_property
    ...     def area(self):
    ...         return [3.14]
    >>> circle = Circle()
    >>> circle.area is circle.area, Circle.area
    (True, <cached_property area>)
    """

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self._compute, self.__doc__ = compute, compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<cached_property {self._name}>"

    def __get__(self, thing: Any, owner: type) -> Any:
        if thing is None:
            return self
        value = vars(thing)[self._name] = self._compute(thing)
        return value


if TYPE_CHECKING:
    cached_property = functools.cached_property
else:
    cached_property = _CachedProperty
