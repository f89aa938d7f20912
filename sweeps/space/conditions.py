"""Conditional axes: a product in which some axes exist only for some trials, as a union."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastopt.errors import SpecError, did_you_mean, shortened
from sweeps.space.axes import Tied, as_axis


@dataclass(frozen=True)
class When:
    """An axis and the values of other axes for which it exists; made by :func:`when`."""

    axis: Sequence
    conditions: Mapping[str, Sequence]


def when(axis: Any, **conditions: Any) -> When:
    """Give an axis to some trials only; the others are not repeated for each of its values.

    Parameters
    ----------
    axis : list, tuple, range, 1-D array, linspace, draws or scalar
        The values.
    **conditions : list or scalar
        Name of another axis of the same product, which must be a list -> its values for which this
        axis exists. All conditions must hold, and the other axis must exist itself.

    Returns
    -------
    When
        An axis of :class:`sweeps.Space`.

    Raises
    ------
    SpecError
        There is no condition, or the values are not those of an axis. What the conditions name is
        checked by :class:`sweeps.Space`.

    Examples
    --------
    >>> from sweeps import Space
    >>> space = Space({
    ...     "optimizer": ["sgd", "momentum"],
    ...     "momentum": when([0.8, 0.9], optimizer="momentum"),
    ...     "lr": [0.1],
    ... })
    >>> for trial in space:
    ...     print(trial)
    {'optimizer': 'sgd', 'lr': 0.1}
    {'optimizer': 'momentum', 'momentum': 0.8, 'lr': 0.1}
    {'optimizer': 'momentum', 'momentum': 0.9, 'lr': 0.1}
    """
    if not conditions:
        raise SpecError("when(axis, name=values): name the axis and its values that decide")
    checked = as_axis("when(axis)", axis)
    if isinstance(checked, Tied):
        raise SpecError(
            "when(axis) takes an axis of its own, not a column of zipped(...) or of a design; "
            "use a list of spaces, one with the design and one without it"
        )
    return When(checked, {name: as_axis(f"when(..., {name})", v) for name, v in conditions.items()})


def expand_conditions(part: Mapping[str, Any]) -> list[dict[str, Sequence]]:
    """Turn a product with conditional axes into products without any.

    One for every way the conditions turn out, in the order of the values that decide. Raises
    SpecError if a condition names no axis or value of this product, or conditions go round in a
    circle.

    >>> expand_conditions({"a": (1, 2, 3), "b": when([7, 8], a=[2])})
    [{'a': (1, 3)}, {'a': (2,), 'b': (7, 8)}]
    """
    for name, axis in part.items():
        if isinstance(axis, When):
            for decider, wanted in axis.conditions.items():
                _check(name, decider, wanted, part)
    return _expand(dict(part))


def _check(name: str, decider: str, wanted: Sequence, part: Mapping[str, Any]) -> None:
    if decider not in part:
        raise SpecError(
            f"axis {shortened(name)} exists when {shortened(decider)} has some value, but "
            "there is no such axis "
            f"beside it{did_you_mean(decider, part)}"
        )
    axis = part[decider]
    listed = axis.axis if isinstance(axis, When) else axis
    if not isinstance(listed, tuple | range):
        raise SpecError(
            f"axis {shortened(name)} exists when {shortened(decider)} has some value, so "
            f"{shortened(decider)} must be a list "
            f"or range; got {shortened(listed)}"
        )
    for value in wanted:
        if value not in listed:
            raise SpecError(
                f"axis {shortened(name)} exists when {decider} = {shortened(value)}, but "
                f"{shortened(decider)} never is"
                f"{did_you_mean(value, map(str, listed))}"
            )


def _expand(part: dict[str, Any]) -> list[dict[str, Sequence]]:
    conditional = {name: axis for name, axis in part.items() if isinstance(axis, When)}
    if not conditional:
        return [part]
    deciders = [
        decider
        for axis in conditional.values()
        for decider in axis.conditions
        if decider not in conditional
    ]
    if not deciders:
        raise SpecError(
            f"axes {', '.join(map(repr, conditional))} exist when each other do; make one of them "
            "unconditional"
        )
    decider = deciders[0]
    wanted = [a.conditions[decider] for a in conditional.values() if decider in a.conditions]
    outcomes: dict[tuple[bool, ...], list[Any]] = {}
    for value in part[decider]:
        outcomes.setdefault(tuple(value in values for values in wanted), []).append(value)
    decided = (_decide(part, decider, tuple(values)) for values in outcomes.values())
    return [product for each in decided for product in _expand(each)]


def _decide(part: Mapping[str, Any], decider: str, kept: tuple[Any, ...]) -> dict[str, Any]:
    """Keep some values of the deciding axis, all of which have the same consequences."""
    decided: dict[str, Any] = {}
    gone: set[str] = set()
    for name, axis in part.items():
        if not isinstance(axis, When) or decider not in axis.conditions:
            decided[name] = axis
        elif kept[0] in axis.conditions[decider]:
            rest = {other: v for other, v in axis.conditions.items() if other != decider}
            decided[name] = When(axis.axis, rest) if rest else axis.axis
        else:
            gone.add(name)
    decided[decider] = kept
    while gone:  # and with an axis go those that it decides
        gone = {n for n, a in decided.items() if isinstance(a, When) and gone & {*a.conditions}}
        decided = {name: axis for name, axis in decided.items() if name not in gone}
    return decided
