"""Options that float32 rounds to zero, to one or to infinity: computed as meant, or refused."""

from __future__ import annotations

import inspect
import itertools
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
from fastopt.stepping.fixed import Options, Seen

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


# Each is 0.1 in the narrower of two types, as NumPy and torch compare; two are no numbers.
NO_NUMBERS = np.array([0.1]), complex(0.1)
LIKE_A_TENTH = (
    np.float32(0.1), np.float16(0.1), np.array(0.1), np.array(0.1, np.float32), np.longdouble(0.1),
    torch.tensor(0.1), torch.tensor(0.1, dtype=torch.bfloat16), *NO_NUMBERS,
)  # fmt: skip


def over_arrays(cls):
    p = np.linspace(-1.0, 1.0, 7)
    opt = cls(p)
    return opt, p, lambda: opt.step(np.cos(p))


def over_tensors(cls):
    p = torch.linspace(-1.0, 1.0, 7, dtype=torch.float64)
    p.grad = torch.empty_like(p)
    opt = getattr(fastopt.torch, cls.__name__)([p])
    return opt, p.numpy(), lambda: np.cos(p.numpy(), out=p.grad.numpy()) is opt.step()


def stepped_with(made, cls, name, value):
    """Return the parameter after a step with 0.1 and one with ``value``, and whether it stepped."""
    opt, p, step = made(cls)
    group = opt.param_groups[0]
    rest = group[name][1:] if isinstance(group[name], tuple) else None
    group[name] = 0.1 if rest is None else (0.1, *rest)
    step()
    before = p.copy()
    group[name] = value if rest is None else (value, *rest)
    try:
        step()
    except HyperparameterError:
        return before, np.array_equal(p, before)
    return p, True


@pytest.mark.parametrize("made", [over_arrays, over_tensors])
@every_class
def test_an_option_is_not_taken_for_a_like_one_of_another_type(cls, made):
    names = {"lr", "betas", "weight_decay", "momentum"} & set(made(cls)[0].param_groups[0])
    for name, value in itertools.product(sorted(names), LIKE_A_TENTH):
        if isinstance(value, torch.Tensor) and made is over_arrays:
            continue
        found, is_whole = stepped_with(made, cls, name, value)
        is_number = not any(value is other for other in NO_NUMBERS)
        # As a number of Python's it is another one, which anybody notices.
        expected, _ = stepped_with(made, cls, name, float(value) if is_number else "0.1")
        assert is_whole, (name, value)
        assert found.tobytes() == expected.tobytes(), (name, value)


def test_options_count_every_way_to_write_into_a_dict():
    ways = {
        "__setitem__": ("a", 2), "__delitem__": ("a",), "__ior__": ({"a": 3},), "clear": (),
        "pop": ("a",), "popitem": (), "setdefault": ("b", 1), "update": ({"a": 4},),
    }  # fmt: skip
    reading = {"get", "items", "keys", "values", "copy", "fromkeys"}
    assert set(ways) | reading >= {name for name in vars(dict) if not name.startswith("__")}
    for way, arguments in ways.items():
        options = Options(a=1)
        assert getattr(options, way)(*arguments) == getattr({"a": 1}, way)(*arguments), way
        assert options.version == 1, way


def test_options_are_compared_once_for_each_time_they_are_written(monkeypatch):
    """Also after a state is loaded: comparing them takes as long as a step of 1 000 elements."""
    p, g = np.ones(3), np.ones(3)
    optimizer = fastopt.AdamW(p, lr=0.1)
    compared, real = [], Seen.agree
    monkeypatch.setattr(Seen, "agree", lambda *given: compared.append(given) or real(*given))
    for change in (
        lambda: None,
        lambda: optimizer.load_state_dict(optimizer.state_dict()),
        lambda: optimizer.param_groups[0].update(lr=0.1 * 1.0),
        lambda: optimizer.param_groups[0].update(lr=0.2),
    ):
        change()
        optimizer.step(g)
        compared.clear()
        optimizer.step(g)
        assert compared == []
