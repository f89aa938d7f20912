"""The optimizer classes: torch's numbers, all structures of parameters, and nothing half done."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch

import fastopt
import fastopt.torch
from fastopt import (
    RULES,
    SGD,
    Adam,
    AdamW,
    ArrayError,
    ArrayTypeError,
    HyperparameterError,
    NonFiniteError,
    flatten,
)
from tests.helpers.makers import (
    arrays,
    assert_near,
    every_maker,
    everything,
    gradients,
    torch_step,
    torchs,
)

# ---- numbers ----


@every_maker
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ten_steps_are_torchs(cls, options, dtype):
    params = arrays(dtype=dtype)
    theirs, twins = torchs(cls, params.values(), **options)
    ours = cls(params, **options)
    for grads in gradients(10, dtype):
        torch_step(theirs, twins, grads.values())
        ours.step(grads)
    for p, q in zip(params.values(), twins):
        assert_near(p, q.detach().numpy(), steps=10)


STRUCTURES = {
    "dict": (lambda p: p, lambda g: g),
    "list": (lambda p: list(p.values()), lambda g: list(g.values())),
    "tuple": (lambda p: tuple(p.values()), lambda g: tuple(g.values())),
    "groups of arrays": (
        lambda p: [{"params": a} for a in p.values()],
        lambda g: list(g.values()),
    ),
    "groups": (
        lambda p: [{"params": [p["w"], p["b"]]}, {"params": {"e": p["e"], "c": p["c"]}}],
        lambda g: [[g["w"], g["b"]], {"e": g["e"], "c": g["c"]}],
    ),
}


@every_maker
@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_structure_gives_the_same_bits(cls, options, structure):
    of_params, of_grads = STRUCTURES[structure]
    params, expected = arrays(), arrays()
    one_by_one = [cls(p, **options) for p in expected.values()]
    opt = cls(of_params(params), **options)
    for grads in gradients(3):
        opt.step(of_grads(grads))
        for single, g in zip(one_by_one, grads.values()):
            single.step(g)
    for name in params:
        np.testing.assert_array_equal(params[name], expected[name])


@every_maker
@pytest.mark.parametrize("given", ["dict", "list"])
def test_an_arena_gives_the_same_bits(cls, options, given):
    separate = arrays()
    names = list(separate)
    buffer = flatten(separate if given == "dict" else list(separate.values()))
    one, many = cls(buffer, **options), cls(separate, **options)
    for grads in gradients(3):
        many.step(grads)
        for key, name in zip(buffer.names, names):
            buffer.grads[key][...] = grads[name]
        one.step()
    for key, name in zip(buffer.names, names):
        np.testing.assert_array_equal(buffer.params[key], separate[name])


def test_groups_of_arenas_default_to_their_own_gradients():
    a, b = flatten({"w": np.ones(3)}), flatten([np.ones(2)])
    opt = SGD([{"params": a}, {"params": b, "lr": 0.5}], lr=0.25)
    a.flat_grad[:], b.flat_grad[:] = 1.0, 1.0
    opt.step()
    assert (a.params["w"][0], b.params[0][0]) == (0.75, 0.5)
    opt.step([None, np.zeros_like(b.flat_grad)])
    assert (a.params["w"][0], b.params[0][0]) == (0.5, 0.5)


def test_each_group_has_its_own_hyperparameters():
    w, b = np.ones(2), np.ones(2)
    opt = SGD([{"params": w}, {"params": b, "lr": 0.5, "momentum": 0.9}], lr=0.25)
    opt.step([np.ones(2), np.ones(2)])
    assert (w[0], b[0]) == (0.75, 0.5)
    assert [group["momentum"] for group in opt.param_groups] == [0.0, 0.9]


@pytest.mark.parametrize("cls", [SGD, Adam])
def test_a_tensor_without_gradient_keeps_its_step_count(cls):
    options = {"lr": 0.1, **({"momentum": 0.9, "dampening": 0.5} if cls is SGD else {})}
    params = arrays()
    theirs, twins = torchs(cls, params.values(), **options)
    opt = cls(params, **options)
    for t, grads in enumerate(gradients(6)):
        if t % 2:
            del grads["w"]
        if t < 3:
            grads["c"] = None
        opt.step(grads)
        torch_step(theirs, twins, [grads.get(name) for name in params])
    for p, q in zip(params.values(), twins):
        assert_near(p, q.detach().numpy(), steps=6)
    entries = opt.state_dict()["state"]
    assert [entries[k]["step"] for k in range(4)] == [3, 6, 6, 3]


def test_gradients_are_only_read_and_may_be_read_only_or_repeated():
    p, g = np.ones(3), np.full(3, 2.0)
    g.flags.writeable = False
    opt = SGD([p, np.ones(3)], lr=0.5)
    opt.step([g, g])
    np.testing.assert_array_equal(g, 2.0)
    np.testing.assert_array_equal(p, 0.0)


# ---- hyperparameters that change ----


@pytest.mark.parametrize(
    ("cls", "options", "changes"),
    [
        (Adam, {}, {"betas": (0.5, 0.9)}),
        (Adam, {}, {"lr": 0.5, "weight_decay": 0.1}),
        (AdamW, {"amsgrad": True}, {"betas": (0.0, 0.99), "eps": 1e-3}),
        (SGD, {"momentum": 0.9}, {"momentum": 0.5, "lr": 0.1}),
        (SGD, {}, {"momentum": 0.9, "dampening": 0.5}),
        (SGD, {"momentum": 0.9}, {"momentum": 0.0}),
    ],
)
def test_a_change_in_param_groups_acts_as_in_torch(cls, options, changes):
    params = arrays()
    theirs, twins = torchs(cls, params.values(), **options)
    opt = cls(params, **options)
    before = dict(opt.param_groups[0])
    for t, grads in enumerate(gradients(9)):
        if t in (3, 6):
            new = changes if t == 3 else {name: before[name] for name in changes}
            opt.param_groups[0].update(new)
            theirs.param_groups[0].update(new)
        opt.step(grads)
        torch_step(theirs, twins, grads.values())
    for p, q in zip(params.values(), twins):
        assert_near(p, q.detach().numpy(), steps=9)


def test_a_value_that_changes_in_place_is_seen():
    w, lr = np.zeros(1), np.array(1.0)
    opt = SGD(w, lr=lr)
    opt.step(np.ones(1))
    lr[...] = 10.0
    opt.step(np.ones(1))
    assert w[0] == -11.0


class Descent(fastopt.Optimizer):
    """One option alone."""

    def __init__(self, params, lr):
        super().__init__(
            params, lambda where, options: (RULES["sgd"], {"lr": options["lr"]}), {"lr": lr}
        )


@pytest.mark.parametrize("kind", [float, np.array])
def test_an_optimizer_may_have_a_single_option(kind):
    w = np.ones(2)
    opt = Descent(w, kind(0.25))
    opt.step(np.ones(2))
    opt.param_groups[0]["lr"] = kind(0.5)
    opt.step(np.ones(2))
    assert w.tolist() == [0.25, 0.25]


def test_schedule_multiplies_the_learning_rate_and_counts_completed_steps():
    seen = []

    def halving(t):
        seen.append(t)
        return 0.5**t

    w = np.zeros(1)
    opt = SGD(w, lr=1.0, nonfinite="skip", schedule=halving)
    for g in (1.0, np.nan, 1.0, 1.0):
        opt.step(np.array([g]))
    assert seen == [0, 1, 1, 2]
    assert w[0] == -1.75
    assert opt.param_groups[0]["lr"] == 1.0


def test_a_schedule_is_torchs_lambda_lr():
    schedule = fastopt.schedules.warmup_cosine(warmup_steps=3, total_steps=8)
    params = arrays()
    theirs, twins = torchs(AdamW, params.values(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(theirs, schedule)
    opt = AdamW(params, lr=0.1, schedule=schedule)
    for grads in gradients(10):
        torch_step(theirs, twins, grads.values())
        scheduler.step()
        opt.step(grads)
    for p, q in zip(params.values(), twins):
        assert_near(p, q.detach().numpy(), steps=10)


@pytest.mark.parametrize("factor", [-1.0, np.nan, np.inf])
def test_a_bad_factor_is_refused_before_anything_is_written(factor):
    opt = SGD([{"params": np.ones(1)}, {"params": np.ones(1)}], schedule=lambda t: factor)
    before = everything(opt)
    with pytest.raises(HyperparameterError, match="schedule's factor"):
        opt.step([np.ones(1), np.ones(1)])
    assert everything(opt) == before


# ---- gradients that are not finite ----


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@every_maker
def test_skip_changes_no_byte(cls, options, bad):
    opt = cls([np.ones(3), np.ones((2, 2))], **options, nonfinite="skip")
    opt.step([np.ones(3), np.ones((2, 2))])
    if "betas" in opt.param_groups[0]:
        opt.param_groups[0]["betas"] = (0.1, 0.2)  # must wait for the next step, too
    before = everything(opt)
    opt.step([np.ones(3), np.array([[1.0, 1.0], [bad, 1.0]])])
    assert everything(opt) == before
    assert (opt.steps, opt.skipped) == (1, 1)
    opt.step([np.ones(3), np.ones((2, 2))])
    assert everything(opt) != before
    assert (opt.steps, opt.skipped) == (2, 1)


def test_raise_names_the_parameter_and_the_element():
    g = np.ones((2, 3))
    g[1, 1] = np.nan
    opt = SGD({"w": np.ones((2, 3)), "b": np.ones(3)}, nonfinite="raise")
    before = everything(opt)
    with pytest.raises(NonFiniteError, match="parameter 'w' is NaN at flat index 4"):
        opt.step({"w": g, "b": np.ones(3)})
    assert everything(opt) == before
    buffer = flatten([np.ones(3), np.ones(5)])
    buffer.grads[1][2] = -np.inf
    with pytest.raises(NonFiniteError, match="parameter 1 is infinite at flat index 2"):
        SGD(buffer, nonfinite="raise").step()
    with pytest.raises(NonFiniteError, match="parameter is NaN at flat index 4"):
        SGD(np.ones((2, 3)), nonfinite="raise").step(g)


def test_propagate_computes_with_it():
    w = np.ones(2)
    SGD(w, lr=1.0).step(np.array([np.nan, 1.0]))
    np.testing.assert_array_equal(w, [np.nan, 0.0])


# ---- the rest of the interface ----


def test_closure_runs_first_and_its_value_comes_back():
    w, g = np.array([3.0]), np.zeros(1)

    def closure():
        g[:] = 2.0 * w
        return float(w[0] ** 2)

    opt = SGD(w, lr=0.25)
    assert opt.step(g, closure) == 9.0
    assert w[0] == 1.5
    assert opt.step(g) is None


def test_zero_grad():
    buffer = flatten([np.ones(3)])
    buffer.flat_grad[:] = 1.0
    SGD(buffer).zero_grad()
    assert not buffer.flat_grad.any()
    opt, g, frozen = SGD([np.ones(3), np.ones(2)]), np.ones(3), np.ones(2)
    opt.zero_grad()
    opt.step([g, None])
    opt.zero_grad()
    assert not g.any()
    g[:] = 1.0
    frozen.flags.writeable = False
    opt.step([g, frozen])
    with pytest.raises(ArrayError, match=r"grads\[1\] is read-only"):
        opt.zero_grad()
    np.testing.assert_array_equal(g, 1.0)


def test_add_param_group():
    w, b = np.ones(2), np.ones(2)
    opt = SGD(w, lr=1.0)
    opt.step(np.ones(2))
    opt.add_param_group({"params": {"b": b}, "lr": 0.5})
    opt.step([np.ones(2), {"b": np.ones(2)}])
    assert (w[0], b[0]) == (-1.0, 0.5)
    assert [group["lr"] for group in opt.param_groups] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("group", "error"),
    [
        ({"params": "w"}, ArrayTypeError),
        ({"params": np.ones(2), "lr": -1.0}, HyperparameterError),
        ({"lr": 1.0}, ArrayTypeError),
    ],
)
def test_a_refused_group_leaves_the_optimizer_as_it_was(group, error):
    w, b = np.ones(2), np.ones(3)
    opt = SGD(w, lr=1.0)
    with pytest.raises(error):
        opt.add_param_group(group)
    with pytest.raises(ArrayError, match="shares memory"):
        opt.add_param_group({"params": [b, w]})
    opt.step(np.ones(2))
    assert len(opt.param_groups) == 1
    opt.add_param_group({"params": b})


def test_repr_is_torchs_but_for_options_of_one_side():
    theirs, _ = torchs(Adam, [np.ones(1)], lr=0.5, weight_decay=0.25)
    mine = set(repr(Adam(np.ones(1), lr=0.5, weight_decay=0.25)).splitlines())
    assert mine <= set(repr(theirs).splitlines())
    assert repr(AdamW([{"params": np.ones(1)}])).startswith(
        "AdamW (\nParameter Group 0\n    amsgrad: False\n"
    )


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
@every_maker
def test_a_copy_continues_by_itself(cls, options, duplicate):
    opt = cls([{"params": arrays()}, {"params": flatten(arrays(1)), "lr": 0.2}], **options)
    first, second = gradients(2)
    opt.step([first, None])
    opt.param_groups[0]["weight_decay"] = 0.25
    other = duplicate(opt)
    before = everything(opt)
    assert everything(other) == before
    other.step([second, None])
    assert everything(opt) == before
    opt.step([second, None])
    assert everything(other) == everything(opt)
    for mine, copied in zip(opt.param_groups[0]["params"], other.param_groups[0]["params"]):
        np.testing.assert_array_equal(mine, copied)
        assert mine is not copied
    assert (other.steps, other.param_groups[1]["lr"]) == (2, 0.2)


class Seen:
    """What has attributes from before and after those of its base, as programs have them."""

    kind = "of the class"

    def __init__(self, params):
        self.seen = [params]
        super().__init__(params)  # type: ignore[call-arg]
        self._calls, self.kind = 5, "of the object"


class OverArrays(Seen, Adam):
    pass


class OverTensors(Seen, fastopt.torch.Adam):
    pass


class Arena(Seen, fastopt.Buffer):
    pass


COPIES = copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))
every_copy = pytest.mark.parametrize("duplicate", COPIES, ids=["copy", "deepcopy", "pickle"])


@every_copy
@pytest.mark.parametrize("cls", [OverArrays, OverTensors, Arena])
def test_a_copy_has_all_attributes(cls, duplicate):
    made = cls([torch.ones(3) if cls is OverTensors else np.ones(3)])
    if cls is OverTensors:
        torch.optim.lr_scheduler.StepLR(made, 1)  # puts a step around that of the object
    if cls is OverArrays:
        made.step([np.ones(3)], max_norm=0.5)
        made.skipped = 4
    other = duplicate(made)
    assert (type(other), other._calls, other.kind) == (cls, 5, "of the object")
    assert (other.seen is made.seen) == (duplicate is copy.copy)
    if cls is not Arena:
        assert other.seen[0][0] is other.param_groups[0]["params"][0]
    if cls is OverArrays:
        assert (other.grad_norm, other.skipped, other.steps) == (3**0.5, 4, 1)


@every_copy
def test_a_copy_made_in_evaluation_trains_on_from_the_same_bits(duplicate):
    p = np.ones(3)
    opt = fastopt.ScheduleFreeSGD(p, lr=0.3)
    for k in range(3):
        opt.step(np.full(3, 0.1 * k))
    before = p.copy()
    opt.eval()
    other = duplicate(opt)
    other.train()
    np.testing.assert_array_equal(other.param_groups[0]["params"][0], before)


def test_a_copy_shares_arrays_copied_with_it():
    w = np.ones(3)
    opt, w2 = copy.deepcopy((SGD(w, lr=1.0), w))
    opt.step(np.ones(3))
    np.testing.assert_array_equal(w2, 0.0)
    np.testing.assert_array_equal(w, 1.0)


def test_no_reference_cycle_keeps_an_optimizer_alive():
    opt = Adam(arrays())
    opt.step(gradients(1)[0])
    alive = weakref.ref(opt)
    gc.disable()
    try:
        del opt
        assert alive() is None
    finally:
        gc.enable()


def test_public_names_are_what_they_say():
    for name in fastopt.__all__:
        assert hasattr(fastopt, name)
