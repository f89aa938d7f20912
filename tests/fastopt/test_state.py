"""State dicts: exact resumption, exchange with torch in both directions, and clear refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import fastopt.torch
from fastopt import SGD, Adam, AdamW, HyperparameterError, StateError, flatten
from tests.helpers.makers import (
    arrays,
    assert_near,
    every_maker,
    every_malformed_state,
    everything,
    gradients,
    torch_step,
    torchs,
)


def trained(cls, options, steps=3, params=None):
    params = arrays() if params is None else params
    opt = cls(params, **options)
    for grads in gradients(steps):
        opt.step(grads)
    return opt, params


def assert_they_go_on_alike(ours, params, theirs, twins):
    for grads in gradients(5):
        torch_step(theirs, twins, grads.values())
        ours.step(grads)
    for p, q in zip(params.values(), twins):
        assert_near(p, q.detach().numpy(), steps=5)


@every_maker
def test_resuming_gives_the_same_bits(cls, options):
    opt, params = trained(cls, options)
    other_params = {name: p.copy() for name, p in params.items()}
    other = cls(other_params, lr=0.5)
    other.load_state_dict(opt.state_dict())
    for grads in gradients(3):
        opt.step(grads)
        other.step(grads)
    assert everything(other) == everything(opt)
    assert other.steps == opt.steps == 6


@every_maker
@pytest.mark.parametrize("tensors", [True, False], ids=["tensors", "arrays"])
def test_continuing_from_torch(cls, options, tensors):
    start = arrays()
    theirs, twins = torchs(cls, start.values(), **options)
    for grads in gradients(5):
        torch_step(theirs, twins, grads.values())
    params = {name: p.detach().numpy().copy() for name, p in zip(start, twins)}
    saved = theirs.state_dict()
    if not tensors:
        saved["state"] = {
            k: {name: None if v is None else v.numpy() for name, v in entry.items()}
            for k, entry in saved["state"].items()
        }
    ours = cls(params, lr=7.0)
    ours.load_state_dict(saved)
    assert_they_go_on_alike(ours, params, theirs, twins)


@every_maker
def test_continuing_in_torch(cls, options):
    opt, params = trained(cls, options, steps=5)
    theirs, twins = torchs(cls, params.values(), lr=7.0)
    saved = opt.state_dict()
    saved["state"] = {
        k: {name: torch.as_tensor(value) for name, value in entry.items()}
        for k, entry in saved["state"].items()
    }
    theirs.load_state_dict(saved)
    assert_they_go_on_alike(opt, params, theirs, twins)


@every_maker
def test_arena_and_arrays_exchange_state(cls, options):
    opt, params = trained(cls, options)
    buffer = flatten(params)
    arena = cls(buffer)
    arena.load_state_dict(opt.state_dict())
    back = cls({name: p.copy() for name, p in params.items()})
    back.load_state_dict(arena.state_dict())
    for grads in gradients(2):
        for name, g in grads.items():
            buffer.grads[name][...] = g
        for each in (opt, back):
            each.step(grads)
        arena.step()
    for name, p in params.items():
        np.testing.assert_array_equal(buffer.params[name], p)
    assert everything(back) == everything(opt)


def test_layout_is_torchs():
    ours, _ = trained(AdamW, {"amsgrad": True}, steps=1)
    theirs, twins = torchs(AdamW, arrays().values(), amsgrad=True)
    torch_step(theirs, twins, gradients(1)[0].values())
    mine, other = ours.state_dict(), theirs.state_dict()
    assert mine["state"].keys() == other["state"].keys()
    for k, entry in other["state"].items():
        assert set(entry) == set(mine["state"][k]) - {"clock"}
        assert entry["exp_avg"].shape == mine["state"][k]["exp_avg"].shape
    assert mine["param_groups"][0]["params"] == other["param_groups"][0]["params"]
    assert mine["param_groups"][0]["betas"] == other["param_groups"][0]["betas"]
    assert mine["param_groups"][0]["param_names"] == ["w", "b", "e", "c"]


def test_nothing_is_shared_with_a_state_dict():
    opt, params = trained(Adam, {})
    saved = opt.state_dict()
    before = everything(opt)
    for entry in saved["state"].values():
        entry["exp_avg"][...] = 9.0
        entry["clock"][...] = 9.0
    assert everything(opt) == before
    saved = opt.state_dict()
    other = Adam({name: p.copy() for name, p in params.items()})
    other.load_state_dict(saved)
    expected = opt.state_dict()["state"][0]["exp_avg"].copy()
    other.step(gradients(1)[0])
    np.testing.assert_array_equal(saved["state"][0]["exp_avg"], expected)


def test_before_the_first_step_there_is_no_state_and_it_loads():
    assert Adam(arrays()).state_dict()["state"] == {}
    opt, _ = trained(Adam, {})
    opt.load_state_dict(Adam(arrays()).state_dict())
    assert opt.steps == 0
    assert opt.state_dict()["state"] == {}


def test_numbers_run_over_all_groups():
    opt = SGD([{"params": arrays()}, {"params": [np.ones(2), np.ones(3)]}], momentum=0.9)
    opt.step([gradients(1)[0], [np.ones(2), None]])
    saved = opt.state_dict()
    assert [group["params"] for group in saved["param_groups"]] == [[0, 1, 2, 3], [4, 5]]
    assert sorted(saved["state"]) == [0, 1, 2, 3, 4]
    opt.load_state_dict(saved)


def edit(path, value):
    """Return a function that sets (or with ``...`` deletes) one item of a nested dict."""

    def apply(saved):
        *outer, last = path
        for key in outer:
            saved = saved[key]
        if value is ...:
            del saved[last]
        else:
            saved[last] = value

    return apply


def make_slot(saved, make):
    saved["state"][3]["exp_avg"] = make(saved["state"][3]["exp_avg"])


BAD = [
    (edit(["state"], ...), StateError, "has 'state' and 'param_groups'"),
    (edit(["param_groups"], []), StateError, "0 param groups, but the optimizer has 1"),
    (edit(["param_groups", 0, "params"], [0, 1]), StateError, "2 parameters.*optimizer's has 4"),
    (edit(["param_groups", 0, "params"], ...), StateError, "0 parameters"),
    (
        edit(["param_groups", 0, "param_names"], ["b", "w", "e", "c"]),
        StateError,
        "parameter 0 is called 'b', but the optimizer's is 'w'",
    ),
    (edit(["param_groups", 0, "lr"], -1.0), HyperparameterError, "lr.*-1.0"),
    (edit(["state", 9], {"step": 1}), StateError, r"state\[9\] belongs to no parameter"),
    (edit(["state", 3, "exp_avg"], ...), StateError, r"state\[3\].*'c'.*lacks 'exp_avg'"),
    (edit(["state", 3, "exp_avg"], np.ones(5)), StateError, r"shape \(5,\).*\(33,\)"),
    (edit(["state", 3, "exp_avg"], np.ones(33, np.float32)), StateError, "float32.*float64"),
    (
        edit(["state", 3, "momentum_buffer"], np.ones(33)),
        StateError,
        "'momentum_buffer', which adam",
    ),
    (edit(["state", 3, "step"], 2.5), StateError, "'step' must be a whole number.*2.5"),
    (edit(["state", 3, "step"], -1), StateError, "'step'.*-1"),
    *(
        (edit(path, value), StateError, f"{path[-1]}.*must be a whole number of steps")
        for path in (["state", 3, "step"], ["steps"])
        for value in (
            *(math.nan, math.inf, 2**53 + 1, 2**63, 1e300, 10**400, -1e-9, "many", [1, 2]),
            *(True, np.True_, torch.tensor(True), np.complex128(3), "3"),
        )
    ),
    (edit(["state", 3, "clock"], [math.nan] * 5), StateError, "'clock' must have 5 elements"),
    (
        lambda saved: saved["state"][3]["clock"].__setitem__(1, math.nan),
        StateError,
        "'clock' must have 5 elements.*no NaN",
    ),
    (edit(["state", 3, "step"], 7), StateError, "'clock' must have 5 elements.*step 7"),
    (edit(["state", 3, "clock"], np.ones(2)), StateError, "'clock' must have 5 elements"),
    (edit(["param_groups", 0, "amsgrad"], True), StateError, "lacks 'max_exp_avg_sq'"),
    *(
        (lambda saved, make=make: make_slot(saved, make), StateError, r"state\[3\].*'exp_avg'.*")
        for make in (
            *(
                np.ma.masked_array,
                lambda a: a.view(np.matrix),
                lambda a: a.view(np.recarray),
                lambda a: a.tolist()[1:],
            ),
            *(lambda a: torch.tensor(a).to_sparse(), lambda a: torch.tensor(a).to("meta")),
            *(lambda a: torch._neg_view(torch.tensor(a)), lambda a: torch.tensor(a).bfloat16()),
            *(lambda a: [a.tolist(), [1.0]], lambda a: "moments", lambda a: {1: 2}),
        )
    ),
]


@pytest.mark.parametrize(("change", "error", "text"), BAD)
def test_a_state_that_does_not_fit_is_refused_before_anything_is_written(change, error, text):
    opt, params = trained(Adam, {})
    saved = opt.state_dict()
    change(saved)
    other = Adam({name: p.copy() for name, p in params.items()}, lr=0.7)
    before = everything(other), dict(other.param_groups[0])
    with pytest.raises(error, match=text):
        other.load_state_dict(saved)
    assert everything(other) == before[0]
    assert other.param_groups[0] == before[1]


def test_not_a_dict():
    with pytest.raises(StateError, match="got list"):
        Adam(arrays()).load_state_dict([1, 2])


def test_an_arena_refuses_tensors_at_different_steps():
    opt = Adam(arrays())
    first, second = gradients(2)
    opt.step(first)
    opt.step({"w": second["w"]})
    with pytest.raises(StateError, match="Buffer steps all its tensors together"):
        Adam(flatten(arrays())).load_state_dict(opt.state_dict())


def test_names_may_be_dropped_to_load_by_position():
    opt, params = trained(Adam, {})
    saved = opt.state_dict()
    other = Adam({name.upper(): p.copy() for name, p in params.items()})
    with pytest.raises(StateError, match="delete 'param_names'"):
        other.load_state_dict(saved)
    del saved["param_groups"][0]["param_names"]
    other.load_state_dict(saved)
    assert everything(other) == everything(opt)


@every_malformed_state
def test_a_state_that_is_put_together_wrongly_is_refused(spoil, text):
    test_a_state_that_does_not_fit_is_refused_before_anything_is_written(spoil, StateError, text)


KEYS = str, float, bool, np.int64, np.float32, np.str_


@pytest.mark.parametrize("place", ["state", "params"])
@pytest.mark.parametrize("kind", KEYS, ids=lambda kind: kind.__name__)
def test_numbers_of_parameters_may_be_of_any_kind(kind, place):
    """JSON makes texts of keys; what was saved is loaded, and what is the user's stays."""
    runs = [np.ones(2), np.ones(3)], [torch.ones(2), torch.ones(3)]
    for make, params in zip((Adam, fastopt.torch.Adam), runs):
        opt, other = make(params), make(params)
        for p in params if make is not Adam else ():
            p.grad = torch.ones_like(p)
        opt.step(*[[p + 1 for p in params]] * (make is Adam))
        saved = opt.state_dict()
        if place == "state":
            saved["state"] = {kind(key): entry for key, entry in saved["state"].items()}
        else:
            saved["param_groups"][0]["params"] = list(map(kind, range(2)))
        other.load_state_dict({**saved, "state": {**saved["state"], "mine": {"a": 1}}})
        held = other.state_dict()["state"]
        assert held.pop("mine", {"a": 1}) == {"a": 1}
        assert [list(held[k]["exp_avg"]) for k in range(2)] == [
            list(entry["exp_avg"]) for entry in saved["state"].values()
        ]


@pytest.mark.parametrize("name", ["steps", "skipped"])
def test_counts_of_an_optimizer_are_whole_numbers(name):
    opt = Adam(arrays())
    for value in (2.5, -1, True, math.nan, "3", None, 2**63, [1, 2]):
        with pytest.raises(StateError, match=f"Adam.{name} must be a whole number"):
            setattr(opt, name, value)
    setattr(opt, name, np.float32(7))
    assert repr(getattr(opt, name)) == "7"
