"""torch's own database of optimizers, ``optim_db``: what it lists is accepted, refused and computed
here as in torch.

The deviations are listed in ``docs/optimizer-semantics.md`` and below.
"""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from pathlib import Path

import hypothesis
import pytest
import torch

import fastopt.torch
from fastopt.errors import ArrayTypeError, HyperparameterError

NAMES = sorted(set(fastopt.torch.__all__) & set(dir(torch.optim)) - {"Optimizer"})
every_class = pytest.mark.parametrize("info", NAMES, indirect=True)

REFUSED = ("capturable", "differentiable")
WARNED_OF = "a param group cannot have duplicate parameters"
"""torch warns that this will be an error, and steps the parameter twice; we refuse it."""
OF_ITS_KERNELS = ("foreach", "betas must be either both floats or both Tensors")
"""What torch cannot do with tensors as options, according to the implementation; we read them."""


@pytest.fixture(scope="module")
def database():
    """Rows by name. Three seconds to import, which only the tests that read it pay."""
    profile = hypothesis.settings.get_current_profile_name()
    module = pytest.importorskip(
        "torch.testing._internal.common_optimizers", reason="torch's tests need expecttest"
    )
    hypothesis.settings.load_profile(profile)  # torch's tests have loaded their own
    return {info.name: info for info in module.optim_db}


@pytest.fixture
def info(database, request):
    return database[request.param]


def test_every_class_of_both_is_tried(database):
    assert [name for name in sorted(database) if hasattr(fastopt.torch, name)] == NAMES


@pytest.fixture(autouse=True)
def in_double():
    """Let torch keep what accumulates in float64, as we do."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def classes_of(info):
    return getattr(fastopt.torch, info.name), info.optim_cls


def inputs_of(info):
    """Yield the options of each input, alone and with each of torch's implementations."""
    flags = ["foreach"] * ("foreach" in info.supported_impls)
    flags += ["fused"] * ("cpu" in info.supports_fused_on)
    for case in info.optim_inputs_func(device="cpu"):
        if any(case.kwargs.get(name) for name in REFUSED):
            continue
        yield case.kwargs
        for flag, on in itertools.product(flags, (False, True)):
            is_tensor = any(isinstance(v, torch.Tensor) for v in case.kwargs.values())
            if not (is_tensor and on and flag == "foreach"):
                yield {**case.kwargs, flag: on}


def parameters():
    """Some of the shapes of torch's tests, one of them frozen, one empty."""
    torch.manual_seed(0)
    shapes = ((2, 3), (3,), (), (0,), (4, 1, 2))
    params = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    params[-1].requires_grad_(False)
    return params


def copied(kwargs):
    return {k: copy.deepcopy(v) for k, v in kwargs.items()}


@every_class
def test_every_input_is_accepted_and_gives_torchs_results(info):
    """Seven steps, as in torch's tests (RAdam is rectified from the sixth); a gradient is missing
    in the fourth."""
    ours, theirs = classes_of(info)
    count = 0
    for kwargs in inputs_of(info):
        params, twins = parameters(), parameters()
        opt, twin = ours(params, **copied(kwargs)), theirs(twins, **copied(kwargs))
        for t in range(7):
            for p, q in zip(params, twins):
                g = (
                    torch.randn(p.shape)
                    if p.requires_grad and not (t == 3 and p.ndim == 1)
                    else None
                )
                p.grad, q.grad = g, None if g is None else g.clone()
            opt.step()
            twin.step()
        for p, q in zip(params, twins):
            torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12, msg=str(kwargs))
        slots = zip(opt.state_dict()["state"].values(), twin.state_dict()["state"].values())
        for entry, other in slots:
            for name, value in other.items():
                if value is not None:
                    torch.testing.assert_close(
                        entry[name], value, rtol=1e-12, atol=1e-12, check_dtype=False
                    )
        count += 1
    assert count >= 4


