"""The identity of a stored sweep, as plain JSON: two sweeps are the same when theirs are.

Arrays are described by a digest of their content and functions by one of their code, so that two
sweeps are the same if and only if their trials come to the same results. Provenance (versions, CPU,
revision) is stored beside the identity and is not compared.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

import numpy as np

from fastopt.compile import fingerprint_and_warn
from fastopt.errors import StoredSpecError, SweepWarning, shortened
from fastopt.schedules import Schedule
from sweeps.common.limits import MAX_LENGTH
from sweeps.engine.plan import Plan
from sweeps.space.axes import Tied, geomspace, linspace
from sweeps.space.designs import LATIN_MAX, SOBOL_BITS, Latin, Sobol
from sweeps.space.distributions import (
    Distribution,
    Draws,
    Independent,
    as_integer,
    choice,
    loguniform,
    uniform,
)
from sweeps.space.space import Space
from sweeps.store.documents import FORMAT

MOST_LISTED = 2**20
"""Trials of a sample that are written down one by one; of more, only a digest."""


def identity(plan: Plan, chunk: int) -> dict[str, Any]:
    """Describe a checked sweep that is cut into chunks of ``chunk`` trials."""
    options = {
        field.name: describe(getattr(plan.options, field.name))
        for field in dataclasses.fields(plan.options)
        if field.name != "defaults"
    }
    return {
        "format": 1,
        "problem": describe(plan.problem),
        "options": options,
        "keywords": describe(plan.options.defaults),
        "space": _space(plan.space),
        "results": list(plan.results),
        "curve": list(plan.curve),
        "trials": plan.size,
        "chunk": chunk,
    }


def pruned_identity(
    plan: Plan, chunk: int, pruner: Mapping[str, Any], max_resources: int
) -> dict[str, Any]:
    """Describe a pruned sweep: ``pruner`` describes that, and its longest trial is so long."""
    return {
        **identity(plan, chunk),
        "format": FORMAT,
        "pruner": describe(pruner),
        "max_resources": max_resources,
        **({"compared": "means over folds"} if "fold" in plan.space.names else {}),
    }


def reduced_identity(plan: Plan, chunk: int, reducer: Any) -> dict[str, Any]:
    """Describe a sweep of whose chunks a store keeps no more than a reducer does."""
    ours = type(reducer).__module__.startswith("sweeps.")
    said = describe(reducer) if ours else told_with_code(reducer, object)
    return {**identity(plan, chunk), "format": FORMAT, "reduce": said}


def told_with_code(thing: Any, base: type) -> dict[str, Any]:
    """Describe an object of the user's own: its fields, and the functions of its classes."""
    kind = type(thing)
    own = [parent for parent in reversed(kind.__mro__) if parent not in base.__mro__]
    code = {
        name: value
        for parent in own
        for name, value in vars(parent).items()
        if isinstance(value, FunctionType)
    }
    fields = {name: describe(value) for name, value in getattr(thing, "__dict__", {}).items()}
    return {"kind": kind.__qualname__, "fields": fields, "code": describe(code)}


