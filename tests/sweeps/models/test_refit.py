"""Refitted models are those of the trial on more rows, chosen by none."""

from __future__ import annotations

import numpy as np
import pytest

from fastopt.errors import SpecError
from sweeps import problems, sweep
from tests.sweeps.models.made import labels_of, rows_of

X = rows_of()
Y = labels_of(X, "low", "middle", "top")
QUIET = {"progress": False, "optimizer": "adam", "batch_size": 50}


def problem(**rows):
    return problems.mlp(X, Y, hidden=(8,), **rows)


def test_it_is_the_trial_on_training_and_validation_rows():
    """150 and 150 rows: an epoch of the one is 3 steps, of the other 6."""
    parted = problem(validation=0.5, test=0.0)
    result = sweep(parted, {"lr": [0.003, 0.03]}, epochs=4, **QUIET)
    model = result.model(refit=True)
    assert model.about["refitted_rows"] == len(X)
    assert model.about["trial_id"] == result.best().trial_id[0]
    whole = sweep(problem(), {"lr": [float(result.best().lr[0])]}, epochs=4, **QUIET)
    # The same rows, in their own order: shuffles are of places.
    np.testing.assert_array_equal(model.network.theta, whole.model().network.theta)
    np.testing.assert_array_equal(model.predict(X), whole.model().predict(X))
    assert "refitted    300 rows" in model.summary()
    assert not np.array_equal(model.network.theta, result.model().network.theta)


@pytest.mark.parametrize("restore_best", [False, True])
def test_a_model_is_the_one_that_was_measured_on_rows_for_choosing(restore_best):
    parted = problem(validation=0.3, test=0.2)
    options = {"epochs": 30, "patience": 2, "restore_best": restore_best, **QUIET}
    result = sweep(parted, {"lr": [0.03, 1.0]}, **options)
    for row in result.to_frame().itertuples():
        bare, classes = result.model(row.trial_id).bare(), parted.classes
        for part in ("val", "test"):
            rows, y = getattr(parted, f"X_{part}"), getattr(parted, f"y_{part}")
            assert bare.score(rows, classes[y]) == getattr(row, f"{part}_accuracy")


def test_a_trial_that_stopped_early_takes_as_many_epochs():
    parted = problem(validation=0.5, test=0.0)
    stopped = sweep(parted, {"lr": [1.0]}, epochs=50, patience=1, **QUIET)
    epochs = int(stopped.to_frame().steps[0]) // 3
    assert 1 <= epochs < 50
    whole = sweep(problem(), {"lr": [1.0]}, epochs=epochs, **QUIET)
    refitted = stopped.model(refit=True).network.theta
    np.testing.assert_array_equal(refitted, whole.model().network.theta)


def test_every_fold_refits_to_the_same_rows():
    folded = problem(folds=3)
    result = sweep(folded, {"fold": range(3), "hidden": ["8", "4"]}, epochs=2, lr=0.03, **QUIET)
    thetas = [result.model(i, refit=True).network.theta for i in (0, 2, 4)]
    assert [a.size for a in thetas] == [67, 67, 67]
    assert all(np.array_equal(a, thetas[0]) for a in thetas)
    narrow = result.model(1, refit=True)
    assert narrow.network.sizes == (4, 4, 3)


def test_without_validation_rows_there_is_nothing_to_refit_on():
    with pytest.raises(SpecError, match="no validation rows"):
        sweep(problem(), {"lr": [0.1]}, epochs=1, **QUIET).model(refit=True)
