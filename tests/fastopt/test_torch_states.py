"""States of others, loaded: what is understood, and what is refused before anything changes."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

import fastopt.torch
from fastopt.errors import ArrayError, StateError
from fastopt.rules.clocks import read_clock
from tests.helpers.makers import every_malformed_state
from tests.helpers.torch_cases import (
    FEW,
    TWINS,
    Case,
    give_gradients,
    parameters,
    state_of,
    twins_of,
)

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
    "a truth": lambda entry: entry.update(step=torch.tensor(True)),
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


def kinds(optimizer, params):
    """Return dtype and shape of all that the live state has."""
    return [
        {name: (a.dtype, a.shape) for name, a in optimizer.state[p].items()}
        if p in optimizer.state
        else None
        for p in params
    ]


@pytest.mark.parametrize("case", TWINS, ids=str)
def test_the_live_state_is_torchs(case):
    """The same keys, dtypes, shapes and numbers, after 0, 1 and 3 steps, and when loaded."""
    params = parameters(shapes=SHAPES)
    twins = twins_of(params)
    optimizer, twin = case.make(params), case.make_twin(twins)
    for t in range(3):
        assert kinds(optimizer, params) == kinds(twin, twins)
        give_gradients(t, params, twins, skip=(1,) if t == 1 else ())
        optimizer.step()
        twin.step()
    assert kinds(optimizer, params) == kinds(twin, twins)
    for p, q in zip(params, twins):
        for name, a in twin.state.get(q, {}).items():
            torch.testing.assert_close(optimizer.state[p][name], a, rtol=1e-4, atol=1e-6)
    again, others = case.make(params), case.make_twin(twins)
    again.load_state_dict(optimizer.state_dict())
    others.load_state_dict(twin.state_dict())
    assert kinds(again, params) == kinds(others, twins)
    again.load_state_dict(twin.state_dict())
    assert kinds(again, params) == kinds(others, twins)


@pytest.mark.parametrize("write", ["in place", "replaced", "as a number", "before loading"])
@pytest.mark.parametrize("name", ["mu_product", "eta", "mu"])
def test_what_is_written_to_a_live_number_counts(name, write):
    """Also that of a parameter that rests, at its next step."""
    case = Case("NAdam", {"lr": 0.1}) if name == "mu_product" else Case("ASGD", {"t0": 1.0})
    params = parameters(shapes=SHAPES)
    twins = twins_of(params)
    pairs = [(case.make(params), params), (case.make_twin(twins), twins)]
    for t in range(4):
        give_gradients(t, params, twins, skip=(1,) if t == 2 else ())
        for k, (optimizer, tensors) in enumerate(pairs):
            if t == 2:
                saved = optimizer.state_dict()
                for number, p in enumerate(tensors):
                    entry = optimizer.state[p]
                    if write == "in place":
                        entry[name].fill_(0.25)
                    elif write == "before loading":
                        saved["state"][number][name] = torch.tensor(0.25)
                    else:
                        is_number = write == "as a number" and k == 0
                        entry[name] = 0.25 if is_number else torch.tensor(0.25)
                if write == "before loading":
                    optimizer.load_state_dict(saved)
            optimizer.step()
    for p, q in zip(params, twins):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)
        a, b = (pair[0].state[r] for pair, r in zip(pairs, (p, q)))
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_live_number_that_is_none_is_refused_before_anything_is_written():
    params = parameters(shapes=SHAPES)
    optimizer = Case("NAdam").make(params)
    for t in range(2):
        give_gradients(t, params)
        if t:
            optimizer.state[params[1]]["mu_product"].fill_(float("nan"))
            before = [p.clone() for p in params]
            with pytest.raises(StateError, match="mu_product"):
                optimizer.step()
            torch.testing.assert_close(params, before, rtol=0, atol=0)
        else:
            optimizer.step()


@pytest.mark.parametrize("modes", ["first", "load", "every other", "parameters", "requires_grad"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "ASGD"])
def test_no_step_ends_half_way_because_of_what_torch_lets_nobody_write_to(name, modes):
    """Tensors made in inference mode, outside of it, and numbers that require a gradient."""
    runs = []
    for is_odd in (False, True):
        with torch.inference_mode(is_odd and modes == "parameters"):
            params = [p.detach().clone() for p in parameters(shapes=SHAPES)]
            params.append(torch.ones(4, 6)[:, ::2])  # with holes: stepped in a copy
        optimizer = getattr(fastopt.torch, name)(params, lr=0.1)
        for t in range(4):
            give_gradients(t, params)
            on = {"first": t == 0, "every other": t % 2 == 0}.get(modes, False)
            with torch.inference_mode(is_odd and on):
                optimizer.step()
            if t == 1 and modes == "load":
                with torch.inference_mode(is_odd):
                    optimizer.load_state_dict(optimizer.state_dict())
            for entry in optimizer.state.values() if is_odd and modes == "requires_grad" else ():
                for number in (a for a in entry.values() if a.ndim == 0):
                    number.requires_grad_()
        state = [{k: a.tolist() for k, a in optimizer.state.get(p, {}).items()} for p in params]
        runs.append(([p.tolist() for p in params], state))
    assert runs[0] == runs[1]


def test_slots_without_a_count_are_refused_at_the_step():
    params = parameters(shapes=SHAPES)
    optimizer = Case("Adam").make(params)
    p = params[0]
    optimizer.state[p] = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
    give_gradients(0, params)
    with pytest.raises(StateError, match="no 'step'"):
        optimizer.step()


def test_adagrads_sums_can_be_shared_before_the_first_step():
    params = parameters(shapes=SHAPES)
    twins = twins_of(params)
    optimizer, twin = (Case("Adagrad").make(tensors) for tensors in (params, twins))
    optimizer.share_memory()
    for t in range(2):
        give_gradients(t, params, twins)
        optimizer.step()
        twin.step()
    assert all(optimizer.state[p]["sum"].is_shared() for p in params)
    torch.testing.assert_close(params, twins, rtol=0, atol=0)


def test_lazy_parameters_alone_step_nothing():
    """As torch's: none of them has a gradient, or memory, yet."""
    model = torch.nn.LazyLinear(3)
    optimizer = fastopt.torch.AdamW(model.parameters())
    optimizer.step()
    model(torch.ones(2, 4)).sum().backward()
    optimizer.step()
    assert len(optimizer.state) == 2


