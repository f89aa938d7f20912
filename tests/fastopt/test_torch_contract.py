"""What anyone may expect of a ``torch.optim.Optimizer``, for each of our classes.

The list is that of torch's own tests of optimizers, by idea: errors, descent, groups, schedulers,
closures, hooks, gradient scaling, missing and zero gradients, loaders with forked workers.
"""

from __future__ import annotations

import inspect
import sys
import warnings

import pytest
import torch
from torch.optim import lr_scheduler

import fastopt.torch
from fastopt.errors import ArrayError, ArrayTypeError, FastoptError, HyperparameterError
from tests.helpers.torch_cases import (
    CASES,
    CLASSES,
    FEW,
    Case,
    give_gradients,
    parameters,
    state_of,
    twins_of,
)

TORCHS = [case for case in CLASSES if case.has_twin]


@pytest.mark.parametrize("case", TORCHS, ids=str)
def test_signature_is_torchs(case):
    ours, theirs = inspect.signature(case.ours), inspect.signature(case.torchs)
    kinds = [(p.name, p.kind, p.default) for p in ours.parameters.values()]
    assert kinds == [(p.name, p.kind, p.default) for p in theirs.parameters.values()]


OF_ARRAYS = ("nonfinite", "schedule", "ema")


@pytest.mark.parametrize("case", [c for c in CLASSES if not c.has_twin], ids=str)
def test_signature_is_that_of_the_optimizer_over_arrays(case):
    def options(cls):
        parameters = inspect.signature(cls).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters if p.name not in OF_ARRAYS]

    assert options(case.ours) == options(getattr(fastopt, case.name))


@pytest.mark.parametrize("case", TORCHS, ids=str)
def test_options_are_torchs(case):
    ours = case.make(parameters()).param_groups[0]
    theirs = case.torchs(parameters()).param_groups[0]
    assert {k: v for k, v in ours.items() if k != "params"} == {
        k: v for k, v in theirs.items() if k != "params"
    }


@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_is_an_optimizer_and_documented(case):
    optimizer = case.make(parameters())
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert f"{case.name} (" in repr(optimizer)
    assert case.name in fastopt.torch.__all__
    documented = inspect.getdoc(case.ours)
    for name in inspect.signature(case.ours).parameters:
        assert f"\n{name} : " in documented


NOT_LR = ("betas", "eps", "momentum", "weight_decay", "alpha", "rho", "lr_decay", "etas")
BAD = {"betas": (1.0, 0.9), "etas": (1.5, 1.2), "alpha": -0.1, "rho": 1.5, "maximize": 1}


@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_options_out_of_range_are_refused(case):
    names = [name for name in inspect.signature(case.ours).parameters if name in NOT_LR]
    bad = {name: BAD.get(name, -1.0) for name in (*names, "lr", "maximize")}
    if case.name in ("Adan", "AdEMAMix"):
        bad["betas"] = (1.0, 0.9, 0.9)
    for name, value in bad.items():
        with pytest.raises(HyperparameterError, match=case.name):
            case.make(parameters(), **{name: value})
        with pytest.raises(ValueError, match="group 1"):
            case.make([{"params": parameters()}, {"params": parameters(), name: value}])


ERRORS = [
    ("nesterov", lambda: fastopt.torch.SGD(parameters(), nesterov=True), ValueError),
    ("pair", lambda: fastopt.torch.Adam(parameters(), betas=(0.9,)), ValueError),
    ("nan", lambda: fastopt.torch.Adam(parameters(), lr=float("nan")), ValueError),
    ("text", lambda: fastopt.torch.Adam(parameters(), lr="0.1"), ValueError),
    ("long_lr", lambda: fastopt.torch.Adam(parameters(), lr=torch.ones(2)), ValueError),
    ("both", lambda: fastopt.torch.Adam(parameters(), foreach=True, fused=True), ValueError),
    ("capturable", lambda: fastopt.torch.Adam(parameters(), capturable=True), ValueError),
    ("differentiable", lambda: fastopt.torch.SGD(parameters(), differentiable=True), ValueError),
    ("nothing", lambda: fastopt.torch.SGD([]), ValueError),
    ("tensor", lambda: fastopt.torch.SGD(torch.ones(3)), TypeError),
    ("numbers", lambda: fastopt.torch.SGD([1.0]), TypeError),
    ("set", lambda: fastopt.torch.SGD([{"params": set(parameters())}]), TypeError),
    ("unknown", lambda: fastopt.torch.SGD(parameters(), beta=0.9), TypeError),  # type: ignore[call-arg]
    ("inner", lambda: fastopt.torch.SGD([torch.ones(3, requires_grad=True) * 2]), ValueError),
]


