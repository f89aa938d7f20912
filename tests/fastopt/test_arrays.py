"""Arrays a kernel cannot use in place are refused, by name, with what to do."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fastopt.errors import ArrayError, ArrayTypeError
from fastopt.machine.arrays import (
    Extents,
    address,
    aligned_zeros,
    check_array,
    check_like,
    named,
)


def read_only(a):
    a.flags.writeable = False
    return a


def unaligned():
    return np.zeros(17, np.uint8)[1:].view(np.float32)


BAD = {
    "list": ([1.0, 2.0], ArrayTypeError, "got a list.*np.asarray"),
    "None": (None, ArrayTypeError, "got a NoneType"),
    "scalar": (np.float32(1.0), ArrayTypeError, "got a float32"),
    "matrix": (np.ones((2, 2)).view(np.matrix), ArrayTypeError, r"got a matrix.*view\(np.ndarray"),
    "masked": (np.ma.masked_array([1.0], [True]), ArrayTypeError, "got a MaskedArray.*view"),
    "integers": (np.ones(3, np.int64), ArrayTypeError, "dtype int64; kernels exist for float32"),
    "half": (np.ones(3, np.float16), ArrayTypeError, "dtype float16.*astype"),
    "complex": (np.ones(3, complex), ArrayTypeError, "dtype complex128"),
    "objects": (np.array([1.0], object), ArrayTypeError, "dtype object"),
    "byte order": (np.ones(3, ">f4"), ArrayError, "'>f4'"),
    "strided": (np.ones(8, np.float32)[::2], ArrayError, r"not C-contiguous.*strides \(8,\)"),
    "reversed": (np.ones(8)[::-1], ArrayError, "not C-contiguous"),
    "Fortran": (np.ones((3, 2), order="F"), ArrayError, "not C-contiguous.*ascontiguousarray"),
    "broadcast": (np.broadcast_to(np.ones(1), (4,)), ArrayError, "not C-contiguous"),
    "unaligned": (unaligned(), ArrayError, "unaligned.*4 bytes"),
    "read-only": (read_only(np.ones(3)), ArrayError, "read-only.*updated in place"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_array_is_named_and_explained(kind):
    a, error, text = BAD[kind]
    with pytest.raises(error, match=text) as caught:
        check_array("params['w']", a)
    assert str(caught.value).startswith("params['w'] ")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_good_arrays_pass(dtype, shape):
    check_array("a", np.ones(shape, dtype))


def test_a_memmap_is_only_memory(tmp_path):
    check_array("a", np.memmap(tmp_path / "p.bin", np.float32, "w+", shape=(4,)))


def test_what_is_only_read_may_be_read_only():
    check_array("g", read_only(np.ones(3)), written=False)
    with pytest.raises(ArrayError, match="not C-contiguous"):
        check_array("g", np.ones(8)[::2], written=False)


@pytest.mark.parametrize(
    ("g", "error", "text"),
    [
        (np.ones(3, np.float64), ArrayTypeError, "dtype float64.*parameter has float32.*astype"),
        (np.ones((3, 1), np.float32), ArrayError, r"shape \(3, 1\).*shape \(3,\)"),
        (np.ones(4, np.float32), ArrayError, r"shape \(4,\)"),
    ],
)
def test_gradient_must_be_like_its_parameter(g, error, text):
    with pytest.raises(error, match=text):
        check_like("grads[0]", g, np.dtype(np.float32), (3,))


def test_extents_agree_with_numpy_on_every_pair_of_slices():
    """Against ``np.shares_memory``: touching, nested, equal, empty and disjoint slices."""
    whole = np.zeros(6)
    slices = [whole[i:j] for i in range(7) for j in range(i, 7)]
    for a in slices:
        extents = Extents()
        extents.add("a", a)
        for b in slices:
            assert (extents.find(b) == "a") == np.shares_memory(a, b)


@pytest.mark.parametrize("from_elsewhere", [False, True])
def test_extents_find_the_array_that_holds_the_memory(from_elsewhere):
    """A view was added, and its owner (or an alias by another way) is looked up."""
    whole, other = np.zeros(6), np.zeros(6)
    extents = Extents()
    view = np.frombuffer(memoryview(whole)) if from_elsewhere else whole.reshape(2, 3)[1:]
    extents.add("w", view)
    assert extents.find(whole) == "w"
    assert extents.find(other) is None
    extents.add("o", np.frombuffer(bytearray(8)))
    assert extents.find(whole) == "w"


def test_extents_find_among_many_in_any_order():
    whole = np.zeros(40)
    extents = Extents()
    for k in np.random.default_rng(0).permutation(20):
        extents.add(str(k), whole[2 * k : 2 * k + 1])
    assert [extents.find(whole[k : k + 1]) for k in range(40)] == [
        str(k // 2) if k % 2 == 0 else None for k in range(40)
    ]
    assert extents.find(whole[5:7]) == "3"


def test_adding_an_overlap_names_both():
    a = np.zeros(4)
    extents = Extents()
    extents.add("params['w']", a[:3])
    assert extents.find(a[3:]) is None
    with pytest.raises(ArrayError, match=re.escape("params['c'] shares memory with params['w']")):
        extents.add("params['c']", a[2:])


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 4095, 4096, 100_003])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", [0, 1, 3, 17])
def test_aligned_zeros(n, dtype, place):
    a = aligned_zeros(n, dtype, place)
    check_array("a", a)
    assert (a.shape, a.dtype) == ((n,), dtype)
    assert address(a) % 64 == 0 or not n
    assert not a.any()
    if a.nbytes >= 4 * 4096:
        assert address(a) % 4096 == place * 256 % 4096


def test_named_paths():
    assert named("p", {"w": 1, 2: 3}) == [("p['w']", 1), ("p[2]", 3)]
    assert named("p", (1, 2)) == [("p[0]", 1), ("p[1]", 2)]
    assert named("p", 5) == [("p", 5)]
