"""Landscapes in SIMD lanes: a sweep from Python against C with OpenMP, and JAX's ``vmap``."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.test_step import store
from sweeps import Space, geomspace, linspace, problems, sweep
from sweeps.cli.bench import time_alternating

HERE = Path(__file__).parent
GCC = ("gcc", "-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-ffp-contract=fast",
       "-mprefer-vector-width=512", "-shared", "-fPIC")  # fmt: skip
POINTER = ctypes.POINTER(ctypes.c_double)


def grid(trials: int) -> dict:
    """Return a space of that many trials of Adam (a multiple of 128)."""
    return {
        "lr": geomspace(1e-4, 1e-1, trials // 128),
        "beta1": linspace(0.8, 0.99, 16),
        "beta2": linspace(0.9, 0.9999, 8),
    }


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL | None:
    """Compile the C twin; None without a compiler."""
    if shutil.which(GCC[0]) is None:
        print("no gcc: the C twin is left out")
        return None
    target = tmp_path_factory.mktemp("twin") / "twin.so"
    subprocess.run([*GCC, HERE / "c_twin.c", "-o", target, "-lm"], check=True)
    return ctypes.CDLL(str(target))


def c_twin(library: ctypes.CDLL, trials: int, steps: int) -> Callable[[], np.ndarray]:
    """Return a call that runs the same trials in C; it returns ``(3, trials)`` results."""
    columns = Space(grid(trials)).columns(np.arange(trials))
    h = np.stack([columns["lr"], columns["beta1"], columns["beta2"], np.full(trials, 1e-8)])
    out = np.empty((3, trials))
    given = (
        ctypes.c_long(trials), ctypes.c_long(steps), ctypes.c_double(-2.0), ctypes.c_double(2.0),
        h.ctypes.data_as(POINTER), out.ctypes.data_as(POINTER),
    )  # fmt: skip

    def run():
        library.adam_rosenbrock(*given)
        return out

    return run


def test_adam_on_rosenbrock(benchmark, library, jax, quick):
    """8 192 trials of 2 000 steps in float64, everything from the space to the results."""
    trials, steps = (256, 50) if quick else (8192, 2000)
    problem, space = problems.rosenbrock(start=(-2.0, 2.0)), grid(trials)

    def ours():
        return sweep(problem, space, optimizer="adam", steps=steps, progress=False)

    sides: dict[str, Callable] = {"ours": ours}
    if library is not None:
        sides["C + OpenMP + SIMD"] = c_twin(library, trials, steps)
        found = ours().to_frame()
        # Rounding differs (FMA, Adam's order), and a few of these trials are chaotic: compare the
        # typical one.
        for name, row in zip(
            ("train_loss", "best_loss", "path_length"), sides["C + OpenMP + SIMD"]()
        ):
            assert np.median(np.abs(found[name] / row - 1.0)) < 1e-8
    theirs = jax("lanes", trials, steps)
    if theirs is not None:
        sides["JAX vmap"] = theirs
    times = time_alternating(sides, rounds=2 if quick else 15)
    per_step = {name: seconds / trials / steps for name, seconds in times.items()}
    store(benchmark, "lanes", f"Adam, Rosenbrock, {trials:,} x {steps:,} steps", per_step)
    benchmark.pedantic(ours, rounds=1 if quick else 5)


def test_a_million_trials(benchmark, quick):
    """Heavy ball on a quadratic, 200 steps: seconds of the whole sweep, and per trial and step."""
    n, steps = 32 if quick else 1000, 200
    space = {"momentum": linspace(0.0, 0.99, n), "lr": linspace(0.45 / n, 0.45, n)}

    def ours():
        return sweep(problems.ellipse(), space, optimizer="momentum", steps=steps, progress=False)

    times = time_alternating({"ours": ours}, rounds=2 if quick else 5)
    per_step = {name: seconds / n**2 / steps for name, seconds in times.items()}
    case = f"heavy ball, quadratic, {n * n:,} x {steps} steps"
    store(benchmark, "lanes", case, per_step, whole=times["ours"])
    benchmark.pedantic(ours, rounds=1 if quick else 3)