@pytest.mark.parametrize(("make", "error"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS])
def test_what_is_wrong_is_refused(make, error):
    with pytest.raises(error):
        make()


def fake():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return torch.ones(3)


TENSORS = {
    "meta": (lambda: torch.ones(3, device="meta"), ArrayTypeError, "device meta"),
    "sparse": (lambda: torch.eye(3).to_sparse(), ArrayTypeError, "layout torch.sparse_coo"),
    "fake": (fake, ArrayTypeError, "FakeTensor"),
    "complex": (lambda: torch.ones(3, dtype=torch.complex64), ArrayTypeError, "complex64"),
    "integer": (lambda: torch.ones(3, dtype=torch.int64), ArrayTypeError, "int64"),
    "bool": (lambda: torch.ones(3, dtype=torch.bool), ArrayTypeError, "bool"),
    "half": (lambda: torch.ones(3, dtype=torch.float16), ArrayTypeError, "float16"),
    "expanded": (lambda: torch.ones(1).expand(3), ArrayError, "share memory"),
    "zero": (lambda: torch._efficientzerotensor(3), ArrayError, "a zero tensor"),
}


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize(("make", "error", "message"), TENSORS.values(), ids=TENSORS)
def test_tensors_without_a_kernel_are_refused_by_name_and_index(make, error, message):
    good, bad = torch.nn.Parameter(torch.ones(3)), make()
    with pytest.raises(error, match=f"SGD, param group 0: parameter 1 has|is.*{message}"):
        fastopt.torch.SGD([good, bad])
    with pytest.raises(error, match=r"param group 0: parameter 1 \('bad'\)"):
        fastopt.torch.SGD([("good", good), ("bad", bad)])
    optimizer = fastopt.torch.SGD([good])
    with pytest.raises(error, match=message):
        optimizer.add_param_group({"params": [bad]})
    assert len(optimizer.param_groups) == 1
    give_gradients(0, [good])
    optimizer.step()


def test_sparse_gradients_are_refused_before_anything_is_written():
    embedding, linear = torch.nn.Embedding(5, 3, sparse=True), torch.nn.Linear(3, 1)
    params = [*linear.parameters(), *embedding.parameters()]
    optimizer = fastopt.torch.AdamW(params)
    linear(embedding(torch.tensor([1, 2]))).sum().backward()
    before = [p.detach().clone() for p in params]
    with pytest.raises(ArrayTypeError, match=r"parameter 2 has layout torch\.sparse_coo"):
        optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(params, before))
    assert not optimizer.state


def test_duplicates_are_refused():
    (p,) = parameters(shapes=[(3,)])
    with pytest.warns(UserWarning, match="duplicate"), pytest.raises(FastoptError):
        fastopt.torch.SGD([p, p])
    with pytest.raises(ValueError, match="more than one parameter group"):
        fastopt.torch.SGD([{"params": [p]}, {"params": [p]}])


def contiguous(shape):
    return torch.nn.Parameter(torch.linspace(-1.0, 1.0, torch.Size(shape).numel()).reshape(shape))


def strided(shape):
    wide = torch.zeros(*shape, 2)
    wide[..., 0] = contiguous(shape).detach()
    return torch.nn.Parameter(wide[..., 0])


SCHEDULERS = {
    "none": lambda o: None,
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda t: 0.98**t),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 0.99),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 7, gamma=0.9),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [3, 9], gamma=0.9),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, factor=0.7, total_iters=5),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, start_factor=0.5, total_iters=5),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, gamma=0.98),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, total_iters=100),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=60),
    "WarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=11),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.01, total_steps=99),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(
        o, base_lr=o.param_groups[0]["lr"], max_lr=1.1 * o.param_groups[0]["lr"],
        cycle_momentum=False,
    ),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], milestones=[5]
    ),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.95)]
    ),
    "SWALR": lambda o: torch.optim.swa_utils.SWALR(o, swa_lr=0.005, anneal_epochs=5),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
}  # fmt: skip


def descend(optimizer, params, make_scheduler, steps=20, tell=None):
    """Run on the sum of squares; return the losses before and after."""
    scheduler = make_scheduler(optimizer)

    def loss():
        optimizer.zero_grad()
        value = sum((p - 0.25).square().sum() for p in params)
        value.backward()
        return value

    first = loss().item()
    for _ in range(steps):
        value = optimizer.step(loss)
        if tell is not None:
            tell(optimizer)
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(value.item())
        elif scheduler is not None:
            scheduler.step()
    return first, loss().item()


