"""The benchmarks work: no other test runs them, so one that had rotted would not be seen."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path.stem for path in (ROOT / "bench").glob("*.py") if path.stem != "jax_side")


@pytest.mark.parametrize("name", FILES)
def test_every_file_can_be_imported(name):
    """What the benchmarks take from the packages is there still."""
    importlib.import_module(f"bench.{name}")


@pytest.mark.soak
def test_every_benchmark_runs_on_little_data():
    """Also on JAX, if ``FASTOPT_JAX_PYTHON`` names an interpreter that has it."""
    command = [sys.executable, "-m", "pytest", "bench", "--benchmark-enable", "--quick", "-q"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-5000:]
