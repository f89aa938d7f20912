"""Pictures in tests and doctests: drawn without a window, closed afterwards."""

import os
import sys

import pytest

os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(autouse=True)
def _pictures_are_closed():
    """Close what a test drew: pyplot keeps figures, and warns of more than twenty."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
