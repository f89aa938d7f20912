"""Decisions of pruners, as pure functions of losses: no trial is trained here."""

import itertools
import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastopt.errors import SpecError
from sweeps import ASHA, Hyperband, MedianStopping, SuccessiveHalving, hyperband_brackets
from sweeps.pruning import PRUNERS, Round, as_pruner, estimate_pruning, play_rounds
from sweeps.pruning.asha import promotions
from sweeps.space.designs import random_order
from tests.sweeps.pruning.test_multifidelity import FIRST_VERSION, JOURNAL


def played(pruner, losses):
    """Play all rounds; ``losses[trial, resource - 1]`` is known. Return the rounds."""
    rounds = []

    def train(asked):
        rounds.append(asked)
        return losses[asked.trials, asked.n_resources - 1]

    assert play_rounds(pruner.rounds(*losses.shape), train)
    return rounds


def still(losses, most):
    """Losses whose rank at the first step is final."""
    return np.repeat(np.asarray(losses, float)[:, None], most, axis=1)


def table_of(rounds):
    """Return {bracket: [(candidates, resources)]}."""
    return {
        bracket: [(len(r.trials), r.n_resources) for r in group]
        for bracket, group in itertools.groupby(rounds, lambda r: r.bracket)
    }


@pytest.mark.parametrize(("rounding", "table"), [("ceil", JOURNAL), ("floor", FIRST_VERSION)])
def test_hyperband_follows_the_table_of_the_paper(rounding, table):
    n = sum(rungs[0][0] for rungs in table.values())
    rounds = played(Hyperband(rounding=rounding), still(np.random.default_rng(0).random(n), 81))
    assert table_of(rounds) == table
    first = np.concatenate([r.trials for r in rounds if r.rung == 0])
    assert sorted(first.tolist()) == list(range(n))


@given(st.integers(1, 2000), st.integers(1, 500), st.integers(2, 5), st.integers(1, 9))
def test_every_trial_has_its_bracket(n, most, factor, least):
    least = min(least, most)
    table = hyperband_brackets(most, factor, min_resource=least, n_trials=n)
    papers = hyperband_brackets(most, factor, min_resource=least)
    total = sum(rungs[0].n_candidates for rungs in papers.values())
    assert sum(rungs[0].n_candidates for rungs in table.values()) == n
    for s, rungs in papers.items():
        fair = n * rungs[0].n_candidates / total
        mine = table[s][0].n_candidates if s in table else 0
        assert abs(mine - fair) < 1
        assert rungs[0].n_resources >= least
    for s, rungs in table.items():
        assert [r.n_resources for r in rungs] == [r.n_resources for r in papers[s]]
        assert min(r.n_candidates for r in rungs) >= 1


def test_halving_is_scikit_learns_and_ends_with_the_whole_length():
    losses = still(np.random.default_rng(1).random(6), 1000)
    assert table_of(played(SuccessiveHalving(20, factor=2), losses))[0] == [
        (6, 20), (3, 40), (2, 80), (1, 1000),
    ]  # fmt: skip
    exhaust = table_of(played(SuccessiveHalving(factor=2), losses))[0]
    assert exhaust == [(6, 250), (3, 500), (2, 1000)]
    pruner = SuccessiveHalving(20, factor=2, aggressive_elimination=True)
    assert table_of(played(pruner, losses[:, :40]))[0] == [(6, 20), (3, 20), (2, 40)]


ALL = [
    SuccessiveHalving(),
    SuccessiveHalving(1, factor=2),
    SuccessiveHalving(2, factor=4, aggressive_elimination=True),
    Hyperband(),
    Hyperband(2, factor=2, rounding="floor", seed=5),
    ASHA(),
    ASHA(3, factor=2),
    MedianStopping(),
    MedianStopping(3, n_warmup_steps=4, interval_steps=3),
]


