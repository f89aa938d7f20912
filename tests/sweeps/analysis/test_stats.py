"""Statistics of results, against SciPy one row at a time and sums of squares written out."""

import itertools
import math
import statistics

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from fastopt.errors import SpecError
from sweeps import Space, SweepResult, draws, linspace, uniform, when, zipped
from sweeps.analysis.importance import decompose
from sweeps.analysis.stats import scores
from sweeps.common.frames import configurations

COMPLETE, DIVERGED, PRUNED, FAILED = range(4)


def result_of(space, metric, state=COMPLETE, mode="min", **more):
    """Return a result whose metric is a function of the trial's dict, or an array."""
    space = Space(space)
    ids = np.arange(len(space))
    loss = np.array([metric(trial) for trial in space]) if callable(metric) else np.array(metric)
    columns = {"trial_id": ids, **space.columns(ids), "state": np.broadcast_to(state, ids.shape)}
    return SweepResult(columns | {"loss": loss, **more}, None, "loss", mode, {}, space)


def noise(n, seed=0):
    return np.random.default_rng(seed).standard_normal(n)


# --- scores --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "diverged", "expected"),
    [
        ("min", "exclude", [2.0, 5.0, None, None, None, None]),
        ("min", "worst", [2.0, 5.0, 5.0, 5.0, None, None]),
        ("max", "worst", [2.0, 5.0, 2.0, 2.0, None, None]),
    ],
)
def test_what_counts(mode, diverged, expected):
    """COMPLETE and infinite counts as diverged; PRUNED and FAILED never count."""
    state = [COMPLETE, COMPLETE, COMPLETE, DIVERGED, PRUNED, FAILED]
    result = result_of({"x": range(6)}, [2.0, 5.0, np.inf, 0.1, 0.2, 0.3], state, mode)
    actual = scores(result, "loss", diverged).tolist()
    assert [None if math.isnan(score) else score for score in actual] == expected


def test_never_reached_is_not_a_small_number_of_steps():
    reached = np.array([40, -1, 30])
    result = result_of({"x": range(3)}, [1.0, 1.0, 1.0], steps_to_target=reached)
    assert np.isnan(scores(result, "steps_to_target")).tolist() == [False, True, False]
    table = result_of({"seed": range(3)}, noise(3), steps_to_target=reached).over_seeds()
    assert table["mean_steps_to_target"].tolist() == [35.0]
    assert table["n_steps_to_target"].tolist() == [2]


def test_configurations_number_distinct_rows():
    rows = [(1.0, None), (math.nan, "a"), (1.0, "a"), (math.nan, "a"), (1.0, None)]
    columns = {
        "x": np.array([x for x, _ in rows]),
        "y": np.array([y for _, y in rows], object),
    }
    assert configurations(columns, ["x", "y"]).tolist() == [0, 1, 2, 1, 0]
    assert configurations(columns, ["x"]).tolist() == [0, 1, 0, 1, 0]
    assert configurations(columns, []).tolist() == [0] * 5


# --- over seeds ----------------------------------------------------------------------------------

SEEDS = {"optimizer": ["sgd", "adam"], "lr": [0.1, 1.0, 10.0], "seed": range(8)}


def test_over_seeds_is_each_configuration_by_itself():
    loss = noise(48)
    result = result_of(SEEDS, loss, accuracy=noise(48, seed=1))
    table = result.over_seeds(confidence=0.9)
    assert table["optimizer"].tolist() == ["sgd"] * 3 + ["adam"] * 3
    assert table["lr"].tolist() == [0.1, 1.0, 10.0] * 2
    assert table["n_trials"].tolist() == table["n_loss"].tolist() == [8] * 6
    for metric in ("loss", "accuracy"):
        for row, values in zip(
            table.itertuples(), np.asarray(result.columns[metric]).reshape(6, 8).tolist()
        ):
            mean, std = statistics.mean(values), statistics.stdev(values)
            interval = stats.t.interval(0.9, 7, loc=mean, scale=std / math.sqrt(8))
            assert getattr(row, f"min_{metric}") == min(values)
            assert getattr(row, f"max_{metric}") == max(values)
            # Means of eight numbers of order one, added in another order.
            found = [getattr(row, f"{name}_{metric}") for name in ("mean", "std", "ci_low")]
            np.testing.assert_allclose(found, [mean, std, interval[0]], rtol=1e-12, atol=1e-14)
            assert getattr(row, f"ci_high_{metric}") == pytest.approx(interval[1], rel=1e-12)


