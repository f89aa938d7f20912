"""Drawn, tied and conditional axes; slices and samples. Against SciPy, itertools and statistics."""

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fastopt.errors import SpecError
from sweeps import (
    Space,
    choice,
    draws,
    estimate,
    latin_hypercube,
    linspace,
    logspace,
    loguniform,
    problems,
    randint,
    sobol,
    sweep,
    uniform,
    when,
    zipped,
)
from sweeps.space.designs import random_order

DESIGNS = {"draws": draws, "sobol": sobol, "latin_hypercube": latin_hypercube}
each_design = pytest.mark.parametrize("design", DESIGNS.values(), ids=DESIGNS)
AXES = {
    "lr": loguniform(1e-4, 1.0),
    "beta1": uniform(0.5, 0.9),
    "batch_size": randint(4, 9),
    "optimizer": ["adam", "adamw", "nadam"],
}


def trials(space):
    return [space[i] for i in range(len(space))]


# --- distributions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axis", "law"),
    [
        (uniform(-2.0, 3.0, 4000, seed=5), stats.uniform(-2.0, 5.0)),
        (loguniform(1e-6, 10.0, 4000, seed=6), stats.loguniform(1e-6, 10.0)),
    ],
    ids=["uniform", "loguniform"],
)
def test_draws_follow_their_law(axis, law):
    # The seeds are fixed, so this cannot fail by chance; it fails for a wrong law.
    assert stats.kstest(list(axis), law.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("axis", "options"),
    [
        (randint(-3, 4, 7000, seed=1), range(-3, 4)),
        (choice(["a", "b", "c"], 3000, seed=2), ["a", "b", "c"]),
        (choice(linspace(0.0, 1.0, 5), 5000, seed=3), [0.0, 0.25, 0.5, 0.75, 1.0]),
    ],
    ids=["randint", "choice", "choice of points"],
)
def test_options_are_equally_likely(axis, options):
    drawn = list(axis)
    assert set(drawn) == set(options)
    assert stats.chisquare([drawn.count(option) for option in options]).pvalue > 0.01


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000])
@pytest.mark.parametrize("helper", [uniform, loguniform])
def test_draws_do_not_depend_on_their_number_or_order(helper, n):
    longer, axis = helper(0.5, 2.0, 2**40, seed=9), helper(0.5, 2.0, n, seed=9)
    assert len(longer) == 2**40
    assert list(axis) == list(longer[:n])
    assert axis[::-1] == tuple(reversed(list(axis)))
    assert axis[-1] == longer[n - 1]
    assert list(helper(0.5, 2.0, n, seed=10)) != list(axis)


def test_one_value_is_drawn_to_the_last_bit():
    assert set(uniform(0.1, 0.1, 50)) == set(loguniform(0.1, 0.1, 50)) == {0.1}


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.integers(0, 2**64 - 1))
def test_draws_stay_inside(a, b, seed):
    low, high = min(a, b), max(a, b)
    for helper in (uniform, loguniform):
        assert all(low <= value <= high for value in helper(low, high, 8, seed=seed))


def test_drawn_values_are_plain():
    space = Space({**draws(AXES, 4), "seed": randint(0, 9, 2)})
    assert [type(v) for v in space[3].values()] == [float, float, int, str, int]
    dtypes = {name: column.dtype for name, column in space.columns([0]).items()}
    assert dtypes["batch_size"] == dtypes["seed"] == np.int64
    assert dtypes["lr"] == np.float64


# --- designs -------------------------------------------------------------------------------------


@each_design
def test_designs_are_one_digit_of_the_product(design):
    n = 16
    space = Space({"seed": range(3), **design(AXES, n, seed=4)})
    assert len(space) == 3 * n
    columns = space.columns(np.arange(len(space)))
    for name in AXES:
        assert columns[name].tolist() == columns[name].tolist()[:n] * 3
    assert columns["seed"].tolist() == [0] * n + [1] * n + [2] * n
    assert repr(space) == "Space(48 trials: seed (3) x lr&beta1&batch_size&optimizer (16))"


@each_design
def test_designs_are_reproducible_and_seeded(design):
    first, again = (Space(design(AXES, 32, seed=4)) for _ in range(2))
    assert trials(first) == trials(again) == trials(pickle.loads(pickle.dumps(first)))
    other = Space(design(AXES, 32, seed=5))
    assert [t["lr"] for t in trials(other)] != [t["lr"] for t in trials(first)]


