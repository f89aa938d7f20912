"""Machine code of the rules' loops: packed arithmetic of one width, and no calls."""

import os
import re

import pytest

from tests.helpers.cases import ELEMENTWISE

DUMP = """
import numpy as np
from fastopt.machine.steps import callees_of
from numba.core.caching import NullCache
from tests.helpers.cases import ELEMENTWISE
from tests.fastopt.test_assembly import DOUBLE
for case in ELEMENTWISE:
    for dtype in map(np.dtype, ("float32", "float64")[: 1 + (case in DOUBLE)]):
        callees = callees_of(case.rule, (dtype,) * (2 + len(case.rule.slots)))
        _, _, (span, _, arguments, _), *_ = callees
        span.compile(arguments)
        if span.stats.cache_hits:
            span._cache = NullCache()
            span.recompile()
        (text,) = span.inspect_asm().values()
        print(f"@@@ {case} {dtype}", text, sep="\\n")
"""
# Beside the loops of all rules in float32, those of some rules in float64.
DOUBLE = [case for case in ELEMENTWISE if case.rule.name in ("sgd", "momentum", "adam", "adan")]
FLOAT32 = [(case, "float32") for case in ELEMENTWISE]
FLOAT64 = [(case, "float64") for case in DOUBLE]


@pytest.fixture(scope="module")
def assembly(python):
    """Assembly by ``"rule dtype"``. Numba keeps none of code that it loads, which is made again.

    This file runs first: what is compiled here is loaded by the tests of rules.
    """
    done = python(DUMP)
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
