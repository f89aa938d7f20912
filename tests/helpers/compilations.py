"""What the processes of a run of the tests compile: no kernel twice.

Each compilation is a line in a file of the cache folder, whichever process it is of. Tests that
need an empty cache have a folder of their own, which does not count here.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest


def journal() -> Path:
    from fastopt.code.cache import cache_folder

    return (cache_folder() or Path()) / "turns"


class Compilations:
    """A plugin that counts, in workers of pytest-xdist or without, and tells at the end."""

    def __init__(self) -> None:
        self._start = 0
        self._names: list[str] = []

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        if not _is_controller(session.config) and journal().exists():
            self._start = journal().stat().st_size

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if _is_controller(session.config) or not journal().exists():
            return
        self._names = journal().read_bytes()[self._start :].decode().splitlines()
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["compiled"] = self._names

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        names = getattr(node, "workeroutput", {}).get("compiled", [])
        self._names = max(self._names, names, key=len)  # the last one to end has seen all

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        twice = sorted(name for name, n in Counter(self._names).items() if n > 1)
        n = len(self._names)
        terminalreporter.write_line(f"{n} kernels compiled, {len(twice)} of them twice")
        for name in twice:
            terminalreporter.write_line(f"  {name}")


def _is_controller(config: pytest.Config) -> bool:
    is_shared = getattr(config.option, "dist", "no") != "no"
    return is_shared and not hasattr(config, "workerinput")
