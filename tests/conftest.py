"""Fixtures shared by the tests, which are processes of their own, and the order of the files."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import hypothesis
import pytest

from tests.helpers.compilations import Compilations
from tests.helpers.order import place_of

# A deadline is an assertion on the clock, which a busy machine fails.
hypothesis.settings.register_profile("fastopt", deadline=None)
hypothesis.settings.load_profile("fastopt")

ROOT = Path(__file__).parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Keep the order of files: pytest-xdist would begin with those of most tests."""
    config.option.loadscopereorder = False
    config.pluginmanager.register(Compilations())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None]:
    """Let the garbage collector pass over what is imported, five million objects that stay.

    It takes a second for them, as often as a test asks for it, and some seconds while they come.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files; the tests of a file stay together."""
    items.sort(key=lambda item: place_of(item.nodeid))


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return ``python(code, path=(), **environment)``, which runs ``code`` in a new interpreter.

    Folders in ``path`` come first in the module search. A failure shows the child's stderr.
    """

    def run(code: str, path: tuple = (), **environment: str) -> subprocess.CompletedProcess[str]:
        search = os.pathsep.join(map(str, [*path, ROOT]))
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": search, **environment},
            capture_output=True,
            text=True,
            timeout=1200,
            cwd=path[0] if path else ROOT,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Callable[[int], None]:
    """Return ``counted(n)``, which says that a test showed its promise in so many cases.

    A test that does not say is one case; ``python docs/reliability.py`` adds them up.
    """

    def note(cases: int) -> None:
        request.node.user_properties.append(("cases", int(cases)))

    return note
