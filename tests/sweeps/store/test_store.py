"""Stored sweeps: the frames of those in memory; resumed, extended, refused, read, exported."""

import dataclasses
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fastopt import schedules
from fastopt.errors import SpecError, StoreError, SweepWarning
from sweeps import SweepResult, estimate, logspace, problems, sweep, uniform, zipped
from sweeps.engine import chunks
from sweeps.space.space import Space
from sweeps.store import folder
from sweeps.store.changes import differences
from sweeps.store.compact import compact
from sweeps.store.documents import digest
from sweeps.store.identity import describe, identity
from sweeps.store.reuse import effective_defaults, encode_values, hash_rows
from sweeps.store.status import status
from tests.helpers import commands
from tests.helpers.stores import SPACE, files, run, same_frames, same_results
from tests.sweeps.engine.test_chunks import planned

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "MOST_TRIALS", 4)
    monkeypatch.setattr(folder, "provenance", dict)


UNLIKE = {
    "product": (SPACE, {}),
    "curves": (SPACE, {"curves": True}),
    "names": ({"optimizer": ["sgd", "adam"], **SPACE}, {}),
    "schedules": (
        {"schedule": ["constant", schedules.step(step_size=5)], "lr": [0.1, 0.2, 0.3]},
        {},
    ),
    "steps": ({"steps": [3, 15, 4], "lr": [0.1, 0.2]}, {"steps": None}),
    "union": ([{"lr": [0.1, 0.2], "seed": [3]}, {"beta1": [0.5], "maximize": [True]}], {}),
    "tied": ({**zipped({"lr": [0.1, 0.2], "beta1": [0.5, 0.6]}), "seed": range(3)}, {}),
    "drawn": ({"lr": uniform(0.1, 1.0, 9, seed=3)}, {}),
    "one": ({}, {"target": 20.0}),
    "distance": (SPACE, {"metric": "distance", "target": 9.0}),
}  # fmt: skip


@pytest.mark.parametrize("name", UNLIKE)
def test_a_stored_sweep_is_that_in_memory(name, tmp_path):
    space, options = UNLIKE[name]
    expected = run(None, space, **options)
    store = tmp_path / "store"
    same_results(run(store, space, **options), expected, tmp_path)
    again = run(store, space, **options)
    assert again.info["reused"] == len(expected)
    same_results(again, expected, tmp_path)
    assert {*again.columns} == {*expected.columns}
    for column in expected.columns:
        np.testing.assert_array_equal(again.columns[column], expected.columns[column])
    opened = SweepResult.open(store)
    same_results(opened, expected, tmp_path)
    assert repr(opened).splitlines()[0] == repr(expected).splitlines()[0]
    compact(store)
    same_results(SweepResult.open(store), expected, tmp_path)
    assert run(store, space, **options).info["reused"] == len(expected)


def test_results_of_a_store_do_what_results_do(tmp_path):
    space = {"optimizer": ["sgd", "adam"], "lr": [0.01, 0.05, 0.1], "seed": range(2)}
    here, stored = run(None, space), run(tmp_path / "a", space)
    opened = SweepResult.open(tmp_path / "a")
    for result in (stored, opened):
        assert result.best_params_ == here.best_params_
        assert result.counts == here.counts
        same_frames(result.best(3), here.best(3))
        same_frames(result.over_seeds(), here.over_seeds())
        same_frames(result.edges(), here.edges())
        same_frames(result.importance(), here.importance())
    same_frames(stored.replay(3), here.replay(3))
    with pytest.raises(SpecError, match="does not know its problem"):
        opened.replay(3)


def test_chunks_that_are_missing_run_again_on_any_number_of_threads(tmp_path):
    expected, store = run(curves=True), tmp_path / "store"
    run(store, curves=True)
    for kind in ("parts", "curves"):
        for n_jobs, path in enumerate(files(store, kind), 1):
            path.unlink()
            result = run(store, curves=True, n_jobs=n_jobs)
            assert result.info["reused"] == 4
            same_results(result, expected, tmp_path)


def test_an_interrupted_sweep_is_open_to_readers(tmp_path):
    expected, store = run().to_frame(), tmp_path / "store"
    run(store)
    files(store)[0].unlink()
    part = SweepResult.open(store)
    assert part.info["interrupted"]
    assert part.info["n_trials"] == 8
    same_frames(part.to_frame(), expected.iloc[4:].reset_index(drop=True))
    files(store)[0].unlink()
    assert len(SweepResult.open(store)) == 0
    same_frames(SweepResult.open(store).to_frame(), expected.iloc[:0])


