"""Options that float32 rounds to zero, to one or to infinity: computed as meant, or refused."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch

import fastopt
import fastopt.torch
from fastopt import HyperparameterError
from fastopt.classes.common import BINDINGS
from fastopt.compile import kernel
from fastopt.machine.access import cast
from fastopt.rules import Real
from fastopt.rules.recipes import SPLIT

CLASSES = [cls for cls in BINDINGS if cls.__module__.startswith("fastopt.")]
every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
G = (0.0, 0.0, 1.0)


def stepped(cls, dtype, **options):
    p = np.ones(3, dtype)
    opt = cls(p, **options)
    for _ in range(3):
        opt.step(np.array(G, dtype))
    return p


def of_torch(module, cls, **options):
    p = torch.nn.Parameter(torch.ones(3))
    opt = getattr(module, cls.__name__)([p], **options)
    for _ in range(3):
        p.grad = torch.tensor(G)
        opt.step()
    return p.detach().numpy()


def casting():
    def run(x, a):
        for i in range(x.size):
            a[i] = cast((x[i],), a)[0]

    return run


def test_coefficients_round_as_numpy_does_but_not_to_zero_or_infinity():
    least, most = np.float32(1e-45), np.finfo(np.float32).max
    x = np.array(
        [0.0, -0.0, 0.1, -0.3, 1e-40, 1e-45, 3e38, math.inf, -math.inf, math.nan, 3.4028235e38]
    )
    plain, found = x.astype(np.float32), np.empty(x.size, np.float32)
    kernel(casting)(x, found)
    assert found.tobytes() == plain.tobytes()
    beyond = {1e-46: least, -1e-300: -least, 5e-324: least, 3.5e38: most, -1e300: -most}
    found = np.empty(len(beyond), np.float32)
    kernel(casting)(np.array(list(beyond)), found)
    assert found.tolist() == list(beyond.values())


def with_eps(cls, eps):
    default = inspect.signature(cls).parameters["eps"].default
    return {"eps": (eps,) * len(default) if isinstance(default, tuple) else eps}


OF_EPS = [cls for cls in CLASSES if "eps" in inspect.signature(cls).parameters]


@pytest.mark.parametrize("eps", [1e-40, 1e-45, 1e-46, 1e-300])
@pytest.mark.parametrize("cls", OF_EPS, ids=lambda cls: cls.__name__)
def test_an_eps_below_float32_still_keeps_zero_gradients_from_dividing_by_zero(cls, eps):
    """torch's become NaN below 1e-45; AdamW, Adam and others of ours were at 1e-45."""
    options = with_eps(cls, eps)
    found, exact = stepped(cls, np.float32, **options), stepped(cls, np.float64, **options)
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    assert found.tobytes() == of_torch(fastopt.torch, cls, **options).tobytes()
    if hasattr(torch.optim, cls.__name__) and eps >= 1e-45:
        np.testing.assert_allclose(found, of_torch(torch.optim, cls, **options), rtol=1e-6)


DECAYS = ("betas", "momentum", "alpha", "rho", "beta1", "beta2")


@every_class
def test_a_decay_that_is_one_in_float32_is_not_in_the_step(cls):
    """The other weight, one less the decay, is a coefficient of its own."""
    for name in set(DECAYS) & set(inspect.signature(cls).parameters):
        default = inspect.signature(cls).parameters[name].default
        for decay in (1.0 - 1e-9, 1.0 - 2.0**-53):
            value = (decay,) * len(default) if isinstance(default, tuple) else decay
            found, exact = (stepped(cls, t, **{name: value}) for t in (np.float32, np.float64))
            np.testing.assert_allclose(found, exact, rtol=1e-5)


def beyond_float32(cls):
    """Yield options, one of them beyond float32, of a class."""
    (rule,) = {group.rule for group in cls(np.ones(3))._groups}
    parameters = inspect.signature(cls).parameters
    for name, kind in rule.hyper.items():
        if isinstance(kind, Real) and kind.high > 1e40:
            whole = next((k for k, v in SPLIT.items() if name in v), name)
            if whole in parameters:
                names = [part for part in SPLIT.get(whole, ()) if part in rule.hyper]
                pair = zip(names, parameters[whole].default) if names else ()
                value = tuple(1e39 if n == name else default for n, default in pair)
                yield name, {whole: value if names else 1e39}


@every_class
def test_options_beyond_float32_are_refused_for_what_is_computed_in_it(cls):
    cases = list(beyond_float32(cls))
    assert {"lr"} <= {name for name, _ in cases}
    for name, options in cases:
        (option,) = options
        match = rf"{name}.* 1e\+39 is beyond float32"
        for dtype in (torch.float32, torch.bfloat16):
            p = torch.nn.Parameter(torch.ones(3, dtype=dtype))
            with pytest.raises(HyperparameterError, match=match):
                getattr(fastopt.torch, cls.__name__)([p], **options)
            opt = getattr(fastopt.torch, cls.__name__)([p])
            opt.param_groups[0] |= options
            p.grad = torch.ones_like(p)
            with pytest.raises(HyperparameterError, match=match):
                opt.step()
            assert (p == 1.0).all()
        with pytest.raises(HyperparameterError, match=match):
            cls([np.ones(3), np.ones(3, np.float32)], **options)
        q = np.ones(3, np.float32)
        opt = cls(q)
        opt.param_groups[0][option] = options[option]
        with pytest.raises(HyperparameterError, match=match):
            opt.step(q.copy())
        assert (q == 1.0).all()
        cls(np.ones(3), **options)


def test_a_schedule_beyond_float32_is_refused():
    p = np.ones(3, np.float32)
    opt = fastopt.SGD(p, lr=1e30, schedule=fastopt.schedules.exponential(1e30))
    opt.step(np.zeros_like(p))
    with pytest.raises(HyperparameterError, match=r"lr 1e\+60 is beyond float32"):
        opt.step(p.copy())
    assert (p == 1.0).all()
    assert opt.steps == 1
    fastopt.SGD(np.ones(3), lr=1e30, schedule=fastopt.schedules.exponential(1e30)).step(np.zeros(3))
