"""Memory that moves between two steps: what a step reads and writes is what is there then.

Each change is made to an optimizer of torch's and to ours, or to an array of NumPy's; afterwards
both have the same numbers, or ours refused by name and changed nothing.
"""

from __future__ import annotations

import gc
import multiprocessing
import pickle

import numpy as np
import pytest
import torch

import fastopt
import fastopt.torch
from fastopt.errors import ArrayError, ArrayTypeError, StateError

# Arrays change under an optimizer in ways that NumPy 2.5 advises against, too.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the (shape|dtype) on a NumPy array")

SHAPE = (5, 7)


def drawn(seed, dtype=torch.float64, shape=SHAPE):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


class Pair:
    """AdamW over two parameters, torch's and ours, in step with each other."""

    def __init__(self, dtype=torch.float64):
        self.dtype = dtype
        self.params = [
            [torch.nn.Parameter(drawn(seed, dtype)) for seed in (0, 1)] for _ in range(2)
        ]
        options = {"lr": 0.1, "amsgrad": True}
        theirs, ours = self.params
        self.theirs = torch.optim.AdamW(theirs, **options)
        self.ours = fastopt.torch.AdamW(ours, **options)
        self.seed = 10
        for _ in range(2):
            self.step()

    def each(self):
        return zip((self.theirs, self.ours), self.params)

    def give(self):
        self.seed += 2
        for _, params in self.each():
            for k, p in enumerate(params):
                p.grad = drawn(self.seed + k, self.dtype)

    def step(self):
        self.give()
        for optimizer, _ in self.each():
            optimizer.step()

    def check(self):
        for a, b in zip(*self.params):
            # A few roundings of numbers of at most 8, in other orders.
            assert torch.allclose(a, b, rtol=0, atol=32 * torch.finfo(self.dtype).eps)
        for (a, b), name in ((pair, name) for pair in zip(*self.params) for name in SLOTS):
            theirs, ours = self.theirs.state[a][name], self.ours.state[b][name]
            assert torch.allclose(theirs, ours.to(theirs.dtype), rtol=1e-12, atol=0), name
        assert [float(self.ours.state[p]["step"]) for p in self.params[1]] == [
            float(self.theirs.state[p]["step"]) for p in self.params[0]
        ]


SLOTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


def with_holes(t):
    out = torch.zeros(*t.shape, 2, dtype=t.dtype)[..., 0]
    return out.copy_(t)


def in_another_order(t):
    return t.t().contiguous().t()


def in_a_larger_one(t):
    return torch.cat([t[:0], t, t])[: len(t)]


def subclassed(t):
    return t.as_subclass(type("Mine", (torch.Tensor,), {}))


def in_numpy(t):
    return torch.from_numpy(t.numpy().copy())


def negated(t):
    return torch._neg_view(-t)


def of_complex(t):
    """The imaginary part of a conjugate: with holes, and lazily negated."""
    return torch.complex(torch.zeros_like(t), -t).conj().imag