def saved_adam():
    params = parameters(shapes=SHAPES)
    optimizer = fastopt.torch.Adam(params)
    give_gradients(0, params)
    optimizer.step()
    return optimizer, optimizer.state_dict()


def refuses(optimizer, saved, text):
    before = state_of(optimizer)
    with pytest.raises(StateError, match=text):
        optimizer.load_state_dict(saved)
    torch.testing.assert_close(state_of(optimizer), before, rtol=0, atol=0)


@every_malformed_state
def test_a_state_that_is_put_together_wrongly_is_refused(spoil, text):
    optimizer, saved = saved_adam()
    spoil(saved)
    refuses(optimizer, saved, text)


ODD = {
    "sparse": torch.Tensor.to_sparse,
    "meta": lambda a: a.to("meta"),
    "complex": lambda a: a.to(torch.complex64),
    "nested": lambda a: torch.nested.nested_tensor([a], layout=torch.jagged),
    "masked": lambda a: torch.masked.masked_tensor(a, a > 0),
    "array": lambda a: a.numpy().copy(),
    "masked array": lambda a: np.ma.masked_array(a.numpy(), a.numpy() > 0),
    "list": lambda a: a.tolist(),
    "text": str,
}


@pytest.mark.filterwarnings("ignore:.*MaskedTensors:UserWarning")
@pytest.mark.parametrize("name", ODD)
def test_a_slot_of_another_kind_is_refused(name):
    """Loaded, or put in place of a live one: begun anew, the moments would be lost."""
    for make, slot in ((fastopt.torch.Adam, "exp_avg"), (momentum, "momentum_buffer")):
        params = parameters(shapes=SHAPES)
        optimizer = make(params)
        give_gradients(0, params)
        optimizer.step()
        saved = optimizer.state_dict()
        entry = saved["state"][0]
        saved["state"][0] = entry | {slot: ODD[name](entry[slot])}
        refuses(optimizer, saved, rf"state\[0\].*'{slot}'")
        before = state_of(optimizer)
        optimizer.state[params[0]][slot] = saved["state"][0][slot]
        with pytest.raises(StateError, match=f"the state '{slot}' of .* parameter 0"):
            optimizer.step()
        optimizer.state[params[0]][slot] = entry[slot]
        torch.testing.assert_close(state_of(optimizer), before, rtol=0, atol=0)


