"""A sweep written down in a TOML file: read, checked to the last value, turned into arguments.

Names are looked up in closed tables (problems, optimizers, schedules, the keywords of
:func:`sweeps.sweep`) and never imported, so a spec from a stranger can waste time but not run code.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import os
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from fastopt.errors import (
    ExecutorError,
    FastoptError,
    SpecError,
    StoreError,
    did_you_mean,
    shortened,
)
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES
from sweeps import problems
from sweeps.cli.toml import read_toml
from sweeps.engine import lane_records
from sweeps.engine.columns import ALIASES, MOST_STEPS, whole
from sweeps.engine.data_order import SHUFFLES
from sweeps.engine.options import COMMON, LOG, SEED_MODES
from sweeps.engine.records import METRICS
from sweeps.pruning import as_pruner
from sweeps.run import sweep
from sweeps.space.axes import as_axis, ends, geomspace, linspace, logspace
from sweeps.space.space import Space

__all__ = ["Spec", "read_spec"]

# The file says what is computed; where and how it is shown is the command line's business.
NOT_OPTIONS = (
    "problem", "space", "store", "shard", "executor", "progress", "reduce", "hyper",
)  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """A checked spec.

    Parameters
    ----------
    problem_name : str
        Name in :data:`sweeps.problems.PROBLEMS`.
    problem_options : dict
        Keyword arguments of its constructor.
    space : Space
        The trials.
    options : dict
        Keyword arguments of :func:`sweeps.sweep`.
    source : str
        The file, for messages.
    """

    problem_name: str
    problem_options: dict[str, Any]
    space: Space
    options: dict[str, Any]
    source: str

    def call(self, function: Callable[..., Any], **more: Any) -> Any:
        """Call :func:`sweeps.sweep` or :func:`sweeps.estimate` with what the file says.

        Parameters
        ----------
        function : callable
        **more
            Further keywords; they win over those of the file.

        Raises
        ------
        SpecError
            The problem or the sweep refuses its arguments; the message begins with the file.
        """
        try:
            problem = problems.PROBLEMS[self.problem_name](**self.problem_options)
        # NumPy and scikit-learn check the rest: numbers that are too large, for example.
        except (FastoptError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
            named = (n for n in self.problem_options if re.search(rf"\b{n}\b", str(error)))
            place = ".".join(["$.problem", *itertools.islice(named, 1)])
            raise SpecError(f"{self.source}: {place}: {error}") from None
        try:
            return function(problem, self.space, **{**self.options, **more})
        except (StoreError, ExecutorError):  # not the fault of the file
            raise
        except FastoptError as error:
            raise SpecError(f"{self.source}: {self._place(str(error))}{error}") from None

    def _place(self, message: str) -> str:
        """Return where in the file a message looks that begins with the name of what is wrong."""
        said = re.match(r"(axis ')?(\w+)", message)
        name = said[2] if said else ""
        tables = {"sweep": self.options, "space": self.space.names, "problem": self.problem_options}
        for table, names in tables.items():
            if name in names:
                return f"$.{table}.{name}: "
        return "$: "


class Spacing(msgspec.Struct, forbid_unknown_fields=True):
    """The ways of writing an axis as a table, of which one is used at a time."""

    geomspace: tuple[float, float, int] | None = None
    linspace: tuple[float, float, int] | None = None
    logspace: tuple[float, float, int] | None = None  # the old name of geomspace
    range: int | tuple[int, ...] | None = None
    values: list | None = None

    def build(self, where: str) -> Any:
        """Return what the table stands for, or say what is wrong with it."""
        given = {
            name: v for name in self.__struct_fields__ if (v := getattr(self, name)) is not None
        }
        if len(given) != 1:
            raise SpecError(
                f"{where}: give exactly one of {', '.join(self.__struct_fields__)}; "
                f"got {', '.join(given) or 'none'}"
            )
        ((name, v),) = given.items()
        return _BUILDERS[name](f"{where}.{name}", v)


def read_spec(path: str | os.PathLike[str]) -> Spec:
    """Read a sweep from a TOML file.

    The file has a table ``[problem]`` (``name`` and the options of its constructor), ``[space]``
    (axes; or ``[[space]]`` several times for a union) and ``[sweep]`` (keywords of
    :func:`sweeps.sweep`, hyperparameters included). An axis is a list, one value, or one of
    ``{geomspace = [low, high, n]}``, ``{linspace = [low, high, n]}``, ``{range = n}``,
    ``{range = [start, stop, step]}``, ``{values = [...]}``.

    Parameters
    ----------
    path : str or path-like
        The file, UTF-8.

    Returns
    -------
    Spec

    Raises
    ------
    SpecError
        The file is missing or broken, or something in it is unknown, of the wrong type or out of
        range. The message names the file, the place (``$.space.lr``), the value and what is
        allowed there.

    Examples
    --------
    >>> import tempfile
    >>> text = '''
    ... [problem]
    ... name = "iris"
    ... [sweep]
    ... epochs = 5
    ... [space]
    ... lr = { geomspace = [1e-3, 1.0, 4] }
    ... seed = { range = 2 }
    ... '''
    >>> with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
    ...     _ = file.write(text), file.flush()
    ...     spec = read_spec(file.name)
    >>> spec.problem_name, spec.options, spec.space
    ('iris', {'epochs': 5}, Space(8 trials: lr (4) x seed (2)))
    """
    document = read_toml(path)
    at = f"{path}: $"
    _refuse_unknown(at, document, ["problem", "sweep", "space"], "table")
    for name in ("problem", "space"):
        if name not in document:
            raise SpecError(f"{at}: the table [{name}] is missing")
    problem = _table(f"{at}.problem", document["problem"])
    options = _options(f"{at}.sweep", _table(f"{at}.sweep", document.get("sweep", {})))
    space = _space(f"{at}.space", document["space"])
    _refuse_twice(at, space, options)
    if "name" not in problem:
        raise SpecError(f"{at}.problem.name is missing; there are {', '.join(problems.PROBLEMS)}")
    name = problem.pop("name")
    _one_of(f"{at}.problem.name", name, problems.PROBLEMS)
    checked = _problem_options(f"{at}.problem", name, problem)
    return Spec(name, checked, space, options, str(path))


def _table(at: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise SpecError(f"{at} must be a table of names and values; got {shortened(given)}")
    return dict(given)


def _options(at: str, given: dict[str, Any]) -> dict[str, Any]:
    """Check the keywords of ``sweep``."""
    signature = inspect.signature(sweep).parameters
    keywords = [name for name in signature if name not in NOT_OPTIONS]
    _refuse_unknown(at, given, [*keywords, *_ranges()], "option")
    checked = {}
    for name, value in given.items():
        if name in signature and name not in _WHOLE:  # 2.0 is a whole number, too
            value = _typed(f"{at}.{name}", value, _hints(sweep)[name])
        checked[name] = value
        _check(f"{at}.{name}", name, value)
    return checked


def _problem_options(at: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    constructor = problems.PROBLEMS[name]
    signature = inspect.signature(constructor).parameters
    _refuse_unknown(at, given, list(signature), f"option of problem {shortened(name)}")
    for option, parameter in signature.items():
        if parameter.default is parameter.empty and option not in given:
            raise SpecError(
                f"{at}.{option} is missing; problem {shortened(name)} cannot do without it"
            )
    hints = _hints(constructor)
    return {key: _typed(f"{at}.{key}", value, hints.get(key, Any)) for key, value in given.items()}


def _space(at: str, given: Any) -> Space:
    union = isinstance(given, list)
    if not isinstance(given, dict | list) or not given:
        raise SpecError(
            f"{at} must be a table [space] of axes, or several tables [[space]]; "
            f"got {shortened(given)}"
        )
    parts = []
    for k, part in enumerate(given if union else [given]):
        where = f"{at}[{k}]" if union else at
        parts.append({name: _axis(where, name, axis) for name, axis in _table(where, part).items()})
    try:
        return Space(parts)
    except SpecError as error:
        raise SpecError(f"{at}: {error}") from None


def _axis(at: str, name: str, given: Any) -> Sequence:
    """Check one axis: its name, its form and each of its values."""
    if not name.startswith("start_"):  # coordinates of a landscape, which knows their names
        _refuse_unknown(at, [name], [*COMMON, *_ranges()], "axis")
    at = f"{at}.{name}"
    if isinstance(given, dict):
        _refuse_unknown(at, given, Spacing.__struct_fields__, "way to write an axis")
        given = _typed(at, given, Spacing).build(at)
    axis = as_axis(at, given)
    lazy = not isinstance(axis, tuple)  # too long to walk; its ends bound the rest
    for value in ends(axis) if lazy else axis:
        _check(at, name, value)
    return axis


def _refuse_twice(at: str, space: Space, options: Mapping[str, Any]) -> None:
    for name in options:
        if all(name in part for part in space.parts):
            raise SpecError(
                f"{at}.sweep.{name} and {at.split(': ')[-1]}.space.{name} both set {name}; keep one"
            )


def _range(at: str, v: int | tuple[int, ...]) -> range:
    bounds = (v,) if isinstance(v, int) else v
    if len(bounds) not in (1, 2, 3) or bounds[2:] == (0,):
        raise SpecError(
            f"{at}: write stop, [start, stop] or [start, stop, step] with a step that is not 0; "
            f"got {shortened(v)}"
        )
    return range(*bounds)


def _spaced(helper: Callable[..., Any], at: str, v: tuple[float, float, int]) -> Any:
    try:
        return helper(*v)
    except SpecError as error:
        raise SpecError(f"{at}: {error}") from None


_BUILDERS: dict[str, Callable[[str, Any], Any]] = {
    "geomspace": functools.partial(_spaced, geomspace),
    "linspace": functools.partial(_spaced, linspace),
    "logspace": functools.partial(_spaced, logspace),
    "range": _range,
    "values": lambda _, v: v,
}


@functools.cache
def _ranges() -> dict[str, Any]:
    """Hyperparameters of all optimizers and schedules by name, with the ranges they allow."""
    found: dict[str, Any] = {}
    for params in (*(s.params for s in SCHEDULES.values()), *(r.hyper for r in RULES.values())):
        found.update(params)
    return {**{alias: found[name] for alias, name in ALIASES.items()}, **found}


_CHOICES: dict[str, Sequence[str]] = {
    "optimizer": tuple(RULES),
    "schedule": tuple(SCHEDULES),
    "shuffle": tuple(SHUFFLES),
    "seed_mode": SEED_MODES,
    "metric": tuple(dict.fromkeys((*METRICS, *lane_records.METRICS))),
    "mode": ("min", "max"),
}

_WHOLE: dict[str, tuple[int, ...]] = {
    "epochs": (1, MOST_STEPS), "steps": (1, MOST_STEPS),
    "batch_size": (1,), "seed": (0,), "eval_every": (1,), "patience": (0,),
}  # fmt: skip
_WORDS = {"eval_every": LOG}  # a name that may stand for the number
_NOT_NEGATIVE = ("clip_norm", "init_scale")


def _check(at: str, name: str, value: Any) -> None:
    """Check one value by the table that knows its name."""
    if name in _CHOICES:
        _one_of(at, value, _CHOICES[name])
    elif name in _WHOLE and value != _WORDS.get(name, ""):
        word = f', or "{_WORDS[name]}"' if name in _WORDS else ""
        whole(at, np.array([value], object), *_WHOLE[name], other=word)
    elif name in _NOT_NEGATIVE:
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise SpecError(f"{at} must be a number >= 0; got {shortened(value)}")
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


def _one_of(at: str, name: Any, allowed: Mapping[str, Any] | Sequence[str]) -> None:
    if name not in list(allowed):
        raise SpecError(
            f"{at} must be one of {', '.join(allowed)}; "
            f"got {shortened(name)}{did_you_mean(name, allowed)}"
        )


def _refuse_unknown(at: str, given: Any, allowed: Sequence[str], what: str) -> None:
    for name in given:
        if name not in allowed:
            said = shortened(name)
            raise SpecError(
                f"{at}.{said[1:-1]}: there is no {what} {said}{did_you_mean(name, allowed)}; "
                f"allowed are {', '.join(allowed)}"
            )


def _hints(function: Callable) -> dict[str, Any]:
    return typing.get_type_hints(function)


def _typed(at: str, value: Any, hint: Any) -> Any:
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
