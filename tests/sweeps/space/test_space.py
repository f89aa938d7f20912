"""Spaces against itertools.product, and every way of getting an axis wrong."""

import itertools
import math
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastopt.errors import SpecError, SweepWarning
from fastopt.schedules import cosine
from sweeps.space.axes import linspace, logspace, values
from sweeps.space.distributions import loguniform
from sweeps.space.space import Space, check_names

NAMES = ["lr", "beta1", "optimizer", "seed", "nesterov"]

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
int64 = st.integers(-(2**63), 2**63 - 1)
axis_values = st.one_of(
    st.lists(finite, min_size=1, max_size=4, unique=True),
    st.lists(int64, min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["sgd", "adam", "adamw"]), min_size=1, max_size=3, unique=True),
    st.lists(st.booleans(), min_size=1, max_size=2, unique=True),
    st.builds(range, st.integers(-5, 5), st.integers(6, 9), st.integers(1, 3)),
    st.builds(linspace, finite, finite, st.integers(1, 1)),
)
products = st.dictionaries(st.sampled_from(NAMES), axis_values, max_size=3)


def product(axes):
    """Spell out a product the plain way, last axis fastest."""
    return [dict(zip(axes, point)) for point in itertools.product(*axes.values())]


@given(products)
def test_decoding_is_the_product(axes):
    space, expected = Space(axes), product(axes)
    assert [space[i] for i in range(len(space))] == expected
    columns = space.columns(np.arange(space.size))
    for name in axes:
        assert columns[name].tolist() == [trial[name] for trial in expected]


@given(products, st.data())
def test_any_block_in_any_order_is_the_same_rows(axes, data):
    space = Space(axes)
    ids = data.draw(st.lists(st.integers(0, space.size - 1), max_size=10))
    whole, block = space.columns(np.arange(space.size)), space.columns(ids)
    for name in axes:
        assert block[name].dtype == whole[name].dtype
        np.testing.assert_array_equal(block[name], whole[name][ids])


def test_what_is_an_array_is_an_axis():
    column = pd.Series([0.1, 0.2], index=[7, 3])
    for axis in (column, column.astype("Float64"), torch.tensor(column.to_numpy())):
        assert list(Space({"lr": axis})) == [{"lr": 0.1}, {"lr": 0.2}]
    names = [{"optimizer": "sgd"}, {"optimizer": "adam"}]
    for dtype in ("str", "category", object):
        assert list(Space({"optimizer": pd.Series(["sgd", "adam"], dtype=dtype)})) == names
    assert list(Space({"seed": pd.Index([2, 1])})) == [{"seed": 2}, {"seed": 1}]


def test_union_numbers_its_parts_one_after_the_other():
    parts = [
        {"optimizer": ["sgd"], "lr": [0.1, 1.0]},
        {"optimizer": ["adam"], "lr": [0.01], "beta1": [0.8, 0.9]},
        {},
    ]
    space = Space(parts)
    assert space.size == 5
    assert space.names == ("optimizer", "lr", "beta1")
    assert list(space) == [trial for part in parts for trial in product(part)]
    assert [space.part_of(i) for i in (1, 2, 4)] == [*space.parts]


def test_gaps_of_a_union():
    space = Space(
        [{"lr": [0.1], "seed": [3], "form": "ema", "nesterov": [True]}, {"lr": [0.2]}, {}]
    )
    columns, present = space.columns([0, 1, 2]), space.present([0, 1, 2])
    np.testing.assert_array_equal(columns["lr"], [0.1, 0.2, math.nan])
    assert columns["seed"].tolist() == [3, None, None]
    assert columns["form"].tolist() == ["ema", None, None]
    assert columns["nesterov"].tolist() == [True, None, None]
    assert present["lr"].tolist() == [True, True, False]
    assert present["seed"].tolist() == [True, False, False]


def test_the_dtype_of_a_column_does_not_depend_on_the_block():
    space = Space([{"lr": [0.1], "seed": [3]}, {"lr": [1]}])
    for ids in ([0], [1], [0, 1], []):
        dtypes = {name: column.dtype for name, column in space.columns(ids).items()}
        assert dtypes == {"lr": np.float64, "seed": object}


@pytest.mark.parametrize(
    ("axis", "gap", "dtype", "expected"),
    [
        ([3], 7, np.int64, [3, 7]),
        ([0.5], 7, np.float64, [0.5, 7.0]),
        ([0, 1], 0.5, np.float64, [0.0, 1.0, 0.5]),  # not truncated to the axis's int64
        (["ema"], "velocity", object, ["ema", "velocity"]),
        ([True], False, np.bool_, [True, False]),
    ],
)
def test_gaps_can_be_filled(axis, gap, dtype, expected):
    space = Space([{"x": axis}, {}])
    column = space.columns(np.arange(space.size), fill={"x": gap})["x"]
    assert column.dtype == dtype
    assert column.tolist() == expected


