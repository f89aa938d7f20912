"""The house rules of CONTRIBUTING.md, read off the source."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import textwrap
import types
from pathlib import Path

import pytest

from fastopt.errors import FastoptError
from fastopt.rules import RULES
from tests.helpers.cases import CASES, PLAIN
from tests.helpers.order import LONG

ROOT = Path(__file__).parents[1]
PACKAGES = ("fastopt", "sweeps", "bench")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
KINDS = {".py", ".md", ".toml", ".yaml", ""}
TEXTS = sorted(
    path
    for pattern in (
        "*.*",
        ".ci/*",
        *(f"{name}/**/*" for name in (*PACKAGES, "tests", "examples", "docs")),
    )
    for path in ROOT.glob(pattern)
    if path.is_file() and path.suffix in KINDS and path.name != ".git"  # of a worktree
)

FILE, FUNCTION, KERNEL = 400, 40, 60  # lines
DEPTH, KERNEL_DEPTH = 3, 4


def name_of(path):
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


@functools.cache
def tree(path):
    return ast.parse(path.read_text(), name_of(path))


@pytest.fixture(scope="module", autouse=True)
def _trees_are_let_go():
    """A million objects, which the garbage collector would walk through in every later test."""
    yield
    tree.cache_clear()


def of_each(paths):
    """Let a test of one file be one of all: 3000 tests of a millisecond take ten seconds more."""

    def every(check):
        def test():
            wrong = {}
            for path in paths:
                try:
                    check(path)
                except AssertionError as error:
                    wrong[name_of(path)] = str(error)
            assert not wrong

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return every


every_source, every_text = of_each(SOURCES), of_each(TEXTS)


def names_used(node):
    """Every name, attribute and imported name in the code (not in docstrings or comments)."""
    for child in ast.walk(node):
        if isinstance(child, ast.Name):
            yield child.id
        elif isinstance(child, ast.Attribute):
            yield child.attr
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield from (alias.name for alias in child.names)


def modules_imported(node):
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)


ELSEWHERE_MISSING = (
    "fork", "forkpty", "getuid", "getpwuid", "getgrgid", "killpg", "setsid", "mkfifo", "uname",
    "symlink", "chown", "statvfs", "umask", "SIGKILL", "SIGALRM", "CDLL", "O_CLOEXEC",
    "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "getrusage", "getloadavg",
)  # fmt: skip
# What may be used only where: name in the code, and the files allowed.
HOMES = {
    "njit": r"fastopt/compile\.py",
    "jit": r"fastopt/compile\.py|bench/jax_side\.py",  # there it is JAX's
    "vectorize": r"fastopt/compile\.py",
    "prange": r"fastopt/(machine/loops|norms)\.py",
    "eval": r"(?!)",
    "exec": r"(?!)",
    "NotImplementedError": r"(?!)",
    # What not every operating system has: each in one place, with what is done without it.
    "fcntl": r"fastopt/code/turns\.py",
    "geteuid": r"fastopt/code/cache\.py",
    "register_at_fork": r"fastopt/code/system\.py",
    "fsync": r"fastopt/(code/system|checkpoint)\.py|sweeps/store/fs\.py",  # of files: everywhere
    "sched_getaffinity": r"fastopt/doctor\.py|bench/machine\.py",
    "sysconf": r"sweeps/common/resources\.py",
    **dict.fromkeys(
        ("pthread_sigmask", "getppid", "set_inheritable"), r"sweeps/common/workers\.py"
    ),
    **dict.fromkeys(ELSEWHERE_MISSING, r"bench/.*"),
}
TEXTS_OF_LINUX = r"fastopt/doctor\.py|sweeps/common/resources\.py|bench/machine\.py"
IMPORTS = {
    "torch": r"fastopt/torch(/.*|\.py)|sweeps/(cli/bench|models/torch_modules)\.py|bench/.*",
    "sweeps": r"(sweeps|bench)/.*",
    "pandas": r"(sweeps|bench)/.*",
    "matplotlib": r"(sweeps|bench)/.*",
    "scipy.stats": r"(sweeps|bench)/.*",
    "tests": r"bench/.*",
    "bench": r"bench/.*",
}


@every_source
def test_names_stay_in_their_homes(path):
    used = set(names_used(tree(path)))
    strays = [
        name for name in HOMES if name in used and not re.fullmatch(HOMES[name], name_of(path))
    ]
    assert not strays


@every_source
def test_files_of_the_kernel_are_read_where_there_may_be_none(path):
    """Which know what to say where there is no such file."""
    found = re.search(r"[\"']/(proc|sys)/", path.read_text())
    assert bool(found) == bool(re.fullmatch(TEXTS_OF_LINUX, name_of(path)))


@every_source
def test_imports_go_one_way(path):
    imported = {module + "." for module in modules_imported(tree(path))}
    for package, home in IMPORTS.items():
        if not re.fullmatch(home, name_of(path)):
            assert not [module for module in imported if module.startswith(package + ".")]


CACHED = "fastopt/code/cached.py"
LOCKED = re.compile(r"functools(\.| import (.*, )?)cached_property")


@every_source
def test_no_lock_is_shared_by_all_objects_of_a_class(path):
    """A forked child may wait for that of functools.cached_property in Python 3.11 for ever."""
    assert name_of(path) == CACHED or not LOCKED.search(path.read_text())


def test_the_rules_above_can_fail():
    """Each forbidden name is used somewhere it is allowed, so the search does find it."""
    used = {name for path in SOURCES for name in names_used(tree(path))}
    assert {"njit", "prange"} <= used
    imported = {module for path in SOURCES for module in modules_imported(tree(path))}
    assert {"torch", "pandas", "sweeps"} <= imported
    assert LOCKED.search((ROOT / CACHED).read_text())


def test_loops_do_not_import_optimizers():
    """rules -> loops -> compile; nothing below knows what is above."""
    above = {"fastopt.optimizer", "fastopt.classes", "fastopt.arena", "fastopt.state"}
    for path in SOURCES:
        if re.fullmatch(
            r"fastopt/(rules/.*|machine/.*|code/.*|compile|errors)\.?.*", name_of(path)
        ):
            assert not above & set(modules_imported(tree(path))), path


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
BLOCKS = (ast.For, ast.While, ast.If, ast.With, ast.Try, ast.Match)


def functions(path):
    """Yield ``(node, is a kernel, lines of code, functions inside)`` of every function.

    Lines of code are those of the body with the functions inside, without docstrings, comments and
    blank lines. A signature with a line a parameter is a table, not code.
    """
    text = path.read_text().splitlines()
    module = tree(path)
    outer = [node for node in ast.walk(module) if isinstance(node, FUNCTIONS[:2])]
    inner = {
        child
        for node in outer
        for child in ast.walk(node)
        if isinstance(child, FUNCTIONS[:2]) and child is not node
    }
    for node in outer:
        decorators = {name for d in node.decorator_list for name in names_used(d)}
        compiled = bool(decorators & {"inlinable", "jitable", "reducible", "intrinsic"})
        lines = set(range(node.body[0].lineno, node.end_lineno + 1))
        inside = [child for child in ast.walk(node) if child in inner and child is not node]
        for each in (node, *inside):
            if ast.get_docstring(each) is not None:
                lines -= set(range(each.body[0].lineno, each.body[0].end_lineno + 1))
        code = [k for k in lines if text[k - 1].strip() and not text[k - 1].strip().startswith("#")]
        yield node, compiled or node in inner, len(code), len(inside)


def depth(node):
    """Return how deep blocks nest in a function; ``elif`` and functions inside do not count."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            continue
        chained = isinstance(node, ast.If) and node.orelse == [child] and isinstance(child, ast.If)
        deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not chained))
    return deepest