FORMS = [
    torch.clone, with_holes, in_another_order, in_a_larger_one, subclassed, in_numpy, negated,
    of_complex,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", ["parameter", "gradient", *SLOTS[:2]])
@pytest.mark.parametrize("how", ["replaced", "its data"])
def test_tensors_of_any_form(what, how, form):
    pair = Pair()
    pair.give()
    for optimizer, params in pair.each():
        p = params[1]
        old = {"parameter": p, "gradient": p.grad}.get(what, optimizer.state[p].get(what))
        new = form(old.detach())
        if what == "parameter" or how == "its data":
            if what == "parameter" and form is subclassed:
                pytest.skip("torch refuses .data of another class")
            try:
                old.data = new
            except RuntimeError:
                pytest.skip("torch does not take it")
        elif what == "gradient":
            p.grad = new
        else:
            optimizer.state[p][what] = new
    del old, new
    gc.collect()
    for optimizer, _ in pair.each():
        optimizer.step()
    pair.check()
    pair.step()
    pair.check()


def shared(optimizer, params):
    for entry in optimizer.state.values():
        for name in (*SLOTS, "step"):
            entry[name].share_memory_()
    for p in params:
        p.share_memory_()


def steps_shared(optimizer, params):
    for entry in optimizer.state.values():
        entry["step"].share_memory_()


def zeroed_by_data(optimizer, params):
    optimizer.state[params[0]]["exp_avg"].data = torch.zeros(SHAPE, dtype=torch.float64)


def set_to_other_storage(optimizer, params):
    optimizer.state[params[0]]["exp_avg_sq"].set_(torch.full(SHAPE, 0.5, dtype=torch.float64))


def memory_given_back_and_new(optimizer, params):
    slot = optimizer.state[params[1]]["exp_avg"]
    slot.untyped_storage().resize_(0)
    slot.data = torch.ones(SHAPE, dtype=torch.float64)


def resized_there_and_back(optimizer, params):
    slot = optimizer.state[params[1]]["exp_avg"]
    slot.resize_(500, 700).zero_()
    slot.resize_(SHAPE)


def slots_swapped(optimizer, params):
    a, b = (optimizer.state[p] for p in params)
    a["exp_avg"], b["exp_avg"] = b["exp_avg"], a["exp_avg"]


def entries_swapped(optimizer, params):
    a, b = params
    optimizer.state[a], optimizer.state[b] = optimizer.state[b], optimizer.state[a]


def entries_copied(optimizer, params):
    for p in params:
        optimizer.state[p] = dict(optimizer.state[p], mine="too")


def steps_counted_on(optimizer, params):
    optimizer.state[params[0]]["step"] += 5


def steps_replaced(optimizer, params):
    optimizer.state[params[0]]["step"] = torch.tensor(40.0)


def state_taken_away(optimizer, params):
    del optimizer.state[params[0]]


def all_state_taken_away(optimizer, params):
    optimizer.state.clear()


def sent_through_a_pipe(optimizer, params):
    """What torch.multiprocessing does to a state dict that is put in a queue: it is shared."""
    for entry in optimizer.state_dict()["state"].values():
        for value in entry.values():
            if isinstance(value, torch.Tensor):
                value.share_memory_()


def casts_and_back(optimizer, params):
    for p in params:
        p.data = p.data.float().double()
        entry = optimizer.state[p]
        entry["exp_avg"] = entry["exp_avg"].float()
        entry["exp_avg"] = entry["exp_avg"].double()


def one_without_gradient(optimizer, params):
    params[0].grad = None


def gradients_shared(optimizer, params):
    params[1].grad = params[0].grad


def a_gradient_of_zeros_without_memory(optimizer, params):
    params[0].grad = torch._efficientzerotensor(SHAPE, dtype=torch.float64)


def an_expanded_gradient(optimizer, params):
    params[0].grad = torch.full((1, 1), 0.5, dtype=torch.float64).expand(SHAPE)


def groups_changed(optimizer, params):
    if len(optimizer.param_groups) > 1:
        return
    optimizer.param_groups[0]["params"] = [params[0]]
    optimizer.add_param_group({"params": [params[1]], "lr": 0.01})


def reversed_order(optimizer, params):
    optimizer.param_groups[0]["params"].reverse()


def loaded_again(optimizer, params):
    optimizer.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))


