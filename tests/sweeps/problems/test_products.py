"""Register tiles against NumPy in twice the precision, at every edge of a tile."""

import numpy as np
import pytest

from sweeps.problems.matrices import flat, matrix, sum_rows
from sweeps.problems.small_matmul import product
from tests.helpers.compiled import both

run, sums = both(product), both(sum_rows)
views = both(lambda a, offset, rows, columns: matrix(a, offset, rows, columns))
numbers = both(lambda a: flat(a))
ROWS, DEPTHS, COLUMNS = [1, 3, 4, 5, 7, 8, 9, 33], [1, 7, 64], [1, 7, 8, 9, 15, 16, 17, 31, 32, 33]
CANARY = 12345.0


def operands(rows, depth, columns, dtype, transposed, bias, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(depth, rows)).astype(dtype).T if transposed else None
    a = rng.normal(size=(rows, depth)).astype(dtype) if a is None else a
    b = rng.normal(size=(depth, columns)).astype(dtype)
    return a, b, rng.normal(size=columns if bias else 0).astype(dtype)


@pytest.mark.parametrize("way", ["python", "compiled"])
@pytest.mark.parametrize("transposed", [False, True], ids=["as_it_is", "transposed"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_product_is_the_sum_of_products(dtype, transposed, way):
    """Each sum of ``depth`` terms errs by ``depth`` roundings of sums of sizes at most."""
    wide = np.longdouble
    for rows in ROWS:
        for depth in DEPTHS:
            for columns in COLUMNS:
                bias = (rows + columns) % 2 == 0
                a, b, start = operands(rows, depth, columns, dtype, transposed, bias)
                memory = np.full((rows + 2) * columns, CANARY, dtype)
                c = memory[columns:-columns].reshape(rows, columns)
                run[way](a, b, c, start)
                begun = np.broadcast_to(start if bias else np.zeros(columns), c.shape)
                exact = begun.astype(wide) + a.astype(wide) @ b.astype(wide)
                sizes = abs(begun) + abs(a).astype(wide) @ abs(b).astype(wide)
                assert (abs(c - exact) <= (depth + 1) * np.finfo(dtype).eps * sizes).all()
                assert (memory[:columns] == CANARY).all()
                assert (memory[-columns:] == CANARY).all()


def test_a_row_has_the_same_bits_alone_and_in_a_crowd():
    a, b, start = operands(33, 64, 33, np.float32, False, True)
    whole, alone = np.empty((33, 33), np.float32), np.empty((1, 33), np.float32)
    run["compiled"](a, b, whole, start)
    for i in range(33):
        run["compiled"](a[i : i + 1], b, alone, start)
        np.testing.assert_array_equal(alone[0], whole[i])


def test_nothing_and_not_a_number():
    b, start = np.ones((3, 5), np.float32), np.zeros(5, np.float32)
    run["compiled"](np.empty((0, 3), np.float32), b, np.empty((0, 5), np.float32), start)
    a, c = np.array([[1, np.inf, np.nan], [1, 2, 3]], np.float32), np.empty((2, 5), np.float32)
    run["compiled"](a, b, c, start)
    assert np.isnan(c[0]).all()
    np.testing.assert_array_equal(c[1], 6)


@pytest.mark.parametrize("way", ["python", "compiled"])
def test_sums_of_rows_and_views(way):
    """Four rows at a time, in the order of one at a time, to the bit."""
    for rows in range(1, 11):
        memory = np.random.default_rng(rows).normal(size=3 + rows * 5).astype(np.float32)
        whole, out = views[way](memory, 3, rows, 5), np.empty(5, np.float32)
        np.testing.assert_array_equal(whole, memory[3:].reshape(rows, 5))
        sums[way](whole, out)
        np.testing.assert_array_equal(out, np.add.accumulate(whole)[-1])
        numbers[way](whole)[-1] = 7.0
        assert memory[-1] == 7.0
