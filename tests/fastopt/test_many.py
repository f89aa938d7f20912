"""Many separate arrays in one kernel call: the bits of each array stepped alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import fastopt.machine.many
from fastopt.compile import kernel
from fastopt.machine.access import put, take
from fastopt.machine.arrays import address
from fastopt.machine.lookup import ARRAYS, CLASH, CLOCK, COUNTER, GRADIENT, MOVED, PARAMETER, SLOTS
from fastopt.machine.loops import LINE
from fastopt.machine.many import BFLOAT16, ITEM, OVERHEAD, Launch, Many, work_items
from fastopt.rules import RULES
from fastopt.torch.memory import TENSORS
from tests.helpers.stepping import step_arrays

# Arrays change under an optimizer in ways that NumPy 2.5 advises against, too.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the (shape|dtype) on a NumPy array")

SIZES = {
    "none": [],
    "one": [1],
    "empty": [0],
    "empty_everywhere": [0, 5, 0, 0, 70_000, 0],
    "large": [200_003],
    "small": [3] * 3000,
    "mixed": [1, 8191, 8192, 8193, 64, 0, 65, 40_000, 7, 127, 129],
    "edge_of_an_item": [ITEM - OVERHEAD, ITEM, ITEM - OVERHEAD, 1],
}


@pytest.mark.parametrize("threads", [1, 2, 8])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_work_items_cover_every_element_once(sizes, threads):
    sizes = np.array(sizes, np.int64)
    segment, offset = work_items(sizes, threads)
    covered = [np.zeros(n, int) for n in sizes]
    longest = 0
    for k in range(segment.size - 1):
        weight = 0
        for s in range(segment[k], segment[k + 1] + 1):
            low = offset[k] if s == segment[k] else 0
            high = offset[k + 1] if s == segment[k + 1] else sizes[s]
            if low < high:
                covered[s][low:high] += 1
            weight += max(high - low, 0) + OVERHEAD * (s < segment[k + 1])
        longest = max(longest, weight)
    assert all((c == 1).all() for c in covered)
    assert longest <= ITEM + 2 * OVERHEAD  # one array may be entered twice
    total = sizes.sum() + OVERHEAD * sizes.size
    # Sizes are rounded up to whole lines, so that a few items may be saved.
    assert total < LINE * threads**2 or (segment.size - 1) % threads in (0, threads - 1)


class Arrays:
    """Parameters, gradients and slots, once for :class:`Many` and once for each array alone."""

    def __init__(self, rule, sizes, groups, dtype=np.float32, shift=0):
        self.rng, self.shift, self.dtype = np.random.default_rng(1), shift, dtype
        self.rule, self.hyper = rule, [rule.pack({"lr": lr}) for lr in (0.1, 0.02)]
        self.groups, self.counters = groups, np.zeros(len(sizes), np.float32)
        self.p = [self.draw(n) for n in sizes]
        self.slots = [[self.draw(n, 0.0) for n in sizes] for _ in rule.slots]
        self.alone = [
            (p.copy(), *(slots[s].copy() for slots in self.slots)) for s, p in enumerate(self.p)
        ]
        shapes = [((n,), (1,)) for n in sizes]
        self.many = Many(
            rule, dtype, dtype, shapes, np.array(self.hyper), groups, ARRAYS, counts=True
        )
        self.clocks = self.many.clocks.copy()
        self.objects = [
            (COUNTER, [self.counters[s : s + 1].reshape(()) for s in range(len(sizes))]),
            (PARAMETER, self.p),
            *enumerate(self.slots, SLOTS),
        ]
        for row, arrays in self.objects:
            self.many.objects[row] = np.fromiter(arrays, object, len(arrays))
            self.many.checked[row] = self.many.objects[row]
            self.many.table[row] = [address(a) for a in arrays]

    def draw(self, n, scale=1.0):
        a = np.empty(n + self.shift, self.dtype)
        a = a[self.shift :] if self.shift else a  # a view cannot be resized
        a[:] = scale * self.rng.standard_normal(n)
        return a

    def launched(self, active):
        """Return the gradients of a new step, and the step."""
        g = [self.draw(p.size) for p in self.p]
        for s in range(len(g)):
            self.many.objects[GRADIENT, s] = g[s] if s in active else None
        starts = sorted((address(p), address(p) + p.nbytes) for p in self.p if p.size)
        bounds = np.array(starts, np.int64).reshape(-1, 2).T.copy()
        self.many.aim(np.array(active, np.int64), bounds)
        return g, Launch([self.many])

    def step(self, active):
        g, launch = self.launched(active)
        assert launch.run(is_trial=1) is None
        assert launch.run() is None
        for s in active:
            h = self.hyper[self.groups[s]]
            step_arrays(self.rule, h, self.clocks[s], g[s], self.alone[s], parallel=False)

    def check(self):
        assert self.many.clocks.tobytes() == self.clocks.tobytes()
        np.testing.assert_array_equal(self.counters, self.clocks[:, 0])
        for s, alone in enumerate(self.alone):
            together = (self.p[s], *(slots[s] for slots in self.slots))
            for a, b in zip(together, alone):
                assert a.tobytes() == b.tobytes(), s


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adamw", "amsgrad", "lamb"])
def test_together_as_alone(name, dtype, shift):
    """Same bits as each array alone, whatever its neighbours, its group and its number of steps."""
    for sizes in SIZES["mixed"], SIZES["empty_everywhere"], [5, 0, 17]:
        arrays = Arrays(RULES[name], sizes, [k % 2 for k in range(len(sizes))], dtype, shift)
        everything = list(range(len(sizes)))
        for active in everything, everything[::2], everything, everything[1:], []:
            arrays.step(active)
        arrays.check()


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_parallel_as_serial(name, monkeypatch):
    """Both twins, called by hand, since the guard may choose the serial one."""
    made = [Arrays(RULES[name], SIZES["mixed"], [0] * len(SIZES["mixed"])) for _ in range(2)]
    for arrays, parallel in zip(made, (False, True)):
        monkeypatch.setattr(
            fastopt.machine.many, "enter_parallel", lambda *_, answer=parallel: answer
        )
        for _ in range(3):
            arrays.step(range(len(arrays.p)))
        arrays.check()
    for a, b in zip(*(arrays.p for arrays in made)):
        assert a.tobytes() == b.tobytes()


def test_transformer_engine_3207_an_empty_array_at_the_end_skips_no_other():
    arrays = Arrays(RULES["adamw"], [7, 100, 0], [0, 0, 0])
    before = [p.copy() for p in arrays.p]
    arrays.step([0, 1, 2])
    arrays.check()
    assert all((a != b).all() for a, b in zip(arrays.p[:2], before))
    np.testing.assert_array_equal(arrays.counters, [1, 1, 1])


def resized(arrays):
    arrays.p[1].resize(900, refcheck=False)


def reshaped(arrays):
    arrays.p[1].shape = 10, 10


def made_read_only(arrays):
    arrays.p[1].setflags(write=False)


def retyped(arrays):
    arrays.p[1].dtype = np.int32


def swapped(arrays):
    arrays.many.objects[PARAMETER, 1] = arrays.p[1].copy()


def no_array(arrays):
    arrays.many.objects[GRADIENT, 1] = [1.0] * 100


def of_another_size(arrays):
    arrays.many.objects[GRADIENT, 1] = np.ones(101, np.float32)


def of_another_dtype(arrays):
    arrays.many.objects[GRADIENT, 1] = np.ones(100)


def of_another_order(arrays):
    arrays.many.objects[GRADIENT, 1] = np.ones(200, np.float32)[::2]


def gone(arrays):
    arrays.many.objects[GRADIENT, 1] = None


def of_a_parameter(arrays):
    arrays.many.objects[GRADIENT, 1] = arrays.p[1][:]


def counted(arrays):
    arrays.counters[1] = 5


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        *((change, MOVED) for change in (resized, reshaped, made_read_only, retyped, swapped)),
        *((change, MOVED) for change in (no_array, of_another_size, of_another_dtype)),
        *((change, MOVED) for change in (of_another_order, gone)),
        (of_a_parameter, CLASH),
        (counted, CLOCK),
    ],
)
def test_what_is_not_as_it_was_checked_stops_everything(change, kind):
    arrays = Arrays(RULES["adamw"], [7, 100, 9], [0, 0, 0])
    arrays.step([0, 1, 2])
    _, launch = arrays.launched([0, 1, 2])
    before = [p.copy() for p in arrays.p]
    change(arrays)
    fault = launch.run()
    assert (fault.many, fault.number, fault.kind) == (arrays.many, 1, kind)
    for s in (0, 2):
        assert arrays.p[s].tobytes() == before[s].tobytes()
    assert arrays.many.clocks[:, 0].tolist() == [1, 1, 1]


def test_a_fault_in_the_last_of_several_batches_stops_the_first():
    made = [Arrays(RULES["adamw"], [7, 100], [0, 0], dtype) for dtype in (np.float32, np.float64)]
    for arrays in made:
        arrays.launched([0, 1])
    before = [p.copy() for arrays in made for p in arrays.p]
    launch = Launch(arrays.many for arrays in made)
    retyped(made[1])
    assert launch.run() == (made[1].many, 1, MOVED)
    for p, q in zip([made[0].p[0], made[0].p[1], made[1].p[0]], before):
        assert p.tobytes() == q.tobytes()


def copied():
    """Return a loop that moves numbers from one kind of array to another."""

    def loop(source, target):
        for i in range(source[0].size):
            put(target, i, take(source, i))

    return loop


SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 1e-39, 3.4028235e38, 1.0, -1.0]


def test_bfloat16_is_rounded_to_nearest_even():
    """All upper halves with the lower halves at, next to and between ties; as torch converts."""
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    bits = (upper[:, None] | lower).ravel()
    numbers = np.append(bits.view(np.float32), np.float32(SPECIAL))
    target = np.empty(numbers.size, BFLOAT16)
    kernel(copied)((numbers,), (target,))
    expected = torch.from_numpy(numbers.copy()).to(torch.bfloat16)
    is_nan = np.isnan(numbers)
    halves = expected.view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(target[~is_nan], halves[~is_nan])
    back = np.empty(numbers.size, np.float32)
    kernel(copied)((target,), (back,))
    np.testing.assert_array_equal(back[~is_nan], expected.float().numpy()[~is_nan])
    assert np.isnan(back[is_nan]).all()


def test_pytorch_191763_large_blocks_of_bfloat16_are_stored():
    """torch 2.13's fused SGD leaves bfloat16 parameters as they are in whole SIMD blocks."""
    rule, rng = RULES["momentum"], np.random.default_rng(0)
    for n, steps in itertools.product((1, 15, 16, 31, 64, 65, 1000, 70_001), (3,)):
        exact = torch.from_numpy(rng.standard_normal(n)).to(torch.bfloat16)
        p = exact.clone()
        v, g = np.zeros(n, np.float32), torch.from_numpy(rng.standard_normal(n)).bfloat16()
        hyper = np.array([rule.pack({"lr": 0.1})])
        many = Many(rule, BFLOAT16, np.float32, [((n,), (1,))], hyper, [0], TENSORS)
        slot = torch.from_numpy(v)
        for row, t in enumerate((g, p, slot), GRADIENT):
            many.objects[row, 0] = many.checked[row, 0] = t
            many.table[row, 0] = t.data_ptr() if row > GRADIENT else 0
        wide = torch.zeros(n, dtype=torch.float32)
        for _ in range(steps):
            assert Launch([many]).run() is None
            wide = 0.9 * wide + g.float()
            exact = (exact.float() - 0.1 * wide).bfloat16()
        actual = p
        # An FMA may round to the other side of a tie: one unit of bfloat16.
        assert torch.allclose(actual.float(), exact.float(), rtol=2**-7, atol=1e-4)
        assert (actual == exact).float().mean() > 0.98
        np.testing.assert_allclose(v, wide.numpy(), rtol=1e-6, atol=1e-7)