def test_a_grid_of_two_to_the_forty_costs_nothing():
    space = Space({f"x{i:02}": [0, 1] for i in range(40)})
    assert space.size == len(space) == 2**40
    number = 0b1011001110001111000011111000001111110000
    expected = [int(bit) for bit in f"{number:040b}"]
    assert list(space[number].values()) == expected
    columns = space.columns([number, 2**40 - 1])
    assert [columns[name][0] for name in space.names] == expected
    assert all(columns[name][1] == 1 for name in space.names)


def test_long_axes_stay_lazy():
    n = 2**40
    space = Space({"lr": logspace(1e-6, 1.0, n), "wd": linspace(0.0, 1.0, n // 2**20), "seed": [1]})
    assert space.size == 2**60
    assert space[-1] == {"lr": 1.0, "wd": 1.0, "seed": 1}
    assert Space({"seed": range(n)}).columns([n - 1])["seed"].tolist() == [n - 1]


def test_the_largest_space():
    assert Space({"seed": range(2**31), "x": range(2**32 - 1)}).size == 2**63 - 2**31
    with pytest.raises(SpecError, match=r"at most 2\*\*63 - 1 trials; this one has 1180591620717"):
        Space({"a": range(2**35), "b": range(2**35)})


@given(finite, finite, st.integers(2, 40))
def test_linspace_is_the_exact_line(low, high, n):
    exact = [Fraction(low) + (Fraction(high) - Fraction(low)) * i / (n - 1) for i in range(n)]
    # i/(n-1), 1-t, two products and a sum: five roundings, each at most 1/2 ulp of an end.
    tolerance = 2.5 * math.ulp(max(abs(low), abs(high)))
    points = linspace(low, high, n)
    assert all(abs(Fraction(p) - e) <= tolerance for p, e in zip(points, exact))
    assert (points[0], points[-1]) == (low, high)


@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12), st.integers(2, 40))
def test_logspace_is_numpys_geomspace(low, high, n):
    points = logspace(low, high, n)
    # An error of 1 ulp in a decimal exponent up to 12 is 12 ln(10) eps in the value, on each side.
    np.testing.assert_allclose(points, np.geomspace(low, high, n), rtol=4 * 12 * 2.3 * 2.3e-16)
    assert (points[0], points[-1]) == (low, high)


def test_decades_of_logspace_are_round_numbers():
    """To the last bit, so that ``frame.lr == 0.001`` finds what ``lr=0.001`` trained."""
    for low, decades, each in itertools.product(range(-10, 5), range(1, 9), (1, 2, 3, 5, 6, 10)):
        n = decades * each + 1
        points = logspace(float(f"1e{low}"), float(f"1e{low + decades}"), n)
        assert points[::each] == tuple(float(f"1e{low + k}") for k in range(decades + 1))
        assert list(points) == points.at(np.arange(n)).tolist()
    assert list(logspace(0.1, 0.1, 1)) == [0.1]


@pytest.mark.parametrize(
    ("axis", "dtype", "expected"),
    [
        ([1, 2], np.int64, [1, 2]),
        ((1, 2.5), np.float64, [1.0, 2.5]),
        (range(4, 0, -2), np.int64, [4, 2]),
        (np.array([1, 2], np.uint8), np.int64, [1, 2]),
        (np.array(3.5), np.float64, [3.5]),
        (np.float32(0.5), np.float64, [0.5]),
        ([np.float32(0.1)], np.float64, [0.10000000149011612]),
        (np.array(["sgd", "adam"]), object, ["sgd", "adam"]),
        ("adam", object, ["adam"]),
        (7, np.int64, [7]),
        (True, np.bool_, [True]),
        ([np.True_, False], np.bool_, [True, False]),
        (values(0.5, 1), np.float64, [0.5, 1.0]),
        ([2**63 - 1, -(2**63)], np.int64, [2**63 - 1, -(2**63)]),
        ([Fraction(1, 4)], np.float64, [0.25]),
        (["constant", cosine(9)], object, ["constant", cosine(9)]),
    ],
)
def test_values_keep_their_type(axis, dtype, expected):
    space = Space({"x": axis})
    column = space.columns(np.arange(space.size))["x"]
    assert column.dtype == dtype
    trials = [trial["x"] for trial in space]
    assert trials == column.tolist() == expected
    assert [type(x) for x in trials] == [type(x) for x in expected]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"lr": []}, "axis 'lr' is empty; give it one value"),
        ({"lr": range(0)}, "axis 'lr' is empty"),
        ([{"lr": [0.1]}, {"lr": np.empty(0)}], "axis 'lr' is empty"),
        ({"lr": [0.1, math.nan]}, "axis 'lr' holds nan; its values must be finite"),
        ({"lr": -math.inf}, "axis 'lr' holds -inf"),
        ({"lr": [0.1, "x"]}, r"axis 'lr' mixes values of different sorts \(name, real\)"),
        ({"seed": [2**53 + 1, 0.5]}, "9007199254740993 among reals, which hold it as .*40992"),
        ({"lr": [1, True]}, r"mixes values of different sorts \(boolean, integer\)"),
        ([{"x": ["a"]}, {"x": [1]}], r"axis 'x' mixes values of different sorts \(integer, name\)"),
        ({"lr": [None]}, "axis 'lr' holds None of type NoneType; allowed are a list"),
        ({"lr": [[0.1]]}, r"axis 'lr' holds \[0.1\] of type list"),
        ({"lr": {0.1}}, r"axis 'lr' holds \{0.1\} of type set"),
        ({"lr": [1j]}, "of type complex"),
        ({"lr": (x for x in [1])}, "of type generator"),
        (
            {"lr": loguniform(0.1, 1)},
            r"Say how many are drawn, loguniform\(0.1, 1.0, 20\)",
        ),
        (
            {"lr": np.ones((2, 2))},
            r"axis 'lr' must be one-dimensional; got an array of shape \(2, 2\)",
        ),
        ({"seed": [2**63]}, "axis 'seed' holds 9223372036854775808; integers must fit in 64 bits"),
        ({"seed": range(2**63, 2**63 + 2)}, "axis 'seed' holds 9223372036854775808"),
        ({3: [1]}, "an axis is named by a non-empty string; got 3"),
        ({"": [1]}, "an axis is named by a non-empty string; got ''"),
        ([], r"a list of one such dict or more; got \[\]"),
        ("lr", "a space is a dict of axes, or a list of one such dict or more; got 'lr'"),
        ([["lr"]], r"each part of a union must be a dict of axes; got \['lr'\]"),
    ],
)
def test_wrong_axes_are_refused(axes, message):
    with pytest.raises(SpecError, match=message):
        Space(axes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: logspace(0, 1, 5), r"must be positive values \(not exponents\); got 0 and 1"),
        (lambda: logspace(-4, 0, 5), "got -4 and 0"),
        (lambda: logspace(1e-4, math.inf, 5), r"logspace\(low, high, n\): high must be a finite"),
        (lambda: linspace("a", 1, 5), "low must be a finite number; got 'a'"),
        (lambda: linspace(True, 1, 5), "low must be a finite number; got True"),
        (lambda: linspace(0, 1, 0), "n must be a positive integer; got 0"),
        (lambda: linspace(0, 1, 2.0), "n must be a positive integer; got 2.0"),
        (lambda: linspace(0, 1, 2**63), "n must be a positive integer"),
    ],
)
def test_wrong_spacings_are_refused(make, message):
    with pytest.raises(SpecError, match=message):
        make()