def outcome(cls, params, kwargs):
    """Return what constructing does: the error, the warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            cls(params, **kwargs)
        except Exception as error:
            return error, seen
    return None, seen


@every_class
def test_what_torch_refuses_is_refused_with_its_type(info):
    ours, theirs = classes_of(info)
    cases = info.optim_error_inputs_func(device="cpu", dtype=torch.float64)
    assert len(cases) >= 6
    for case in cases:
        given = case.optimizer_error_input
        params = parameters() if given.params is None else given.params
        expected, warned = outcome(theirs, params, copied(given.kwargs))
        error, seen = outcome(ours, params, copied(given.kwargs))
        if given.desc == WARNED_OF:
            assert [w.category for w in warned] == [UserWarning]
            assert isinstance(error, ValueError)
        elif any(part in str(expected) for part in OF_ITS_KERNELS):
            assert error is None
        else:
            assert isinstance(error, type(expected)), (given.desc, expected, error)
    assert not seen


@every_class
def test_what_we_refuse_says_so(info):
    """Complex and half-precision parameters, sparse gradients, captured steps."""
    ours, _ = classes_of(info)
    for dtype in (torch.complex128, torch.float16):
        with pytest.raises(ArrayTypeError, match="kernels exist for float32, float64 and bfloat16"):
            ours([torch.nn.Parameter(torch.ones(2, dtype=dtype))])
    for name in REFUSED:
        if name in ours([torch.ones(2)]).defaults:
            with pytest.raises(HyperparameterError, match=f"{name}=True is not supported"):
                ours([torch.ones(2)], **{name: True})
    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.eye(2)[0].to_sparse()
    with pytest.raises(ArrayTypeError, match="sparse_coo"):
        ours([p]).step()
    assert p.tolist() == [1.0, 1.0]


TRIED = (
    *(-1.0, -1e-13, 0.0, 1e-30, 0.5, 1.0, math.nextafter(1.0, 2.0), 1.5, 100.0, 1e300),
    *(math.inf, -math.inf, math.nan, 0, 1, 2, True, False, None, "0.5"),
)
NARROWER = {
    "momentum": lambda v: v > 1,
    "dampening": lambda v: not 0 <= v <= 1,
    "alpha": lambda v: v > 1 or v < 0,
    "lambd": lambda v: v < 0,
    "t0": lambda v: v < 0,
    "step_sizes": lambda v: v < 0,
}
"""Numbers that torch takes and we refuse, by option."""
WIDER = {"etas": (0.0, 1.0), "lr": (-1e-13,), "betas": (0,)}
"""Numbers that torch refuses and we take."""


def is_listed(option, default, value, is_taken):
    """Tell whether the documentation says that we take, or refuse, a value unlike torch."""
    if is_taken:
        return value in WIDER.get(option, ())
    if isinstance(default, bool):
        return not isinstance(value, bool)
    if isinstance(value, bool | str | None) or not math.isfinite(value):
        return True
    return option in NARROWER and NARROWER[option](value)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_refused_unlike_torch_is_listed(name, counted):
    """Every option of every class with the same values."""
    ours, theirs = getattr(fastopt.torch, name), getattr(torch.optim, name)
    defaults, count = theirs([torch.ones(1)]).defaults, 0
    for option in set(defaults).difference(REFUSED, ("foreach", "fused")):
        parts = defaults[option] if isinstance(defaults[option], tuple) else [defaults[option]]
        for value, k in itertools.product(TRIED, range(len(parts))):
            given = (*parts[:k], value, *parts[k + 1 :])
            kwargs = {"momentum": 0.9} if option in ("nesterov", "dampening") else {}
            kwargs[option] = given if len(parts) > 1 else value
            error, expected = (outcome(cls, [torch.ones(2)], kwargs)[0] for cls in (ours, theirs))
            if (error is None) != (expected is None):
                assert is_listed(option, parts[k], value, error is None), kwargs
            count += 1
    counted(count)


def test_options_with_another_range_than_torchs_are_in_the_documentation():
    page = Path(__file__).parents[2] / "docs/optimizer-semantics.md"
    listed = page.read_text(encoding="utf-8").partition("`fastopt.torch` part")[2]
    assert [name for name in (*NARROWER, *WIDER) if f"`{name}`" not in listed] == []
