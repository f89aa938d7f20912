"""Anything, in any order, between steps: NumPy, torch and paper keep the same numbers.

A machine that hypothesis drives steps one optimizer of each kind over the same tensors and does to
them, in between, what programs do: options change, gradients are missing or of odd forms, groups
are added, states saved, loaded, pickled, shared, swapped and re-pointed, others write into the
state, hooks step. What cannot be right is refused, and then nothing has changed.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import fastopt
import fastopt.torch
from fastopt.errors import FastoptError
from tests.fastopt.test_clocks import NAMES, SHAPES, Papers, Trio, change_an_option

SEEDS = st.integers(0, 2**32 - 1)
TENSORS = st.integers(0, len(SHAPES) - 1)

FORMS = {
    "as it is": lambda t: t,
    "negated": lambda t: torch._neg_view(-t),
    "with holes": lambda t: torch.stack([t, t], -1)[..., 0],
    "transposed": lambda t: t.t().contiguous().t(),
    "of a subclass": lambda t: t.clone().as_subclass(torch.nn.Buffer),
}


class Machine(RuleBasedStateMachine):
    """Its subclasses name a class of optimizers."""

    name = "AdamW"
    taken = 0  # steps of all machines of a class

    def __init__(self):
        super().__init__()
        self.trio = trio = Trio(self.name, np.random.default_rng(0))
        self.steps = 0
        # Which group each tensor is in; the papers go by the options of that group.
        self.group_of = [0] * len(SHAPES)
        self.trio.check(0)
        self.n_extra = 0
        del trio

    # ---- steps

    def gradients(self, seed):
        rng = np.random.default_rng(seed)
        grads = [rng.normal(size=p.shape) for p in self.trio.tensors]
        absent = int(rng.integers(0, 6))
        return [None if k == absent else g for k, g in enumerate(grads)]

    def give(self, grads, form="as it is"):
        for p, g in zip(self.trio.tensors, grads):
            p.grad = None if g is None else FORMS[form](torch.from_numpy(g.copy()))

    def step_numpy_and_papers(self, grads):
        trio = self.trio
        for group, k, paper, g in zip(self.group_of, range(99), trio.papers, grads):
            if g is not None:
                rule, values = trio.ours._recipe("here", trio.ours.param_groups[group])
                paper.step(rule, values, g)
            del k
        if max(self.group_of) == 0:
            trio.ours.step(grads)
        else:
            split = [
                [g for g, own in zip(grads, self.group_of) if own == group]
                for group in range(max(self.group_of) + 1)
            ]
            trio.ours.step(split)
        self.steps += 1
        type(self).taken += 1

    @rule(seed=SEEDS, forms=st.lists(st.sampled_from(list(FORMS)), min_size=1, max_size=5))
    def step(self, seed, forms):
        for k, form in enumerate(forms):
            self.step_once(seed + k, form)

    @invariant()
    def a_usual_step_is_right(self):
        """Whatever was done before; now and then with gradients of another form."""
        turn, rest = divmod(self.steps, 3)
        self.step_once(self.steps, "as it is" if rest else list(FORMS)[turn % len(FORMS)])

    def step_once(self, seed, form):
        grads = self.gradients(seed)
        self.give(grads, form)
        self.step_numpy_and_papers(grads)
        self.trio.torchs.step()
        self.check()

    @rule(seed=SEEDS)
    def step_with_a_hook_that_steps(self, seed):
        grads, inside = self.gradients(seed), []

        def hook(optimizer, args, kwargs):
            if not inside:
                inside.append(1)
                optimizer.step()

        self.give(grads)
        handle = self.trio.torchs.register_step_pre_hook(hook)
        self.trio.torchs.step()
        handle.remove()
        for _ in range(2):
            self.step_numpy_and_papers(grads)
        self.check()

    def check(self):
        self.trio.check(max(self.steps, 1))

    # ---- options, groups, states

    @rule(seed=SEEDS, group=st.integers(0, 1))
    def change_options(self, seed, group):
        trio = self.trio
        if group > max(self.group_of):
            return
        options = trio.ours.param_groups[group]
        view = {k: options[k] for k in trio.shared}
        change_an_option(np.random.default_rng(seed), trio.ours._groups[group].rule, view)
        for name in set(view) - {"params"}:
            options[name] = trio.torchs.param_groups[group][name] = view[name]

    @rule(factor=st.floats(0.5, 1.5))
    def schedule(self, factor):
        """One step of a scheduler of torch's, which multiplies every group's lr."""
        for optimizer in (self.trio.ours, self.trio.torchs):
            for group in optimizer.param_groups:
                group["lr"] *= factor

    @precondition(lambda self: max(self.group_of) == 0)
    @rule(seed=SEEDS)
    def add_a_group(self, seed):
        trio, value = self.trio, np.random.default_rng(seed).normal(size=(4,))
        array, tensor = value.copy(), torch.nn.Parameter(torch.from_numpy(value.copy()))
        trio.ours.add_param_group({"params": [array]})
        trio.torchs.add_param_group({"params": [tensor]})
        trio.arrays.append(array)
        trio.tensors.append(tensor)
        trio.papers.append(Papers(value))
        self.group_of.append(1)

    def parameters(self, flat):
        if max(self.group_of) == 0:
            return flat
        groups = range(max(self.group_of) + 1)
        split = [[p for p, own in zip(flat, self.group_of) if own == group] for group in groups]
        return [{"params": params} for params in split]

    @rule()
    def load_into_new_ones(self):
        trio = self.trio
        fresh = getattr(fastopt, self.name)(self.parameters(trio.arrays), lr=0.5)
        fresh.load_state_dict(trio.ours.state_dict())
        trio.ours = fresh
        fresh = getattr(fastopt.torch, self.name)(self.parameters(trio.tensors), lr=0.5)
        fresh.load_state_dict(copy.deepcopy(trio.torchs.state_dict()))
        trio.torchs = fresh

    @rule()
    def pickle_all(self):
        trio = self.trio
        trio.ours = pickle.loads(pickle.dumps(trio.ours))
        trio.arrays = [piece.array for group in trio.ours._groups for _, piece in group.pieces]
        trio.torchs, trio.tensors = pickle.loads(pickle.dumps((trio.torchs, trio.tensors)))

    # ---- memory and state that others change

    def entry(self, k):
        return self.trio.torchs.state.get(self.trio.tensors[k], {})

    def slots(self, k):
        return {
            key: value
            for key, value in self.entry(k).items()
            if isinstance(value, torch.Tensor) and value.ndim
        }

    @rule(k=TENSORS)
    def move_memory(self, k):
        """To other places, with the same numbers."""
        p, a = self.trio.tensors[k], self.trio.arrays[k]
        p.data = p.data.clone()
        for slot in self.slots(k).values():
            slot.data = slot.data.clone()
        shape = a.shape
        if a.base is None:
            a.resize(5000, refcheck=False)
            a.resize(shape, refcheck=False)

    @rule(k=TENSORS)
    def share_memory(self, k):
        self.trio.tensors[k].share_memory_()
        for value in self.entry(k).values():
            if isinstance(value, torch.Tensor):
                value.share_memory_()

    @rule(k=TENSORS)
    def replace_slots(self, k):
        self.entry(k).update({name: slot.clone() for name, slot in self.slots(k).items()})

    @rule(k=TENSORS)
    def replace_the_entry(self, k):
        if self.entry(k):
            self.trio.torchs.state[self.trio.tensors[k]] = dict(self.entry(k))

    @rule(k=TENSORS, key=st.sampled_from(["mine", "ema_of_mine", "step_of_mine"]))
    def write_a_key_of_ones_own(self, k, key):
        if self.entry(k):
            self.entry(k)[key] = torch.ones(3)
        self.trio.torchs.state[key] = 7

    @rule(k=TENSORS)
    def take_foreign_keys_away(self, k):
        state = self.trio.torchs.state
        for key in [key for key in state if isinstance(key, str)]:
            del state[key]

    # ---- what is refused

    def kept(self):
        trio = self.trio
        tensors = [p.detach().clone() for p in trio.tensors]
        slots = [s.clone() for k in range(len(SHAPES)) for s in self.slots(k).values()]
        return tensors, slots, [a.copy() for a in trio.arrays], trio.ours.steps

    def refused(self, seed, k, spoil, mend):
        grads = self.gradients(seed)
        grads[k] = np.ones(SHAPES[k]) if grads[k] is None else grads[k]
        self.give(grads)
        before = self.kept()
        restore = spoil(k)
        with pytest.raises(FastoptError):
            self.trio.torchs.step()
        mend(k, restore)
        after = self.kept()
        assert before[3] == after[3]
        for a, b in zip(before[:2], after[:2]):
            assert len(a) == len(b)
            assert all(map(torch.equal, a, b))

    @rule(seed=SEEDS, k=TENSORS)
    def a_gradient_of_another_shape(self, seed, k):
        def spoil(k):
            self.trio.tensors[k].grad.data = torch.ones(77, dtype=torch.float64)

        self.refused(seed, k, spoil, lambda k, _: None)

    @rule(seed=SEEDS, k=TENSORS)
    def a_gradient_in_its_parameter(self, seed, k):
        def spoil(k):
            self.trio.tensors[k].grad = self.trio.tensors[k].detach()

        self.refused(seed, k, spoil, lambda k, _: None)

    @rule(seed=SEEDS, k=TENSORS)
    def an_option_that_is_not_allowed(self, seed, k):
        group = self.trio.torchs.param_groups[0]

        def spoil(k):
            lr, group["lr"] = group["lr"], -1.0
            return lr

        def mend(k, lr):
            group["lr"] = lr

        self.refused(seed, k, spoil, mend)

    @rule(seed=SEEDS, k=TENSORS)
    def an_array_that_is_resized(self, seed, k):
        trio = self.trio
        grads = [np.ones_like(a) for a in trio.arrays]
        a, shape = trio.arrays[k], SHAPES[k]
        if a.base is not None:
            return
        before = self.kept()
        a.resize(1000, refcheck=False)
        given = [[g for g, own in zip(grads, self.group_of) if own == j] for j in range(2)]
        with pytest.raises(FastoptError):
            trio.ours.step(grads if max(self.group_of) == 0 else given)
        a.resize(shape, refcheck=False)
        for x, y in zip(before[2], self.kept()[2]):
            np.testing.assert_array_equal(x, y)


def run(name, examples, steps):
    """Return how many steps there were."""
    machine = type(f"Machine{name}", (Machine,), {"name": name})
    quiet = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    torch.set_default_dtype(torch.float64)  # torch keeps what accumulates in it, as we do
    try:
        run_state_machine_as_test(machine, settings=quiet)
    finally:
        torch.set_default_dtype(torch.float32)
    return machine.taken


@pytest.mark.parametrize("name", NAMES)
def test_anything_in_any_order(name, counted):
    counted(run(name, examples=5, steps=25))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", NAMES)
def test_anything_in_any_order_at_length(name, counted):
    counted(run(name, examples=25, steps=30))