def momentum(params):
    return fastopt.torch.SGD(params, lr=0.1, momentum=0.9)


SHARED = {
    "a parameter": lambda state, p, q: p.data[0, 0],
    "a gradient": lambda state, p, q: p.grad[0, 0],
    "a slot": lambda state, p, q: state[q]["exp_avg"][0, 0],
    "that of another": lambda state, p, q: next(
        a for name, a in state[q].items() if a.ndim == 0 and name in ("step", "mu_product")
    ),
}


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("with_what", SHARED)
@pytest.mark.parametrize("name", ["step", "mu_product"])
def test_a_number_in_the_state_shares_memory_with_nothing(name, with_what, is_late):
    """It is written to at each step, and so would that be."""
    params = [torch.ones(2, 3), torch.ones(3, 2)]
    optimizer = fastopt.torch.NAdam(params)
    for t in range(1 + is_late):
        give_gradients(t, params)
        optimizer.step()
    state, (p, q) = optimizer.state, params
    give_gradients(5, params)
    shared = SHARED[with_what](state, p, q)
    if with_what == "that of another":
        shared = state[q][name]
    elif with_what == "a gradient" and is_late:  # the number stays where it is, and is checked
        p.grad = torch.zeros(9)[:6].view(2, 3)
        p.grad.view(-1)[:1].fill_(state[p][name].item())
        shared = p.grad[0, 0]
    else:
        shared.fill_(state[p][name].item())
    state[p][name] = shared
    before = [a.clone() for a in (p, q, p.grad)]
    with pytest.raises(ArrayError, match=f"'{name}' of .* shares memory|shares memory .*'{name}'"):
        optimizer.step()
    torch.testing.assert_close([p, q, p.grad], before, rtol=0, atol=0)


@pytest.mark.parametrize("form", ["as it is", "as before", "JSON", "flat", "nested"])
@pytest.mark.parametrize("name", ["Adam", "NAdam", "SGD"])
def test_clocks_pass_through_every_reader_of_state_dicts(name, form):
    """torch.distributed.checkpoint flattens tensors and numbers only, and would shard a tensor."""
    make = {"SGD": momentum}.get(name) or getattr(fastopt.torch, name)
    models = [torch.nn.Linear(3, 2) for _ in range(2)]
    optimizers = [make(model.parameters()) for model in models]
    params = [list(model.parameters()) for model in models]
    for t in range(5):
        give_gradients(t, params[0])
        optimizers[0].step()
    models[1].load_state_dict(models[0].state_dict())
    saved = copy.deepcopy(optimizers[0].state_dict())
    if form in ("flat", "nested"):
        options = StateDictOptions(flatten_optimizer_state_dict=form == "flat")
        held = get_optimizer_state_dict(models[0], optimizers[0], options=options)
        set_optimizer_state_dict(models[1], optimizers[1], held, options=options)
    else:
        for entry in saved["state"].values():
            clock = read_clock("it", entry["clock"])
            assert clock[0] == 5 or name == "SGD"
            as_before = tuple(clock) if form == "as before" else entry["clock"]
            entry["clock"] = json.loads(json.dumps(as_before)) if form == "JSON" else as_before
        optimizers[1].load_state_dict(saved)
    give_gradients(7, *params)
    for optimizer in optimizers:
        optimizer.step()
    # A flat dict is read by the names of the live state, which has no clock.
    rtol = 1e-6 if form == "flat" else 0.0
    torch.testing.assert_close(params[1], params[0], rtol=rtol, atol=0)
