"""Every rule and flag against its paper, evaluated in higher precision, and against torch.

Where 2 ulp hold, and where they cannot. The unit is the last place of the largest of \\|p\\| before,
\\|p\\| after and \\|update\\|. A step agrees to 2 ulp wherever the parameter is at least four times as
large as the terms of its update. Where it is smaller, the update's own roundings show (coefficients
rounded to the dtype, two moments, a root and a quotient: up to 5 ulp of the update), and where the
terms of the update cancel (``m`` against ``g``, or ``g`` against the decay) their ulp is larger than
that of the result: no algorithm in the same precision avoids this, and torch's does not. So those
elements are measured in ulps of the terms (:func:`tests.reference.terms`).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fastopt.loops import stepper
from tests.cases import CASES, EDGES, PLAIN, fresh, signed
from tests.reference import terms, ulps

torch = pytest.importorskip("torch")

DTYPES = [np.float32, np.float64]
WIDE = {np.float32: np.float64, np.float64: np.longdouble}
STEPS = (1, 2, 3, 4, 5, 6, 7, 998, 999, 1000, 1001)
TWINS = [case for case in CASES if case.twin]

WEIGHT_RULES = 2  # ulp, where |p| >= 4 x the update's terms
# Coefficients, slots, products and the last difference each round once; by the number of slots.
STEP_RULES = {0: 2, 1: 3, 2: 5, 3: 5}
SLOT = 3  # ulp: coefficient, product, sum, and the same again for a coupled decay in g


def run_kernel(state, case, g):
    stepper(case.rule)(g.size, state.h, state.clock, g, state.x)


def single_steps(case, n, dtype, late):
    """Yield ``t, state before, gradient, state after`` for STEPS, each from the kernel's own state."""
    rng = np.random.default_rng(n + 1)
    state = fresh(case, n, dtype, seed=n)
    for t in STEPS:
        if t == STEPS[7]:
            state.clock[:] = late
        g, before = signed(rng, n, dtype), state.copy()
        run_kernel(state, case, g)
        yield t, before, g, state


def clock_after(case, steps):
    state = fresh(case, 0, np.float64)
    state.wind(case, steps)
    return state.clock


def torch_step(case, t, state, g):
    """Return ``{"p": ..., slot name: ...}`` after one step of torch's twin from the same state."""
    p = torch.from_numpy(state.p.copy()).requires_grad_()
    p.grad = torch.from_numpy(g.copy())
    twin = case.twin([p], case.h, foreach=False)
    if t > 1:
        slots = {k: torch.from_numpy(v.copy()) for k, v in zip(case.rule.slots, state.slots)}
        twin.state[p] = {"step": torch.tensor(float(t - 1)), **slots}
    twin.step()
    return {"p": p.detach().numpy()} | {k: v.numpy() for k, v in twin.state[p].items() if k != "step"}


def exact_step(case, t, state, g):
    """Return the new state in higher precision, the sizes of its terms, and those of the update."""
    wide = WIDE[g.dtype.type]

    def step(p, g, *slots):
        return case.reference(case.h, t, p, g, *slots)

    p, *slots = (a.astype(wide) for a in state.x)
    inputs = [p, g.astype(wide), *slots]
    exact = step(*inputs)
    update = terms(lambda *a: (step(p, *a)[0],), inputs[1:])[0] + np.abs(step(p, *inputs[1:])[0] - p)
    return exact, terms(step, inputs), update


def check(after, expected, before, exact, sizes, update, extra):
    """Assert both statements of the module's first lines for one step; ``expected`` by name."""
    p, size = before.p.astype(exact[0].dtype), np.abs(exact[0])
    size = np.max([np.abs(p), size, np.abs(exact[0] - p)], axis=0)
    heavy = 4 * update <= np.abs(p)
    assert ulps(after.p, expected["p"], size)[heavy].max(initial=0) <= WEIGHT_RULES
    bound = STEP_RULES[len(after.slots)] + extra
    assert ulps(after.p, expected["p"], np.maximum(size, sizes[0])).max(initial=0) <= bound
    return heavy.sum()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("n", EDGES)
def test_step_is_the_papers_and_torchs(case, dtype, n):
    for t, before, g, after in single_steps(case, n, dtype, clock_after(case, STEPS[7] - 1)):
        exact, sizes, update = exact_step(case, t, before, g)
        names = ("p", *case.rule.slots)
