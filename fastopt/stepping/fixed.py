"""What an optimizer was made of and users hold: lists that stay, options that may change."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any, NoReturn

import numpy as np

from fastopt.errors import ArrayError


def are_same(items: Any, others: Any) -> bool:
    """Tell whether two sequences hold the same objects.

    >>> a, b = [1.0], [1.0]
    >>> are_same([a, b], (a, b)), are_same([a, b], [a, a])
    (True, False)
    """
    return len(items) == len(others) and all(map(is_, items, others))


class Fixed(list):
    """A list whose items stay; copied and pickled it is a plain one.

    ``name``: how the user reaches it, for error messages.

    >>> rows = Fixed("param_groups", [{"lr": 1.0}])
    >>> rows[0] |= {"lr": 2.0}
    >>> rows[0] = {"lr": 3.0}
    Traceback (most recent call last):
        ...
    fastopt.errors.ArrayError: param_groups cannot be put together anew: ... Nothing was changed.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self._name = name

    def refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse to be changed."""
        raise ArrayError(
            f"{self._name} cannot be put together anew: the optimizer steps the groups and arrays "
            "that it was given. Change options in the dict of a group (param_groups[0]['lr'] = "
            "...), write into arrays (p[...] = ...), add groups by add_param_group, or make a new "
            "optimizer. Nothing was changed."
        )

    append = extend = insert = pop = remove = clear = sort = reverse = refuse
    __delitem__ = __iadd__ = __imul__ = refuse

    def __setitem__(self, key: Any, value: Any) -> None:
        is_part = isinstance(key, slice)
        items, before = (list(value), self[key]) if is_part else ([value], [self[key]])
        if not are_same(items, before):  # `rows[0] |= {...}` assigns what is there already
            self.refuse()

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return list, (list(self),)


SIMPLE = frozenset({float, int, bool, str, type(None)})
"""Types of options that are compared as they are: equal numbers of these are the same."""


def exact(value: Any) -> Any:
    """Return an option as what equals nothing but the same number, of the same type of NumPy's.

    NumPy and torch compare in the narrower of two types, in which 0.1 of float32 is Python's 0.1.

    >>> np.float32(0.1) == 0.1, exact(np.float32(0.1)) == exact(0.1)
    (np.True_, False)
    >>> exact((1.0, [np.array(2.0)])) == exact((1.0, [np.array(2.0)]))
    True
    """
    kind = type(value)
    if kind in SIMPLE:
        return value
    if isinstance(value, tuple | list):
        return kind, *map(exact, value)
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return np.ndarray, value[()]
    return kind, value


def is_immutable(value: Any) -> bool:
    """Tell whether the same object has the same value always (a 0-d array may change in place)."""
    if isinstance(value, tuple):
        return all(type(item) in SIMPLE or is_immutable(item) for item in value)
    return value is None or isinstance(value, float | int | str | np.generic)


class Seen:
    """Options as they were at a step, to tell whether they still are.

    Only those that are other objects, or may change in place, are compared by value.

    >>> seen = Seen((0.1, [0.9]))
    >>> seen.agree((0.1, [0.9])), seen.agree((np.float32(0.1), [0.9]))
    (True, False)
    """

    def __init__(self, found: tuple[Any, ...], value_of: Callable[[Any], Any] = exact) -> None:
        self._found, self._value_of = found, value_of
        self._values = [value_of(option) for option in found]
        self.are_immutable = is_immutable(found)

    def agree(self, found: tuple[Any, ...]) -> bool:
        """Tell whether these options are the same; ValueError or RuntimeError if one has no truth.

        The next comparison is with these objects.
        """
        fixed = self.are_immutable
        if fixed and all(map(is_, found, self._found)):
            return True
        is_same = all(
            (fixed and option is before) or self._value_of(option) == value
            for option, before, value in zip(found, self._found, self._values)
        )
        if is_same:  # then of the same types: what could not change cannot now
            self._found = found
        return is_same


def _counted(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    @functools.wraps(method)
    def change(self: Options, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        finally:  # not before: a step of another thread would take the old values for the new
            self.version += 1

    return change


class Options(dict):
    """A dict that counts how often it was written to; copied and pickled it is a plain one.

    Asking for the count takes a step 0.1 us less than comparing all values.

    >>> options = Options(lr=1.0)
    >>> options |= {"lr": 0.5}
    >>> options["lr"] = 0.25
    >>> options, options.version
    ({'lr': 0.25}, 2)
    """

    __slots__ = ("version",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.version = 0

    __setitem__, __delitem__, __ior__ = map(_counted, ("__setitem__", "__delitem__", "__ior__"))
    clear, pop, popitem = map(_counted, ("clear", "pop", "popitem"))
    setdefault, update = map(_counted, ("setdefault", "update"))

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return dict, (dict(self),)
