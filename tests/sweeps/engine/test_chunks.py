"""Chunks are a pure function of the plan, and their rows do not depend on how they are cut."""

import pickle
import threading

import numpy as np
import pytest

from sweeps import SweepResult, logspace, problems
from sweeps.engine import chunks as chunks_module
from sweeps.engine.chunks import Chunks, Rows, chunk_size, launch_size, run_chunk
from sweeps.engine.lane_plan import LanePlan
from sweeps.engine.options import Options
from sweeps.running.collect import Collector
from sweeps.space.space import Space

SPACE = {"optimizer": ["sgd", "adam"], "lr": logspace(1e-3, 1e-1, 50), "seed": range(2)}


def planned(space, steps=20, curves=False):
    options = Options(
        defaults={"optimizer": "adam", "steps": steps, "epochs": None, "seed": 0,
                  "schedule": "constant"},
        metric="train_loss", mode="min", target=None, diverge_above=np.inf, eval_every=None,
        curves=curves,
    )  # fmt: skip
    return LanePlan(problems.ellipse(), Space(space), options)


@pytest.mark.parametrize("size", [1, 3, 7, 10, 99])
def test_chunks_cover_every_trial_once(size):
    chunks = Chunks(10, size)
    assert np.concatenate([chunk.ids for chunk in chunks]).tolist() == list(range(10))
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.number for chunk in chunks[::2]] == list(range(0, len(chunks), 2))
    with pytest.raises(IndexError):
        chunks[len(chunks)]


def test_chunks_of_a_huge_sweep_cost_nothing():
    chunks = Chunks(10**12, 1 << 16)
    assert len(chunks) == 15_258_790
    assert chunks[-1].ids[-1] == 10**12 - 1


@pytest.mark.parametrize("steps", [1, 10**4, 10**6, 10**9, 10**12])
def test_a_chunk_costs_about_a_second_of_one_core(steps):
    plan = planned({"lr": logspace(1e-3, 1e-1, 10**7)}, steps)
    size, cost = chunk_size(plan), plan.sample.cost
    seconds = size * cost / 1e9
    at_most = size == chunks_module.MOST_TRIALS
    assert size % plan.n_lanes == 0
    assert at_most or size == plan.n_lanes or 0.2 <= seconds <= 2.0
    assert seconds <= 2.0 or size == plan.n_lanes


def test_a_short_sweep_is_cut_for_many_cores():
    plan = planned({"lr": logspace(1e-3, 1e-1, 10**4)}, 4 * 10**5)
    assert 60 < len(Chunks(plan.size, chunk_size(plan))) <= 100


def test_a_few_long_trials_make_chunks_smaller():
    cheap, mixed = ({"steps": [1000] * 99 + [last]} for last in (1001, 1000_000))
    with pytest.warns(UserWarning, match="more than once"):
        sizes = [chunk_size(planned({"lr": range(1, 10001), **s})) for s in (cheap, mixed)]
    assert sizes[1] < sizes[0] / 20


def test_results_of_a_chunk_are_bounded_in_memory():
    plan = planned({"lr": logspace(1e-3, 1e-1, 10**7)}, 1000, curves=True)
    assert chunk_size(plan) * plan.sample.row <= chunks_module.MOST_BYTES
    assert launch_size(plan) * plan.sample.row <= 16 * chunks_module.MOST_BYTES


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_rows_do_not_depend_on_the_chunks(size):
    space = {**SPACE, "steps": [7, 20]}
    plan = planned(space, steps=None, curves=True)
    whole, parts = Collector(plan), Collector(plan)
    everything = Chunks(plan.size, plan.size)[0]
    whole.add(everything, run_chunk(plan, everything.ids, 2))
    cut = Chunks(plan.size, size)
    some = cut if size > 1 else cut[::40]
    for chunk in reversed(some):
        parts.add(chunk, pickle.loads(pickle.dumps(run_chunk(plan, chunk.ids))))
    expected, actual = (SweepResult(*c.result(1.0, False)) for c in (whole, parts))
    if size > 1:
        same(actual.columns, expected.columns)
        assert actual.curves().equals(expected.curves())
    else:
        rows = actual.columns["trial_id"]
        same(actual.columns, {k: c[rows] for k, c in expected.columns.items()})


def test_a_chunk_that_is_stopped_returns_what_is_finished():
    plan, stop = planned(SPACE, steps=10**9), threading.Event()
    rows = run_chunk(plan, np.arange(200), 1, lambda *_: stop.set(), stop)
    assert len(rows) < 200
    assert rows.out.shape == (len(rows), len(plan.results))


def test_a_failed_trial_has_its_reason_in_the_result():
    plan = planned({"lr": [0.1, 0.2]})
    collected, chunk = Collector(plan), Chunks(2, 2)[0]
    good = run_chunk(plan, chunk.ids[:1])
    failed = Rows(
        chunk.ids[1:], np.array([3], np.int8), np.full((1, len(plan.results)), np.nan),
        np.empty((1, 0, len(plan.curve))), 0, {1: "it killed its worker"},
    )  # fmt: skip
    collected.add(chunk, failed)
    collected.add(chunk, good)
    result = SweepResult(*collected.result(1.0, False))
    assert result.counts["FAILED"] == 1
    assert result.to_frame()["error"].isna().tolist() == [True, False]
    assert result.to_frame()["error"][1] == "it killed its worker"
