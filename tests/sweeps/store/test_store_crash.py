"""The process dies at every single operation on the disk; the same call ends with the same bits."""

import ast
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from sweeps.store.compact import compact
from tests.helpers.stores import Dead, Disk, files, run, same_frames, same_results

ROOT = Path(__file__).parents[3]


pytestmark = pytest.mark.usefixtures("small_chunks")


def test_every_change_of_a_store_is_one_of_the_operations_that_tests_can_stop():
    """No other file of the package opens files for writing, renames, removes or makes any."""
    forbidden = {"write_bytes", "write_text", "unlink", "rename", "mkdir", "touch", "rmdir", "open"}
    for path in (ROOT / "sweeps/store").glob("*.py"):
        if path.name == "fs.py":
            continue
        calls = [n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        used = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
        assert not used & forbidden, path


def test_the_protocol_writes_syncs_renames_and_syncs(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    run(tmp_path / "store", curves=True)
    written = 1 + 2 * 2  # the spec; two chunks, each with rows and curves
    kinds = Counter(disk.log)
    assert kinds["create"] == kinds["write"] == kinds["sync"] == kinds["replace"] == written
    step = ["create", "write", "sync", "replace", "sync_folder"]
    assert disk.log[-len(step) - 1 :] == [*step, "append"]


# 4 folders, each made and synced; 5 files of 5 operations; 2 lines of facts.
OPERATIONS = 4 * 2 + 5 * 5 + 2


@pytest.mark.parametrize("lost", ["nothing", "data", "names"])
def test_a_death_at_any_operation_changes_nothing(expected, tmp_path, lost, counted):
    for k in range(1, OPERATIONS + 1):
        store = tmp_path / str(k)
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, k, lost)
            with pytest.raises(Dead):
                run(store, curves=True)
        assert disk.count == k
        same_results(run(store, curves=True), expected, tmp_path)
        assert len(files(store)) == len(files(store, "curves")) == 2
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, OPERATIONS + 1, lost)
        run(tmp_path / "all", curves=True)  # and there are no more operations
    counted(OPERATIONS)


@pytest.mark.parametrize("lost", ["nothing", "names"])
def test_a_death_at_any_operation_of_compact_changes_nothing(expected, tmp_path, lost, counted):
    with pytest.MonkeyPatch.context() as patch:
        run(tmp_path / "all", curves=True)
        disk = Disk(patch)
        compact(tmp_path / "all")
    assert disk.log.count("remove") == 4
    for k in range(1, disk.count + 1):
        store = tmp_path / str(k)
        run(store, curves=True)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, k, lost)
            with pytest.raises(Dead):
                compact(store)
        assert run(store, curves=True).info["reused"] == 8
        compact(store)
        assert len(files(store)) == len(files(store, "curves")) == 1
        result = run(store, curves=True)
        assert result.info["reused"] == 8
        same_frames(result.to_frame(), expected.to_frame())
    counted(disk.count)


class Unsynced(Disk):
    """A disk to which nothing is synced."""

    def _sync(self, value, before, file):
        pass


def test_without_syncing_parts_are_damaged_and_that_is_noticed(expected, tmp_path):
    """The test above would fail if the protocol did not sync: the simulated disk does lose data."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        Unsynced(patch, OPERATIONS - 1, "data")
        with pytest.raises(Dead):
            run(store, curves=True)
    with pytest.warns(UserWarning, match="damaged"):
        same_results(run(store, curves=True), expected, tmp_path)


DIES = """
    import os, sys
    from sweeps.engine import chunks
    from sweeps.store import folder, fs, writer
    from tests.helpers.stores import run

    writer.WRITERS = 1
    chunks.MOST_TRIALS, folder.provenance, left = 4, dict, int(sys.argv[2])

    def counted(function):
        def operation(*args):
            global left
            left -= 1
            if left == 0:
                os._exit(9)
            return function(*args)
        return operation

    for name in ("create", "write", "sync", "replace", "sync_folder", "append", "make_one_folder"):
        setattr(fs, name, counted(getattr(fs, name)))
    run(sys.argv[1], curves=True)
"""


@pytest.mark.parametrize(
    "k",
    [
        pytest.param(k, marks=[] if k in (16, 33) else pytest.mark.soak)
        for k in range(1, OPERATIONS + 1)
    ],
)
def test_a_process_that_ends_leaves_nothing_that_is_not_cleared_away(expected, tmp_path, k):
    script = [sys.executable, "-c", textwrap.dedent(DIES), str(tmp_path / "store"), str(k)]
    assert subprocess.run(script, cwd=ROOT, env=os.environ, check=False).returncode == 9
    same_results(run(tmp_path / "store", curves=True), expected, tmp_path)
    assert not list((tmp_path / "store").rglob("*.draft"))
