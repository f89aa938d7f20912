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
from fastopt import (
    SGD,
    Adam,
    AdamW,
    ArrayError,
    ArrayTypeError,
    HyperparameterError,
    NonFiniteError,
    Optimizer,
    flatten,
)

SHAPES = {"w": (5, 7), "b": (), "e": (0, 3), "c": (33,)}

# One row a class x what changes its rule or its options' names.
MAKERS = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    (Adam, {"lr": 0.01, "weight_decay": 0.1}),
    (Adam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (Adam, {"amsgrad": True, "betas": (0.5, 0.9), "eps": 1e-3}),
    (AdamW, {}),
    (AdamW, {"lr": 0.01, "amsgrad": True, "maximize": True}),
]
IDS = [f"{cls.__name__}-{'-'.join(options)}" for cls, options in MAKERS]
every_maker = pytest.mark.parametrize(("cls", "options"), MAKERS, ids=IDS)


def arrays(seed=0, dtype=np.float64, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=s), dtype) for name, s in shapes.items()}


def gradients(steps, dtype=np.float64):
    return [arrays(seed=100 + t, dtype=dtype) for t in range(steps)]


def torchs(cls, params, **options):
    """Return torch's optimizer of the same name over copies of the arrays ``params``."""
    twins = [torch.nn.Parameter(torch.from_numpy(p.copy())) for p in params]
    return getattr(torch.optim, cls.__name__)(twins, **options), twins


def torch_step(opt, twins, grads):
    for p, g in zip(twins, grads):
        p.grad = None if g is None else torch.from_numpy(g.copy())
    opt.step()


def assert_near(actual, expected, steps):
    """Two ulps a step, of the largest number a parameter has met (here below 8)."""
    atol = 2 * steps * np.spacing(np.asarray(8.0, actual.dtype))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=atol)


def everything(opt):
    """Return all bytes that a step may change."""
    segments = [segment for group in opt._groups for segment in group.segments]
    return [a.tobytes() for s in segments for a in (s.clock, *s.x)]


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


@pytest.mark.parametrize("factor", [-1.0, np.nan, np.inf])
def test_a_bad_factor_is_refused_before_anything_is_written(factor):
    opt = SGD([{"params": np.ones(1)}, {"params": np.ones(1)}], schedule=lambda t: factor)
    before = everything(opt)
    with pytest.raises(HyperparameterError, match="schedule's factor"):
        opt.step([np.ones(1), np.ones(1)])
    assert everything(opt) == before


# ---- refusals ----

BAD_HYPER = [
    (SGD, {"lr": -1.0}, r"SGD, param group 0: lr.*\[0.0, inf\); got -1.0"),
    (SGD, {"lr": np.nan}, "lr must be finite.*nan"),
    (SGD, {"lr": "fast"}, "lr must be a real number.*'fast'"),
    (SGD, {"momentum": 1.5}, r"momentum.*\[0.0, 1.0\]; got 1.5"),
    (SGD, {"dampening": -0.1}, "dampening"),
    (SGD, {"weight_decay": np.inf}, "weight_decay"),
    (SGD, {"nesterov": True}, "nesterov=True needs momentum > 0"),
    (SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "needs.*dampening = 0"),
    (SGD, {"momentum": 0.9, "form": "heavy"}, "form.*did you mean 'heavy_ball'"),
    (SGD, {"form": "heavy"}, "form"),
    (SGD, {"maximize": 1}, "maximize must be True or False; got 1"),
    (Adam, {"betas": 0.9}, r"betas must be a pair.*0.9"),
    (Adam, {"betas": (0.9,)}, "betas must be a pair"),
    (Adam, {"betas": (1.0, 0.9)}, r"beta1.*\[0.0, 1.0\); got 1.0"),
    (Adam, {"betas": (0.9, -0.1)}, "beta2"),
    (Adam, {"eps": -1e-8}, "eps"),
    (Adam, {"amsgrad": "yes"}, "amsgrad must be True or False"),
    (AdamW, {"weight_decay": -1}, "AdamW.*weight_decay"),
    (Adam, {"nonfinite": "skp"}, "nonfinite.*'propagate'.*did you mean 'skip'"),
    (Adam, {"schedule": 3}, "schedule must be a function"),
]


@pytest.mark.parametrize(("cls", "options", "text"), BAD_HYPER)
def test_bad_hyperparameter(cls, options, text):
    with pytest.raises(HyperparameterError, match=text):
        cls(np.ones(2), **options)


STEP_TIME = [row for row in BAD_HYPER if not {"nonfinite", "schedule"} & set(row[1])]


@pytest.mark.parametrize(("cls", "options", "text"), STEP_TIME)
def test_bad_hyperparameter_set_later_is_refused_before_anything_is_written(cls, options, text):
    opt = cls([{"params": np.ones(1)}, {"params": np.ones(2)}])
    opt.param_groups[1].update(options)
    before = everything(opt)
    with pytest.raises(HyperparameterError, match=text.replace("group 0", "group 1")):
        opt.step([np.ones(1), np.ones(2)])
    assert everything(opt) == before


