"""Long numbers: arrays of more than 2^31 elements, steps past 2^31, 10^9 trials folded as they run.

Their long forms take what few machines have to spare: 9 to 18 GB of memory, minutes of a core.
"""

import math

import numpy as np
import pytest

import fastopt
from sweeps import histogram, linspace, problems, sweep
from sweeps.common.resources import free_memory

MANY = 2**31 + 33


def needs(bytes_each):
    """Skip the test without the memory for so many bytes an element."""
    if (free := free_memory()) < (need := 1.1 * bytes_each * MANY):
        pytest.skip(f"needs {need / 1e9:.0f} GB of free memory, {free / 1e9:.0f} are")


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "before", "bytes_each"),
    [("SGD", 0, 4), ("SGD", 5, 4), ("Signum", 0, 8), ("Lion", 5, 8)],
)
def test_more_elements_than_32_bits_count(name, before, bytes_each, counted):
    """Positions are of 64 bits, in an array and behind others (torch's test of large tensors)."""
    torch = pytest.importorskip("torch")
    import fastopt.torch

    needs(bytes_each)
    params = [torch.nn.Parameter(torch.ones(k, dtype=torch.bfloat16)) for k in (before, MANY)]
    for p in params:
        p.grad = torch.ones_like(p)
    getattr(fastopt.torch, name)(params, lr=0.25).step()
    for p in params:
        for part in p.detach().split(2**28):
            assert (part == 0.75).all()
    counted(MANY)


@pytest.mark.soak
def test_a_norm_of_more_elements_than_32_bits_count(counted):
    needs(4)
    g = np.ones(MANY, np.float32)
    assert fastopt.clip_grad_norm_([g], 1.0) == pytest.approx(math.sqrt(MANY), rel=1e-6)
    assert np.ptp(g[:: 2**20]) == 0.0
    np.testing.assert_allclose(g[-40:], MANY**-0.5, rtol=1e-6)
    counted(MANY)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    "steps", [2**10, *(pytest.param(2**k + 3, marks=pytest.mark.soak) for k in (24, 31))]
)
@pytest.mark.parametrize(
    ("rule", "schedule", "total"), [("sgd", "linear", 0.5), ("momentum", "constant", 10.0)]
)
def test_a_sweep_counts_its_steps(rule, schedule, total, steps, counted):
    """Where curvature is 1, x shrinks by the ``total`` of the learning rates, here 1 / steps."""
    how = {"optimizer": rule, "schedule": schedule, "steps": steps, "progress": False}
    frame = sweep(problems.ellipse(), {"lr": [1.0 / steps]}, **how).to_frame()
    assert frame.steps.tolist() == [steps]
    assert math.log(10.0 / frame.x[0]) == pytest.approx(total, rel=1e-6 + 200 / steps)
    counted(steps)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("n", [10**5, pytest.param(10**9, marks=pytest.mark.soak)])
def test_trials_are_folded_whatever_their_number(n, counted):
    """The larger the learning rate, the smaller the loss: where it crosses a value is known."""

    def loss(i):
        x, y = (
            start * (1.0 - k * 0.05 * i / (n - 1)) ** 3 for start, k in zip((10.0, 1.0), (1, 10))
        )
        return 0.5 * x * x + 5.0 * y * y

    first, last = 0, n - 1  # the smallest whose loss is below 45 lies between
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (first, middle) if loss(middle) < 45.0 else (middle, last)
    how = {"optimizer": "sgd", "steps": 3, "reduce": histogram("train_loss", [45.0])}
    table = sweep(problems.ellipse(), {"lr": linspace(0.0, 0.05, n)}, progress=False, **how)
    assert table.COMPLETE.tolist() == [n - last, last]
    assert table.attrs["finished"] == n
    counted(n)