def test_over_seeds_by_bootstrap_is_scipys_row_by_row():
    state = np.zeros(48, int)
    state[[0, 9, 10]] = DIVERGED  # so that configurations have 7, 6 and 8 trials
    # Multiples of 1/1024, so that sums are exact in any order: BCa counts means that are equal.
    loss = np.round(1024 * np.exp(noise(48))) / 1024
    table = result_of(SEEDS, loss, state).over_seeds(interval="bca", n_resamples=999)
    assert table["n_loss"].tolist() == [7, 6, 8, 8, 8, 8]
    for k in range(6):
        values = loss[8 * k : 8 * k + 8][state[8 * k : 8 * k + 8] == COMPLETE]
        expected = stats.bootstrap(
            (values,), np.mean, n_resamples=999, rng=np.random.default_rng(0), vectorized=True
        ).confidence_interval
        np.testing.assert_allclose(table["ci_low_loss"][k], expected.low, rtol=1e-12)
        np.testing.assert_allclose(table["ci_high_loss"][k], expected.high, rtol=1e-12)
        assert table["min_loss"][k] < table["ci_low_loss"][k] < table["mean_loss"][k]


@pytest.mark.parametrize("interval", ["student", "bca"])
def test_few_or_equal_trials(interval):
    loss = [1.0, 2.0, 3.0, 3.0, np.nan, np.nan]
    state = [COMPLETE, DIVERGED, COMPLETE, COMPLETE, DIVERGED, FAILED]
    result = result_of({"lr": [1.0, 2.0, 3.0], "seed": [0, 1]}, loss, state)
    table = result.over_seeds(interval=interval)
    assert table["n_trials"].tolist() == [2, 2, 2]
    assert table["n_diverged"].tolist() == [1, 0, 1]
    assert table["n_loss"].tolist() == [1, 2, 0]
    np.testing.assert_array_equal(table["mean_loss"], [1.0, 3.0, np.nan])
    np.testing.assert_array_equal(table["std_loss"], [np.nan, 0.0, np.nan])
    np.testing.assert_array_equal(table["ci_low_loss"], [np.nan, 3.0, np.nan])
    np.testing.assert_array_equal(table["ci_high_loss"], [np.nan, 3.0, np.nan])


def test_over_seeds_keeps_dtypes_and_gaps():
    space = [{"optimizer": ["sgd"], "seed": range(2)}, {"seed": range(2), "momentum": [0.9]}]
    table = result_of(space, noise(4)).over_seeds(metrics=["loss"])
    assert len(table) == 2
    assert table["optimizer"].dtype == "category"
    assert table["optimizer"].isna().tolist() == [False, True]
    assert table["momentum"].fillna(-1.0).tolist() == [-1.0, 0.9]
    assert result_of({"seed": range(3)}, noise(3)).over_seeds()["n_trials"].tolist() == [3]
    empty = SweepResult(
        {k: a[:0] for k, a in result_of(SEEDS, noise(48)).columns.items()}, None, "loss", "min", {}
    )
    assert len(empty.over_seeds()) == 0


def test_confidence_intervals_cover():
    """Of 95 % intervals of normal numbers about 95 % hold the truth: 1900 +- 3 sd of 2000."""
    result = result_of({"lr": linspace(0.0, 1.0, 2000), "seed": range(5)}, noise(10_000))
    table = result.over_seeds()
    covered = ((table["ci_low_loss"] < 0.0) & (table["ci_high_loss"] > 0.0)).sum()
    assert abs(covered - 1900) < 3 * math.sqrt(2000 * 0.95 * 0.05)


# --- comparisons ---------------------------------------------------------------------------------


def test_a_comparison_is_of_paired_trials():
    loss = np.exp(noise(48))
    shuffled = np.random.default_rng(2).permutation(48)
    result = result_of(SEEDS, loss)
    columns = {name: np.asarray(column)[shuffled] for name, column in result.columns.items()}
    found = SweepResult(columns, None, "loss", "min", {}).compare("optimizer", "adam", "sgd")
    differences = loss[24:] - loss[:24]
    assert sorted(found.differences) == sorted(differences)
    assert (found.n_pairs, found.n_dropped) == (24, 0)
    # Sums of 24 numbers of order one in another order.
    for actual, expected in (
        (found.mean_a, loss[24:].mean()),
        (found.mean_b, loss[:24].mean()),
        (found.difference, differences.mean()),
        (found.p_value, stats.wilcoxon(loss[24:], loss[:24]).pvalue),
    ):
        assert actual == pytest.approx(expected, rel=1e-12)
    assert (found.wins, found.ties, found.losses) == (
        (differences < 0).sum(),
        0,
        (differences > 0).sum(),
    )
    interval = stats.bootstrap(
        (found.differences,), np.mean, rng=np.random.default_rng(0)
    ).confidence_interval
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(interval), rel=1e-12)