@pytest.mark.parametrize("pruner", ALL, ids=str)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(4, 30))
def test_the_true_best_wins_where_the_first_rank_is_the_last(pruner, losses, most):
    """Of equal ones the first by number; each round has a part of the one before."""
    rounds = played(pruner, still(losses, most))
    ended = [r for r in rounds if r.n_resources == most]
    finalists = np.concatenate([r.trials for r in ended])
    best = np.flatnonzero(np.array(losses) == min(losses))
    assert np.isin(best, finalists).any()
    if isinstance(pruner, SuccessiveHalving):
        assert best[0] in finalists
    assert len(np.unique(finalists)) == len(finalists)
    for before, after in itertools.pairwise(rounds):
        if after.bracket == before.bracket:
            assert after.rung == before.rung + 1
            assert after.n_resources >= before.n_resources
            assert np.isin(after.trials, before.trials).all()
        else:
            assert after.rung == 0


@pytest.mark.parametrize("pruner", ALL, ids=str)
def test_lost_trials_never_go_on(pruner):
    losses = still(np.random.default_rng(2).random(40), 27)
    losses[::2, 5:] = np.inf
    rounds = played(pruner, losses)
    last = {}
    for r in rounds:
        for trial in r.trials.tolist():
            assert last.get(trial, 0) <= 5
            last[trial] = r.n_resources if trial % 2 == 0 else 0
    nothing_left = played(pruner, np.full((40, 27), np.inf))
    assert {r.rung for r in nothing_left} == {0}
    assert sum(len(r.trials) for r in nothing_left) == 40


