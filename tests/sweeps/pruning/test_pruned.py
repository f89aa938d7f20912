"""Pruned sweeps: every rung against shorter runs, every finished trial against the full grid."""

import functools
import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fastopt.errors import SpecError
from sweeps import (
    ASHA,
    Hyperband,
    MedianStopping,
    Space,
    SuccessiveHalving,
    SweepResult,
    estimate,
    problems,
    regret,
    sweep,
)
from sweeps.cli.spec import read_spec
from sweeps.cli.tables import result_tables
from sweeps.common.frames import configurations
from sweeps.engine import chunks
from sweeps.pruning import play_rounds, race
from sweeps.pruning.folded import over_folds
from sweeps.results import STATES
from sweeps.space.designs import random_order
from tests.sweeps.pruning.test_multifidelity import JOURNAL

run = functools.partial(sweep, progress=False)
BOWL = problems.ellipse()
LRS = np.geomspace(1e-3, 0.3, 143).tolist()


@pytest.fixture(scope="module")
def iris():
    return problems.iris(hidden=(8,), dtype="float64")


SPACE = {
    "optimizer": ["adam", "momentum"],
    "lr": np.geomspace(1e-4, 30.0, 8).tolist(),
    "batch_size": [16, 112],
    "seed": [0, 1],
}
HOW = {"epochs": 9, "metric": "test_loss", "diverge_above": 1e3}


@pytest.fixture(scope="module")
def full(iris):
    result = run(iris, SPACE, curves=True, **HOW)
    assert {"COMPLETE", "DIVERGED"} == {*result.to_frame().state}
    return result


def assert_rows(pruned, full):
    """Trials that were not pruned are those of the full grid; DIVERGED and all."""
    mine, theirs = pruned.to_frame(), full.to_frame()
    whole = mine.state != "PRUNED"
    assert whole.any()
    pd.testing.assert_frame_equal(mine[whole][theirs.columns], theirs[whole], rtol=0, atol=0)


PRUNERS = [
    SuccessiveHalving(),
    SuccessiveHalving(2, factor=2),
    Hyperband(),
    ASHA(2, factor=2),
    MedianStopping(6, interval_steps=2),
]


@pytest.mark.parametrize("pruner", PRUNERS, ids=str)
def test_trials_that_end_are_those_of_the_full_grid(iris, full, pruner):
    pruned = run(iris, SPACE, pruner=pruner, curves=True, **HOW)
    assert_rows(pruned, full)
    frame, table = pruned.to_frame(), pruned.rungs()
    assert len(frame) == len(full)
    assert {"COMPLETE", "PRUNED", "DIVERGED"} == {*frame.state}
    # What a trial had at a rung is what its curve has there, which is that of the full grid.
    per_epoch = -(-112 // frame.batch_size)
    table["step"] = table.n_resources * per_epoch[table.trial_id].to_numpy()
    known = table.merge(full.curves()[["trial_id", "step", "test_loss"]], on=["trial_id", "step"])
    np.testing.assert_array_equal(known.test_loss_x, known.test_loss_y)
    assert len(known) > 0.8 * len(table)
    # The frame says how far each came.
    last = table.groupby("trial_id").last()
    assert frame.rung.tolist() == last.rung.tolist()
    assert frame.bracket.tolist() == last.bracket.tolist()
    stopped = frame.state == "PRUNED"
    assert (frame.steps[stopped] == last.step[stopped]).all()
    assert not last.promoted[frame.state != "DIVERGED"].any()
    ours = pruned.curves()
    whole = full.curves().merge(frame[["trial_id", "steps"]])
    whole = whole[whole.step <= whole.steps].drop(columns="steps").reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, whole, rtol=0, atol=0)


def played(pruner, losses):
    """All rounds of trials that have one loss each, at whatever rung."""
    rounds = []

    def train(round_):
        rounds.append(round_)
        return losses[round_.trials]

    play_rounds(pruner.rounds(len(losses), 27), train)
    return rounds


