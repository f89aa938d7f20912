"""Clocks of a block of lanes: each by itself, or once for all lanes that have the same."""

import numpy as np
import pytest
from numba import njit

from fastopt.rules import RULES
from sweeps import geomspace, problems, sweep
from sweeps.engine.lane_plan import deal_to_lanes
from sweeps.engine.lane_records import WIDTH, H
from sweeps.engine.lanes import powers_of
from sweeps.engine.records import SETTINGS
from sweeps.engine.stretches import ticking
from tests.helpers.training import assert_same_bits

SHARING = {rule.tick: rule for rule in RULES.values() if powers_of(rule)}
"""One rule of each tick that blocks may compute once."""


def drawn(rule, rng):
    """Return hyperparameters of one lane: reals away from their ends, switches either way."""
    defaults = np.array(rule.pack())
    scaled = np.where(defaults == 0.0, 0.1, defaults) * rng.uniform(0.5, 1.0, len(defaults))
    switches = [not hasattr(kind, "low") for kind in rule.hyper.values()]
    return np.where(switches, rng.integers(0, 2, len(defaults)), scaled)


def same_powers(rule, h, like):
    """Return ``h`` with the hyperparameters of ``like`` that decide what its clock is."""
    h = h.copy()
    h[powers_of(rule)] = like[powers_of(rule)]
    return h


@pytest.mark.parametrize("rule", SHARING.values(), ids=lambda rule: rule.name)
def test_a_clock_is_what_its_powers_and_the_step_say(rule):
    rng = np.random.default_rng(0)
    first = drawn(rule, rng)
    own = rule.clock0(tuple(first))
    other = rule.clock0(tuple(same_powers(rule, drawn(rule, rng), first)))
    for _ in range(50):
        assert own == other
        own, _ = rule.tick(tuple(first), own)
        other, _ = rule.tick(tuple(same_powers(rule, drawn(rule, rng), first)), other)


@pytest.mark.parametrize("rule", SHARING.values(), ids=lambda rule: rule.name)
def test_computed_once_they_have_the_same_bits(rule):
    rng = np.random.default_rng(1)
    lanes = [drawn(rule, rng) for _ in range(WIDTH)]
    lanes = np.array([same_powers(rule, h, lanes[0]) for h in lanes])
    clock = rule.clock0(tuple(lanes[0]))
    common = tuple(k in powers_of(rule) for k in range(len(rule.hyper)))
    template = ticking(rule.tick, len(rule.hyper), len(clock), common)
    run = njit(error_model="numpy", fastmath={"contract"})(template)
    columns = np.concatenate([lanes.T, np.tile(np.array(clock)[:, None], WIDTH)]).ravel()
    once, each = (np.concatenate([np.ones(H), columns]) for _ in range(2))
    now = [np.zeros(WIDTH * len(rule.tick(tuple(lanes[0]), clock)[1])) for _ in range(2)]
    for _ in range(200):
        run(once, now[0], True)
        run(each, now[1], False)
        np.testing.assert_array_equal(once, each)
        np.testing.assert_array_equal(*now)
    assert np.ptp(now[0].reshape(-1, WIDTH), axis=1).any()  # lanes do differ


def test_neighbours_with_other_betas_do_not_change_a_trial():
    """In a block of its own, padded, and in blocks of five or of all values of beta1."""
    banana, lrs = problems.rosenbrock(), geomspace(1e-3, 0.1, 2 * WIDTH)[:]
    betas = [0.5, 0.8, 0.9]
    few, many = ({"lr": some, "beta1": betas} for some in (lrs[:5], lrs))
    told = {"optimizer": "adam", "steps": 50, "progress": False}
    together = sweep(banana, many, **told).to_frame()
    mixed = sweep(banana, few, **told).to_frame()
    for beta in betas:
        alone = sweep(banana, {"lr": lrs[:5], "beta1": [beta]}, **told).to_frame()
        for frame in (mixed, together[together.lr.isin(lrs[:5])]):
            assert_same_bits(frame[frame.beta1 == beta], alone, ["train_loss", "path_length"])


def test_lanes_are_dealt_by_length_then_schedule_then_decay():
    settings = np.zeros(4 * WIDTH, SETTINGS)
    settings["steps"][:WIDTH] = 7
    settings["schedule"][WIDTH : 2 * WIDTH] = 1
    decays = np.tile([0.9, 0.8], 2 * WIDTH)[:, None]
    dealt = deal_to_lanes(settings, decays).reshape(-1, WIDTH)
    kinds = [{(settings["steps"][i], settings["schedule"][i]) for i in row} for row in dealt]
    assert kinds == [{(7, 0)}, {(0, 0)}, {(0, 0)}, {(0, 1)}]
    assert [len({*decays[row, 0]}) for row in dealt] == [2, 1, 1, 2]
