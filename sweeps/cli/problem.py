"""The problem of a spec: ``[problem]`` names one of ours, ``[data]`` and ``[model]`` make one.

What ``[data]`` and ``[model]`` may say is read off the signature of :func:`sweeps.problems.table`.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from fastopt.errors import FastoptError, SpecError, shortened
from sweeps import problems
from sweeps.cli.checks import refuse_unknown, table_at, typed
from sweeps.common.names import check_choice
from sweeps.problems.losses import LOSSES
from sweeps.problems.table_data import read_table

PYTHON_ONLY = ("preprocess", "theta0", "constants")
"""Arguments that are objects, or none themselves."""

CONSTANTS = tuple(dict.fromkeys(name for loss in LOSSES.values() for name in loss.constants))

_TABLE = inspect.signature(problems.table).parameters
_SAID = [name for name in _TABLE if name not in PYTHON_ONLY]
ROWS = tuple(
    "file" if name == "table" else name
    for name in _SAID
    if name in inspect.signature(read_table).parameters and name != "loss"
)
"""What ``[data]`` may say: which rows there are, and what each is for."""

MODEL = (*(name for name in _SAID if name != "table" and name not in ROWS), *CONSTANTS)
"""What ``[model]`` may say."""


class Made(NamedTuple):
    """What a problem is made by.

    ``name``: in :data:`sweeps.problems.PROBLEMS`, or "table". ``places``: argument -> where in the
    file it stands.
    """

    name: str
    options: dict[str, Any]
    places: dict[str, str]

    def build(self) -> Any:
        """Return the problem.

        Raises SpecError that begins with the place in the file.
        """
        constructor = problems.PROBLEMS.get(self.name, problems.table)
        try:
            return constructor(**self.options)
        # NumPy and scikit-learn check the rest: numbers that are too large, for example.
        except (FastoptError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
            raise SpecError(f"{self._place(str(error))}: {error}") from None

    def _place(self, message: str) -> str:
        """Return where in the file the cause of a message stands, as well as can be told."""
        if self.name in problems.PROBLEMS:
            named = (n for n in self.options if re.search(rf"\b{n}\b", message))
            return self.places.get(next(named, ""), "$.problem")
        if message.startswith(str(self.options["table"])):
            return self.places["table"]
        first = re.match(r"\w+", message)
        if first and first[0] in self.places:
            return self.places[first[0]]
        # "a metric of the loss ..." is about metrics: what is named first.
        found = {n: re.search(rf"\b{n.removesuffix('s')}s?\b", message) for n in self.options}
        at = {match.start(): n for n, match in found.items() if n in MODEL and match}
        return self.places[at[min(at)]] if at else "$.data"


def problem_of(at: str, document: Mapping[str, Any], folder: Path) -> Made:
    """Check what a spec says of its problem.

    ``at``: the file, for messages. ``folder``: what paths in the spec are relative to.

    >>> made = problem_of("$", {"data": {"file": "wine.csv", "target": "quality"}}, Path("specs"))
    >>> made.options["table"].as_posix(), made.places
    ('specs/wine.csv', {'table': '$.data.file', 'target': '$.data.target'})
    """
    if "data" in document and "problem" in document:
        raise SpecError(
            f"{at}: [problem] is one of our problems and [data] one of yours; keep one of them"
        )
    if "data" in document:
        return _make_own(at, document, folder)
    if "problem" not in document:
        raise SpecError(
            f"{at}: the table [problem] is missing, or [data] with a file of yours instead"
        )
    if "model" in document:
        raise SpecError(
            f"{at}.model: a [model] goes with [data]; the options of a [problem], such as hidden, "
            "stand in that table"
        )
    return _make_shipped(f"{at}.problem", table_at(f"{at}.problem", document["problem"]))


def _make_shipped(at: str, given: dict[str, Any]) -> Made:
    if "name" not in given:
        raise SpecError(f"{at}.name is missing; there are {', '.join(problems.PROBLEMS)}")
    name = given.pop("name")
    check_choice(f"{at}.name", name, problems.PROBLEMS)
    constructor = problems.PROBLEMS[name]
    signature = inspect.signature(constructor).parameters
    refuse_unknown(at, given, list(signature), f"option of problem {shortened(name)}")
    for option, parameter in signature.items():
        if parameter.default is parameter.empty and option not in given:
            raise SpecError(
                f"{at}.{option} is missing; problem {shortened(name)} cannot do without it"
            )
    hints = get_type_hints(constructor)
    checked = {
        key: typed(f"{at}.{key}", value, hints.get(key, Any)) for key, value in given.items()
    }
    return Made(name, checked, {key: f"$.problem.{key}" for key in checked})


def _make_own(at: str, document: Mapping[str, Any], folder: Path) -> Made:
    data = table_at(f"{at}.data", document["data"])
    model = table_at(f"{at}.model", document.get("model", {}))
    for table, given, allowed, other in (
        ("data", data, ROWS, MODEL),
        ("model", model, MODEL, ROWS),
    ):
        for name in given:
            if name in other:
                there = "model" if table == "data" else "data"
                raise SpecError(f"{at}.{table}.{name}: {name} belongs in the table [{there}]")
        refuse_unknown(f"{at}.{table}", given, allowed, f"option of [{table}]")
    for name, example in (("file", "wine.csv"), ("target", "quality")):
        if name not in data:
            raise SpecError(f'{at}.data.{name} is missing, such as {name} = "{example}"')
    hints = {"file": str, **dict.fromkeys(CONSTANTS, float), **get_type_hints(problems.table)}
    options: dict[str, Any] = {}
    places = {}
    for table, given in (("data", data), ("model", model)):
        for name, value in given.items():
            key = "table" if name == "file" else name
            places[key] = f"$.{table}.{name}"
            options[key] = typed(f"{at}.{table}.{name}", value, hints[name])
    options["table"] = Path(os.path.normpath(folder / options["table"]))
    if isinstance(options.get("class_weight"), dict):
        options["class_weight"] = _by_labels(options["class_weight"])
    return Made("table", options, places)


def _by_labels(weights: Mapping[str, Any]) -> dict[Any, Any]:
    """Return weights by labels: keys of TOML are text, labels of a table may be numbers.

    >>> _by_labels({"5": 2.0, "6": 1}), _by_labels({"5": 2.0, "red": 1})
    ({5: 2.0, 6: 1}, {'5': 2.0, 'red': 1})
    """
    try:
        return {float(k) if "." in k else int(k): weight for k, weight in weights.items()}
    except ValueError:
        return dict(weights)
