"""The worked example of docs/adding-an-optimizer.md is complete: its blocks run, and agree."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import traffic
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES
from fastopt.stepping import fused
from fastopt.torch import Optimizer
from fastopt.torch.binding import made_of
from sweeps.problems.activations import ACTIVATIONS
from sweeps.problems.losses import LOSSES
from sweeps.problems.metrics import METRICS
from tests.helpers.cases import Case, fresh, signed
from tests.helpers.stepping import step_arrays

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = (DOCS / "adding-an-optimizer.md").read_text()
BLOCKS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a block as a module of its own, so that its kernels are cached like any other's."""

    def run(path, **names):
        file = tmp_path / f"docs_{path.replace('/', '_')}"
        file.write_text(BLOCKS[path])
        spec = importlib.util.spec_from_file_location(file.stem, file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, file.stem, module)
        vars(module).update(names)
        spec.loader.exec_module(module)
        return vars(module)

    return run


@pytest.fixture
def rule(execute, monkeypatch):
    made = execute("fastopt/rules/qhm.py")["QHM"]
    monkeypatch.setitem(RULES, "qhm", made)
    return made


def test_every_block_names_its_file():
    assert len(BLOCKS) == PAGE.count("```python")
    for path in BLOCKS:
        assert (ROOT / path).parent.is_dir()


def test_the_doctests_of_the_page_pass(rule, execute):
    for path in ("fastopt/rules/qhm.py", "fastopt/classes/modern.py"):
        names = execute(path)
        for test in doctest.DocTestFinder().find(names.get("qhm") or names["QHM"], globs=names):
            failed, tried = doctest.DocTestRunner().run(test)
            assert (failed, tried > 0) == (0, True)


@pytest.mark.parametrize("k", range(4))
def test_the_rule_is_its_reference(rule, execute, k):
    reference = execute("tests/helpers/references/modern.py")["qhm"]
    case = execute("tests/helpers/cases.py", Case=Case, qhm=reference)["QHM_CASES"][k]
    state, rng = fresh(case, 33, np.float64), np.random.default_rng(k)
    expected = state.x
    for t in range(1, 6):
        g = signed(rng, 33, np.float64)
        expected = reference(case.h, t, expected[0], g, *expected[1:])
        step_arrays(rule, state.h, state.clock, g, state.x)
    for actual, wide in zip(state.x, expected):
        np.testing.assert_allclose(actual, wide, rtol=1e-13, atol=1e-14)


def test_both_classes_take_the_same_step(rule, execute):
    ours, p = execute("fastopt/classes/modern.py")["QHM"], np.ones(3)
    theirs = made_of(ours, Optimizer, __name__)
    q, g = torch.nn.Parameter(torch.ones(3, dtype=torch.float64)), np.array([1.0, -2.0, 3.0])
    opt, twin = ours(p, lr=0.1, ema=0.5), theirs([q], lr=0.1)  # type: ignore[call-arg]
    for _ in range(2):
        opt.step(g, max_norm=1e9)
        q.grad = torch.from_numpy(g.copy())
        twin.step()
    np.testing.assert_array_equal(p, q.detach().numpy())


def test_the_first_coefficient_of_the_example_scales_the_gradient(rule):
    _, c = rule.tick(rule.pack(), rule.clock0(rule.pack()))
    _, scaled = fused.scaled(rule).tick((*rule.pack(), 0.25), (0.0,))
    assert rule.update(scaled, 4.0, (1.0, 0.5)) == rule.update(c, 1.0, (1.0, 0.5))


USE = """
import inspect, pickle, sys
import numpy as np, torch
import fastopt, fastopt.torch
from fastopt.rules import RULES
from fastopt.schedules import SCHEDULES

assert fastopt.__file__.startswith(sys.argv[1])
assert [*RULES][-1] == "qhm"
for module, p in ((fastopt, np.ones(3)), (fastopt.torch, [torch.nn.Parameter(torch.ones(3))])):
    assert "QHM" in module.__all__
    optimizer = pickle.loads(pickle.dumps(module.QHM(p, nu=0.5)))
    assert type(optimizer) is module.QHM
    assert (optimizer.defaults["nu"], optimizer.defaults["beta"]) == (0.5, 0.999)
    assert "\\n    Share of the mean in a step" in inspect.getdoc(module.QHM)
assert issubclass(fastopt.torch.QHM, torch.optim.Optimizer)
options = list(inspect.signature(fastopt.torch.QHM).parameters)
assert options == ["params", "lr", "beta", "nu", "weight_decay", "maximize"]
"""


def test_two_edits_of_the_package_are_all(tmp_path):
    """A file of its own and one class more; every list, and the class of torch, follow."""
    shutil.copytree(ROOT / "fastopt", tmp_path / "fastopt")
    (tmp_path / "fastopt/rules/qhm.py").write_text(BLOCKS["fastopt/rules/qhm.py"])
    family = tmp_path / "fastopt/classes/modern.py"
    text = family.read_text().replace("__all__ = [", '__all__ = ["QHM", ', 1)
    family.write_text(text + BLOCKS["fastopt/classes/modern.py"])
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    program = [sys.executable, "-c", USE, str(tmp_path)]
    subprocess.run(program, check=True, cwd=tmp_path, env=environment)


def test_links_of_the_docs_lead_somewhere():
    for page in DOCS.glob("*.md"):
        # Pages that are generated are there after a build only; tests/test_pages.py makes them.
        for target in re.findall(r"\]\((?!https?:|generated/)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_bytes_an_element_are_those_of_torchs_passes():
    """``python -m bench.traffic`` prints the table."""
    assert traffic.against_torch() in (DOCS / "performance.md").read_text()


def test_counts_of_the_contents_are_those_of_the_tables():
    contents = (DOCS / "index.md").read_text()
    tables = {"rules": RULES, "schedules": SCHEDULES, "losses": LOSSES, "metrics": METRICS}
    for word, table in {**tables, "activations": ACTIVATIONS}.items():
        assert f" {len(table)} {word}" in contents
