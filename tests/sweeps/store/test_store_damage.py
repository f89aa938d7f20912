"""Damaged files are found, set aside and made anew; full, locked and missing disks are named."""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fastopt.errors import FastoptError, StoreError, SweepWarning
from sweeps import SweepResult
from sweeps.engine import chunks
from sweeps.store import fs, writer
from sweeps.store.arrays import read_table
from sweeps.store.documents import FORMAT
from sweeps.store.parts import (
    Part,
    content_digest,
    encode_parquet,
    find_damage,
    footer_length,
    parse_name,
)
from tests.helpers.needs import needs_limits
from tests.helpers.stores import files, run, same_frames, same_results

pytestmark = pytest.mark.usefixtures("small_chunks")


def test_the_bytes_of_a_part_do_not_depend_on_the_order_of_its_facts():
    table = pa.table({"a": [1]})
    facts = {"sweep": "s", "first": 2, "count": 1}
    assert encode_parquet(table, facts) == encode_parquet(table, dict(reversed(facts.items())))


@pytest.mark.parametrize("size", [0, 2**8, 2**16, 2**24, 2**32 - 1])
def test_a_footer_says_its_length_in_four_bytes(size):
    assert footer_length(size.to_bytes(4, "little") + b"PAR1") == 8 + size


def mutants(data):
    """Yield a part cut at every length, and with one bit of every byte flipped."""
    for length in range(len(data)):
        yield f"cut at {length}", data[:length]
    for k in range(len(data)):
        flipped = bytearray(data)
        flipped[k] ^= 1 << k % 8
        yield f"flipped at {k}", bytes(flipped)


def test_every_mutant_of_a_part_is_found(tmp_path, counted):
    run(tmp_path / "store")
    path = files(tmp_path / "store")[0]
    part, data = parse_name(path.name), path.read_bytes()
    assert find_damage(part, data) == ""
    missed = [what for what, mutant in mutants(data) if not find_damage(part, mutant)]
    assert not missed
    assert len(data) > 2000
    assert find_damage(part, b"") == "it is empty"
    assert find_damage(part, data + b"\0")
    counted(2 * len(data))


def rewritten(path, **said):
    """Return a part that is whole, with a name that fits, and says something else."""
    table = read_table(path).replace_schema_metadata()
    part = parse_name(path.name)
    data = encode_parquet(
        table, {"sweep": part.sweep, "first": part.first, "count": part.count} | said
    )
    return Part(part.first, part.count, part.sweep, content_digest(data)), data


@pytest.mark.parametrize("said", [{"sweep": "0" * 16}, {"first": 1}, {"count": 2}], ids=str)
def test_a_part_of_another_sweep_under_a_name_that_fits_is_found(tmp_path, said):
    run(tmp_path / "store")
    assert not find_damage(*rewritten(files(tmp_path / "store")[0]))
    assert "it says that it is chunk" in find_damage(
        *rewritten(files(tmp_path / "store")[0], **said)
    )
    part, _ = rewritten(files(tmp_path / "store")[0])
    text = b"this is no parquet file"
    assert "cannot be read" in find_damage(
        Part(part.first, 1, part.sweep, content_digest(text)), text
    )


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def other_sweep(path):
    part, data = rewritten(path, sweep="0" * 16)
    path.unlink()
    (path.parent / str(part)).write_bytes(data)


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "flipped": flip,
    "another sweep": other_sweep,
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("kind", ["parts", "curves"])
@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_part_is_set_aside_and_made_anew(name, kind, expected, tmp_path):
    store = tmp_path / "store"
    run(store, curves=True)
    before = [path.name for path in files(store, kind)]
    DAMAGES[name](files(store, kind)[1])
    bad = files(store, kind)[1].name
    with pytest.warns(SweepWarning, match=f"{bad} is damaged: .* set aside as .* run again"):
        result = run(store, curves=True)
    assert result.info["reused"] == 4
    same_results(result, expected, tmp_path)
    assert [path.name for path in files(store, kind)] == before
    assert [path.name for path in (store / "bad").iterdir()] == [bad]
    same_results(run(store, curves=True), expected, tmp_path)  # without a warning