GROWN = {
    "seeds": {**SPACE, "seed": range(5)},
    "values": {**SPACE, "lr": [0.02, 0.5, 0.01, 0.1, 0.3, 200.0]},
    "spaced": {**SPACE, "lr": [*SPACE["lr"], *logspace(1e-3, 1.0, 3)]},
    "a keyword": {**SPACE, "optimizer": ["sgd", "adam"]},
    "steps": {"steps": [15, 20], **SPACE},
    "a new axis": {**SPACE, "beta1": [0.9, 0.5]},
    "a union": [SPACE, {"lr": [0.7], "beta1": [0.5]}],
}


@pytest.mark.filterwarnings("ignore:.*has no effect")
@pytest.mark.parametrize("curves", [False, True])
@pytest.mark.parametrize("name", GROWN)
def test_a_larger_grid_reuses_finished_trials_by_their_values(name, curves, tmp_path):
    store, space = tmp_path / "store", GROWN[name]
    run(store, curves=curves)
    result = run(store, space, curves=curves)
    assert result.info["reused"] == 8
    same_results(result, run(None, space, curves=curves), tmp_path)
    same_results(SweepResult.open(store), run(None, space, curves=curves), tmp_path)
    before = run(store, curves=curves)  # the smaller one is still there
    assert before.info["reused"] == 8
    same_results(before, run(curves=curves), tmp_path)
    compact(store)
    assert run(store, space, curves=curves).info["reused"] == result.info["n_trials"]


def test_what_trials_without_an_axis_have():
    """A keyword, else the default of the rule; nothing where rules or other names may differ."""

    def settings(space, names, **keywords):
        return effective_defaults(identity(planned({**space, "lr": 0.1}, **keywords), 4), names)

    assert settings({}, ["beta1", "seed"])["beta1"] == 0.9
    assert settings({"optimizer": ["adam", "nadam"]}, ["beta2"])["beta2"] == 0.999
    assert "weight_decay" not in settings({"optimizer": ["adam", "adamw"]}, ["weight_decay"])
    # The decay of heavy-ball's moment is momentum, and beta1 sets it, too.
    assert settings({"optimizer": "momentum"}, ["momentum"])["momentum"] == 0.9
    assert "momentum" not in settings({"optimizer": "momentum", "beta1": [0.5]}, ["momentum"])


def test_an_unfinished_grid_can_grow(tmp_path):
    store, space = tmp_path / "store", GROWN["seeds"]
    run(store)
    files(store)[1].unlink()
    result = run(store, space)
    assert result.info["reused"] == 4
    same_results(result, run(None, space), tmp_path)


def test_extend_and_zoom_of_a_stored_result_stay_in_the_store(tmp_path):
    here, stored = run(), run(tmp_path / "store")
    more = {"seed": [2], "lr": [0.3]}
    expected = here.extend(more, progress=False)
    actual = stored.extend(more, progress=False)
    assert actual.info["reused"] == 8
    same_frames(actual.to_frame(), expected.to_frame())
    same_frames(SweepResult.open(tmp_path / "store").to_frame(), expected.to_frame())
    finer = actual.zoom("lr", 2, progress=False)
    assert finer.info["reused"] == len(expected)
    same_frames(finer.to_frame(), expected.zoom("lr", 2, progress=False).to_frame())


def test_values_are_told_apart_exactly():
    columns = {
        "a": np.array([1.0, 1.0 + 2**-52, 0.0, 2.0, 5e-324]),
        "b": np.array([2**53, 2**53 + 1, -1, 0, 1]),
        "c": np.array(["adam", None, "sgd", None, "adam"], object),
    }
    codes = encode_values(columns, ["a", "b", "c", "d"], {"c": "adam", "d": 0.5}, 5)
    assert all(len(set(column)) == 5 for column in codes[:, :2].T.tolist())
    assert codes[:, 2].tolist() == [codes[0, 2]] * 2 + [codes[2, 2]] + [codes[0, 2]] * 2
    assert len(set(hash_rows(codes).tolist())) == 5
    whole = encode_values({"a": np.array([1, 2])}, ["a"], {}, 2)
    assert whole.tolist() == encode_values({"a": np.array([1.0, 2.0])}, ["a"], {}, 2).tolist()


