"""``--quick`` runs every benchmark once on little data, to see that it works."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quick``."""
    parser.addoption("--quick", action="store_true", help="tiny sizes and few rounds")


@pytest.fixture(scope="session")
def quick(request: pytest.FixtureRequest) -> bool:
    """Whether the numbers do not matter."""
    return request.config.getoption("--quick")


@pytest.fixture(autouse=True)
def _quick_is_told(request: pytest.FixtureRequest, quick: bool) -> None:
    """Write into what a quick run stores that it was one: no table is made of it."""
    if quick and "benchmark" in request.fixturenames:
        request.getfixturevalue("benchmark").extra_info["quick"] = True


@pytest.fixture
def jax() -> Iterator[Callable[..., Callable[[], object] | None]]:
    """Return ``jax(kind, *arguments)``: a call that runs JAX's side, None where there is no JAX.

    JAX runs in another interpreter, named in ``FASTOPT_JAX_PYTHON``, or in this one if it is
    installed here.
    """
    processes: list[subprocess.Popen] = []

    def start(kind: str, *arguments: object) -> Callable[[], object] | None:
        python = os.environ.get("FASTOPT_JAX_PYTHON")
        if python is None and importlib.util.find_spec("jax") is None:
            print("no JAX here and no FASTOPT_JAX_PYTHON: JAX is left out")
            return None
        command = [python or sys.executable, HERE / "jax_side.py", kind, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        processes.append(process)

        def run():
            process.stdin.write("go\n")
            assert process.stdout.readline() == "done\n"

        return run

    yield start
    for process in processes:
        process.communicate()  # closes its input, which ends it