@pytest.mark.parametrize("pruner", PRUNERS, ids=str)
def test_settings_are_compared_by_their_means_over_folds(pruner):
    """As by HalvingGridSearchCV: else all that go on are of the easiest fold."""
    space = Space({"lr": LRS[:20], "fold": [0, 1, 2], "seed": [0, 1]})
    columns = space.columns(np.arange(120))
    setting = configurations(columns, ["lr", "seed"])
    means = np.random.default_rng(0).permutation(np.arange(40.0))
    means[7] = np.inf
    losses = means[setting] + np.array([0.0, 100.0, -100.0])[columns["fold"]]
    alone, folded = played(pruner, means), played(over_folds(pruner, space), losses)
    for one, all_folds in zip(alone, folded, strict=True):
        assert setting[all_folds.trials].tolist() == np.repeat(one.trials, 3).tolist()
        assert all_folds._replace(trials=0) == one._replace(trials=0)


def test_a_race_over_folds_is_stored_and_has_a_best_setting(tmp_path):
    problem = problems.iris(hidden=(8,), dtype="float64", folds=3)
    space = {"lr": [0.001, 0.01, 0.1, 1.0], "fold": range(3)}
    how = {"epochs": 9, "pruner": "successive_halving"}
    result = run(problem, space, store=tmp_path, **how)
    frame = result.to_frame()
    assert frame.groupby(np.arange(12) // 3).rung.nunique().tolist() == [1, 1, 1, 1]
    pd.testing.assert_frame_equal(SweepResult.open(tmp_path).to_frame(), frame)
    assert result.best_params_ == {"lr": result.over_folds().lr[0]}
    assert result.best_params_["lr"] in {*frame.lr[frame.state == "COMPLETE"]}
    with pytest.raises(SpecError, match="a pruner compares settings by their means over folds"):
        run(problem, Space(space).sample(5, seed=0), **how)


def test_threads_and_launches_change_nothing(iris, monkeypatch):
    one = run(iris, SPACE, pruner=ASHA(2, factor=2), n_jobs=1, **HOW)
    two = run(iris, SPACE, pruner=ASHA(2, factor=2), n_jobs=2, **HOW)
    monkeypatch.setattr(race, "MOST_STATE_BYTES", 1)
    single = run(iris, {**SPACE, "seed": [0]}, pruner="asha", n_jobs=1, **HOW)
    monkeypatch.undo()
    whole = run(iris, {**SPACE, "seed": [0]}, pruner="asha", **HOW)
    for a, b in ((one, two), (single, whole)):
        pd.testing.assert_frame_equal(a.to_frame(), b.to_frame(), rtol=0, atol=0)
        pd.testing.assert_frame_equal(a.rungs(), b.rungs(), rtol=0, atol=0)


def test_a_pruned_trial_is_a_shorter_run(iris):
    space = {"lr": [0.003, 0.01, 0.03, 0.1], "batch_size": [16, 25]}
    pruned = run(iris, space, epochs=9, pruner=SuccessiveHalving(3)).to_frame()
    short = run(iris, space, epochs=3).to_frame()
    first = pruned.rung == 0
    assert 2 < first.sum() < 8
    assert (pruned.state[first] == "PRUNED").all()
    names = ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "best_loss", "steps"]
    pd.testing.assert_frame_equal(pruned[first][names], short[first][names], rtol=0, atol=0)


def test_hyperband_runs_the_table_of_the_paper():
    pruned = run(BOWL, {"lr": LRS}, optimizer="sgd", steps=81, pruner=Hyperband())
    assert {s: [tuple(r) for r in rungs] for s, rungs in pruned.brackets_.items()} == JOURNAL
    assert pruned.n_candidates_[3] == [34, 11, 3, 1]
    assert pruned.n_resources_[0] == [81]
    assert pruned.n_iterations_ == 15
    frame = pruned.to_frame()
    spent = {s: (frame.bracket == s) @ frame.steps for s in JOURNAL}
    expected = {}
    for s, rungs in JOURNAL.items():
        before = [0, *(resources for _, resources in rungs)]
        expected[s] = sum(n * (r - low) for (n, r), low in zip(rungs, before))
    assert spent == expected
    assert pruned.share_of_steps_ == sum(expected.values()) / (143 * 81)
    assert (frame.state == "COMPLETE").sum() == 1 + 1 + 1 + 2 + 5


