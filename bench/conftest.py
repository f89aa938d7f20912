"""``--quick`` runs every benchmark once on little data, to see that it works."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--quick``."""
    parser.addoption("--quick", action="store_true", help="tiny sizes and few rounds")


@pytest.fixture(scope="session")
def quick(request: pytest.FixtureRequest) -> bool:
    """Whether the numbers do not matter."""
    return request.config.getoption("--quick")
