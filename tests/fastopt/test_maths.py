"""Elementary functions against extended precision, in ulps, and their machine code."""

import math
import platform
import re

import numpy as np
import pytest
from llvmlite import binding
from numba.core.caching import NullCache
from numba.extending import register_jitable

from fastopt import maths
from fastopt.compile import Options, compiled, fingerprint, kernel

DTYPES = [np.float32, np.float64]
FUNCTIONS = {name: getattr(maths, name) for name in maths.__all__}
PROMISED = {
    "exp": 1.0, "log": 1.0, "tanh": 2.0, "sigmoid": 2.0, "erf": 2.0, "sin": 1.0, "cos": 1.0
}  # fmt: skip
TRIGONOMETRIC_RANGE = {np.float32: 1e5, np.float64: 1e12}

both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def mapped(function):
    """Loop template: ``function`` of every element."""

    def run(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return run


def computed(name, x):
    out = np.full_like(x, 77)
    kernel(mapped, FUNCTIONS[name])(x, out)
    return out


def exact(name, x):
    """Return the function in 80-bit (or wider) arithmetic, by the C library."""
    x = x.astype(np.longdouble)
    with np.errstate(all="ignore"):
        if name == "sigmoid":
            return 1 / (1 + np.exp(-x))
        if name == "erf":
            return exact_erf(x)
        return getattr(np, name)(x)


def exact_erf(x):
    """Return erf by a series of positive terms, NIST's Digital Library (DLMF) 7.6.2.

    erf x = 2/sqrt(pi) e^(-x^2) sum of 2^n x^(2n + 1) / (2n + 1)!!, which has converged to 64 bits
    after 150 terms up to 7, from where on erf x is 1 in the first 70 bits.
    """
    a = np.minimum(np.abs(x), 7)
    term = total = a
    for n in range(1, 150):
        term = term * (2 * a * a / (2 * n + 1))
        total = total + term
    root_pi = np.sqrt(np.longdouble("3.14159265358979323846264338327950288"))
    return np.copysign(np.minimum(2 / root_pi * np.exp(-a * a) * total, 1), x)


def ulps(actual, expected):
    """Return the error in units of the last place of the correctly rounded result."""
    with np.errstate(all="ignore"):
        rounded = expected.astype(actual.dtype)
        unit = np.spacing(np.minimum(np.abs(rounded), np.finfo(actual.dtype).max))
        error = np.abs(actual - expected) / unit
    return np.where(np.isinf(rounded), np.where(actual == rounded, 0, np.inf), error)


def points(name, dtype):
    """Arguments: dense, on all scales, at the edges of the range, near the zeros."""
    rng = np.random.default_rng(7)
    info = np.finfo(dtype)
    sign = rng.choice([-1.0, 1.0], 60_000)
    scales = np.exp(rng.uniform(math.log(info.smallest_subnormal), math.log(info.max), 60_000))
    edge = -math.log(info.smallest_subnormal) + 1
    x = [scales * sign, *(rng.uniform(-s, s, 60_000) for s in (0.1, 1, 5, 20, edge))]
    if name == "log":
        x = [scales, rng.uniform(0.5, 2, 60_000), 1 + rng.uniform(-1, 1, 60_000) * 1e-3]
    if name in ("sin", "cos"):
        limit = TRIGONOMETRIC_RANGE[dtype]
        turns = np.round(np.exp(rng.uniform(0, math.log(limit), 60_000)))
        turns = np.concatenate([np.arange(1.0, 60_000), turns[turns < limit / 1.6]])
        # The numbers nearest to multiples of pi/2, where all leading digits cancel.
        x += [turns * (math.pi / 2), rng.uniform(-limit, limit, 60_000)]
    x = np.concatenate(x)
    if name in ("sin", "cos"):
        x = x[np.abs(x) <= TRIGONOMETRIC_RANGE[dtype]]
    return x.astype(dtype)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no extended precision here")
@both_dtypes
@every_function
def test_error_is_as_promised(name, dtype):
    x = points(name, dtype)
    error = ulps(computed(name, x), exact(name, x))
    worst = np.argmax(error)
    assert not np.isnan(error).any()
    assert error[worst] <= PROMISED[name], f"{name}({x[worst]!r})"


INF, NAN = math.inf, math.nan
SPECIAL = {
    "exp": [(0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (1e30, INF), (-1e30, 0)],
    "log": [(0, -INF), (-0.0, -INF), (1, 0), (INF, INF), (-INF, NAN), (-1, NAN), (-1e-40, NAN)],
    "tanh": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (1e30, 1), (-1e30, -1)],
    "sigmoid": [(0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (1e30, 1), (-1e30, 0)],
    "erf": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (1e30, 1), (-1e30, -1)],
    "sin": [(0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (1e30, 0), (-1e30, 0)],
    "cos": [(0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (1e30, 1), (-1e30, 1)],
}


@both_dtypes
@every_function
def test_special_values(name, dtype):
    x, expected = np.array([*SPECIAL[name], (NAN, NAN)], dtype).T
    actual = computed(name, np.ascontiguousarray(x))
    np.testing.assert_array_equal(actual, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[number]), np.signbit(expected[number]))


@both_dtypes
@every_function
def test_every_nan_is_nan(name, dtype):
    """Payload bits and sign of a NaN must not leak into the exponent arithmetic."""
    bits = np.array(NAN, dtype).view(f"i{np.dtype(dtype).itemsize}")
    payloads = bits | np.left_shift(1, np.arange(np.finfo(dtype).nmant - 1), dtype=bits.dtype)
    nans = np.concatenate([payloads, payloads | np.iinfo(bits.dtype).min]).view(dtype)
    assert np.isnan(computed(name, nans)).all()


@pytest.mark.parametrize(
    ("dtype", "largest", "smallest"),
    [(np.float32, 88.72283, -103.97207), (np.float64, 709.782712893384, -745.1332191019411)],
)
def test_exp_reaches_both_ends(dtype, largest, smallest):
    """The last arguments before overflow and before underflow to zero, and the next ones."""
    largest, smallest = dtype(largest), dtype(smallest)
    x = np.array([largest, np.nextafter(largest, dtype(INF)), smallest, dtype(smallest * 1.001)])
    actual = computed("exp", x)
    assert np.isfinite(actual[0])
    assert actual[1] == INF
    assert actual[2] == np.finfo(dtype).smallest_subnormal
    assert actual[3] == 0.0


@both_dtypes
@every_function
def test_same_bits_at_every_position(name, dtype):
    """Alone, in a SIMD lane, in the loop's remainder, at any offset: the same bits."""
    rng = np.random.default_rng(3)
    x = (rng.normal(size=150) * 10.0 ** rng.integers(-3, 3, 150)).astype(dtype)
    x = np.abs(x) if name == "log" else x
    alone = np.concatenate([computed(name, x[i : i + 1]) for i in range(x.size)])
    for start in range(17):
        for size in (1, 7, 8, 15, 16, 31, 33, 64, 127):
            actual = computed(name, x[start : start + size])
            np.testing.assert_array_equal(actual, alone[start : start + size])


def reordered(function):
    """Loop template: the square of ``function``, plus one, under the flags of reductions."""

    @register_jitable(fastmath={"contract", "reassoc", "nsz"})
    def inner(x, one):
        y = function(x)
        return y * y + one

    def run(x, one, out, plain):
        for i in range(x.size):
            out[i] = inner(x[i], one)
            plain[i] = function(x[i])

    return run


@both_dtypes
@every_function
def test_callers_flags_do_not_matter(name, dtype):
    """A caller that lets LLVM reorder sums and fuse products gets the same function."""
    x = np.random.default_rng(5).uniform(0.01, 30, 1000).astype(dtype)
    y = computed(name, x).astype(np.longdouble)
    out, same = np.empty_like(x), np.empty_like(x)
    kernel(reordered, FUNCTIONS[name])(x, dtype(1), out, same)
    np.testing.assert_array_equal(same, y.astype(dtype))
    # y * y + 1, fused or not: at most one more rounding of a term no larger than the sum.
    assert (ulps(out, y * y + 1) <= 1).all()


@both_dtypes
@every_function
def test_dtype_is_kept(name, dtype):
    x = np.ones(2, dtype)
    assert FUNCTIONS[name](x).dtype == dtype
    assert FUNCTIONS[name](dtype(1)).dtype == dtype

    def typed(function):
        def run(x):
            return np.array([function(x)])

        return run

    assert kernel(typed, FUNCTIONS[name])(dtype(1)).dtype == dtype


@every_function
def test_integers_count_as_float64(name):
    out = np.empty(1)
    kernel(mapped, FUNCTIONS[name])(np.array([2]), out)
    assert out[0] == computed(name, np.array([2.0]))[0]


@every_function
def test_python_form_agrees_with_the_kernel(name):
    """NumPy's functions are within 4 ulps of the truth, ours within 2."""
    x = np.array([-30.0, -1.5, -1e-3, 0.0, 0.3, 1.0, 2.0, 50.0, NAN])
    with np.errstate(all="raise"):
        expected = FUNCTIONS[name](x)
    np.testing.assert_allclose(computed(name, x), expected, rtol=6 * np.finfo(float).eps)
    np.testing.assert_array_equal([FUNCTIONS[name](float(value)) for value in x], expected)


def hot_code(function, dtype):
    """Return the assembly of the loop's own function, without Numba's Python wrappers."""
    run = compiled(mapped, (function,), "looked at", Options())
    run._cache = NullCache()  # code from the disk cache cannot be inspected
    run(np.ones(4, dtype), np.ones(4, dtype))
    (text,) = run.inspect_asm().values()
    return text[: text.index(".Lfunc_end0")]


has_wide_vectors = platform.machine() == "x86_64" and binding.get_host_cpu_features().get("avx2")


@pytest.mark.skipif(not has_wide_vectors, reason="looks for AVX instructions")
@both_dtypes
@every_function
def test_loops_are_vectorised(name, dtype):
    """The hot loop works on whole vector registers in the dtype, and calls nothing."""
    code = hot_code(FUNCTIONS[name], dtype)
    packed, other = ("ps", "pd") if dtype is np.float32 else ("pd", "ps")
    assert len(re.findall(rf"\tvf\w+{packed}\t.*%[yz]mm", code)) >= 5
    assert not re.search(rf"\tv(f\w+|mul|add|sub|cvt\w*){other}\t", code)
    assert not re.search(r"\tcall", code)


@pytest.mark.skipif(not has_wide_vectors, reason="looks for AVX instructions")
def test_vectorisation_check_sees_a_library_call():
    """What the functions are for: the C library's tanh is called element by element."""
    assert re.search(r"\tcall", hot_code(math.tanh, np.float64))


def by_module(x):
    return maths.exp(x)


@pytest.mark.parametrize("function", [maths.exp, maths.sigmoid, maths.cos, by_module])
def test_edited_maths_mean_a_new_kernel(function, monkeypatch):
    """A cached kernel must not outlive an edit of the coefficients or of the bit work."""
    hashed = []
    monkeypatch.setattr("fastopt.code.fingerprint._settled", {})
    monkeypatch.setattr(
        "fastopt.code.fingerprint._source_hash", lambda module: hashed.append(module) or b""
    )
    fingerprint(function)
    assert {"fastopt.maths.functions", "fastopt.maths.bits"} <= set(hashed)