def test_halving_finds_the_best_where_ranks_are_final():
    """Below 2 / 11, gradient descent on the bowl is the faster the larger lr, at every step."""
    space = {"lr": np.linspace(0.001, 0.18, 500).tolist()}
    how = {"optimizer": "sgd", "steps": 243, "metric": "distance"}
    whole = run(BOWL, space, **how)
    for pruner in (SuccessiveHalving(1), SuccessiveHalving(), Hyperband(), ASHA()):
        pruned = run(BOWL, space, pruner=pruner, **how)
        lost = regret(pruned, whole)
        assert (lost.regret, lost.rank, lost.n_trials) == (0.0, 1, 500)
        assert pruned.best_params_ == whole.best_params_ == {"lr": 0.18}
        assert lost.share == pruned.share_of_steps_ < 0.5
        assert "number 1 of 500" in str(pruned.regret(whole))
        assert f"{lost.share:.3g} of the steps" in repr(pruned)


def test_regret_is_the_distance_to_the_true_best(iris, full):
    pruned = run(iris, SPACE, pruner=SuccessiveHalving(1, factor=8), **HOW)
    lost, frame = regret(pruned, full), full.to_frame()
    scores = np.sort(frame.test_loss[frame.state == "COMPLETE"])
    chosen = pruned.best().test_loss[0]
    assert lost.rank == 1 + np.count_nonzero(scores < chosen)
    assert lost.regret == chosen - scores[0]
    assert lost.share == pruned.to_frame().steps.sum() / frame.steps.sum()
    other = run(iris, {**SPACE, "lr": [0.5]}, pruner="asha", **HOW)
    with pytest.raises(SpecError, match="is not a COMPLETE trial of the full one"):
        regret(other, full)
    worse = run(iris, {"lr": [0.1]}, epochs=1, metric="train_loss")
    with pytest.raises(SpecError, match=r"test_loss \(min\) and train_loss \(min\) differ"):
        regret(pruned, worse)


def test_large_is_good_in_mode_max(iris):
    space = {"lr": [0.0001, 0.001, 0.01], "seed": [0, 1, 2]}
    how = {"epochs": 9, "metric": "train_accuracy", "mode": "max"}
    pruned = run(iris, space, pruner=SuccessiveHalving(3), **how)
    table = pruned.rungs().query("rung == 0")
    kept, left = (table.train_accuracy[table.promoted == flag] for flag in (True, False))
    assert len(kept) == 3
    assert kept.min() >= left.max()
    assert "mean_rung" not in pruned.over_seeds()
    complete = pruned.to_frame().query("state == 'COMPLETE'")
    assert complete.seed.tolist() == [0, 1, 2]
    assert pruned.best_score_ == pytest.approx(complete.train_accuracy.mean(), rel=1e-15)


def test_asha_that_prunes_nothing_is_the_full_grid(iris, full):
    pruned = run(iris, SPACE, curves=True, pruner=ASHA(min_resources=9), **HOW)
    mine, theirs = pruned.to_frame(), full.to_frame()
    pd.testing.assert_frame_equal(mine[theirs.columns], theirs, rtol=0, atol=0)
    pd.testing.assert_frame_equal(pruned.curves(), full.curves(), rtol=0, atol=0)
    assert pruned.share_of_steps_ <= 1.0
    assert regret(pruned, full).share == 1.0
    assert mine.rung.unique().tolist() == [0]


