"""A sweep written down in a TOML file: read, checked to the last value, turned into arguments.

Names are looked up in closed tables (problems, optimizers, schedules, the keywords of
:func:`sweeps.sweep`) and never imported, so a spec from a stranger can waste time but not run code.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from fastopt.code.cached import cached_property
from fastopt.errors import ExecutorError, FastoptError, SpecError, StoreError
from sweeps.cli.axes import space_of
from sweeps.cli.checks import axis_names, check_value, refuse_unknown, table_at, typed
from sweeps.cli.problem import Made, problem_of
from sweeps.cli.toml import read_toml
from sweeps.engine.columns import WHOLE
from sweeps.run import sweep
from sweeps.running.check import SETTINGS, check
from sweeps.space.space import Space
from sweeps.space.tuples import fixed_without_tuples

# The file says what is computed; where and how it is shown is the command line's business.
NOT_OPTIONS = (
    "problem", "space", "store", "shard", "executor", "progress", "reduce", "hyper",
)  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """A checked spec.

    ``source``: the file, for messages. ``folds``: folds whose axis the file leaves out, and which
    all configurations are trained on; else 0.
    """

    made: Made
    space: Space
    options: dict[str, Any]
    source: str
    folds: int = 0

    @cached_property
    def problem(self) -> Any:
        """The problem, made once.

        Raises SpecError that begins with the file.
        """
        try:
            return self.made.build()
        except SpecError as error:
            raise SpecError(f"{self.source}: {error}") from None

    def call(self, function: Callable[..., Any], **more: Any) -> Any:
        """Call :func:`sweeps.sweep` or :func:`sweeps.estimate` with what the file says.

        ``**more`` win over the keywords of the file. Raises SpecError that begins with the file.
        """
        problem = self.problem
        try:
            return function(problem, self.space, **{**self.options, **more})
        except (StoreError, ExecutorError):  # not the fault of the file
            raise
        except FastoptError as error:
            raise SpecError(f"{self.source}: {self._place(str(error))}{error}") from None

    def plan(self) -> Any:
        """Return the checked sweep, of which nothing has run."""
        places = inspect.signature(sweep).parameters.keys() - SETTINGS.keys()

        def checked(problem: Any, space: Space, **options: Any) -> Any:
            return check(problem, space, {k: v for k, v in options.items() if k not in places})

        return self.call(checked)

    def _place(self, message: str) -> str:
        """Return where in the file a message looks that begins with the name of what is wrong."""
        said = re.match(r"(unknown )?(axis )?(or hyperparameter )?'?(\w+)", message)
        name = said[4] if said else ""
        for table, names in (("sweep", self.options), ("space", self.space.names)):
            if name in names:
                return f"$.{table}.{name}: "
        return f"{self.made.places.get(name, '$')}: "


def read_spec(path: str | os.PathLike[str]) -> Spec:
    """Read a sweep from a TOML file.

    The file has a table ``[problem]`` (``name`` and the options of its constructor), or ``[data]``
    (``file``, ``target`` and what each row is for) and ``[model]``, as
    :func:`sweeps.problems.table` takes them; ``[space]`` (axes; or ``[[space]]`` several times for
    a union) and ``[sweep]`` (keywords of :func:`sweeps.sweep`, hyperparameters included). An axis
    is a list, one value, or one of ``{geomspace = [low, high, n]}``,
    ``{linspace = [low, high, n]}``, ``{range = n}``, ``{range = [start, stop, step]}``,
    ``{values = [...]}``. Where there are folds, and no axis or keyword ``fold``, all of them are.

    Paths are relative to the file, or to the ``folder`` that it names at its top.

    ``path``: the file, UTF-8. Raises SpecError if the file is missing or broken, or something in it
    is unknown, of the wrong type or out of range. The message names the file, the place
    (``$.space.lr``), the value and what is allowed there.

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
    >>> spec.made.name, spec.options, spec.space
    ('iris', {'epochs': 5}, Space(8 trials: lr (4) x seed (2)))
    """
    document = read_toml(path)
    at = f"{path}: $"
    folder = Path(path).parent / typed(f"{at}.folder", document.pop("folder", ""), str)
    refuse_unknown(at, document, ["problem", "data", "model", "sweep", "space"], "table")
    made = problem_of(at, document, folder)
    if "space" not in document:
        raise SpecError(f"{at}: the table [space] is missing")
    options = _options(f"{at}.sweep", table_at(f"{at}.sweep", document.get("sweep", {})))
    space = space_of(f"{at}.space", document["space"])
    _refuse_twice(at, space, options)
    folds = 0 if "fold" in options else _folds(made.options.get("folds"))
    lacking = any("fold" not in part for part in space.parts)
    if folds and lacking:
        space = Space([{**part, "fold": part.get("fold", range(folds))} for part in space.parts])
    return Spec(made, space, options, str(path), folds if lacking else 0)


def _folds(given: Any) -> int:
    """Return how many folds a spec asks for, 0 if that is no number of folds.

    >>> _folds(5), _folds(None), _folds([[[0, 1], [2]], [[2], [0]]]), _folds(1)
    (5, 0, 2, 0)
    """
    number = len(given) if isinstance(given, list) else given
    return number if type(number) is int and number > 1 else 0


def _options(at: str, given: dict[str, Any]) -> dict[str, Any]:
    """Check the keywords of ``sweep``."""
    signature = inspect.signature(sweep).parameters
    keywords = [name for name in signature if name not in NOT_OPTIONS]
    try:
        given = fixed_without_tuples(given)
    except SpecError as error:
        raise SpecError(f"{at}: {error}") from None
    refuse_unknown(at, given, [*keywords, *axis_names()], "option")
    checked = {}
    for name, value in given.items():
        if name in signature and name not in WHOLE:  # 2.0 is a whole number, too
            value = typed(f"{at}.{name}", value, get_type_hints(sweep)[name])
        checked[name] = value
        check_value(f"{at}.{name}", name, value)
    return checked


def _refuse_twice(at: str, space: Space, options: Mapping[str, Any]) -> None:
    for name in options:
        if all(name in part for part in space.parts):
            raise SpecError(
                f"{at}.sweep.{name} and {at.split(': ')[-1]}.space.{name} both set {name}; keep one"
            )
