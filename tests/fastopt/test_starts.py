"""What starts from parameters or options starts from them as they are at the first step."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import fastopt
import fastopt.torch
from fastopt import schedules
from fastopt.errors import ArrayError
from sweeps import problems
from tests.fastopt.test_clocks import NAMES
from tests.helpers.training import frame

# Classes of which something starts from the parameter or from an option, and options to change.
STARTING = {
    "ScheduleFreeSGD": {"lr": 0.3},
    "ScheduleFreeAdamW": {"lr": 0.3, "betas": (0.8, 0.9)},
    "Rprop": {"lr": 0.3},
    "Adagrad": {"initial_accumulator_value": 0.7, "lr": 0.3},
    "Yogi": {"initial_accumulator_value": 0.7},
    "ASGD": {"lr": 0.3, "lambd": 0.1},
}
OLD, NEW = np.array([1.0, -2.0, 3.0]), np.array([5.0, 6.0, -7.0])
GRADS = [np.array([0.5, -0.25, 1.0]), np.array([0.25, 0.5, -1.0]), np.array([-0.5, 1.0, 0.75])]


def unchanged(opt, make):
    return opt


def pickled(opt, make):
    return pickle.loads(pickle.dumps(opt))


def reloaded(opt, make):
    opt.load_state_dict(copy.deepcopy(opt.state_dict()))
    return opt


def restarted(opt, make):
    """Trained, then sent back to the start by the state of one that has not stepped."""
    for g in GRADS:
        opt.step([g, g])
    opt.load_state_dict(make().state_dict())
    return opt


def saved(opt, make, tmp_path):
    fastopt.save(opt, tmp_path / "start.safetensors")
    other = make()
    fastopt.load(other, tmp_path / "start.safetensors")
    return other


WAYS = [unchanged, pickled, reloaded, restarted, saved]


def arrays_of(opt):
    return [piece.array for group in opt._groups for _, piece in group.pieces]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ema", [None, 0.5], ids=["plain", "ema"])
@pytest.mark.parametrize("name", STARTING)
def test_arrays_and_options_written_before_the_first_step_count(name, ema, way, tmp_path):
    """As in an optimizer made just before; the second array's first gradient comes later."""
    cls, options = getattr(fastopt, name), STARTING[name]

    def make():
        return cls([OLD.copy(), OLD.copy()], ema=ema)

    opt = way(make(), make, tmp_path) if way is saved else way(make(), make)
    opt.param_groups[0].update(options)
    arrays = arrays_of(opt)
    arrays[0][:] = NEW
    expected = [cls(NEW.copy(), ema=ema, **options), cls(OLD - NEW, ema=ema, **options)]
    for t, g in enumerate(GRADS):
        if t == 1:
            arrays[1][:] = OLD - NEW
        opt.step([g, g if t else None])
        for one in expected if t else expected[:1]:
            one.step(g)
    for a, one in zip(arrays, expected):
        np.testing.assert_array_equal(a, arrays_of(one)[0])
    if ema:
        np.testing.assert_array_equal(opt.ema, [one.ema for one in expected])
    for entry, one in zip(opt.state_dict()["state"].values(), expected, strict=True):
        for slot, a in one.state_dict()["state"][0].items():
            np.testing.assert_array_equal(entry[slot], a, err_msg=slot)


@pytest.mark.parametrize("name", STARTING)
def test_an_arena_starts_from_what_is_in_it(name):
    cls, options = getattr(fastopt, name), STARTING[name]
    buffer = fastopt.flatten({"w": OLD.copy(), "b": OLD.copy()})
    opt = cls(buffer, ema=0.5)
    opt.param_groups[0].update(options)
    buffer.params["w"][:], buffer.params["b"][:] = NEW, OLD - NEW
    expected = {"w": NEW.copy(), "b": OLD - NEW}
    other = cls(expected, ema=0.5, **options)
    for g in GRADS:
        buffer.grads["w"][:], buffer.grads["b"][:] = g, -g
        opt.step()
        other.step({"w": g, "b": -g})
    for key in expected:
        np.testing.assert_array_equal(buffer.params[key], expected[key])
        np.testing.assert_array_equal(opt.ema[key], other.ema[key])