@pytest.mark.parametrize("memory", [contiguous, strided])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_goes_in_the_right_direction(case, memory):
    params = [memory((10, 5)), memory((10,))]
    first, last = descend(case.make(params), params, SCHEDULERS["none"])
    assert last > first if case.options.get("maximize") else last < first


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
@pytest.mark.filterwarnings("ignore:.*epoch parameter.*:UserWarning")
@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("case", FEW, ids=str)
def test_every_scheduler_acts_as_on_torchs(case, name):
    """With two groups; the learning rates of every step and the parameters are those of torch."""
    ours = [contiguous((10, 5)), contiguous((10,))]
    theirs, runs = twins_of(ours), []
    for make, params in ((case.make, ours), (case.make_twin, theirs)):
        optimizer, rates = make([{"params": params[:1]}, {"params": params[1:], "lr": 0.01}]), []

        def tell(o, rates=rates):
            rates.append([group["lr"] for group in o.param_groups])

        first, last = descend(optimizer, params, SCHEDULERS[name], tell=tell)
        assert last < first
        runs.append(rates)
    assert runs[0] == runs[1]
    for p, q in zip(ours, theirs):
        # 20 steps of 2 ulp on values near 1, and the gradients follow the parameters
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", TORCHS, ids=str)
def test_tensor_lr_is_read_at_every_step(case):
    lr = torch.tensor(0.01)
    params, again = parameters(), parameters()
    optimizer, reference = case.make(params, lr=lr), case.make(again, lr=lr.item())
    for t in range(4):
        if t == 2:
            lr.fill_(0.05)  # in place: nothing about the group changes
            reference.param_groups[0]["lr"] = lr.item()
        give_gradients(t, params, again)
        optimizer.step()
        reference.step()
    assert all(torch.equal(p, q) for p, q in zip(params, again))
    assert optimizer.param_groups[0]["lr"] is lr


@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_groups_are_as_several_optimizers(case):
    together, apart = parameters(), parameters()
    optimizer = case.make([{"params": together[:2]}, {"params": together[2:], "lr": 0.02}])
    several = [case.make(apart[:2]), case.make(apart[2:], lr=0.02)]
    for t in range(3):
        give_gradients(t, together, apart, skip={3} if t == 1 else ())
        optimizer.step()
        for each in several:
            each.step()
    assert all(torch.equal(p, q) for p, q in zip(together, apart))


@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_add_param_group(case):
    """Parameters that come later count their own steps."""
    params = parameters()
    optimizer = case.make(params[:3])
    give_gradients(0, params)
    optimizer.step()
    kept = [p.detach().clone() for p in params[3:]]
    assert all(torch.equal(p, q) for p, q in zip(params[3:], kept))
    optimizer.add_param_group({"params": params[3:], "lr": 0.5})
    fresh = twins_of(params[3:])
    reference = case.make(fresh, lr=0.5)
    for t in range(2):
        give_gradients(1 + t, params[3:], fresh)
        optimizer.step()
        reference.step()
    assert all(torch.equal(p, q) for p, q in zip(params[3:], fresh))


def test_extra_entries_of_a_group_are_kept():
    optimizer = fastopt.torch.AdamW([{"params": parameters(), "name": "decoder", "lr_scale": 0.5}])
    give_gradients(0, optimizer.param_groups[0]["params"])
    optimizer.step()
    assert optimizer.state_dict()["param_groups"][0]["name"] == "decoder"


@pytest.mark.parametrize("value", [float("nan"), -1.0, None, "fast"])
def test_an_option_that_becomes_wrong_is_refused_before_anything_is_written(value):
    params = parameters()
    optimizer = fastopt.torch.AdamW(params)
    give_gradients(0, params)
    optimizer.step()
    before = [p.detach().clone() for p in params]
    optimizer.param_groups[0]["lr"] = value
    with pytest.raises(HyperparameterError, match="AdamW, param group 0: lr"):
        optimizer.step()
    del optimizer.param_groups[0]["lr"]
    with pytest.raises(HyperparameterError, match="has lost its 'lr'"):
        optimizer.step()
    optimizer.param_groups[0].update(lr=0.1, capturable=True)
    with pytest.raises(HyperparameterError, match="AdamW, param group 0: capturable=True"):
        optimizer.step()
    with pytest.raises(HyperparameterError, match="Unscale them first"):
        optimizer.grad_scale = torch.ones(())  # which torch's fused step divides by
    assert all(torch.equal(p, q) for p, q in zip(params, before))