CHANGES = [
    shared, steps_shared, zeroed_by_data, set_to_other_storage, memory_given_back_and_new,
    resized_there_and_back, slots_swapped, entries_swapped, entries_copied, steps_counted_on,
    steps_replaced, state_taken_away, all_state_taken_away, sent_through_a_pipe, casts_and_back,
    one_without_gradient, gradients_shared, a_gradient_of_zeros_without_memory,
    an_expanded_gradient, groups_changed, reversed_order, loaded_again,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_torch_does_after_a_change_is_done(change):
    pair = Pair()
    for _ in range(2):
        pair.give()
        for optimizer, params in pair.each():
            change(optimizer, params)
        for optimizer, _ in pair.each():
            optimizer.step()
        pair.check()


def test_a_child_that_writes_to_shared_state_is_seen():
    """Parameters, moments and step count shared with a process that steps, too."""
    pair = Pair()
    optimizer, params = pair.ours, pair.params[1]
    shared(optimizer, params)
    context = multiprocessing.get_context("fork")
    pair.give()
    child = context.Process(target=optimizer.step)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    pair.theirs.step()
    pair.check()
    pair.step()
    pair.check()


def overlapping_its_parameter(p, q, entry):
    memory = torch.randn(36, dtype=torch.float64)
    p.data, p.grad = memory[1:].view(SHAPE), memory[:-1].view(SHAPE)


def its_parameter(p, q, entry):
    p.grad = p.detach()


def another_parameter(p, q, entry):
    p.grad = q.detach()


def a_slot(p, q, entry):
    p.grad = entry["exp_avg"]


def two_slots_are_one(p, q, entry):
    entry["exp_avg_sq"] = entry["exp_avg"]


def a_slot_in_a_parameter(p, q, entry):
    entry["exp_avg"] = q.detach()


def parameters_that_overlap(p, q, entry):
    memory = torch.randn(40, dtype=torch.float64)
    p.data, q.data = memory[:35].view(SHAPE), memory[5:].view(SHAPE)


def parameters_that_overlap_with_gaps(p, q, entry):
    memory = torch.randn(210, dtype=torch.float64)
    p.data, q.data = memory[:70:2].view(SHAPE), memory[2:107:3].view(SHAPE)


def of_another_shape(p, q, entry):
    p.grad.data = torch.ones(7, 5, dtype=torch.float64)


def of_another_dtype(p, q, entry):
    p.grad.data = torch.ones(SHAPE)


def a_parameter_of_another_shape(p, q, entry):
    p.data = torch.ones(7, 5, dtype=torch.float64)
    p.grad = torch.ones(7, 5, dtype=torch.float64)


def a_slot_of_another_shape(p, q, entry):
    entry["exp_avg"].resize_(3)


def half_a_step(p, q, entry):
    entry["step"].fill_(2.5)


def a_negative_step(p, q, entry):
    entry["step"] = torch.tensor(-1.0)


def a_step_that_is_nan(p, q, entry):
    entry["step"] = torch.tensor(float("nan"))


def a_step_of_words(p, q, entry):
    entry["step"] = "three"


def a_sparse_gradient(p, q, entry):
    p.grad = torch.eye(5, 7, dtype=torch.float64).to_sparse()


def an_expanded_parameter(p, q, entry):
    p.data = torch.ones(1, 1, dtype=torch.float64).expand(SHAPE)


REFUSED = {
    overlapping_its_parameter: ArrayError,
    its_parameter: ArrayError,
    another_parameter: ArrayError,
    a_slot: ArrayError,
    two_slots_are_one: ArrayError,
    a_slot_in_a_parameter: ArrayError,
    parameters_that_overlap: ArrayError,
    parameters_that_overlap_with_gaps: ArrayError,
    of_another_shape: ArrayError,
    of_another_dtype: ArrayTypeError,
    a_parameter_of_another_shape: StateError,
    a_slot_of_another_shape: StateError,
    half_a_step: StateError,
    a_negative_step: StateError,
    a_step_that_is_nan: StateError,
    a_step_of_words: StateError,
    a_sparse_gradient: ArrayTypeError,
    an_expanded_parameter: ArrayError,
}


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize(("change", "error"), REFUSED.items(), ids=lambda v: v.__name__)
def test_what_cannot_be_right_is_refused_by_name_and_nothing_is_changed(change, error):
    optimizer = Pair().ours
    p, q = optimizer.param_groups[0]["params"]
    p.grad, q.grad = drawn(50), drawn(51)
    change(p, q, optimizer.state[p])
    kept = [t.detach().clone() for t in (p, q, *optimizer.state[q].values())]
    with pytest.raises(error, match=r"parameter [01]"):
        optimizer.step()
    for t, before in zip((p, q, *optimizer.state[q].values()), kept):
        assert torch.equal(t, before)


# NumPy.


def numpy_pair():
    """Return an optimizer over two arrays that own their memory, and gradients."""
    params = [np.arange(6.0) + k for k in (1, 2)]
    optimizer = fastopt.AdamW(params, lr=0.1)
    grads = [np.linspace(-1, 1, 6) + k for k in (0.1, 0.2)]
    optimizer.step(grads)
    return optimizer, params, grads


def junk():
    """Take the memory that was given back, so that whoever writes to it is caught."""
    return [np.full(n, 7.0) for n in (6, 6, 12, 3000) for _ in range(50)]


def resized(a):
    a.resize(3000, refcheck=False)


def smaller(a):
    a.resize(3, refcheck=False)


def read_only(a):
    a.setflags(write=False)


def reshaped(a):
    a.shape = (2, 3)


def retyped(a):
    a.dtype = np.int64


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("what", ["parameter", "gradient", "step", "exp_avg", "exp_avg_sq"])
def test_a_storage_that_was_resized_is_refused_until_it_is_back(what, share):
    """torch writes beyond it: a segmentation fault, or other objects overwritten."""
    params = [torch.nn.Parameter(drawn(seed)) for seed in (0, 1)]
    opt = fastopt.torch.AdamW(params)
    for p in params:
        p.grad = torch.ones_like(p)
    opt.step()
    if what == "gradient":  # of one that still has memory it is asked only where all is checked
        opt.state[params[1]]["exp_avg"] = opt.state[params[1]]["exp_avg"].clone()
    t = {"parameter": params[1], "gradient": params[1].grad} | opt.state[params[1]]
    storage, kept = t[what].untyped_storage(), t[what].detach().clone()
    storage.resize_(int(share * storage.nbytes()))
    before = params[0].detach().clone()
    with pytest.raises(
        ArrayError, match=r"parameter 1.* needs \d+ bytes of memory, but .* has \d+"
    ):
        opt.step()
    if what not in ("parameter", "gradient"):
        with pytest.raises(ArrayError, match=r"state\[1\].* bytes of memory"):
            opt.load_state_dict(opt.state_dict())
    assert torch.equal(params[0], before)
    storage.resize_(8 * t[what].numel())
    t[what].detach().copy_(kept)
    opt.step()
    assert opt.state[params[1]]["step"] == 2.0
    twins = [torch.nn.Parameter(drawn(seed)) for seed in (0, 1)]
    other = fastopt.torch.AdamW(twins)
    for _ in range(2):
        for p in twins:
            p.grad = torch.ones_like(p)
        other.step()
    assert all(torch.equal(p, twin) for p, twin in zip(params, twins))


@pytest.mark.parametrize("change", [resized, smaller, reshaped, retyped])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("what", ["parameter", "gradient"])
def test_arrays_that_changed_are_refused_and_nothing_is_written(what, which, change):
    optimizer, params, grads = numpy_pair()
    change((params if what == "parameter" else grads)[which])
    others = junk()
    before = [a.copy() for a in (*params, *others)]
    with pytest.raises((ArrayError, ArrayTypeError), match=rf"\[{which}\]"):
        optimizer.step(grads)
    for a, b in zip((*params, *others), before):
        assert a.tobytes() == b.tobytes()
    assert optimizer.steps == 1


def test_a_parameter_made_read_only_is_refused_and_may_be_writeable_again():
    optimizer, params, grads = numpy_pair()
    read_only(params[1])
    read_only(grads[0])  # only read
    before = [a.copy() for a in params]
    with pytest.raises(ArrayError, match="read-only"):
        optimizer.step(grads)
    for a, b in zip(params, before):
        np.testing.assert_array_equal(a, b)
    params[1].setflags(write=True)
    optimizer.step(grads)
    assert optimizer.steps == 2


def moved(a):
    """Give an array other memory with the same numbers."""
    a.resize(30_000, refcheck=False)
    blocker = np.ones(10)
    a.resize(6, refcheck=False)
    return blocker


def test_arrays_whose_memory_moved_go_on():
    (first, params, grads), (second, others, same) = numpy_pair(), numpy_pair()
    for _ in range(3):
        kept = [moved(a) for a in (*params, *grads)]
        first.step(grads)
        second.step(same)
        for a, b in zip(params, others):
            assert a.tobytes() == b.tobytes()
        del kept


def test_a_gradient_that_shares_memory_is_refused_whenever_it_comes():
    memory = np.arange(12.0)
    p, g = memory[:6], np.ones(6)
    optimizer = fastopt.AdamW(p, lr=0.1)
    for bad in (memory[3:9], p, memory[5:11]):
        optimizer.step(g)
        before = memory.copy()
        with pytest.raises(ArrayError, match="shares memory"):
            optimizer.step(bad)
        np.testing.assert_array_equal(memory, before)
    optimizer.step(memory[6:])


def test_a_gradient_in_the_average_is_refused():
    optimizer = fastopt.SGD(np.ones(5), lr=0.1, ema=0.9)
    optimizer.step(np.ones(5))
    with pytest.raises(ArrayError, match="ema"):
        optimizer.step(optimizer.ema)


def test_arrays_that_were_pickled_step_like_others():
    """Their dtype is an object of its own."""
    optimizer, params, grads = numpy_pair()
    again = [pickle.loads(pickle.dumps(g)) for g in grads]
    other, same, _ = numpy_pair()
    optimizer.step(grads)
    other.step(again)
    for a, b in zip(params, same):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("options", [{"max_norm": 0.5}, {"clip_value": 0.1, "zero_grad": True}])
def test_moved_arrays_with_extras(options):
    (first, params, grads), (second, others, same) = numpy_pair(), numpy_pair()
    for k in range(4):
        for each, given in ((first, grads), (second, same)):
            given[0][:], given[1][:] = np.arange(6.0) + k, 1.0
            if each is first:
                kept = [moved(a) for a in (*params, *grads)]
                given[0][:], given[1][:] = np.arange(6.0) + k, 1.0
            each.step(given, **(options if k != 2 else {}))
        del kept
        for a, b in zip((*params, *grads), (*others, *same)):
            assert a.tobytes() == b.tobytes()


def test_a_group_may_lie_where_a_resized_array_lay():
    """The memory that an array has left belongs to whoever gets it next."""
    buffer = np.ones(8)
    moved = np.ndarray(4, buffer=buffer[:4])
    opt = fastopt.SGD([moved, np.ones(3)], lr=0.1)
    moved.__setstate__(np.full(4, 2.0).__reduce__()[2])  # the same object, in memory of its own
    opt.add_param_group({"params": [buffer]})
    opt.step([[np.ones(4), np.ones(3)], [np.ones(8)]])
    np.testing.assert_array_equal(moved, 2.0 - 0.1)
    np.testing.assert_array_equal(buffer, 1.0 - 0.1)