def one_worker(losses, factor, least):
    """Run algorithm 2 of the ASHA paper, one job after the other; return who reached which rung."""
    n, most = losses.shape
    resources = [least]
    while resources[-1] < most:
        resources.append(min(resources[-1] * factor, most))
    rungs = [[] for _ in resources]  # trials in the order in which they finished there
    gone_on = [set() for _ in resources]
    order, fresh = random_order(n, n, 0).tolist(), 0

    def job():
        for k in reversed(range(len(resources) - 1)):
            known = [(losses[i, resources[k] - 1], rungs[k].index(i), i) for i in rungs[k]]
            known = sorted(entry for entry in known if entry[0] < math.inf)
            for *_, i in known[: max(1, len(rungs[k]) // factor)]:
                if i not in gone_on[k]:
                    gone_on[k].add(i)
                    return i, k + 1
        return (order[fresh], 0) if fresh < n else None

    while (next_one := job()) is not None:
        i, k = next_one
        fresh += k == 0
        rungs[k].append(i)
    return rungs


@given(st.integers(1, 60), st.integers(2, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_asha_decides_as_one_worker_would(n, factor, least, seed):
    rng = np.random.default_rng(seed)
    losses = rng.integers(0, 40, (n, 30)).astype(float)
    losses[rng.random(losses.shape) < 0.1] = np.inf
    rounds = played(ASHA(least, factor), losses)
    expected = [rung for rung in one_worker(losses, factor, least) if rung]
    assert [r.trials.tolist() for r in rounds] == expected


def test_asha_with_one_rung_prunes_nothing():
    (only,) = played(ASHA(min_resources=100), still(range(7), 30))
    assert sorted(only.trials.tolist()) == list(range(7))
    assert only.n_resources == 30


def test_the_order_of_a_grid_does_not_matter_to_asha():
    """From bad to good, each trial would be the best so far."""
    falling = still(np.linspace(1.0, 0.0, 500), 81)
    spent = [
        sum(len(r.trials) for r in played(ASHA(), losses)) for losses in (falling, falling[::-1])
    ]
    assert max(spent) < 1.7 * 500
    assert max(spent) < 1.1 * min(spent)


def test_promotions_of_many_trials_take_no_time():
    """A sorted list would take minutes."""
    n = 50_000
    losses = np.random.default_rng(0).random(n).tolist()
    chosen = promotions(losses, 3)
    best = sorted(range(n), key=losses.__getitem__)[: n // 3]
    assert set(best) <= set(chosen)
    assert len(chosen) < 1.1 * len(best)


def by_optuna(losses, pruner):
    """Return how far each trial comes, judged by Optuna's pruner with the waves before it."""
    n, most = losses.shape
    order = random_order(n, n, pruner.seed)
    theirs = optuna.pruners.MedianPruner(
        n_startup_trials=pruner.n_startup_trials, n_warmup_steps=pruner.n_warmup_steps
    )
    first = pruner.n_warmup_steps or pruner.interval_steps
    stops = [*range(first, most, pruner.interval_steps), most]
    study, came, low = optuna.create_study(pruner=theirs), np.zeros(n, int), 0
    while low < n:
        high = min(max(2 * low, pruner.n_startup_trials), n)
        complete = []
        for i in order[low:high]:
            trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
            for stop in stops:
                came[i] = stop
                trial.intermediate_values[stop] = losses[i, stop - 1]
                if stop < most and theirs.prune(study, trial):
                    break
            else:
                complete.append(
                    optuna.trial.create_trial(
                        value=losses[i, -1], intermediate_values=trial.intermediate_values
                    )
                )
        study.add_trials(complete)
        low = high
    return came


@pytest.mark.parametrize(
    "pruner", [MedianStopping(), MedianStopping(2, 4, 3), MedianStopping(3, 0, 7)], ids=str
)
def test_median_stopping_is_optunas(pruner):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng = np.random.default_rng(3)
    speed, noise = rng.random((70, 1)), 0.1 * rng.standard_normal((70, 20))
    losses = np.exp(-speed * np.arange(1, 21)) + noise
    came = np.zeros(70, int)
    for r in played(pruner, losses):
        came[r.trials] = r.n_resources
    np.testing.assert_array_equal(came, by_optuna(losses, pruner))
    assert 5 < np.count_nonzero(came == 20) < 60


def share_of(*sweep):
    return estimate_pruning(*sweep).share


def test_how_much_is_expected_to_be_saved():
    exact = 81 * 1 + 27 * 2 + 9 * 6 + 3 * 18 + 1 * 54
    assert share_of(SuccessiveHalving(1), 81, 81) == pytest.approx(exact / 81**2)
    assert share_of(ASHA(81), 50, 81) == 1.0
    steps = 0
    for rungs in JOURNAL.values():
        before = 0
        for n, resources in rungs:
            steps += n * (resources - before)
            before = resources
    assert share_of(Hyperband(), 143, 81) == pytest.approx(steps / 143 / 81)
    paused = {
        pruner: estimate_pruning(pruner, 143, 81).paused
        for pruner in (ASHA(), Hyperband(), ASHA(81))
    }
    assert list(paused.values()) == [143, 81, 0]


def test_pruners_have_names():
    for name, kind in PRUNERS.items():
        assert as_pruner(name) == as_pruner({"name": name}) == as_pruner(kind()) == kind()
    assert as_pruner({"name": "asha", "factor": 5}) == ASHA(factor=5)
    assert isinstance(next(ASHA().rounds(3, 9)), Round)


REFUSED = [
    (lambda: as_pruner("hyperbnad"), "one of successive_halving, .*did you mean 'hyperband'"),
    (lambda: as_pruner(3), "an object of sweeps.pruning, or one of .* got 3"),
    (lambda: as_pruner({"factor": 3}), "one of successive_halving, "),
    (lambda: as_pruner({"name": "asha", "facto": 3}), "no option 'facto' [(]did you mean 'factor'"),
    (lambda: as_pruner({"name": "asha", "factor": 1}), "factor must be an integer from 2"),
    (lambda: SuccessiveHalving("exhausted"), 'if not "exhaust", must be an integer .*exhausted'),
    (lambda: SuccessiveHalving(0), "min_resources"),
    (lambda: SuccessiveHalving(50).rounds(9, 20), "min_resources .* from 1 to 20; got 50"),
    (lambda: Hyperband(50).rounds(9, 20), "min_resource .* from 1 to 20; got 50"),
    (lambda: Hyperband(rounding="up"), "one of ceil, floor; got 'up'"),
    (lambda: Hyperband(seed=-1), "seed must be an integer from 0"),
    (lambda: ASHA(1.5), "min_resources must be an integer"),
    (lambda: MedianStopping(0), "n_startup_trials must be an integer from 1"),
    (lambda: MedianStopping(n_warmup_steps=-1), "n_warmup_steps must be an integer from 0"),
    (lambda: MedianStopping(interval_steps=0), "interval_steps must be an integer from 1"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(SpecError, match=message):
        call()