def test_an_option_that_is_gone_or_an_array_is_named():
    opt = SGD(np.ones(1))
    opt.param_groups[0]["lr"] = np.ones(2)
    with pytest.raises(HyperparameterError, match="lr must be a real number"):
        opt.step(np.ones(1))
    del opt.param_groups[0]["lr"]
    with pytest.raises(HyperparameterError, match="has lost its 'lr'"):
        opt.step(np.ones(1))


W = np.zeros(6)
BAD_PARAMS = [
    ([], ArrayError, "empty parameter list"),
    ({}, ArrayError, "params is empty"),
    ([{"params": []}], ArrayError, r"params\[0\]\['params'\] is empty"),
    (3.0, ArrayTypeError, "list or dict of arrays.*got a float"),
    ({1, 2}, ArrayTypeError, "got a set"),
    ([1.0, 2.0], ArrayTypeError, r"params\[0\].*got a float"),
    ({"w": [1.0]}, ArrayTypeError, r"params\['w'\].*got a list"),
    (np.ones(3, int), ArrayTypeError, "params has dtype int64"),
    (np.ma.ones(3), ArrayTypeError, "MaskedArray"),
    ({"w": W[::2]}, ArrayError, r"params\['w'\] is not C-contiguous"),
    ([W, W], ArrayError, r"params\[1\] shares memory with params\[0\]"),
    ({"a": W[:4], "b": W[3:]}, ArrayError, r"\['b'\] shares memory with params\['a'\]"),
    ([{"params": W}, {"params": {"x": W[2:]}}], ArrayError, r"params\[1\]\['params'\]\['x'\] sh"),
    ([{"params": W}, np.ones(2)], ArrayTypeError, 'group 1 must be a dict with "params"'),
    ([{"param": W}], ArrayTypeError, 'group 0 must be a dict with "params"'),
    (
        [{"params": W, "lrr": 1.0}],
        HyperparameterError,
        "no hyperparameter 'lrr'; did you mean 'lr'",
    ),
]


@pytest.mark.parametrize(("params", "error", "text"), BAD_PARAMS)
def test_bad_parameters(params, error, text):
    with pytest.raises(error, match=text):
        SGD(params)


def over_dict():
    return SGD({"w": np.ones((2, 3)), "b": np.ones(3)}, lr=1.0)


def grads(**other):
    return {"w": np.ones((2, 3)), "b": np.ones(3)} | other


BAD_GRADS = [
    (over_dict, grads(b=np.ones(3, np.float32)), ArrayTypeError, r"grads\['b'\].*float32.*float64"),
    (over_dict, grads(b=np.ones((3, 1))), ArrayError, r"grads\['b'\] has shape \(3, 1\)"),
    (over_dict, grads(w=np.ones((3, 2)).T), ArrayError, r"grads\['w'\] is not C-contiguous"),
    (over_dict, grads(w=[[1.0] * 3] * 2), ArrayTypeError, "got a list"),
    (over_dict, grads(w=np.ma.ones((2, 3))), ArrayTypeError, "MaskedArray"),
    (over_dict, grads(bb=np.ones(3)), ArrayError, r"'bb'.*did you mean 'b'.*'w', 'b'"),
    (over_dict, [np.ones((2, 3)), np.ones(3)], ArrayTypeError, "must be a dict.*got a list"),
    (over_dict, None, ArrayTypeError, "step needs the gradients"),
    (lambda: SGD([W]), {"w": W}, ArrayTypeError, "must be a list.*got a dict"),
    (lambda: SGD([W]), [np.ones(6)] * 2, ArrayError, "2 items for 1 parameters"),
    (lambda: SGD(W), [np.ones(6)], ArrayTypeError, "grads must be a NumPy array.*got a list"),
    (lambda: SGD(W), W, ArrayError, "grads shares memory with params"),
    (lambda: SGD([W[:3], W[4:]]), [np.ones(3), W[2:4]], ArrayError, r"grads\[1\] shares.*\[0\]"),
    (lambda: SGD([{"params": W}]), np.ones(6), ArrayTypeError, "one item.*1 groups.*ndarray"),
    (lambda: SGD([{"params": W}]), [1, 2], ArrayTypeError, "1 groups; got 2 items"),
    (lambda: SGD(flatten([W])), [W], ArrayTypeError, "got a list"),
]


@pytest.mark.parametrize(("make", "given", "error", "text"), BAD_GRADS)
def test_bad_gradients_are_refused_before_anything_is_written(make, given, error, text):
    opt = make()
    before = everything(opt)
    with pytest.raises(error, match=text):
        opt.step(given)
    assert everything(opt) == before
    assert opt.steps == 0


def test_a_bad_gradient_is_noticed_after_good_ones():
    opt = over_dict()
    opt.step(grads())
    before = everything(opt)
    for bad in (np.ones(4), np.ones(3, np.float32), opt.param_groups[0]["params"][1]):
        with pytest.raises((ArrayError, ArrayTypeError)):
            opt.step(grads(b=bad))
    assert everything(opt) == before


def test_the_same_gradient_array_is_read_anew_each_step():
    w, g = np.zeros(3), np.ones(3)
    opt = SGD(w, lr=1.0)
    opt.step(g)
    g[:] = [1.0, 2.0, 3.0]
    opt.step(g)
    np.testing.assert_array_equal(w, [-2.0, -3.0, -4.0])


def test_the_base_class_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Optimizer(np.ones(1), None, {})


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
    assert repr(AdamW([{"params": W}])).startswith(
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
