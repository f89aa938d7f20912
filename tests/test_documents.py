"""Nothing in a document is unchecked: every block is of a kind that a test runs, reads or parses.

tests/test_pages.py runs the Python, tests/test_docs.py that of docs/adding-an-optimizer.md,
tests/test_how_it_works.py looks for what is drawn in pictures ("none"). Here are the commands,
which must be such that the shell and our own command line take them, and the calls that stand in
running text.
"""

import ast
import contextlib
import functools
import importlib
import importlib.util
import inspect
import re
import shlex
import subprocess
import tomllib
import warnings
from pathlib import Path

import pytest
import typer
import yaml

import fastopt
import sweeps
from fastopt import schedules
from sweeps import SweepResult, problems
from sweeps.cli.commands import app
from sweeps.plots import Plotter

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PAGES = [page for page in PAGES if "generated" not in page.parts]
FENCE = re.compile(r"^```(\S*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
# Files that commands of the documents write, for others to read.
WRITTEN = {"bench/results.json", "spec.toml", "digits.toml", "wine.toml", "script.py"}


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, *kinds):
    return [text for kind, text in FENCE.findall(page.read_text()) if kind in kinds]


def running_text(page):
    return FENCE.sub("", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_of_a_kind_that_is_checked(page):
    kinds = {kind for kind, _ in FENCE.findall(page.read_text())}
    assert kinds <= {"python", "text", "sh", "yaml", "none", "{toctree}"}
    text = page.read_text()
    # What is said to be printed is compared with what the block before it prints.
    assert text.count("\n```text\n") == text.count("\n```\n\n```text\n")


# --- commands -------------------------------------------------------------------------------------


def taken(words):
    """Parse the arguments of ``fastopt`` as the command line does, without running anything."""
    command = typer.main.get_command(app)
    groups = [command]
    for group in groups:
        for each in group.commands.values():
            each.callback = lambda **options: None
            groups += [each] if hasattr(each, "commands") else []
    command.main(list(words), "fastopt", standalone_mode=False)


def commands(shell):
    """Split a block of shell code into its commands, words each, without variables and comments."""
    lines = shell.replace("\\\n", " ").splitlines()
    for line in lines:
        line = re.sub(r"\$\{?\w+\}?", "0", line)
        for command in re.split(r"&&|\|\||;|\|", line):
            words = shlex.split(command, comments=True)
            if words:
                yield words


def check(words):
    """Raise unless the files, modules and options that a command names are there."""
    program = Path(words[0]).name
    if program == "fastopt":
        taken(words[1:])
    if "-m" in words[1:]:
        module = words[words.index("-m") + 1]
        if program.startswith("python") and module != "mpi4py.futures":
            assert importlib.util.find_spec(module), module
    for word in words[1:]:
        if re.fullmatch(r"[\w./-]+\.(py|md|toml|json)", word) and not Path(word).is_absolute():
            assert word in WRITTEN or (ROOT / word).exists(), word


PAGES_WITH_SHELL = [page for page in PAGES if blocks(page, "sh")]


@pytest.fixture(autouse=True)
def _in_a_checkout(tmp_path, monkeypatch):
    """Commands are typed in a checkout, and write beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")


@pytest.mark.parametrize("page", PAGES_WITH_SHELL, ids=name_of)
def test_shell_blocks_parse_and_name_what_is_there(page):
    for shell in blocks(page, "sh"):
        done = subprocess.run(["bash", "-n"], input=shell, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        for words in commands(shell):
            check(words)


def test_yaml_blocks_parse_and_their_command_is_one():
    found = [yaml.safe_load(text) for page in PAGES for text in blocks(page, "yaml")]
    containers = [c for job in found for c in job["spec"]["template"]["spec"]["containers"]]
    assert containers
    for container in containers:
        *_, shell = container["command"]
        for words in commands(shell):
            assert words[0] == "fastopt"
            check(words)


def test_the_workflow_runs_every_session_of_nox_on_every_python():
    """But those that plain ``nox`` leaves out, which take hours."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    marked = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.decorator_list]
    sessions = {n.name for n in marked if "default=False" not in ast.unparse(n.decorator_list[0])}
    tests, checks = (workflow["jobs"][job]["strategy"]["matrix"] for job in ("tests", "checks"))
    others = [row["session"] for row in tests["include"]]
    assert {*tests["session"], *others, *checks["session"]} == sessions
    promised = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    pythons = {text.split(" :: ")[-1] for text in promised if " Python :: " in text}
    assert set(tests["python"]) == pythons


def examples_of_the_command_line():
    for path in (ROOT / "sweeps" / "cli").glob("*.py"):
        for line in re.findall(r"\[bold\](fastopt .*?)\[/bold\]", path.read_text()):
            yield path, line


def test_commands_in_running_text_and_in_help_are_taken():
    """Some leave out what is clear; no option of them is unknown."""
    texts = [line for page in PAGES for line in INLINE.findall(running_text(page))]
    lines = [line for line in texts if line.startswith("fastopt ")]
    of_help = [line for _, line in examples_of_the_command_line()]
    assert of_help
    lines += of_help
    assert len(lines) > 30
    wrong = {line: complaint(line.replace("I/N", "0/8")) for line in lines}
    assert set(wrong.values()) <= {None, "MissingParameter", "BadOptionUsage"}, wrong


def complaint(line):
    """Return the kind of error that the command line answers with, None if it takes the line."""
    try:
        taken(shlex.split(line)[1:])
    except Exception as error:  # typer may bring a copy of click along: its classes have two homes
        return type(error).__name__
    return None


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("fastopt sweeep x.toml", "UsageError"),
        ("fastopt sweep x.toml --stor y", "NoSuchOption"),
        ("fastopt list --jsn", "NoSuchOption"),
        ("fastopt sweep x.toml --jobs many", "BadParameter"),
        ("fastopt report", "MissingParameter"),
        ("fastopt list", None),
    ],
)
def test_the_command_line_is_really_asked(line, kind):
    assert complaint(line) == kind