@pytest.mark.parametrize("axis", [[0.1, 0.2, 0.1], [1, 1.0], linspace(0.1, 0.1, 2)])
def test_repeated_values_are_kept_and_warned_of_once(axis):
    with pytest.warns(SweepWarning, match=r"axis 'lr' lists (0.1|1.0) more than once") as caught:
        space = Space({"lr": axis, "seed": [1, 2]})
    assert len(caught) == 1
    assert space.size == 2 * len(axis)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Space(space).parts == space.parts


@pytest.mark.parametrize("ids", [[-1], [4], [2**62], [0, 4]])
def test_numbers_of_no_trial_are_refused(ids):
    space = Space({"lr": [1.0, 2.0], "seed": [1, 2]})
    with pytest.raises(IndexError, match=r"must lie in \[0, 4\)"):
        space.columns(ids)
    with pytest.raises(IndexError):
        space[4]
    assert space[-1] == space[3]


@pytest.mark.parametrize("ids", [[0.5], [[0]], [True], "a", 0])
def test_trial_numbers_are_a_row_of_integers(ids):
    with pytest.raises(SpecError, match="must be a 1-D array of integers"):
        Space({"lr": [1.0, 2.0]}).columns(ids)


def test_no_axes_is_one_trial():
    assert list(Space({})) == [{}]
    assert Space({}).columns([0]) == {}


def test_names_are_checked_with_the_nearest_one_suggested():
    check_names(["lr", "beta1"], ["beta1", "lr"])
    with pytest.raises(SpecError, match=r"unknown axis 'learning'\. Allowed: lr, beta1"):
        check_names(["learning"], ["lr", "beta1"])
    with pytest.raises(SpecError, match=r"unknown option 'epohcs' [(]did you mean 'epochs'\?"):
        check_names(["epohcs"], ["epochs", "steps"], "option")


def test_repr_says_what_is_multiplied():
    space = Space([{"lr": logspace(1e-4, 1, 25), "seed": range(3)}, {"lr": 0.1}, {}])
    assert repr(space) == "Space(77 trials: lr (25) x seed (3) + lr (1) + no axes)"


@pytest.mark.parametrize(
    "axis",
    [
        logspace(1e-4, 1, 1000), logspace(3e-7, 11, 10**7), linspace(-3, 7.7, 12345),
        linspace(1, 2, 1), logspace(1, 2, 2), linspace(0, 1, 2**53 + 7), logspace(1e-3, 1, 2**53),
    ],
    ids=repr,
)  # fmt: skip
def test_points_have_the_same_bits_one_at_a_time_and_many(axis):
    digits = np.unique(
        np.append(np.random.default_rng(0).integers(0, axis.n, 500), [0, axis.n - 1])
    )
    np.testing.assert_array_equal(axis.at(digits), [axis[k] for k in digits.tolist()])
