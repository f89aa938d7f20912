"""Philox against Random123's published answers and a second writing of it in Python integers."""

import numpy as np
import pytest
from scipy import stats

from sweeps.common import philox
from tests.helpers.compiled import both

# Random123, tests/kat_vectors, rows "philox4x32 10": counter, key, output.
KNOWN = {
    "zeros": ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    "ones": (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    "pi": (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
}

SEEDS = [0, 1, 2**32 - 1, 2**32, 2**40 + 7]


PHILOX, UNIFORMS, PERMUTE = both(philox.philox), both(philox.uniforms), both(philox.permute)
WAYS = ["python", "compiled"]


def u64(*numbers):
    return tuple(map(np.uint64, numbers))


def reference_block(counter, key):
    """Philox4x32-10 as in Salmon et al., in Python integers."""
    c, k, mask = list(counter), list(key), 2**32 - 1
    for _ in range(10):
        high0, low0 = divmod(c[0] * 0xD2511F53, 2**32)
        high1, low1 = divmod(c[2] * 0xCD9E8D57, 2**32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return tuple(c)


def reference_uniforms(seed, stream, epoch, index):
    """The two 53-bit fractions of a block, index and seed split in low and high words."""
    w = reference_block((index % 2**32, index >> 32, epoch, stream), (seed % 2**32, seed >> 32))
    return tuple(((w[k] * 2**32 + w[k + 1]) >> 11) / 2**53 for k in (0, 2))


def reference_permutation(n, seed, epoch):
    """Fisher-Yates from the top, one uniform a position, two of them from each block."""
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        block, word = divmod(n - 1 - i, 2)
        j = int(reference_uniforms(seed, int(philox.SHUFFLE), epoch, block)[word] * (i + 1))
        order[i], order[j] = order[j], order[i]
    return order


def permutation(n, seed, epoch, way="compiled"):
    order = np.full(n, -1, np.int64)
    PERMUTE[way](order, *u64(seed, epoch))
    return order


def permutations(n, count):
    """``count`` permutations, by seed and by epoch in turns."""
    return np.array([permutation(n, k // 50, k % 50) for k in range(count)])


def assert_uniform(counts):
    """Fail if a chi-square test finds cells unequal, or too equal to be random."""
    p = stats.chisquare(np.ravel(counts)).pvalue
    assert 1e-3 < p < 1 - 1e-3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", KNOWN)
def test_known_answers(name, way):
    counter, key, expected = KNOWN[name]
    assert tuple(PHILOX[way](*u64(*counter, *key))) == expected
    assert reference_block(counter, key) == expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("index", [0, 1, 2**32 - 1, 2**32, 2**33 + 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_uniforms_are_the_words_of_their_counter(seed, index, way):
    actual = UNIFORMS[way](*u64(seed, 2, 9, index))
    assert tuple(actual) == reference_uniforms(seed, 2, 9, index)


def test_streams_seeds_epochs_and_indices_all_matter():
    keys = [(1, 2, 3, 4), (0, 2, 3, 4), (1, 1, 3, 4), (1, 2, 0, 4), (1, 2, 3, 0), (2, 1, 3, 4)]
    assert len({UNIFORMS["compiled"](*u64(*key)) for key in keys}) == len(keys)


def test_uniforms_are_uniform_and_uncorrelated():
    pairs = np.array([UNIFORMS["compiled"](*u64(7, 3, 0, k)) for k in range(20_000)])
    assert pairs.min() >= 0
    assert pairs.max() < 1
    for u in pairs.T:
        assert_uniform(np.histogram(u, 64, (0, 1))[0])
    assert_uniform(np.histogram2d(*pairs.T, 16, [(0, 1)] * 2)[0])
    assert_uniform(np.histogram2d(pairs[:-1, 0], pairs[1:, 0], 16, [(0, 1)] * 2)[0])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 1347])
def test_permutation_is_fisher_yates(n, seed):
    np.testing.assert_array_equal(permutation(n, seed, 5), reference_permutation(n, seed, 5))


@pytest.mark.parametrize("epoch", [0, 1, 40])
@pytest.mark.parametrize("n", [1, 2, 3, 1347, 65537])
def test_permutation_holds_every_row_once(n, epoch):
    order = permutation(n, 0, epoch)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    if n > 100:
        assert (order == np.arange(n)).mean() < 0.01


@pytest.mark.parametrize("n", [2, 3, 1347])
def test_plain_python_makes_the_same_permutation(n):
    np.testing.assert_array_equal(permutation(n, 3, 8, "python"), permutation(n, 3, 8))


def test_every_row_is_as_likely_at_every_place():
    n = 8
    orders = permutations(n, 4000)
    counts = np.array([np.bincount(column, minlength=n) for column in orders.T])
    # Rows and columns of the table both add up to 4000, so (n - 1)^2 cells are free.
    statistic = ((counts - 4000 / n) ** 2 / (4000 / n)).sum()
    assert 1e-3 < stats.chi2.sf(statistic, (n - 1) ** 2) < 1 - 1e-3


def test_every_permutation_is_as_likely():
    codes = permutations(4, 4800) @ [64, 16, 4, 1]
    found, counts = np.unique(codes, return_counts=True)
    assert found.size == 24
    assert_uniform(counts)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_filled_numbers_do_not_depend_on_what_else_is_filled(dtype):
    """Element i of a whole array is element 0 of an array that starts at counter i."""
    for fill, shape in ((philox.fill_uniform, (-2.0, 3.0)), (philox.fill_normal, (2.0,))):
        whole = np.empty(100, dtype)
        fill(whole, *shape, np.uint64(4), 10)
        part = np.empty(30, dtype)
        fill(part, *shape, np.uint64(4), 80)
        np.testing.assert_array_equal(part, whole[70:])


@pytest.mark.parametrize(
    ("fill", "shape", "distribution"),
    [
        (philox.fill_uniform, (-2.0, 3.0), stats.uniform(-2, 5)),
        (philox.fill_normal, (2.0,), stats.norm(0, 2)),
    ],
    ids=["uniform", "normal"],
)
def test_filled_numbers_have_their_distribution(fill, shape, distribution):
    ways = both(fill)
    by_python, by_kernel = np.empty(2000), np.empty(20_000)
    ways["python"](by_python, *shape, np.uint64(4), 0)
    ways["compiled"](by_kernel, *shape, np.uint64(4), 0)
    assert stats.kstest(by_kernel, distribution.cdf).pvalue > 1e-3
    # The kernel may fuse a multiply-add, and libm's log and cos differ by a rounding: 4 ulp.
    np.testing.assert_allclose(by_python, by_kernel[:2000], rtol=1e-15, atol=1e-15)
