"""The classes of the larger family: torch's numbers and signatures, norms, and modes."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import fastopt
from fastopt import classes
from fastopt.errors import HyperparameterError, StateError
from fastopt.rules import RULES
from tests.helpers.cases import CASES, EDGES, PLAIN, fresh, signed
from tests.helpers.stepping import step_arrays

SHARED = ["NAdam", "RAdam", "Adamax", "Adagrad", "RMSprop", "Adadelta", "ASGD", "Rprop"]
MEASURED = [case for case in PLAIN if case.rule.measure]
PER_TENSOR = [
    fastopt.LAMB,
    fastopt.LARS,
    fastopt.StableAdamW,
    fastopt.MARS,
    fastopt.CautiousAdamW,
    fastopt.CautiousLion,
]
SCHEDULE_FREE = [fastopt.ScheduleFreeSGD, fastopt.ScheduleFreeAdamW]
FAMILY = [
    getattr(classes, name)
    for name in classes.__all__
    if name not in ("Adam", "AdamW", "SGD", "ScheduleFree")
]


@pytest.mark.parametrize("name", [name for name in classes.__all__ if name != "ScheduleFree"])
def test_docstrings_have_every_option_and_the_errors(name):
    cls = getattr(classes, name)
    text = inspect.getdoc(cls)
    section = text.partition("\nParameters\n----------\n")[2].partition("\n\n")[0]
    documented = re.findall(r"^(\w+) : ", section, re.MULTILINE)
    assert documented == [*inspect.signature(cls).parameters]
    assert text.count("\nRaises\n------\n") == text.count("HyperparameterError") == 1


def tensors(dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [signed(rng, n, dtype) for n in (3, 1, 17, 40)]


def run(opt, steps, seed=1):
    """Step with the same gradients each time it is called with the same seed."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        opt.step(
            [signed(rng, p.size, p.dtype).reshape(p.shape) for p in opt.param_groups[0]["params"]]
        )


def test_every_rule_has_a_case_and_a_class():
    assert {case.rule_name for case in PLAIN} == set(RULES)
    made = {opt(np.ones(2)).param_groups and opt(np.ones(2))._groups[0].rule.name for opt in FAMILY}
    made |= {opt(np.ones(2))._groups[0].rule.name for opt in (fastopt.SGD, fastopt.Adam)}
    # The others are the same rules with a buffer more, or with other defaults.
    variants = ("momentum", "nesterov", "adamw", "amsgrad", "amsgradw")
    extra = {f"rmsprop{kind}" for kind in ("_momentum", "_centered", "_centered_momentum")}
    assert set(RULES) - made == set(variants) | extra


@pytest.mark.parametrize("name", SHARED)
def test_signature_is_torchs(name):
    """Same names, same order of positional arguments, same defaults."""
    ours = inspect.signature(getattr(fastopt, name)).parameters
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    skipped = ("foreach", "capturable", "differentiable", "fused")
    shared = [p for p in theirs if p not in skipped]
    assert [p for p in ours if p in shared] == shared
    for p in shared[1:]:
        assert ours[p].default == theirs[p].default, p


@pytest.mark.parametrize("name", SHARED)
def test_state_dict_of_torch_continues(name):
    """Two steps of torch, its state dict loaded, two more of ours: close to four of torch's."""
    p, g = signed(np.random.default_rng(0), 37, np.float64), np.linspace(-1.0, 1.0, 37)
    theirs = torch.from_numpy(p.copy()).requires_grad_()
    twin = getattr(torch.optim, name)([theirs])
    theirs.grad = torch.from_numpy(g)
    for _ in range(2):
        twin.step()
    ours = theirs.detach().numpy().copy()
    opt = getattr(fastopt, name)([ours])
    opt.load_state_dict(twin.state_dict())
    for _ in range(2):
        twin.step()
        opt.step([g])
    # torch keeps mu_product, eta and mu in float32.
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("opt_class", FAMILY)
def test_resume_is_bit_for_bit(opt_class):
    for before in (0, 1, 2, 3, 8):
        whole, parts = tensors(), tensors()
        run(opt := opt_class(whole), before)
        run(opt, 3, seed=2)
        run(first := opt_class(parts), before)
        second = opt_class(parts)
        second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
        run(second, 3, seed=2)
        for a, b in zip(whole, parts):
            assert a.tobytes() == b.tobytes(), before


