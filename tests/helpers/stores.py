"""A small stored sweep, and a disk that fails when it is told to."""

import functools
import hashlib
import os
from pathlib import Path

import pandas as pd

from sweeps import problems, sweep
from sweeps.store import fs, writer

# Of adam and sgd on the ellipse, kernels that other tests compile, too.
SPACE = {"lr": [0.01, 0.1, 0.5, 200.0], "seed": range(2)}


def run(store=None, space=SPACE, **options):
    options = {"optimizer": "adam", "steps": 15, "progress": False, "n_jobs": 1} | options
    return sweep(problems.ellipse(), space, store=store, **options)


def same_frames(actual, expected):
    pd.testing.assert_frame_equal(actual, expected, check_exact=True)


def same_results(actual, expected, tmp_path):
    """Frames, curves and the bytes of exports are equal."""
    same_frames(actual.to_frame(), expected.to_frame())
    if actual._curves is not None:
        same_frames(actual.curves(), expected.curves())
    # Parquet files also say how long a run in memory took.
    stored = "store" in actual.info and "store" in expected.info
    for end in (".csv", ".parquet") if stored else (".csv",):
        assert exported(actual, tmp_path, end) == exported(expected, tmp_path, end)


@functools.lru_cache(16)  # a test compares many results with one
def exported(result, folder, end):
    path = folder / f"{id(result)}{end}"
    return hashlib.sha256(result.save(path).read_bytes()).hexdigest()


def files(store, kind="parts"):
    """Return the parts of a store, none where their folder was not made yet."""
    return sorted((Path(store) / kind).glob("*.parquet"))


class Dead(BaseException):
    """The process has ended: nobody catches this."""


class Disk:
    """Counts what changes the disk, and ends the process before operation ``at``.

    ``lost`` says what a power failure takes with it that was not synced: "nothing", "data" (files
    are cut to half of their unsynced bytes) or "names" (renames and new files are undone).
    """

    def __init__(self, monkeypatch, at=None, lost="nothing"):
        self.at, self.lost, self.count, self.dead = at, lost, 0, False
        self.log = []
        self.open, self.unsynced, self.names = {}, {}, []
        monkeypatch.setattr(writer, "WRITERS", 1)  # operations in one order
        for name in (
            "create",
            "write",
            "sync",
            "replace",
            "sync_folder",
            "remove",
            "append",
            "make_one_folder",
        ):
            monkeypatch.setattr(fs, name, self._watched(name, getattr(fs, name)))

    def _watched(self, name, function):
        note = getattr(self, f"_{name}", None)

        def operation(*args):
            self._check(name, function, args)
            before = args[1].read_bytes() if name == "replace" and args[1].exists() else None
            value = function(*args)
            if note:
                note(value, before, *args)
            return value

        return operation

    def _check(self, name, function, args):
        if self.dead:
            raise Dead
        self.count += 1
        self.log.append(name)
        if self.count != self.at:
            return
        if name == "write":  # dies in the middle of it
            function(args[0], args[1][: len(args[1]) // 2])
        self.dead = True
        self._lose()
        raise Dead

    def _create(self, file, before, path):
        self.open[file] = path
        self.unsynced[path] = True
        self.names.append((path, None, None))

    def _sync(self, value, before, file):
        self.unsynced.pop(self.open[file], None)

    def _replace(self, value, before, path, to):
        if self.unsynced.pop(path, None):
            self.unsynced[to] = True
        self.names = [name for name in self.names if name[0] != path]
        self.names.append((to, path, before))

    def _sync_folder(self, value, before, folder):
        self.names = [name for name in self.names if name[0].parent != folder]

    def _lose(self):
        if self.lost == "data":
            for path in self.unsynced:
                os.truncate(path, path.stat().st_size // 2)
        if self.lost == "names":
            for path, _, before in reversed(self.names):
                path.unlink(missing_ok=True) if before is None else path.write_bytes(before)
