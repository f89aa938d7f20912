"""Values of mixed sorts as names: what Optuna's categorical parameters hold, and no axis does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Category:
    """A value among others of other sorts, such as None, 3 and ``"auto"``, as a name.

    ``value``: what it stands for. ``text``: what it is called. No two of one axis share it,
    so that True and 1 stay apart.

    >>> str(Category(None, "None")), Category(True, "True") == Category(1, "1")
    ('None', False)
    """

    value: Any = field(compare=False)
    text: str

    def __str__(self) -> str:
        return self.text


def categories_of(values: Iterable[Any]) -> dict[tuple[type, str], Category]:
    """Name values by ``str``, or by ``repr`` those that would share a name.

    They are returned by the type and ``repr`` of a value: 1 and True are equal, and lists have no
    hash.

    >>> [str(category) for category in categories_of(["1", 1, None, True, 1]).values()]
    ["'1'", '1', 'None', 'True']
    """
    distinct = {(type(value), repr(value)): value for value in values}
    shared = Counter(map(str, distinct.values()))
    return {
        key: Category(value, str(value) if shared[str(value)] == 1 else repr(value))
        for key, value in distinct.items()
    }


def uncategorised(value: Any) -> Any:
    """Return what a category stands for; anything else as it is.

    >>> uncategorised(Category(None, "None")) is None, uncategorised(3)
    (True, 3)
    """
    return value.value if isinstance(value, Category) else value
