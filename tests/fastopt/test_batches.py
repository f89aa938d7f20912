"""Arrays stepped together: the bits of each alone, and no step like the last that is not."""

from __future__ import annotations

import numpy as np
import pytest

import fastopt
from fastopt import AdamW, ArrayError, ArrayTypeError, HyperparameterError, flatten

SIZES = [1, 0, 7, 64, 4097, 0, 33]


def drawn(rng, dtype=np.float32):
    return [rng.normal(size=n).astype(dtype) for n in SIZES]


@pytest.mark.parametrize("options", [{}, {"amsgrad": True, "weight_decay": 0.0}, {"ema": 0.9}])
def test_a_list_gives_the_bits_of_each_array_alone(options):
    """Dtypes mixed, some arrays empty, some without a gradient in some steps."""
    rng = np.random.default_rng(0)
    together = [*drawn(rng), *drawn(rng, np.float64)]
    alone = [p.copy() for p in together]
    opt, opts = AdamW(together, **options), [AdamW(p, **options) for p in alone]
    for step in range(6):
        grads = [rng.normal(size=p.size).astype(p.dtype) for p in together]
        given = [None if (step + k) % 4 == 3 else g for k, g in enumerate(grads)]
        opt.step(given)
        for one, g in zip(opts, given):
            if g is not None:
                one.step(g)
    for p, q in zip(together, alone):
        assert p.tobytes() == q.tobytes()
    assert any(p.size and p.dtype == np.float64 for p in together)


def one(rng):
    return rng.normal(size=4097).astype(np.float32)


STRUCTURES = {
    "array": one,
    "list": drawn,
    "dict": lambda rng: dict(enumerate(drawn(rng))),
    "arena": lambda rng: flatten(drawn(rng)),
}


class Walk:
    """An optimizer to which a random thing happens before each step."""

    EVENTS = (
        "nothing", "nothing", "nothing", "other_arrays", "missing", "lr", "betas", "amsgrad",
        "max_norm", "reload",
    )  # fmt: skip

    def __init__(self, structure, **options):
        self.rng = np.random.default_rng(5)
        self.params = STRUCTURES[structure](self.rng)
        self.structure = structure
        self.opt = AdamW(self.params, lr=0.01, **options)
        self.memory = {
            "array": lambda p: [p],
            "list": list,
            "dict": lambda p: list(p.values()),
            "arena": lambda p: [p.flat],
        }[structure](self.params)
        self.grads = [np.empty_like(p) for p in self.memory]

    def step(self):
        event, given, extras = str(self.rng.choice(self.EVENTS)), list(self.grads), {}
        group = self.opt.param_groups[0]
        k = int(self.rng.integers(len(self.grads)))
        if event == "other_arrays":
            given[k] = self.grads[k] = np.empty_like(self.memory[k])
        elif event == "missing" and len(given) > 1:
            given[k] = None
        elif event == "lr":
            group["lr"] *= 0.9
        elif event == "betas":
            group["betas"] = (0.8, 0.99) if group["betas"][0] == 0.9 else (0.9, 0.999)
        elif event == "amsgrad":
            group["amsgrad"] = True
        elif event == "max_norm":
            extras = {"max_norm": 0.5, "zero_grad": bool(k % 2)}
        elif event == "reload":
            self.opt.load_state_dict(self.opt.state_dict())
        for g in self.grads:
            g[:] = self.rng.normal(size=g.size)
        self.opt.step(self.structured(given, event), **extras)
        return event

    def structured(self, given, event):
        if self.structure == "list":
            return given
        if self.structure == "dict":
            return {k: g for k, g in enumerate(given) if g is not None}
        if self.structure == "arena" and event != "other_arrays":
            self.params.flat_grad[:] = given[0]
            return None
        return given[0]

    def bits(self):
        state = self.opt.state_dict()["state"].values()
        return [p.tobytes() for p in self.memory], [e["exp_avg_sq"].tobytes() for e in state]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_step_like_the_last_is_only_taken_for_one(structure):
    """With a schedule nothing is taken over from the last step; with one that is 1 nothing else
    changes."""
    quick, thorough = Walk(structure), Walk(structure, schedule=lambda t: 1.0)
    events = set()
    for _ in range(150):
        event = quick.step()
        assert thorough.step() == event
        assert quick.bits() == thorough.bits(), event
        events.add(event)
    assert events == set(Walk.EVENTS)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda opt, gs: opt.step(gs[:2]), ArrayError),
        (lambda opt, gs: opt.step([*gs[:2], gs[2][:3]]), ArrayError),
        (lambda opt, gs: opt.step(7), ArrayTypeError),
        (lambda opt, gs: opt.step(None), ArrayTypeError),
        (lambda opt, gs: opt.step(dict(enumerate(gs))), ArrayTypeError),
        (lambda opt, gs: opt.param_groups[0].update(lr=-1.0) or opt.step(gs), HyperparameterError),
        (lambda opt, gs: opt.param_groups[0].pop("eps") and opt.step(gs), HyperparameterError),
        (
            lambda opt, gs: opt.param_groups[0].update(lr=np.ones(2)) or opt.step(gs),
            HyperparameterError,
        ),
    ],
)
def test_after_a_good_step_a_bad_one_is_refused(spoil, error):
    params = [np.ones(n) for n in (3, 4, 5)]
    grads = [np.ones(n) for n in (3, 4, 5)]
    opt = fastopt.AdamW(params)
    opt.step(grads)
    opt.step(grads)
    before = [p.copy() for p in params]
    with pytest.raises(error):
        spoil(opt, grads)
    for p, q in zip(params, before):
        np.testing.assert_array_equal(p, q)
    assert opt.steps == 2


def test_no_gradient_at_all_is_no_step_like_one_without_any():
    opt = fastopt.SGD([np.ones(2)])
    opt.step([None])
    with pytest.raises(ArrayTypeError, match="step needs the gradients"):
        opt.step(None)
    assert opt.steps == 1