@pytest.mark.parametrize("opt_class", FAMILY)
def test_copies_and_pickles_continue(opt_class):
    run(opt := opt_class(tensors()), 2)
    copies = copy.deepcopy(opt), pickle.loads(pickle.dumps(opt))
    run(opt, 2, seed=2)
    for other in copies:
        run(other, 2, seed=2)
        for a, b in zip(opt.param_groups[0]["params"], other.param_groups[0]["params"]):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", MEASURED, ids=str)
def test_measured_step_has_the_same_bits_for_any_number_of_threads(case, dtype):
    for n in (*EDGES, 8191, 8193):
        g = signed(np.random.default_rng(n), n, dtype)
        serial, parallel = fresh(case, n, dtype), fresh(case, n, dtype)
        for _ in range(2):
            step_arrays(case.rule, serial.h, serial.clock, g, serial.x, parallel=False)
            step_arrays(case.rule, parallel.h, parallel.clock, g, parallel.x, parallel=True)
        for a, b in zip(serial.x, parallel.x):
            assert a.tobytes() == b.tobytes(), n


@pytest.mark.parametrize("opt_class", PER_TENSOR)
def test_an_arena_is_measured_tensor_by_tensor(opt_class):
    """Each tensor has norms of its own, and padding is in none of them."""
    separate = tensors()
    buffer = fastopt.flatten(separate)
    opt, arena = opt_class(separate), opt_class(buffer)
    rng = np.random.default_rng(3)
    for flat in (False, True):
        g = [signed(rng, p.size, p.dtype) for p in separate]
        opt.step(g)
        for view, values in zip(buffer.grads, g):
            view[:] = values
        arena.step(buffer.flat_grad.copy() if flat else None)
    for a, b in zip(separate, buffer.params):
        assert a.tobytes() == b.tobytes()


def test_rprop_starts_from_lr_and_adagrad_from_its_option():
    p = np.ones(3)
    fastopt.Rprop(p, lr=0.25).step(np.ones(3))
    np.testing.assert_array_equal(p, 0.75)
    p = np.ones(3)
    fastopt.Adagrad(p, lr=1.0, initial_accumulator_value=3.0, eps=0.0).step(np.ones(3))
    np.testing.assert_array_equal(p, 0.5)
    np.testing.assert_array_equal(fastopt.slots("rprop", p)[1], 0.01)
    np.testing.assert_array_equal(fastopt.slots("schedule_free_sgd", p)[0], p)