def describe(value: Any) -> Any:
    """Return a JSON document that says what a value is, the same in every process.

    >>> describe({"X": np.zeros(3), "lr": 0.1, "limit": math.inf})
    {'X': 'float64[3] ...', 'lr': 0.1, 'limit': 'inf'}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, np.ndarray):
        content = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=8)
        return f"{value.dtype}{list(value.shape)} {content.hexdigest()}"
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if isinstance(value, Schedule):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        told = [f.name for f in dataclasses.fields(value) if f.compare]
        fields = {name: describe(getattr(value, name)) for name in told}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, Sequence | set | frozenset):
        items = value if isinstance(value, Sequence) else sorted(value, key=repr)
        return [describe(item) for item in items]
    return f"code {fingerprint_and_warn(value)}"


def _space(space: Space) -> dict[str, Any]:
    return {
        "names": list(space.names),
        "parts": [describe(part) for part in space.parts],
        "selection": _selection(space),
    }


def _selection(space: Space) -> dict[str, Any] | None:
    """Describe which trials of a grid a slice or a sample is; None for all of them."""
    rows, total = space._rows, int(space._starts[-1])
    if isinstance(rows, range) and rows == range(total):
        return None
    if isinstance(rows, np.ndarray) and rows.size <= MOST_LISTED:
        return {"trials": space.size, "of": rows.tolist()}
    return {"trials": space.size, "of": describe(rows)}


def restore_space(document: Mapping[str, Any]) -> Space:
    """Make the space that a ``space`` document describes.

    Schedules come back as their names, and a selection of more than a million trials as the whole.

    >>> from sweeps import geomspace, uniform
    >>> space = Space({"lr": geomspace(1e-3, 1, 4), "seed": range(2), "x": uniform(0, 1, 2)})
    >>> import json
    >>> again = restore_space(json.loads(json.dumps(_space(space[:5]))))
    >>> again, list(again) == list(space[:5])
    (Space(5 of 16 trials: lr (4) x seed (2) x x (2)), True)
    """
    try:
        return _rebuild_space(document)
    except _REBUILD_ERRORS as error:
        raise StoredSpecError(f"the store describes no space: {_reason(error)}") from None


def _rebuild_space(document: Mapping[str, Any]) -> Space:
    parts: list[dict[str, Any]] = []
    for k, part in enumerate(document["parts"]):
        parts.append({})
        for name, axis in part.items():
            try:
                parts[k][name] = _rebuild(axis)
            except _REBUILD_ERRORS as error:
                raise ValueError(f"$.space.parts[{k}].{name}: {_reason(error)}") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SweepWarning)  # of repeated values: it was given once
        space = Space(parts)
    space.names = tuple(document["names"])
    rows = (document["selection"] or {}).get("of")
    if isinstance(rows, list):
        listed = np.array(rows, np.int64)
        return space._select(
            _check_ids(listed, space, listed.min(initial=0), listed.max(initial=0))
        )
    if isinstance(rows, Mapping):
        run = _rebuild(rows)
        return space._select(_check_ids(run, space, *(run[:1] or (0,)), *(run[-1:] or (0,))))
    return space


def _check_ids(rows: Any, space: Space, *ends: int) -> Any:
    """Return the numbers of trials, of which these are the extremes, if the space has them."""
    if all(0 <= end < max(space.size, 1) for end in ends):
        return rows
    raise ValueError(f"$.space.selection: not all of them are among the {space.size} trials")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _rebuild(value: Any) -> Any:
    """Undo :func:`describe` for axes; the kinds of axes are those of a closed table."""
    if isinstance(value, list):
        return tuple(map(_rebuild, value))
    if not isinstance(value, Mapping):
        return value
    if "range" in value:
        return range(*value["range"])
    fields = {name: _rebuild(item) for name, item in value.items() if name != "kind"}
    return _KINDS[value["kind"]](**fields)


_REBUILD_ERRORS = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
"""Errors that rebuilding from a document by somebody else may raise."""


def _rebuild_draws(distribution: Any, source: Any, n: int) -> Draws:
    most = {Latin: LATIN_MAX, Sobol: 2**SOBOL_BITS}.get(type(source), MAX_LENGTH)
    if not isinstance(distribution, Distribution) or type(source) not in (
        Independent,
        Latin,
        Sobol,
    ):
        raise ValueError(
            f"{shortened(distribution)} and {shortened(source)} are not what draws are made of"
        )
    return Draws(distribution, source, as_integer("n", n, 1, most))


def _rebuild_source(kind: Any, seed: int, dimension: int) -> Any:
    # SciPy knows direction numbers for so many dimensions.
    return kind(
        as_integer("seed", seed, 0, 2**64 - 1), as_integer("dimension", dimension, 0, 21_200)
    )


_KINDS: dict[str, Any] = {
    "Points": lambda low, high, n, log: (geomspace if log else linspace)(low, high, n),
    "Tied": Tied,
    "Draws": _rebuild_draws,
    "Uniform": uniform,
    "LogUniform": loguniform,
    "Choice": choice,
    **{
        kind.__name__: functools.partial(_rebuild_source, kind)
        for kind in (Independent, Latin, Sobol)
    },
}
"""Kind of an axis, or of a part of one -> what makes it of its fields, checking each."""
