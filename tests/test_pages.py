"""The Python of the README and of the documentation runs, and prints what the pages say it does."""

import contextlib
import copy
import doctest
import importlib
import importlib.util
import inspect
import io
import re
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import distributed
import pytest

from sweeps import SweepResult
from sweeps.plots import Plotter

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# The blocks of docs/adding-an-optimizer.md are files of the package: tests/test_docs.py runs them.
PAGES = [
    ROOT / "README.md",
    *sorted(p for p in DOCS.glob("*.md") if p.stem != "adding-an-optimizer"),
]
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


def words(text):
    """Split ``text`` at white space, numbers as floats."""
    return [
        float(w) if re.fullmatch(r"-?\d+\.\d+", w) else w for w in re.split(r"[\s,\[\]]+", text)
    ]


def same(word, said):
    """Trained accuracies move by an image or two where multiply-adds contract differently."""
    if isinstance(said, float) and isinstance(word, float):
        return word == pytest.approx(said, abs=0.01)
    return word == said


def slurm(cores, processes, memory, walltime):
    """Return a cluster of one thread of this process, which asks nobody for nodes."""
    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    )
    cluster.scale = lambda jobs: None
    return cluster


@pytest.fixture
def clusters(monkeypatch):
    """Put what runs here in the place of libraries that need a cluster; settings of dask's go."""
    jobs, mpi = types.ModuleType("dask_jobqueue"), types.ModuleType("mpi4py.futures")
    jobs.SLURMCluster, mpi.MPIPoolExecutor = slurm, lambda: ThreadPoolExecutor(2)
    monkeypatch.setitem(sys.modules, "dask_jobqueue", jobs)
    monkeypatch.setitem(sys.modules, "mpi4py", types.ModuleType("mpi4py"))
    monkeypatch.setitem(sys.modules, "mpi4py.futures", mpi)
    kept = copy.deepcopy(dask.config.config)
    yield
    dask.config.config.clear()
    dask.config.config.update(kept)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if BLOCK.search(p.read_text())], ids=lambda p: p.name
)
def test_snippets_print_what_the_page_says(page, tmp_path, monkeypatch, clusters):
    """From top to bottom in one namespace, as a reader would paste them."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for code, said in BLOCK.findall(page.read_text()):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(code, page.name, "exec"), names)
        printed = words(out.getvalue())
        if said:
            assert len(printed) == len(words(said)), out.getvalue()
            assert all(map(same, printed, words(said))), out.getvalue()


def test_every_snippet_of_the_readme_shows_its_output():
    shown = [said for _, said in BLOCK.findall((ROOT / "README.md").read_text())]
    assert len(shown) >= 2
    assert all(shown)


def test_the_comparison_can_fail():
    assert not same(0.5, 0.6)
    assert not same("a", "b")
    assert same(0.973, 0.975)


@pytest.fixture(scope="module")
def pages():
    """The module that writes the generated pages."""
    spec = importlib.util.spec_from_file_location("pages", DOCS / "pages.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["pages"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["pages"]


def test_the_examples_of_the_module_are_right(pages):
    failed, tried = doctest.testmod(pages)
    assert (failed, tried >= 4) == (0, True)


def test_generated_pages_show_every_rule_and_every_public_name(pages, tmp_path):
    pages.write(tmp_path / "generated")
    text = {p.stem: p.read_text() for p in (tmp_path / "generated").glob("*.md")}
    for rule in pages.RULES.values():
        assert f"$$ {rule.formula} $$" in text["optimizers"]
        assert all(f"`{name}`" in text["optimizers"] for name in rule.hyper)
    for full in pages.public_names():
        module, name = full.rsplit(".", 1)
        assert f"## {name}\n" in text[module], full


@pytest.mark.parametrize(
    ("name", "count"),
    [("sgd", 12), ("adamw", 28), ("amsgrad", 36), ("cautious_lion", 32), ("mars_adamw", 56)],
)
def test_the_catalogue_tells_what_a_step_moves(pages, name, count):
    """Rules that measure a tensor first read it twice."""
    assert f"| [{name}](#{name.replace('_', '-')}) | {count} |" in pages.overview()
    assert f"Moves {count} bytes an element" in pages.entry(pages.RULES[name])


def test_every_public_name_is_documented_by_an_example(pages):
    """Tables are documented where they stand."""
    without = []
    for full in pages.public_names():
        module, name = full.rsplit(".", 1)
        value = getattr(importlib.import_module(module), name)
        if callable(value) and ">>> " not in (inspect.getdoc(value) or ""):
            without.append(full)
    assert not without


@pytest.mark.parametrize("cls", [SweepResult, Plotter], ids=lambda cls: cls.__name__)
def test_every_method_of_a_result_is_documented_by_an_example(cls):
    methods = [k for k, v in inspect.getmembers(cls) if callable(v) and not k.startswith("_")]
    assert len(methods) >= 7
    assert [k for k in methods if ">>> " not in inspect.getdoc(getattr(cls, k))] == []


def test_every_page_is_in_the_contents():
    contents = (DOCS / "index.md").read_text()
    for page in DOCS.glob("*.md"):
        assert page.stem == "index" or f"\n{page.stem}\n" in contents, page.name