@pytest.mark.parametrize("opt_class", SCHEDULE_FREE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_evaluation_changes_no_bit_of_training(opt_class, dtype):
    plain, looked = tensors(dtype), tensors(dtype)
    run(a := opt_class(plain, lr=0.1), 3)
    run(b := opt_class(looked, lr=0.1), 3)
    b.train()
    at_y = [p.copy() for p in looked]
    b.eval()
    at_x = [p.copy() for p in looked]
    b.eval()
    for p, x, y in zip(looked, at_x, at_y):
        np.testing.assert_array_equal(p, x)
        assert not np.array_equal(x, y)
    b.train()
    b.train()
    run(a, 3, seed=2)
    run(b, 3, seed=2)
    for p, q in zip(plain, looked):
        assert p.tobytes() == q.tobytes()


def test_the_evaluated_point_is_the_mean_of_the_iterates():
    """With equal weights x is the mean of all z (Defazio et al., equation 5)."""
    p, z, seen = np.array([1.0, -2.0]), np.array([1.0, -2.0]), []
    opt = fastopt.ScheduleFreeSGD(p, lr=0.5)
    for k in range(5):
        g = np.array([0.25, -0.5]) * (k + 1)
        z = z - 0.5 * g
        seen.append(z)
        opt.step(g)
    opt.eval()
    np.testing.assert_allclose(p, np.mean(seen, axis=0), rtol=1e-14)


@pytest.mark.parametrize("opt_class", SCHEDULE_FREE)
def test_a_step_in_evaluation_is_refused(opt_class):
    p = np.array([1.0, -2.0])
    opt = opt_class(p)
    opt.step(np.ones(2))
    opt.eval()
    before = p.copy()
    with pytest.raises(StateError, match=r"evaluation mode.*call train\(\)"):
        opt.step(np.ones(2))
    np.testing.assert_array_equal(p, before)
    assert opt.steps == 1


@pytest.mark.parametrize("opt_class", SCHEDULE_FREE)
def test_a_state_dict_remembers_the_mode(opt_class):
    p = np.array([1.0, -2.0])
    opt = opt_class(p, lr=0.1)
    for _ in range(3):
        opt.step(p / 2)
    y = p.copy()
    opt.eval()
    q = p.copy()
    other = opt_class(q, lr=0.1)
    other.load_state_dict(opt.state_dict())
    assert not other.training
    with pytest.raises(StateError):
        other.step(np.ones(2))
    other.train()
    np.testing.assert_allclose(q, y, rtol=1e-14)


def test_without_momentum_there_is_no_average_to_show():
    p = np.ones(2)
    opt = fastopt.ScheduleFreeSGD(p, momentum=0.0)
    opt.step(np.ones(2))
    with pytest.raises(HyperparameterError, match="momentum"):
        opt.eval()
    assert opt.training


def test_centered_rmsprop_survives_a_constant_gradient():
    """The variance is zero in exact arithmetic; torch takes the root of what rounding leaves."""
    p = np.ones(64, np.float32)
    g = np.linspace(0.1, 3.0, 64, dtype=np.float32)
    opt = fastopt.RMSprop(p, lr=1e-12, centered=True)
    for _ in range(3000):
        opt.step(g)
    assert np.isfinite(p).all()


GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "optax.json").read_text())
SECOND_OPINIONS = {
    "lion": lambda p: fastopt.Lion(p, 0.01, weight_decay=0.1),
    "adabelief": lambda p: fastopt.AdaBelief(p, 0.01),
    "yogi": lambda p: fastopt.Yogi(p, 0.01),
    "lamb": lambda p: fastopt.LAMB(p, 0.01, weight_decay=0.1),
    "adopt": lambda p: fastopt.ADOPT(p, 0.01),
    "ademamix": lambda p: fastopt.AdEMAMix(p, 0.01),
    "schedule_free_sgd": lambda p: fastopt.ScheduleFreeSGD(p, 0.1),
    "schedule_free_adamw": lambda p: fastopt.ScheduleFreeAdamW(p, 0.1),
}


@pytest.mark.parametrize("name", SECOND_OPINIONS)
def test_eight_steps_are_those_of_optax(name):
    """``golden/optax.json`` was computed by the version of optax that it names, in float64."""
    p = np.array(GOLDEN["start"])
    opt = SECOND_OPINIONS[name](p)
    for g in GOLDEN["gradients"]:
        opt.step(np.array(g))
    np.testing.assert_allclose(p, GOLDEN[name], rtol=1e-13, atol=1e-14)
    if name + "_eval" in GOLDEN:
        opt.eval()
        np.testing.assert_allclose(p, GOLDEN[name + "_eval"], rtol=1e-13, atol=1e-14)


def test_cases_cover_every_hyperparameter():
    """No switch is left at its default in all cases of the rules that read it alike."""
    for name, rule in RULES.items():
        alike = [case for case in CASES if case.rule.tick is rule.tick]
        used = set().union(*(case.hyper for case in alike))
        assert not set(rule.hyper) - used - {"lr"}, name