def readings(store, paths, count, seed=0):
    """Read a store with one random mutation at a time: how often it was refused, and was right."""
    rng, outcomes = np.random.default_rng(seed), {"refused": 0, "right": 0}
    truth = SweepResult.open(store).to_frame()
    for _ in range(count):
        path = paths[rng.integers(len(paths))]
        data = path.read_bytes()
        mutant = bytearray(data)
        mutant[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path.write_bytes(mutant if rng.random() < 0.8 else data[: rng.integers(len(data))])
        try:
            same_frames(SweepResult.open(store).to_frame(), truth)
            outcomes["right"] += 1
        except FastoptError:
            outcomes["refused"] += 1
        finally:
            path.write_bytes(data)
    return outcomes


@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=pytest.mark.soak)])
def test_readers_refuse_damage_or_are_right(tmp_path, count, counted):
    run(tmp_path / "store")
    outcomes = readings(tmp_path / "store", files(tmp_path / "store"), count)
    assert sum(outcomes.values()) == count
    assert outcomes["refused"] > count / 2
    counted(count)


@pytest.mark.soak
def test_a_thousand_mutants_are_made_anew(expected, tmp_path, counted):
    store, rng = tmp_path / "store", np.random.default_rng(1)
    run(store, curves=True)
    whole = {path: path.read_bytes() for kind in ("parts", "curves") for path in files(store, kind)}
    for _ in range(1000):
        path = list(whole)[rng.integers(len(whole))]
        mutant = bytearray(whole[path])
        mutant[rng.integers(len(mutant))] ^= 1 << rng.integers(8)
        path.write_bytes(mutant if rng.random() < 0.7 else mutant[: rng.integers(len(mutant))])
        with pytest.warns(SweepWarning, match="damaged"):
            same_frames(run(store, curves=True).to_frame(), expected.to_frame())
        assert {path: path.read_bytes() for path in whole} == whole
    counted(1000)


SPECS = {
    "empty": lambda text: "",
    "cut": lambda text: text[:-20],
    "changed": lambda text: text.replace('"trials": 8', '"trials": 9'),
    "a list": lambda text: "[]",
    "without a digest": lambda text: text.replace("digest", "digets"),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_damaged_document_is_written_again(name, expected, tmp_path):
    store = tmp_path / "store"
    run(store, curves=True)
    text = (store / "spec.json").read_text()
    (store / "spec.json").write_text(SPECS[name](text))
    with pytest.raises(StoreError, match=r"spec.json is damaged: .* Run the command"):
        SweepResult.open(store)
    with pytest.warns(SweepWarning, match="spec.json is damaged"):
        result = run(store, curves=True)
    assert result.info["reused"] == 8
    same_results(result, expected, tmp_path)
    assert (store / "spec.json").read_text() == text


def test_a_store_of_a_newer_version_is_left_alone(tmp_path):
    run(tmp_path / "store")
    path = tmp_path / "store/spec.json"
    document = json.loads(path.read_text())
    document["identity"]["format"] = FORMAT + 1
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match="newer version of fastopt"):
        run(tmp_path / "store")


def test_a_draft_that_somebody_cleared_away_is_written_again(expected, tmp_path, monkeypatch):
    sync, cleared = fs.sync, []

    def cleared_once(file):
        sync(file)
        if len(cleared) < 1:
            cleared.extend((tmp_path / "store").rglob("*.draft"))
            for path in cleared:
                path.unlink()

    monkeypatch.setattr(fs, "sync", cleared_once)
    same_results(run(tmp_path / "store", curves=True), expected, tmp_path)
    assert cleared