@pytest.mark.parametrize("name", NAMES)
def test_tensors_and_options_written_before_the_first_step_count(name):
    """In torch's classes, all of them, one of two parameters in a group added later."""
    cls, options = getattr(fastopt.torch, name), dict(STARTING.get(name, {"lr": 0.3}))
    if name == "Adagrad":  # torch makes its sums in the constructor, and so does our class
        del options["initial_accumulator_value"]
    first, second = (torch.nn.Parameter(torch.tensor(OLD)) for _ in range(2))
    opt = cls([first])
    opt.add_param_group({"params": [second]})
    opt = pickle.loads(pickle.dumps(opt))
    opt.load_state_dict(opt.state_dict())
    first, second = (p for group in opt.param_groups for p in group["params"])
    for group in opt.param_groups:
        group.update(options)
    others = [torch.nn.Parameter(torch.tensor(a)) for a in (NEW, OLD - NEW)]
    expected = [cls([p], **options) for p in others]
    for t, g in enumerate(GRADS):
        if t == 0:
            first.data.copy_(torch.tensor(NEW))
        if t == 1:
            second.data.copy_(torch.tensor(OLD - NEW))
        first.grad = others[0].grad = torch.tensor(g)
        second.grad = others[1].grad = torch.tensor(g) if t else None
        for each in (opt, *expected):
            each.step()
    assert torch.equal(first, others[0])
    assert torch.equal(second, others[1])


def test_a_form_that_was_switched_on_is_saved_before_its_first_step():
    """With the average, which goes on; the new buffer is filled undamped, as in torch."""
    results = []
    for moves in (False, True):
        opt = fastopt.SGD(OLD.copy(), lr=0.1, ema=0.5)
        for g in GRADS:
            opt.step(g)
        opt.param_groups[0].update(momentum=0.9, dampening=0.3)
        opt = pickled(opt, None) if moves else opt
        for g in GRADS:
            opt.step(g)
        results.append([arrays_of(opt)[0], opt.ema])
    np.testing.assert_array_equal(*results)
    p = torch.nn.Parameter(torch.tensor(OLD))
    twin = torch.optim.SGD([p], lr=0.1)
    for t, g in enumerate(GRADS * 2):
        if t == 3:
            twin.param_groups[0].update(momentum=0.9, dampening=0.3)
        p.grad = torch.tensor(g)
        twin.step()
    np.testing.assert_allclose(results[0][0], p.detach().numpy(), rtol=1e-14)


def test_before_the_first_step_the_average_is_the_array():
    p = OLD.copy()
    opt = fastopt.SGD(p, lr=0.5, ema=0.5)
    p[:] = NEW
    np.testing.assert_array_equal(opt.ema, NEW)
    p[:] = OLD
    np.testing.assert_array_equal(opt.ema, OLD)
    assert opt.state_dict()["state"] == {}


@pytest.mark.parametrize("name", ["ScheduleFreeSGD", "ScheduleFreeAdamW"])
def test_before_the_first_step_all_points_are_one(name):
    p, q = OLD.copy(), OLD.copy()
    opt = getattr(fastopt, name)([p, q], lr=0.1)
    opt.step([GRADS[0], None])
    at, q[:] = p.copy(), NEW
    opt.eval()
    np.testing.assert_array_equal(q, NEW)
    opt.train()
    np.testing.assert_array_equal([p, q], [at, NEW])


def test_rprop_takes_its_first_step_sizes_from_the_scheduled_learning_rate():
    schedule = schedules.linear(10, start=0.25)
    p, q = OLD.copy(), OLD.copy()
    opt = fastopt.Rprop(p, lr=0.1, schedule=schedule)
    other = fastopt.Rprop(q, lr=0.1 * schedule(0))
    for g in GRADS:
        opt.step(g)
        other.step(g)
    np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize(
    "problem", [problems.ellipse(), problems.iris(hidden=(8,))], ids=["ellipse", "iris"]
)
def test_in_sweeps_too(problem):
    """Rprop looks at the learning rate in its first step only."""
    how = {"optimizer": "rprop", "steps": 12, "seed": 1}
    factor = schedules.linear(8, start=0.25)(0)
    scheduled = frame(problem, {"lr": [0.1, 0.01]}, schedule=schedules.linear(8, start=0.25), **how)
    plain = frame(problem, {"lr": [0.1 * factor, 0.01 * factor]}, **how)
    np.testing.assert_array_equal(scheduled.train_loss, plain.train_loss)
    unscheduled = frame(problem, {"lr": [0.1, 0.01]}, **how)
    assert (scheduled.train_loss != unscheduled.train_loss).all()


@pytest.mark.parametrize("name", STARTING)
def test_a_step_that_was_refused_is_no_first_step(name):
    """Its gradients were found before it was refused: what starts had not begun."""
    p, q = OLD.copy(), OLD.copy()
    opt, twin = (getattr(fastopt, name)(a, **STARTING[name]) for a in (p, q))
    constant = GRADS[0].copy()
    constant.setflags(write=False)
    with pytest.raises(ArrayError, match="read-only"):
        opt.step(constant, zero_grad=True)
    for g in GRADS:
        opt.step(g)
        twin.step(g)
    np.testing.assert_array_equal(p, q)
