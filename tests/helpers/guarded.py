"""Arrays between two pages that nobody may touch: a loop that runs over is the end of the process.

``python -m tests.helpers.guarded '[{"dtype": "float32", ...}]'`` steps rules over such arrays of
many lengths and prints how many cases there were; tests/fastopt/test_guard_pages.py runs it.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import mmap
import sys

import numpy as np
from numba import config

import fastopt
from fastopt.machine.lookup import ARRAYS, GRADIENT, _code
from fastopt.machine.many import BFLOAT16, Launch, Many, work_items
from fastopt.rules import RULES
from fastopt.rules.base import begin
from fastopt.rules.clocks import new_clock

# NumPy has no bfloat16: arrays of uint16 hold its bits, which optimizers over arrays do not take.
BITS = ARRAYS._replace(codes={**ARRAYS.codes, BFLOAT16: _code(BFLOAT16)})
PAGE, PROTECT = mmap.PAGESIZE, ctypes.CDLL(None).mprotect
CANARY = 0xA5
AT_ONCE = 64  # lengths in one call: a call of the parallel loop waits for threads


class Guarded:
    """Memory of ``nbytes`` and more, with a page before and one behind that cannot be accessed."""

    def __init__(self, nbytes: int) -> None:
        self.size = -(-max(nbytes, 1) // PAGE) * PAGE + PAGE  # a page for the canaries
        self._map = mmap.mmap(-1, self.size + 2 * PAGE)
        whole = np.frombuffer(self._map, np.uint8)
        start = whole.ctypes.data
        for page in (start, start + PAGE + self.size):
            assert PROTECT(ctypes.c_void_p(page), PAGE, 0) == 0
        self.bytes = whole[PAGE:-PAGE]
        self.bytes[:] = CANARY

    def array(self, values: np.ndarray, at_end: bool) -> np.ndarray:
        """Return a copy of ``values`` that begins, or ends, at a guard."""
        low = self.size - values.nbytes if at_end else 0
        view = self.bytes[low : low + values.nbytes].view(values.dtype)
        view[:] = values
        return view

    def is_whole(self, nbytes: int, at_end: bool) -> bool:
        """Tell whether the page beside an array is untouched, and clear the array away."""
        low = self.size - nbytes if at_end else 0
        beside = self.bytes[low - PAGE : low] if at_end else self.bytes[nbytes : nbytes + PAGE]
        self.bytes[low : low + nbytes] = CANARY
        return bool((beside == CANARY).all())


def halves(a):
    """Return the bits of the bfloat16 numbers below ``a``."""
    return (a.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def numbers(n, dtype):
    a = np.random.default_rng(n).uniform(0.5, 2.0, n) * np.where(np.arange(n) % 3, 1, -1)
    return halves(a) if dtype == "bfloat16" else a.astype(dtype)


class Split(Many):
    """Many arrays in one call, each cut in pieces as if it were alone."""

    def _items(self, parallel: bool) -> np.ndarray:
        if not parallel:
            return super()._items(parallel)
        alone = [work_items(self.sizes[k : k + 1], config.NUMBA_NUM_THREADS) for k in self.active]
        starts = [[k + items[0, :-1], items[1, :-1]] for k, items in enumerate(alone)]
        return np.concatenate([*starts, [[len(alone)], [0]]], axis=1)


def values_of(rule, n, dtype, slot_kind):
    """Return gradient, parameter and slots, as they begin."""
    start = numbers(n, dtype)
    values = [start[::-1], start]
    for source in rule.starts[1:]:
        values.append(np.zeros(n, slot_kind))
        begin(source, rule.pack(), start, values[-1])
    return values


def step_rule(rule, dtype, values, places, at_end, parallel):
    """Step arrays of several lengths once; return all bytes that were written, of each length."""
    kind = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    h, slot_kind = rule.pack(), values[0][-1].dtype if rule.slots else kind
    shapes = [((own[0].size,), (1,)) for own in values]
    clocks = np.tile(new_clock(rule, h), (len(values), 1))
    groups = [0] * len(values)
    many = Split(rule, kind, slot_kind, shapes, np.array([h]), groups, BITS, clocks=clocks)
    arrays = [
        [place.array(a, at_end) for place, a in zip(around, own)]
        for around, own in zip(places, values)
    ]
    for k, own in enumerate(arrays):
        for row, a in enumerate(own, GRADIENT):
            many.hold(row, k, a)
    launch = Launch([many])
    assert launch._run(launch._order(parallel), len(launch.batches), 0) == -1
    written = []
    for around, own, old, clock in zip(places, arrays, values, clocks):
        assert own[0].tobytes() == old[0].tobytes(), "the gradient was written"
        written.append([clock.tobytes(), *(a.tobytes() for a in own[1:])])
        for place, a in zip(around, own):
            assert place.is_whole(a.nbytes, at_end), "a neighbour was written"
    return written


def step_fused(n, dtype, places, at_end):
    """Clip, scale, step, clear and average in one pass; then what clips and measures alone."""
    p, g = (place.array(numbers(n, dtype), at_end) for place in places[:2])
    opt = fastopt.AdamW(p, ema=0.5, nonfinite="raise")
    for options in ({"max_norm": 0.5}, {"clip_value": 0.1}, {"zero_grad": True}):
        g[:] = 1
        opt.step(g, grad_scale=2.0, **options)
    g[:] = 1
    fastopt.global_norm([g])
    fastopt.clip_grad_value_([g], 0.5)
    fastopt.clip_grad_norm_([g], 0.5)
    written = [p.tobytes(), g.tobytes()]
    for place, a in zip(places, (p, g)):
        assert place.is_whole(a.nbytes, at_end), "a neighbour was written"
    return written


def main(dtype, rules, lengths):
    """Step every rule in both twins at both guards, with the same bits; return how many cases."""
    itemsize, cases = np.dtype("float32" if dtype == "bfloat16" else dtype).itemsize, 0
    slot_kind = np.dtype(np.float32 if dtype == "bfloat16" else dtype)
    for few in (lengths[k : k + AT_ONCE] for k in range(0, len(lengths), AT_ONCE)):
        places = [[Guarded(n * itemsize) for _ in range(8)] for n in few]
        for name in rules:
            print(name, few, file=sys.stderr, flush=True)  # where it ended, if it does
            values = [values_of(RULES[name], n, dtype, slot_kind) for n in few]
            found = [
                step_rule(RULES[name], dtype, values, places, at_end, parallel)
                for at_end in (True, False)
                for parallel in (False, True)
            ]
            assert all(written == found[0] for written in found), (name, few)
            cases += len(found) * len(few)
        for n, around in zip(few, places) if dtype != "bfloat16" else ():
            assert step_fused(n, dtype, around, True) == step_fused(n, dtype, around, False), n
            cases += 2
    return cases


if __name__ == "__main__":
    faulthandler.enable()
    print(sum(main(**row) for row in json.loads(sys.argv[1])))