def test_common_random_numbers_cancel():
    """A gain of 0.1 behind seeds that differ by 100 is seen at once, since pairs share the seed."""
    space = {"optimizer": ["sgd", "adam"], "seed": range(12)}
    seeds = 100.0 * noise(12)
    small = 0.01 * noise(12, seed=1)
    result = result_of(space, np.concatenate([seeds, seeds - 0.1 + small]))
    found = result.compare("optimizer", "adam", "sgd")
    assert found.better == "adam"
    assert -0.12 < found.ci_low < found.difference < found.ci_high < -0.08
    assert found.p_value == stats.wilcoxon(small - 0.1).pvalue
    assert (found.wins, found.losses) == (12, 0)
    assert result.compare("optimizer", "sgd", "adam").better == "adam"
    columns = result.columns
    assert (
        SweepResult(columns, None, "loss", "max", {}).compare("optimizer", "adam", "sgd").better
        == "sgd"
    )


def test_differences_equal_but_for_rounding_share_a_rank():
    rng = np.random.default_rng(0)
    for rows in (36, 45, 64, 360):
        hits = rng.integers(rows - 12, rows + 1, (2, 20))
        result = result_of({"optimizer": ["sgd", "adam"], "seed": range(20)}, hits.ravel() / rows)
        found = result.compare("optimizer", "sgd", "adam")
        assert found.p_value == stats.wilcoxon(hits[0] - hits[1]).pvalue
    # Whatever another pair comes to: small differences are none the less differences.
    losses = np.array([[1.0, 2.0, 3.0, 1e30, 4.0, 5.0], [1.1, 2.3, 3.2, 2e30, 4.4, 5.6]])
    result = result_of({"optimizer": ["sgd", "adam"], "seed": range(6)}, losses.ravel())
    assert result.compare("optimizer", "sgd", "adam").p_value == 2 / 2**6


@pytest.mark.parametrize(
    ("diverged", "pairs", "dropped", "difference"),
    [("exclude", 2, 2, 1.0), ("worst", 3, 1, (1.0 + 1.0 + 6.0) / 3)],
)
def test_diverged_trials_of_a_comparison(diverged, pairs, dropped, difference):
    loss = [1.0, 2.0, 3.0, 4.0, 2.0, 3.0, np.inf, 9.0]
    state = [COMPLETE, COMPLETE, COMPLETE, FAILED, COMPLETE, COMPLETE, DIVERGED, COMPLETE]
    result = result_of({"lr": [1.0, 2.0], "seed": range(4)}, loss, state)
    found = result.compare("lr", 2.0, 1.0, diverged=diverged)
    assert (found.n_pairs, found.n_dropped) == (pairs, dropped)
    assert found.difference == pytest.approx(difference, rel=1e-15)


def test_ties_and_single_pairs():
    equal = result_of({"lr": [1.0, 2.0], "seed": range(4)}, [1.0, 2.0, 3.0, 4.0] * 2)
    found = equal.compare("lr", 1.0, 2.0)
    assert (found.ties, found.p_value, found.better) == (4, 1.0, None)
    assert (found.ci_low, found.ci_high) == (0.0, 0.0)
    single = result_of({"lr": [1.0, 2.0]}, [1.0, 2.0]).compare("lr", 1.0, 2.0)
    assert single.n_pairs == 1
    assert math.isnan(single.ci_low)
    assert single.better is None


def test_repeated_trials_pair_in_order():
    with pytest.warns(UserWarning, match="more than once"):
        result = result_of({"lr": [1.0, 2.0], "seed": [3, 3]}, [1.0, 2.0, 10.0, 20.0])
    assert result.compare("lr", 2.0, 1.0).differences.tolist() == [9.0, 18.0]


