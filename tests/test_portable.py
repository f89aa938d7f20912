"""``FASTOPT_CPU=portable``: the same code, and the same frames, whatever CPU there is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fastopt.code import target
from tests.conftest import ROOT

HOSTS = (
    {},
    {"NUMBA_CPU_NAME": "haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4"},
    {"NUMBA_CPU_NAME": "znver3", "NUMBA_CPU_FEATURES": "+avx2,+fma", "OPENBLAS_CORETYPE": "Zen"},
)

STEP = """
import fastopt
from fastopt.doctor import versions
import numpy as np
from numba.core.registry import cpu_target
from sweeps.problems.small_matmul import register_bytes
p = np.linspace(-1, 1, 101)
fastopt.SGD(p, lr=0.1, momentum=0.9).step(np.exp(p))
compiled_for = cpu_target.target_context.codegen().magic_tuple()[1:]
print(compiled_for, register_bytes(), versions()["CPU"], p.tobytes().hex())
"""

FRAMES = """
import hashlib
from sweeps import logspace, problems, sweep
import numpy as np
import pandas as pd
rng = np.random.default_rng(0)
table = pd.DataFrame({"a": rng.normal(size=90), "b": rng.choice(list("xyz"), 90)})
table["y"] = table["a"] * 2 + (table["b"] == "x")
cases = (
    (problems.digits(hidden=(32,)), {"optimizer": ["adam", "sgd"]}, {"epochs": 2}),
    (problems.digits(hidden=(512, 512)), {}, {"steps": 5, "batch_size": 256}),
    (problems.rosenbrock(), {"optimizer": ["adam", "sgd"]}, {"steps": 200}),
    (problems.table(table, target="y", folds=3, hidden=(8,), embed=["b"]),
     {"dropout": [0.0, 0.2]}, {"epochs": 3}),
)
for problem, axes, options in cases:
    frame = sweep(problem, {"lr": logspace(1e-3, 1e-1, 3), **axes}, **options).to_frame()
    print(hashlib.sha256(frame.to_csv().encode()).hexdigest())
"""


def said(code, **environment):
    """Run code in portable mode; return what it printed."""
    known = {name: value for name, value in os.environ.items() if name not in target._environment()}
    there = {**known, "PYTHONPATH": str(ROOT), target.VARIABLE: "portable", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], env=there, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_step_is_compiled_for_the_same_cpu_whatever_numba_is_told(counted):
    (found,) = {said(STEP, **host) for host in HOSTS[::2]}
    assert found.startswith("('x86-64-v3', '') 32 any x86-64-v3 (FASTOPT_CPU=portable) ")
    counted(2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_frames_are_equal_on_three_cpus(counted):
    (found,) = {said(FRAMES, **host) for host in HOSTS}
    assert len(found.split()) == 4
    counted(4 * len(HOSTS))


@pytest.mark.parametrize(
    ("code", "environment", "message"),
    [
        ("import numba, fastopt", {}, "numpy and numba had been imported before fastopt"),
        ("import fastopt", {target.VARIABLE: "any"}, "FASTOPT_CPU='any': allowed are native and"),
    ],
)
def test_what_cannot_be_is_said(code, environment, message):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), target.VARIABLE: "portable"} | environment
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert message in done.stderr.decode()


def test_a_cpu_without_the_instructions_is_refused(monkeypatch):
    monkeypatch.setattr(target, "mode", lambda: "portable")
    with pytest.raises(ImportError, match=r"x86-64-v3, and this CPU has no avx2, .*: unset it"):
        target.check_host(lambda: {"fma": True})
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(ImportError, match="this machine is arm64"):
        target.fix_target()
