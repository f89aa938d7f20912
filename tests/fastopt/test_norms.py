"""Norms and clipping against torch and exact sums; the same bits however they are computed."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
import torch

from fastopt import (
    ArrayError,
    ArrayTypeError,
    HyperparameterError,
    NonFiniteError,
    clip_grad_norm_,
    clip_grad_value_,
    flatten,
    global_norm,
)
from fastopt.norms import CHUNK, PARALLEL_FROM, _reducer, _scaler, _terms, all_finite, nothing
from tests.helpers.cases import signed

SIZES = [1, 2, 7, 8, 9, 31, 33, 127, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1, PARALLEL_FROM + 3]
ORDERS = [1.0, 2.0, 3.0, 0.5, math.inf]


def exact(flat, order):
    """Sum in exact arithmetic (``math.fsum``) of terms in float64."""
    a = np.abs(flat.astype(np.float64))
    if order == math.inf:
        return float(a.max(initial=0.0))
    return math.fsum(a**order) ** (1.0 / order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_norm_against_exact_sum(n, dtype, order):
    a = signed(np.random.default_rng(n), n, dtype)
    # A lane adds 64 rounded terms in float64, six folds and ten chunks follow: at most 80
    # half-ulps of positive terms; their signs are random, so the root of 80, times the order of
    # the final root, leaves room.
    np.testing.assert_allclose(global_norm(a, order), exact(a, order), rtol=20 * 2.0**-53)


def test_norm_is_over_all_arrays_of_any_structure():
    arrays = {"w": np.array([[1.0, 2.0], [3.0, 4.0]]), "e": np.zeros((0, 3)), "b": np.array(5.0)}
    expected = math.sqrt(55.0)
    assert global_norm(arrays) == expected
    assert global_norm([*arrays.values(), None]) == expected
    assert global_norm(np.concatenate([a.ravel() for a in arrays.values()])) == expected
    buffer = flatten(arrays)
    for name, a in arrays.items():
        buffer.grads[name][...] = a
    assert global_norm(buffer) == expected
    assert global_norm([]) == 0.0


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("at", [0, 5000, 9999])
def test_non_finite_elements_reach_the_norm(order, bad, at):
    a = np.ones(10_000, np.float32)
    a[at] = bad
    assert repr(global_norm(a, order)) == repr(bad)
    assert not all_finite(a)
    a[at] = 1.0
    assert all_finite(a)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_check_sees_every_position_and_no_large_number(bad, dtype):
    for n in (1, 9, 33):
        for at in range(n):
            a = np.full(n, np.finfo(dtype).max, dtype)
            assert all_finite(a)
            a[at] = bad
            assert not all_finite(a)


def twins(order):
    return _reducer(*_terms(order))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("n", [1, CHUNK - 1, CHUNK + 1, PARALLEL_FROM + 12_345])
def test_same_bits_serial_parallel_any_threads_any_offset(n, order):
    whole = signed(np.random.default_rng(1), n + 3, np.float32)
    reduce = twins(order)
    before = numba.get_num_threads()
    results = set()
    for offset in range(4):
        a = whole[offset : offset + n].copy() if offset == 0 else whole[offset : offset + n]
        moved = np.empty(n + offset, np.float32)[offset:]
        moved[:] = whole[:n]
        results.add(reduce.serial(moved, order))
        for threads in range(1, before + 1):
            numba.set_num_threads(threads)
            results.add(reduce.parallel(moved, order))
        numba.set_num_threads(before)
        assert reduce.serial(a, order) == reduce.parallel(a, order)
    assert len(results) == 1


def test_finite_and_scale_twins_agree():
    a = signed(np.random.default_rng(2), PARALLEL_FROM + 1, np.float32)
    finite = _reducer(nothing, _terms(2.0)[1])
    assert finite.serial(a, 0.0) == finite.parallel(a, 0.0) == 0.0
    b, factor = a.copy(), np.array([0.3], np.float32)
    _scaler().serial(a, factor)
    _scaler().parallel(b, factor)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e6, math.inf])
def test_clip_norm_is_torchs(dtype, order, max_norm):
    rng = np.random.default_rng(3)
    grads = {"w": signed(rng, 35, dtype).reshape(5, 7), "b": signed(rng, 11, dtype)}
    theirs = [torch.nn.Parameter(torch.zeros(g.shape)) for g in grads.values()]
    for p, g in zip(theirs, grads.values()):
        p.data = p.data.to(torch.from_numpy(g).dtype)
        p.grad = torch.from_numpy(g.copy())
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, order)
    norm = clip_grad_norm_(grads, max_norm, order)
    # torch sums, divides and multiplies in the arrays' own dtype: a few roundings.
    rtol = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(norm, expected.item(), rtol=rtol)
    for p, g in zip(theirs, grads.values()):
        assert g.dtype == dtype
        np.testing.assert_allclose(g, p.grad.numpy(), rtol=rtol)


def test_clip_norm_in_place_for_a_buffer_and_idempotent_below():
    buffer = flatten([np.zeros(3), np.zeros(5)])
    buffer.grads[0][:] = 3.0
    buffer.grads[1][:] = -4.0
    assert clip_grad_norm_(buffer, 1.0) == pytest.approx(math.sqrt(27 + 80), rel=1e-15)
    assert global_norm(buffer) == pytest.approx(1.0, rel=1e-6)
    before = buffer.flat_grad.copy()
    clip_grad_norm_(buffer, 2.0)
    np.testing.assert_array_equal(buffer.flat_grad, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_norm_raises_on_request_else_does_as_torch(bad):
    grads = [np.array([1.0, bad]), np.array([2.0])]
    with pytest.raises(NonFiniteError, match=f"is {bad}.*nothing was changed"):
        clip_grad_norm_(grads, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(grads[1], [2.0])
    theirs = [torch.nn.Parameter(torch.zeros(g.size, dtype=torch.float64)) for g in grads]
    for p, g in zip(theirs, grads):
        p.grad = torch.from_numpy(g.copy())
    torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    clip_grad_norm_(grads, 1.0)
    for p, g in zip(theirs, grads):
        np.testing.assert_array_equal(g, p.grad.numpy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clip_value(dtype):
    g = np.array([-3.0, -0.5, 0.0, 0.25, 7.0, math.inf, math.nan], dtype)
    expected = torch.clamp(torch.from_numpy(g.copy()), -0.3, 0.3).numpy()
    clip_grad_value_({"g": g}, 0.3)
    np.testing.assert_array_equal(g, expected, strict=True)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda g: clip_grad_norm_(g, -1.0), HyperparameterError, "max_norm.*-1.0"),
        (lambda g: clip_grad_norm_(g, 10**400), HyperparameterError, "max_norm must be"),
        (lambda g: clip_grad_norm_(g, 1.0, norm_type=10**400), HyperparameterError, "norm_type"),
        (lambda g: clip_grad_norm_(g, math.nan), HyperparameterError, "max_norm.*nan"),
        (lambda g: clip_grad_norm_(g, "one"), HyperparameterError, "max_norm.*'one'"),
        (lambda g: clip_grad_norm_(g, 1.0, 0.0), HyperparameterError, "norm_type.*0.0"),
        (lambda g: global_norm(g, "fro"), HyperparameterError, "norm_type.*'fro'"),
        (lambda g: clip_grad_value_(g, None), HyperparameterError, "clip_value.*None"),
        (lambda g: clip_grad_norm_([g, [1.0]], 1.0), ArrayTypeError, r"grads\[1\].*list"),
        (lambda g: clip_grad_norm_({"w": g, "b": g[::-1]}, 1.0), ArrayError, r"grads\['b'\].*cont"),
        (lambda g: clip_grad_norm_([g, g], 1.0), ArrayError, r"grads\[1\] shares.*grads\[0\]"),
        (lambda g: clip_grad_value_([g, g[1:]], 1.0), ArrayError, r"grads\[1\] shares memory"),
        (lambda g: global_norm([g.astype(int)]), ArrayTypeError, r"arrays\[0\].*int64"),
    ],
)
def test_refused_before_anything_is_written(call, error, text):
    g = np.array([3.0, 4.0])
    with pytest.raises(error, match=text):
        call(g)
    np.testing.assert_array_equal(g, [3.0, 4.0])


def test_read_only_may_be_measured_but_not_clipped():
    g = np.array([3.0, 4.0])
    g.flags.writeable = False
    assert global_norm(g) == 5.0
    for clip in (clip_grad_norm_, clip_grad_value_):
        with pytest.raises(ArrayError, match="read-only"):
            clip(g, 1.0)


@pytest.mark.parametrize("limit", [1e39, math.inf])
def test_a_limit_that_float32_cannot_hold_limits_nothing(limit):
    g = np.array([1.0, -3e38, np.inf, np.nan], np.float32)
    before = g.tobytes()
    clip_grad_value_(g, limit)
    assert g.tobytes() == before


def test_a_norm_of_an_order_near_zero_is_infinite():
    assert global_norm(np.full(4, 3.0), 1e-3) == math.inf  # 4 ** 1000
