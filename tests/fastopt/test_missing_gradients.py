"""Parameters that have a gradient at some steps only: experts, branches, layers that are frozen."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import fastopt.torch  # noqa: E402
from fastopt.errors import ArrayError  # noqa: E402
from fastopt.torch.plan import Plan  # noqa: E402

SIZES = (3, 40, 17, 1000)
KINDS = [
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("RMSprop", {"lr": 0.01, "momentum": 0.5}),
    ("NAdam", {"lr": 0.01}),  # its clock accumulates
    ("ASGD", {"lr": 0.01}),
]


def pair(name, options):
    """Return an optimizer of ours and torch's, and their parameters, of equal numbers."""
    rng = np.random.default_rng(0)
    start = [torch.tensor(rng.normal(size=n)) for n in SIZES]
    sides = [[torch.nn.Parameter(t.clone()) for t in start] for _ in range(2)]
    classes = getattr(fastopt.torch, name), getattr(torch.optim, name)
    return [made(params, **options) for made, params in zip(classes, sides)], sides


def give(sides, pattern, rng):
    """Set gradients where the pattern says, the same on both sides."""
    for k, has in enumerate(pattern):
        g = torch.tensor(rng.normal(size=SIZES[k]))
        for params in sides:
            params[k].grad = g.clone() if has else None


def assert_close(sides, rtol=1e-12):
    """Compare after up to 60 steps, each of which errs by a few ulps: 2e-16 in float64."""
    for ours, theirs in zip(*sides):
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol / 100)


@pytest.fixture
def checks(monkeypatch):
    """Count how often everything is checked."""
    counted, real = [], Plan._step_checked

    def check(self, state):
        counted.append(1)
        return real(self, state)

    monkeypatch.setattr(Plan, "_step_checked", check)
    return counted


@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_any_parameters_may_lack_a_gradient_at_any_step(name, options, checks):
    optimizers, sides = pair(name, options)
    rng = np.random.default_rng(1)
    for _ in range(60):
        give(sides, rng.random(len(SIZES)) < 0.5, rng)
        for optimizer in optimizers:
            optimizer.step()
        # Of NAdam and ASGD torch keeps sums in float32.
        assert_close(sides, 1e-6 if name in ("NAdam", "ASGD") else 1e-12)
    if name in ("AdamW", "RMSprop", "SGD"):  # once for each new parameter at most
        assert len(checks) <= len(SIZES) + 1


def other_slot(optimizer, p):
    state = optimizer.state[p]
    state["exp_avg"] = state["exp_avg"].clone() + 0.5


def slot_in_place(optimizer, p):
    optimizer.state[p]["exp_avg_sq"].mul_(3.0)


def other_step(optimizer, p):
    optimizer.state[p]["step"] += 5


def no_state(optimizer, p):
    del optimizer.state[p]


def other_memory(optimizer, p):
    p.data = p.data.clone() * 2.0


def other_betas(optimizer, p):
    optimizer.param_groups[0]["betas"] = (0.5, 0.9)


CHANGES = [other_slot, slot_in_place, other_step, no_state, other_memory, other_betas]


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_in_the_meantime_is_seen(change):
    optimizers, sides = pair("AdamW", {"lr": 0.01})
    rng = np.random.default_rng(2)
    everything, some = [True] * 4, [True, False, True, True]
    for pattern in (everything, some, everything, some, "change", some, everything, some):
        if pattern == "change":
            for optimizer, params in zip(optimizers, sides):
                change(optimizer, params[1])
            continue
        give(sides, pattern, rng)
        for optimizer in optimizers:
            optimizer.step()
        assert_close(sides)


def test_memory_that_is_not_stepped_now_is_no_gradients_either():
    optimizers, (ours, _) = pair("AdamW", {"lr": 0.01})
    rng = np.random.default_rng(3)
    for pattern in ([True] * 4, [False, True, True, True]):
        give([ours], pattern, rng)
        optimizers[0].step()
    before = [p.clone() for p in ours]
    ours[1].grad = None
    ours[0].grad = optimizers[0].state[ours[0]]["exp_avg"]
    give([ours[2:]], [], rng)
    with pytest.raises(ArrayError, match="shares memory with the state 'exp_avg'"):
        optimizers[0].step()
    for p, known in zip(ours, before):
        assert torch.equal(p, known)
