"""Pages about the code are true: what they name is there, a step and a sweep go as drawn."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import fastopt
import fastopt.torch
from sweeps import problems, sweep
from sweeps.engine.run_blocks import threads

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = (DOCS / "how-it-works.md").read_text()
GLOSSARY = (DOCS / "glossary.md").read_text()
STEP, SWEEP, _ = re.findall(r"^```none\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
DRAWN = re.compile(r"([\w/]+\.py): (\w[\w.]*(?:, \w[\w.]*)*)")
WORD = re.compile(r"^\| (.+?) \| .+ \| ((?:`[\w.]+`(?:, )?)+) in \[(.+?)\]\(\.\./(.+?)\) \|$", re.M)


def drawn(picture):
    """Every name in a picture, with the file it is said to be in."""
    found = DRAWN.findall(picture)
    return [(path, name) for path, names in found for name in names.split(", ")]


@functools.cache
def defined_in(path):
    """Names of functions, classes, methods and variables of a file."""
    body = ast.parse((ROOT / path).read_text()).body
    names = set()
    for node in body:
        named = [child for child in ast.walk(node) if isinstance(child, ast.Name)]
        names |= {name.id for name in named if isinstance(name.ctx, ast.Store)}
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = [member for member in node.body if isinstance(member, ast.FunctionDef)]
            names |= {f"{node.name}.{member.name}" for member in inner}
    return names


@pytest.mark.parametrize("picture", [STEP, SWEEP], ids=["step", "sweep"])
def test_names_in_the_pictures_exist(picture):
    assert len(drawn(picture)) >= 12
    assert [(p, name) for p, name in drawn(picture) if name not in defined_in(p)] == []


def test_every_word_of_the_glossary_is_where_it_is_said_to_be():
    words = WORD.findall(GLOSSARY)
    assert len(words) == GLOSSARY.count("\n| ") - GLOSSARY.count("\n| word |")
    assert len({word for word, *_ in words}) == len(words) >= 40
    for word, names, shown, path in words:
        assert shown == path, word
        missing = set(re.findall(r"`(.+?)`", names)) - defined_in(path)
        assert not missing, word


def test_files_and_tables_of_the_page_exist():
    """In a row of the table of hands, a name in capitals is a table of one of the row's files."""
    for path in re.findall(r"`([\w/]+/(?:[\w.]+\.py)?)`", PAGE):
        assert (ROOT / path).exists(), path
    rows = [line for line in PAGE.splitlines() if re.match(r"\| an? ", line)]
    assert len(rows) >= 9
    for row in rows:
        files = re.findall(r"`([\w/]+\.py)`", row)
        tables = re.findall(r"`([A-Z]{4,})`", row)
        assert all(any(name in defined_in(f) for f in files) for name in tables), row


# --- rooms ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages_of_rooms", DOCS / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_map_of_rooms_is_made_from_their_docstrings(pages):
    assert len(pages.rooms_of("sweeps")) > 15  # tests/test_imports.py: they are all, in order
    assert pages.with_rooms(PAGE) == PAGE, "run python docs/pages.py"


# --- the ways of a step and of a sweep ------------------------------------------------------------


def calls_of(function):
    """Run ``function``; return the calls in our code, in order, of threads that it starts as well.

    A call is a file and a name; of a constructor the name is that of the class.
    """
    calls = []

    def note(frame, event, arg):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(str(ROOT)):
            path = str(Path(code.co_filename).relative_to(ROOT))
            calls.append((path, code.co_qualname.removesuffix(".__init__")))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return calls


def not_reached(names, calls):
    """Return those of ``names`` that are not called, each after the one before it."""
    left = iter(calls)
    return [pair for pair in names if pair not in left]


def seen_by_python(picture):
    """Names in a picture but for what is drawn in the box of compiled code."""
    lines, depth = [], None
    for line in picture.splitlines():
        if "+- compiled" in line:
            depth = line.index("+- compiled")
        elif depth is not None and line[depth : depth + 3] == "+--":
            depth = None
        elif depth is None:
            lines.append(line)
    return "\n".join(lines)


def test_a_step_of_numpy_and_of_torch_goes_as_drawn():
    p, q = np.ones(8), torch.nn.Parameter(torch.ones(8))
    numpy, adapter = fastopt.Adam(p), fastopt.torch.Adam([q])
    q.grad = torch.ones(8)

    def steps():
        numpy.step(np.ones(8))
        adapter.step()

    steps()  # compiles
    calls, names = calls_of(steps), drawn(seen_by_python(STEP))
    assert len(names) == 7
    assert set(names) <= set(calls)


def test_a_sweep_with_a_store_goes_as_drawn(tmp_path):
    """From the call to a row, through twenty files at most."""
    problem, space = problems.iris(hidden=(8,)), {"lr": [0.01, 0.1]}

    def run(name, pool):
        how = {"epochs": 1, "store": tmp_path / name, "executor": pool, "progress": False}
        return sweep(problem, space, **how).to_frame()

    with ThreadPoolExecutor(1) as pool:
        expected = run("first", pool)  # compiles
    threads.cache_clear()  # those that are made from here on are watched
    with ThreadPoolExecutor(1) as pool:
        frames = []
        calls = calls_of(lambda: frames.append(run("second", pool)))
    assert frames[0].equals(expected)
    _, *names = drawn(seen_by_python(SWEEP))  # the problem is there already
    assert len(names) >= 12
    assert not_reached(names, calls) == []
    assert len({path for path, _ in drawn(SWEEP)}) <= 20


def test_a_way_that_is_not_gone_is_found():
    calls = [("a.py", "f"), ("a.py", "g"), ("b.py", "h")]
    assert not_reached(calls, calls) == not_reached(calls[::2], calls) == []
    assert not_reached([("b.py", "h"), ("a.py", "f")], calls) == [("a.py", "f")]
