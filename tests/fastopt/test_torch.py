"""Drop-in optimizers: torch's numbers, torch's state, whatever the memory of the tensors.

Our update and torch's round differently: a step may differ by 2 ulp of the terms that make it up
(tests/fastopt/test_rules.py measures that). Runs of a few steps on random numbers are therefore
compared with rtol = 2 ulp x steps x 32, since terms may cancel by a factor of some tens, and with
an atol that is the same share of lr, the size of a step.
"""

from __future__ import annotations

import copy
import io
import pickle
import weakref
from collections import defaultdict

import pytest
import torch
from torch.testing import assert_close

import fastopt.torch
from fastopt.errors import ArrayError, ArrayTypeError, HyperparameterError, StateError
from fastopt.rules.clocks import read_clock
from tests.helpers.torch_cases import (
    CASES,
    CLASSES,
    FEW,
    SHAPES,
    TWINS,
    Case,
    give_gradients,
    parameters,
    state_of,
    twins_of,
)

DTYPES = [torch.float32, torch.float64]


def close(actual, expected, steps=10):
    eps = torch.finfo(actual[0].dtype).eps
    for a, b in zip(actual, expected, strict=True):
        assert_close(a, b, rtol=64 * steps * eps, atol=64 * steps * eps)


def coarse(case):
    """How many ulps of float64 torch loses by keeping a factor of its steps in float32."""
    return 2.0**20 if case.name in ("NAdam", "ASGD") else 1