@each_design
def test_dimensions_of_a_design_are_not_copies(design):
    """One seed draws every axis, and the axes must not be correlated."""
    axes = {name: uniform(0.0, 1.0) for name in "abcd"}
    columns = Space(design(axes, 1024, seed=1)).columns(np.arange(1024))
    correlation = np.corrcoef([columns[name] for name in axes])
    # Four standard errors of a correlation of 1024 independent pairs.
    assert np.abs(correlation - np.eye(4)).max() < 4 / math.sqrt(1024)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 100, 1000])
@pytest.mark.parametrize("seed", [0, 7])
def test_a_latin_hypercube_draws_every_stratum_once(n, seed):
    axes = {"x": uniform(0.0, 1.0), "y": uniform(0.0, 1.0)}
    columns = Space(latin_hypercube(axes, n, seed=seed)).columns(np.arange(n))
    for x in columns.values():
        assert sorted(np.floor(x * n).astype(int)) == list(range(n))


@pytest.mark.parametrize("n", [1, 2, 3, 64, 65])
def test_sobol_is_scipys_sequence_with_a_digital_shift(n):
    d = 5
    axes = {f"x{k}": uniform(0.0, 1.0) for k in range(d)}
    ours = Space(sobol(axes, n, seed=3)).columns(np.arange(n))
    ours = np.array([(x * 2**30).astype(np.int64) for x in ours.values()]).T
    scipys = stats.qmc.Sobol(d, scramble=False, bits=30).random_base2(7)[:n] * 2**30
    shift = ours[0]  # SciPy's first point is zero
    np.testing.assert_array_equal(ours ^ shift, scipys.astype(np.int64))
    assert len({*shift.tolist()}) == d


@pytest.mark.parametrize("bits", range(1, 8))
def test_aligned_blocks_of_sobol_points_fill_every_interval(bits):
    axes = {f"x{k}": uniform(0.0, 1.0) for k in range(4)}
    size = 2**bits
    columns = Space(sobol(axes, 3 * size, seed=11)).columns(np.arange(2 * size, 3 * size))
    for x in columns.values():
        assert sorted(np.floor(x * size).astype(int)) == list(range(size))


def test_far_sobol_points_are_scipys():
    """Position 2**20 + 5 is computed from direction numbers, not by walking there."""
    far = 2**20 + 5
    space = Space(sobol({"x": uniform(0.0, 1.0), "y": uniform(0.0, 1.0)}, far + 1, seed=2))
    engine = stats.qmc.Sobol(2, scramble=False, bits=30)
    first = engine.random(1)
    engine.fast_forward(far - 1)
    expected = np.stack([first[0], engine.random(1)[0]]) * 2**30
    ours = np.array([list(space[i].values()) for i in (0, far)]) * 2**30
    assert (ours[0].astype(int) ^ ours[1].astype(int)).tolist() == expected[1].astype(int).tolist()


def test_a_random_search_of_two_to_the_forty_costs_nothing():
    space = Space(draws(AXES, 2**40, seed=1))
    assert len(space) == 2**40
    assert set(space[2**39]) == set(AXES)
    assert trials(space[2**39 : 2**39 + 2])[0] == space[2**39]
    assert trials(space[:3]) == trials(Space(draws(AXES, 3, seed=1)))
    assert list(space.values_of("optimizer")) == ["adam", "adamw", "nadam"]


# --- zipped --------------------------------------------------------------------------------------

columns_of_one_length = st.integers(1, 5).flatmap(
    lambda n: st.dictionaries(
        st.sampled_from("abc"),
        st.lists(st.integers(-9, 9), min_size=n, max_size=n, unique=True),
        min_size=1,
    )
)


@given(
    columns_of_one_length,
    st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
    st.booleans(),
)
def test_zipped_axes_advance_together(tied, other, first):
    axes = {**zipped(tied), "d": other} if first else {"d": other, **zipped(tied)}
    rows = [dict(zip(tied, row)) for row in zip(*tied.values())]
    rest = [{"d": value} for value in other]
    pairs = itertools.product(*([rows, rest] if first else [rest, rows]))
    assert trials(Space(axes)) == [a | b for a, b in pairs]


