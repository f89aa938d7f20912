"""Steps called from a user's own compiled loop: the bits of the classes."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap

import numba
import numpy as np
import pytest

import fastopt
from fastopt import RULES, ArrayError, ArrayTypeError, HyperparameterError, StateError
from fastopt.machine.arrays import address
from tests.helpers.cases import ONE_OF_A_SHAPE
from tests.helpers.stepping import step_arrays

STEPS = 20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 17, 1000])
def test_a_users_loop_is_adamw_step_for_step(n, dtype):
    step = fastopt.embed("adamw").step

    @numba.njit
    def train(steps, h, clock, target, g, x):
        for _ in range(steps):
            for i in range(g.size):
                g[i] = x[0][i] - target[i]
            step(h, clock, g, x)

    target = np.linspace(-1.0, 1.0, n, dtype=dtype)
    start = np.random.default_rng(0).normal(size=n).astype(dtype)

    h, p = fastopt.hyper("adamw", lr=0.05, weight_decay=0.1), start.copy()
    clock, slots = fastopt.clock("adamw", h), fastopt.slots("adamw", p)
    train(STEPS, h, clock, target, np.empty_like(p), (p, *slots))

    q = start.copy()
    opt = fastopt.AdamW(q, lr=0.05, weight_decay=0.1)
    for _ in range(STEPS):
        opt.step(q - target)
    np.testing.assert_array_equal(p, q)
    entry = opt.state_dict()["state"][0]
    np.testing.assert_array_equal(clock, entry["clock"])
    np.testing.assert_array_equal(slots[0], entry["exp_avg"])
    np.testing.assert_array_equal(slots[1], entry["exp_avg_sq"])


# The others take a second each to compile. Of two products with the gradient, as momentum has, the
# compiler chooses which to fuse to the sum.
QUICK = {*ONE_OF_A_SHAPE, "momentum"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.soak) for n in RULES]
)
def test_every_rule_can_be_embedded(name):
    """One loop serves all rules; each moves downhill on a parabola by the rule's own kernel."""
    step = fastopt.embed(name).step

    @numba.njit
    def train(h, clock, g, x):
        for _ in range(50):
            g[:] = x[0]
            step(h, clock, g, x)

    h = fastopt.hyper(name, lr=0.01)
    ours = [np.array([1.0, -2.0, 0.5]) for _ in range(2)]
    states = [(fastopt.clock(name, h), np.empty(3), (p, *fastopt.slots(name, p))) for p in ours]
    train(h, *states[0])
    clock, g, x = states[1]
    for _ in range(50):
        g[:] = x[0]
        step_arrays(RULES[name], h, clock, g, x)
    np.testing.assert_array_equal(ours[0], ours[1])
    assert (np.abs(ours[0]) < [1.0, 2.0, 0.5]).all()
    assert clock[0] == 50


def test_the_same_name_gives_the_same_function():
    assert fastopt.embed("adam").step is fastopt.embed("adam").step


def test_slots_are_aligned_zeros_like_the_parameter():
    p = np.ones(5000, np.float32)
    slots = fastopt.slots("amsgrad", p)
    assert len(slots) == 3
    for slot in slots:
        assert (slot.shape, slot.dtype, slot.any()) == (p.shape, p.dtype, False)
        assert address(slot) % 64 == 0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: fastopt.embed("adamv"), HyperparameterError, "no rule 'adamv' [(]did you mean"),
        (lambda: fastopt.clock("newton", ()), HyperparameterError, "there are sgd, momentum"),
        (lambda: fastopt.hyper("adam", beta=0.9), HyperparameterError, "'beta' [(]did you mean"),
        (lambda: fastopt.hyper("adam", lr=-1.0), HyperparameterError, "lr.*-1.0"),
        (lambda: fastopt.slots("adam", [1.0]), ArrayTypeError, "p must be a NumPy array"),
        (lambda: fastopt.slots("adam", np.ones(4)[::2]), ArrayError, "not C-contiguous"),
        (lambda: fastopt.embed(["adam"]), HyperparameterError, "no rule"),
        (lambda: fastopt.slots("rprop", np.ones(4), (0.1,)), HyperparameterError, "6 numbers"),
        (lambda: fastopt.clock("sgd", ()), HyperparameterError, "4 numbers"),
        (lambda: _again([2.0]), StateError, "5 elements"),
        (lambda: _again(np.zeros((2, 5))), StateError, "must be a list of numbers"),
        (lambda: _again([math.nan] * 5), StateError, "whole number"),
        (lambda: _again([0.5] * 5), StateError, "whole number"),
    ],
)
def test_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


def _again(running):
    return fastopt.clock("adam", fastopt.hyper("adam"), running)


