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

import fastopt
from fastopt.machine.lookup import ARRAYS, GRADIENT, _code
from fastopt.machine.many import BFLOAT16, Launch, Many
from fastopt.rules import RULES
from fastopt.rules.base import begin
from fastopt.rules.clocks import new_clock

# NumPy has no bfloat16: arrays of uint16 hold its bits, which optimizers over arrays do not take.
BITS = ARRAYS._replace(codes={**ARRAYS.codes, BFLOAT16: _code(BFLOAT16)})
PAGE = mmap.PAGESIZE
CANARY = 0xA5


class Guarded:
    """Memory of ``nbytes`` and more, with a page before and one behind that cannot be accessed."""

    def __init__(self, nbytes: int) -> None:
        self.size = -(-max(nbytes, 1) // PAGE) * PAGE + PAGE  # a page for the canaries
        self._map = mmap.mmap(-1, self.size + 2 * PAGE)
        whole = np.frombuffer(self._map, np.uint8)
        start = whole.ctypes.data
        for page in (start, start + PAGE + self.size):
            assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), PAGE, 0) == 0
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


def step_rule(rule, n, dtype, places, at_end, parallel):
    """Step once; return all bytes that were written."""
    kind = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    slot_kind = np.dtype(np.float32) if dtype == "bfloat16" else kind
    h, start = rule.pack(), numbers(n, dtype)
    values = [start[::-1], start]
    for source in rule.starts[1:]:
        values.append(np.zeros(n, slot_kind))
        begin(source, h, start, values[-1])
    arrays = [place.array(a, at_end) for place, a in zip(places, values)]
    clocks = new_clock(rule, h)[None].copy()
    many = Many(rule, kind, slot_kind, [((n,), (1,))], np.array([h]), [0], BITS, clocks=clocks)
    for row, a in enumerate(arrays, GRADIENT):
        many.hold(row, 0, a)
    launch = Launch([many])
    assert launch._run(launch._order(parallel), 0) == -1
    assert arrays[0].tobytes() == values[0].tobytes(), "the gradient was written"
    written = [clocks.tobytes(), *(a.tobytes() for a in arrays[1:])]
    for place, a in zip(places, arrays):
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
    places = [Guarded(max(lengths) * itemsize) for _ in range(8)]
    for name in rules:
        print(name, file=sys.stderr, flush=True)  # where it ended, if it does
        for n in lengths:
            found = [
                step_rule(RULES[name], n, dtype, places, at_end, parallel)
                for at_end in (True, False)
                for parallel in (False, True)
            ]
            assert all(written == found[0] for written in found), (name, n)
            cases += len(found)
    for n in lengths if dtype != "bfloat16" else ():
        assert step_fused(n, dtype, places, True) == step_fused(n, dtype, places, False), n
        cases += 2
    return cases


if __name__ == "__main__":
    faulthandler.enable()
    print(sum(main(**row) for row in json.loads(sys.argv[1])))