def test_zipped_axes_may_be_ranges_and_points():
    space = Space(zipped({"lr": logspace(1e-3, 1.0, 2**40), "seed": range(2**40)}))
    assert len(space) == 2**40
    assert space[-1] == {"lr": 1.0, "seed": 2**40 - 1}
    assert len(Space({"a": [1, 2], **zipped({"b": [1, 1]})})) == 4  # no warning: rows may differ


# --- when ----------------------------------------------------------------------------------------


def conditional(axes, conditions):
    """Spell out a conditional product: drop what does not exist, then drop repeated trials."""
    seen = []
    for point in itertools.product(*axes.values()):
        trial = dict(zip(axes, point))
        while True:
            gone = [
                name
                for name, wanted in conditions.items()
                if name in trial and any(trial.get(k, ()) not in v for k, v in wanted.items())
            ]
            if not gone:
                break
            trial = {name: value for name, value in trial.items() if name not in gone}
        if trial not in seen:
            seen.append(trial)
    return seen


def key(trial):
    return sorted((name, str(value)) for name, value in trial.items())


SGD = {
    "lr": [0.1, 1.0],
    "momentum": [0.8, 0.9],
    "optimizer": ["sgd", "momentum", "adam"],
    "beta2": [0.99, 0.999],
    "nesterov": [False, True],
}
CONDITIONS = {
    "one": {"momentum": {"optimizer": ["momentum"]}},
    "two": {"momentum": {"optimizer": ["momentum"]}, "beta2": {"optimizer": ["adam"]}},
    "two conditions": {"momentum": {"optimizer": ["momentum", "adam"], "lr": [1.0]}},
    "chain": {"momentum": {"optimizer": ["momentum"]}, "nesterov": {"momentum": [0.9]}},
    "always": {"beta2": {"lr": [0.1, 1.0]}},
    "two chains": {
        "momentum": {"optimizer": ["momentum"]},
        "nesterov": {"momentum": [0.9], "lr": [0.1]},
        "beta2": {"nesterov": [True]},
    },
}


