"""Lists that an optimizer was made of: what is in their items may change, the items stay."""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_
from typing import Any, NoReturn

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