def test_pairs_of_a_union_agree_in_what_they_have():
    space = [
        {"optimizer": ["sgd"], "seed": range(3)},
        {"optimizer": ["momentum"], "momentum": [0.8, 0.9], "seed": range(3)},
        {"optimizer": ["adam"], "seed": range(3)},
    ]
    result = result_of(space, np.arange(12.0))
    assert result.compare("optimizer", "adam", "sgd").differences.tolist() == [9.0] * 3
    with pytest.raises(
        SpecError, match=r"no pair to compare\. 0 pairs of trials agree in every oth"
    ):
        result.compare("optimizer", "momentum", "sgd")


# --- importance ----------------------------------------------------------------------------------


def sums_of_squares(grid):
    """Return the two-way analysis of variance of a table as a textbook writes it, in loops."""
    rows, columns = len(grid), len(grid[0])
    grand = sum(map(sum, grid)) / (rows * columns)
    row = [sum(cells) / columns for cells in grid]
    column = [sum(cells[k] for cells in grid) / rows for k in range(columns)]
    first = columns * sum((m - grand) ** 2 for m in row)
    second = rows * sum((m - grand) ** 2 for m in column)
    both = sum(
        (grid[i][k] - row[i] - column[k] + grand) ** 2 for i in range(rows) for k in range(columns)
    )
    return first, second, both


TABLE = [[3.0, 1.0, 4.0, 1.0], [5.0, 9.0, 2.0, 6.0], [5.0, 3.0, 5.0, 8.0]]


def test_importance_is_the_two_way_analysis_of_variance():
    result = result_of({"a": [1, 2, 3], "b": [1.0, 2.0, 3.0, 4.0]}, np.ravel(TABLE))
    found = result.importance().set_index("effect")
    expected = dict(zip(["a", "b", "a x b"], sums_of_squares(TABLE)))
    total = sum(expected.values())
    assert total == pytest.approx(12 * statistics.pvariance(np.ravel(TABLE)), rel=1e-14)
    for effect, squares in expected.items():
        assert found["share"][effect] == pytest.approx(squares / total, rel=1e-13)
        assert found["variance"][effect] == pytest.approx(squares / 12, rel=1e-13)
    assert found["order"].to_dict() == {"a": 1, "b": 1, "a x b": 2}


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e300])
def test_nothing_explains_a_metric_that_does_not_vary(value):
    """Also where the mean of equal numbers is an ulp off."""
    result = result_of({"a": range(5), "b": range(2), "c": range(3)}, np.full(30, value))
    assert not result.importance()["share"].any()


@pytest.mark.parametrize("unit", [1.0, 2.0**664, 2.0**-664])
def test_shares_of_known_functions(unit):
    """Also where the squares of losses are infinite, or 0."""
    axes = {"x": [-1, 1], "y": [-2, 0, 2], "z": [-1, 1]}
    additive = result_of(
        axes, lambda t: unit * (3.0 * t["x"] + t["y"] ** 2 - 5.0 * t["z"])
    ).importance()
    shares = additive.set_index("effect")["share"]
    variances = {"x": 9.0, "y": 32.0 / 9.0, "z": 25.0}  # of 3x; of 4, 0, 4; of 5z
    for name, variance in variances.items():
        assert shares[name] == pytest.approx(variance / sum(variances.values()), rel=1e-13)
    assert shares.drop(list(variances)).abs().max() < 1e-30
    assert additive["effect"].tolist()[:3] == ["z", "x", "y"]
    product = result_of(axes, lambda t: t["x"] * t["y"] * t["z"]).importance()
    assert product.set_index("effect")["share"]["higher orders"] == 1.0


@given(
    arrays.arrays(
        np.float64,
        arrays.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
        elements=st.floats(-100, 100),
    )
)
def test_variances_add_up(grid):
    effects = decompose(grid)
    assert all(variance >= 0.0 for variance in effects.values())
    # Sums of up to 256 squares below 1e4, of which there are up to eleven.
    assert sum(effects.values()) == pytest.approx(grid.var(), rel=1e-10, abs=1e-10)
    assert sorted(k for e in effects if len(e) == 1 for k in e) == list(range(grid.ndim))


def test_the_order_of_axes_and_rows_does_not_matter():
    loss = noise(24)
    a = result_of({"a": [1, 2], "b": [1, 2, 3], "c": range(4)}, loss)
    b = result_of(
        {"c": range(4), "a": [1, 2], "b": [1, 2, 3]},
        loss.reshape(2, 3, 4).transpose(2, 0, 1).ravel(),
    )
    shares = [r.importance().set_index("effect")["share"] for r in (a, b)]
    for first, second in (("a", "a"), ("b x c", "c x b"), ("a x b", "a x b")):
        assert shares[0][first] == pytest.approx(shares[1][second], rel=1e-12)


