"""``fastopt cache``: what it counts, what it deletes, what it is asked in vain."""

import json
import os
import time

import pytest

from fastopt.code.cache import KernelCache
from sweeps.cli import caching
from tests.helpers import commands

OURS = {
    "advancing_step_2_8_serial_ee12384bc9d28db6-02f957e50443.nbc": 100,
    "beginning_(-2, -1)_8_serial_0cc0ea5c12d3239d-92f957e50443.nbc": 10,
    "data_digits_b0026739d640c34e.npz": 1000,
}
DRAFTS = (
    "advancing_step_2_8_serial_ee12384bc9d28db6-02f957e50443.4711-0a1b2c3d",
    ".data_digits_b0026739d640c34e.npz.4711-0a1b2c3d.tmp",
)
OTHERS = ("notes.txt", "numba.nbi", "data_mine.npz", "thesis-02f957e50443.nbc.bak", ".nbc")


def call(*args):
    return commands.call("cache", *args)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a cache with files of ours, of others, and drafts of processes that were killed."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for name, size in OURS.items():
        (folder / name).write_bytes(b"x" * size)
    for name in (*OTHERS, *DRAFTS):
        (folder / name).write_text("1")
    (folder / "folder-02f957e50443.nbc").mkdir()
    (folder / "link-02f957e50443.nbc").symlink_to(folder / "notes.txt")
    monkeypatch.setattr(caching, "cache_folder", lambda: folder)
    return folder


def test_info_counts_what_is_ours(folder):
    oldest = time.time() - 1e6
    os.utime(folder / next(iter(OURS)), (oldest, oldest))
    facts = json.loads(call("info", "--json").output)
    assert facts.pop("oldest")[:2] == "20"
    assert facts == {
        "folder": str(folder),
        "functions": 2,
        "datasets": 1,
        "files": 5,
        "bytes": 1112,
    }
    assert "1.11 kB" in call("info").output


def test_clear_deletes_what_is_ours_and_nobody_writes(folder):
    stays = {*OTHERS, "folder-02f957e50443.nbc", "link-02f957e50443.nbc"}
    assert call("clear").output.startswith("Deleted 3 files of 1.11 kB in ")
    assert set(os.listdir(folder)) == {*stays, *DRAFTS}
    for name in DRAFTS:
        os.utime(folder / name, (0, 0))
    assert call("clear").output.startswith("Deleted 2 files")
    assert set(os.listdir(folder)) == stays
    assert json.loads(call("info", "--json").output)["oldest"] is None


def test_the_names_are_those_that_kernels_are_kept_by(folder):
    """The patterns are of files that KernelCache writes."""
    kept = KernelCache("scaled_serial_0123456789abcdef", folder)
    assert caching.COMPILED.fullmatch(kept._path(b"key").name)
    assert caching.own_files(folder)


WRONG = {
    "nothing": ((), "name a spec"),
    "an unknown problem": (("--problem", "digit"), "did you mean 'digits'"),
    "an unknown optimizer": (("--optimizer", "adm"), "did you mean 'adam'"),
    "no processes": (("--optimizer", "adam", "--jobs", "0"), "n_jobs"),
    "no spec": (("missing.toml",), "missing.toml"),
}


@pytest.mark.parametrize(("args", "said"), WRONG.values(), ids=WRONG)
def test_what_makes_no_sense_is_refused(args, said, monkeypatch):
    monkeypatch.setattr(caching, "compile_missing", None)
    done = call("warm", *args)
    assert done.exit_code == 2
    assert said in done.output


def test_without_a_folder_there_is_no_cache(monkeypatch):
    monkeypatch.setattr(caching, "cache_folder", lambda: None)
    for command in ("info", "clear", "warm"):
        done = call(command, *(["--optimizer", "adam"] if command == "warm" else []))
        assert done.exit_code == 2
        assert "NUMBA_CACHE_DIR" in done.output


def test_warm_knows_all_that_steps_and_sweeps_need(monkeypatch):
    """Of every rule the two loops; of every problem its functions; each once."""
    seen = []
    monkeypatch.setattr(caching, "missing_of", lambda callees: seen.extend(callees) or [])
    monkeypatch.setattr(caching, "_take_steps", lambda: None)
    assert call("warm", "--problem", "iris", "--optimizer", "all").exit_code == 0
    names = {callee.kernel.py_func.__name__ for callee in seen}
    assert {"tick_at", "span", "sums", "loss", "both", "advance"} <= names
