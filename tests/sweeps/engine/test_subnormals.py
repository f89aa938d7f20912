"""Subnormal numbers are zero in trials, and nowhere else."""

import numpy as np

from fastopt.compile import kernel
from sweeps import problems, sweep
from sweeps.engine.run_blocks import threads
from sweeps.engine.subnormals import flush_subnormals, restore

LEAST = {kind: np.finfo(kind).tiny for kind in (np.float32, np.float64)}


def multiplying(flushes):
    def run(a, b, out):
        if flushes:
            before = flush_subnormals()
        for k in range(a.size):
            out[k] = a[k] * b[k]
        if flushes:
            restore(before)

    return run


def product(a, b, kind, flushes):
    """Return a product of compiled code, computed as SIMD vectors and one by one."""
    a, b, out = np.full(67, a, kind), np.full(67, b, kind), np.full(67, 3.0, kind)
    kernel(multiplying, flushes)(a, b, out)
    assert (out == out[0]).all()
    return out[0]


def test_results_and_arguments_are_zero_until_the_mode_is_restored():
    for kind, least in LEAST.items():
        below = least * kind(0.5)
        assert product(least, 0.5, kind, True) == product(below, 2.0, kind, True) == 0.0
        assert product(least, 1.0, kind, True) == least
        assert product(least, 0.5, kind, False) == below > 0.0
        assert product(below, 2.0, kind, False) == least


def test_trials_end_without_them_and_threads_get_their_mode_back():
    """Heavy ball on a parabola: halved for ever, to nearest, x would stay subnormal."""
    how = {"optimizer": "momentum", "steps": 30_000, "progress": False}
    frame = sweep(problems.ellipse(), {"lr": [0.05, 0.09]}, **how).to_frame()
    numbers = frame[["x", "y", "train_loss"]].abs().to_numpy()
    assert ((numbers == 0.0) | (numbers >= LEAST[np.float64])).all()
    assert (numbers < 1e-300).all()
    below = np.full(64, LEAST[np.float64]) * 0.5
    for multiply in (np.multiply, lambda *args: threads().submit(np.multiply, *args).result()):
        assert (multiply(below, np.ones(64)) > 0.0).all()