@every_source
def test_files_and_functions_are_short_and_flat(path):
    assert len(path.read_text().splitlines()) <= FILE
    for node, is_kernel, length, inside in functions(path):
        assert length <= (KERNEL if is_kernel or inside else FUNCTION), node.name
        assert depth(node) <= (KERNEL_DEPTH if is_kernel else DEPTH), node.name


def test_measures_of_length_and_depth_measure(tmp_path):
    source = (
        "def f(a):\n    'doc'\n    # why\n    for x in a:\n        if x:\n            return 1\n"
        "\n    def g():\n        'doc'\n        return f\n\n    return g\n"
    )
    assert depth(ast.parse(source).body[0]) == 2
    (tmp_path / "a.py").write_text(source)
    found = {node.name: tuple(rest) for node, *rest in functions(tmp_path / "a.py")}
    assert found == {"f": (False, 6, 1), "g": (True, 1, 0)}
    lengths = [length for path in SOURCES for _, _, length, _ in functions(path)]
    assert max(lengths) > 20


def helpers(function):
    """Return ``function`` and the functions of the rules that it calls."""
    found = [function]
    names = function.__code__.co_names
    named = [function.__globals__[name] for name in names if name in function.__globals__]
    for value in [*named, *(cell.cell_contents for cell in function.__closure__ or ())]:
        if isinstance(value, types.FunctionType) and value.__module__.startswith("fastopt.rules"):
            found += helpers(value)
    return found


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_updates_hold_no_number_and_no_branch(rule):
    """A Python number makes a float32 loop a float64 one; a branch may keep it from SIMD."""
    for function in helpers(rule.update):
        node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        indices = {
            leaf
            for child in ast.walk(node)
            if isinstance(child, ast.Subscript)
            for leaf in ast.walk(child.slice)
        }
        for child in ast.walk(node):
            assert not isinstance(child, ast.If | ast.For | ast.While | ast.Try), function
            if isinstance(child, ast.Constant) and child not in indices:
                assert isinstance(child.value, str), (function, child.value)


