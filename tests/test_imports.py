"""The house has floors: imports of every kind go downwards, and none of them in a circle.

The order of the floors stands in the docstrings of ``fastopt`` and ``sweeps``; what a room may
import stands in the docstring of its own ``__init__``. Here both are held to what the code does.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fastopt", "sweeps")
MOST_ENTRIES = 22
"""Files and packages at the top of a package: what is seen when it is opened."""

HEAVY = {
    "IPython", "cycler", "dask", "distributed", "imageio_ffmpeg", "importlib.metadata", "jinja2",
    "markupsafe", "matplotlib", "mpi4py", "numba", "numpy", "onnx", "optuna", "pandas", "plotly",
    "pyarrow", "rich", "scipy", "sklearn", "threadpoolctl", "torch", "typer",
}  # fmt: skip
"""What may be missing, or takes so long to import that only those who need it wait for it."""


class Import(NamedTuple):
    source: str
    target: str
    kind: str  # "top", "lazy" (in a function) or "type" (under TYPE_CHECKING)


def files_of(package):
    """Return module name -> file."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


FILES = {name: path for package in PACKAGES for name, path in files_of(package).items()}
ROOMS = [name for name, path in FILES.items() if path.name == "__init__.py" and "." in name]


def targets_of(node, source, known=FILES):
    """Yield the modules that a statement imports, each the longest name that is one of ours."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        package = source if known[source].name == "__init__.py" else source.rpartition(".")[0]
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        base = ".".join(filter(None, (package if node.level else "", node.module)))
        names = [f"{base}.{a.name}" if f"{base}.{a.name}" in known else base for a in node.names]
    for name in names:
        ours = name
        while ours not in known and "." in ours:
            ours = ours.rpartition(".")[0]
        yield ours if ours in known else name


STATEMENTS = ast.stmt | ast.excepthandler | ast.match_case  # an expression imports nothing


def import_statements(node, kind="top"):
    """Yield every import below a node, and what kind it is of."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node, kind
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        kind = "type"
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and kind == "top":
        kind = "lazy"
    for child in ast.iter_child_nodes(node):
        if isinstance(child, STATEMENTS):
            yield from import_statements(child, kind)


def imports_in(source, text, known=FILES):
    """Yield every import of a module, wherever in it."""
    for node, kind in import_statements(ast.parse(text)):
        for target in targets_of(node, source, known):
            if target != source:
                yield Import(source, target, kind)


IMPORTS = [each for name, path in FILES.items() for each in imports_in(name, path.read_text())]


def circles(edges):
    """Return every set of two modules or more that reach each other."""
    below = defaultdict(set)
    for source, target in edges:
        below[source].add(target)

    def reached(start):
        seen, left = set(), [start]
        while left:
            for target in below[left.pop()] - seen:
                seen.add(target)
                left.append(target)
        return seen

    reach = {source: reached(source) for source in list(below)}
    found = {
        frozenset(other for other in reach[name] if name in reach.get(other, ()))
        for name in reach
        if name in reach[name]
    }
    return sorted(sorted(each) for each in found)


def test_no_imports_go_in_a_circle():
    ours = [(i.source, i.target) for i in IMPORTS if i.target in FILES]
    assert circles(ours) == []


def test_circles_of_every_kind_are_found():
    text = {
        "a": "import b",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import c",
        "c": "def f():\n    from a import x",
        "d": "import a, e",
        "e": "import a",
    }
    known = {name: Path(f"{name}.py") for name in text}
    found = [i for name, code in text.items() for i in imports_in(name, code, known)]
    assert [i.kind for i in found if i.target in known] == ["top", "type", "lazy"] + ["top"] * 3
    assert circles([(i.source, i.target) for i in found]) == [["a", "b", "c"]]


def floors_of(package):
    """Return the rooms and modules of a package from the ground up, as its docstring says."""
    text = importlib.import_module(package).__doc__
    said = re.search(r"imports only what\s+stands before it:\s+(.*?)\.\n", text, re.DOTALL)
    return [name.strip() for name in said[1].split(",")]


