"""The compiled step: the same bits however it is run, and machine code worth the name.

Nothing here knows a formula: every run is compared with another run of the same rule.
"""

from __future__ import annotations

import itertools
import os
import re

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


DUMP = """
import numpy as np
from fastopt.compile import kernel
from fastopt.machine.loops import spanning
from numba import float64, int64
from tests.helpers.cases import ELEMENTWISE
from tests.fastopt.test_kernels import DOUBLE
NUMBERS, ADDRESSES = float64[::1], int64[:, ::1]
for case in ELEMENTWISE:
    for dtype in map(np.dtype, ("float32", "float64")[: 1 + (case in DOUBLE)]):
        kinds = (dtype,) * (2 + len(case.rule.slots))
        h = case.rule.pack()
        n = len(case.rule.tick(h, case.rule.clock0(h))[1])
        span = kernel(spanning, case.rule.update, n, kinds)
        span.compile((NUMBERS, ADDRESSES, int64, int64, int64))
        (text,) = span.inspect_asm().values()
        print(f"@@@ {case} {dtype}", text, sep="\\n")
"""
# Beside the loops of all rules in float32, those of some rules in float64.
DOUBLE = [case for case in ELEMENTWISE if case.rule.name in ("sgd", "momentum", "adam", "adan")]
FLOAT32 = [(case, "float32") for case in ELEMENTWISE]
FLOAT64 = [(case, "float64") for case in DOUBLE]


@pytest.fixture(scope="module")
def assembly(python, tmp_path_factory):
    """Assembly by ``"rule dtype"``; Numba keeps none of cached code, so from a fresh cache."""
    done = python(DUMP, NUMBA_CACHE_DIR=str(tmp_path_factory.mktemp("cache")))
    parts = re.split(r"^@@@ (.*)\n", done.stdout, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


# A loop-invariant select in a loop too large to unswitch is a branch over two instructions (Adan).
BRANCHES = 6


def loops(text, branches=0):
    """Return runs of instructions that jump back to their label, with so many labels between."""
    lines, found = text.splitlines(), []
    for start, line in enumerate(lines):
        label, passed = re.match(r"(\.?\w+):", line), 0
        for end in range(start + 1, len(lines)) if label else ():
            passed += re.match(r"\.?\w+:", lines[end]) is not None
            if passed > branches:
                break
            if re.search(rf"\bj\w+\s+{re.escape(label[1])}\b", lines[end]):
                found.append("\n".join(lines[start : end + 1]))
                break
    return found


def hot_loops(text, packed):
    """Return the loops with packed arithmetic: straight ones, or else those with branches."""
    for branches in (0, BRANCHES):
        hot = [loop for loop in loops(text, branches) if packed in ARITHMETIC.findall(loop)]
        if hot:
            return hot
    return []


x86 = pytest.mark.skipif(
    not re.search("x86|amd64", os.uname().machine.lower()), reason="reads x86 assembly"
)
# Arithmetic of the AVX and the SSE encoding; the last letter is the type, the one before it says
# whether the instruction works on a packed register or on a single number.
ARITHMETIC = re.compile(r"\bv?(?:fn?m(?:add|sub)\d*|mul|add|sub|div|sqrt)(ps|pd|ss|sd)\b")
WIDENING = re.compile(r"\bv?cvt(?:ps2pd|ss2sd)\b")


@x86
@pytest.mark.parametrize(("case", "code"), FLOAT32, ids=str)
def test_float32_stays_float32(case, code, assembly):
    """No element is widened; the coefficients, ticked in float64, are narrowed before the loop."""
    text = assembly[f"{case} {code}"]
    assert not WIDENING.search(text)
    used = {kind for loop in hot_loops(text, "ps") for kind in ARITHMETIC.findall(loop)}
    assert "ps" in used
    assert not used & {"pd", "sd"}


@x86
@pytest.mark.parametrize(("case", "code"), FLOAT32 + FLOAT64, ids=str)
def test_hot_loop_is_packed_and_calls_nothing(case, code, assembly):
    packed = {"float32": "ps", "float64": "pd"}[code]
    text = assembly[f"{case} {code}"]
    hot = hot_loops(text, packed)
    assert hot
    assert not any("call" in loop for loop in hot)