# --- calls in running text ------------------------------------------------------------------------


@functools.cache
def public():
    """Every function that a page may call, by its last name; of one name there may be several."""
    rooms = (sweeps, fastopt, problems, schedules, SweepResult, Plotter, fastopt.Adam)
    found = {}
    for room in rooms:
        names = getattr(room, "__all__", None) or [n for n in dir(room) if not n.startswith("_")]
        for name in names:
            if callable(getattr(room, name)) and not inspect.ismodule(getattr(room, name)):
                found.setdefault(name, []).append((room, getattr(room, name)))
    return found


def binds(room, function, call):
    """Tell whether a function takes these arguments, of which ``...`` stands for any number."""
    keywords = {k.arg: None for k in call.keywords if k.arg}
    given = [a for a in call.args if not (isinstance(a, ast.Constant) and a.value is Ellipsis)]
    partial = len(given) < len(call.args) or not (call.args or keywords)
    own = [None] if inspect.isclass(room) else []
    try:
        signature = inspect.signature(function)
        bind = signature.bind_partial if partial else signature.bind
        bind(*own, *[None] * len(given), **keywords)
    except TypeError:
        return False
    return True


def calls(text):
    """Yield the calls in a piece of code from running text, if it is Python."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield getattr(node.func, "id", None) or node.func.attr, node


def wrong_calls(texts):
    for text in texts:
        for name, node in calls(text):
            known = public().get(name, [])
            if known and not any(binds(room, function, node) for room, function in known):
                yield text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_calls_in_running_text_are_such_as_the_functions_take(page):
    assert not list(wrong_calls(INLINE.findall(running_text(page))))


def test_a_wrong_call_is_found():
    assert list(wrong_calls(["zipped(lr=[...], beta1=[...])"]))
    assert list(wrong_calls(["result.heatmap('lr')", "plot(x)"])) == []
    assert list(wrong_calls(["sweep(problem, space, epochz=3)", "logspace(1)"])) == ["logspace(1)"]


# --- names in documents and docstrings ------------------------------------------------------------

PACKAGES = ("fastopt", "sweeps", "bench")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
NAME = re.compile(r"`~?((?:fastopt|sweeps)(?:\.\w+)+)(?:\(\))?`")
FILE = re.compile(r"(?<![\w/.<-])((?:fastopt|sweeps|tests|bench|docs|examples)/[\w/.-]*\w\.\w+)")


@functools.cache
def resolves(name):
    """Tell whether a dotted name leads to something, through modules, classes and attributes."""
    first, *rest = name.split(".")
    value = importlib.import_module(first)
    for k, part in enumerate(rest, 1):
        if inspect.ismodule(value) and not hasattr(value, part):
            with contextlib.suppress(ImportError), warnings.catch_warnings(action="ignore"):
                importlib.import_module(".".join((first, *rest[:k])))  # an old name warns
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=name_of)
def test_names_and_files_that_are_mentioned_exist(path):
    if path.name in ("CHANGELOG.md", "adding-an-optimizer.md"):  # of the past, of an example
        return
    text = path.read_text()
    assert [name for name in NAME.findall(text) if not resolves(name)] == []
    assert [file for file in FILE.findall(text) if not (ROOT / file).exists()] == []


def test_a_name_that_is_gone_is_found():
    assert resolves("sweeps.engine.plan.Plan.blocks")
    assert not resolves("sweeps.engine.plan.Plan.blockz")
    assert not resolves("sweeps.summary")
