"""Every rule as what it is, plain Python on one element after the other, against its paper.

The formulas alone, without a kernel around them: no compiler, so all cases take half a second, and
``python -m tests.mutation`` asks them of each change of a formula.
"""

from __future__ import annotations


import numpy as np
import pytest

from fastopt.rules.base import begun
from tests.helpers.cases import CASES, signed
from tests.helpers.reference import owed, terms

N, STEPS = 5, 7
CLOSE = 1e-12  # of the terms: some 4 000 ulp of float64, a mutated formula is off by 1e-6 and more


def stepped(rule, h, clock, g, x):
    """Return the clock and the arrays ``x`` after a step in plain Python."""
    clock, c = rule.tick(h, clock)
    elements = [tuple(float(a[i]) for a in x) for i in range(g.size)]
    if rule.measure is not None:
        pairs = [rule.measure(c, float(g[i]), e) for i, e in enumerate(elements)]
        c = rule.trust(c, tuple(map(sum, zip(*pairs))), g.size)
    after = [rule.update(c, float(g[i]), e) for i, e in enumerate(elements)]
    return clock, [np.array(column) for column in zip(*after)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_formula_is_its_papers(case):
    rng, h, rule = np.random.default_rng(7), case.packed, case.rule
    p = signed(rng, N, np.float64)
    x = [p, *(np.array([begun(source, h, e) for e in p]) for source in rule.starts[1:])]
    clock = rule.clock0(h)
    for t in range(1, STEPS + 1):
        g = signed(rng, N, np.float64)
        wide = [a.astype(np.longdouble) for a in (x[0], g, *x[1:])]

        def step(p, g, *slots, t=t):
            return case.reference(case.h, t, p, g, *slots)

        exact = step(*wide)
        sizes = terms(owed(step, wide, exact))
        clock, x = stepped(rule, h, clock, g, x)
        assert clock[0] == t
        for a, b, size in zip(x, exact, sizes):
            assert np.all(np.abs(a - b) <= CLOSE * np.maximum(size, np.abs(b))), t
