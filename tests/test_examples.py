"""The examples run as users run them, and reach what their texts say."""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(path.stem for path in EXAMPLES.glob("*.py"))


def run(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()


def test_every_program_has_a_test():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert set(PROGRAMS) <= tested


def test_numpy_loop(capsys):
    assert run("numpy_loop") > 0.93
    assert "test accuracy of the average" in capsys.readouterr().out


def test_njit_loop():
    """Two percent of noise on 200 points fixes the four parameters to about this much."""
    assert run("njit_loop") < 0.03


def test_sklearn_mlp():
    ours, theirs = run("sklearn_mlp")
    assert ours > 0.95
    assert abs(ours - theirs) < 0.03


def test_resume():
    same, reused = run("resume")
    assert same
    assert 0 < reused < 120_000


def test_dask_run():
    assert run("dask_run")


def test_shard_run():
    assert run("shard_run") == (True, 120_000)


def test_torch_loop():
    """The same curve: steps agree to two ulps, and 100 of them amplify that a thousandfold."""
    theirs, ours = run("torch_loop")
    assert ours[0] == theirs[0]
    np.testing.assert_allclose(ours[:20], theirs[:20], rtol=1e-5)
    np.testing.assert_allclose(ours, theirs, rtol=1e-2)
    assert ours[-1] < 0.75 * ours[0]


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_autograd_jax_trains():
    first, last = run("autograd_jax")
    assert last < 0.05 * first


def test_autograd_jax(capsys):
    """Without JAX it says what to install; with JAX see above."""
    if importlib.util.find_spec("jax") is None:
        assert run("autograd_jax") is None
        assert 'pip install "jax[cpu]"' in capsys.readouterr().out
