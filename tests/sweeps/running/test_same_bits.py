"""A trial has its bits alone, among others, in any order, on any worker, and after a stop.

Of trials with all that tables brought: folds of unequal length, weights, wrong labels, fewer rows,
penalties, activations, patience and the parameters of the best check.
"""

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeps import problems
from sweeps.engine.records import RESULTS
from tests.helpers.training import run

AXES = {
    "lr": [0.01, 0.1, 1e30],
    "fold": [0, 1, 2],
    "l1": [0.0, 0.01],
    "l2": [0.0, 0.1],
    "activation": ["relu", "leaky_relu"],
    "label_noise": [0.0, 0.3],
    "n_train": [17, 20],
    "patience": [0, 2],
}
COMMON = {"optimizer": "sgd", "epochs": 3, "batch_size": 8, "restore_best": True, "eval_every": 2}
FEW = {"lr": AXES["lr"], "fold": AXES["fold"], "l1": [0.01], "activation": AXES["activation"]}
MEASURED = ["state", *RESULTS, "val_loss", "val_accuracy", "train_brier", "val_brier", "test_brier"]


@functools.cache
def problem():
    """Three classes; folds of 20, 20 and 21 training rows, the weights of which differ."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(36, 3)), np.arange(36) % 3
    weights = rng.choice([0.5, 1.0, 2.0], 36)
    return problems.mlp(
        X, y, hidden=(3,), folds=3, test=5, weights=weights, class_weight="balanced",
        metrics=["brier"], dtype="float64",
    )  # fmt: skip


def found(space, seed_mode="common", **options):
    """What each trial measured, by its settings."""
    result = run(problem(), space, **COMMON, seed_mode=seed_mode, **options)
    columns = result.columns
    names = [name for name in AXES if name in columns]
    measured = ["steps_taken" if n == "steps" and n not in columns else n for n in MEASURED]
    return {
        tuple((name, columns[name][i]) for name in names if not _gap(columns[name][i])): tuple(
            columns[name][i] for name in measured
        )
        for i in range(len(columns["trial_id"]))
    }


def _gap(value):
    return value is None or value != value


@functools.cache
def expected(seed_mode):
    """All trials, in one kernel on one thread."""
    return found(AXES, seed_mode, n_jobs=1)


def assert_same(actual, seed_mode="common"):
    assert actual
    for key, numbers in actual.items():
        np.testing.assert_array_equal(numbers, expected(seed_mode)[_whole(key)], err_msg=str(key))


def _whole(key):
    """All settings of a trial, those that it has no axis of being what they are by default."""
    given = dict(key)
    default = {name: values[0] for name, values in AXES.items()}
    return tuple({**default, **given}.items())


def parts_of(names):
    """A product of some of the values of some axes, in any order."""
    chosen = {
        name: st.lists(st.sampled_from(AXES[name]), min_size=1, max_size=3, unique=True)
        for name in names
    }
    always = ("lr", "fold", "n_train")
    return st.fixed_dictionaries(
        {name: chosen[name] for name in always},
        optional={name: values for name, values in chosen.items() if name not in always},
    ).flatmap(lambda part: st.permutations(list(part.items())).map(dict))


SPACES = st.lists(parts_of(AXES), min_size=1, max_size=2)
MODES = st.sampled_from(["common", "independent"])
ignored = pytest.mark.filterwarnings("ignore::fastopt.errors.SweepWarning")


def check_one(space, seed_mode, n_jobs, executor):
    assert_same(found(space, seed_mode, n_jobs=n_jobs, executor=executor), seed_mode)


@ignored
@settings(max_examples=8)
@given(SPACES, MODES, st.sampled_from([1, 2, 3]), st.sampled_from([None, "threads"]))
def test_any_part_of_a_grid_in_any_order(space, seed_mode, n_jobs, executor):
    check_one(space, seed_mode, n_jobs, executor)


@ignored
@pytest.mark.soak
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    SPACES, MODES, st.sampled_from([1, 2, 3]), st.sampled_from([None, "threads", "processes"])
)  # fmt: skip
def test_any_part_of_a_grid_in_any_order_on_processes_too(space, seed_mode, n_jobs, executor):
    check_one(space, seed_mode, n_jobs, executor)


@ignored
def test_on_processes():
    check_one({**FEW, "n_train": [17, 20]}, "independent", 2, "processes")


@ignored
@pytest.mark.parametrize("seed_mode", ["common", "independent"])
def test_after_a_stop_and_with_more_values(tmp_path, seed_mode, monkeypatch):
    """A store of half of the chunks, gone on with, then of a larger grid."""
    monkeypatch.setattr("sweeps.store.writer.chunk_size", lambda plan: 7)
    space = {**FEW, "n_train": [20]}
    store = {"store": tmp_path / "store", "seed_mode": seed_mode}
    some = found(space, **store, shard="1/2")
    assert 0 < len(some) < 18
    assert_same(some, seed_mode)
    assert_same(found(space, **store), seed_mode)
    more = found({**space, "n_train": [20, 17], "l2": [0.0, 0.1]}, **store, executor="threads")
    assert len(more) == 72
    assert_same(more, seed_mode)