def test_flags_switched_on_the_way():
    """amsgrad and momentum may be turned on; the new slot starts at zero, the others stay."""
    params = parameters()
    optimizer = fastopt.torch.Adam(params)
    for t in range(3):
        optimizer.param_groups[0]["amsgrad"] = t == 2
        give_gradients(t, params)
        optimizer.step()
    entry = optimizer.state[params[3]]
    assert entry["step"] == 3
    assert torch.equal(entry["max_exp_avg_sq"], entry["exp_avg_sq"])


@pytest.mark.parametrize("case", FEW, ids=str)
def test_changed_options_act_as_on_torchs(case):
    ours = parameters()
    theirs = twins_of(ours)
    optimizer, twin = case.make(ours), case.make_twin(theirs)
    for t in range(6):
        for each in (optimizer, twin):
            group = each.param_groups[0]
            group["lr"] = 0.01 / (1 + t)
            if "betas" in group and t >= 3:
                group["betas"] = (0.8, 0.9)
            if "momentum" in group and t >= 3:
                group["momentum"] = 0.5
        give_gradients(t, ours, theirs)
        optimizer.step()
        twin.step()
    for p, q in zip(ours, theirs):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)  # 6 steps x 2 ulp, and cancellation


@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_closure_runs_with_gradients_and_its_loss_is_returned(case):
    params = parameters()
    optimizer = case.make(params)

    def closure():
        assert torch.is_grad_enabled()
        give_gradients(0, params)
        return torch.tensor(3.5)

    with torch.no_grad():
        assert optimizer.step(closure) == 3.5
    assert optimizer.step() is None


def test_hooks_run_in_torchs_order_and_can_be_removed():
    params, calls = parameters(), []
    optimizer = fastopt.torch.AdamW(params)
    from torch.optim.optimizer import (
        register_optimizer_step_post_hook,
        register_optimizer_step_pre_hook,
    )

    handles = [
        register_optimizer_step_pre_hook(lambda *_: calls.append("global pre")),
        optimizer.register_step_pre_hook(lambda *_: calls.append("pre")),
        optimizer.register_step_post_hook(lambda *_: calls.append("post")),
        register_optimizer_step_post_hook(lambda *_: calls.append("global post")),
    ]
    give_gradients(0, params)
    optimizer.step()
    assert calls == ["global pre", "pre", "post", "global post"]
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert len(calls) == 4


def test_hooks_of_state_dicts():
    params, calls = parameters(), []
    optimizer = fastopt.torch.AdamW(params)
    give_gradients(0, params)
    optimizer.step()

    def double(_, state_dict):
        calls.append("load pre")
        rows = [{**row, "lr": 2 * row["lr"]} for row in state_dict["param_groups"]]
        return {**state_dict, "param_groups": rows}

    def stamp(_, state_dict):
        calls.append("dict post")
        return {**state_dict, "stamp": 1}

    optimizer.register_state_dict_pre_hook(lambda _: calls.append("dict pre"))
    optimizer.register_state_dict_post_hook(stamp)
    optimizer.register_load_state_dict_pre_hook(double)
    optimizer.register_load_state_dict_post_hook(
        lambda o: calls.append(("load post", o.param_groups[0]["lr"]))
    )
    state_dict = optimizer.state_dict()
    assert state_dict["stamp"] == 1
    optimizer.load_state_dict(state_dict)
    assert calls == ["dict pre", "dict post", "load pre", ("load post", 2e-3)]
    optimizer.step()


def test_grad_scaler_unscales_and_skips():
    ours = parameters()
    theirs = twins_of(ours)
    optimizer, twin = fastopt.torch.AdamW(ours), torch.optim.AdamW(theirs, foreach=False)
    scalers = [torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2) for _ in range(2)]
    for t in range(5):
        give_gradients(t, ours, theirs)
        if t == 2:
            ours[3].grad[5, 5] = theirs[3].grad[5, 5] = torch.nan
        for scaler, each in zip(scalers, (optimizer, twin)):
            scaler.scale(torch.ones(()))
            scaler.step(each)
            scaler.update()
    assert scalers[0].get_scale() == scalers[1].get_scale() != 8.0
    assert optimizer.state[ours[0]]["step"] == twin.state[theirs[0]]["step"] == 4
    for p, q in zip(ours, theirs):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6)  # 4 steps x 2 ulp, and cancellation


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none):
    params = parameters()
    optimizer = fastopt.torch.AdamW(params)
    give_gradients(0, params)
    optimizer.zero_grad(set_to_none=set_to_none)
    if set_to_none:
        assert all(p.grad is None for p in params)
    else:
        assert all((p.grad == 0).all() for p in params)


