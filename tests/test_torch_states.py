"""States of others, loaded: what is understood, and what is refused before anything changes."""

from __future__ import annotations

import copy

import pytest
import torch

from fastopt.errors import StateError
from tests.torch_cases import FEW, TWINS, Case, give_gradients, parameters, state_of, twins_of

COUNTED = [case for case in TWINS if case.name != "SGD"]
SHAPES = ((3, 5), ())


def saved_by(make, params, steps=3):
    optimizer = make(params)
    for t in range(steps):
        give_gradients(t, params)
        optimizer.step()
    return copy.deepcopy(optimizer.state_dict())


FORMS = {
    "int": int,
    "float": float,
    "shape (1,)": lambda t: t.reshape(1),
    "bfloat16": torch.Tensor.bfloat16,
    "float64": torch.Tensor.double,
    "int64": torch.Tensor.long,
}


@pytest.mark.parametrize("form", [*FORMS, "in the group"])
@pytest.mark.parametrize("has_clock", [True, False])
def test_every_form_of_step_is_understood(form, has_clock):
    case = Case("NAdam")
    params = parameters(shapes=SHAPES)
    saved = saved_by(case.make, params)
    again = twins_of(params)
    expected, optimizer = case.make(params), case.make(again)
    expected.load_state_dict(copy.deepcopy(saved))
    for entry in saved["state"].values():
        if form == "in the group":
            saved["param_groups"][0]["step"] = int(entry.pop("step"))
        else:
            entry["step"] = FORMS[form](entry["step"])
        if not has_clock:
            del entry["clock"]
    optimizer.load_state_dict(saved)
    for entry in optimizer.state.values():
        assert (entry["step"].dtype, entry["step"].shape) == (torch.float32, ())
    give_gradients(9, params, again)
    expected.step()
    optimizer.step()
    assert "step" not in optimizer.param_groups[0]
    rtol = 0.0 if has_clock else 1e-6
    for p, q in zip(params, again):
        torch.testing.assert_close(p, q, rtol=rtol, atol=0.0)


def without(*names):
    return lambda entry: [entry.pop(name, None) for name in names]


def without_a_slot(entry):
    scalars = "step", "clock", "mu_product", "eta", "mu"
    entry.pop([name for name in entry if name not in scalars][-1])


def emptied(entry):
    entry.update({name: None for name in entry if name not in ("step", "clock")})


DAMAGE = {
    "no step": without("step"),
    "no step, no clock": without("step", "clock"),
    "step is None": lambda entry: entry.update(step=None),
    "a slot is missing": without_a_slot,
    "no slots": lambda entry: [entry.pop(name) for name in list(entry) if name != "step"],
    "slots are None": emptied,
    "only the clock": lambda entry: [entry.pop(name) for name in list(entry) if name != "clock"],
    "a fraction": lambda entry: entry.update(step=2.5),
    "NaN": lambda entry: entry.update(step=torch.tensor(float("nan"))),
    "several": lambda entry: entry.update(step=torch.tensor([3.0, 3.0])),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("case", COUNTED, ids=str)
def test_a_state_with_something_missing_is_refused_and_changes_nothing(case, name):
    params = parameters(shapes=SHAPES)
    saved = saved_by(case.make, params)
    optimizer = case.make(params)
    give_gradients(5, params)
    optimizer.step()
    before = state_of(optimizer)
    DAMAGE[name](saved["state"][1])
    with pytest.raises(StateError, match=r"state\[1\]"):
        optimizer.load_state_dict(saved)
    torch.testing.assert_close(state_of(optimizer), before, rtol=0, atol=0)


@pytest.mark.parametrize("entry", [{}, {"momentum_buffer": None}, {"mine": 3}])
def test_what_holds_no_state_yet_is_a_start(entry):
    params = parameters(shapes=SHAPES)
    twins = twins_of(params)
    optimizer, twin = (FEW[0].make(tensors) for tensors in (params, twins))
    saved = optimizer.state_dict()
    saved["state"] = {0: entry}
    optimizer.load_state_dict(saved)
    give_gradients(0, params, twins)
    optimizer.step()
    twin.step()
    torch.testing.assert_close(params, twins, rtol=0, atol=0)
