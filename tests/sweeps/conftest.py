"""What all tests of sweeps share."""

import math

import pytest

from sweeps.engine import ahead


@pytest.fixture(autouse=True)
def _one_compiler(monkeypatch):
    """Compile in the test's own process: workers of pytest have all cores busy."""
    monkeypatch.setattr(ahead, "START", math.inf)
