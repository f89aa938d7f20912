"""Pages of the documentation that are made from tables and ``__all__``, never typed.

``python docs/pages.py`` makes the map of rooms in ``how-it-works.md`` anew, from their docstrings.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.traffic import ours
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES
from sweeps.analysis.table import Table
from sweeps.problems import PROBLEMS

MODULES = {
    "fastopt": "Optimizers, buffers, clipping and checkpoints over NumPy arrays.",
    "fastopt.schedules": "Factors on the learning rate, by the number of completed steps.",
    "fastopt.maths": "Functions that kernels turn into SIMD code.",
    "fastopt.torch": "Every optimizer as a `torch.optim.Optimizer` over CPU tensors.",
    "fastopt.errors": "What can go wrong.",
    "fastopt.testing": "Checks for optimizers of your own.",
    "sweeps": "Spaces, sweeps and their results.",
    "sweeps.problems": "What can be trained.",
    "sweeps.models": "What a sweep ends in: models, their preprocessing and files.",
    "sweeps.sklearn": "Estimators and a grid search with scikit-learn's interface.",
    "sweeps.plots": "Pictures of results and runs.",
    "sweeps.functions.optuna": "Trials to and from Optuna.",
    "sweeps.tracing.testing": "Checks for problems of your own.",
    "sweeps.running.scaling": "What a sweep would take on a cluster.",
    "sweeps.studies": "Experiments that check their own figures.",
}
"""Public modules; their ``__all__`` is the interface."""

HERE = Path(__file__).parent
ROOMS = re.compile(r"(<!-- rooms -->\n).*?(<!-- /rooms -->)", re.DOTALL)


def write(folder: Path) -> None:
    """Write all pages into ``folder``, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "optimizers.md").write_text(catalogue())
    (folder / "tables.md").write_text(tables())
    for name in MODULES:
        (folder / f"{name}.md").write_text(reference(name))
    (folder / "reference.md").write_text(index())


def catalogue() -> str:
    """Return the optimizer catalogue: formula, defaults, memory, source of every rule."""
    head = (
        "# Optimizers\n\nEvery rule once, as it is computed. *Bytes* are what a float32 step moves "
        "for one element: the gradient is read, the parameter and each slot are read and written, "
        "and a rule that measures each tensor first reads everything once more. Names of slots "
        "are torch's. Where torch, optax and Keras compute something else under the same name, "
        "[a page of its own](../optimizer-semantics.md) says so.\n"
    )
    return "\n".join([head, overview(), *map(entry, RULES.values())])


def overview() -> str:
    """Return a table of all rules."""
    rows = (
        (f"[{rule.name}](#{rule.name.replace('_', '-')})", f"{ours(rule)}", ", ".join(rule.slots))
        for rule in RULES.values()
    )
    return table(("rule", "bytes", "slots"), rows)


def entry(rule: Any) -> str:
    """Return the section of one rule."""
    rows = (
        (f"`{name}`", default(kind), f"`{kind.range}`", kind.summary)
        for name, kind in rule.hyper.items()
    )
    return "\n\n".join(
        (
            f"## {rule.name.replace('_', ' ')}",
            f"$$ {rule.formula} $$",
            f"Source: {rule.source}. Moves {ours(rule)} bytes an element in float32.",
            table(("hyperparameter", "default", "range", "meaning"), rows),
        )
    )


def default(kind: Any) -> str:
    """Return a default as it is written in Python."""
    return f"`{kind.default!r}`"


def tables() -> str:
    """Return the tables of schedules and problems."""
    schedules = (
        (f"`{name}`", ", ".join(f"`{p}`" for p in row.params) or "-", row.torch or "-")
        for name, row in SCHEDULES.items()
    )
    problems = (
        (f"`{name}`", (inspect.getdoc(make) or "").split("\n")[0])
        for name, make in PROBLEMS.items()
    )
    return "\n\n".join(
        (
            "# Schedules and problems",
            "## Schedules",
            table(("schedule", "parameters", "in torch"), schedules),
            "## Problems",
            table(("problem", "what it is"), problems),
        )
    )


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    r"""Return a Markdown table.

    >>> print(table(("a", "b"), [("1", "x|y")]))
    | a | b |
    |---|---|
    | 1 | x\|y |
    """
    header = tuple(header)
    lines = [header, ("---",) * len(header), *rows]
    cells = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    text = "\n".join(f"| {line} |" for line in cells)
    return text.replace("| --- " * len(header) + "|", "|---" * len(header) + "|")


