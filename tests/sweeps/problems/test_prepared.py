"""Datasets kept beside the compiled code: the same arrays, whatever has become of the file."""

from __future__ import annotations

import numpy as np
import pytest

from sweeps.problems import prepared as module
from sweeps.problems.prepared import prepared

ARRAYS = [np.arange(6.0).reshape(2, 3), None, np.array([1, 0]), None]

WITHOUT_SKLEARN = """
import sys
import numpy as np
from sweeps import problems
first = problems.iris(test_size=0.4, split_seed=3)
print("sklearn" in sys.modules, first.X.sum(), first.y_test.sum(), *first.X.shape)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Keep datasets in a folder of this test's own."""
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def never():
    raise AssertionError("it was made again")


def same(parts):
    for a, b in zip(parts, ARRAYS, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            np.testing.assert_array_equal(a, b, strict=True)


def test_made_once_and_read_afterwards(folder):
    same(prepared("flowers", lambda: ARRAYS, 0.25, 0))
    same(prepared("flowers", never, 0.25, 0))
    assert [path.suffix for path in folder.iterdir()] == [".npz"]


@pytest.mark.parametrize("other", [("trees", 0.25, 0), ("flowers", 0.3, 0), ("flowers", 0.25, 1)])
def test_another_dataset_or_split_is_another_file(folder, other):
    prepared("flowers", lambda: ARRAYS, 0.25, 0)
    with pytest.raises(AssertionError, match="made again"):
        prepared(other[0], never, *other[1:])


@pytest.mark.parametrize("damage", ["empty", "short", "flipped", "missing"])
def test_a_damaged_file_is_made_again(folder, damage):
    prepared("flowers", lambda: ARRAYS)
    (path,) = folder.iterdir()
    data = bytearray(path.read_bytes())
    data[data.index(ARRAYS[0].tobytes()) + 9] ^= 1  # where only the checksum tells
    path.write_bytes({"empty": b"", "short": data[:200], "flipped": data}.get(damage, b""))
    if damage == "missing":
        path.unlink()
    same(prepared("flowers", lambda: ARRAYS))
    same(prepared("flowers", never))


def test_without_a_folder_it_is_made_every_time(tmp_path, monkeypatch):
    for there in (None, tmp_path / "file" / "below"):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setattr(module, "cache_folder", lambda there=there: there)
        for _ in range(2):
            same(prepared("flowers", lambda: ARRAYS))


def test_a_second_process_needs_no_sklearn_and_has_the_same_rows(python, tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (python(WITHOUT_SKLEARN, **cache).stdout.split() for _ in range(2))
    assert (first[0], second[0]) == ("True", "False")
    assert first[1:] == second[1:]
