"""Reduced sweeps in a store: killed anywhere and run again, they come to the same."""

import os

import numpy as np
import pandas as pd
import pytest

from fastopt.errors import SpecError, StoreError
from sweeps import KeepBest, SweepResult, histogram, linspace
from sweeps.store.compact import compact
from sweeps.store.folds import FoldWriter
from sweeps.store.status import status
from tests.helpers.stores import Dead, Disk, files, run, same_frames

SPACE = {"lr": linspace(0.001, 1.0, 30), "seed": [0]}

pytestmark = pytest.mark.usefixtures("small_chunks", "short_runs")


@pytest.fixture
def short_runs(monkeypatch):
    """Of the 8 chunks, two times three become one part, and two stay as they are."""
    monkeypatch.setattr("sweeps.store.folds.LEAST_RUN", 3)


class Order:
    """A user's reducer: the numbers of the trials as they are merged, and a note of them."""

    def __init__(self, note=1):
        self.note = note

    def check(self, plan):
        """Nothing to check."""

    def fold(self, plan, rows):
        """Return the numbers of these trials."""
        return rows.ids

    def merge(self, plan, before, after):
        """Put one behind the other."""
        return np.concatenate([before, after])

    def result(self, plan, summary, info):
        """Return the numbers in a frame."""
        return pd.DataFrame({"trial_id": summary})

    def pack(self, summary):
        """Return the numbers as an array."""
        return {"ids": summary}

    def unpack(self, arrays):
        """Return the numbers."""
        return arrays["ids"]


REDUCERS = {
    "best": (KeepBest(5), {"curves": True}),
    "one": (KeepBest(1), {"mode": "max"}),
    "counts": (histogram("train_loss", [0.1, 1.0, 10.0]), {}),
    "own": (Order(), {}),
}
every_reducer = pytest.mark.parametrize(("reducer", "how"), REDUCERS.values(), ids=REDUCERS)


def reduced(store=None, reducer=REDUCERS["best"][0], **options):
    return run(store, SPACE, reduce=reducer, **options)


def same(actual, expected):
    if isinstance(expected, SweepResult):
        same_frames(actual.to_frame(), expected.to_frame())
        if expected._curves is not None:
            same_frames(actual.curves(), expected.curves())
    else:
        same_frames(actual, expected)
        for name in ("finished", "missing"):
            assert actual.attrs.get(name) == expected.attrs.get(name)


@every_reducer
def test_a_store_changes_nothing_and_nothing_runs_twice(reducer, how, tmp_path, monkeypatch):
    expected = reduced(reducer=reducer, **how)
    store = tmp_path / "store"
    same(reduced(store, reducer, **how), expected)
    same(reduced(tmp_path / "two", reducer, executor="threads", n_jobs=2, **how), expected)
    monkeypatch.setattr("sweeps.running.jobs.run_chunk", lambda *a, **k: pytest.fail("it ran"))
    again = reduced(store, reducer, **how)
    same(again, expected)
    if not isinstance(again, pd.DataFrame):
        assert again.info["reused"] == again.info["finished"] == 30
    facts = status(store)
    assert (facts["finished"], facts["trials"], facts["chunks_done"]) == (30, 30, 8)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.soak)])
@every_reducer
def test_a_death_at_any_operation_changes_nothing(reducer, how, step, tmp_path):
    expected = reduced(reducer=reducer, **how)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        reduced(tmp_path / "all", reducer, **how)
    for k in range(step, disk.count + 1, step):
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, k, ("nothing", "data", "names")[k % 3])
            with pytest.raises(Dead):
                reduced(tmp_path / str(k), reducer, **how)
        same(reduced(tmp_path / str(k), reducer, **how), expected)
        assert status(tmp_path / str(k))["chunks_done"] == 8
        assert compact(tmp_path / str(k)).parts_after == len(files(tmp_path / str(k))) == 4


@every_reducer
def test_what_is_damaged_or_lost_runs_again(reducer, how, tmp_path):
    expected, store = reduced(reducer=reducer, **how), tmp_path / "store"
    reduced(store, reducer, **how)
    first, *_, last = files(store)
    os.truncate(first, first.stat().st_size // 2)
    last.unlink()
    with pytest.warns(UserWarning, match="damaged"):
        same(reduced(store, reducer, **how), expected)
    assert compact(store).parts_after == 4


def test_shards_of_a_reduced_sweep_meet_in_the_store(tmp_path):
    expected, store = reduced(reducer=Order()), tmp_path / "store"
    for shard in ("1/2", "0/2"):
        part = reduced(store, Order(), shard=shard)
        assert 0 < len(part) < 30
        assert part.trial_id.is_monotonic_increasing
    same(reduced(store, Order()), expected)
    with pytest.raises(StoreError, match="go on without shard="):
        reduced(store, Order(), shard="0/2")


def test_a_run_that_another_process_has_put_together_is_found(tmp_path, monkeypatch):
    expected, store = reduced(reducer=Order()), tmp_path / "store"
    with monkeypatch.context() as patch:
        Disk(patch, 20)
        with pytest.raises(Dead):
            reduced(store, Order())
    begun, remaining = len(files(store)), FoldWriter.remaining

    def the_other_is_faster(self):
        monkeypatch.setattr(FoldWriter, "remaining", remaining)
        same(reduced(store, Order()), expected)
        return remaining(self)

    monkeypatch.setattr(FoldWriter, "remaining", the_other_is_faster)
    same(reduced(store, Order()), expected)
    assert 0 < begun < 3
    assert len(files(store)) == 4


class Shapeless(Order):
    pack = None


class Words(Order):
    def pack(self, summary):
        """Return what no store keeps."""
        return {"ids": np.array(["a"])}


OTHER = [
    ({"reduce": KeepBest(6)}, "reduce.k: 5 in the store, 6 now"),
    ({"reduce": histogram("lr", [0.1])}, "reduce.kind: KeepBest in the store, Histogram now"),
    ({"reduce": None}, "reduce: {'kind': 'KeepBest', 'k': 5} in the store, nothing now"),
    ({"reduce": Order(), "store": "own"}, "reduce.fields.note: 2 in the store, 1 now"),
    ({"steps": 16}, "keywords.steps: 15 in the store, 16 now"),
    ({"space": {**SPACE, "seed": [0, 1]}}, r"parts\[0\].seed: .* \(a reduced sweep does not grow"),
    ({"reduce": Shapeless(), "store": "new"}, r"needs methods pack\(summary\)"),
]


@pytest.mark.parametrize(("change", "message"), OTHER)
def test_another_sweep_is_refused(change, message, tmp_path):
    how = {"space": SPACE, "reduce": KeepBest(5), "steps": 15, "store": "best"}
    change = {**how, **change}
    for name, reducer in {"best": KeepBest(5), "own": Order(2)}.items():
        run(tmp_path / name, SPACE, reduce=reducer)
    with pytest.raises(SpecError, match=message):
        run(**{**change, "store": tmp_path / change["store"]})
    assert not (tmp_path / "new").exists()


def test_there_are_no_trials_to_open_and_no_words_to_keep(tmp_path):
    reduced(tmp_path / "store")
    with pytest.raises(StoreError, match=r"what reduce=... keeps of a sweep, KeepBest, and no tri"):
        SweepResult.open(tmp_path / "store")
    with pytest.raises(SpecError, match=r"keeps arrays of numbers; .* 'ids' of dtype <U1"):
        reduced(tmp_path / "other", Words())
