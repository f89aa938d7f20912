"""Numba's layers of threads, in programs that tests run."""

import os
import sys
from pathlib import Path

import pytest


def environment_of(layer):
    """Return what a program needs to have a layer; skip the test where that is not installed."""
    chosen = {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "2"}
    if layer != "tbb":
        return chosen
    # Where pip puts it, which is no place that the system looks at.
    folder = Path(sys.prefix) / "lib"
    if not (folder / "libtbb.so.12").exists():
        pytest.skip("there is no libtbb.so.12 in this environment: pip install tbb")
    return chosen | {"LD_LIBRARY_PATH": f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
