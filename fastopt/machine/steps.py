"""What a rule compiles to.

Of a rule only its own functions are compiled, in a loop each; what calls them is one kernel for all
rules (:func:`fastopt.machine.loops.scattered`), and the only one that is compiled to run in
parallel is a loop over calls (:func:`fastopt.machine.loops.each`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import types

from fastopt.compile import addressed
from fastopt.machine import loops
from fastopt.machine.calls import Callee, Callees, address_of
from fastopt.machine.lookup import finding
from fastopt.machine.threads import gil_kept
from fastopt.rules import Rule

# float32 on 2 cores the twins cross at 16 000 elements (AdamW), 24 000 (momentum), 32 000 (SGD).
# Whole steps of AdamW, serial and parallel, in us: a list of 18 arrays of 1 000 takes 19 and 15
# (right after a step of torch's 34 and 32), of 32 33 and 23 (51 and 45); torch tensors, 18: 49 and
# 45 (80 and 81), 32: 73 and 64 (112 and 104).
PARALLEL_FROM = 20_000


_REAL, _WORD, _NONE = types.float64, types.int64, types.none
# A step holds the GIL, and runs in threads that do not.
_held = functools.partial(addressed, nogil=False)


@functools.cache
def find_of(locate: Callable) -> int:
    """Compile what finds arrays by ``Lookup.locate``; return its address."""
    return address_of(_held(finding, locate), _WORD, _WORD)


@functools.cache
def links_of(rule: Rule, kinds: tuple[np.dtype, ...], parallel: bool = False) -> np.ndarray:
    """Compile what a step calls for gradients, parameters and slots of these dtypes.

    For the ten numbers see :func:`fastopt.machine.loops.scattered`.
    """
    scattered, ticks, updates, *others = callees_of(rule, kinds).addresses
    each = _each() if parallel else 0
    return np.array((_coefficients(rule), scattered, ticks, updates, each, *others))


def _coefficients(rule: Rule) -> int:
    h = rule.pack()
    return len(rule.tick(h, rule.clock0(h))[1])


def callees_of(rule: Rule, kinds: tuple[np.dtype, ...]) -> Callees:
    """Return what a step calls, but for the loop over calls, which keeps the GIL."""
    n = _coefficients(rule)
    ticks = _held(loops.ticking, rule.clock0, rule.tick, len(rule.pack()))
    updates = _held(loops.spanning, rule.update, n, kinds)
    return Callees(
        Callee(_held(loops.scattered), _NONE, (_WORD,)),
        Callee(ticks, _NONE, (_WORD,) * 3),
        Callee(updates, _NONE, (_WORD,) * 5),
        Callee(_held(loops.span_item), _NONE, (_WORD,) * 2),
        *((None,) * 4 if rule.measure is None else _sums(rule, n, kinds)),
    )


def _each() -> int:
    with gil_kept():
        each = _held(loops.each, parallel=True)
        return address_of(each, _NONE, _WORD, _WORD, _WORD)


def _sums(rule: Rule, n: int, kinds: tuple[np.dtype, ...]) -> tuple[Callee, ...]:
    adds, pair = _held(loops.summing, rule.measure, n, kinds), types.UniTuple(_REAL, 2)
    trusts = _held(loops.trusting, rule.trust, n)
    return (
        Callee(_held(loops.measuring), _NONE, (_WORD,)),
        Callee(adds, pair, (_WORD,) * 5),
        Callee(_held(loops.sums_item), _NONE, (_WORD,) * 2),
        Callee(trusts, _NONE, (_WORD, _WORD, _REAL, _REAL, _WORD)),
    )
