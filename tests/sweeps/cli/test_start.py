"""Commands that answer at once, since they import nothing that takes long."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sweeps import problems, sweep
from sweeps.common.known import DATASETS, TEST_FUNCTIONS
from tests.conftest import ROOT

HEAVY = ("numba", "llvmlite", "pandas", "sklearn", "scipy", "matplotlib", "torch", "plotly")

RUN = """
import json, sys
from sweeps.cli.commands import main
sys.argv[0] = "fastopt"
heavy = json.loads(sys.argv.pop(1))
try:
    main()
except SystemExit as end:
    print([name for name in heavy if name in sys.modules], end.code, file=sys.stderr)
"""


def brought(*args, heavy=HEAVY):
    """Run a command in a process of its own; return what it says and which packages it imports."""
    command = [sys.executable, "-c", RUN, json.dumps(heavy), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout, done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "args",
    [["--help"], ["sweep", "--help"], ["model", "--help"], ["plot", "--help"], ["study", "--help"]],
)
def test_help_waits_for_nothing(args):
    said, heavy = brought(*args, heavy=(*HEAVY, "numpy", "pyarrow"))
    assert "Usage: fastopt" in said
    assert heavy == "[] 0"


@pytest.mark.parametrize("args", [["list"], ["list", "--json"]])
def test_lists_wait_for_no_compiler_and_no_data(args):
    said, heavy = brought(*args)
    assert "adamw" in said
    assert "rosenbrock" in said
    assert heavy == "[] 0"


def test_status_waits_for_no_compiler_and_no_data(tmp_path):
    space = {"lr": [0.01, 0.02]}
    sweep(problems.ellipse(), space, steps=3, store=tmp_path, progress=False, n_jobs=1)
    said, heavy = brought("status", tmp_path, "--json")
    assert json.loads(said)["finished"] == 2
    assert heavy == "[] 0"


def test_what_is_listed_of_a_problem_is_what_its_constructor_says():
    lines = {name: make.__doc__.split("\n")[0] for name, make in problems.PROBLEMS.items()}
    assert lines == {**DATASETS, **TEST_FUNCTIONS}
    assert list(lines) == [*DATASETS, *TEST_FUNCTIONS]