FLOORS = {package: floors_of(package) for package in PACKAGES}


def place_of(module):
    """Return a module's package and floor, the root's being the highest."""
    package, _, rest = module.partition(".")
    floors = FLOORS[package]
    return PACKAGES.index(package), floors.index(rest.partition(".")[0]) if rest else len(floors)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_floors_are_all_there_is(package):
    names = {path.stem for path in (ROOT / package).iterdir() if path.suffix in (".py", "")}
    assert {*FLOORS[package]} == names - {"__init__", "__pycache__", "py"}
    assert len(FLOORS[package]) == len({*FLOORS[package]})


def test_imports_go_downwards():
    upward = [
        each
        for each in IMPORTS
        if each.target in FILES and place_of(each.source) < place_of(each.target)
    ]
    assert upward == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_lives_there_and_what_it_imports(room):
    """In a sentence: "Imports this, that and those.", "... nothing." or "... any room below."."""
    package, _, own = room.partition(".")
    below = FLOORS[package][: FLOORS[package].index(own)]
    text = importlib.import_module(room).__doc__ or ""
    first, *rest = text.strip().splitlines()
    assert len(first) > 20
    said = re.search(r"\bImports ([\w ,\n]+)[.;:]", "\n".join(rest))
    assert said, f"{room} does not say what it imports"
    meant = {"nothing": [], "any room below": below}
    named = {*meant.get(said[1], re.split(r",\s+|\s+and\s+", said[1]))}
    assert named <= {*below}
    used = {
        each.target.split(".")[1]
        for each in IMPORTS
        if f"{each.source}.".startswith(f"{room}.") and each.target.startswith(f"{package}.")
    }
    assert used - {own} <= named


def brought_by(module):
    """Return the heavy packages that come with importing a module."""
    seen, left, heavy = {module}, [module], set()
    while left:
        source = left.pop()
        for each in IMPORTS:
            if each.source == source and each.kind == "top":
                heavy |= {name for name in HEAVY if f"{each.target}.".startswith(f"{name}.")}
                if each.target in FILES and each.target not in seen:
                    seen.add(each.target)
                    left.append(each.target)
    return heavy


def test_late_imports_are_of_what_is_heavy_or_optional():
    """Never to dodge a circle: what is imported late brings what its importer does not bring."""
    strays = [
        each
        for each in IMPORTS
        if each.kind != "top"
        and not any(f"{each.target}.".startswith(f"{name}.") for name in HEAVY)
        and not (each.target in FILES and brought_by(each.target) - brought_by(each.source))
    ]
    assert strays == []


def test_imports_are_statements():
    """An import by name would escape the tests above."""
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
                literal = [a.value for a in node.args if isinstance(a, ast.Constant)]
                assert not [v for v in literal if str(v).startswith(PACKAGES)], name


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_seen_at_a_glance(package):
    entries = [p for p in (ROOT / package).iterdir() if p.name != "__pycache__"]
    assert 10 < len(entries) <= MOST_ENTRIES


@pytest.mark.parametrize(
    ("old", "new"), [("optuna", "functions.optuna"), ("scaling", "running.scaling")]
)
def test_old_names_of_modules_work_and_say_the_new_ones(old, new):
    sys.modules.pop(f"sweeps.{old}", None)
    with pytest.warns(DeprecationWarning, match=rf"sweeps\.{old} is sweeps\.{new} now") as seen:
        module = importlib.import_module(f"sweeps.{old}")
    assert len(seen) == 1
    there = importlib.import_module(f"sweeps.{new}")
    assert module.__all__ == there.__all__
    assert all(getattr(module, name) is getattr(there, name) for name in there.__all__)


def test_a_sweep_brings_nothing_heavy():
    """Sweeps that are not kept, drawn or compared wait for no library that does these."""
    script = (
        "import sys\nfrom sweeps import *\n"
        "heavy = 'torch matplotlib plotly dask optuna sklearn.datasets scipy.stats rich typer '\n"
        "heavy += 'pyarrow pandas'\n"
        "print([name for name in heavy.split() if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