DIVERGES = {"lr": [0.1, 1.0, 10.0], "beta": [0.8, 0.9], "seed": range(2)}


def diverging(seeds=(0, 1)):
    """Return a result that diverges at lr = 10 for these seeds."""
    bad = [t["lr"] == 10.0 and t["seed"] in seeds for t in Space(DIVERGES)]
    return result_of(DIVERGES, lambda t: t["lr"] + t["beta"], np.where(bad, DIVERGED, COMPLETE))


def test_importance_with_diverged_trials_as_the_worst():
    found = diverging().importance(diverged="worst").set_index("effect")
    expected = [[0.9, 1.0], [1.8, 1.9], [1.9, 1.9]]
    first, second, both = sums_of_squares(expected)
    assert found["share"]["lr"] == pytest.approx(first / (first + second + both), rel=1e-12)
    assert found["share"]["seed"] < 1e-30  # the square of a rounding error
    assert found.attrs == {"dropped": {}}


@pytest.mark.parametrize("seeds", [(0, 1), (0,)])
def test_importance_without_the_values_that_diverge(seeds):
    found = diverging(seeds).importance(diverged="exclude")
    kept = result_of({**DIVERGES, "lr": [0.1, 1.0]}, lambda t: t["lr"] + t["beta"]).importance()
    pd.testing.assert_frame_equal(found, kept)
    assert found.attrs["dropped"] == {"lr": [10.0]}


def test_importance_averages_repeated_trials():
    with pytest.warns(UserWarning, match="more than once"):
        result = result_of({"a": [1, 2], "b": [1, 1]}, [1.0, 3.0, 5.0, 7.0])
    assert result.importance()["effect"].tolist() == ["a"]
    assert result.importance()["variance"].tolist() == [4.0]


def test_tied_axes_are_one_factor():
    space = {**zipped({"lr": [0.1, 0.2, 0.3], "epochs": [30, 20, 10]}), "beta": [0.8, 0.9]}
    found = result_of(space, lambda t: t["lr"] + t["beta"]).importance()
    assert set(found["effect"]) == {"lr&epochs", "beta", "lr&epochs x beta"}


def test_a_constant_has_no_important_axis():
    assert (
        result_of({"a": [1, 2], "b": [1, 2]}, [5.0] * 4).importance()["share"].tolist() == [0.0] * 3
    )


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            [{"a": [1, 2], "b": [1, 2]}, {"a": [3], "b": [1]}],
            r"a \(3\) x b \(2\) make 6 points, .* 5",
        ),
        ({"a": [1, 2], "b": when([1, 2], a=2)}, "cover 3"),
        (Space({"a": [1, 2], "b": [1, 2, 3]})[:-1], "cover 5"),
        (zipped({"a": [1, 2], "b": [1, 2]}) | {"c": 1}, None),
        ({"a": [1]}, "an axis with two values or more"),
    ],
)
def test_importance_needs_a_grid(space, message):
    result = result_of(space, np.arange(len(Space(space)), dtype=float))
    if message is None:
        assert result.importance()["effect"].tolist() == ["a&b"]
        return
    with pytest.raises(SpecError, match=message):
        result.importance()


def test_importance_with_nothing_left():
    with pytest.raises(SpecError, match=r'no full grid .* use diverged="worst"'):
        result_of({"a": [1, 2]}, [1.0, 2.0], DIVERGED).importance(diverged="exclude")


# --- edges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_space", [True, False])
def test_edges_are_found_on_either_side(with_space):
    axes = {"lr": [1.0, 0.1, 0.01], "momentum": [0.5, 0.9], "n": range(4), "seed": range(3)}
    axes |= {"optimizer": ["a", "b", "c"], "nesterov": [False, True]}
    for lr, n, expected in (
        (0.01, 1, [("lr", 0.01, "low")]),
        (1.0, 3, [("lr", 1.0, "high"), ("n", 3, "high")]),
        (0.1, 0, [("n", 0, "low")]),
        (0.1, 2, []),
    ):
        result = result_of(axes, lambda t, lr=lr, n=n: abs(t["lr"] - lr) + abs(t["n"] - n))
        if not with_space:
            result = SweepResult(result.columns, None, "loss", "min", {})
        found = result.edges()
        assert found.columns.tolist() == ["axis", "value", "end"]
        assert [*found.itertuples(index=False, name=None)] == expected