def test_every_rule_has_cases_at_its_defaults_and_with_each_flag():
    assert {case.rule_name for case in PLAIN} == set(RULES)
    for name, rule in RULES.items():
        varied = {option for case in CASES if case.rule_name == name for option in case.hyper}
        siblings = {
            option for case in CASES if case.rule.update is rule.update for option in case.hyper
        }
        assert varied <= set(rule.hyper)
        assert {"weight_decay", "maximize"} & set(rule.hyper) <= siblings, name


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_rows_are_complete(rule):
    assert rule.formula
    assert rule.source
    assert next(iter(rule.hyper)) == "lr"
    assert all(kind.summary for kind in rule.hyper.values())
    assert rule.pack() == rule.pack({name: kind.default for name, kind in rule.hyper.items()})


MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCES
    if path.parts[len(ROOT.parts)] != "bench"
]


def public_names(module):
    """Return what a module lists, or, where it lists nothing, what it defines."""
    defined = (
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    )
    return getattr(module, "__all__", None) or [*defined]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for name in public_names(module):
        value = getattr(module, name)
        if not (inspect.isroutine(value) or inspect.isclass(value)):
            continue  # tables and type aliases are documented where they stand
        assert inspect.getdoc(value), name
        if not inspect.isclass(value):
            continue
        own = {k: v for k, v in vars(value).items() if not k.startswith("_")}
        for attribute, member in own.items():
            if callable(member) or isinstance(member, property | classmethod | staticmethod):
                assert inspect.getdoc(getattr(value, attribute)), f"{name}.{attribute}"


def test_all_errors_have_one_base():
    errors = importlib.import_module("fastopt.errors")
    for name in errors.__all__:
        value = getattr(errors, name)
        assert issubclass(value, FastoptError | Warning)
        if value is not FastoptError and not issubclass(value, Warning):
            builtin = [base for base in value.__mro__ if base.__module__ == "builtins"]
            assert builtin[0] is not Exception, f"{name} inherits no built-in a caller would expect"


# In pieces, so that this file does not hold what it looks for.
PUT_OFF = re.compile(
    "|".join((r"\bTO" + "DO\\b", r"\bFIX" + "ME\\b", r"\bX" + "XX\\b", "for " + "now"))
)
MACHINE = re.compile(
    "|".join(("/ho" + "me/", "/ro" + "ot/", "/wo" + "rk/", "/tm" + "p/v", "local" + "host"))
)


@every_text
def test_nothing_is_put_off_and_no_machine_is_named(path):
    text = path.read_text()
    assert not PUT_OFF.findall(text)
    assert not MACHINE.findall(text)


@every_source
def test_nothing_is_printed_or_set_by_the_libraries(path):
    """Output belongs to the command line and to bench; state belongs to objects, not to modules."""
    module = tree(path)
    if not re.fullmatch(r"sweeps/(cli/.*|common/progress)\.py|bench/.*", name_of(path)):
        called = [n.func for n in ast.walk(module) if isinstance(n, ast.Call)]
        assert "print" not in {getattr(function, "id", "") for function in called}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and not re.fullmatch(EXPORTS, name_of(path)):
            assert "*" not in [alias.name for alias in node.names]


# Packages that have the names of their files' ``__all__``, so that a new optimizer is in no list.
EXPORTS = r"fastopt/(classes/|torch/)?__init__\.py"


@pytest.mark.parametrize("path", [p for p in SOURCES if re.fullmatch(EXPORTS, name_of(p))])
def test_stars_stand_for_names_that_a_file_of_the_package_lists(path):
    package = ".".join(path.relative_to(ROOT).parent.parts)
    stars = [
        node.module
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and "*" in [alias.name for alias in node.names]
    ]
    assert stars
    for module in stars:
        assert module.startswith(f"{package}.")
        assert importlib.import_module(module).__all__


def test_the_files_of_tests_that_run_first_are_there():
    assert [name for name in LONG if not (ROOT / name).is_file()] == []
