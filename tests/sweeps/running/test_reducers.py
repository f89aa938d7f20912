"""Folding trials away must not change what is kept of them, wherever chunks begin and end."""

import functools
from typing import assert_type

import numpy as np
import pandas as pd
import pytest

from fastopt.errors import SpecError
from sweeps import (
    ASHA,
    KeepBest,
    PrunedResult,
    SweepResult,
    histogram,
    linspace,
    problems,
    randint,
    sweep,
    uniform,
)
from sweeps.engine import chunks
from sweeps.results import STATES
from sweeps.space.distributions import Distribution, Draws

BOWL = problems.ellipse()
SPACE = {"lr": linspace(0.001, 0.4, 61), "momentum": linspace(0.0, 0.95, 7)}
run = functools.partial(sweep, optimizer="momentum", steps=300, diverge_above=1e6, progress=False)


@pytest.fixture(scope="module")
def whole():
    return run(BOWL, SPACE)


@pytest.fixture(params=[1, 7, 100, 1 << 16])
def chunk_of(request, monkeypatch):
    monkeypatch.setattr(chunks, "MOST_TRIALS", request.param)
    return request.param


@pytest.mark.usefixtures("chunk_of")
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_the_best_are_those_of_the_whole_sweep(whole, k, mode):
    result = run(BOWL, SPACE, mode=mode, reduce=KeepBest(k))
    ranked = whole.to_frame()
    ranked = ranked[ranked.state == "COMPLETE"]
    ranked = ranked.sort_values("train_loss", ascending=mode == "min", kind="stable")[:k]
    pd.testing.assert_frame_equal(
        result.to_frame(), ranked.sort_values("trial_id").reset_index(drop=True), rtol=0, atol=0
    )
    assert result.best().trial_id[0] == ranked.trial_id.iloc[0]
    assert result.info["finished"] == result.info["n_trials"] == 427
    assert 0 < len(result) < 427


@pytest.mark.usefixtures("chunk_of")
def test_of_equal_trials_the_first_are_kept():
    space = {"seed": range(50), "lr": [0.1, 0.01]}
    result = run(BOWL, space, reduce=KeepBest(5))
    assert result.to_frame().seed.tolist() == [0, 1, 2, 3, 4]


def test_curves_of_the_best_are_kept(whole):
    result = run(BOWL, SPACE, curves=True, reduce=KeepBest(2))
    curves = result.curves()
    assert sorted(set(curves.trial_id)) == result.to_frame().trial_id.tolist()
    assert (
        curves.groupby("trial_id").train_loss.last().to_numpy() == result.to_frame().train_loss
    ).all()


@pytest.mark.usefixtures("chunk_of")
@pytest.mark.parametrize("column", ["train_loss", "distance", "lr", "diverged_step"])
def test_a_histogram_counts_what_numpy_counts(whole, column):
    edges = np.geomspace(1e-6, 300.0, 12)
    table = run(BOWL, SPACE, reduce=histogram(column, edges))
    frame = whole.to_frame()
    for state in STATES:
        cells = frame[column][frame.state == state].to_numpy(float, na_value=np.nan)
        inside = np.isfinite(cells)
        expected, _ = np.histogram(cells[inside], [-1e300, *edges, 1e300])
        assert table[state].tolist() == expected.tolist()
        assert table.attrs["missing"][state] == np.isnan(cells).sum()
    total = table[[*STATES]].to_numpy().sum() + sum(table.attrs["missing"].values())
    assert total == table.attrs["finished"] == len(frame)
    assert (table.low[1:].tolist(), table.high[:-1].tolist()) == (edges.tolist(), edges.tolist())
    assert (table.low[0], table.high.iloc[-1]) == (-np.inf, np.inf)


def test_an_edge_belongs_to_the_bin_above_it():
    table = run(
        BOWL,
        {"momentum": [0.0, 0.5, 0.6, 0.75]},
        lr=0.01,
        reduce=histogram("momentum", [0.5, 0.75]),
    )
    assert table.COMPLETE.tolist() == [1, 2, 1]


class Order:
    """A user's reducer: the numbers of the trials as they are merged."""

    def check(self, plan):
        self.checked = plan.size

    def fold(self, plan, rows):
        return rows.ids.tolist()

    def merge(self, plan, before, after):
        return before + after

    def result(self, plan, summary, info):
        return summary


@pytest.mark.usefixtures("chunk_of")
@pytest.mark.parametrize("executor", [None, "threads"])
def test_a_reducer_of_ones_own_sees_trials_in_order(executor):
    """Threads finish chunks in any order."""
    order = Order()
    assert run(BOWL, SPACE, executor=executor, reduce=order) == list(range(427))
    assert order.checked == 427


REFUSED = [
    ({"reduce": lambda: KeepBest(0)}, r"KeepBest\(k\): k must be an integer >= 1; got 0"),
    ({"reduce": lambda: KeepBest(True)}, "got True"),
    ({"reduce": lambda: histogram("lr", [1.0, 1.0])}, "increasing order"),
    ({"reduce": lambda: histogram("lr", [])}, "increasing order"),
    ({"reduce": lambda: histogram("lr", [0.0, np.nan])}, "increasing order"),
    ({"reduce": lambda: histogram("lr", ["a"])}, "edges must be numbers"),
    ({"reduce": lambda: histogram("trainloss", [0.0])}, "did you mean 'train_loss'"),
    ({"reduce": lambda: histogram("optimizer", [0.0])}, "no column of numbers 'optimizer'"),
    ({"reduce": lambda: "best"}, "without check, fold, merge, result"),
    ({"reduce": Order, "store": "runs"}, r"needs methods pack\(summary\)"),
]


@pytest.mark.parametrize(("how", "message"), REFUSED)
def test_what_makes_no_sense_is_refused(how, message):
    space = {"optimizer": ["sgd"], "lr": [0.1]}
    with pytest.raises(SpecError, match=message):
        sweep(BOWL, space, steps=1, progress=False, **{**how, "reduce": how["reduce"]()})


class Count:
    """A reducer of a user's: how many trials have finished."""

    def check(self, plan):
        pass

    def fold(self, plan, rows) -> int:
        return len(rows.ids)

    def merge(self, plan, before: int, after: int) -> int:
        return before + after

    def result(self, plan, summary: int, info) -> int:
        return summary


def test_type_checkers_know_what_a_sweep_returns():
    """``mypy`` reads assert_type, here it is an identity."""
    space = {"lr": [0.01, 0.02, 0.04]}
    plain = sweep(BOWL, space, steps=8, optimizer="momentum")
    pruned = sweep(BOWL, space, steps=8, optimizer="momentum", pruner="asha")
    race = sweep(BOWL, space, steps=8, optimizer="momentum", pruner=ASHA())
    best = sweep(BOWL, space, steps=8, optimizer="momentum", reduce=KeepBest(1))
    counts = sweep(BOWL, space, steps=8, optimizer="momentum", reduce=histogram("train_loss", [0]))
    number = sweep(BOWL, space, steps=8, optimizer="momentum", reduce=Count())
    assert type(assert_type(plain, SweepResult)) is SweepResult
    assert type(assert_type(pruned, PrunedResult)) is PrunedResult
    assert type(assert_type(race, PrunedResult)) is PrunedResult
    assert type(assert_type(best, SweepResult)) is SweepResult
    assert type(assert_type(counts, pd.DataFrame)) is pd.DataFrame
    assert assert_type(number, int) == 3
    assert isinstance(assert_type(uniform(0, 1), Distribution), Distribution)
    assert len(assert_type(randint(0, 9, 4), Draws)) == 4
