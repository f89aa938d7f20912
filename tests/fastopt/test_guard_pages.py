"""No loop reads or writes beyond its arrays: they end, or begin, where memory ends.

In a process of its own: what is at stake is the process.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from fastopt.rules import RULES
from tests.conftest import ROOT

POWERS = [2**k + d for k in range(11, 17) for d in range(-2, 3)]
ALL = [*range(1200), *POWERS]
FEW = [*range(0, 40, 3), 63, 64, 65, 127, 129, 1023, 1025, 4095, 4097]
DTYPES = ("float32", "float64", "bfloat16")
# As many rows as processes: each is one that steps these rules at these lengths.
QUICK = [
    {"dtype": "float32", "rules": ["adamw", "lamb"], "lengths": FEW},
    {"dtype": "float64", "rules": ["momentum"], "lengths": FEW},
    {"dtype": "bfloat16", "rules": ["adamw"], "lengths": FEW},
]
LONG = [{"dtype": dtype, "rules": [*RULES], "lengths": ALL} for dtype in DTYPES]


def str_of(what):
    return " ".join(row["dtype"] for row in what)


def run(code, *args):
    return subprocess.run(
        [sys.executable, *code, *args], cwd=ROOT, capture_output=True, text=True, timeout=3000
    )


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "what", [QUICK, *(pytest.param([row], marks=pytest.mark.soak) for row in LONG)], ids=str_of
)
def test_arrays_between_pages_that_nobody_may_touch(what, counted):
    done = run(["-m", "tests.helpers.guarded"], json.dumps(what))
    assert done.returncode == 0, done.stderr[-2000:]
    cases = int(done.stdout)
    assert cases >= sum(4 * len(row["rules"]) * len(row["lengths"]) for row in what)
    counted(cases)


@pytest.mark.parametrize("offset", [-1, 0])
def test_the_pages_guard(offset):
    """One byte before the memory, and one behind it."""
    code = (
        "import ctypes; from tests.helpers.guarded import Guarded; g = Guarded(9); "
        f"place = g.bytes.ctypes.data + (g.size if {offset} == 0 else -1); "
        "ctypes.memset(g.bytes.ctypes.data, 0, g.size); print('inside', flush=True); "
        "ctypes.memset(place, 0, 1)"
    )
    done = run(["-c", code])
    assert (done.stdout, done.returncode) == ("inside\n", -signal.SIGSEGV), done.stderr