def equal(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        assert torch.equal(a, b)


def close_states(ours, theirs):
    for a, b in zip(state_of(ours), state_of(theirs), strict=True):
        # torch keeps a buffer it does not fill only where there was no step
        assert set(a) == set(b)
        for name in b:
            assert a[name].dtype == b[name].dtype, name
            assert_close(a[name], b[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", TWINS, ids=str)
def test_runs_as_torch_does(case, dtype):
    """Nine steps (RAdam is rectified from the sixth), gradients missing at times, one frozen."""
    ours = parameters(dtype)
    theirs = twins_of(ours)
    ours[3].requires_grad_(False)
    theirs[3].requires_grad_(False)
    optimizer, twin = case.make(ours), case.make_twin(theirs)
    for t in range(9):
        missing = {2} if t == 3 else {0, 6} if t < 2 else set()
        give_gradients(t, ours, theirs, skip={3, *missing} if t < 5 else missing)
        optimizer.step()
        twin.step()
        close(ours, theirs, steps=9 if dtype == torch.float32 else 9 * coarse(case))
    close_states(optimizer, twin)


@pytest.mark.parametrize("case", TWINS, ids=str)
def test_state_dicts_load_both_ways(case):
    """After a swap of state dicts, three more steps are equal."""
    ours = parameters()
    theirs = twins_of(ours)
    optimizer, twin = case.make(ours, lr=0.02), case.make_twin(theirs)
    for t in range(4):
        give_gradients(t, ours, theirs, skip={2} if t else set())
        optimizer.step()
        twin.step()
    # Each takes over the other's state and options; torch would go on in the memory it is given.
    ours_next, theirs_next = twins_of(theirs), twins_of(ours)
    resumed, twin_resumed = case.ours(ours_next), case.torchs(theirs_next, foreach=False)
    resumed.load_state_dict(copy.deepcopy(twin.state_dict()))
    twin_resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for t in range(3):
        give_gradients(10 + t, ours, ours_next, theirs, theirs_next)
        for each in (optimizer, resumed, twin, twin_resumed):
            each.step()
    close(ours_next, theirs, steps=3)
    close(theirs_next, ours, steps=3)
    assert resumed.param_groups[0]["lr"] == twin.param_groups[0]["lr"]


@pytest.mark.parametrize("count", [float, int], ids=["float", "int"])
def test_a_step_that_was_saved_as_a_number_counts(count):
    """As torch saved it before version 1.12."""
    ours = parameters()
    theirs = twins_of(ours)
    twin = torch.optim.AdamW(theirs, lr=0.02, foreach=False)
    for t in range(4):
        give_gradients(t, theirs)
        twin.step()
    with torch.no_grad():
        for p, q in zip(ours, theirs):
            p.copy_(q)
    saved = copy.deepcopy(twin.state_dict())
    for entry in saved["state"].values():
        entry["step"] = count(entry["step"])
    resumed = fastopt.torch.AdamW(ours)
    resumed.load_state_dict(saved)
    for t in range(3):
        give_gradients(10 + t, ours, theirs)
        resumed.step()
        twin.step()
    close(ours, theirs, steps=3)


def test_named_parameters_keep_their_names():
    """In the groups and in state dicts, which torch's optimizer of the same parameters loads."""
    model = torch.nn.Linear(3, 2)
    optimizer = fastopt.torch.AdamW(model.named_parameters(), lr=0.02)
    twin = torch.optim.AdamW(model.named_parameters(), lr=0.02)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["param_names"] == ["weight", "bias"]
    twin.load_state_dict(saved)
    assert int(twin.state[model.weight]["step"]) == 1
    optimizer.load_state_dict(twin.state_dict())
    model.weight.grad = torch.ones(2, 3).to_sparse()
    with pytest.raises(ArrayTypeError, match="weight"):
        optimizer.step()


def saved_and_loaded(state_dict):
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


RESUMED = [(case, torch.float32) for case in CASES]
RESUMED += [(case, dtype) for case in FEW for dtype in (torch.float64, torch.bfloat16)]


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize(("case", "dtype"), RESUMED, ids=str)
def test_resuming_gives_the_same_bits(case, dtype, before):
    """Through a file that ``torch.load(weights_only=True)`` reads, with lr changing every step."""
    params = parameters(dtype)
    optimizer = case.make(params)
    for t in range(before):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + t)
        give_gradients(t, params, skip={2} if t else set())
        optimizer.step()
    again = twins_of(params)
    resumed = case.make(again)
    resumed.load_state_dict(saved_and_loaded(optimizer.state_dict()))
    for t in range(3):
        give_gradients(10 + t, params, again)
        optimizer.step()
        resumed.step()
    equal(params, again)
    for a, b in zip(state_of(optimizer), state_of(resumed), strict=True):
        assert set(a) == set(b)
        equal(a.values(), b.values())


@pytest.mark.parametrize("how", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_copies_go_on_alike_and_apart(case, how):
    params = parameters()
    optimizer = case.make(params)
    give_gradients(0, params)
    optimizer.step()
    # One copy of both: the optimizer's parameters are the model's.
    again, other = how([params, optimizer])
    assert other.param_groups[0]["params"][0] is again[0]
    untouched = [p.detach().clone() for p in params]
    for t in range(2):
        give_gradients(1 + t, again)
        other.step()
    equal(params, untouched)
    for t in range(2):
        give_gradients(1 + t, params)
        optimizer.step()
    equal(params, again)
    assert repr(other) == repr(optimizer)


@pytest.mark.parametrize("case", FEW, ids=str)
def test_loading_copies_the_state(case):
    params = parameters()
    optimizer, other = case.make(params), case.make(twins_of(params))
    give_gradients(0, params)
    optimizer.step()
    state_dict = optimizer.state_dict()
    other.load_state_dict(state_dict)
    for k, p in enumerate(other.param_groups[0]["params"]):
        for name, slot in other.state[p].items():
            theirs = state_dict["state"][k][name]
            if isinstance(slot, torch.Tensor) and slot.numel():
                assert slot.data_ptr() != theirs.data_ptr()


BAD_STATES = {
    "shape": (lambda d: d["state"][0].update(exp_avg=torch.zeros(2)), "'exp_avg' has shape"),
    "other": (lambda d: d["state"].update({0: {"square_avg": torch.zeros(3, 5)}}), "keeps exp_avg"),
    "groups": (lambda d: d["param_groups"].append(d["param_groups"][0]), "one number"),
    "count": (lambda d: d["param_groups"][0]["params"].pop(), "6 parameters"),
    "option": (lambda d: d["param_groups"][0].update(lr=-1.0), "lr must be finite"),
    "capturable": (lambda d: d["param_groups"][0].update(capturable=True), "capturable=True"),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_STATES.values(), ids=BAD_STATES)
def test_a_state_dict_that_does_not_fit_changes_nothing(spoil, message):
    params = parameters()
    optimizer = fastopt.torch.AdamW(params)
    give_gradients(0, params)
    optimizer.step()
    bad = copy.deepcopy(optimizer.state_dict())
    spoil(bad)
    before, options = state_of(optimizer), dict(optimizer.param_groups[0])
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(bad)
    assert optimizer.param_groups[0] == options
    for a, b in zip(state_of(optimizer), before, strict=True):
        equal(a.values(), b.values())


def test_float32_state_of_bfloat16_parameters_survives_loading():
    params = parameters(torch.bfloat16)
    optimizer = fastopt.torch.AdamW(params)
    for t in range(3):
        give_gradients(t, params)
        optimizer.step()
    other = fastopt.torch.AdamW(twins_of(params))
    other.load_state_dict(optimizer.state_dict())
    moment = other.state_dict()["state"][3]["exp_avg"]
    assert moment.dtype == torch.float32
    assert not torch.equal(moment, moment.bfloat16().float())


@pytest.mark.parametrize("case", [*FEW, Case("LAMB")], ids=str)
def test_bfloat16_is_computed_in_float32_and_rounded_once(case):
    """Against a float32 run whose parameters are rounded after every step."""
    params = parameters(torch.bfloat16)
    wide = [torch.nn.Parameter(p.detach().float()) for p in params]
    optimizer, reference = case.make(params, lr=0.01), case.make(wide, lr=0.01)
    for t in range(5):
        give_gradients(t, params)
        for p, q in zip(params, wide):
            q.grad = p.grad.float()
        optimizer.step()
        reference.step()
        with torch.no_grad():
            for q in wide:
                q.copy_(q.bfloat16())
        equal([p.float() for p in params], wide)


def transposed(p):
    return p.detach().t().contiguous().t()


def with_holes(p):
    wide = torch.full((*p.shape, 2), 7.0, dtype=p.dtype)
    wide[..., 0] = p.detach()
    return wide[..., 0]


def channels_last(p):
    return p.detach().to(memory_format=torch.channels_last)


LAYOUTS = {
    "transposed": (transposed, (37, 65)),
    "holes": (with_holes, (37, 65)),
    "channels_last": (channels_last, (5, 3, 7, 9)),
}


@pytest.mark.parametrize("like_p", [True, False])
@pytest.mark.parametrize(("layout", "shape"), LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("case", [*FEW, Case("ASGD"), Case("LARS")], ids=str)
def test_strides_do_not_matter(case, layout, shape, like_p):
    """Bits of a contiguous run, with gradients laid out as the parameter or not."""
    (plain,) = parameters(shapes=[shape])
    strided = torch.nn.Parameter(layout(plain))
    small = torch.nn.Parameter(torch.ones(3))
    assert not strided.is_contiguous()
    optimizer, reference = case.make([small, strided]), case.make([plain])
    resumed = None
    for t in range(4):
        give_gradients(t, [plain], [strided])
        if like_p:
            strided.grad = layout(strided.grad)
        small.grad = torch.ones(3)
        reference.step()
        (optimizer if resumed is None else resumed).step()
        assert torch.equal(strided, plain)
        if t == 1:
            resumed = case.make([small, strided])
            resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for name, slot in reference.state[plain].items():
        assert torch.equal(resumed.state[strided][name], slot), name


@pytest.mark.parametrize("layout", [lambda p: p.detach().clone(), transposed, with_holes])
def test_large_slots_keep_out_of_each_others_way(layout):
    """At offsets of their own in a page; and everything else is as with small ones."""
    (plain,) = parameters(shapes=[(513, 1031)])
    p = torch.nn.Parameter(layout(plain))
    optimizer, reference = (fastopt.torch.AdamW([each]) for each in (p, plain))
    for t in range(2):
        give_gradients(t, [p], [plain])
        optimizer.step()
        reference.step()
    slots = [slot for slot in optimizer.state[p].values() if slot.ndim]
    assert len({slot.data_ptr() % 4096 for slot in slots}) == len(slots) == 2
    saved = io.BytesIO()
    torch.save(optimizer.state_dict(), saved)
    assert saved.tell() < 2 * plain.nbytes + 10_000
    resumed, again = copy.deepcopy((optimizer, p))
    loaded = fastopt.torch.AdamW([torch.nn.Parameter(p.detach().clone())])
    loaded.load_state_dict(optimizer.state_dict())
    others = [again, loaded.param_groups[0]["params"][0]]
    give_gradients(5, [p], [plain], *([q] for q in others))
    for each in (optimizer, reference, resumed, loaded):
        each.step()
    for q in (p, *others):
        assert torch.equal(q, plain)


def test_holes_are_not_written():
    (p,) = parameters(shapes=[(37, 65)])
    strided = torch.nn.Parameter(with_holes(p))
    optimizer = fastopt.torch.AdamW([strided])
    give_gradients(0, [strided])
    optimizer.step()
    assert (strided.detach().as_strided((37, 65), strided.stride(), 1) == 7.0).all()


@pytest.mark.parametrize("grad", ["expanded", "negated", "transposed"])
def test_gradients_of_any_kind(grad):
    (p,) = parameters(shapes=[(6, 6)])
    q = twins_of([p])[0]
    g = {
        "expanded": torch.ones(1, 1).expand(6, 6),
        "negated": torch.view_as_complex(torch.randn(6, 6, 2)).conj().imag,
        "transposed": torch.randn(6, 6).t(),
    }[grad]
    p.grad, q.grad = g, g.clone().resolve_neg().contiguous()
    fastopt.torch.SGD([p], lr=0.1).step()
    torch.optim.SGD([q], lr=0.1, foreach=False).step()
    close([p], [q])


@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_gradients_are_not_changed(case):
    params = parameters()
    give_gradients(0, params)
    before = [p.grad.clone() for p in params]
    case.make(params).step()
    equal([p.grad for p in params], before)


def test_new_memory_of_a_parameter_is_the_one_that_is_updated():
    params = parameters()
    optimizer = fastopt.torch.SGD(params, lr=0.5)
    give_gradients(0, params)
    optimizer.step()
    old = params[2].data
    kept = old.clone()
    params[2].data = torch.ones(33)
    params[2].grad = torch.ones(33)
    optimizer.step()
    assert (params[2] == 0.5).all()
    assert torch.equal(old, kept)


def test_same_memory_in_another_order():
    """A square parameter transposed in place: its address and size are as before."""
    (p,) = parameters(shapes=[(8, 8)])
    optimizer = fastopt.torch.SGD([p], lr=1.0)
    p.grad = torch.zeros(8, 8)
    optimizer.step()
    p.data = p.data.t()
    before = p.detach().clone()
    p.grad = torch.arange(64.0).reshape(8, 8)
    optimizer.step()
    assert torch.equal(p, before - torch.arange(64.0).reshape(8, 8))


@pytest.mark.parametrize("case", FEW, ids=str)
def test_model_changes_its_dtype(case):
    """The state follows; the step count stays."""
    model = torch.nn.Linear(40, 3)
    optimizer = case.make(model.parameters())
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float32):
        model.to(dtype)
        optimizer.zero_grad()
        model(torch.ones(2, 40, dtype=dtype)).sum().backward()
        before = model.weight.detach().clone()
        optimizer.step()
        assert not torch.equal(model.weight, before)
    slots = [s for s in optimizer.state[model.weight].values() if s.ndim]
    assert all(slot.dtype == torch.float32 for slot in slots)
    if "step" in optimizer.state[model.weight]:
        assert optimizer.state[model.weight]["step"] == 4


def test_a_parameter_that_moves_away_is_refused_before_anything_is_written():
    params = parameters(shapes=[(5,), (3,)])
    optimizer = fastopt.torch.AdamW(params)
    give_gradients(0, params)
    optimizer.step()
    before = params[0].detach().clone()
    params[1].grad = None
    params[1].data = torch.ones(3, dtype=torch.float16)
    give_gradients(1, params)
    with pytest.raises(ArrayTypeError, match=r"parameter 1 has dtype torch\.float16"):
        optimizer.step()
    assert torch.equal(params[0], before)


def test_a_new_shape_without_new_state_is_refused():
    (p,) = parameters(shapes=[(4,)])
    optimizer = fastopt.torch.AdamW([p])
    give_gradients(0, [p])
    optimizer.step()
    p.data, p.grad = torch.ones(5), None
    p.grad = torch.ones(5)
    with pytest.raises(StateError, match="has shape"):
        optimizer.step()
    del optimizer.state[p]
    optimizer.step()
    assert optimizer.state[p]["step"] == 1


def replace_slot(optimizer, p):
    optimizer.state[p]["exp_avg"] = torch.zeros_like(p)


def replace_slot_of_a_foreign_dict(optimizer, p):
    optimizer.state[p] = dict(optimizer.state[p])
    fastopt_step(optimizer, p)
    optimizer.state[p]["exp_avg"] = torch.zeros_like(p)


def fastopt_step(optimizer, p):
    p.grad = torch.zeros_like(p)
    optimizer.step()


def clear_in_place(optimizer, p):
    optimizer.state[p]["exp_avg"].zero_()


SURGERY = [replace_slot, replace_slot_of_a_foreign_dict, clear_in_place]


@pytest.mark.parametrize("surgery", SURGERY)
def test_state_changed_by_hand_is_what_the_next_step_uses(surgery):
    (p,) = parameters(shapes=[(33,)])
    optimizer = fastopt.torch.AdamW([p], betas=(0.5, 0.9))
    for t in range(3):
        give_gradients(t, [p])
        optimizer.step()
    surgery(optimizer, p)
    give_gradients(9, [p])
    optimizer.step()
    assert_close(optimizer.state[p]["exp_avg"], 0.5 * p.grad, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("clear", ["new_state", "clear", "delete"])
@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_forgotten_state_starts_anew(case, clear):
    params = parameters(shapes=[(33,), (5,)])
    again = twins_of(params)
    optimizer = case.make(params)
    start = [p.detach().clone() for p in params]
    for t in range(3):
        give_gradients(t, params)
        optimizer.step()
    if clear == "new_state":
        optimizer.state = defaultdict(dict)
    elif clear == "clear":
        optimizer.state.clear()
    else:
        for p in params:
            optimizer.state.pop(p, None)
    with torch.no_grad():
        for p, q in zip(params, start):
            p.copy_(q)
    give_gradients(5, params, again)
    optimizer.step()
    case.make(again).step()
    equal(params, again)


def test_step_written_by_hand_counts():
    """torch computes bias corrections from ``step``; so do we."""
    ours = parameters(shapes=[(33,), (4,)])
    theirs = twins_of(ours)
    optimizer = fastopt.torch.Adam(ours, lr=0.1)
    twin = torch.optim.Adam(theirs, lr=0.1, foreach=False)
    for t in range(5):
        if t == 3:
            for opt, params in ((optimizer, ours), (twin, theirs)):
                opt.state[params[0]]["step"].fill_(100.0)
                opt.state[params[1]]["step"] = torch.tensor(7.0)
        give_gradients(t, ours, theirs)
        optimizer.step()
        twin.step()
    close(ours, theirs)
    assert optimizer.state[ours[0]]["step"] == 102


def test_parameters_replaced_in_a_group_with_their_state():
    """Densification as in Gaussian splatting: new tensors, longer state, the same step count."""
    (p,) = parameters(shapes=[(8,)])
    optimizer = fastopt.torch.Adam([p])
    give_gradients(0, [p])
    optimizer.step()
    stored = optimizer.state.pop(p)
    q = torch.nn.Parameter(torch.cat([p.detach(), torch.ones(4)]))
    for name in ("exp_avg", "exp_avg_sq"):
        stored[name] = torch.cat([stored[name], torch.zeros(4)])
    optimizer.param_groups[0]["params"][0] = q
    optimizer.state[q] = stored
    give_gradients(1, [q])
    optimizer.step()
    assert optimizer.state[q]["step"] == 2
    assert (optimizer.state[q]["exp_avg_sq"] > 0).all()


def test_libreyolo_771_a_skipped_first_step_leaves_no_rubbish_in_the_buffer():
    """torch's fused SGD allocates the momentum uninitialised and returns when inf was found."""
    params = parameters()
    optimizer = fastopt.torch.SGD(params, lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for t in range(3):
        give_gradients(t, params)
        if t == 0:
            params[3].grad[0, 0] = torch.inf
        scaler.scale(torch.zeros(()))
        scaler.step(optimizer)
        scaler.update()
        assert bool(optimizer.state) == (t > 0)
    for p in params:
        assert torch.isfinite(p).all()


def test_deepspeed_8280_parameters_without_elements():
    params = parameters(shapes=[(0,), (5,), (3, 0), (0,)])
    optimizer = fastopt.torch.AdamW(params)
    give_gradients(0, params)
    optimizer.step()
    assert [int(optimizer.state[p]["step"]) for p in params] == [1, 1, 1, 1]


def test_pytorch_191763_bfloat16_sgd_updates_every_element():
    for n in (15, 16, 31, 32, 33, 63, 64, 65, 1000, 70_001):
        p = torch.nn.Parameter(torch.ones(n, dtype=torch.bfloat16))
        optimizer = fastopt.torch.SGD([p], lr=0.25, momentum=0.5)
        for _ in range(2):
            p.grad = torch.ones_like(p)
            optimizer.step()
        assert (p == 1 - 0.25 - 0.375).all(), n


LATE = {
    "SGD": {"momentum": 0.9}, "Adam": {"amsgrad": True}, "AdamW": {}, "NAdam": {}, "RAdam": {},
    "Adamax": {}, "ASGD": {"t0": 2.0**31}, "Adagrad": {"lr_decay": 1e-9},
}  # fmt: skip


@pytest.fixture
def counts_in_float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", LATE)
def test_steps_past_what_float32_and_int32_count(name, counted, counts_in_float64):
    """A step that is a float32, as torch's, stays at 2^24; here torch counts in float64."""
    for t in (2**24 - 1, 2**31 - 2):
        models = [torch.nn.Parameter(torch.full((5,), 2.0, dtype=torch.float64)) for _ in "ab"]
        theirs, ours = (
            getattr(module, name)([p], lr=0.01, **LATE[name])
            for module, p in zip((torch.optim, fastopt.torch), models)
        )
        give_gradients(0, models[:1])
        theirs.step()
        if "step" in (state := theirs.state[models[0]]):
            state["step"] = torch.tensor(float(t), dtype=torch.float64)
        models[1].data.copy_(models[0].data)
        ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
        for k in range(1, 4):
            for p, optimizer in zip(models, (theirs, ours)):
                give_gradients(k, [p])
                optimizer.step()
        torch.testing.assert_close(models[1].data, models[0].data, rtol=1e-14, atol=0.0)
        if "step" in state:
            assert read_clock("", ours.state_dict()["state"][0]["clock"])[0] == t + 3
        counted(3)


def test_a_step_is_seen_by_autograd():
    """Going back through values that a step has overwritten raises, as with torch's optimizers."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    optimizer = fastopt.torch.SGD(model.parameters(), lr=0.1)
    loss = model(torch.ones(2, 3)).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_parameters_that_share_memory_are_refused():
    base = torch.ones(10)
    p, q = torch.nn.Parameter(base[:6]), torch.nn.Parameter(base[5:])
    with pytest.raises(ArrayError, match=r"parameter 1 shares memory with .*parameter 0"):
        fastopt.torch.SGD([p, q])
    optimizer = fastopt.torch.SGD([p, torch.nn.Parameter(torch.ones(3))])
    give_gradients(0, optimizer.param_groups[0]["params"])
    optimizer.step()
    optimizer.param_groups[0]["params"][1].data = base[3:6]
    before = base.clone()
    with pytest.raises(ArrayError, match="shares memory"):
        optimizer.step()
    assert torch.equal(base, before)


def test_a_tied_parameter_is_stepped_once():
    embedding, head = torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5, bias=False)
    head.weight = embedding.weight
    model = torch.nn.Sequential(embedding, head)
    optimizer = fastopt.torch.AdamW(model.parameters())
    model(torch.tensor([1, 2])).sum().backward()
    optimizer.step()
    assert len(optimizer.state) == 1
    assert optimizer.state[head.weight]["step"] == 1


def test_all_groups_of_a_rule_go_in_one_call_and_count_for_themselves():
    ours = parameters(shapes=SHAPES * 2)
    theirs = twins_of(ours)
    options = [
        {"lr": 0.1, "weight_decay": 0.1},
        {"betas": (0.5, 0.9)},
        {"amsgrad": True, "eps": 1e-3},
    ]

    def groups(params):
        return [{"params": params[k::3], **o} for k, o in enumerate(options)]

    optimizer, twin = fastopt.torch.Adam(groups(ours)), torch.optim.Adam(groups(theirs))
    for t in range(5):
        give_gradients(t, ours, theirs, skip={t, t + 1})
        optimizer.step()
        twin.step()
    close(ours, theirs)
    assert len(optimizer._plan._batches) == 2  # with and without the maximum
    close_states(optimizer, twin)


def test_mixed_dtypes():
    ours = [*parameters(), *parameters(torch.float64, seed=1)]
    theirs = twins_of(ours)
    optimizer, twin = fastopt.torch.AdamW(ours), torch.optim.AdamW(theirs, foreach=False)
    for t in range(3):
        give_gradients(t, ours, theirs)
        optimizer.step()
        twin.step()
    for dtype in DTYPES:
        close([p for p in ours if p.dtype == dtype], [p for p in theirs if p.dtype == dtype])


def test_gradients_are_let_go_after_the_step():
    """Held while the kernel runs, in case another thread drops them; not longer."""
    (p,) = parameters(shapes=[(33,)])
    optimizer = fastopt.torch.SGD([p], lr=0.1)
    for _ in range(3):
        p.grad = torch.ones(33)
        optimizer.step()
        (alive,) = [weakref.ref(p.grad)]
        p.grad = None
        assert alive() is None


@pytest.mark.parametrize("make", [lambda: torch.ones(1), lambda: torch.ones(())])
def test_lazily_negated_gradients_of_one_number(make):
    """Autograd makes them as parts of complex numbers, where one element passes for dense."""
    p = torch.nn.Parameter(torch.zeros_like(make()))
    optimizer = fastopt.torch.SGD([p], lr=1.0)
    p.grad = torch._neg_view(make())
    optimizer.step()
    assert p.item() == 1.0
    p.grad = make()
    optimizer.step()
    assert p.item() == 0.0


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16])
def test_parameters_step_together_as_each_alone(dtype):
    params = parameters(dtype)
    again = twins_of(params)
    optimizer = fastopt.torch.AdamW(params)
    several = [fastopt.torch.AdamW([p]) for p in again]
    for t in range(3):
        give_gradients(t, params, again, skip={t})
        optimizer.step()
        for each in several:
            each.step()
    equal(params, again)


@pytest.mark.parametrize("number", [float, torch.tensor])
@pytest.mark.parametrize("name", fastopt.torch.classes.__all__)
def test_schedules_of_torch_may_end_a_hair_below_zero(name, number):
    """LinearLR to zero does, in half of all lengths; an lr that is less than by a hair is not.

    A state of then, in which ASGD's eta is below zero, too, is resumed as any other.
    """
    params = []
    for module in (fastopt.torch, torch.optim):
        p = torch.nn.Parameter(torch.tensor([1.0, 0.0]))
        opt, lowest = getattr(module, name)([p], lr=number(0.01)), 0.0
        scheduler = torch.optim.lr_scheduler.LinearLR(opt, end_factor=0.0, total_iters=5)
        for t in range(8):
            p.grad = torch.tensor([0.5 + t, -1.0])
            opt.step()
            scheduler.step()
            lowest = min(lowest, float(opt.param_groups[0]["lr"]))
            if t == 6:
                opt.load_state_dict(opt.state_dict())
        params.append(p.detach())
    if number is float:
        assert -1e-17 < lowest < 0.0
    close(*([p] for p in params))
    opt = getattr(fastopt.torch, name)([p])
    opt.param_groups[0]["lr"] = -1e-9
    with pytest.raises(HyperparameterError, match=r"lr must be finite and in \[0\.0, inf\)"):
        opt.step()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("RAdam", {"lr": 0.0, "eps": 0.0}),
        ("Rprop", {"step_sizes": (0.5, 0.1)}),
    ],
)
def test_options_at_the_edge_of_what_is_allowed_act_as_in_torch(name, options):
    """A warm-up from zero without eps, where gradients are zero, and exchanged limits."""
    p = torch.arange(1.0, 6.0)
    q = p.clone()
    pairs = [(getattr(fastopt.torch, name), p), (getattr(torch.optim, name), q)]
    optimizers = [(cls([a], **options), a) for cls, a in pairs]
    for sign in (1.0, 1.0, -1.0):
        for optimizer, a in optimizers:
            a.grad = sign * torch.tensor([0.0, 1.0, -2.0, 0.0, 3.0])
            optimizer.step()
    assert_close(p, q)