@contextlib.contextmanager
def file_size_limit(size):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@needs_limits
def test_a_limit_on_file_sizes_is_named(expected, tmp_path):
    store = tmp_path / "store"
    run(store, curves=True)
    parts = files(store)
    size = parts[0].stat().st_size
    parts[1].unlink()
    with file_size_limit(size // 2), pytest.raises(StoreError) as error:
        run(store, curves=True)
    assert error.value.errno == errno.EFBIG
    assert f"{store}/curves/" in str(error.value)
    assert "ulimit -f" in str(error.value)
    assert files(store) == parts[:1]
    assert not list(store.rglob("*.draft"))
    same_results(run(store, curves=True), expected, tmp_path)


@contextlib.contextmanager
def small_disk(path, size):
    """A tmpfs, where one can be mounted."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    if (
        os.geteuid() != 0
        or not shutil.which("mount")
        or subprocess.run(mount, check=False).returncode
    ):
        pytest.skip("needs the right to mount a file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_is_named_and_the_sweep_goes_on_when_there_is_space(expected, tmp_path):
    with small_disk(tmp_path / "disk", "128k") as disk:
        filler = disk / "filler"
        filler.write_bytes(bytes(128 * 1024 - 5 * 4096))
        with pytest.raises(StoreError) as error:
            run(disk / "store", curves=True)
        assert error.value.errno == errno.ENOSPC
        for words in (
            f"{disk}/store/",
            "it needs",
            "are free on that disk",
            "run the same command",
        ):
            assert words in str(error.value)
        assert not list(disk.rglob("*.draft"))
        filler.unlink()
        same_results(run(disk / "store", curves=True), expected, tmp_path)


@pytest.mark.parametrize("k", range(1, 6))
def test_whatever_file_does_not_fit_is_named(expected, tmp_path, monkeypatch, k):
    """As on a full disk, for each of the files in turn: half of it is written."""
    store, count, write = tmp_path / "store", 0, fs.write
    monkeypatch.setattr(writer, "WRITERS", 1)  # files in one order

    def full(file, data):
        nonlocal count
        count += 1
        if count < k:
            return write(file, data)
        write(file, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fs, "write", full)
    with pytest.raises(StoreError, match=r"it needs [\d,]+ bytes, and [\d,]+ are free") as error:
        run(store, curves=True)
    assert str(store) in str(error.value)
    assert not list(store.rglob("*.draft"))
    kept = {path: path.read_bytes() for kind in ("parts", "curves") for path in files(store, kind)}
    assert len(kept) == max(k - 2, 0)
    monkeypatch.setattr(fs, "write", write)
    same_results(run(store, curves=True), expected, tmp_path)
    assert all(path.read_bytes() == data for path, data in kept.items())


@contextlib.contextmanager
def nobody(path):
    """Be a user without rights; only root can become one."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(path, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_named_before_anything_runs(expected, monkeypatch):
    where = Path(tempfile.mkdtemp())
    store = where / "store"
    try:
        run(store, curves=True)
        files(store)[0].unlink()
        for path in (store, *store.iterdir()):
            path.chmod(0o555 if path.is_dir() else 0o444)
        where.chmod(0o755)
        with nobody(where):
            opened = SweepResult.open(store).to_frame()
            monkeypatch.setattr(chunks, "run_together", None)  # calling it would fail
            for path in (store, store / "parts"):
                with pytest.raises(
                    StoreError, match=f"{path}.* cannot be written: Permission"
                ) as e:
                    run(path, curves=True)
                assert "Make it writable" in str(e.value)
            monkeypatch.undo()
        same_frames(opened, expected.to_frame().iloc[4:].reset_index(drop=True))
    finally:
        for path in where.rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(where)


def test_a_file_where_the_folder_should_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for store in (tmp_path / "file", tmp_path / "file/store"):
        with pytest.raises(StoreError, match=r"file.* cannot be written: .*name another folder"):
            run(store)
    assert (tmp_path / "file").read_text() == ""


def test_a_store_that_vanishes_is_named(tmp_path, monkeypatch):
    store, publish = tmp_path / "store", fs.publish
    monkeypatch.setattr(writer, "WRITERS", 1)

    def unmounted(path, data):
        if path.parent.name == "parts":
            shutil.rmtree(store)
        publish(path, data)

    monkeypatch.setattr(fs, "publish", unmounted)
    with pytest.raises(StoreError, match="The folder is gone"):
        run(store)


def test_the_drafts_of_the_dead_are_cleared_away_and_no_others(tmp_path):
    run(tmp_path / "store")
    parts = tmp_path / "store/parts"
    dead = subprocess.Popen(["true"])
    dead.wait()
    names = {
        "dead": f".a.parquet.{fs.host()}.{dead.pid}.00.draft",
        "alive": f".a.parquet.{fs.host()}.{os.getppid()}.00.draft",
        "elsewhere": ".a.parquet.another-host.1.00.draft",
        "long ago": ".b.parquet.another-host.1.00.draft",
        "somebody's": ".mine.draft",
    }
    for name in names.values():
        (parts / name).write_bytes(b"")
    os.utime(parts / names["long ago"], (0, 0))
    run(tmp_path / "store")
    left = {path.name for path in parts.glob(".*")}
    assert left == {names[key] for key in ("alive", "elsewhere", "somebody's")}
