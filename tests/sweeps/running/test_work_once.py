"""What a sweep and a trace find out about their trials, they find out once."""

import inspect

import numpy as np
import pytest

from sweeps import diagnose, histogram, problems, run, sweep, trace
from sweeps.engine import plan as planning
from sweeps.running import estimate
from sweeps.running.check import SETTINGS
from sweeps.store import writer
from sweeps.tracing import trace as tracing

# Of adam on the ellipse, a kernel that other tests compile, too.
SPACE = {"lr": [0.01, 0.1], "seed": range(3)}
HOW = {"optimizer": "adam", "steps": 15, "n_jobs": 1}


def counting(monkeypatch, *places):
    """Count the calls of functions, each by the modules that it is looked up in."""
    calls = []
    for module, name in places:
        original = getattr(module, name)

        def counted(*args, original=original, name=name, **options):
            calls.append(name)
            return original(*args, **options)

        monkeypatch.setattr(module, name, counted)
    return calls


SAMPLES = (planning, "sampled")
SIZES = tuple((module, "chunk_size") for module in (run, estimate, writer))

PLACES = {
    "here": ({"progress": False}, 0, 0),
    "here, with progress": ({}, 1, 0),
    "curves": ({"curves": True}, 1, 0),
    "executor": ({"executor": "threads"}, 1, 1),
    "reduced": ({"executor": "threads", "reduce": histogram("train_loss", [1.0])}, 1, 1),
    "pruned": ({"pruner": "successive_halving", "curves": True}, 1, 0),
    "stored": ({"store": True}, 1, 1),
    "stored curves": ({"store": True, "curves": True, "executor": "threads"}, 1, 1),
}


@pytest.mark.parametrize(("how", "samples", "sizes"), PLACES.values(), ids=PLACES)
def test_trials_are_sampled_and_cut_into_chunks_once(how, samples, sizes, tmp_path, monkeypatch):
    calls = counting(monkeypatch, SAMPLES, *SIZES)
    if "store" in how:
        how = {**how, "store": tmp_path / "store"}
    sweep(problems.ellipse(), SPACE, **HOW, **how)
    assert (calls.count("sampled"), calls.count("chunk_size")) == (samples, sizes)


def test_a_sample_is_of_the_plan_that_has_it():
    """A plan that is varied is looked at anew."""
    plan = sweep(problems.ellipse(), SPACE, progress=False, **HOW).plan
    longer = {**SPACE, "steps": [30]}
    longer = sweep(problems.ellipse(), longer, optimizer="adam", n_jobs=1, progress=False).plan
    assert plan.sample is plan.sample
    assert plan.sample.steps == 15
    assert plan.varied(space=longer.space).sample.steps == 30
    assert plan.sample.steps == 15


def test_a_trace_trains_twice_and_a_replay_too(monkeypatch):
    """Once for how long the trial is, by its patience or target, and once for every step."""
    result = sweep(problems.ellipse(), SPACE, progress=False, **HOW)
    calls = counting(monkeypatch, (tracing, "run_together"))
    told = trace(problems.ellipse(), "adam", lr=0.1, steps=15)
    assert len(calls) == 2
    again = result.replay(3)
    assert len(calls) == 4
    for name in told:
        np.testing.assert_array_equal(told[name], again[name])


def test_a_walk_through_data_trains_only_by_itself(monkeypatch):
    calls = counting(monkeypatch, (tracing, "run_together"))
    diagnose(problems.iris(hidden=(8,), dtype="float64"), "sgd", lr=0.05, steps=30)
    assert calls == []


def test_the_signature_says_the_defaults_that_are_checked():
    signature = inspect.signature(sweep).parameters.values()
    said = {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY}
    assert {name: said.pop(name) for name in SETTINGS} == SETTINGS
    assert {*said} == {*run.PLACES, "n_jobs"}
