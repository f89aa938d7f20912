"""State dicts of another class: loaded where it keeps the same, by NumPy and torch alike."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import fastopt.torch
from fastopt import HyperparameterError, StateError
from fastopt.classes.common import BINDINGS

NAMES = [cls.__name__ for cls in BINDINGS if cls.__module__.startswith("fastopt.")]


def of_arrays(name, steps):
    p = np.ones(3)
    opt = getattr(fastopt, name)(p)
    for _ in range(steps):
        opt.step(np.ones(3))
    return opt


def of_tensors(name, steps, module=fastopt.torch):
    p = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    opt = getattr(module, name)([p], lr=0.1)
    for _ in range(steps):
        p.grad = torch.ones_like(p)
        opt.step()
    return opt


def loads(opt, state):
    """Tell whether it does; if not, that nothing was changed."""
    before = copy.deepcopy(opt.state_dict())
    try:
        opt.load_state_dict(copy.deepcopy(state))
    except (StateError, HyperparameterError):
        assert repr(opt.state_dict()) == repr(before)
        return False
    return True


def slots_of(name):
    opt = of_arrays(name, 1)
    return set(opt._groups[0].rule.slots)


# With the momentum that the dict brings along, SGD keeps what they keep.
ALSO = {("LARS", "SGD"), ("Signum", "SGD")}


@pytest.mark.parametrize("name", NAMES)
def test_arrays_and_tensors_take_the_state_of_the_same_other_classes(name, counted):
    arrays, tensors = (make(name, 2).state_dict() for make in (of_arrays, of_tensors))
    for other in NAMES:
        found = loads(of_arrays(other, 0), arrays), loads(of_tensors(other, 0), tensors)
        assert found[0] == found[1], (name, other)
        keeps_other = slots_of(name) != slots_of(other)
        assert not (found[0] and keeps_other and (name, other) not in ALSO), (name, other)
        assert found[0] or name != other
    counted(2 * len(NAMES))


TORCHS = [name for name in NAMES if hasattr(torch.optim, name)]


@pytest.mark.parametrize("name", TORCHS)
def test_what_torch_itself_goes_on_with_is_taken(name):
    """Its classes load anything, and miss an option at the next step or misread the state."""
    state = of_tensors(name, 2, torch.optim).state_dict()
    for other in TORCHS:
        theirs = of_tensors(other, 0, torch.optim)
        (p,) = theirs.param_groups[0]["params"]
        p.grad = torch.ones_like(p)
        try:
            theirs.load_state_dict(copy.deepcopy(state))
            theirs.step()
        except (KeyError, AttributeError):
            continue
        assert loads(of_tensors(other, 0), state), (name, other)


@pytest.mark.parametrize(
    ("name", "other", "text"),
    [
        ("RMSprop", "SGD", "rmsprop.*: it has alpha.* state square_avg; sgd keeps nothing"),
        ("Adadelta", "RMSprop", "adadelta: it has rho.* acc_delta, square_avg; rmsprop keeps squ"),
        ("SGD", "Adam", "momentum: it has .*nesterov.* state nothing; adam keeps exp_avg, exp_av"),
    ],
)
def test_both_are_named(name, other, text):
    for make in (of_arrays, of_tensors):
        with pytest.raises(StateError, match=f"param.group.*saved by another class.* {text}"):
            make(other, 0).load_state_dict(make(name, 1).state_dict())


def test_what_users_keep_beside_goes_on_whatever_its_name():
    opt = of_tensors("SGD", 1)
    (p,) = opt.param_groups[0]["params"]
    mine = {"exp_avg": torch.zeros(3), "sum": torch.ones(3), "prev": torch.ones(3)}
    opt.state[p] |= mine
    opt.param_groups[0]["name"] = "mine"
    twin = of_tensors("SGD", 0)
    twin.load_state_dict(opt.state_dict())
    (q,) = twin.param_groups[0]["params"]
    assert all(torch.equal(twin.state[q][name], mine[name]) for name in mine)


def test_options_of_older_versions_and_of_others_are_not_taken_for_another_class():
    """apex's and older versions' groups lack options, and have some of their own."""
    state = of_tensors("Adam", 2, torch.optim).state_dict()
    row = state["param_groups"][0]
    for name in ("maximize", "decoupled_weight_decay", "amsgrad", "foreach", "fused"):
        row.pop(name, None)
    row |= {"bias_correction": True, "momentum": 0.9, "initial_lr": 0.1}
    assert loads(of_tensors("Adam", 0), state)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_go_on_from_the_state_of_arrays_with_the_same_clock(name):
    """Torch's own casting, which failed at the clock's array, sees no state of parameters."""
    arrays, tensors = of_arrays(name, 3), of_tensors(name, 0)
    state = arrays.state_dict()
    for slot in slots_of(name):
        state["state"][0][slot] = torch.from_numpy(state["state"][0][slot])
    mine = state["state"][0]["mine"] = [np.ones(2), torch.ones(2)]
    tensors.register_load_state_dict_pre_hook(lambda _, given: state)  # which stays as it is
    tensors.load_state_dict({})
    p, (q,) = arrays.param_groups[0]["params"][0], tensors.param_groups[0]["params"]
    q.data.copy_(torch.from_numpy(p))
    q.grad = torch.full_like(q, 2.0)
    arrays.step(np.full(3, 2.0))
    tensors.step()
    np.testing.assert_array_equal(q.detach().numpy(), p)
    assert tensors.state[q]["mine"] == mine == state["state"][0]["mine"]
