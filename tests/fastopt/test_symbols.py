"""Kernels cached by different processes and loaded by one: each calls its own inner functions."""

from __future__ import annotations

import pytest

from fastopt.code.frozen import frozen
from fastopt.compile import jitable
from fastopt.rules.sgd import sgd

REDUCE = """
import numpy as np
from fastopt import norms
from fastopt.compile import kernel

def run(term, **options):
    return kernel(norms.chunked, term, norms.add, **options)(np.full(10_000, 3.0), 1.0)
"""
ORDERS = [("square", "magnitude"), ("magnitude", "square")]


@pytest.mark.parametrize(("order", "parallel"), [(ORDERS[0], False), (ORDERS[1], True)], ids=str)
def test_cached_kernels_do_not_swap_their_inner_functions(python, tmp_path, order, parallel):
    """Compiled alone, both inner functions get the same counter from Numba."""
    expected = {"square": 90_000.0, "magnitude": 30_000.0}
    for terms in ([order[0]], [order[1]], order):
        calls = "".join(f"print(run(norms.{term}, parallel={parallel}))\n" for term in terms)
        done = python(REDUCE + calls, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
        assert [float(line) for line in done.stdout.split()] == [expected[term] for term in terms]


def test_inner_functions_are_named_after_what_they_are_made_of():

    def made(k):
        @jitable
        def inner(x):
            return x * k

        return inner

    names = [frozen(made(k)).__qualname__ for k in (2.0, 2.0, 3.0)]
    assert names[0] == names[1] != names[2]


def test_a_module_level_function_keeps_its_name():

    assert sgd.__qualname__ == "sgd"
