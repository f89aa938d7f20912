"""Stores with what does not belong there: links, pipes, holes, folders, numbers without an end."""

import json
import os
import signal
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastopt.errors import FastoptError, SpecError, StoredSpecError, StoreError, SweepWarning
from sweeps import SweepResult, problems, sweep
from sweeps.engine import chunks
from sweeps.store import folder, fs
from sweeps.store.compact import compact
from sweeps.store.documents import digest, parse_json
from sweeps.store.parts import Part, content_digest, encode_parquet, parse_name
from sweeps.store.status import status
from tests.helpers.stores import files, run, same_frames

pytestmark = pytest.mark.timeout(60)  # what is tested here is that it comes to an end


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "MOST_TRIALS", 4)
    monkeypatch.setattr(folder, "provenance", dict)


def bind(path):
    with socket.socket(socket.AF_UNIX) as server:  # whose names are short
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            server.bind(f"/proc/self/fd/{folder}/s")
        finally:
            os.close(folder)
    path.with_name("s").rename(path)


STRANGERS = {
    "link to nowhere": lambda path: path.symlink_to("/nonexistent"),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a folder": lambda path: path.symlink_to(path.parent),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to a file of another": lambda path: path.symlink_to(__file__),
    "pipe": lambda path: os.mkfifo(path),  # not on every system
    "socket": bind,
    "folder": os.mkdir,
    "full folder": lambda path: (path / "inside").mkdir(parents=True),
    "hole": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 9),
}
MEANS = {
    "part": lambda store: files(store)[1],
    "curve": lambda store: files(store, "curves")[0],
    "spec": lambda store: store / "spec.json",
}


@pytest.mark.parametrize("place", MEANS)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_has_the_name_of_a_file_is_set_aside(stranger, place, tmp_path):
    store = tmp_path / "store"
    expected = run(store, curves=True).to_frame()
    path = MEANS[place](store)
    path.unlink()
    STRANGERS[stranger](path)
    with pytest.raises(StoreError):
        _ = SweepResult.open(store).curves(), SweepResult.open(store).to_frame()
    with pytest.warns(SweepWarning, match=f"{path.name} is damaged"):
        same_frames(run(store, curves=True).to_frame(), expected)
    assert os.path.lexists(store / "bad" / path.name)
    # The same once more: its name in the folder is taken.
    path.unlink()
    STRANGERS[stranger](path)
    with pytest.warns(SweepWarning, match=f"{path.name} is damaged"):
        same_frames(run(store, curves=True).to_frame(), expected)
    assert len(status(store)["bad"]) == 2
    same_frames(run(store, curves=True).to_frame(), expected)  # without a warning