def median_stopped(curves, pruner, most):
    """How far trials come, from the curves of the full grid: (n, checks), the last one the end."""
    came, complete = np.zeros(len(curves), int), []
    order, size = random_order(len(curves), len(curves), pruner.seed).tolist(), 0
    wave, size = order[: pruner.n_startup_trials], pruner.n_startup_trials
    while len(wave):
        medians = None
        if len(complete) >= pruner.n_startup_trials:
            medians = [sorted(column) for column in zip(*complete)]
            half = len(complete) // 2
            medians = [(c[half] + c[~half]) / 2 for c in medians]
        new = []
        for i in wave:
            came[i] = len(curves[i]) - 1
            for k in range(len(curves[i]) - 1):
                if not np.isfinite(curves[i][k]):
                    came[i] = k
                    break
                if medians is not None and min(curves[i][: k + 1]) > medians[k]:
                    came[i] = k
                    break
            else:
                if np.isfinite(curves[i][-1]):
                    new.append(curves[i])
        complete += new
        wave, size = order[size : 2 * size], 2 * size
    return came


@pytest.mark.parametrize("pruner", [MedianStopping(4, interval_steps=5), MedianStopping(7, 12, 10)])
def test_median_stopping_by_hand(pruner):
    """The whole grid's curves, and the rule in plain Python."""
    lrs = np.geomspace(1e-3, 0.3, 90).tolist()
    how = {"optimizer": "sgd", "steps": 60, "diverge_above": 1e6}
    whole = run(BOWL, {"lr": lrs}, curves=True, eval_every=1, **how)
    table = whole.curves().pivot(index="trial_id", columns="step", values="train_loss")
    first = pruner.n_warmup_steps or pruner.interval_steps
    stops = [*range(first, 60, pruner.interval_steps), 60]
    curves = table[stops].fillna(np.inf).to_numpy()
    pruned = run(BOWL, {"lr": lrs}, pruner=pruner, **how)
    assert pruned.to_frame().rung.tolist() == median_stopped(curves, pruner, 60).tolist()
    assert_rows(pruned, whole)
    assert (pruned.to_frame().state == "PRUNED").sum() > 10


def test_trials_of_any_length_compete():
    """Those that are shorter than a rung stay in the race with what they have."""
    space = {"lr": [0.01, 0.05, 0.1], "steps": [5, 40, 90]}
    whole = run(BOWL, space, optimizer="adam")
    pruned = run(BOWL, space, optimizer="adam", pruner=SuccessiveHalving(10))
    assert_rows(pruned, whole)
    assert pruned.n_candidates_ == [9, 3, 1]
    assert pruned.n_resources_ == [10, 30, 90]
    frame = pruned.to_frame()
    short = frame.steps <= 5
    assert (frame.state[short] == "COMPLETE").all()
    assert short.sum() == 3


def test_an_interrupted_race_knows_those_that_are_decided(monkeypatch):
    """Ctrl-C in a rung: the trials in it may have gone on, so the frame leaves them out."""
    original, calls = chunks.run_together, []

    def interrupted(block, *more):
        calls.append(block)
        return len(calls) < 7 and original(block, *more)

    monkeypatch.setattr(chunks, "run_together", interrupted)
    pruned = run(BOWL, {"lr": LRS}, optimizer="sgd", steps=81, pruner=Hyperband())
    assert pruned.info["interrupted"]
    # Five rounds of bracket 4 and one of bracket 3; those in the next are left out.
    assert pruned.n_iterations_ == 6
    frame = pruned.to_frame()
    assert (frame.bracket == 4).sum() == 81
    assert len(frame) == 81 + (34 - 11)
    monkeypatch.undo()
    again = run(BOWL, {"lr": LRS}, optimizer="sgd", steps=81, pruner=Hyperband()).to_frame()
    same = again[again.trial_id.isin(frame.trial_id)].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, same, rtol=0, atol=0)


def test_nothing_goes_on_where_everything_is_lost():
    pruned = run(BOWL, {"lr": [5.0, 6.0, 7.0, 8.0]}, optimizer="sgd", steps=400, pruner="asha")
    frame = pruned.to_frame()
    assert frame.state.tolist()[0] in ("PRUNED", "DIVERGED")
    with pytest.raises(SpecError, match="no best trial"):
        _ = pruned.best_params_
    only = run(BOWL, {}, optimizer="sgd", lr=0.1, steps=9, pruner="hyperband")
    assert only.to_frame().state.tolist() == ["COMPLETE"]


