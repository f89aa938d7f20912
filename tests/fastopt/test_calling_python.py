"""Compiled functions that call Python, by print or objmode: they do, or are refused; none hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import fastopt
from fastopt import CompileError
from fastopt.code.contained import calls_python
from fastopt.compile import jitable, kernel
from fastopt.rules import RULES
from fastopt.testing import check_optimizer

# In a process of its own, since what is wrong here never comes back.
SCRIPT = """
    import sys, warnings
    import numba
    import numpy as np
    from fastopt.compile import compilations, inlinable, kernel

    warnings.simplefilter("ignore")

    def halved(x):
        return x / 2

    @inlinable
    def printed(x):
        print(x)
        return x

    @inlinable
    def in_python(x):
        with numba.objmode(y="float64"):
            y = halved(x)
        return y

    def twice(part):
        def run(x):
            return part(x) + part(x)
        return run

    for nogil in (True, False):
        if nogil:
            print(kernel(twice, printed)(np.float32(0.5)))
            print(kernel(twice, in_python)(3.0))
        else:
            for part, x in ((printed, np.float32(0.5)), (in_python, 3.0)):
                try:
                    kernel(twice, part, nogil=False)(x)
                except Exception as error:
                    print(type(error).__name__)
    print(len(compilations()))
"""


def test_what_a_kernel_contains_may_call_python_but_in_steps(tmp_path):
    """Also when it is loaded by the next process."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for compiled in ("2", "0"):
        run = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True,
            env=env,
            text=True,
            timeout=120,
            check=True,
        )
        refused = ["CompileError", "CompileError"]
        assert run.stdout.split() == ["0.5", "0.5", "1.0", "3.0", *refused, compiled]


EMBEDDED = """
    import numba
    import numpy as np
    import fastopt
    from fastopt.rules import RULES

    SGD = RULES["sgd"]

    def update(c, g, x):
        print(g)
        return SGD.update(c, g, x)

    RULES["printing"] = SGD.using(name="printing", update=update)
    step, h = fastopt.embed("printing").step, fastopt.hyper("printing", lr=1.0)
    for nogil in (False, True):
        @numba.njit(nogil=nogil)
        def one(h, clock, g, x):
            step(h, clock, g, x)

        p = np.zeros(1, np.float32)
        one(h, fastopt.clock("printing", h), np.full(1, 0.5, np.float32), (p,))
        print(p[0])
"""

SGD = RULES["sgd"]


def told(x):
    print(x)
    return x


def printing_update(c, g, x):
    return SGD.update(c, told(g), x)


def printing_tick(h, clock):
    print(h[0])
    return SGD.tick(h, clock)


PRINTING = {"update": printing_update, "tick": printing_tick}


@pytest.mark.parametrize("part", PRINTING)
def test_a_rule_that_prints_is_refused_before_anything_is_written(part, monkeypatch):
    """On large arrays its threads waited for the GIL, which the step holds until they are done."""
    monkeypatch.setitem(RULES, "sgd", SGD.using(**{part: PRINTING[part]}))
    for n in (3, 100_000):
        p = np.ones(n, np.float32)
        q = torch.nn.Parameter(torch.ones(n, dtype=torch.float32))
        q.grad = torch.ones(n)
        steps = (
            lambda p=p: fastopt.SGD(p).step(np.ones_like(p)),
            fastopt.torch.SGD([q]).step,
        )
        for step in steps:
            with pytest.raises(CompileError, match=r"cannot call Python \(print, objmode\)"):
                step()
        assert (p == 1.0).all()
        assert (q == 1.0).all()


def test_an_embedded_rule_prints_where_its_caller_released_the_gil(tmp_path):
    """It said "missing Environment", with the GIL, and waited for the GIL for good."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(EMBEDDED))
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout.split() == ["0.5", "-0.5"] * 2


def test_the_kit_says_that_a_rule_prints():
    with pytest.raises(AssertionError, match="formula: told: a rule's functions cannot call Pyth"):
        check_optimizer(SGD.using(name="told", update=printing_update))


def multiplied(a, b):
    """Call BLAS, which Numba lets take the GIL to abort the process."""
    return np.dot(a, b)[0, 0]


def applied(function):
    def run(a, b):
        return function(a, b)

    return run


def test_blas_is_no_python():
    """It made machine code of its own of every layer, whose bits were not those of the cache."""
    x = np.arange(1.0, 10.0).reshape(3, 3)
    made = kernel(applied, jitable(multiplied), nogil=False)
    assert made(x, x) == 30.0
    (compiled,) = made.overloads.values()
    assert not calls_python(compiled.library)
