"""Calling compiled code by address: values, errors and the arrays that travel as words."""

import sys

import numpy as np
import pytest
from numba import typeof, types
from numba.core.errors import TypingError

from fastopt.compile import inlinable, kernel
from fastopt.machine.calls import (
    address_of,
    call,
    raw,
    raw_rows,
    unpacked,
    viewed,
    words_of,
)

VECTOR = types.Array(types.float64, 1, "C")


def summing(function):
    """Template: add what ``function`` makes of every element; raises for a negative one."""

    def run(x, scale):
        total = 0.0
        for i in range(x.size):
            if x[i] < 0.0:
                raise ValueError("negative")
            total += function(x[i]) * scale
        return total, total + 1.0

    return run


def asking():
    """Template: call what is at an address."""
    return lambda address, x, scale: call(address, (0.0, 0.0), (x, scale))


@inlinable
def twice(x):
    """Return ``2 x``."""
    return x + x


@inlinable
def square(x):
    """Return ``x ** 2``."""
    return x * x


def address(function):
    """Return the address of :func:`summing` over ``function``."""
    returns = types.UniTuple(types.float64, 2)
    made = kernel(summing, function, by_address=True)
    return address_of(made, returns, VECTOR, types.float64)


def test_one_kernel_calls_whatever_it_is_given():
    x = np.array([1.0, 2.0, 4.0])
    assert kernel(asking)(address(twice), x, 10.0) == (140.0, 141.0)
    assert kernel(asking)(address(square), x, 10.0) == (210.0, 211.0)
    assert len(kernel(asking).overloads) == 1


def test_an_error_is_raised_where_it_is_called():
    with pytest.raises(ValueError, match="negative"):
        kernel(asking)(address(twice), np.array([1.0, -1.0]), 1.0)


def test_what_returns_something_else_or_is_called_otherwise_is_refused():
    made = kernel(summing, twice, by_address=True)
    with pytest.raises(TypeError, match=r"UniTuple\(float64 x 2\), not float64"):
        address_of(made, types.float64, VECTOR, types.float64)
    with pytest.raises(TypeError, match="called by its address alone"):
        made(np.ones(2), 1.0)


@pytest.mark.parametrize("kind", ["strided", "read-only"])
def test_an_array_that_the_code_may_not_know_is_refused(kind):
    x = np.ones(6)
    if kind == "strided":
        x = x[::2]
    else:
        x.setflags(write=False)
    with pytest.raises(TypingError, match="writable C-contiguous"):
        kernel(asking)(address(twice), x, 1.0)


def reading(unpack):
    """Template: copy what the words describe to ``out``, and write to the first array."""

    def run(words, out):
        a, b, c = unpack(words)
        k = 0
        for value in a.flat:
            out[k] = value
            k += 1
        for value in b.flat:
            out[k] = value
            k += 1
        for value in c.flat:
            out[k] = value
            k += 1
        a[0] = 7

    return run


def test_arrays_arrive_as_they_were_sent():
    rng = np.random.default_rng(0)
    arrays = (
        rng.integers(0, 9, 3),
        rng.standard_normal((4, 6)).astype(np.float32)[1::2, ::-1],
        np.asfortranarray(rng.standard_normal((2, 3, 2))),
    )
    expected = np.concatenate([a.ravel() for a in arrays])
    out = np.empty(expected.size)
    kernel(reading, unpacked(typeof(arrays)))(words_of(arrays), out)
    np.testing.assert_array_equal(out, expected)
    assert arrays[0][0] == 7


def nothing(unpack):
    """Template: how many arrays there are."""
    return lambda words: len(unpack(words))


def test_no_arrays_are_no_words():
    assert words_of(()).size == 0
    assert kernel(nothing, unpacked(typeof(())))(words_of(())) == 0


def adding(view):
    """Template: add one array of every kind to ``out``, all of them given raw or as words."""

    def run(flat, rows, labels, words, out):
        x, table, y, (scale,), total = view((flat, rows, labels, words, out))
        for i in range(y.size):
            total[y[i]] += scale[0] * x[i]
            for j in range(table.shape[1]):
                total[y[i]] += table[i, j]

    return run


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_raw_arrays_are_seen_as_what_they_are(dtype):
    rng = np.random.default_rng(0)
    x, table = rng.integers(0, 9, 5).astype(dtype), rng.integers(0, 9, (5, 3)).astype(dtype)
    y, scale, out = np.array([2, 0, 1, 2, 2]), np.array([10.0]), np.zeros(3)
    seen = viewed(typeof(x), typeof(table), typeof(y), typeof((scale,)), None)
    held = [sys.getrefcount(a) for a in (x, table, y, scale, out)]
    run = kernel(adding, seen)
    for _ in range(3):
        run(raw(x), raw(table), raw_rows(y), words_of((scale,)), out)
    assert [sys.getrefcount(a) for a in (x, table, y, scale, out)] == held
    expected = [3 * (10 * x + table.sum(axis=1))[y == k].sum() for k in range(3)]
    np.testing.assert_array_equal(out, expected)