def test_the_estimate_counts_what_is_saved():
    how = {"optimizer": "sgd", "steps": 81}
    whole, pruned = (
        estimate(BOWL, {"lr": LRS}, **how),
        estimate(BOWL, {"lr": LRS}, pruner="hyperband", **how),
    )
    actual = run(BOWL, {"lr": LRS}, pruner="hyperband", **how)
    assert pruned.n_trials == whole.n_trials == 143
    assert pruned.n_steps == pytest.approx(actual.to_frame().steps.sum(), rel=0.01)
    assert pruned.seconds / whole.seconds == pytest.approx(actual.share_of_steps_, rel=0.01)


def test_one_trial_is_replayed_as_far_as_it_came():
    pruned = run(BOWL, {"lr": LRS[:12]}, optimizer="sgd", steps=81, pruner="successive_halving")
    frame = pruned.to_frame()
    for state in ("PRUNED", "COMPLETE"):
        row = frame[frame.state == state].iloc[0]
        walk = pruned.replay(int(row.trial_id))
        assert walk.step.iloc[-1] == row.steps
        assert walk.loss.iloc[-1] == row.train_loss
    for call in (lambda: pruned.extend({"lr": [0.1]}), pruned.zoom):
        with pytest.raises(SpecError, match="a pruned sweep does not grow"):
            call()


TOML = """
[problem]
name = "ellipse"
[sweep]
optimizer = "sgd"
steps = 81
pruner = {pruner}
[space]
lr = {{ logspace = [1e-3, 0.1, 20] }}
"""


@pytest.mark.parametrize("pruner", ['"asha"', '{ name = "hyperband", factor = 4 }'])
def test_a_spec_names_its_pruner(tmp_path, pruner):
    path = tmp_path / "spec.toml"
    path.write_text(TOML.format(pruner=pruner))
    pruned = read_spec(path).call(sweep, progress=False)
    assert pruned.counts["PRUNED"] > 0
    assert "factor=4" in pruned.info["pruner"] or pruner == '"asha"'
    console = Console(file=io.StringIO(), width=120)
    console.print(result_tables(pruned))
    share = f"{pruned.share_of_steps_:.1%} of full-length steps"
    assert f"{pruned.info['pruner']}: {share}" in console.file.getvalue()


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ('"ahsa"', r"sweep.pruner: .*did you mean 'asha'"),
        ('{ name = "asha", factor = 1 }', r"sweep.pruner: factor must be an integer from 2"),
        ("3", r"sweep.pruner"),
    ],
)
def test_a_spec_with_a_wrong_pruner_is_refused(tmp_path, pruner, message):
    path = tmp_path / "spec.toml"
    path.write_text(TOML.format(pruner=pruner))
    with pytest.raises(SpecError, match=message):
        read_spec(path)


def test_what_makes_no_sense_is_refused(iris, monkeypatch):
    monkeypatch.setattr(chunks, "run_together", lambda *a: pytest.fail("something ran"))
    with pytest.raises(SpecError, match=r"all trials in epochs=..., or of all in steps"):
        run(iris, [{"epochs": [2]}, {"steps": [9]}], pruner="asha")
    with pytest.raises(SpecError, match=r"min_resources .* from 1 to 20; got 50"):
        run(BOWL, {"lr": [0.1, 0.2]}, steps=20, pruner=SuccessiveHalving(50))
    with pytest.raises(SpecError, match=r"at most 134,217,728; this space has 1,000,000,000"):
        estimate(BOWL, {"seed": range(10**9)}, steps=20, pruner="asha")
    with pytest.raises(SpecError, match="the results of 1,000,000,000,000 trials take"):
        run(BOWL, {"seed": range(10**12)}, steps=20, pruner="asha")
    monkeypatch.setattr(race, "free_memory", lambda: 10**6)
    with pytest.raises(SpecError, match=r"up to 9,999 trials pause at once, .* of memory"):
        run(BOWL, {"seed": range(9999)}, steps=20, pruner="asha")
    with pytest.raises(SpecError, match="did you mean 'asha'"):
        estimate(BOWL, {"lr": [0.1]}, steps=20, pruner="ahsa")
    assert STATES[2] == "PRUNED"