@pytest.mark.parametrize("conditions", CONDITIONS.values(), ids=CONDITIONS)
def test_conditional_axes_exist_where_they_should_and_nothing_is_repeated(conditions):
    axes = {
        name: when(axis, **conditions[name]) if name in conditions else axis
        for name, axis in SGD.items()
    }
    space = Space(axes)
    assert space.names == tuple(SGD)
    expected = conditional(SGD, conditions)
    assert sorted(map(key, trials(space))) == sorted(map(key, expected))
    assert len(space) == len(expected)
    assert len(Space(space)) == len(space)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True),
)
def test_conditions_split_an_axis(values, other):
    wanted = values[: len(values) // 2 + 1]
    space = Space({"a": values, "b": when(other, a=wanted)})
    assert len(space) == len(values) + len(wanted) * (len(other) - 1)
    assert sorted(map(key, trials(space))) == sorted(
        map(key, conditional({"a": values, "b": other}, {"b": {"a": wanted}}))
    )


def test_a_condition_may_be_on_a_range_and_the_axis_drawn():
    space = Space({"seed": range(4), "lr": when(uniform(0.0, 1.0, 2**40), seed=[1, 3])})
    assert len(space) == 2 + 2 * 2**40
    assert space[0] == {"seed": 0}
    assert set(space[2**41]) == {"seed", "lr"}


# --- slices and samples --------------------------------------------------------------------------

GRID = Space([{"lr": [0.1, 0.2, 0.3], "seed": range(4)}, {"lr": [0.5], "beta1": [0.8, 0.9]}])


@given(st.slices(len(GRID)), st.slices(len(GRID)))
def test_slices_are_those_of_a_list(first, second):
    expected, actual = trials(GRID)[first], GRID[first]
    assert trials(actual) == expected
    assert len(actual) == actual.size == len(expected)
    assert trials(actual[second]) == expected[second]
    assert trials(Space(actual)) == expected


def test_slices_keep_the_dtypes_and_say_what_they_are():
    part = GRID[:2]
    assert {k: c.dtype for k, c in part.columns([0]).items()} == {
        k: c.dtype for k, c in GRID.columns([0]).items()
    }
    assert repr(part) == "Space(2 of 14 trials: lr (3) x seed (4) + lr (1) x beta1 (2))"
    with pytest.raises(IndexError, match=r"must lie in \[0, 2\)"):
        part.columns([2])
    assert part.part_of(1) == GRID.parts[0]


@given(st.integers(0, len(GRID)), st.integers(0, 2**32))
def test_samples_are_different_trials(n, seed):
    picked = trials(GRID.sample(n, seed))
    assert len(picked) == n
    assert len({str(trial) for trial in picked}) == n
    assert all(trial in trials(GRID) for trial in picked)


@pytest.mark.parametrize("size", [5, 70_000, 2**40, 2**62 + 1, 2**63 - 1])
def test_random_orders_are_distinct_seeded_and_nested(size):
    order = random_order(min(size, 1000), size, seed=3)
    assert len(set(order.tolist())) == order.size
    assert 0 <= order.min() <= order.max() < size
    np.testing.assert_array_equal(random_order(3, size, seed=3), order[:3])
    assert random_order(5, size, seed=4).tolist() != order[:5].tolist()


@pytest.mark.parametrize("size", [70_000, 2**40, 3 * 2**61])
def test_random_orders_are_uniform(size):
    order = random_order(5000, size, seed=8)
    cells = np.bincount((order / size * 10).astype(int), minlength=10)
    assert stats.chisquare(cells).pvalue > 0.01
    # The last axis varies fastest: low digits must vary, too.
    assert stats.chisquare(np.bincount(order % 7, minlength=7)).pvalue > 0.01


def test_every_order_of_a_few_is_equally_likely():
    orders = [tuple(random_order(3, 3, seed=seed).tolist()) for seed in range(1200)]
    counts = [orders.count(order) for order in itertools.permutations(range(3))]
    assert stats.chisquare(counts).pvalue > 0.01


def test_a_sample_of_a_huge_grid():
    space = Space({"lr": logspace(1e-6, 1.0, 2**40), "seed": range(2**20)})
    picked = space.sample(1000, seed=1)
    assert trials(picked[:10]) == trials(space.sample(10, seed=1))
    seeds = picked.columns(np.arange(1000))["seed"]
    assert len(set(seeds.tolist())) > 990  # of 2**20, 1000 draws meet less than once


# --- with sweep() --------------------------------------------------------------------------------


def test_every_value_looks_at_extremes():
    space = Space({"optimizer": ["sgd", "adam"], **draws({"lr": uniform(0.0, 1.0)}, 500, seed=1)})
    ids = space.every_value(["optimizer"])
    columns = space.columns(ids)
    everything = space.columns(np.arange(len(space)))["lr"]
    for name in ("sgd", "adam"):
        lr = columns["lr"][columns["optimizer"] == name]
        assert (lr.min(), lr.max()) == (everything.min(), everything.max())
    assert len(ids) <= 6


def test_every_value_of_tied_axes_that_decide():
    tied = zipped({"optimizer": ["sgd", "adam", "lion"], "lr": [0.1, 0.2, 0.3]})
    space = Space({**tied, "seed": range(9)})
    assert [tuple(space[i].values()) for i in space.every_value(["optimizer"])] == [
        (name, lr, seed)
        for name, lr in zip(["sgd", "adam", "lion"], [0.1, 0.2, 0.3])
        for seed in (0, 8)
    ]


@pytest.mark.parametrize("picked", [GRID[3:5], GRID[::-1], GRID.sample(len(GRID), 1)], ids=repr)
def test_every_value_of_a_selection_is_in_it(picked):
    assert {str(picked[i]) for i in picked.every_value()} == {str(trial) for trial in picked}


def test_a_sweep_over_drawn_and_conditional_axes():
    iris = problems.iris(hidden=(4,), dtype="float64")
    space = Space(
        {
            "optimizer": ["sgd", "momentum"],
            "momentum": when([0.5, 0.9], optimizer="momentum"),
            **sobol({"lr": loguniform(1e-3, 0.1), "batch_size": randint(8, 33)}, 4, seed=1),
        }
    )
    result = sweep(iris, space, epochs=1, progress=False)
    assert len(result) == len(space) == 12
    params = result.best_params_
    assert params in trials(space)
    frame, part = result.to_frame(), space.sample(5, seed=2)
    alone = sweep(iris, part, epochs=1, progress=False).to_frame()
    axes = ["optimizer", "lr", "batch_size"]
    both = alone.merge(frame, on=[*axes, "momentum"], suffixes=("", "_grid"))
    assert len(both) == 5
    assert both["train_loss"].tolist() == both["train_loss_grid"].tolist()


def test_draws_out_of_range_are_refused_before_anything_runs():
    iris = problems.iris(hidden=(4,))
    for axes in ({"beta1": uniform(0.5, 1.5, 50)}, draws({"beta1": uniform(0.5, 1.5)}, 50)):
        with pytest.raises(ValueError, match="beta1"):
            estimate(iris, axes, epochs=1)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: uniform("a", 1), r"uniform\(low, high\): low must be a finite number; got 'a'"),
        (lambda: uniform(0, math.inf), "high must be a finite number; got inf"),
        (lambda: uniform(2, 1), "low must not exceed high; got 2 and 1"),
        (lambda: uniform(0, 1, 0), "number of draws, must be an integer from 1 .* got 0"),
        (lambda: uniform(0, 1, 2.0), "number of draws, must be an integer from 1 .* got 2.0"),
        (lambda: uniform(0, 1, 2, seed=-1), "seed must be an integer from 0 .* got -1"),
        (lambda: loguniform(0, 1), "must be positive values .* got 0.0"),
        (lambda: randint(0.5, 3), "low must be an integer; got 0.5"),
        (lambda: randint(3, 3), "high must exceed low, .* got 3 and 3"),
        (lambda: randint(0, 2**60), r"at most 2\*\*53; got 0 and"),
        (lambda: choice([]), r"choice\(options\) is empty"),
        (lambda: Space({"lr": uniform(0, 1)}), r"draws such as uniform\(low, high, n\)"),
        (lambda: draws({}, 3), r"draws\(axes, n\): axes must be a dict of one axis or more"),
        (lambda: draws({"x": uniform(0, 1, 5)}, 5), "distributions without n"),
        (lambda: draws({"x": []}, 5), "axis 'x' is empty"),
        (lambda: sobol({"x": uniform(0, 1)}, 2**30 + 1), r"sobol\(axes, n\): n must be an int"),
        (lambda: latin_hypercube({"x": uniform(0, 1)}, 2**24 + 1), "n must be an integer"),
        (lambda: sobol({"x": uniform(0, 1)}, 4, seed=0.5), "seed must be an integer"),
        (lambda: zipped({}), "axes must be a dict of one axis or more"),
        (lambda: zipped({"a": [1, 2], "b": [1]}), r"one length; got \{'a': 2, 'b': 1\}"),
        (lambda: zipped({"a": uniform(0, 1, 2)}), r"use\W+draws\(...\), sobol"),
        (
            lambda: Space({**zipped({"a": [1], "b": [2]}), "b": zipped({"a": 1, "b": 3})["b"]}),
            None,
        ),
        (lambda: when([1]), "name the axis and its values that decide"),
        (lambda: when(zipped({"a": [1]})["a"], b=1), "use a list of spaces"),
        (lambda: when([1], b=[]), r"when\(..., b\) is empty"),
        (lambda: Space({"a": when([1], lr=[1])}), "exists when 'lr' .* no such axis beside it"),
        (lambda: Space({"a": when([1], bb=1), "b": [1]}), "did you mean 'b'"),
        (lambda: Space({"a": when([1], b="sdg"), "b": ["sgd"]}), "never is [(]did you mean 'sgd'"),
        (lambda: Space({"a": when([1], b=1.0), "b": linspace(0, 1, 9)}), "must be a list or range"),
        (
            lambda: Space({"a": when([1], b=[1]), "b": when([1], a=[1])}),
            "axes 'a', 'b' exist when each other do",
        ),
        (lambda: GRID.sample(15), "size of a sample must be an integer from 0 to 14; got 15"),
        (lambda: GRID.sample(2, seed=-1), "seed must be an integer"),
    ],
)
def test_wrong_axes_are_refused(make, message):
    if message is None:  # two groups of the same names and lengths agree
        assert make()[0] == {"a": 1, "b": 3}
        return
    with pytest.raises(SpecError, match=message):
        make()


def test_tied_axes_of_different_lengths_are_refused():
    long, short = zipped({"a": [1, 2], "b": [1, 2]}), zipped({"a": [1], "b": [1]})
    with pytest.raises(SpecError, match=r"tied together must have one length; got \{'a': 2, 'b'"):
        Space({"a": long["a"], "b": short["b"]})
