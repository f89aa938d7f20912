"""A grid search of scikit-learn's network on digits, as scikit-learn runs it and in one launch."""

from __future__ import annotations

import statistics
import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier

from bench.machine import facts
from sweeps.sklearn import SweepSearchCV

EPOCHS = 20
FOLDS = 5
GRID = {"learning_rate_init": np.geomspace(1e-4, 1e-1, 20).tolist(), "alpha": [0, 1e-4, 1e-2, 1, 4]}


def test_grid_search(benchmark, quick):
    """100 settings x 5 folds of 64-32-10, as many epochs on both sides; scores agree, too."""
    X, y = load_digits(return_X_y=True)
    X, epochs = X / 16, 1 if quick else EPOCHS
    grid = {name: values[:: 19 if quick else 1] for name, values in GRID.items()}
    net = MLPClassifier(
        (32,), batch_size=32, max_iter=epochs, n_iter_no_change=epochs + 1, tol=0.0, random_state=0
    )
    found = {}

    def side(name, kind, n_jobs):
        def search():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                found[name] = kind(net, grid, cv=FOLDS, n_jobs=n_jobs).fit(X, y)

        return search

    sides = {
        "ours": side("ours", SweepSearchCV, None),
        "GridSearchCV": side("GridSearchCV", GridSearchCV, -1),
    }
    sides["ours"]()  # compiles
    turns = {name: [] for name in sides}
    for _ in range(1 if quick else 3):
        for name, search in sides.items():
            began = time.perf_counter()
            search()
            turns[name].append(time.perf_counter() - began)
    times = {name: statistics.median(seconds) for name, seconds in turns.items()}
    best = {
        name: (search.best_score_, search.cv_results_["std_test_score"][search.best_index_])
        for name, search in found.items()
    }
    errors = [std / np.sqrt(FOLDS - 1) for _, std in best.values()]
    apart = abs(best["ours"][0] - best["GridSearchCV"][0]) / np.hypot(*errors)
    assert quick or apart <= 2.0
    settings = len(found["ours"].cv_results_["params"])
    case = f"digits, {settings} settings x {FOLDS} folds, {epochs} epochs"
    benchmark.extra_info.update(
        facts(), table="search", case=case,
        baseline="GridSearchCV, all cores", seconds=times, scores=best, standard_errors_apart=apart,
        ratio=times["GridSearchCV"] / times["ours"],
    )  # fmt: skip
    benchmark.pedantic(sides["ours"], rounds=1 if quick else 3)