def test_what_is_gone_is_as_good_as_removed(tmp_path):
    gone, short = tmp_path / "gone", tmp_path / "short"
    fs.remove(gone)
    fs.move(gone, tmp_path)
    fs.make_one_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        fs.read(gone)
    fs.append(short, b"abc")
    assert [fs.read_end(short, count) for count in (2, 9)] == [b"bc", b"abc"]


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    """Another machine that takes its draft for dead once, or Ctrl-C."""
    sync = [lambda: next(tmp_path.glob(".*.draft")).unlink()]
    monkeypatch.setattr(fs, "sync", lambda file: sync.pop()() if sync else None)
    fs.publish(tmp_path / "a", b"x")
    assert not sync
    monkeypatch.setattr(fs, "sync", lambda file: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        fs.publish(tmp_path / "b", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


BESIDE = (
    "parts/99999999-{sweep}-{zeros}.parquet",
    "parts/00000000+99999999999999999999-{sweep}-{zeros}.parquet",
    "parts/" + 60 * "9" + "+" + 60 * "9" + "-{sweep}-{zeros}.parquet",
    "parts/00000000-0123456789abcdef-{zeros}.parquet",
    "parts/readme.txt",
    "parts/.a.parquet.{host}.99999999999999999999999.00.draft",
    "parts/.a.parquet.{host}.1.00.draft",
    "facts/a.jsonl",
    "facts/b.txt",
    "bad/something",
    "unknown",
    ".spec.json.{host}.99999999999999999999999.00.draft",
)


@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_lies_beside_them_does_no_harm(stranger, tmp_path):
    store = tmp_path / "store"
    expected = run(store, curves=True).to_frame()
    (store / "bad").mkdir()
    named_like = {
        "sweep": parse_name(files(store)[0].name).sweep,
        "zeros": 24 * "0",
        "host": fs.host(),
    }
    for name in BESIDE:
        STRANGERS[stranger](store / name.format(**named_like))
    same_frames(run(store, curves=True).to_frame(), expected)
    same_frames(SweepResult.open(store).to_frame(), expected)
    assert status(store)["finished"] == 8
    compact(store)
    same_frames(SweepResult.open(store).to_frame(), expected)
    same_frames(run(store, curves=True).to_frame(), expected)


def test_folders_may_be_links_and_must_lead_somewhere(tmp_path):
    expected = run(tmp_path / "real", curves=True).to_frame()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    same_frames(run(tmp_path / "link", curves=True).to_frame(), expected)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/parts").symlink_to(tmp_path / "real/parts")  # the same sweep: reused
    assert run(tmp_path / "other").info["reused"] in (0, 8)
    for target in ("/nonexistent", "itself"):
        (tmp_path / "itself").unlink(missing_ok=True)
        (tmp_path / "itself").symlink_to(target)
        with pytest.raises(StoreError, match="cannot be written"):
            run(tmp_path / "itself")
        with pytest.raises(StoreError, match=r"no folder|cannot be read"):
            SweepResult.open(tmp_path / "itself")


def test_a_folder_that_is_never_the_same_twice_is_left_alone(tmp_path, monkeypatch):
    """A part is listed that nobody can read, for ever: as of a file system that lies."""
    run(tmp_path / "store")
    listed = folder.Folder.named_parts
    ghost = Part(0, 2, parse_name(files(tmp_path / "store")[0].name).sweep, 24 * "0")
    monkeypatch.setattr(folder.Folder, "named_parts", lambda *args: [ghost, *listed(*args)])
    with pytest.raises(StoreError, match="after 100 looks its files still come and go"):
        run(tmp_path / "store")


def test_a_part_that_counts_more_than_it_has_is_found(tmp_path):
    run(tmp_path / "store")
    path = files(tmp_path / "store")[0]
    part = parse_name(path.name)
    from sweeps.store.arrays import read_table
    from sweeps.store.parts import find_damage

    table = read_table(path).replace_schema_metadata()
    for said in ({"rows": 5}, {"rows": 4, "count": 5}):
        facts = {"sweep": part.sweep, "first": 0, "count": 1, "rows": 4, **said}
        data = encode_parquet(table, facts)
        lie = Part(0, facts["count"], part.sweep, content_digest(data))
        assert "it counts" in find_damage(lie, data)
    for text in ({"first": "0"}, {"rows": -1}, {"states": [1]}, {"count": 2**63}):
        data = encode_parquet(table, {"sweep": part.sweep, "first": 0, "count": 1} | text)
        assert "cannot be read" in find_damage(Part(0, 1, part.sweep, content_digest(data)), data)


# ---- documents ----

DEEP = 5_000
AXES = {
    "unknown kind": {"kind": "os.system", "command": "true"},
    "unknown field": {"kind": "Points", "lo": 1},
    "no numbers": {"range": ["a", "b", "c"]},
    "range of 2^63": {"range": [0, 2**63, 1]},
    "range past 64 bits": {"range": [0, 10**400, 10**399]},
    "step of 0": {"range": [0, 10, 0]},
    "no range": {"range": 3},
    "empty range": {"range": [3, 3, 1]},
    "points without end": {"kind": "Points", "low": 0, "high": 1, "n": 10**30, "log": False},
    "points of text": {"kind": "Points", "low": "0", "high": 1, "n": 3, "log": False},
    "points of nothing": {"kind": "Points", "low": 0.0, "high": 1, "n": 3, "log": True},
    "points of a number too long": {"kind": "Points", "low": 0, "high": 10**400, "n": 3, "log": 0},
    "draws without end": {
        "kind": "Draws",
        "distribution": {"kind": "Uniform", "low": 0.0, "high": 1.0},
        "source": {"kind": "Latin", "seed": 0, "dimension": 0},
        "n": 10**12,
    },
    "draws of a dimension": {
        "kind": "Draws",
        "distribution": {"kind": "Uniform", "low": 0.0, "high": 1.0},
        "source": {"kind": "Sobol", "seed": 0, "dimension": 10**9},
        "n": 4,
    },
    "draws of a seed": {
        "kind": "Draws",
        "distribution": {"kind": "Uniform", "low": 0.0, "high": 1.0},
        "source": {"kind": "Independent", "seed": -1, "dimension": 0},
        "n": 4,
    },
    "draws from nothing": {"kind": "Draws", "distribution": 3, "source": 4, "n": 4},
    "an integer without end": [1, 10**400],
    "nothing": None,
    "lists in lists": [[[1]]],
}


def forged(store, change):
    """Change a document and sign it, as whoever writes one can."""
    path = store / "spec.json"
    document = json.loads(path.read_text())
    change(document["identity"])
    document["digest"] = digest(document["identity"])
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("name", AXES)
def test_an_axis_from_a_stranger_is_refused(name, tmp_path):
    run(tmp_path / "store")
    parts = [{"lr": AXES[name]}]
    forged(tmp_path / "store", lambda identity: identity["space"].update(parts=parts))
    place = r"(\$.space.parts\[0\].|axis ')lr"
    with pytest.raises(StoredSpecError, match=f"describes no space: .*{place}"):
        SweepResult.open(tmp_path / "store")
    with pytest.raises(SpecError):
        run(tmp_path / "store")


IDENTITIES = {
    "trials without end": {"trials": 10**30},
    "trials as text": {"trials": "8"},
    "no trials": {"trials": -1},
    "chunks of nothing": {"chunk": 0},
    "no options": {"options": {}},
    "no name": {"problem": {"kind": "x"}},
    "parts that are none": {"space": {"names": [], "parts": ["lr"], "selection": None}},
    "selection of numbers": {"space": {"names": [], "parts": [], "selection": 3}},
    "format of text": {"format": "1"},
    "columns of numbers": {"results": [1, 2]},
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_a_document_of_another_form_is_damaged(name, tmp_path):
    expected = run(tmp_path / "store").to_frame()
    forged(tmp_path / "store", lambda identity: identity.update(IDENTITIES[name]))
    for read in (SweepResult.open, status):
        with pytest.raises(StoredSpecError, match=r"spec.json is damaged: .* at `\$.identity"):
            read(tmp_path / "store")
    with pytest.warns(SweepWarning, match="spec.json is damaged"):
        same_frames(run(tmp_path / "store").to_frame(), expected)


@pytest.mark.parametrize("rows", [[9], [-1], [2**63], ["a"], {"range": [0, 9, 1]}])
def test_a_selection_of_trials_that_are_not_there_is_refused(rows, tmp_path):
    run(tmp_path / "store")
    chosen = {"trials": 8, "of": rows}
    forged(tmp_path / "store", lambda identity: identity["space"].update(selection=chosen))
    with pytest.raises(StoredSpecError, match="describes no space"):
        SweepResult.open(tmp_path / "store")


DOCUMENTS = {
    "deep lists": "[" * DEEP + "]" * DEEP,
    "deep, and cut": "[" * DEEP,
    "deep dicts": '{"a":' * DEEP + "1" + "}" * DEEP,
    "deep in its place": '{"identity": {"format": 1, "space": ' + "[" * 100 + "]" * 100 + "}}",
    "a long integer": '{"identity": {"format": ' + "9" * 5_000 + "}}",
    "infinity": '{"identity": {"format": 1e999}}',
    "not a number": '{"identity": {"format": NaN}}',
    "surrogates": '{"identity": "\\ud800"}',
    "another encoding": '{"identity": {}}'.encode("utf-16"),
    "no text": b"\xff\xfe\x00",
    "a list": "[]",
    "a number": "7",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_of_all_kinds_are_damaged_and_written_again(name, tmp_path):
    expected = run(tmp_path / "store").to_frame()
    text = DOCUMENTS[name]
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "store/spec.json").write_bytes(data)
    for read in (SweepResult.open, status):
        with pytest.raises(StoredSpecError, match="is damaged"):
            read(tmp_path / "store")
    with pytest.warns(SweepWarning, match="spec.json is damaged"):
        same_frames(run(tmp_path / "store").to_frame(), expected)


FACTS = (
    b'{"sweep": "SWEEP", "seconds": 1e999, "host": "a"}',
    b'{"sweep": "SWEEP", "seconds": "1", "host": "a"}',
    b'{"sweep": "SWEEP", "seconds": 1, "host": 7}',
    b'{"sweep": "SWEEP", "seconds": ' + b"9" * 5_000 + b"}",
    b"[" * DEEP,
    b"[]",
    b"\xff",
    b"",
)


def test_facts_of_strangers_are_left_out(tmp_path):
    store = tmp_path / "store"
    run(store)
    before = status(store)
    sweep = parse_name(files(store)[0].name).sweep.encode()
    (store / "facts/x.jsonl").write_bytes(b"\n".join(FACTS).replace(b"SWEEP", sweep))
    (store / "facts/y.jsonl").mkdir()
    after = status(store)
    assert (after["core_seconds"], after["hosts"]) == (before["core_seconds"], before["hosts"])


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), lambda x: st.lists(x)))
def test_json_is_read_back(value):
    text = json.dumps(value)
    assert repr(parse_json(text.encode())) == repr(json.loads(text))


