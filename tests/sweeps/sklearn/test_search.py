"""A compiled grid search beside GridSearchCV."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, SGDRegressor
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, ShuffleSplit, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastopt.errors import SpecError
from sweeps.sklearn import SweepClassifier, SweepRegressor, SweepSearchCV
from sweeps.sklearn.candidates import candidates_of

X, Y = load_iris(return_X_y=True)
GRID = {"learning_rate_init": [0.003, 0.03], "alpha": [1e-4, 1.0]}


def net(**given):
    return MLPClassifier(**{"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0, **given})


def own(**given):
    given = {"hidden_layer_sizes": (8,), "max_iter": 20, "random_state": 0, **given}
    return SweepClassifier(dtype="float64", **given)  # compiled for the checks anyway


def grid_search(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GridSearchCV(*args, **options).fit(X, Y)


@pytest.mark.parametrize("scoring", [None, ["accuracy", "neg_log_loss"]])
def test_results_have_the_keys_and_types_of_scikit_learn(scoring):
    options = {
        "cv": 3, "scoring": scoring, "return_train_score": True,
        "refit": True if scoring is None else "neg_log_loss",
    }  # fmt: skip
    grid = [GRID, {"hidden_layer_sizes": [(4, 4), (16,)], "activation": ["relu", "logistic"]}]
    ours = SweepSearchCV(net(), grid, **options).fit(X, Y)
    theirs = grid_search(net(), grid, **options)
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, expected in theirs.cv_results_.items():
        found = ours.cv_results_[name]
        assert type(found) is type(expected)
        if name != "params":
            assert found.dtype == expected.dtype
            assert found.shape == expected.shape
            assert np.array_equal(np.ma.getmaskarray(found), np.ma.getmaskarray(expected))
    assert ours.cv_results_["params"] == theirs.cv_results_["params"]
    assert {k for k in vars(theirs) if k.endswith("_")} <= {*vars(ours)}
    assert isinstance(ours.best_estimator_, MLPClassifier)


@pytest.mark.parametrize("cv", [2, StratifiedKFold(3, shuffle=True, random_state=1)])
def test_scores_are_those_of_networks_fitted_on_each_fold(cv):
    """Our estimators, fitted one by one by scikit-learn itself, come to the same bits."""
    grid = {"alpha": [1e-4, 1.0], "batch_size": [16, 64], "solver": ["sgd", "adam"]}
    ours = SweepSearchCV(own(), grid, cv=cv, return_train_score=True).fit(X, Y)
    theirs = grid_search(own(), grid, cv=cv, return_train_score=True)
    for name in theirs.cv_results_:
        if name.endswith("_score"):
            np.testing.assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])
    assert ours.best_params_ == theirs.best_params_
    for w, expected in zip(ours.best_estimator_.coefs_, theirs.best_estimator_.coefs_):
        np.testing.assert_array_equal(w, expected)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_weights_of_rows_are_split_and_routed(n_jobs):
    weights = np.random.default_rng(0).integers(0, 3, len(Y)).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        asking = own().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        searches = [
            kind(asking, {"alpha": [0.1, 1.0]}, cv=3, **options).fit(X, Y, sample_weight=weights)
            for kind, options in ((SweepSearchCV, {"n_jobs": n_jobs}), (GridSearchCV, {}))
        ]
        ours, theirs = (search.cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_array_equal(ours, theirs)
    plain = SweepSearchCV(own(), {"alpha": [0.1, 1.0]}, cv=3).fit(X, Y)
    assert not np.array_equal(plain.cv_results_["mean_test_score"], ours)


@pytest.mark.parametrize(
    "estimator", [own(), LogisticRegression(max_iter=5000)], ids=["own", "linear"]
)
def test_classes_may_weigh_nothing(estimator):
    grid = {"class_weight": [None, "balanced", {0: 0.0}]}
    ours = SweepSearchCV(estimator, grid, cv=3).fit(X, Y).cv_results_["mean_test_score"]
    theirs = grid_search(estimator, grid, cv=3).cv_results_["mean_test_score"]
    np.testing.assert_allclose(
        ours, theirs, atol=1e-12 if isinstance(estimator, SweepClassifier) else 0.01
    )


def test_refit_may_be_a_function_or_nothing():
    last = SweepSearchCV(net(), GRID, cv=2, refit=lambda results: 3).fit(X, Y)
    assert last.best_index_ == 3
    assert last.best_params_ == last.cv_results_["params"][3]
    assert not hasattr(last, "best_score_")
    none = SweepSearchCV(net(), GRID, cv=2, refit=False).fit(X, Y)
    assert not hasattr(none, "best_estimator_")
    assert none.best_score_ == none.cv_results_["mean_test_score"].max()


def test_it_works_in_pipelines_clones_and_pickles():
    search = SweepSearchCV(net(max_iter=60), GRID, cv=2)
    pipeline = clone(make_pipeline(StandardScaler(), search)).fit(X, Y)
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))
    assert pipeline.score(X, Y) > 0.9


def test_best_networks_go_on_as_scikit_learn_ones():
    best = SweepSearchCV(net(), GRID, cv=2).fit(X, Y).best_estimator_
    assert best.n_iter_ == 20
    np.testing.assert_allclose(best.predict_proba(X).sum(axis=1), 1.0)
    before = log_loss(Y, best.predict_proba(X))
    assert log_loss(Y, best.partial_fit(X, Y).predict_proba(X)) < before
    regressor = SweepSearchCV(
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=30, learning_rate_init=0.05, random_state=0),
        {"alpha": [0.1]}, cv=2,
    ).fit(X[:, :3], X[:, 3])  # fmt: skip
    assert regressor.best_estimator_.predict(X[:5, :3]).shape == (5,)
    assert np.isfinite(regressor.best_score_)


def test_a_store_keeps_the_fits(tmp_path):
    options = {"cv": 2, "store": tmp_path / "kept", "scoring": "neg_log_loss"}
    first = SweepSearchCV(own(), GRID, **options).fit(X, Y)
    parts = sorted((tmp_path / "kept").rglob("*.parquet"))
    second = SweepSearchCV(own(), GRID, **options).fit(X, Y)
    assert parts
    assert sorted((tmp_path / "kept").rglob("*.parquet")) == parts
    plain = SweepSearchCV(own(), GRID, cv=2, scoring="neg_log_loss").fit(X, Y)
    for search in (first, second):
        for name in ("split0_test_score", "split1_test_score"):
            np.testing.assert_array_equal(search.cv_results_[name], plain.cv_results_[name])


def test_a_pruner_races_candidates_on_the_first_fold():
    grid = {"learning_rate_init": [1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1]}
    search = SweepSearchCV(own(max_iter=32), grid, cv=2, pruner="successive_halving").fit(X, Y)
    scores = search.cv_results_["mean_test_score"]
    assert 0 < np.isnan(scores).sum() < len(scores)
    assert search.best_params_["learning_rate_init"] >= 1e-2
    full = SweepSearchCV(own(max_iter=32), grid, cv=2).fit(X, Y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(scores[~np.isnan(scores)], full[~np.isnan(scores)])


def test_diverged_fits_have_the_error_score():
    grid = {"learning_rate_init": [0.01, 1e30]}
    regressor = SweepRegressor((4,), max_iter=3, solver="sgd", random_state=0)
    with pytest.warns(sklearn.exceptions.FitFailedWarning, match="2 fits out of 4 diverged"):
        search = SweepSearchCV(regressor, grid, cv=2, error_score=-7.0).fit(X, X[:, 3])
    assert search.cv_results_["mean_test_score"][1] == -7.0
    with pytest.raises(SpecError, match="2 fits out of 4 diverged"):
        SweepSearchCV(regressor, grid, cv=2, error_score="raise").fit(X, X[:, 3])


def test_one_split_is_enough():
    cv = ShuffleSplit(1, test_size=0.3, random_state=0)
    search = SweepSearchCV(net(), GRID, cv=cv).fit(X, Y)
    assert search.n_splits_ == 1
    assert "split1_test_score" not in search.cv_results_


REFUSED = {
    "trains SweepClassifier": (RandomForestClassifier(n_estimators=5), {"max_depth": [2]}),
    "solver='lbfgs'": (net(solver="lbfgs"), {"alpha": [0.1]}),
    "early_stopping=True": (net(early_stopping=True), {"alpha": [0.1]}),
    "would hold out others": (own(early_stopping=True), {"alpha": [0.1]}),
    "learning_rate='adaptive'": (net(solver="sgd", learning_rate="adaptive"), {"alpha": [0.1]}),
    "warm_start=True": (net(warm_start=True), {"alpha": [0.1]}),
    "one hidden layer or more": (net(), {"hidden_layer_sizes": [()]}),
    "C as one number >= 0, not None": (LogisticRegression(), {"C": [None, 1.0]}),
    "solver='liblinear'": (LogisticRegression(solver="liblinear"), {"C": [1.0]}),
    "loss='epsilon_insensitive'": (SGDRegressor("epsilon_insensitive"), {"alpha": [0.1]}),
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_is_not_trained_compiled_is_refused_by_name(says):
    estimator, grid = REFUSED[says]
    with pytest.raises(SpecError, match=rf"^{type(estimator).__name__}: .*{says}.* fallback=True"):
        SweepSearchCV(estimator, grid, cv=2).fit(X, Y)


def test_rows_and_settings_that_are_refused():
    for estimator, grid, rows, says in (
        (Ridge(positive=True), {"alpha": [1.0]}, X, "positive=True"),
        (Ridge(), {"alpha": [np.ones(1)]}, X, "alpha as one number"),
        (Ridge(), {"alpha": [1.0]}, sparse.csr_matrix(X), "dense rows"),
    ):
        with pytest.raises(SpecError, match=f"Ridge: .*{says}"):
            SweepSearchCV(estimator, grid, cv=2).fit(rows, X[:, 3])


def test_the_fallback_is_grid_search():
    forest = RandomForestClassifier(n_estimators=5, random_state=0)
    ours = SweepSearchCV(forest, {"max_depth": [1, 3]}, cv=2, fallback=True).fit(X, Y)
    theirs = grid_search(forest, {"max_depth": [1, 3]}, cv=2)
    name = "mean_test_score"
    np.testing.assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])
    with pytest.raises(ValueError, match="solver must be one of"):
        SweepSearchCV(own(solver="adamm"), GRID, cv=2, fallback=True).fit(X, Y)


@pytest.mark.parametrize(
    "base",
    [
        own(),
        own(hidden_layer_sizes=[8]),
        MLPClassifier((4,), random_state=np.random.RandomState(3)),
    ],
    ids=["plain", "a list", "a generator"],
)
def test_candidates_are_what_clone_and_set_params_make(base):
    points = [{"alpha": 0.5}, {"hidden_layer_sizes": [3]}, {}]
    for params, candidate in zip(points, candidates_of(base, points)):
        expected = clone(base).set_params(**params)
        assert candidate.whole is not base
        for name, value in expected.get_params(deep=False).items():
            assert repr(candidate.own[name])[:20] == repr(value)[:20]
        assert candidate.own.keys() == expected.get_params(deep=False).keys()
        for name, value in candidate.whole.get_params(deep=False).items():
            assert candidate.own[name] is value
    with pytest.raises(ValueError, match="Invalid parameter 'alhpa'"):
        candidates_of(base, [{"alhpa": 1.0}])
