"""What the classes refuse: by name, with what is allowed, before anything is written."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from fastopt import (
    SGD,
    Adam,
    AdamW,
    ArrayError,
    ArrayTypeError,
    HyperparameterError,
    Optimizer,
    flatten,
)
from tests.helpers.makers import everything

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
        r"no hyperparameter 'lrr' [(]did you mean 'lr'",
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
        Optimizer(np.ones(1), None, {})  # type: ignore[abstract]


def other_rows(opt):
    return [{**row, "lr": 100.0} for row in opt.param_groups]


# torch's programs do such things; each was without effect, and without a word.
PUT_TOGETHER_ANEW = {
    "all groups": lambda opt: setattr(opt, "param_groups", other_rows(opt)),
    "a group": lambda opt: opt.param_groups.__setitem__(0, other_rows(opt)[0]),
    "a slice": lambda opt: opt.param_groups.__setitem__(slice(None), other_rows(opt)),
    "one more": lambda opt: opt.param_groups.append(other_rows(opt)[0]),
    "some more": lambda opt: opt.param_groups.__iadd__(other_rows(opt)),
    "one fewer": lambda opt: opt.param_groups.__delitem__(1),
    "none": lambda opt: opt.param_groups.clear(),
    "in another order": lambda opt: opt.param_groups.reverse(),
    "the arrays of a group": lambda opt: opt.param_groups[0].update(params=[np.ones(2)]),
    "fewer arrays": lambda opt: opt.param_groups[0].update(params=[]),
    "an array": lambda opt: opt.param_groups[0]["params"].__setitem__(0, np.ones(2)),
    "an array more": lambda opt: opt.param_groups[0]["params"].append(np.ones(2)),
}


@pytest.mark.parametrize("change", PUT_TOGETHER_ANEW.values(), ids=PUT_TOGETHER_ANEW)
@pytest.mark.parametrize("lr", [0.1, np.array(0.1)], ids=["plain", "0-d"])
def test_groups_and_arrays_stay_those_of_the_beginning(change, lr):
    arrays, g = [np.ones(2), np.ones(2)], np.ones(2)
    opt = SGD([{"params": [a]} for a in arrays], lr=lr)
    opt.step([[g], [g]])
    before = [a.tobytes() for a in arrays]

    def change_and_step():
        change(opt)
        opt.step([[g], [g]])

    with pytest.raises(ArrayError, match=r"cannot be put together anew.*add_param_group"):
        change_and_step()
    assert [a.tobytes() for a in arrays] == before


def test_options_are_changed_in_a_groups_dict():
    p, g = np.ones(2), np.ones(2)
    opt = SGD(p, lr=1.0)
    opt.param_groups[0] |= {"lr": 2.0}
    opt.param_groups[:] = list(opt.param_groups)
    opt.param_groups = opt.param_groups
    opt.param_groups[0]["params"] = list(opt.param_groups[0]["params"])
    opt.step(g)
    assert p.tolist() == [-1.0, -1.0]
    rows = copy.deepcopy(opt.param_groups)
    rows.append({})  # a copy is a plain list
    assert [row.get("lr") for row in rows] == [2.0, None]


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (None, "must return a number.*None of type NoneType"),
        ("0.5", "must return a number.*'0.5'"),
        (1j, "must return a number.*1j"),
        (np.ones(1), "must return a number.*array"),
        (10**400, "factor 1000.*makes lr inf"),
    ],
)
def test_a_schedule_returns_a_number(factor, text):
    p = np.ones(2)
    opt = SGD(p, lr=1.0, schedule=lambda t: factor)
    with pytest.raises(HyperparameterError, match=text):
        opt.step(np.ones(2))
    assert (p.tolist(), opt.steps) == ([1.0, 1.0], 0)


@pytest.mark.parametrize("answer", [0, 1, None, "no", np.ones(2)])
def test_zero_grad_is_true_or_false(answer):
    p, g = np.ones(2), np.ones(2)
    with pytest.raises(HyperparameterError, match="zero_grad must be True or False; got"):
        SGD(p).step(g, zero_grad=answer)
    assert (p.tolist(), g.tolist()) == ([1.0, 1.0], [1.0, 1.0])
