"""Checks of the values in a spec, each by the table that knows its name."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from fastopt.errors import FastoptError, SpecError, did_you_mean, shortened
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES
from sweeps.common.names import check_choice
from sweeps.engine.columns import ALIASES, REALS, WHOLE, reals, whole
from sweeps.engine.data_order import SHUFFLES
from sweeps.engine.options import COMMON, LOG, SEED_MODES
from sweeps.problems.losses import LOSSES
from sweeps.problems.networks import DATA_AXES, model_axes
from sweeps.pruning import as_pruner


@functools.cache
def _ranges() -> dict[str, Any]:
    """Hyperparameters of all optimizers and schedules by name, with the ranges they allow."""
    found: dict[str, Any] = {}
    for params in (*(s.params for s in SCHEDULES.values()), *(r.hyper for r in RULES.values())):
        found.update(params)
    return {**{alias: found[name] for alias, name in ALIASES.items()}, **found}


def axis_names() -> list[str]:
    """Return what an axis or a keyword that stands for one may be called, whatever the problem.

    >>> {"lr", "batch_size", "fold", "activation", "label_smoothing"} <= {*axis_names()}
    True
    """
    of_models = [
        *model_axes("squared_error", ()),
        *(c for loss in LOSSES.values() for c in loss.constants),
    ]
    return list(dict.fromkeys((*COMMON, *_ranges(), *DATA_AXES, *of_models)))


_CHOICES: dict[str, Sequence[str]] = {
    "optimizer": tuple(RULES),
    "schedule": tuple(SCHEDULES),
    "shuffle": tuple(SHUFFLES),
    "seed_mode": SEED_MODES,
    "mode": ("min", "max"),
}

_WORDS = {"eval_every": LOG}  # a name that may stand for the number


def check_value(at: str, name: str, value: Any) -> None:
    """Raise unless a value is one that its name may have, by the table that knows the name.

    >>> check_value("$.space.lr", "lr", -1)
    Traceback (most recent call last):
    fastopt.errors.SpecError: $.space.lr must be finite and in [0.0, inf); got -1
    """
    if name in _CHOICES:
        check_choice(at, value, _CHOICES[name])
    elif name in WHOLE and value != _WORDS.get(name, ""):
        word = f', or "{_WORDS[name]}"' if name in _WORDS else ""
        whole(name, np.array([value], object), at, other=word)
    elif name in REALS:
        reals(name, np.array([value], object), at)
    elif name == "pruner":
        try:
            as_pruner(value)
        except FastoptError as error:
            raise SpecError(f"{at}: {error}") from None
    elif name in _ranges():
        try:
            _ranges()[name].pack(at, value)
        except FastoptError as error:
            raise SpecError(str(error)) from None


def refuse_unknown(at: str, given: Any, allowed: Sequence[str], what: str) -> None:
    """Raise if one of the names that are given is none of these."""
    for name in given:
        if name not in allowed:
            said = shortened(name)
            raise SpecError(
                f"{at}.{said[1:-1]}: there is no {what} {said}{did_you_mean(name, allowed)}; "
                f"allowed are {', '.join(allowed)}"
            )


def typed(at: str, value: Any, hint: Any) -> Any:
    """Return ``value`` as the type hint says; strict, but an int may stand for a float."""
    try:
        return msgspec.convert(value, hint)
    except TypeError:  # a hint that msgspec cannot read, such as str | Schedule
        return value
    except msgspec.ValidationError as error:
        # msgspec: "Expected `int | null`, got `str` - at `$[1]`"; TOML has no null.
        what, _, inner = str(error).replace(" | null", "").partition(" - at ")
        place = re.sub(r"^`\$|`$", "", inner)
        wanted = what[0].lower() + what[1:]
        raise SpecError(f"{at}{place}: {wanted}; the value is {shortened(value)}") from None


def table_at(at: str, given: Any) -> dict[str, Any]:
    """Return a table, or say that something else stands in its place."""
    if not isinstance(given, dict):
        raise SpecError(f"{at} must be a table of names and values; got {shortened(given)}")
    return dict(given)
