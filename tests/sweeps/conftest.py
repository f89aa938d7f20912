"""What all tests of sweeps share."""

import math

import pytest

from sweeps.engine import ahead


@pytest.fixture(autouse=True, scope="session")
def _one_compiler():
    """Compile in the process of the test: pytest's workers keep all cores busy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "START", math.inf)
        yield