def test_edges_of_odd_results():
    assert result_of({"lr": [1.0, 2.0, 3.0]}, [1.0] * 3, DIVERGED).edges().empty
    drawn = result_of(draws({"lr": uniform(0.0, 1.0)}, 9), np.arange(9.0))
    assert drawn.edges().empty  # no draw is an end of the interval
    falling = result_of({"steps": range(30, 0, -10)}, [1.0, 2.0, 3.0]).edges()
    assert falling["end"].tolist() == ["high"]


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda r: r.over_seeds(axis="seeds"), "axis must be one of .* [(]did you mean 'seed'"),
        (lambda r: r.over_seeds(metrics=["los"]), "must be one of loss; got 'los' [(]did you"),
        (lambda r: r.over_seeds(interval="normal"), "interval must be one of student, bca"),
        (lambda r: r.over_seeds(confidence=95), "confidence must lie between 0 and 1; got 95"),
        (lambda r: r.over_seeds(confidence="95"), "confidence must lie between 0 and 1; got '95'"),
        (lambda r: r.over_seeds(metrics="los"), "metric must be one of loss; got 'los'"),
        (lambda r: r.best(2.5), r"best\(n\) must be an integer from 0 to .*; got 2.5"),
        (lambda r: next(r.frames(-1)), r"frames\(rows\) must be an integer from 1"),
        (lambda r: r.compare("seed", "1", 2), "no trial has seed = '1'; there are 0"),
        (lambda r: r.compare("optimiser", 1, 2), "did you mean 'optimizer'"),
        (
            lambda r: r.compare("optimizer", "adm", "sgd"),
            "did you mean 'adam'..; there are 'sgd'",
        ),
        (lambda r: r.compare("lr", 0.1, 0.3), r"lr = 0.3 [(]did you .*; there are 0.1, 1.0, 10.0"),
        (lambda r: r.compare("lr", 0.1, 1.0, metric="acc"), "metric must be one of loss"),
        (lambda r: r.compare("lr", 0.1, 1.0, diverged="drop"), "exclude, worst; got 'drop'"),
        (lambda r: r.compare("lr", 0.1, 1.0, confidence=0.0), "must lie between 0 and 1; got 0.0"),
        (lambda r: r.importance("lr"), "metric must be one of loss; got 'lr'"),
        (lambda r: r.importance(diverged="no"), "diverged must be one of exclude, worst"),
    ],
)
def test_wrong_names_are_refused(ask, message):
    with pytest.raises(SpecError, match=message):
        ask(result_of(SEEDS, noise(48)))


def test_pairs_of_trials_are_all_combinations():
    """Every pair that a loop over the product finds, and no other."""
    result = result_of(SEEDS, np.arange(48.0))
    expected = [
        b - a
        for a, b in itertools.product(range(48), repeat=2)
        if {**result.space[a], "lr": 0} == {**result.space[b], "lr": 0}
        and (result.space[a]["lr"], result.space[b]["lr"]) == (0.1, 10.0)
    ]
    assert result.compare("lr", 10.0, 0.1).differences.tolist() == expected


def test_edges_of_a_union_without_its_space():
    """A result from a file has gaps in its columns and no space to say what is whole."""
    columns = {"trial_id": np.arange(4), "k": np.array([1, 2, None, 3], object)}
    columns |= {"state": np.zeros(4, int), "loss": np.array([3.0, 2.0, 9.0, 1.0])}
    found = SweepResult(columns, None, "loss", "min", {}).edges()
    assert found.values.tolist() == [["k", 3, "high"]]


def test_a_diverged_trial_has_the_worst_accuracy_of_a_sweep_ranked_by_loss():
    """What is good is a matter of the metric, not of what the sweep ranks by."""
    state = np.array([COMPLETE, COMPLETE, COMPLETE, DIVERGED])
    accuracy = np.array([0.9, 0.8, 0.7, np.nan])
    space = {"optimizer": ["sgd", "adam"], "lr": [0.1, 1.0]}
    result = result_of(space, [1.0, 2.0, 3.0, np.nan], state, test_accuracy=accuracy)
    assert scores(result, "test_accuracy", "worst").tolist() == [0.9, 0.8, 0.7, 0.7]
    found = result.compare("optimizer", "sgd", "adam", metric="test_accuracy", diverged="worst")
    assert (found.wins, found.losses, found.mode) == (2, 0, "max")