def reference(module: str) -> str:
    """Return the reference of a public module: every name of its ``__all__``."""
    blocks = (directive(module, name) for name in sorted(public(module), key=str.lower))
    return "\n\n".join((f"# {module}", MODULES[module], *blocks))


def public(module: str) -> dict[str, Any]:
    """Return what a module's ``__all__`` names."""
    held = importlib.import_module(module)
    return {name: getattr(held, name) for name in held.__all__}


def directive(module: str, name: str) -> str:
    """Return the directive that documents one public name."""
    values = {other: public(other).get(name) for other in MODULES}
    value, full = values[module], f"{module}.{name}"
    if inspect.ismodule(value):
        return f"## {name}\n\nA module: [{value.__name__}]({value.__name__}.md)."
    first = next(other for other in MODULES if values[other] is value)
    if first != module:  # Sphinx warns of a class that is described twice
        return f"## {name}\n\nSee [{first}.{name}]({first}.md#{name.lower()})."
    if inspect.isclass(value):
        kind, options = "autoclass", [":members:"]
        # scikit-learn makes them, with docstrings that refer to pages of its own manual
        made = [member for member in vars(value) if re.fullmatch(r"set_\w+_request", member)]
        options += [f":exclude-members: {', '.join(made)}"] * bool(made)
        if issubclass(value, Table):  # half of a result's methods are the table's
            options.append(":inherited-members:")
    elif callable(value):
        kind, options = "autofunction", []
    else:
        kind, options = "autodata", [":no-value:"]
    body = "\n".join((f".. {kind}:: {full}", *(f"   {option}" for option in options)))
    return f"## {name}\n\n```{{eval-rst}}\n{body}\n```"


def index() -> str:
    """Return the contents of the reference."""
    rows = ((f"[`{name}`]({name}.md)", text) for name, text in MODULES.items())
    listing = "\n".join(MODULES)
    return "\n\n".join(
        (
            "# Reference",
            table(("module", "what it holds"), rows),
            f"```{{toctree}}\n:hidden:\n\n{listing}\n```",
        )
    )


def public_names() -> list[str]:
    """Every public name, with its module.

    >>> {"fastopt.AdamW", "sweeps.sweep"} <= set(public_names())
    True
    """
    return [f"{module}.{name}" for module in MODULES for name in public(module)]


def rooms_of(package: str) -> dict[str, str]:
    """Return the rooms and modules at the top of a package with their docstrings, from the top.

    The order is what the package's own docstring says, in which each imports what stands before.

    >>> list(rooms_of("fastopt"))[-1]
    'late'
    """
    top = HERE.parent / package
    said = re.search(r"stands before it:\s+(.*?)\.$", docstring(top / "__init__.py"), re.S | re.M)
    names = [name.strip() for name in said[1].split(",")] if said else []
    places = {name: [top / name / "__init__.py", top / f"{name}.py"] for name in reversed(names)}
    return {
        name: next(docstring(path) for path in paths if path.exists())
        for name, paths in places.items()
    }


def docstring(path: Path) -> str:
    """Return the docstring of a module, without importing it."""
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def purpose(said: str) -> str:
    """Return the first sentence of a docstring, as Markdown."""
    sentence = re.split(r"(?<=\.)\s", " ".join(said.split("\n\n")[0].split()))[0]
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", sentence).replace("``", "`")


def imports(said: str) -> str:
    """Return what a room's docstring says that it imports, behind an arrow, if it says so.

    >>> imports("A room. Imports common and space.")
    '-> common and space'
    """
    found = re.search(r"\bImports ([\w ,\n]+)[.;:]", said)
    return f"-> {' '.join(found[1].split())}" if found and found[1] != "nothing" else ""


def rooms() -> str:
    """Return a map of the rooms of both packages, and a table of what lives there."""
    picture, tables = "", []
    for package in ("sweeps", "fastopt"):
        known = rooms_of(package)
        picture += f"{package}\n"
        for name, said in known.items():
            edge = "v" if name == list(known)[-1] else "|"
            picture += f"  {edge}  {name:<12}{imports(said)}".rstrip() + "\n"
        rows = ((f"`{package}.{name}`", purpose(said)) for name, said in known.items())
        tables.append(table((f"in `{package}`", "what lives there"), rows))
    return "\n\n".join((f"```none\n{picture}```", *tables))


def with_rooms(text: str) -> str:
    """Return a page with the map of rooms between its markers made anew."""
    return ROOMS.sub(lambda found: f"{found[1]}\n{rooms()}\n\n{found[2]}", text)


if __name__ == "__main__":
    page = HERE / "how-it-works.md"
    page.write_text(with_rooms(page.read_text()))