@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_without_gradients_nothing_happens(case):
    params = parameters()
    optimizer = case.make(params)
    before, held = [p.detach().clone() for p in params], state_of(optimizer)
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(params, before))
    torch.testing.assert_close(state_of(optimizer), held, rtol=0, atol=0)


MOVED_BY_ZERO = {"ASGD", "AdamW", "CautiousAdamW", "LAMB", "LARS", "StableAdamW", "Yogi"}
"""Decay moves parameters also without gradients; Yogi's moments start above zero."""


@pytest.mark.parametrize("case", CLASSES, ids=str)
def test_zero_gradients_move_nothing_unless_weights_decay(case):
    params = parameters()
    optimizer = case.make(params)
    before = [p.detach().clone() for p in params]
    for _ in range(2):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    still = all(torch.equal(p, q) for p, q in zip(params, before))
    assert still == (case.name not in MOVED_BY_ZERO)


def test_a_learning_rate_of_nothing_moves_nothing():
    params = parameters()
    groups = [{"params": params[:3]}, {"params": params[3:], "lr": 1e-28}]
    optimizer = fastopt.torch.AdamW(groups, lr=0.1)
    before = [p.detach().clone() for p in params]
    give_gradients(0, params)
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(params[3:], before[3:]))
    assert not torch.equal(params[0], before[0])


def test_lazy_parameters_are_stepped_once_they_exist():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LazyLinear(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lazy modules are under development, says torch
        optimizer = fastopt.torch.AdamW(model.parameters())
        model(torch.ones(5, 3)).sum().backward()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    assert not any(torch.equal(p, q) for p, q in zip(model.parameters(), before))


@pytest.mark.parametrize("name", ["ScheduleFreeSGD", "ScheduleFreeAdamW"])
def test_schedule_free_switches_back_and_forth(name):
    params = parameters(torch.float64)
    optimizer = Case(name).make(params, lr=0.05)
    iterates = []
    for t in range(4):
        give_gradients(t, params)
        optimizer.step()
        iterates.append([optimizer.state[p]["z"].clone() for p in params])
    training = [p.detach().clone() for p in params]
    optimizer.eval()
    # A constant lr weights all iterates alike: x is their mean.
    for p, *zs in zip(params, *iterates):
        torch.testing.assert_close(p.detach(), torch.stack(zs).mean(0) if zs[0].numel() else zs[0])
    optimizer.eval()
    state_dict = optimizer.state_dict()
    assert not state_dict["param_groups"][0]["train_mode"]
    with pytest.raises(ValueError, match=r"call optimizer\.train\(\)"):
        optimizer.step()
    optimizer.train()
    for p, q in zip(params, training):
        torch.testing.assert_close(p.detach(), q)


def test_loader_with_forked_workers_after_a_step():
    """The pool of threads is the parent's; its children load data and it goes on."""
    params = parameters(shapes=[(300, 300)])
    optimizer = fastopt.torch.AdamW(params)
    data = torch.utils.data.TensorDataset(torch.arange(8.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, in Python 3.12
        for epoch in range(2):
            give_gradients(epoch, params)
            optimizer.step()
            loader = torch.utils.data.DataLoader(
                data, batch_size=4, num_workers=2, multiprocessing_context="fork"
            )
            assert sum(batch.sum().item() for (batch,) in loader) == 28.0
    assert optimizer.state[params[0]]["step"] == 2


# Python 3.13.0 alone, says torch.
@pytest.mark.filterwarnings("ignore:Guards may run slower")
def test_a_step_inside_torch_compile_runs():
    """As a break in the graph; with the back end that needs no compiler."""
    params, again = parameters(shapes=[(7,), (3, 3)]), parameters(shapes=[(7,), (3, 3)])
    optimizer, reference = fastopt.torch.AdamW(params), fastopt.torch.AdamW(again)

    def train(scale):
        for p in params:
            p.grad = torch.ones_like(p) * scale
        optimizer.step()

    compiled = torch.compile(train, backend="eager")
    for scale in (1.0, 2.0):
        compiled(scale)
        for p in again:
            p.grad = torch.ones_like(p) * scale
        reference.step()
    assert all(torch.equal(p, q) for p, q in zip(params, again))


def test_without_torch_the_message_says_what_to_install(python):
    code = """
import sys
sys.modules["torch"] = None
import fastopt
try:
    import fastopt.torch
except ImportError as error:
    print(error)
"""
    assert 'pip install "fastopt[torch]"' in python(code).stdout


def test_importing_fastopt_does_not_import_torch(python):
    code = "import fastopt, sys; print('torch' in sys.modules)"
    assert python(code).stdout.strip() == "False"
    assert "torch" in sys.modules