def test_what_only_looks_like_a_known_trial_is_not_taken(tmp_path, monkeypatch):
    """A hash finds, the values decide."""
    from sweeps.store import reuse

    store, space = tmp_path / "store", GROWN["seeds"]
    run(store)
    monkeypatch.setattr(reuse, "hash_rows", lambda codes: np.zeros(len(codes), np.uint64))
    result = run(store, space)
    assert result.info["reused"] <= 1
    same_results(result, run(None, space), tmp_path)


CHANGED = {
    "steps": ({"steps": 16}, SPACE, "keywords.steps: 15 in the store, 16 now"),
    "optimizer": ({"optimizer": "sgd"}, SPACE, "keywords.optimizer: adam in the store, sgd now"),
    "option": ({"target": 3.0}, SPACE, "options.target: nothing in the store, 3.0 now"),
    "curves": ({"curves": True}, SPACE, "options.curves: False in the store, True now"),
    "keyword": ({"beta1": 0.8}, SPACE, "keywords.beta1: nothing in the store, 0.8 now"),
    "values": ({}, {**SPACE, "lr": [0.01, 0.1, 3.0]}, "axis lr: 0.5, 200.0 in the store, but not"),
    "seeds": ({}, {**SPACE, "seed": [1, 2]}, "axis seed: 0 in the store, but not now"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_another_sweep_is_refused_with_what_differs(name, tmp_path):
    options, space, message = CHANGED[name]
    store = tmp_path / "store"
    run(store)
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    with pytest.raises(SpecError) as error:
        run(store, space, **options)
    assert message in str(error.value)
    assert str(store) in str(error.value)
    assert "name another folder" in str(error.value)
    assert before == {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}


def bowl(aux=10.0):
    return problems.landscape(lambda x, y: (x * x + y * y, (2 * x, 2 * y)), start=(aux, 1.0))


def test_another_problem_is_refused(tmp_path):
    run(tmp_path / "store")
    with pytest.raises(SpecError, match=r"problem.name: ellipse in the store, .* now"):
        sweep(bowl(), SPACE, optimizer="adam", steps=15, store=tmp_path / "store", progress=False)


def test_arrays_and_code_are_part_of_the_problem():
    documents = [describe(problem) for problem in (
        problems.iris(hidden=(8,)), problems.iris(hidden=(8,), dtype="float64"),
        problems.iris(hidden=(9,)), problems.digits(), bowl(), bowl(9.0), problems.ellipse(),
    )]  # fmt: skip
    assert len({digest(document) for document in documents}) == len(documents)
    assert describe(problems.iris(hidden=(8,))) == documents[0]
    X = documents[0]["X"]
    moved = problems.iris(hidden=(8,))
    moved.X[0, 0] += 1e-6
    assert describe(moved)["X"] != X


def test_ranges_and_draws_grow_without_being_listed(tmp_path):
    def unlike(old, new):
        return differences(*(identity(planned({"lr": 0.1, **s}), 4) for s in (old, new)))

    assert not unlike({"seed": range(2**40)}, {"seed": range(2**41)})
    assert unlike({"seed": range(2**41)}, {"seed": range(2**40)})
    assert not unlike({"lr": uniform(1, 2, 10)}, {"lr": uniform(1, 2, 20)})
    assert unlike({"lr": uniform(1, 2, 10)}, {"lr": uniform(1, 2, 20, seed=1)})
    huge = [{"lr": logspace(1, high, 2**30)} for high in (2, 3)]
    assert not unlike(huge[0], huge[0])
    assert unlike(*huge)


GRID = Space({"lr": logspace(1e-3, 1e-1, 100), "seed": range(10)})
SELECTED = [
    (GRID[:5], GRID[:8], True),
    (GRID[:5], GRID[3:8], False),  # as many trials, and not the same
    (GRID[:5], GRID[3:100], False),
    (GRID[2:20:4], GRID[:20:2], True),
    (GRID[:20:2], GRID[:40:4], False),
    (GRID[3:4], GRID[1:9:2], True),
    (GRID[:5], GRID, True),
    (GRID, GRID[:5], False),
    (GRID.sample(6), GRID.sample(6, seed=1), False),
    (GRID.sample(6), GRID[:20], False),
]


@pytest.mark.parametrize("k", range(len(SELECTED)))
def test_a_slice_or_sample_has_lost_trials_or_has_not(k):
    before, now, grown = SELECTED[k]
    lost = f"space: {before.size} trials in the store, not all of them among the {now.size} now"
    found = differences(*(identity(planned(space), 4) for space in (before, now)))
    assert found == ([] if grown else [lost])


def test_values_that_an_axis_has_lost_are_told_and_counted(monkeypatch):
    def lost(old, new):
        return differences(*(identity(planned({"lr": 0.1, **s}), 4) for s in (old, new)))

    seven = {"lr": [float(k) for k in range(1, 8)]}
    told = "axis lr: 1.0, 2.0, 3.0, 4.0, 5.0{} in the store, but not now"
    assert lost(seven, {"lr": [9.0]}) == [told.format(" and 2 more")]
    assert lost(seven, {"lr": [6.0, 7.0]}) == [told.format("")]
    monkeypatch.setattr("sweeps.store.changes.MOST_LISTED", 4)
    assert lost({"seed": range(4)}, {"seed": [3, 2, 1, 0]}) == []
    assert lost({"seed": range(5)}, {"seed": [4, 3, 2, 1, 0]}) != []  # not listed any more


def test_a_pruned_sweep_does_not_grow():
    few, more = (
        {**identity(planned({"lr": rates}), 4), "pruner": {"name": "asha"}}
        for rates in ([0.1], [0.1, 0.2])
    )
    assert differences(few, few) == []
    told = "space.parts[0].lr: [0.1] in the store, [0.1, 0.2] now (a pruned sweep does not grow)"
    assert differences(few, more) == [told]
    other = {**more, "pruner": {"name": "halving"}}
    assert differences(few, other) == ["pruner.name: asha in the store, halving now"]


def test_a_sample_can_grow(tmp_path):
    space = Space({"lr": logspace(1e-3, 1e-1, 100), "seed": range(10)})
    store = tmp_path / "store"
    run(store, space.sample(6))
    result = run(store, space.sample(10))
    assert result.info["reused"] == 6
    same_results(result, run(None, space.sample(10)), tmp_path)
    with pytest.raises(SpecError, match="trials in the store, not all of them among the 6 now"):
        run(store, space.sample(6, seed=1))


def test_other_versions_are_said_and_do_not_stop(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "provenance", lambda: {"numba": "0.68.1", "git": "abc"})
    run(tmp_path / "store")
    monkeypatch.setattr(folder, "provenance", lambda: {"numba": "0.69.0", "git": "def"})
    with pytest.warns(SweepWarning, match="begun with numba 0.68.1 -> 0.69.0"):
        assert run(tmp_path / "store").info["reused"] == 8


def test_failed_trials_keep_their_reasons(tmp_path):
    from sweeps.engine.chunks import run_chunk
    from sweeps.store.writer import StoreWriter

    sweep_of = planned(SPACE, steps=15)
    writer = StoreWriter(sweep_of, tmp_path / "store")
    first, second = writer.remaining()
    writer.add(first, run_chunk(sweep_of, first.ids))
    rows = run_chunk(sweep_of, second.ids)
    state, out = rows.state.copy(), rows.out.copy()
    state[1], out[1] = 3, np.nan
    writer.add(second, dataclasses.replace(rows, state=state, out=out, errors={5: "killed"}))
    for result in (SweepResult(*writer.result(1.0, False)), SweepResult.open(tmp_path / "store")):
        frame = result.to_frame()
        assert result.counts["FAILED"] == 1
        assert frame["error"].isna().tolist() == [k != 5 for k in range(8)]
        assert frame["error"][5] == "killed"
        assert frame["state"][5] == "FAILED"
    grown = StoreWriter(planned({**SPACE, "seed": range(3)}, steps=15), tmp_path / "store")
    for chunk in grown.remaining():
        grown.add(chunk, run_chunk(grown.plan, chunk.ids))
    frame = SweepResult(*grown.result(1.0, False)).to_frame()
    assert frame["error"].dropna().tolist() == ["killed"]
    assert frame.loc[frame["state"] == "FAILED", ["lr", "seed"]].values.tolist() == [[0.5, 1]]


def test_a_chunk_that_was_stopped_in_the_middle_is_not_stored(tmp_path):
    from sweeps.engine.chunks import run_chunk
    from sweeps.store.writer import StoreWriter

    sweep_of = planned(SPACE, steps=15)
    writer = StoreWriter(sweep_of, tmp_path / "store")
    first, second = writer.remaining()
    writer.add(first, run_chunk(sweep_of, first.ids))
    writer.add(second, run_chunk(sweep_of, second.ids[:2]))
    result = SweepResult(*writer.result(1.0, True))
    assert result.to_frame()["trial_id"].tolist() == [0, 1, 2, 3]
    assert result.info["interrupted"]


def test_reading_reads_what_is_asked(tmp_path, monkeypatch):
    from sweeps.store import reader

    run(tmp_path / "store")
    asked = []
    original = reader.read_table

    def noted(path, columns, group):
        asked.append((path.name[:8], columns))
        return original(path, columns, group)

    monkeypatch.setattr(reader, "read_table", noted)
    result = SweepResult.open(tmp_path / "store")
    assert len(result) == 8
    assert not asked
    assert result.best_score_ < 10
    assert {column for _, columns in asked for column in columns} == {
        "trial_id",
        "lr",  # the settings,
        "seed",  # which whole numbers of this name repeat
        "state",
        "train_loss",
    }
    asked.clear()
    assert result.columns.select(np.array([5]))["lr"] == [0.5]
    assert [part for part, _ in asked] == ["00000001"]


def test_columns_and_filters(tmp_path):
    expected = run(tmp_path / "store").to_frame()
    frame = SweepResult.open(tmp_path / "store", columns=["lr"]).to_frame()
    same_frames(frame, expected[["trial_id", "lr", "state", "train_loss"]])
    filters = [("state", "==", "COMPLETE"), ("lr", "<", 0.4)]
    kept = (expected["state"] == "COMPLETE") & (expected["lr"] < 0.4)
    some = SweepResult.open(tmp_path / "store", filters=filters)
    same_frames(some.to_frame(), expected[kept].reset_index(drop=True))
    with pytest.raises(SpecError, match=r"no column 'lrr' [(]did you mean 'lr'"):
        SweepResult.open(tmp_path / "store", columns=["lrr"])
    with pytest.raises(SpecError, match="filters="):
        SweepResult.open(tmp_path / "store", filters=[("lrr", "<", 1)])


def test_parts_are_plain_parquet_with_checksums(tmp_path):
    run(tmp_path / "store")
    frames = [pd.read_parquet(path) for path in files(tmp_path / "store")]
    table = pd.concat(frames, ignore_index=True)
    assert table["trial_id"].tolist() == list(range(8))
    assert table["state"].tolist() == run().to_frame()["state"].astype(str).tolist()
    path = files(tmp_path / "store")[0]
    data = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(4)
    data[column.data_page_offset + column.total_compressed_size - 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=f"{path.name} cannot be read.*Run the command"):
        SweepResult.open(tmp_path / "store").to_frame()


def test_the_document_of_a_sweep_says_what_it_is(tmp_path):
    run(tmp_path / "store")
    document = json.loads((tmp_path / "store/spec.json").read_text())
    assert document["identity"]["space"]["parts"] == [
        {"lr": SPACE["lr"], "seed": {"range": [0, 2, 1]}}
    ]
    assert document["identity"]["keywords"]["steps"] == 15
    assert document["digest"] == digest(document["identity"])


def test_provenance_has_versions_cpu_and_revision(monkeypatch):
    monkeypatch.undo()
    found = folder.provenance()
    assert {"fastopt", "numba", "Python", "CPU", "git"} <= {*found}
    revision = ["git", "rev-parse", "HEAD"]
    asked = subprocess.run(revision, capture_output=True, text=True, check=False).stdout.strip()
    assert found["git"] == (asked or None)


def test_status_counts_what_is_there(tmp_path):
    run(tmp_path / "store")
    files(tmp_path / "store")[0].unlink()
    facts = status(tmp_path / "store")
    assert (facts["trials"], facts["finished"]) == (8, 4)
    assert (facts["chunks"], facts["chunks_done"], facts["parts"]) == (2, 1, 1)
    frame = SweepResult.open(tmp_path / "store").to_frame()
    assert facts["states"] == {**dict.fromkeys(facts["states"], 0), **frame["state"].value_counts()}
    assert facts["core_seconds"] > 0
    assert len(facts["hosts"]) == 1
    with next((tmp_path / "store/facts").iterdir()).open("ab") as file:
        file.write(b'{"torn": ')
    assert status(tmp_path / "store") == {**facts, "bytes": facts["bytes"] + 9}


SPEC = """
[problem]
name = "ellipse"
[sweep]
optimizer = "adam"
steps = 15
[space]
lr = [0.01, 0.1, 0.5, 200.0]
seed = { range = 2 }
"""


def call(*args):
    done = commands.call(*args)
    assert "Traceback" not in done.output
    return done


def test_the_command_line_stores_resumes_shows_exports_and_compacts(tmp_path):
    (tmp_path / "a.toml").write_text(SPEC)
    store, out = tmp_path / "store", tmp_path / "out.csv"
    for reused in ("store.", "store, where 8 of them were already."):
        done = call("sweep", tmp_path / "a.toml", "--store", store)
        assert done.exit_code == 0, done.output
        assert reused in done.output
    shown = call("status", store).output
    assert "8 of 8 finished (100%)" in shown
    assert json.loads(call("status", store, "--json").output)["finished"] == 8
    assert "Saved 8 trials" in call("export", store, out).output
    assert out.read_bytes() == run().save(tmp_path / "here.csv").read_bytes()
    assert "2 parts of" in call("compact", store).output
    assert call("export", store, tmp_path / "b.csv").exit_code == 0
    assert out.read_bytes() == (tmp_path / "b.csv").read_bytes()
    (tmp_path / "a.toml").write_text(SPEC.replace("15", "16"))
    done = call("sweep", tmp_path / "a.toml", "--store", store)
    assert done.exit_code == 2
    assert "keywords.steps: 15 in the store, 16 now" in done.stderr


@pytest.mark.parametrize("command", ["status", "export", "compact"])
def test_a_missing_store_is_named(command, tmp_path):
    for path, message in ((tmp_path / "no", "there is no folder"), (tmp_path, "holds no sweep")):
        done = call(command, path, *([tmp_path / "out.csv"] if command == "export" else []))
        assert done.exit_code == 1
        assert message in done.stderr
        assert str(path) in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_spec_does_not_say_where(tmp_path):
    (tmp_path / "a.toml").write_text(SPEC.replace("steps = 15", 'steps = 15\nstore = "runs"'))
    done = call("sweep", tmp_path / "a.toml")
    assert done.exit_code == 2
    assert "no option 'store'" in done.stderr


def test_a_plan_may_name_the_store(tmp_path):
    found = estimate(problems.ellipse(), SPACE, steps=15, store=tmp_path / "store")
    assert found.n_trials == 8
    assert not (tmp_path / "store").exists()


ROUNDS = """
    import sys, time
    from pathlib import Path
    from sweeps.engine import chunks
    from tests.helpers.stores import run

    chunks.MOST_TRIALS = 2
    for k in range(int(sys.argv[2])):
        Path(sys.argv[1], f"{k}-{sys.argv[3]}").touch()
        while not Path(sys.argv[1], f"{k}-{1 - int(sys.argv[3])}").exists():
            time.sleep(0.001)
        result = run(Path(sys.argv[1], f"store{k}"), curves=True)
        result.save(Path(sys.argv[1], f"{k}-{sys.argv[3]}.csv"))
"""


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.soak)])
def test_two_processes_on_one_store_come_to_the_same(tmp_path, rounds):
    expected = run().save(tmp_path / "expected.csv").read_bytes()
    alike = "ignore:axis 'seed' means nothing to trials without chance"
    script = [sys.executable, "-W", "error", "-W", alike, "-c", textwrap.dedent(ROUNDS)]
    both = [
        subprocess.Popen([*script, str(tmp_path), str(rounds), str(k)], cwd=ROOT) for k in range(2)
    ]
    assert [process.wait(120) for process in both] == [0, 0]
    for k in range(rounds):
        assert [(tmp_path / f"{k}-{i}.csv").read_bytes() for i in range(2)] == [expected] * 2
        assert len(files(tmp_path / f"store{k}")) == 4
        assert not list((tmp_path / f"store{k}").rglob("*.draft"))
    shutil.rmtree(tmp_path / "store0")