@settings(max_examples=25)
@given(st.integers(min_value=65, max_value=3_000))
def test_what_is_too_deep_is_said_whatever_the_depth(depth):
    for text in (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth):
        with pytest.raises(ValueError, match="nested more than 64"):
            parse_json(text)


@pytest.mark.parametrize("count", [60, pytest.param(3_000, marks=pytest.mark.soak)])
def test_a_changed_byte_of_a_document_is_found_or_says_the_same(count, tmp_path, counted):
    import numpy as np

    store, rng = tmp_path / "store", np.random.default_rng(0)
    run(store)
    path, truth = store / "spec.json", SweepResult.open(store).to_frame()
    whole = path.read_bytes()
    refused = 0
    for k in rng.integers(0, len(whole), count):
        damaged = bytearray(whole)
        damaged[k] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            same_frames(SweepResult.open(store).to_frame(), truth)
        except FastoptError:
            refused += 1
    assert refused > count / 3  # the others changed blanks, or where results came from
    counted(count)


@pytest.mark.parametrize("store", [["runs"], 3, b"runs", "x" * 256, "runs/" + "\N{SNOWMAN}" * 99])
def test_what_is_no_path_is_refused_in_few_words(store):
    with pytest.raises(StoreError) as caught:
        sweep(problems.ellipse(), {"lr": [0.1]}, optimizer="sgd", steps=1, store=store)
    assert len(str(caught.value)) < 400