def test_a_step_refuses_what_would_write_to_other_memory():
    """Types when the call is compiled, sizes when it runs; each of these wrote somewhere."""
    step, h = fastopt.embed("momentum").step, fastopt.hyper("momentum")

    @numba.njit
    def one(h, clock, g, x):
        step(h, clock, g, x)

    def arrays(n=4, dtype=np.float64):
        return [np.ones(n, dtype) for _ in range(2)]

    g, read_only = np.ones(4), np.ones(4)
    read_only.flags.writeable = False
    usual = {"h": h, "clock": fastopt.clock("momentum", h), "g": g, "x": tuple(arrays())}
    cases = [
        ({"h": h[1:]}, ArrayTypeError, "h must be a tuple of"),
        ({"h": list(h)}, ArrayTypeError, "h must be a tuple of"),
        ({"h": tuple(map(np.float32, h))}, ArrayTypeError, "h must be a tuple of"),
        ({"clock": np.zeros(1, np.float32)}, ArrayTypeError, "clock must be a writable 1-D"),
        ({"clock": np.zeros((1, 1))}, ArrayTypeError, "clock must be a writable 1-D"),
        ({"clock": read_only[:1]}, ArrayTypeError, "clock must be a writable 1-D"),
        ({"x": arrays()}, ArrayTypeError, "x must be a tuple .* of 2 arrays"),
        ({"x": (g, *arrays())}, ArrayTypeError, "x must be a tuple .* of 2 arrays"),
        ({"x": tuple(arrays(dtype=np.uint16))}, ArrayTypeError, "all of float32 or all of"),
        ({"x": (np.ones((2, 2)), g)}, ArrayTypeError, "must be 1-D arrays"),
        ({"g": np.ones(4, int)}, ArrayTypeError, "all of float32 or all of float64"),
        ({"g": np.ones(4, np.float32)}, ArrayTypeError, "all of float32 or all of float64"),
        ({"x": (read_only, np.ones(4))}, ArrayTypeError, "one is read-only"),
        ({"g": np.ones(5)}, ArrayError, "must have one size"),
        ({"x": (np.ones(4), np.ones(3))}, ArrayError, "must have one size"),
        ({"clock": np.zeros(0)}, ArrayError, "clock that of fastopt.clock"),
        ({"clock": np.zeros(9)}, ArrayError, "clock that of fastopt.clock"),
    ]
    for change, error, text in cases:
        with pytest.raises(error, match=text):
            one(**{**usual, **change})
    assert (usual["x"][0] == 1.0).all()
    assert usual["clock"][0] == 0.0
    one(**{**usual, "g": read_only, "x": tuple(np.ones(8)[::2] for _ in range(2))})  # any strides
    assert usual["clock"][0] == 1.0


def _big_endian(a):
    return a.astype(a.dtype.newbyteorder(">"))


def _unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    raw[1:].view(a.dtype)[:] = a
    return raw[1:].view(a.dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("change", [_big_endian, _unaligned])
def test_a_step_refuses_memory_that_numba_takes_for_its_own(change, dtype):
    """After calls with native ones: each was taken, and big-endian ones gave other numbers."""
    step, h = fastopt.embed("momentum").step, fastopt.hyper("momentum")

    @numba.njit
    def one(h, clock, g, x):
        step(h, clock, g, x)

    def arrays():
        return [fastopt.clock("momentum", h), *(np.full(4, k, dtype) for k in (2.0, 3.0, 0.0))]

    clock, g, *x = arrays()
    one(h, clock, g, tuple(x))
    with pytest.raises(ArrayError, match="unaligned"):  # Numba knows this form from now on
        one(h, _unaligned(clock), _unaligned(g), tuple(map(_unaligned, x)))
    for k in range(4):
        given = arrays()
        given[k] = change(given[k])
        before = [a.tobytes() for a in given]
        with pytest.raises(ArrayError, match="unaligned, or has the byte order"):
            one(h, given[0], given[1], tuple(given[2:]))
        assert [a.tobytes() for a in given] == before


def test_a_step_takes_arrays_of_any_owner(tmp_path):
    """Of a file, of bytes, of none, a view: owners are asked, if they are arrays."""
    step, h = fastopt.embed("momentum").step, fastopt.hyper("momentum", lr=1.0)

    @numba.njit
    def one(h, clock, g, x):
        step(h, clock, g, x)

    @numba.njit
    def of_bytes(h, clock, numbers, x):
        step(h, clock, np.frombuffer(numbers, np.float64), x)
        step(h, clock, np.ones(3), (x[0], np.zeros(3)))

    mapped = np.memmap(tmp_path / "p", np.float64, "w+", shape=3)
    whole = np.zeros((3, 4))
    structured = np.zeros(3, [("a", "f8"), ("b", ">f8")])
    for p in (
        mapped,
        whole[1, :3],
        structured["a"],
        np.zeros(5)[1:4],
        np.zeros(24, "u1").view("f8"),
    ):
        one(h, fastopt.clock("momentum", h), np.ones(3), (p, np.zeros(3)))
        np.testing.assert_array_equal(p, -1.0)
        for numbers in (np.ones(3).tobytes(), bytearray(np.ones(3)), memoryview(np.ones(3))):
            of_bytes(h, fastopt.clock("momentum", h), numbers, (p, np.zeros(3)))
        np.testing.assert_array_equal(p, -7.0)
    foreign = np.memmap(tmp_path / "q", ">f8", "w+", shape=3)
    with pytest.raises(Exception, match=r"Unsupported array dtype|byte order"):
        one(h, fastopt.clock("momentum", h), np.ones(3), (foreign, np.zeros(3)))


def test_importing_fastopt_compiles_nothing_and_imports_nothing_heavy():
    script = """
        import sys
        import fastopt
        from numba.core.registry import CPUDispatcher
        import gc
        names = {"pandas", "torch", "matplotlib", "scipy.stats", "sklearn", "sweeps"}
        heavy = names & set(sys.modules)
        assert not heavy, heavy
        ours = [d for d in gc.get_objects() if isinstance(d, CPUDispatcher)]
        assert not any(d.signatures for d in ours if d.__module__.startswith("fastopt"))
    """
    run = [sys.executable, "-c", textwrap.dedent(script)]
    subprocess.run(run, check=True, timeout=120)
