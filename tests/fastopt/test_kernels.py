"""The compiled step: the same bits however it is run.

Nothing here knows a formula: every run is compared with another run of the same rule.
"""

from __future__ import annotations

import itertools

import numba
import numpy as np
import pytest

from fastopt.machine.many import OVERHEAD
from fastopt.machine.steps import PARALLEL_FROM
from tests.helpers.cases import EDGES, ELEMENTWISE, PLAIN, fresh, signed
from tests.helpers.stepping import step_arrays

DTYPES = [np.float32, np.float64]
STEPS = 3
both = pytest.mark.parametrize("dtype", DTYPES)
# Hyperparameters are data: the defaults of a rule run the same machine code as all its flags.
elementwise = pytest.mark.parametrize("case", ELEMENTWISE, ids=str)

# Backwards: tests/fastopt/test_rules.py compiles the same kernels, forwards and on the other
# worker, and so each finds half of them on disk.
plain = pytest.mark.parametrize("case", PLAIN[::-1], ids=str)
every_twin = pytest.mark.parametrize("parallel", [False, True], ids=["serial", "parallel"])


def gradients(n, dtype):
    return [signed(np.random.default_rng(step), n, dtype) for step in range(STEPS)]


def run(rule, state, gs, parallel=False):
    for g in gs:
        step_arrays(rule, state.h, state.clock, g, state.x, parallel=parallel)
    return state


def bits(state):
    return [a.tobytes() for a in (state.clock, *state.x)]


@pytest.fixture
def threads():
    """Set the number of threads for one test."""
    before = numba.get_num_threads()
    yield numba.set_num_threads
    numba.set_num_threads(before)


@both
@plain
def test_twins_and_thread_counts_agree(case, dtype, threads):
    for n in EDGES:
        gs = gradients(n, dtype)
        serial = bits(run(case.rule, fresh(case, n, dtype), gs))
        for count in range(1, numba.config.NUMBA_NUM_THREADS + 1):
            threads(count)
            parallel = bits(run(case.rule, fresh(case, n, dtype), gs, parallel=True))
            assert parallel == serial, (n, count)


@both
@plain
def test_guard_picks_a_twin_without_changing_the_result(case, dtype):
    for n in (PARALLEL_FROM - OVERHEAD - 1, PARALLEL_FROM - OVERHEAD):
        gs = gradients(n, dtype)
        expected = bits(run(case.rule, fresh(case, n, dtype), gs))
        assert bits(run(case.rule, fresh(case, n, dtype), gs, parallel=None)) == expected


@both
@elementwise
def test_pieces_give_the_bits_of_the_whole(case, dtype):
    n, rule = 4099, case.rule
    gs = gradients(n, dtype)
    whole = run(rule, fresh(case, n, dtype), gs)
    for seed in range(4):
        rng, state = np.random.default_rng(seed), fresh(case, n, dtype)
        cuts = [0, *sorted(rng.choice(n, 2 + 10 * seed, replace=False)), n]
        for g in gs:
            clocks = []
            for a, b in itertools.pairwise(cuts):
                clocks.append(state.clock.copy())
                step_arrays(
                    rule, state.h, clocks[-1], g[a:b], [x[a:b] for x in state.x], parallel=False
                )
            state.clock[:] = clocks[0]
        assert bits(state) == bits(whole)


@every_twin
@both
@plain
def test_alignment_does_not_matter(case, dtype, parallel):
    """Views that start at any of the first 18 elements, each array at another one."""
    n, gs = 1025, gradients(1025, dtype)
    expected = bits(run(case.rule, fresh(case, n, dtype), gs, parallel))
    for offset in range(18):
        state = fresh(case, n, dtype)

        def shifted(a, by):
            view = np.zeros(n + 32, dtype)[by : by + n]
            view[:] = a
            return view

        state.p = shifted(state.p, offset)
        state.slots = tuple(
            shifted(a, (offset + 5 * k + 3) % 18) for k, a in enumerate(state.slots)
        )
        views = [shifted(g, (7 * offset) % 18) for g in gs]
        assert bits(run(case.rule, state, views, parallel)) == expected, offset


@every_twin
@both
@plain
def test_neighbours_and_gradient_are_not_written(case, dtype, parallel):
    n = 1023
    state, g = fresh(case, n, dtype), gradients(n, dtype)[0]
    buffers = [np.full(n + 64, 7, dtype) for _ in state.x]
    views = tuple(buffer[32 : 32 + n] for buffer in buffers)
    for view, a in zip(views, state.x):
        view[:] = a
    before = g.copy()
    step_arrays(case.rule, state.h, state.clock, g, views, parallel=parallel)
    np.testing.assert_array_equal(g, before)
    for buffer in buffers:
        assert (buffer[:32] == 7).all()
        assert (buffer[32 + n :] == 7).all()
